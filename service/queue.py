"""The queue: starts queued studies as Ray jobs, and puts back those whose driver is gone."""

import logging
import shlex
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, RowMapping, func, or_, select

from service.database import now, reading, writing
from service.errors import DatabaseError, RayUnavailable, StudyUnknown
from service.jobs import ENDED, Jobs
from service.lease import Lease, grant, is_free
from service.owner import Owner
from service.states import ACTIVE, QUEUED, STARTING, change, locked, put_back, tell
from service.store import Store
from service.tables import studies

STOP_SECONDS = 60.0  # how long Ray may take to end the job of a driver that is gone
LOG_LINES = 1000  # of its log that are kept
STARTING_SECONDS = 120.0  # a driver that has not claimed its study by then is given up
TICK_SECONDS = 1.0
ASK_RAY_SECONDS = 3.0  # how often Ray is asked what has become of the running studies' jobs
SLOW_SECONDS = 45.0  # a driver that has not claimed its study by then is told
TROUBLE_SECONDS = (
    15.0  # Ray may be away that long, as when it starts, before a study that waits for it says so
)
MAX_PAUSE_SECONDS = 60.0  # between starts that Ray refuses
QUEUE_LOCK = 0x74756E66  # a PostgreSQL advisory lock: one service at a time looks for the next study

log = logging.getLogger("tunebench.queue")


