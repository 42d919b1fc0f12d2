"""Leases: the right to write a study, held by one process at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update

from service.database.engine import now
from service.database.owner import Owner
from service.database.states import change, locked
from service.database.tables import studies
from service.errors import LeaseHeld, LeaseLost, StoreError
from service.records import ACTIVE, COMPLETED, RUNNING, STARTING
from studies.records import StudyState


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease, which lasts `seconds` from its last use, then until another claim raises the study's fencing number."""

    study: str
    owner: Owner
    fence: int
    seconds: float


def take(
    connection: Connection, study: str, owner: Owner, seconds: float, *, fence: int | None = None
) -> Lease:
    """Make `owner` the holder of the study's lease, and the study running.

    `fence` is for a driver that the service started: the fencing number of that start, and only that start is taken
    up. Raises StudyUnknown, LeaseHeld, LeaseLost if that start is not the study's last, and StoreError if the study
    is completed.
    """
    row = locked(connection, study)
    time = now(connection)
    anew: dict[str, Any] = {"actor": actor_of(owner), "started_at": row["started_at"] or time}
    if fence is not None:
        if (row["state"], row["fence"]) != (STARTING, fence):
            raise LeaseLost(f"study {study} is {row['state']}: this start of the study was superseded")
        return grant(connection, row, RUNNING, owner, seconds, time, **anew)
    if row["state"] == COMPLETED:
        raise StoreError(f"study {study} is completed; there is nothing left to run")
    if row["state"] in ACTIVE and not is_free(row, time):
        holder = Owner.parse(row["lease_owner"])
        raise LeaseHeld(
            f"study {study} is run by process {holder.pid} on {holder.host} since "
            f"{row['lease_since']:%Y-%m-%d %H:%M:%S} UTC; if that process has stopped, "
            f"the study can be taken over after {row['lease_expires_at']:%H:%M:%S} UTC"
        )
    anew |= {"requested": None, "attempts": 0, "job": None}
    return grant(connection, row, RUNNING, owner, seconds, time, **anew)


def grant(
    connection: Connection,
    row: RowMapping,
    to: StudyState,
    owner: Owner,
    seconds: float,
    time: datetime,
    *,
    actor: str,
    **values: Any,
) -> Lease:
    """Make `owner` the holder of the locked study, in state `to`, under the next fencing number."""
    lease = Lease(row["id"], owner, row["fence"] + 1, seconds)
    held: dict[str, Any] = {
        "fence": lease.fence,
        "lease_owner": str(owner),
        "lease_since": time,
        "lease_expires_at": time + timedelta(seconds=seconds),
    }
    change(connection, row, to, actor=actor, time=time, **held, **values)
    return lease


def is_free(row: RowMapping, time: datetime) -> bool:
    """Return whether the study has no lease, an expired one, or one whose owner on this host has ended."""
    if row["lease_owner"] is None or row["lease_expires_at"] <= time:
        return True
    return Owner.parse(row["lease_owner"]).is_dead()


def extend(connection: Connection, lease: Lease, **values: Any) -> datetime:
    """Renew the lease and lock the study until the transaction ends. Returns the time. Raises LeaseLost."""
    time = now(connection)
    renewal = (
        update(studies)
        .where(studies.c.id == lease.study, studies.c.fence == lease.fence)
        .where(studies.c.lease_owner == str(lease.owner))
        .values(lease_expires_at=time + timedelta(seconds=lease.seconds), **values)
    )
    if connection.execute(renewal).rowcount == 1:
        return time
    holder = connection.scalar(select(studies.c.lease_owner).where(studies.c.id == lease.study))
    fate = "the lease was given back"
    if holder is not None:
        other = Owner.parse(holder)
        fate = f"process {other.pid} on {other.host} has taken the study over"
    raise LeaseLost(f"this process no longer runs study {lease.study}: {fate}; nothing was written")


def actor_of(owner: Owner) -> str:
    """Return the owner's name in events."""
    return f"driver {owner.host}:{owner.pid}"
