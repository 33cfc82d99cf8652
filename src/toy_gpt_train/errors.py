"""errors.py - The exceptions that this project gives a meaning of its own: bad input, and enough of a training.

Bad input is raised wherever a file, a number or a word given by the user cannot be used. The command line prints its
message as one line and ends with exit code 2; nothing else in the project catches it.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line that says what and where.

    Example:
        >>> str(InputError("epochs must be at least 1, got 0"))
        'epochs must be at least 1, got 0'
    """


class StopTraining(Exception):  # noqa: N818 - like StopIteration, it is no error
    """Raised by whoever is told of a training's progress: end it here, and keep what has been learned so far.

    A table ends with the epoch it is in, a network with the step it has done. A model that learns in one pass has
    nothing to keep before its end, and gives the exception back.

    Example:
        def on_progress(fraction: float, status: str) -> None:
            if button_was_pressed():
                raise StopTraining
    """
