"""Models beyond the table of c_model.py, one file a rung."""
