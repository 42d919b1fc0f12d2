"""Studies in the database: creating, claiming, reading them, and writing them under a lease."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from service.database import events as log
from service.database.engine import now, reading, writing
from service.database.lease import Lease, actor_of, extend, take
from service.database.owner import Owner
from service.database.reads import Reads, without_result
from service.database.rows import (
    CONFIRMATION_COLUMNS,
    EPOCH_COLUMNS,
    REPEAT_COLUMNS,
    TRIAL_COLUMNS,
    one,
    one_or_none,
    outline,
    row_of,
    series_rows,
)
from service.database.states import change, locked, put_back, requested, tell
from service.database.tables import (
    confirmations,
    epochs,
    labels,
    logs,
    repeats,
    series,
    studies,
    submissions,
    trials,
)
from service.errors import LeaseLost, StateError, StoreError
from service.records import ACTIVE, CANCELLED, COMPLETED, FAILED, FINISHED, PAUSED, QUEUED, EventKind, as_json
from studies.design.published import deciding
from studies.design.spec import StudySpec
from studies.records import ConfirmationRecord, Request, StudyRecord, StudyState, TrialRecord, planned

LONGEST_SECONDS = 1e9  # of a trial: thirty years
LOG_CHARACTERS = 64 * 1024  # kept of a job's log, from its end
LOGS = 10  # kept per study, the last ones
SUBMISSION_DAYS = 7  # how long an Idempotency-Key is remembered


class Store(Reads):
    """All reads and writes of studies and trials.

    A store holds nothing but the engine: any number of threads may share one, processes may not. Every method is one
    transaction, done whole or not at all, and its effect outlives the process once it returns. Records are copies.

    A study's trials are written only by the process that holds its lease. A claim raises the study's fencing
    number and a write with an older number is refused, so a process that slept while its lease was taken over
    changes nothing.

    Every method raises DatabaseError if the database fails. The constructor raises it unless the schema is
    the one that this code was written for.
    """

    def create_study(
        self,
        spec: StudySpec,
        provenance: Mapping[str, Any],
        *,
        actor: str = "local",
        labels: Iterable[str] = (),
        priority: int = 0,
        key: str | None = None,
        hold: float = 0.0,
    ) -> StudyRecord:
        """Store a queued study, as `submit` does."""
        study, _ = self.submit(
            spec,
            provenance,
            actor=actor,
            labels=labels,
            priority=priority,
            key=key,
            hold=hold,
        )
        return study

    def submit(
        self,
        spec: StudySpec,
        provenance: Mapping[str, Any],
        *,
        actor: str,
        labels: Iterable[str] = (),
        priority: int = 0,
        key: str | None = None,
        hold: float = 0.0,
    ) -> tuple[StudyRecord, bool]:
        """Store a queued study. Returns its record and True, or a stored study of the same spec and False.

        The stored study stays as it is, except that values published in papers that the new spec states replace the
        stored ones.

        `key` is the sender's Idempotency-Key. If the same actor sends it again within a week, the same submission
        returns the same study, even if that was renamed or is running; a different submission raises StoreError.

        A service does not start a new study within `hold` seconds, in which its sender can claim it.
        """
        row = _row(spec, provenance, actor, priority)
        study, resolved = row["id"], row["spec"]
        sent = json.dumps([resolved, sorted(set(labels)), priority], sort_keys=True)
        submission = {"digest": hashlib.sha256(sent.encode()).hexdigest(), "study": study}
        try:
            with writing(self.engine) as connection:
                time = now(connection)
                if key is not None and self._submitted(connection, actor, key, submission, time):
                    return one(connection, study), False
                there = connection.scalar(select(studies.c.spec).where(studies.c.id == study))
                if there is None:
                    held = {"not_before": time + timedelta(seconds=hold)} if hold else {}
                    _insert(connection, row | held, labels, time)
                elif deciding(there) != deciding(resolved):
                    raise StoreError(
                        f"study {study} is stored with another spec; give this study another name"
                    )
                elif there != resolved and spec.states:
                    _restate(connection, row, time)
                if key is not None:
                    sender = {"actor": actor, "key": key, "created_at": time}
                    connection.execute(insert(submissions).values(sender | submission))
                return one(connection, study), there is None
        except IntegrityError:  # created by another process just now
            return self.submit(
                spec,
                provenance,
                actor=actor,
                labels=labels,
                priority=priority,
                key=key,
                hold=hold,
            )

    def _submitted(
        self, connection: Connection, actor: str, key: str, submission: Mapping[str, str], time: datetime
    ) -> bool:
        old = submissions.c.created_at < time - timedelta(days=SUBMISSION_DAYS)
        connection.execute(delete(submissions).where(old))
        mine = and_(submissions.c.actor == actor, submissions.c.key == key)
        before = connection.execute(select(submissions).where(mine)).mappings().one_or_none()
        if before is not None and before["digest"] != submission["digest"]:
            raise StoreError(f"Idempotency-Key {key!r} was used before for another submission; use a new key")
        if one_or_none(connection, submission["study"]) is not None:
            return before is not None
        if before is not None:
            # its study was deleted; what another request has stored under the key since then is left
            this = and_(mine, submissions.c.created_at == before["created_at"])
            connection.execute(delete(submissions).where(this))
        return False

    def edit(
        self,
        study: str,
        *,
        actor: str,
        name: str | None = None,
        labels: Iterable[str] | None = None,
        priority: int | None = None,
    ) -> StudyRecord:
        """Change what is not part of the spec; None leaves a value as it is. Raises StudyUnknown."""
        with writing(self.engine) as connection:
            locked(connection, study)
            given = {"name": name, "priority": priority}
            values: dict[str, Any] = {column: value for column, value in given.items() if value is not None}
            if values:
                connection.execute(update(studies).where(studies.c.id == study).values(**values))
            if labels is not None:
                values["labels"] = _label(connection, study, labels)
            if values:
                log.append(connection, study, EventKind.EDIT, values, actor=actor, time=now(connection))
            return one(connection, study)

    def ask(self, study: str, request: Request, *, actor: str) -> StudyRecord:
        """Pause or cancel a study: at once if nobody runs it, else as soon as its driver can.

        A repeated request changes nothing. Raises StudyUnknown, or StateError if the state does not allow it.
        """
        to = CANCELLED if request is Request.CANCEL else PAUSED
        with writing(self.engine) as connection:
            row = locked(connection, study)
            time = now(connection)
            if row["state"] in ACTIVE:
                order = [None, Request.PAUSE, Request.PAUSE_NOW, Request.CANCEL]
                if order.index(row["requested"]) < order.index(request):
                    connection.execute(update(studies).where(studies.c.id == study).values(requested=request))
                    data = {"requested": request}
                    log.append(connection, study, EventKind.REQUEST, data, actor=actor, time=time)
            elif row["state"] != to:
                change(connection, row, to, actor=actor, time=time)
            return one(connection, study)

    def resume(self, study: str, *, actor: str) -> StudyRecord:
        """Queue a paused, failed or cancelled study again; withdraw the request to stop from a running one.

        Raises StudyUnknown, or StateError if the study is completed, or has all its trials and an arm without a result.
        """
        with writing(self.engine) as connection:
            row = locked(connection, study)
            time = now(connection)
            if row["state"] in ACTIVE:
                if row["requested"] is not None:
                    connection.execute(update(studies).where(studies.c.id == study).values(requested=None))
                    data = {"requested": None}
                    log.append(connection, study, EventKind.REQUEST, data, actor=actor, time=time)
            elif row["state"] != QUEUED:
                if row["state"] == FAILED and (reason := without_result(connection, row)):
                    raise StateError(
                        f"study {study} has all its trials, so none is left to run; fix the cause, "
                        f"then submit it under another name: {reason}"
                    )
                change(connection, row, QUEUED, actor=actor, time=time, attempts=0)
            return one(connection, study)

    def delete(self, study: str) -> None:
        """Remove a finished study with its trials and events. Raises StudyUnknown, StateError."""
        with writing(self.engine) as connection:
            row = locked(connection, study)
            if row["state"] not in FINISHED:
                raise StateError(
                    f"study {study} is {row['state']}; only a study in one of the states {', '.join(FINISHED)} "
                    "can be deleted"
                )
            connection.execute(delete(studies).where(studies.c.id == study))

    def requested(self, lease: Lease) -> Request | None:
        """Return what the driver of the study is asked to do, None if nothing. Raises LeaseLost."""
        query = select(studies.c.requested, studies.c.fence).where(studies.c.id == lease.study)
        with reading(self.engine) as connection:
            row = connection.execute(query).one_or_none()
        if row is None or row.fence != lease.fence:
            raise LeaseLost(f"this process no longer runs study {lease.study}")
        return None if row.requested is None else Request(row.requested)

    def claim(self, study: str, owner: Owner, lease_seconds: float, *, fence: int | None = None) -> Lease:
        """Take the study with this id and set it running. Of all processes that try, one succeeds.

        A lease is taken over if it has expired, or if its owner is a process of this host that has ended. `fence` is
        for a driver that the service started. Raises LeaseHeld if another process has the study, LeaseLost if the
        service no longer wants that start, and StoreError if the study is unknown or completed.
        """
        if not lease_seconds > 0:
            raise ValueError(f"lease_seconds must be above 0, got {lease_seconds!r}")
        with writing(self.engine) as connection:
            return take(connection, study, owner, lease_seconds, fence=fence)

    def renew(self, lease: Lease) -> None:
        """Renew the lease for its full length from now. Raises LeaseLost."""
        with writing(self.engine) as connection:
            extend(connection, lease)

    def record(self, lease: Lease, trial: TrialRecord) -> None:
        """Store a finished trial with its epochs, repeats and series, and renew the lease.

        Raises LeaseLost, or StoreError if it is not the next trial of its run or has values that no trial can have.
        """
        if trial.study != lease.study:
            raise ValueError(f"a trial of {trial.study} cannot be written under the lease of {lease.study}")
        which = f"trial {trial.trial} of {trial.arm} run {trial.run} of study {trial.study}"
        run = (trials.c.study == trial.study, trials.c.arm == trial.arm, trials.c.run == trial.run)
        values = row_of(TRIAL_COLUMNS, trial) | {"hyperparameters": dict(trial.hyperparameters)}
        try:
            with writing(self.engine) as connection:
                time = extend(connection, lease, **_counted(trial))
                done = connection.scalar(select(func.max(trials.c.trial)).where(*run)) or 0
                if trial.trial <= done:
                    raise StoreError(f"{which} is recorded already")
                if trial.trial > done + 1:
                    raise StoreError(f"{which} cannot be recorded before trial {done + 1}")
                row = connection.scalar(insert(trials).values(values).returning(trials.c.id))
                if trial.epochs:
                    rows = [{"trial": row} | row_of(EPOCH_COLUMNS, epoch) for epoch in trial.epochs]
                    connection.execute(insert(epochs), rows)
                if trial.repeats:
                    each = [row_of(REPEAT_COLUMNS, repeat) for repeat in trial.repeats]
                    rows = [{"trial": row, "number": n} | values for n, values in enumerate(each, start=1)]
                    connection.execute(insert(repeats), rows)
                if rows := series_rows(row, trial):
                    connection.execute(insert(series), rows)
                data = {key: getattr(trial, key) for key in ("arm", "run", "trial", "state")}
                data["objective"] = as_json(trial.objective)
                log.append(
                    connection, trial.study, EventKind.TRIAL, data, actor=actor_of(lease.owner), time=time
                )
        except IntegrityError as error:
            raise StoreError(f"{which} is refused by the database: {error.orig}") from error

    def confirm(self, lease: Lease, confirmation: ConfirmationRecord) -> None:
        """Store a confirmation and renew the lease. Raises LeaseLost, or StoreError if it is recorded already."""
        if confirmation.study != lease.study:
            raise ValueError(
                f"a confirmation of {confirmation.study} cannot be written under the lease of {lease.study}"
            )
        try:
            with writing(self.engine) as connection:
                time = extend(connection, lease, attempts=0)
                connection.execute(insert(confirmations).values(row_of(CONFIRMATION_COLUMNS, confirmation)))
                keys = ("arm", "run", "trial", "number", "state")
                data = {key: getattr(confirmation, key) for key in keys}
                data["test_metric"] = as_json(confirmation.test_metric)
                actor, kind = actor_of(lease.owner), EventKind.CONFIRMATION
                log.append(connection, lease.study, kind, data, actor=actor, time=time)
        except IntegrityError as error:
            which = f"confirmation {confirmation.number} of trial {confirmation.trial}"
            run = f"{confirmation.arm} run {confirmation.run} of study {confirmation.study}"
            raise StoreError(f"{which} of {run} is refused by the database: {error.orig}") from error

    def tell(self, lease: Lease, trouble: str | None) -> None:
        """Record why the study does not go on, or with None that it does. Raises LeaseLost."""
        with writing(self.engine) as connection:
            time = extend(connection, lease)
            row = locked(connection, lease.study)
            tell(connection, row, trouble, actor=actor_of(lease.owner), time=time)

    def keep_log(self, study: str, job: str, text: str) -> None:
        """Store the end of a job's log in place of what was stored of it, and drop all but the study's last logs."""
        this = and_(logs.c.study == study, logs.c.job == job)
        mine = select(logs.c.job).where(logs.c.study == study).order_by(logs.c.time.desc(), logs.c.job)
        with suppress(IntegrityError), writing(self.engine) as connection:  # the study was just deleted
            connection.execute(delete(logs).where(this))
            row = {"study": study, "job": job, "time": now(connection), "text": text[-LOG_CHARACTERS:]}
            connection.execute(insert(logs).values(row))
            old = list(connection.scalars(mine.offset(LOGS)))
            connection.execute(delete(logs).where(logs.c.study == study, logs.c.job.in_(old)))

    def ran_on(self, lease: Lease, provenance: Mapping[str, Any]) -> None:
        """Store what the study runs on as its provenance, or under `continued` in it if the study began elsewhere."""
        this = studies.c.id == lease.study
        with writing(self.engine) as connection:
            extend(connection, lease)
            stored = dict(connection.scalars(select(studies.c.provenance).where(this)).one())
            earlier = stored.pop("continued", [])
            if dict(provenance) in [stored, *earlier]:
                return
            if stored:
                stored["continued"] = [*earlier, dict(provenance)]
            else:  # submitted to the service, whose machine does not train
                stored = dict(provenance)
            connection.execute(update(studies).where(this).values(provenance=stored))

    def finish(self, lease: Lease, state: StudyState, error: str | None = None) -> StudyState:
        """Give the lease back and leave the study in `state`, not running, with the reason if it failed.

        A study to be queued or paused is instead paused or cancelled if that was requested. Returns its new state.
        Raises LeaseLost, or StoreError if the study is to be completed, but lacks trials and is not one to stop early.
        """
        if state in ACTIVE:
            raise ValueError("a study that is given back cannot be left running")
        with writing(self.engine) as connection:
            time = extend(connection, lease)
            row = locked(connection, lease.study)
            if state in (QUEUED, PAUSED):
                state = requested(row, state)
            if state is COMPLETED:
                mine = trials.c.study == lease.study
                stored = connection.scalar(select(func.count()).select_from(trials).where(mine))
                wanted, early = planned(row["spec"]), "stop_when" in row["spec"]
                if stored != wanted and not early:
                    raise StoreError(
                        f"study {lease.study} has {stored} of {wanted} trials and cannot be completed"
                    )
            change(connection, row, state, actor=actor_of(lease.owner), time=time, reason=error)
            return state

    def give_up(self, lease: Lease, reason: str) -> StudyState:
        """Give the lease back after a fault that may pass: the study is queued again, a bounded number of times.

        Returns its new state. Raises LeaseLost.
        """
        with writing(self.engine) as connection:
            time = extend(connection, lease)
            row = locked(connection, lease.study)
            return put_back(connection, row, actor=actor_of(lease.owner), time=time, reason=reason)


def _counted(trial: TrialRecord) -> dict[str, Any]:
    """Return what the trial adds to its study's sums. A trial that was taken over adds no seconds."""
    c, state = studies.c, trial.state.value
    if trial.taken_from is not None:
        return {state: c[state] + 1, "taken_over": c.taken_over + 1, "attempts": 0}
    return {
        state: c[state] + 1,
        "suggest_seconds": c.suggest_seconds + _summed(trial.suggest_seconds),
        "train_seconds": c.train_seconds + _summed(trial.train_seconds),
        "attempts": 0,
    }


