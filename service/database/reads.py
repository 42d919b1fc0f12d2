"""Reads of studies and trials from the database."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from service.database import events as log
from service.database.engine import now, reading, require_schema
from service.database.lookup import DIGITS, ambiguous, matching
from service.database.rows import (
    CONFIRMATION_COLUMNS,
    EPOCH_COLUMNS,
    LISTED_COLUMNS,
    TRIAL_COLUMNS,
    confirmation_record,
    named,
    one_or_none,
    repeats_of,
    series_of,
    study_records,
    trial_record,
)
from service.database.tables import (
    best_so_far,
    confirmations,
    epochs,
    events,
    labels,
    logs,
    series,
    studies,
    trials,
)
from service.database.trial_order import BY_NUMBER, TrialOrder
from service.errors import DatabaseError, StoreError, StudyUnknown
from service.records import QUEUED, EventKind, EventRecord
from studies.analysis.failures import LONGEST, nothing
from studies.records import (
    ConfirmationRecord,
    EpochRecord,
    Series,
    StudyRecord,
    StudyState,
    TrialRecord,
    TrialState,
    planned,
)
from trainers.tasks import TASKS, WHOLE, Proxy

AT_ONCE = 500  # addresses that one query looks for
LAST_STUDIES = 20  # how many of the newest studies `machines` and `_sums_of_arms` look at
FULL_BYTES = 2**20  # a disk with less free space counts as full


class Outcome(NamedTuple):
    """The part of a finished trial that a curve needs."""

    arm: str
    run: int
    trial: int
    objective: float | None


class Ended(NamedTuple):
    """The end of a trial, with no more of its error than is shown."""

    arm: str
    trial: int
    state: TrialState
    error: str | None


class Totals(NamedTuple):
    """Sums over all studies; `waited` is how many seconds the study queued longest has waited.

    `taken_over` counts the trials that another study has trained; the seconds do not include them.
    """

    studies: dict[StudyState, int]
    trials: dict[TrialState, int]
    taken_over: int
    suggest_seconds: float
    train_seconds: float
    waited: float


class Reads:
    """All reads. Records are copies. Every method raises DatabaseError if the database fails."""

    def __init__(self, engine: Engine) -> None:
        require_schema(engine)
        self.engine = engine

    def studies(
        self,
        *,
        states: Sequence[StudyState] = (),
        task: str | None = None,
        label: str | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int | None = None,
    ) -> list[StudyRecord]:
        """Return the studies, newest first; `before` is the creation time and id of the last one seen.

        Each has the outline of its spec (`rows.outline`) and no provenance.
        """
        if (
            not f"{task or ''}{label or ''}".isprintable()
        ):  # a NUL or half a character, which neither database can be asked for
            return []
        # PostgreSQL and SQLite both follow an index of (x, created_at, id) backwards
        query = (
            select(*LISTED_COLUMNS).order_by(studies.c.created_at.desc(), studies.c.id.desc()).limit(limit)
        )
        if states:
            query = query.where(studies.c.state.in_(states))
        if task is not None:
            query = query.where(studies.c.task == task)
        if label is not None:
            labelled = select(labels.c.study).where(labels.c.label == label)
            query = query.where(studies.c.id.in_(labelled))
        if before is not None:
            query = query.where(tuple_(studies.c.created_at, studies.c.id) < tuple_(*_bound(before)))
        with reading(self.engine) as connection:
            return study_records(connection, connection.execute(query).all(), LISTED_COLUMNS)

    def study(self, key: str) -> StudyRecord:
        """Return the study that `key` fits by `lookup.matching`. Raises StudyUnknown, or StoreError if several fit."""
        # LIKE would not use the index
        fits = [and_(studies.c.id >= key, studies.c.id < key + "\U0010ffff"), studies.c.name == key]
        if DIGITS.fullmatch(key):
            fits.append(studies.c.id.like(f"%-{key}%"))
        query = select(studies.c.id, studies.c.name).where(or_(*fits)).order_by(studies.c.id)
        with reading(self.engine) as connection:
            # neither database can be asked for a NUL or half a character
            found = connection.execute(query).all() if key.isprintable() else []
            ids = matching(key, [(row.id, row.name) for row in found])
            if len(ids) > 1:
                raise StoreError(ambiguous(key, ids))
            record = one_or_none(connection, ids[0]) if ids else None
            if record is None:
                raise _unknown(connection, key)
            return record

    def study_by_id(self, study: str) -> StudyRecord:
        """Return the study with exactly this id. Raises StudyUnknown."""
        with reading(self.engine) as connection:
            record = one_or_none(connection, study) if study.isprintable() else None
        if record is None:
            raise StudyUnknown(f"no study {study!r}")
        return record

    def events(self, study: str, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        """Return the study's events after event `after`, in order, at most `limit`."""
        with reading(self.engine) as connection:
            return log.after(connection, study, after, limit)

    def log(self, study: str) -> str | None:
        """Return the end of the study's last kept log, None if there is none."""
        query = select(logs.c.text).where(logs.c.study == study).order_by(logs.c.time.desc()).limit(1)
        with reading(self.engine) as connection:
            return connection.scalar(query)

    def last_events(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the number of the last event of each of these studies that exists."""
        query = select(studies.c.id, studies.c.last_event).where(studies.c.id.in_(ids))
        with reading(self.engine) as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def seconds_per_trial(self, task: str, proxy: Proxy = WHOLE) -> tuple[int, float, float] | None:
        """Return the number of trials trained on the task, or on this proxy of it, and their mean seconds to suggest
        and for one training; None if there are none."""
        ended = studies.c.completed + studies.c.diverged - studies.c.taken_over
        repeats = studies.c.outline["repeats"].as_integer()
        done, trained = func.sum(ended), func.sum(ended * func.coalesce(repeats, 1))
        sums = select(done, trained, func.sum(studies.c.suggest_seconds), func.sum(studies.c.train_seconds))
        same = [studies.c.task == task, studies.c.outline["mixed"].as_boolean().is_(None)]
        for field in fields(Proxy):
            stored, value = studies.c.outline["proxy", field.name], getattr(proxy, field.name)
            match value:  # PostgreSQL cannot cast a word to a number, or compare it with one
                case None:
                    same.append(stored.as_string().is_(None))
                case str():
                    same.append(stored.as_string() == value)
                case _:
                    same.append(stored.as_float() == value)
        with reading(self.engine) as connection:
            rows = [connection.execute(sums.where(*same)).one(), *_sums_of_arms(connection, task, proxy)]
        total = [sum(row[i] or 0 for row in rows) for i in range(4)]
        return (int(total[0]), total[2] / total[0], total[3] / total[1]) if total[0] else None

    def incumbents(self, study: str, *, maximize: bool) -> dict[str, TrialRecord]:
        """Return, by arm, the best trial of each arm that has one; of equals, the first to finish."""
        # grouped rather than ranked by a window function, which takes several times as long
        mine, best = trials.c.study == study, func.max if maximize else func.min
        tops = select(trials.c.arm, best(trials.c.objective).label("top")).where(mine)
        top = tops.group_by(trials.c.arm).subquery()
        holds = and_(top.c.arm == trials.c.arm, top.c.top == trials.c.objective)
        first = select(func.min(trials.c.id)).join(top, holds).where(mine).group_by(trials.c.arm)
        with reading(self.engine) as connection:
            rows = connection.execute(select(trials.c.id, *TRIAL_COLUMNS).where(trials.c.id.in_(first))).all()
            of = repeats_of(connection, [trials.c.id.in_([row.id for row in rows])])
        return {row.arm: trial_record(named(TRIAL_COLUMNS, row[1:]), (), of.get(row.id, ())) for row in rows}

    def runs(
        self, study: str, *, maximize: bool
    ) -> dict[tuple[str, int], tuple[int, float | None, int | None]]:
        """Return for each run with a trial, by arm and run: how many trials, the best objective, the trial with it."""
        mine, best = trials.c.study == study, func.max if maximize else func.min
        number, top = func.count().label("number"), best(trials.c.objective).label("top")
        of_run = (trials.c.arm, trials.c.run)
        run = select(*of_run, number, top).where(mine).group_by(*of_run).subquery()
        holds = and_(
            mine, run.c.arm == trials.c.arm, run.c.run == trials.c.run, run.c.top == trials.c.objective
        )
        query = select(*run.c, func.min(trials.c.trial)).outerjoin(trials, holds).group_by(*run.c)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return {(row[0], row[1]): (row[2], row[3], row[4]) for row in rows}

    def trial(self, study: str, arm: str, run: int, number: int) -> TrialRecord | None:
        """Return one trial with its epochs, without its series; None if there is none."""
        this = (
            trials.c.study == study,
            trials.c.arm == arm,
            trials.c.run == run,
            trials.c.trial == number,
        )
        with reading(self.engine) as connection:
            row = connection.execute(select(trials.c.id, *TRIAL_COLUMNS).where(*this)).one_or_none()
            if row is None:
                return None
            of_trial = select(*EPOCH_COLUMNS).where(epochs.c.trial == row[0]).order_by(epochs.c.epoch)
            rows = connection.execute(of_trial).all()
            repeated = repeats_of(connection, [trials.c.id == row[0]]).get(row[0], ())
        trained = tuple(EpochRecord(**named(EPOCH_COLUMNS, e)) for e in rows)
        return trial_record(named(TRIAL_COLUMNS, row[1:]), trained, repeated)

    def trials_page(
        self,
        study: str,
        *,
        arm: str | None = None,
        run: int | None = None,
        states: Sequence[TrialState] = (),
        order: TrialOrder = BY_NUMBER,
        after: Sequence[Any] | None = None,
        limit: int = 100,
    ) -> list[tuple[TrialRecord, list[Any]]]:
        """Return a page of a study's trials without epochs, each with its place. The last place is the next `after`."""
        chosen = [trials.c.study == study]
        chosen += [] if arm is None else [trials.c.arm == arm]
        chosen += [] if run is None else [trials.c.run == run]
        chosen += [trials.c.state.in_(states)] if states else []
        chosen += [] if after is None else [order.after(after)]
        query = select(trials.c.id, *TRIAL_COLUMNS, *order.keys()).where(*chosen)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(*order.clauses()).limit(limit)).all()
            of = repeats_of(connection, [trials.c.id.in_([row[0] for row in rows])])
        n = len(TRIAL_COLUMNS) + 1
        return [
            (trial_record(named(TRIAL_COLUMNS, row[1:n]), (), of.get(row[0], ())), list(row[n:]))
            for row in rows
        ]

    def series(
        self, study: str, arm: str, run: int, number: int, *, signs: bool = True
    ) -> tuple[tuple[Series, ...], ...]:
        """Return the series of each training of one trial; without `signs`, not the series of all weights' signs."""
        t = trials.c
        this = [t.study == study, t.arm == arm, t.run == run, t.trial == number]
        if not signs:
            this.append(series.c.name != "signs")
        with reading(self.engine) as connection:
            return next(iter(series_of(connection, this).values()), ())

    def trials(
        self, study: str, arm: str | None = None, *, with_epochs: bool = False, with_series: bool = False
    ) -> list[TrialRecord]:
        """Return the trials of the study with this id, ordered by arm, run and trial, in at most four queries.

        Without `with_epochs` their `epochs` are empty, without `with_series` their `series`.
        """
        chosen = [trials.c.study == study] + ([] if arm is None else [trials.c.arm == arm])
        query = select(trials.c.id, *TRIAL_COLUMNS).where(*chosen)
        query = query.order_by(trials.c.arm, trials.c.run, trials.c.trial)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
            of = repeats_of(connection, chosen)
            of_trial = _epochs_of(connection, chosen) if with_epochs else {}
            recorded = series_of(connection, chosen) if with_series else {}
        return [
            trial_record(
                named(TRIAL_COLUMNS, row[1:]),
                of_trial.get(row[0], ()),
                of.get(row[0], ()),
                recorded.get(row[0], ()),
            )
            for row in rows
        ]

    def confirmations(self, study: str, of: tuple[str, int, int] | None = None) -> list[ConfirmationRecord]:
        """Return the study's confirmations, or those `of` one trial, ordered by arm, run, trial and number."""
        c = confirmations.c
        query = select(*CONFIRMATION_COLUMNS).where(c.study == study)
        if of is not None:
            query = query.where(c.arm == of[0], c.run == of[1], c.trial == of[2])
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(c.arm, c.run, c.trial, c.number)).all()
        return [confirmation_record(named(CONFIRMATION_COLUMNS, row)) for row in rows]

    def at(
        self, addresses: Sequence[str], *, with_epochs: bool = True
    ) -> dict[str, TrialRecord | ConfirmationRecord]:
        """Return, by address, the trials and confirmations with a result at these addresses.

        Of several it is the first trial, or without a trial the first confirmation.
        """
        found: dict[str, TrialRecord | ConfirmationRecord] = {}
        for start in range(0, len(addresses), AT_ONCE):
            some = addresses[start : start + AT_ONCE]
            with reading(self.engine) as connection:
                found |= _confirmations_at(connection, some) | _trials_at(connection, some, with_epochs)
        return found

    def machines(self, task: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return each machine that the last studies of the task ran on, after the study's id; the newest first."""
        query = select(studies.c.id, studies.c.provenance).where(studies.c.task == task)
        query = query.where(studies.c.started_at.is_not(None))
        newest = query.order_by(studies.c.created_at.desc(), studies.c.id.desc()).limit(LAST_STUDIES)
        with reading(self.engine) as connection:
            rows = connection.execute(newest).all()
        return [(id, on) for id, first in rows for on in [*first.get("continued", [])[::-1], first] if on]

    def epoch_range_by_arm(self, study: str) -> dict[str, tuple[int, int]]:
        """Return, by arm, the fewest and most epochs of its completed trials. The database counts, which is faster."""
        completed = and_(trials.c.study == study, trials.c.state == TrialState.COMPLETED)
        counted = (
            select(trials.c.arm, func.count(epochs.c.trial).label("done"))
            .outerjoin(epochs, epochs.c.trial == trials.c.id)
            .where(completed)
            .group_by(trials.c.id, trials.c.arm)
            .subquery()
        )
        fewest, most = func.min(counted.c.done), func.max(counted.c.done)
        with reading(self.engine) as connection:
            rows = connection.execute(select(counted.c.arm, fewest, most).group_by(counted.c.arm)).all()
        return {arm: (low, high) for arm, low, high in rows}

    def outcomes(self, study: str) -> list[Outcome]:
        """Return the objectives of the study's trials, ordered by arm, run and trial, for its curves."""
        columns = (trials.c.arm, trials.c.run, trials.c.trial, trials.c.objective)
        query = select(*columns).where(trials.c.study == study)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(trials.c.arm, trials.c.run, trials.c.trial)).all()
        return [Outcome(*row) for row in rows]

    def totals(self) -> Totals:
        """Return the sums over all studies."""
        counts = {TrialState.COMPLETED: studies.c.completed, TrialState.DIVERGED: studies.c.diverged}
        counts[TrialState.FAILED] = studies.c.failed
        sums = [func.sum(column) for column in counts.values()]
        seconds = [
            func.sum(c) for c in (studies.c.taken_over, studies.c.suggest_seconds, studies.c.train_seconds)
        ]
        by_state = select(studies.c.state, func.count(), *sums, *seconds).group_by(studies.c.state)
        # a study was queued by its last change of state, which is among its last events
        changes = select(events.c.time).where(
            events.c.study == studies.c.id, events.c.kind == EventKind.STATE
        )
        queued = changes.order_by(events.c.number.desc()).limit(1).scalar_subquery()
        oldest = select(func.min(queued)).where(studies.c.state == QUEUED)
        with reading(self.engine) as connection:
            rows = connection.execute(by_state).all()
            since = connection.scalar(oldest)
            waited = 0.0 if since is None else max((now(connection) - since).total_seconds(), 0.0)
        *done, taken_over, suggest_seconds, train_seconds = (
            sum(row[2 + i] for row in rows) for i in range(6)
        )
        return Totals(
            studies={StudyState(row[0]): row[1] for row in rows},
            trials=dict(zip(counts, done, strict=True)),
            taken_over=taken_over,
            suggest_seconds=suggest_seconds,
            train_seconds=train_seconds,
            waited=waited,
        )

    def require_ready(self) -> None:
        """Raise DatabaseError if the database does not answer, lacks its tables, or its disk is full."""
        require_schema(self.engine)
        if self.engine.dialect.name != "sqlite":
            return
        folder = Path(str(self.engine.url.database)).absolute().parent
        if shutil.disk_usage(folder).free < FULL_BYTES:
            raise DatabaseError(f"the disk of {folder} is full", "has no disk space left")

    def ended(self, study: str, *, failed: bool = False) -> list[Ended]:
        """Return how each of the study's trials, or failed trials, ended, ordered by arm, run and trial."""
        with reading(self.engine) as connection:
            return _ended(connection, study, failed=failed)

    def without_result(self, study: str) -> str | None:
        """Return which arm lacks a result and why; None if no arm does, or if the study lacks trials."""
        with reading(self.engine) as connection:
            query = select(studies).where(studies.c.id == study)
            return without_result(connection, connection.execute(query).mappings().one())

    def best_so_far(self, study: str) -> dict[tuple[str, int], tuple[float | None, ...]]:
        """Return, by arm and run, the best objective after each trial, None before the first one; from the view."""
        view = best_so_far.c
        query = select(view.arm, view.run, view.best_so_far).where(view.study == study)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(view.arm, view.run, view.trial)).all()
        runs = groupby(rows, key=lambda row: (row[0], row[1]))
        return {run: tuple(row[2] for row in group) for run, group in runs}


