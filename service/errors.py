"""The errors of this package that a user can put right."""


class ServiceError(Exception):
    """Something asked for cannot be done; the message names it and says what to do."""


class DatabaseError(ServiceError):
    """The database cannot be used: unreachable, locked, full, read-only, or of another schema."""


class StoreError(ServiceError):
    """The database refuses what was asked of it; it has not changed."""


class LeaseHeld(StoreError):  # noqa: N818
    """Another process is running the study."""


class LeaseLost(StoreError):  # noqa: N818
    """This process was running the study and another has taken it over, or it was given back."""
