"""The errors of this package that a user can correct."""

from collections.abc import Sequence


class StudyError(Exception):
    """A request that cannot be carried out; the message names the cause and says what is allowed."""


class NoResultError(StudyError):
    """Raised when a study's trials show that an arm will have no result."""


class SpecError(StudyError):
    """An invalid study file; `faults` pairs each offending key with what is wrong and what is allowed."""

    def __init__(self, source: str, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(": ".join(filter(None, (source, *fault))) for fault in faults))
        self.faults = tuple(faults)
