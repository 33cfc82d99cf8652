"""artifacts/ - The files of a run: one module for each format, reader beside writer.

What the files are called, their headers and labels are the contract in io_artifacts.py. A damaged file is an
InputError; one that cannot be read or written, an OSError.
"""