def _summed(seconds: float) -> float:
    """Return the seconds to add to a study's sums: 0 for an impossible value, which would spoil them for good."""
    return seconds if 0 <= seconds <= LONGEST_SECONDS else 0.0


def _row(spec: StudySpec, provenance: Mapping[str, Any], actor: str, priority: int) -> dict[str, Any]:
    """Return a new study's row in `studies`, without its creation time."""
    resolved = spec.to_json()
    return {
        "id": spec.study_id,
        "name": spec.name,
        "task": spec.task,
        "state": QUEUED,
        "direction": spec.task_definition().direction,
        "spec": resolved,
        "outline": outline(resolved),
        "provenance": dict(provenance),
        "priority": priority,
        "submitted_by": actor,
    }


def _insert(connection: Connection, row: Mapping[str, Any], labels: Iterable[str], time: datetime) -> None:
    connection.execute(insert(studies).values(**row, created_at=time))
    _label(connection, row["id"], labels)
    data = {"from": None, "to": QUEUED, "reason": None}
    log.append(connection, row["id"], EventKind.STATE, data, actor=row["submitted_by"], time=time)


def _restate(connection: Connection, row: Mapping[str, Any], time: datetime) -> None:
    """Replace the stored spec by the row's, which differs only in what it states of papers."""
    study, spec = row["id"], row["spec"]
    locked(connection, study)
    connection.execute(update(studies).where(studies.c.id == study).values(spec=spec))
    stated = [arm["name"] for arm in spec["arms"] if "published" in arm]
    stated += [each["name"] for each in spec.get("published", ())]
    log.append(connection, study, EventKind.EDIT, {"published": stated}, actor=row["submitted_by"], time=time)


def _label(connection: Connection, study: str, given: Iterable[str]) -> list[str]:
    connection.execute(delete(labels).where(labels.c.study == study))
    rows = [{"study": study, "label": label} for label in sorted(set(given))]
    if rows:
        connection.execute(insert(labels), rows)
    return [row["label"] for row in rows]
