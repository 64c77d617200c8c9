"""The one error that a user's input or settings can cause."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message says what is wrong, where (file, row, column, config key) and
    what to do about it. A step prints it without a traceback.
    """
