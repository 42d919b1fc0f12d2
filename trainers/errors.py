"""This package's errors that are not programming mistakes."""


class _FileError(Exception):
    """An error that names files. Bytes that are not UTF-8 are escaped, so that it can be printed and stored."""

    def __init__(self, message: str) -> None:
        super().__init__(message.encode(errors="backslashreplace").decode())


class DataError(_FileError):
    """A data set is missing, damaged or cannot be fetched; the message says which file and what to do."""


class UnusableError(ValueError):
    """This machine lacks something that a training needs, or has too little of it; the message says what."""


class CheckpointError(_FileError):
    """A checkpoint is damaged or belongs to another training; the message says which file and what to do."""


def first_line(error: Exception) -> str:
    """Return the first line of the error's message, or the error's type if it has no message."""
    return next(iter(str(error).splitlines()), type(error).__name__)