def _trials_at(
    connection: Connection, addresses: Sequence[str], with_epochs: bool
) -> dict[str, TrialRecord | ConfirmationRecord]:
    results = and_(trials.c.address.in_(addresses), trials.c.state != TrialState.FAILED)
    first = select(func.min(trials.c.id)).where(results).group_by(trials.c.address)
    if not (ids := connection.scalars(first).all()):
        return {}
    chosen = trials.c.id.in_(ids)
    rows = connection.execute(select(trials.c.id, *TRIAL_COLUMNS).where(chosen)).all()
    trained = _epochs_of(connection, [chosen]) if with_epochs else {}
    recorded = series_of(connection, [chosen]) if with_epochs else {}
    repeated = repeats_of(connection, [chosen])
    return {
        row.address: trial_record(
            named(TRIAL_COLUMNS, row[1:]),
            trained.get(row[0], ()),
            repeated.get(row[0], ()),
            recorded.get(row[0], ()),
        )
        for row in rows
    }


def _epochs_of(
    connection: Connection, chosen: Sequence[ColumnElement[bool]]
) -> dict[int, tuple[EpochRecord, ...]]:
    """Return the epochs of the chosen trials, by the trials' row ids."""
    joined = select(epochs.c.trial, *EPOCH_COLUMNS).join(trials, trials.c.id == epochs.c.trial)
    joined = joined.where(*chosen).order_by(epochs.c.trial, epochs.c.epoch)
    groups = groupby(connection.execute(joined), key=lambda epoch: epoch[0])
    return {
        row: tuple(EpochRecord(**named(EPOCH_COLUMNS, epoch[1:])) for epoch in group) for row, group in groups
    }


