"""Leases: the right to write a study, held by one process at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from service.database import now
from service.errors import LeaseHeld, LeaseLost, StoreError
from service.owner import Owner
from service.tables import studies
from studies.records import StudyState


@dataclass(frozen=True, slots=True)
class Lease:
    """Lasts `seconds` from its last use, then until another claim raises the study's fencing number."""

    study: str
    owner: Owner
    fence: int
    seconds: float


def take(connection: Connection, study: str, owner: Owner, seconds: float) -> Lease:
    """Let `owner` run the study. Raises LeaseHeld, or StoreError where it is unknown or completed."""
    this = studies.c.id == study
    row = connection.execute(select(studies).where(this).with_for_update()).mappings().one_or_none()
    if row is None:
        raise StoreError(f"no study {study!r}")
    if row["state"] == StudyState.COMPLETED:
        raise StoreError(f"study {study} is completed; there is nothing left to run")
    time = now(connection)
    if row["lease_owner"] is not None and row["lease_expires_at"] > time:
        holder = Owner.parse(row["lease_owner"])
        if not holder.is_dead():
            raise LeaseHeld(
                f"study {study} is run by process {holder.pid} on {holder.host} since "
                f"{row['lease_since']:%Y-%m-%d %H:%M:%S} UTC; should that have stopped, "
                f"it can be taken over after {row['lease_expires_at']:%H:%M:%S} UTC"
            )
    lease = Lease(study, owner, row["fence"] + 1, seconds)
    connection.execute(
        update(studies)
        .where(this)
        .values(
            state=StudyState.RUNNING,
            started_at=row["started_at"] or time,
            finished_at=None,
            error=None,
            fence=lease.fence,
            lease_owner=str(owner),
            lease_since=time,
            lease_expires_at=time + timedelta(seconds=seconds),
        )
    )
    return lease


def extend(connection: Connection, lease: Lease) -> datetime:
    """Renew the lease and lock the study until the transaction ends. Returns the time. Raises LeaseLost."""
    time = now(connection)
    renewal = (
        update(studies)
        .where(studies.c.id == lease.study, studies.c.fence == lease.fence)
        .where(studies.c.lease_owner == str(lease.owner))
        .values(lease_expires_at=time + timedelta(seconds=lease.seconds))
    )
    if connection.execute(renewal).rowcount == 1:
        return time
    holder = connection.scalar(select(studies.c.lease_owner).where(studies.c.id == lease.study))
    fate = "it was given back"
    if holder is not None:
        other = Owner.parse(holder)
        fate = f"process {other.pid} on {other.host} has taken it over"
    raise LeaseLost(f"this process no longer runs study {lease.study}: {fate}; nothing was written")
