"""kit/ - The site for a class without a network: build.py packs it, start.py and server.py show it from a USB stick."""
