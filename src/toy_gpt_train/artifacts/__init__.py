"""artifacts/ - The files of a run: one module a format, reader beside writer."""
