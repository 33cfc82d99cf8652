"""errors.py - The project's own exceptions: bad input, odd input, and a request to stop training."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says what and where (exit code 2)."""


class InputWarning(UserWarning):
    """Something the user gave is odd but can be used. The command line prints it as one line and continues."""


class StopTraining(Exception):  # noqa: N818 - like StopIteration, it is no error
    """Raise it in a progress function to stop training and keep what has been learned so far.

    A table stops after the current epoch, a network after the current step. A model that learns in one pass has nothing
    to keep before its end, and passes the exception on.
    """
