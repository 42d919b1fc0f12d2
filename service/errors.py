"""The errors of this package that a user can put right."""


class ServiceError(Exception):
    """Something asked for cannot be done; the message names it and says what to do."""


class SettingError(ServiceError):
    """An environment variable holds what it cannot."""


class DatabaseError(ServiceError):
    """The database cannot be used: unreachable, locked, full, read-only, or of another schema.

    `fault` says so without naming the database.
    """

    def __init__(self, message: str, fault: str = "cannot be used") -> None:
        super().__init__(message)
        self.fault = fault


class SchemaMissing(DatabaseError):  # noqa: N818
    """There is no database yet, or its tables are missing or older; the message ends in the command that makes them."""


class DatabaseAway(DatabaseError):  # noqa: N818
    """The database cannot be used just now: it restarts, is unreachable or locked. The same may succeed later."""


class StoreError(ServiceError):
    """The database refuses what was asked of it; it has not changed."""


class StudyUnknown(StoreError):  # noqa: N818
    """There is no such study."""


class StateError(StoreError):
    """The study's state does not allow what was asked of it."""


class LeaseHeld(StoreError):  # noqa: N818
    """Another process is running the study."""


class LeaseLost(StoreError):  # noqa: N818
    """This process was running the study and another has taken it over, or it was given back."""


class StreamsFull(ServiceError):  # noqa: N818
    """As many event streams and followed logs are open as may be at once. Later there may be room."""


class AnalysisStopped(ServiceError):  # noqa: N818
    """The process that computes an analysis was ended before it was done. The same may succeed later."""


class RayUnavailable(ServiceError):  # noqa: N818
    """The Ray cluster does not do what was asked of it: away, starting, of another token. Later it may."""


class LogMissing(ServiceError):  # noqa: N818
    """The study has no log to show."""
