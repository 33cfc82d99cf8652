"""What the docs site is made of: hooks.py calls these modules while the site is built."""
