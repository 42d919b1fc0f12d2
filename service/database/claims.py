"""The queue's changes to studies: each is one transaction that looks at the study again under its lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine, func, or_, select

from service.database.engine import now, reading, writing
from service.database.lease import Lease, grant, is_free
from service.database.owner import Owner
from service.database.states import change, locked, put_back, requested, tell
from service.database.tables import studies
from service.records import ACTIVE, QUEUED, STARTING
from studies.records import StudyState

STARTING_SECONDS = 120.0  # a driver that has not claimed its study in this time is given up
SLOW_SECONDS = 45.0  # after this time the study says that its driver has not claimed it
QUEUE_LOCK = 0x74756E66  # a PostgreSQL advisory lock: one service at a time looks for the next study


@dataclass(frozen=True, slots=True)
class HeldStudy:
    """A starting or running study, as it was when it was looked at."""

    study: str
    fence: int
    job: str | None
    free: bool  # its lease has run out or its holder has ended
    unclaimed: bool  # this service has submitted its job, and no driver has claimed it yet
    slow: bool  # unclaimed for more than SLOW_SECONDS


class Claims:
    """The claims of the service whose process is `owner`. Every method can raise DatabaseError."""

    def __init__(self, engine: Engine, owner: Owner, max_running: int) -> None:
        self._engine, self._owner, self._max_running = engine, owner, max_running

    def held(self) -> Sequence[HeldStudy]:
        """Return the studies that are starting or running."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(studies).where(studies.c.state.in_(ACTIVE))).mappings().all()
            moment = now(connection)
        found = []
        for row in rows:
            unclaimed = (row["state"], row["lease_owner"]) == (STARTING, str(self._owner))
            slow = unclaimed and row["lease_since"] + timedelta(seconds=SLOW_SECONDS) < moment
            free = is_free(row, moment)
            found.append(HeldStudy(row["id"], row["fence"], row["job"], free, unclaimed, slow))
        return found

    def tell(self, study: str, trouble: str) -> None:
        """Record why the study does not go on. Raises StudyUnknown."""
        with reading(self._engine) as connection:
            if connection.scalar(select(studies.c.trouble).where(studies.c.id == study)) == trouble:
                return
        with writing(self._engine) as connection:
            tell(connection, locked(connection, study), trouble, actor="service", time=now(connection))

    def put_back(self, seen: HeldStudy, reason: str) -> StudyState | None:
        """Take a study from a driver that is gone. Returns its new state; None, doing nothing, if it has changed.

        A driver that came back after a while, for example from a database that was away, has renewed its lease.
        """
        with writing(self._engine) as connection:
            row, time = locked(connection, seen.study), now(connection)
            if (
                row["fence"] != seen.fence
                or row["state"] not in ACTIVE
                or (seen.free and not is_free(row, time))
            ):
                return None
            return put_back(connection, row, actor="service", time=time, reason=reason)

    def next(self) -> str | None:
        """Return the id of the study to run next, by priority, then by age; None if none is waiting or may start."""
        with reading(self._engine) as connection:
            return self._next(connection)

    def claim(self, *, again: bool) -> Lease | None:
        """Start the study that is to run next, if there is one; its job is named after its fencing number.

        `again` is for a start after one that Ray refused: if the study already has a trouble, it keeps the trouble and
        gets no event.
        """
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(QUEUE_LOCK)))
            study = self._next(connection)
            if study is None:
                return None
            row = locked(connection, study)
            if row["state"] != QUEUED:
                return None
            quiet = again and row["trouble"] is not None
            return grant(
                connection,
                row,
                STARTING,
                self._owner,
                STARTING_SECONDS,
                now(connection),
                actor="service",
                job=f"{study}-{row['fence'] + 1}",
                attempts=row["attempts"] + 1,
                trouble=row["trouble"] if quiet else None,
                quiet=quiet,
            )

    def refused(self, lease: Lease, reason: str) -> None:
        """Queue a study again after Ray has refused its start, which does not count as an attempt.

        It is paused or cancelled instead if that was requested.
        """
        with writing(self._engine) as connection:
            row = locked(connection, lease.study)
            if (row["state"], row["fence"]) == (STARTING, lease.fence):
                to = requested(row, QUEUED)
                quiet = to is QUEUED and row["trouble"] == reason
                values = {"attempts": row["attempts"] - 1, "job": None, "quiet": quiet}
                time = now(connection)
                change(connection, row, to, actor="service", time=time, reason=reason, **values)

    def accepted(self, lease: Lease) -> None:
        """Clear the study's trouble once a start that was tried quietly has succeeded."""
        with writing(self._engine) as connection:
            row = locked(connection, lease.study)
            if (row["state"], row["fence"]) == (STARTING, lease.fence):
                tell(connection, row, None, actor="service", time=now(connection))

    def _next(self, connection: Connection) -> str | None:
        running = select(func.count()).select_from(studies).where(studies.c.state.in_(ACTIVE))
        if connection.scalars(running).one() >= self._max_running:
            return None
        due = or_(studies.c.not_before.is_(None), studies.c.not_before <= now(connection))
        waiting = select(studies.c.id).where(studies.c.state == QUEUED, due)
        order = (studies.c.priority.desc(), studies.c.created_at, studies.c.id)
        return connection.scalar(waiting.order_by(*order).limit(1))
