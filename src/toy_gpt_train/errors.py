"""errors.py - The one exception that stands for bad input.

Raised wherever a file, a number or a word given by the user cannot be used. The command line prints its
message as one line and ends with exit code 2; nothing else in the project catches it.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line that says what and where.

    Example:
        >>> str(InputError("epochs must be at least 1, got 0"))
        'epochs must be at least 1, got 0'
    """
