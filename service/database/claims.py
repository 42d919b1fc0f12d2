"""What the queue does to studies: each step one transaction that looks at the study again under its lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine, func, or_, select

from service.database.engine import now, reading, writing
from service.database.lease import Lease, grant, is_free
from service.database.owner import Owner
from service.database.states import change, locked, put_back, tell
from service.database.tables import studies
from service.records import ACTIVE, QUEUED, STARTING
from studies.records import StudyState

STARTING_SECONDS = 120.0  # a driver that has not claimed its study by then is given up
SLOW_SECONDS = 45.0  # a driver that has not claimed its study by then is told
QUEUE_LOCK = 0x74756E66  # a PostgreSQL advisory lock: one service at a time looks for the next study


@dataclass(frozen=True, slots=True)
class Held:
    """A study that somebody holds or held, when it was looked at."""

    study: str
    fence: int
    job: str | None
    free: bool  # its lease has run out or its holder has ended
    unclaimed: bool  # this service has submitted its job and no driver has taken it up
    slow: bool  # and that for SLOW_SECONDS


class Claims:
    """The claims of the service whose process is `owner`. Every method raises DatabaseError."""

    def __init__(self, engine: Engine, owner: Owner, max_running: int) -> None:
        self._engine, self._owner, self._max_running = engine, owner, max_running

    def held(self) -> Sequence[Held]:
        """The studies that start or run."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(studies).where(studies.c.state.in_(ACTIVE))).mappings().all()
            moment = now(connection)
        found = []
        for row in rows:
            unclaimed = (row["state"], row["lease_owner"]) == (STARTING, str(self._owner))
            slow = unclaimed and row["lease_since"] + timedelta(seconds=SLOW_SECONDS) < moment
            free = is_free(row, moment)
            found.append(Held(row["id"], row["fence"], row["job"], free, unclaimed, slow))
        return found

    def tell(self, study: str, trouble: str) -> None:
        """Say at the study what keeps it from going on. Raises StudyUnknown."""
        with reading(self._engine) as connection:
            if connection.scalar(select(studies.c.trouble).where(studies.c.id == study)) == trouble:
                return
        with writing(self._engine) as connection:
            tell(connection, locked(connection, study), trouble, actor="service", time=now(connection))

    def put_back(self, seen: Held, reason: str) -> StudyState | None:
        """Take a study from a driver that is gone. Its state then; None where something has happened since."""
        with writing(self._engine) as connection:
            row = locked(connection, seen.study)
            if row["fence"] != seen.fence or row["state"] not in ACTIVE:
                return None
            return put_back(connection, row, actor="service", time=now(connection), reason=reason)

    def next(self) -> str | None:
        """The id of the study that is to run next, by priority, then first come; None where none is or may."""
        with reading(self._engine) as connection:
            return self._next(connection)

    def claim(self, *, again: bool) -> Lease | None:
        """Start the study that is to run next, its job named by its fencing number.

        `again` after a start that Ray has refused: where that was said, nobody is to read of it once more.
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
        """Queue the study again whose start Ray has refused; that is no attempt."""
        with writing(self._engine) as connection:
            row = locked(connection, lease.study)
            if (row["state"], row["fence"]) == (STARTING, lease.fence):
                values = {"attempts": row["attempts"] - 1, "job": None, "quiet": row["trouble"] == reason}
                time = now(connection)
                change(connection, row, QUEUED, actor="service", time=time, reason=reason, **values)

    def accepted(self, lease: Lease) -> None:
        """Say of a start that was tried quietly that it has come to something."""
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
