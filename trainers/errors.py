"""The errors of this package that are nobody's programming mistake."""


class DataError(Exception):
    """A data set is missing, damaged or cannot be fetched; the message says which file and what to do."""


class UnusableError(ValueError):
    """What a training is to use is not on this machine, or too little of it; the message says what is missing."""


class CheckpointError(Exception):
    """A checkpoint is damaged or of another training; the message says which file and what to do."""


def first_line(error: Exception) -> str:
    """Of what the error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
