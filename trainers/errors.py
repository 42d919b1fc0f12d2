"""The error of this package that is nobody's programming mistake."""


class DataError(Exception):
    """A data set is missing, damaged or cannot be fetched; the message says which file and what to do."""
