"""Conversion between rows of the database and records."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from sqlalchemy import Column, ColumnElement, Connection, LargeBinary, Row, Table, select, type_coerce

from service.database.columns import unpacked
from service.database.tables import confirmations, epochs, labels, repeats, series, studies, trials
from studies.records import (
    ConfirmationRecord,
    EpochRecord,
    RepeatRecord,
    Request,
    Series,
    StudyRecord,
    StudyState,
    TrialRecord,
    TrialState,
    has_own,
)


def _columns(table: Table, record: type) -> list[Column[Any]]:
    return [table.c[field.name] for field in fields(record) if field.name in table.c]


STUDY_COLUMNS = _columns(studies, StudyRecord)
LISTED_COLUMNS = [column for column in STUDY_COLUMNS if column.name not in ("spec", "provenance")]
LISTED_COLUMNS.append(studies.c.outline)
TRIAL_COLUMNS = _columns(trials, TrialRecord)
EPOCH_COLUMNS = _columns(epochs, EpochRecord)
REPEAT_COLUMNS = _columns(repeats, RepeatRecord)
SERIES_COLUMNS = _columns(series, Series)
CONFIRMATION_COLUMNS = _columns(confirmations, ConfirmationRecord)


def outline(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a study's spec that lists show: of the same shape, without what may be large.

    `mixed` marks a study in which an arm has its own task, proxy or batch size.
    """
    kept = {key: spec[key] for key in ("proxy", "start", "runs", "trials", "repeats") if key in spec}
    arms = [
        {key: arm[key] for key in ("name", "method", "task", "proxy") if key in arm}
        | {key: found for key, found in arm["space"].items() if key == "batch_size"}
        for arm in spec["arms"]
    ]
    mixed = {"mixed": True} if any(has_own(arm) or "batch_size" in arm for arm in arms) else {}
    return kept | mixed | {"arms": arms, "searcher": {"name": spec["searcher"]["name"]}}


def one_or_none(connection: Connection, study: str) -> StudyRecord | None:
    rows = connection.execute(select(*STUDY_COLUMNS).where(studies.c.id == study)).all()
    return study_records(connection, rows)[0] if rows else None


def one(connection: Connection, study: str) -> StudyRecord:
    record = one_or_none(connection, study)
    assert record is not None
    return record


def study_records(
    connection: Connection, rows: Sequence[Row[Any]], columns: Sequence[Column[Any]] = STUDY_COLUMNS
) -> list[StudyRecord]:
    """Return the records of rows with these columns, with their labels."""
    query = select(labels.c.study, labels.c.label).where(labels.c.study.in_([row.id for row in rows]))
    of_study: dict[str, tuple[str, ...]] = {}
    for study, label in connection.execute(query.order_by(labels.c.study, labels.c.label)) if rows else ():
        of_study[study] = (*of_study.get(study, ()), label)
    return [_study_record(named(columns, row), of_study.get(row.id, ())) for row in rows]


def _study_record(values: dict[str, Any], labels: tuple[str, ...]) -> StudyRecord:
    values["state"] = StudyState(values["state"])
    values["requested"] = values["requested"] and Request(values["requested"])
    if "outline" in values:
        values |= {"spec": values.pop("outline"), "provenance": {}}
    return StudyRecord(**values, labels=labels)


def trial_record(
    values: dict[str, Any],
    of_trial: tuple[EpochRecord, ...],
    repeated: tuple[RepeatRecord, ...],
    recorded: tuple[tuple[Series, ...], ...] = (),
) -> TrialRecord:
    values["state"] = TrialState(values["state"])
    return TrialRecord(**values, epochs=of_trial, repeats=repeated, series=recorded)


def repeats_of(
    connection: Connection, chosen: Sequence[ColumnElement[bool]]
) -> dict[int, tuple[RepeatRecord, ...]]:
    """Return the repeats of the chosen trials, by the trials' row ids."""
    query = (
        select(repeats.c.trial, *REPEAT_COLUMNS).join(trials, trials.c.id == repeats.c.trial).where(*chosen)
    )
    found: dict[int, tuple[RepeatRecord, ...]] = {}
    for row in connection.execute(query.order_by(repeats.c.trial, repeats.c.number)):
        values = named(REPEAT_COLUMNS, row[1:])
        repeat = RepeatRecord(**values | {"state": TrialState(values["state"])})
        found[row[0]] = (*found.get(row[0], ()), repeat)
    return found


def series_rows(row: int | None, trial: TrialRecord) -> list[dict[str, Any]]:
    """Return the rows of the table `series` for the trial with the row id `row`."""
    return [
        {"trial": row, "number": number, "place": place} | row_of(SERIES_COLUMNS, each)
        for number, training in enumerate(trial.series, start=1)
        for place, each in enumerate(training)
    ]


class StoredSigns(Series):
    """Signs kept as they are stored and unpacked at each access, since a study's signs may take gigabytes."""

    __slots__ = ("_packed",)
    _packed: bytes

    def __init__(self, name: str, steps: np.ndarray[Any, np.dtype[np.int64]], packed: bytes) -> None:
        for slot, value in (("name", name), ("steps", steps), ("_packed", packed)):
            object.__setattr__(self, slot, value)

    @property
    def values(self) -> np.ndarray[Any, Any]:
        return unpacked(self._packed)

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredSigns, (self.name, self.steps, self._packed)


def series_of(
    connection: Connection, chosen: Sequence[ColumnElement[bool]]
) -> dict[int, tuple[tuple[Series, ...], ...]]:
    """Return the series of each training of the chosen trials, by the trials' row ids."""
    values = type_coerce(series.c["values"], LargeBinary)
    query = select(series.c.trial, series.c.number, series.c.name, series.c.steps, values)
    query = query.join(trials, trials.c.id == series.c.trial).where(*chosen)
    found: dict[int, list[tuple[Series, ...]]] = {}
    for row in connection.execute(query.order_by(series.c.trial, series.c.number, series.c.place)):
        trainings = found.setdefault(row[0], [])
        trainings += [()] * (row[1] - len(trainings))
        name, steps, packed = row[2:]
        signs = name == "signs"
        one = StoredSigns(name, steps, packed) if signs else Series(name, steps, unpacked(packed))
        trainings[-1] = (*trainings[-1], one)
    return {row: tuple(trainings) for row, trainings in found.items()}


def confirmation_record(values: dict[str, Any]) -> ConfirmationRecord:
    return ConfirmationRecord(**values | {"state": TrialState(values["state"])})


def row_of(columns: list[Column[Any]], record: object) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in columns}


def named(columns: Sequence[Column[Any]], values: Any) -> dict[str, Any]:
    return {column.name: value for column, value in zip(columns, values, strict=True)}
