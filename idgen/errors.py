"""The errors that are the caller's to mend."""


class InputError(ValueError):
    """What the caller got wrong, in one sentence: what, why, and what to do. The command line exits with 2 on it."""


class NoFaceError(InputError):
    """There is no face in a picture."""
