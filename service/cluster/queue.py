"""The queue: starts queued studies as Ray jobs, and puts back those whose driver is gone."""

import logging
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from service.cluster.jobs import ENDED, Jobs
from service.cluster.periodic import Periodic
from service.database.claims import SLOW_SECONDS, Claims, HeldStudy
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.errors import DatabaseError, RayUnavailable, StudyUnknown

STOP_SECONDS = 60.0  # how long Ray may take to end the job of a driver that is gone
LOG_LINES = 1000  # how many lines of that job's log are kept
TICK_SECONDS = 1.0
ASK_RAY_SECONDS = 3.0  # how often Ray is asked what has become of the running studies' jobs
TROUBLE_SECONDS = (
    15.0  # how long Ray may be away, for example to start, before a study that waits for it says so
)
MAX_PAUSE_SECONDS = 60.0  # between starts that Ray refuses

log = logging.getLogger("tunebench.queue")


class Queue(Periodic):
    """Works in its own thread while its context is open. Any number of services may share one database.

    All it knows is in the database: it may die at any moment, and another queue goes on. `wake` makes it look at once.
    """

    def __init__(self, store: Store, jobs: Jobs, max_running: int) -> None:
        self._store, self._jobs = store, jobs
        self._claims = Claims(store.engine, Owner.current(), max_running)
        self._asked_ray = -ASK_RAY_SECONDS
        self._pause, self._not_before = 0.0, 0.0  # after a start that Ray has refused
        self._stopping: dict[str, float] = {}  # since when, by job
        self._trouble, self._trouble_since = "", 0.0
        super().__init__(TICK_SECONDS, self._step_or_tell, name="queue")
        self.wake()  # it looks as soon as its context is entered

    def step(self) -> None:
        """Put back studies that lost their driver, then start as many as may run. Raises DatabaseError."""
        self._reconcile()
        while (started := self._start_next()) is not None:
            self._submit(started)

    def _step_or_tell(self) -> None:
        try:
            self.step()
            self._trouble = ""
        except (DatabaseError, RayUnavailable) as error:
            now = time.monotonic()
            if str(error) != self._trouble:  # logged once, not every second
                log.warning("%s", error)
                self._trouble, self._trouble_since = str(error), now
            elif isinstance(error, RayUnavailable) and now > self._trouble_since + TROUBLE_SECONDS:
                self._tell_next(self._trouble)

    def _reconcile(self) -> None:
        held = self._claims.held()
        ended = self._ended_jobs(held)
        for one in held:
            if one.free:
                if (left := self._fate_of_job(one.job)) is not None:
                    self._put_back(one, self._with_cause(one, f"its driver is gone{left}"))
            elif reason := ended.get(one.study):
                self._put_back(one, self._with_cause(one, reason))
            elif one.slow:
                slow = f"its driver has not started after {SLOW_SECONDS:g} s"
                self._claims.tell(one.study, self._with_cause(one, slow))
        jobs = {one.job for one in held}
        self._stopping = {job: since for job, since in self._stopping.items() if job in jobs}

    def _with_cause(self, held: HeldStudy, reason: str) -> str:
        cause = self._jobs.why() if held.unclaimed else ""
        return f"{reason}; Ray: {cause}" if cause else reason

    def _tell_next(self, trouble: str) -> None:
        """Record on the study that would run next why it does not."""
        with suppress(DatabaseError, StudyUnknown):
            if (study := self._claims.next()) is not None:
                self._claims.tell(study, trouble)

    def _ended_jobs(self, held: Sequence[HeldStudy]) -> dict[str, str]:
        """Return the studies whose Ray job has ended, each with what Ray says.

        A job that Ray does not know may belong to another cluster, and then only the lease can tell. But if this
        service has submitted the job and no driver has begun, Ray has started again and lost it.
        """
        jobs = {one.job: one for one in held if one.job is not None}
        if time.monotonic() < self._asked_ray + ASK_RAY_SECONDS:  # also without jobs, for `Jobs.known`
            return {}
        self._asked_ray = time.monotonic()
        try:
            states = self._jobs.states()
        except RayUnavailable:
            return {}
        ended = {}
        for job, one in jobs.items():
            if states.get(job) in ENDED:
                ended[one.study] = f"its Ray job has {states[job].lower()}"
            elif one.unclaimed and job not in states:
                ended[one.study] = "Ray restarted and lost its job"
        return ended

    def _fate_of_job(self, job: str | None) -> str | None:
        """Return what became of the job of a driver that is gone, in words; None while its driver or a worker lives.

        A frozen driver keeps its workers, and the next driver would have none. So Ray is told to stop the job, and
        given `STOP_SECONDS` to do so.
        """
        if job is None:
            return ""
        try:
            if (state := self._jobs.states().get(job)) is None:
                return ""
            if state in ENDED and not self._jobs.workers(job):
                return ", and its Ray job was stopped" if job in self._stopping else ""
            if job not in self._stopping:
                self._stopping[job] = time.monotonic()
                self._jobs.stop(job)
        except RayUnavailable:
            return ""  # without Ray no other driver starts either
        if time.monotonic() < self._stopping[job] + STOP_SECONDS:
            return None
        return f", and Ray has not ended its job within {STOP_SECONDS:g} s"

    def _put_back(self, held: HeldStudy, reason: str) -> None:
        with suppress(RayUnavailable, DatabaseError):  # a disk that the log has filled has room for the state
            if held.job is not None and (text := self._jobs.logs(held.job, LOG_LINES)):
                self._store.keep_log(held.study, held.job, text)
        if (state := self._claims.put_back(held, reason)) is not None:
            log.warning("%s: %s; now %s", held.study, reason, state)

    def _start_next(self) -> Lease | None:
        """Claim the study that is to run next, if one more may run; None otherwise."""
        if time.monotonic() < self._not_before or self._claims.next() is None:
            return None
        self._jobs.states()  # raises if Ray is away, so that no study is claimed only to be put back
        return self._claims.claim(again=self._pause > 0)

    def _submit(self, lease: Lease) -> None:
        study = self._store.study_by_id(lease.study)
        command = [sys.executable, "-m", "service.worker", study.id, "--fence", str(lease.fence)]
        metadata = {
            "study": study.id,
            "name": study.name,
            "task": study.task_label,
            "arms": ", ".join(study.arms),
            "trials": f"{study.trials} of {study.planned} when it started",
        }
        assert study.job is not None
        try:
            self._jobs.submit(study.job, shlex.join(command), metadata)
        except RayUnavailable as error:
            self._refused(lease, str(error))
            raise
        self._pause = 0.0
        if study.trouble is not None:
            self._claims.accepted(lease)
        log.info("%s: started as Ray job %s", study.id, study.job)

    def _refused(self, lease: Lease, reason: str) -> None:
        """Queue the study again. The next start is tried after a pause, which doubles each time."""
        self._pause = min(2 * self._pause + 1, MAX_PAUSE_SECONDS)
        self._not_before = time.monotonic() + self._pause
        self._claims.refused(lease, reason)
