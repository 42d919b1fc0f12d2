"""Errors of this package that a user can fix."""


class ServiceError(Exception):
    """A request that cannot be carried out. The message names the cause and says what to do."""


class SettingError(ServiceError):
    """An environment variable or option has a value that cannot be used."""


class DatabaseError(ServiceError):
    """The database cannot be used: unreachable, locked, full, read-only, or of another schema.

    `fault` says what is wrong without naming the database.
    """

    def __init__(self, message: str, fault: str = "cannot be used") -> None:
        super().__init__(message)
        self.fault = fault


class SchemaMissing(DatabaseError):  # noqa: N818
    """There is no database yet, or its tables are missing or outdated. The message ends with the command that helps."""


class DatabaseUnavailable(DatabaseError):  # noqa: N818
    """The database cannot be used now: it is restarting, unreachable or locked. A retry may succeed."""


class StoreError(ServiceError):
    """The store refused a request. The database has not changed."""


class StudyUnknown(StoreError):  # noqa: N818
    """There is no such study."""


class StateError(StoreError):
    """The study's state does not allow the request."""


class LeaseHeld(StoreError):  # noqa: N818
    """Another process is running the study."""


class LeaseLost(StoreError):  # noqa: N818
    """This process no longer holds the study's lease, or its start of the study was superseded."""


class StreamsFull(ServiceError):  # noqa: N818
    """No more event streams or followed logs can be opened now. A retry may succeed."""


class AnalysisStopped(ServiceError):  # noqa: N818
    """An analysis was not finished: its process was killed or took too long. A retry may succeed."""


class RayUnavailable(ServiceError):  # noqa: N818
    """Ray did not carry out a request: no answer, token refused or an error. A retry may succeed."""


class LogMissing(ServiceError):  # noqa: N818
    """The study has no log to show."""