def _confirmations_at(
    connection: Connection, addresses: Sequence[str]
) -> dict[str, TrialRecord | ConfirmationRecord]:
    c = confirmations.c
    query = select(*CONFIRMATION_COLUMNS).where(c.address.in_(addresses), c.state != TrialState.FAILED)
    rows = connection.execute(query.order_by(c.finished_at.desc(), c.study)).all()
    return {row.address: confirmation_record(named(CONFIRMATION_COLUMNS, row)) for row in rows}


def without_result(connection: Connection, row: RowMapping) -> str | None:
    """Return `Reads.without_result` of the study in this row of `studies`."""
    spec = row["spec"]
    if row["completed"] + row["diverged"] + row["failed"] < planned(spec) or not row["failed"]:
        return None
    return nothing(spec, _ended(connection, row["id"]))


def _ended(connection: Connection, study: str, *, failed: bool = False) -> list[Ended]:
    error = func.substr(trials.c.error, 1, 2 * LONGEST)
    chosen = [trials.c.study == study] + ([trials.c.state == TrialState.FAILED] if failed else [])
    query = select(trials.c.arm, trials.c.trial, trials.c.state, error).where(*chosen)
    rows = connection.execute(query.order_by(trials.c.arm, trials.c.run, trials.c.trial)).all()
    return [Ended(arm, trial, TrialState(state), told) for arm, trial, state, told in rows]