class Queue:
    """Works in a thread of its own while its context is open. Any number of services may share one database.

    All it knows is in the database: it may die at any moment, and another one goes on. `wake` makes it look at once.
    """

    def __init__(self, store: Store, jobs: Jobs, max_running: int) -> None:
        self._store, self._jobs, self._max_running = store, jobs, max_running
        self._owner = Owner.current()
        self._woken, self._closed = threading.Event(), threading.Event()
        self._asked_ray = -ASK_RAY_SECONDS
        self._pause, self._not_before = 0.0, 0.0  # after a start that Ray has refused
        self._stopping: dict[str, float] = {}  # since when, by job
        self._thread = threading.Thread(target=self._work, name="queue", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._woken.set()
        self._thread.join()

    def wake(self) -> None:
        """Something has been queued or asked for."""
        self._woken.set()

    def step(self) -> None:
        """Put back what is lost, then start as many studies as may run. Raises DatabaseError."""
        self._reconcile()
        while (started := self._start_next()) is not None:
            self._submit(started)

    def _work(self) -> None:
        trouble, since = "", 0.0
        while not self._closed.is_set():
            try:
                self.step()
                trouble = ""
            except (DatabaseError, RayUnavailable) as error:
                if str(error) != trouble:  # said once, not every second
                    log.warning("%s", error)
                    trouble, since = str(error), time.monotonic()
                elif isinstance(error, RayUnavailable) and time.monotonic() > since + TROUBLE_SECONDS:
                    self._tell_next(trouble)
            except Exception:
                log.exception("the queue goes on after an unexpected error")
            self._woken.wait(TICK_SECONDS)
            self._woken.clear()

    def _reconcile(self) -> None:
        query = select(studies).where(studies.c.state.in_(ACTIVE))
        with reading(self._store.engine) as connection:
            rows = connection.execute(query).mappings().all()
            moment = now(connection)
        ended = self._ended_jobs(rows)
        for row in rows:
            if is_free(row, moment):
                if (left := self._left_by(row["job"])) is not None:
                    self._put_back(row, self._with_cause(row, f"its driver is gone{left}"))
            elif reason := ended.get(row["id"]):
                self._put_back(row, self._with_cause(row, reason))
            elif self._is_slow(row, moment):
                slow = f"its driver has not started for {SLOW_SECONDS:g} s"
                self._tell(row["id"], self._with_cause(row, slow))
        jobs = {row["job"] for row in rows}
        self._stopping = {job: since for job, since in self._stopping.items() if job in jobs}

    def _is_mine(self, row: RowMapping) -> bool:
        """Whether this service has submitted its job and no driver has taken it up."""
        return (row["state"], row["lease_owner"]) == (STARTING, str(self._owner))

    def _is_slow(self, row: RowMapping, moment: datetime) -> bool:
        return self._is_mine(row) and bool(row["lease_since"] + timedelta(seconds=SLOW_SECONDS) < moment)

    def _with_cause(self, row: RowMapping, reason: str) -> str:
        cause = self._jobs.why() if self._is_mine(row) else ""
        return f"{reason}; Ray: {cause}" if cause else reason

    def _tell(self, study: str, trouble: str) -> None:
        with reading(self._store.engine) as connection:
            if connection.scalar(select(studies.c.trouble).where(studies.c.id == study)) == trouble:
                return
        with writing(self._store.engine) as connection:
            tell(connection, locked(connection, study), trouble, actor="service", time=now(connection))

    def _tell_next(self, trouble: str) -> None:
        """Say at the study that would run what keeps it from that."""
        with suppress(DatabaseError, StudyUnknown):
            with reading(self._store.engine) as connection:
                study = self._next(connection)
            if study is not None:
                self._tell(study, trouble)

    def _ended_jobs(self, rows: Sequence[RowMapping]) -> dict[str, str]:
        """Of these studies, those whose Ray job is over, with what Ray says.

        A job that Ray does not know may be of another cluster, where the lease tells; but not one that this service has
        submitted and that has not begun: Ray has started anew.
        """
        jobs = {row["job"]: row for row in rows if row["job"] is not None}
        if time.monotonic() < self._asked_ray + ASK_RAY_SECONDS:  # also without jobs, for `Jobs.known`
            return {}
        self._asked_ray = time.monotonic()
        try:
            states = self._jobs.states()
        except RayUnavailable:
            return {}
        ended = {}
        for job, row in jobs.items():
            if states.get(job) in ENDED:
                ended[row["id"]] = f"its Ray job has {states[job].lower()}"
            elif self._is_mine(row) and job not in states:
                ended[row["id"]] = "Ray has started anew and lost its job"
        return ended

    def _left_by(self, job: str | None) -> str | None:
        """What became of the job of a driver that is gone, in words; None while its driver or a worker lives.

        A driver that is frozen keeps its workers, and the next one would be without any. Ray is told to stop the job
        and given `STOP_SECONDS` for it.
        """
        if job is None:
            return ""
        try:
            if (state := self._jobs.states().get(job)) is None:
                return ""
            if state in ENDED and not self._jobs.workers(job):
                return ", its Ray job was stopped" if job in self._stopping else ""
            if job not in self._stopping:
                self._stopping[job] = time.monotonic()
                self._jobs.stop(job)
        except RayUnavailable:
            return ""  # nor does anything start
        if time.monotonic() < self._stopping[job] + STOP_SECONDS:
            return None
        return f", and Ray has not ended its job within {STOP_SECONDS:g} s"

    def _put_back(self, seen: RowMapping, reason: str) -> None:
        study, fence, job = seen["id"], seen["fence"], seen["job"]
        with suppress(RayUnavailable, DatabaseError):  # a disk that is full of it has room for the state
            if job is not None and (text := self._jobs.logs(job, LOG_LINES)):
                self._store.keep_log(study, job, text)
        with writing(self._store.engine) as connection:
            row = locked(connection, study)
            if row["fence"] != fence or row["state"] not in ACTIVE:
                return  # something has happened since it was looked at
            state = put_back(connection, row, actor="service", time=now(connection), reason=reason)
        log.warning("%s: %s; now %s", study, reason, state)

    def _start_next(self) -> Lease | None:
        """Claim the study that is to run next, if one more may run."""
        if time.monotonic() < self._not_before:
            return None
        with reading(self._store.engine) as connection:
            if self._next(connection) is None:
                return None
        self._jobs.states()  # where Ray is away, nothing is started only to be put back
        with writing(self._store.engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(QUEUE_LOCK)))
            study = self._next(connection)
            if study is None:
                return None
            row = locked(connection, study)
            if row["state"] != QUEUED:
                return None
            job = f"{study}-{row['fence'] + 1}"
            again = self._pause > 0 and row["trouble"] is not None  # Ray has refused it, which was said
            return grant(
                connection,
                row,
                STARTING,
                self._owner,
                STARTING_SECONDS,
                now(connection),
                actor="service",
                job=job,
                attempts=row["attempts"] + 1,
                trouble=row["trouble"] if again else None,
                quiet=again,
            )

    def _next(self, connection: Connection) -> str | None:
        """The id of the study that is to run next: by priority, then first come."""
        running = select(func.count()).select_from(studies).where(studies.c.state.in_(ACTIVE))
        if connection.scalars(running).one() >= self._max_running:
            return None
        moment = now(connection)
        due = or_(studies.c.not_before.is_(None), studies.c.not_before <= moment)
        waiting = select(studies.c.id).where(studies.c.state == QUEUED, due)
        order = (studies.c.priority.desc(), studies.c.created_at, studies.c.id)
        return connection.scalar(waiting.order_by(*order).limit(1))

    def _submit(self, lease: Lease) -> None:
        study = self._store.study_by_id(lease.study)
        command = [sys.executable, "-m", "service.worker", study.id, "--fence", str(lease.fence)]
        metadata = {
            "study": study.id,
            "name": study.name,
            "task": study.task_label,
            "methods": ", ".join(method["name"] for method in study.spec["methods"]),
            "trials": f"{study.trials} of {planned(study.spec)} when it started",
        }
        assert study.job is not None
        try:
            self._jobs.submit(study.job, shlex.join(command), metadata)
        except RayUnavailable as error:
            self._refused(lease, str(error))
            raise
        self._pause = 0.0
        if study.trouble is not None:
            self._accepted(lease)
        log.info("%s: started as Ray job %s", study.id, study.job)

    def _refused(self, lease: Lease, reason: str) -> None:
        """Queue the study again; the next start is tried after a pause, twice as long each time."""
        self._pause = min(2 * self._pause + 1, MAX_PAUSE_SECONDS)
        self._not_before = time.monotonic() + self._pause
        with writing(self._store.engine) as connection:
            row = locked(connection, lease.study)
            if (row["state"], row["fence"]) == (STARTING, lease.fence):
                values = {"attempts": row["attempts"] - 1, "job": None, "quiet": row["trouble"] == reason}
                change(
                    connection, row, QUEUED, actor="service", time=now(connection), reason=reason, **values
                )

    def _accepted(self, lease: Lease) -> None:
        """Say of a start that was tried quietly that it has come to something."""
        with writing(self._store.engine) as connection:
            row = locked(connection, lease.study)
            if (row["state"], row["fence"]) == (STARTING, lease.fence):
                tell(connection, row, None, actor="service", time=now(connection))


def planned(spec: Mapping[str, Any]) -> int:
    """How many trials a stored spec asks for."""
    return len(spec["methods"]) * int(spec["runs"]) * int(spec["trials"])
