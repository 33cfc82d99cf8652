"""What the docs site is made of: build.py and the Markdown extension in extension.py call the other modules."""
