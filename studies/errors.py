"""The one error of this package that a user can put right."""


class StudyError(Exception):
    """Something asked for cannot be done; the message names it and says what is allowed."""
