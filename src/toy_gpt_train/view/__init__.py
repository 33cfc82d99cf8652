"""view/ - The explorer: pages for a browser, and the server that shows them."""
