"""Studies in the database: created, claimed, written under a lease, read."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Connection, Engine, RowMapping, Table, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.database import now, reading, require_schema, writing
from service.errors import StoreError
from service.lease import Lease, extend, take
from service.owner import Owner
from service.tables import best_so_far, epochs, studies, trials
from studies.records import EpochRecord, StudyRecord, StudyState, TrialRecord, TrialState
from studies.spec import StudySpec


def _columns(table: Table, record: type) -> list[Column[Any]]:
    return [table.c[field.name] for field in fields(record) if field.name in table.c]


STUDY_COLUMNS = _columns(studies, StudyRecord)
TRIAL_COLUMNS = _columns(trials, TrialRecord)
EPOCH_COLUMNS = _columns(epochs, EpochRecord)


class Store:
    """All reads and writes of studies and trials.

    Holds nothing but the engine: any number of threads may share one, processes may not. Every method is one
    transaction, whole or not at all, and outlives the process from the moment it returns; records are copies.

    A study's trials are written only by the process that holds its lease. A claim raises the study's fencing
    number and a write with an older number is refused, so a process that slept while its lease was taken over
    changes nothing.

    Every method raises DatabaseError where the database fails. The constructor raises it unless the schema is
    the one that this code was written for.
    """

    def __init__(self, engine: Engine) -> None:
        require_schema(engine)
        self.engine = engine

    def create_study(
        self, spec: StudySpec, provenance: Mapping[str, Any], created_at: datetime | None = None
    ) -> StudyRecord:
        """Store a queued study. One of the same spec that is there already is returned as it is."""
        try:
            with writing(self.engine) as connection:
                connection.execute(
                    insert(studies).values(
                        id=spec.study_id,
                        name=spec.name,
                        state=StudyState.QUEUED,
                        direction=spec.task_definition().direction,
                        spec=spec.to_json(),
                        provenance=dict(provenance),
                        created_at=created_at or now(connection),
                    )
                )
        except IntegrityError:
            pass  # created before, or by another process just now
        study = self.study(spec.study_id)
        if study.spec != spec.to_json():
            raise StoreError(f"study {study.id} is stored with another spec; give this one another name")
        return study

    def studies(self) -> list[StudyRecord]:
        """All studies, the newest first."""
        query = select(*STUDY_COLUMNS).order_by(studies.c.created_at.desc(), studies.c.id.desc())
        with reading(self.engine) as connection:
            return [_study(row) for row in connection.execute(query).mappings()]

    def study(self, key: str) -> StudyRecord:
        """The study whose id or name is `key`, or the only one whose id starts with it. Raises StoreError."""
        # LIKE would not use the index
        starts = and_(studies.c.id >= key, studies.c.id < key + "\U0010ffff")
        query = select(*STUDY_COLUMNS).where(or_(starts, studies.c.name == key)).order_by(studies.c.id)
        with reading(self.engine) as connection:
            # neither database can be asked for a NUL or half a character
            rows = connection.execute(query).mappings().all() if key.isprintable() else []
            if not rows:
                raise _unknown(connection, key)
        found = [_study(row) for row in rows]
        exact = [study for study in found if study.id == key] or [
            study for study in found if study.name == key
        ]
        matches = exact or found
        if len(matches) > 1:
            raise StoreError(f"{key!r} fits {', '.join(study.id for study in matches)}; give more of the id")
        return matches[0]

    def trial_counts(self) -> dict[str, int]:
        """How many trials each study has; a study without any is left out."""
        query = select(trials.c.study, func.count()).group_by(trials.c.study)
        with reading(self.engine) as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def trials(
        self, study: str, method: str | None = None, *, with_epochs: bool = False
    ) -> list[TrialRecord]:
        """The trials of the study with this id by method, run and trial, in at most two queries.

        Without `with_epochs` their `epochs` are empty.
        """
        chosen = [trials.c.study == study] + ([] if method is None else [trials.c.method == method])
        query = select(trials.c.id, *TRIAL_COLUMNS).where(*chosen)
        query = query.order_by(trials.c.method, trials.c.run, trials.c.trial)
        of_trial: dict[int, tuple[EpochRecord, ...]] = {}
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
            if with_epochs:
                joined = select(epochs.c.trial, *EPOCH_COLUMNS).join(trials, trials.c.id == epochs.c.trial)
                joined = joined.where(*chosen).order_by(epochs.c.trial, epochs.c.epoch)
                for row, group in groupby(connection.execute(joined), key=lambda epoch: epoch[0]):
                    of_trial[row] = tuple(EpochRecord(**_named(EPOCH_COLUMNS, epoch[1:])) for epoch in group)
        return [_trial(_named(TRIAL_COLUMNS, row[1:]), of_trial.get(row[0], ())) for row in rows]

    def best_so_far(self, study: str) -> dict[tuple[str, int], tuple[float | None, ...]]:
        """By method and run, the best objective after each trial, None before the first; from the view."""
        view = best_so_far.c
        query = select(view.method, view.run, view.best_so_far).where(view.study == study)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(view.method, view.run, view.trial)).all()
        runs = groupby(rows, key=lambda row: (row[0], row[1]))
        return {run: tuple(row[2] for row in group) for run, group in runs}

    def claim(self, study: str, owner: Owner, lease_seconds: float) -> Lease:
        """Take the study with this id to run it: of all who try, one succeeds. It is running afterwards.

        A lease that has expired, or whose owner is a process of this host that has ended, is taken over.
        Raises LeaseHeld where another process has it, StoreError where the study is unknown or completed.
        """
        if not lease_seconds > 0:
            raise ValueError(f"lease_seconds must be above 0, got {lease_seconds!r}")
        with writing(self.engine) as connection:
            return take(connection, study, owner, lease_seconds)

    def renew(self, lease: Lease) -> None:
        """Keep the lease for its length from now. Raises LeaseLost."""
        with writing(self.engine) as connection:
            extend(connection, lease)

    def record(self, lease: Lease, trial: TrialRecord) -> None:
        """Store a finished trial with its epochs and renew the lease.

        Raises LeaseLost, and StoreError where it is not the next trial of its run or holds what no trial can.
        """
        if trial.study != lease.study:
            raise ValueError(f"a trial of {trial.study} cannot be written under the lease of {lease.study}")
        which = f"trial {trial.trial} of {trial.method} run {trial.run} of study {trial.study}"
        run = (trials.c.study == trial.study, trials.c.method == trial.method, trials.c.run == trial.run)
        values = _values(TRIAL_COLUMNS, trial) | {"hyperparameters": dict(trial.hyperparameters)}
        try:
            with writing(self.engine) as connection:
                extend(connection, lease)
                done = connection.scalar(select(func.max(trials.c.trial)).where(*run)) or 0
                if trial.trial <= done:
                    raise StoreError(f"{which} is recorded already")
                if trial.trial > done + 1:
                    raise StoreError(f"{which} cannot be recorded before trial {done + 1}")
                row = connection.scalar(insert(trials).values(values).returning(trials.c.id))
                if trial.epochs:
                    rows = [{"trial": row} | _values(EPOCH_COLUMNS, epoch) for epoch in trial.epochs]
                    connection.execute(insert(epochs), rows)
        except IntegrityError as error:
            raise StoreError(f"{which} is refused by the database: {error.orig}") from error

    def continued(self, lease: Lease, provenance: Mapping[str, Any]) -> None:
        """Note what the study is continued on, under `continued` of its provenance, where that is not known yet."""
        this = studies.c.id == lease.study
        with writing(self.engine) as connection:
            extend(connection, lease)
            stored = dict(connection.scalars(select(studies.c.provenance).where(this)).one())
            earlier = stored.pop("continued", [])
            if dict(provenance) not in [stored, *earlier]:
                stored["continued"] = [*earlier, dict(provenance)]
                connection.execute(update(studies).where(this).values(provenance=stored))

    def finish(self, lease: Lease, state: StudyState, error: str | None = None) -> None:
        """Give the lease back and leave the study in `state`, not running, with the reason where it failed.

        Raises LeaseLost, and StoreError where a study that lacks trials is to be completed.
        """
        if state == StudyState.RUNNING:
            raise ValueError("a study that is given back cannot be left running")
        this = studies.c.id == lease.study
        with writing(self.engine) as connection:
            time = extend(connection, lease)
            if state == StudyState.COMPLETED:
                spec = connection.scalars(select(studies.c.spec).where(this)).one()
                planned = len(spec["methods"]) * spec["runs"] * spec["trials"]
                stored = connection.scalar(select(func.count()).where(trials.c.study == lease.study))
                if stored != planned:
                    raise StoreError(f"study {lease.study} has {stored} of {planned} trials: not completed")
            ended = time if state in (StudyState.COMPLETED, StudyState.FAILED) else None
            given_back = {"lease_owner": None, "lease_since": None, "lease_expires_at": None}
            connection.execute(
                update(studies).where(this).values(state=state, error=error, finished_at=ended, **given_back)
            )


def _unknown(connection: Connection, key: str) -> StoreError:
    ids = list(connection.scalars(select(studies.c.id).order_by(studies.c.created_at.desc()).limit(21)))
    known = ", ".join(ids[:20] + ["..."] * (len(ids) > 20))
    return StoreError(f"no study {key!r}; " + (f"there are {known}" if ids else "there are none yet"))


def _study(row: RowMapping) -> StudyRecord:
    return StudyRecord(**{**row, "state": StudyState(row["state"])})


def _trial(values: dict[str, Any], of_trial: tuple[EpochRecord, ...]) -> TrialRecord:
    return TrialRecord(**values | {"state": TrialState(values["state"]), "epochs": of_trial})


def _values(columns: list[Column[Any]], record: object) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in columns}


def _named(columns: list[Column[Any]], values: Any) -> dict[str, Any]:
    return {column.name: value for column, value in zip(columns, values, strict=True)}