def _unknown(connection: Connection, key: str) -> StudyUnknown:
    ids = list(connection.scalars(select(studies.c.id).order_by(studies.c.created_at.desc()).limit(21)))
    known = ", ".join(ids[:20] + ["..."] * (len(ids) > 20))
    return StudyUnknown(
        f"no study {key!r}; " + (f"the studies are {known}" if ids else "there are no studies yet")
    )


def _bound(place: tuple[datetime, str]) -> list[Any]:
    return [literal(place[0], studies.c.created_at.type), literal(place[1], studies.c.id.type)]


def _sums_of_arms(connection: Connection, task: str, proxy: Proxy) -> list[tuple[int, int, float, float]]:
    """Return the trials, trainings, seconds to suggest and seconds to train of the arms that train this `proxy` of
    `task`, for each of the last studies in which arms have their own tasks, proxies or batch sizes."""
    mixed = select(studies.c.id, studies.c.task, studies.c.outline).where(
        studies.c.outline["mixed"].as_boolean().is_not(None)
    )
    newest = mixed.order_by(studies.c.created_at.desc(), studies.c.id.desc()).limit(LAST_STUDIES)
    found = []
    for study, own, outline in connection.execute(newest).all():
        arms = [arm["name"] for arm in outline["arms"] if _trains(arm, own, outline) == (task, proxy)]
        sums = select(func.count(), func.sum(trials.c.suggest_seconds), func.sum(trials.c.train_seconds))
        ended = trials.c.objective.is_not(None), trials.c.taken_from.is_(None)
        row = connection.execute(sums.where(trials.c.study == study, trials.c.arm.in_(arms), *ended)).one()
        found.append((row[0], row[0] * outline.get("repeats", 1), row[1] or 0.0, row[2] or 0.0))
    return found


def _trains(
    arm: Mapping[str, Any], task: str, outline: Mapping[str, Any]
) -> tuple[str, Proxy] | tuple[str, None]:
    """Return the task and proxy that an arm trains in a study of `task` with this outline.

    The proxy is None if the arm searches its batch size.
    """
    own, batches = arm.get("task", task), {key: found for key, found in arm.items() if key == "batch_size"}
    if not all(isinstance(size, int) for size in batches.values()):
        return own, None
    of_arm = Proxy(**{**arm.get("proxy", {}), **batches})
    return own, of_arm.over(Proxy(**outline.get("proxy", {})), TASKS[own]) if own in TASKS else of_arm
