"""The errors of this package that a user can put right."""

from collections.abc import Sequence


class StudyError(Exception):
    """Something asked for cannot be done; the message names it and says what is allowed."""


class NoResultError(StudyError):
    """A study's trials show that an arm will have no result."""


class SpecError(StudyError):
    """A study file holds what it cannot: `faults` are its keys, each with what is wrong and what is allowed."""

    def __init__(self, source: str, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(": ".join(filter(None, (source, *fault))) for fault in faults))
        self.faults = tuple(faults)
