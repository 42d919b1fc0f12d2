"""The errors of this package that are nobody's programming mistake."""


class _FileError(Exception):
    """One that names files. Of a name that is not UTF-8 the odd bytes are escaped: it can be printed and stored."""

    def __init__(self, message: str) -> None:
        super().__init__(message.encode(errors="backslashreplace").decode())


class DataError(_FileError):
    """A data set is missing, damaged or cannot be fetched; the message says which file and what to do."""


class UnusableError(ValueError):
    """What a training is to use is not on this machine, or too little of it; the message says what is missing."""


class CheckpointError(_FileError):
    """A checkpoint is damaged or of another training; the message says which file and what to do."""


def first_line(error: Exception) -> str:
    """The first line of what the error says, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
