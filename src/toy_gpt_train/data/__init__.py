"""Getting text to learn from."""
