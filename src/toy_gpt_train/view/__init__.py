"""view/ - The explorer in a browser: server.py, index.html, core/ (models and files in JavaScript), ui/ (the page)."""
