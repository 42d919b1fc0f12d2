"""The tables of a study as data: typed columns and rows, written as CSV, Parquet or JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal, TypeVar

from studies.analysis.comparison import compare
from studies.analysis.confirmation import worth
from studies.analysis.curves import bands, best_so_far, centre, means, of_study, runs_of
from studies.analysis.decision import up_to_decision
from studies.analysis.recorded import counted_signs, pairs_of_signs
from studies.design.space import Choice, Dimension, Fixed, Float, Int, Tied
from studies.design.spec import StudySpec, stored
from studies.encoding import number
from studies.errors import StudyError
from studies.records import ConfirmationRecord, StudyRecord, TrialRecord

Kind = Literal["text", "integer", "number", "boolean"]
KINDS: dict[type, Kind] = {str: "text", bool: "boolean", int: "integer", float: "number"}
Cell = str | int | float | bool | None
EPOCH_NUMBERS = (
    *("train_loss", "validation_metric", "test_metric", "validation_top5", "test_top5"),
    *("train_metric", "latent_validation_metric", "latent_test_metric"),
    *("flip_ratio", "train_seconds", "evaluate_seconds"),
)
# the first columns of everything that belongs to a trial
WHICH: dict[str, Kind] = {
    "study": "text",
    "arm": "text",
    "method": "text",
    "run": "integer",
    "trial": "integer",
}
Record = TypeVar("Record", TrialRecord, ConfirmationRecord)
ESTIMATE = ("", "_low", "_high", "_level")  # suffixes of a column's name, for the parts of an estimate


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows: `columns` maps names to kinds, by the study's spec alone; a cell without a value is None."""

    columns: Mapping[str, Kind]
    rows: Sequence[tuple[Cell, ...]]


def trials_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per finished trial, with its run's best so far and `hp.<name>` for each hyperparameter.

    The user's own text in the table, the study's id and the arms' names, begins with a letter or digit.
    """
    spec = stored(study)
    hyperparameters = _hyperparameters(spec)
    fixed: dict[str, Kind] = {
        **WHICH,
        "state": "text",
        "objective": "number",
        "test_metric": "number",
        "best_so_far": "number",
        "suggest_seconds": "number",
        "train_seconds": "number",
        "attempts": "integer",
        "seed": "integer",
        "split_seed": "integer",
        "taken_from": "text",
    }
    columns = fixed | {f"hp.{name}": kind for name, kind in hyperparameters.items()}
    order = {arm: i for i, arm in enumerate(study.arms)}
    direction = spec.task_definition().direction
    rows = []
    for run in sorted(runs_of(trials), key=lambda run: (order[run.arm], run.run)):
        best, _ = best_so_far([t.objective for t in run.trials], direction)
        for t, so_far in zip(run.trials, best.tolist(), strict=True):
            outcome = (t.state.value, t.objective, t.test_metric, so_far)
            effort = (t.suggest_seconds, t.train_seconds, t.attempts)
            rest = (t.seed, spec.split_seed(t.run), t.taken_from)
            values = (t.hyperparameters.get(name) for name in hyperparameters)
            rows.append((*_which(study, t), *outcome, *effort, *rest, *values))
    return _table(columns, rows)


def curves_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per arm and trial: median, mean and IQM over the `n` runs that have a value, and their worth.

    From one row to the next, values may fall where `n` changes or some runs have no value; the figure and
    `extra_trials` use only trials at which `n` is the number of runs. `held_out`, `confirmed` and the bands, each of
    which holds for a whole curve, are empty unless every run has a value.
    """
    spec, trials, confirmations = up_to_decision(stored(study), trials, confirmations)
    columns: dict[str, Kind] = {"arm": "text", "trial": "integer", "n": "integer"}
    whats = ("median", "mean", "iqm", "held_out", "confirmed")
    columns |= {f"{what}{part}": "number" for what in whats for part in ESTIMATE}
    columns |= {f"{what}_band{end}": "number" for what in ("mean", "confirmed") for end in ("_low", "_high")}
    rows: list[tuple[Cell, ...]] = []
    for name, curves in of_study(spec, trials).items():
        found = worth(spec, name, trials, confirmations)
        worths = (means(found.held_out), means(found.confirmed))
        whole = (bands(curves.best), bands(found.confirmed))
        after = zip(centre(curves), *worths, *whole, strict=False)
        for trial, (middle, held_out, confirmed, *of_both) in enumerate(after, start=1):
            estimates = (middle.median, middle.mean, middle.iqm, held_out, confirmed)
            cells = (x for e in estimates for x in astuple(e))
            rows.append((name, trial, middle.n, *cells, *(x for e in of_both for x in (e.low, e.high))))
    return _table(columns, rows)


def confirmations_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per fresh training of an incumbent's hyperparameters, which are those of its run's `trial`."""
    columns: dict[str, Kind] = {
        **WHICH,
        "number": "integer",
        "seed": "integer",
        "split_seed": "integer",
        "state": "text",
        "objective": "number",
        "test_metric": "number",
        "train_seconds": "number",
        "attempts": "integer",
        "taken_from": "text",
    }
    spec = stored(study)
    rows = [
        (
            *(*_which(study, c), c.number),
            *(c.seed, spec.split_seed(c.run), c.state.value),
            *(c.objective, c.test_metric, c.train_seconds, c.attempts, c.taken_from),
        )
        for c in _in_order(study, sorted(confirmations, key=lambda c: c.number))
    ]
    return _table(columns, rows)


def epochs_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per epoch of each finished trial's first training; `trials` must have their epochs."""
    columns: dict[str, Kind] = {
        **WHICH,
        "epoch": "integer",
        **dict.fromkeys(EPOCH_NUMBERS, "number"),
        "diverged": "boolean",
    }
    rows = [
        (
            *(*_which(study, t), epoch.epoch),
            *(getattr(epoch, name) for name in EPOCH_NUMBERS),
            epoch.diverged,
        )
        for t in _in_order(study, trials)
        for epoch in t.epochs
    ]
    return _table(columns, rows)


def repeats_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per training of each trial that has several; the trial's own row has their means."""
    columns: dict[str, Kind] = {
        **WHICH,
        "number": "integer",
        "seed": "integer",
        "state": "text",
        "objective": "number",
        "test_metric": "number",
    }
    rows = [
        (
            *(*_which(study, t), number),
            *(repeat.seed, repeat.state.value, repeat.objective, repeat.test_metric),
        )
        for t in _in_order(study, trials)
        for number, repeat in enumerate(t.repeats, start=1)
    ]
    return _table(columns, rows)


def traces_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per number recorded of a step, so without signs and images; `trials` must have their series."""
    columns: dict[str, Kind] = {
        **WHICH,
        "repeat": "integer",
        "series": "text",
        "step": "integer",
        "value": "number",
    }
    rows = [
        (*(*_which(study, t), repeat, series.name), step, value)
        for t in _in_order(study, trials)
        for repeat, training in enumerate(t.series, start=1)
        for series in training
        if series.of_numbers
        for step, value in zip(series.steps.tolist(), series.values.tolist(), strict=True)
    ]
    return _table(columns, rows)


def differing_signs_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per step at which two arms have both recorded all their signs; `trials` must have their series."""
    columns: dict[str, Kind] = {"study": "text", "first": "text", "second": "text"}
    columns |= dict.fromkeys(("run", "trial", "repeat", "step", "differing"), "integer")
    rows = [
        (study.id, a.name, b.name, found.run, found.trial, found.repeat, step, count)
        for a, b in pairs_of_signs(stored(study))
        for found in counted_signs(trials, a.name, b.name)
        for step, count in zip(found.steps, found.counts, strict=True)
    ]
    return _table(columns, rows)


def published_table(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Table:
    """Return one row per published number, with the mean of our runs beside it if it belongs to an arm."""
    columns: dict[str, Kind] = {
        "name": "text",
        "arm": "text",
        "published_test": "number",
        "published_sd": "number",
    }
    columns |= {"source": "text", "n": "integer"}
    columns |= {f"{what}{part}": "number" for what in ("test", "confirmed") for part in ESTIMATE}
    if not any("published" in each for each in (study.spec, *study.spec["arms"])):
        return Table(columns, [])
    comparison = compare(study, trials, confirmations=confirmations)
    rows: list[tuple[Cell, ...]] = []
    for row in comparison.published or ():
        ends = comparison.beside(row)
        n = ends[0].n if ends[0] else None
        ours = (cell for end in ends for cell in (astuple(end.mean) if end else (None,) * len(ESTIMATE)))
        rows.append((row.name, row.arm, row.test, row.sd, row.source, n, *ours))
    return _table(columns, rows)


def _which(study: StudyRecord, record: TrialRecord | ConfirmationRecord) -> tuple[Cell, ...]:
    """Return the cells of WHICH."""
    return record.study, record.arm, study.arms[record.arm], record.run, record.trial


def _in_order(study: StudyRecord, records: Iterable[Record]) -> list[Record]:
    """Sort records by arm, in the study's order, run and trial; records of one trial keep their order."""
    order = {arm: i for i, arm in enumerate(study.arms)}
    return sorted(records, key=lambda record: (order[record.arm], record.run, record.trial))


def table(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    name: str,
    form: str,
    confirmations: Sequence[ConfirmationRecord] = (),
) -> bytes:
    """Return table `name` of TABLES as a file of form `form` of FORMS. Raises StudyError for another name or form."""
    for what, asked, known in (("table", name, TABLES), ("form", form, FORMS)):
        if asked not in known:
            raise StudyError(f"unknown {what} {asked!r}; known are {', '.join(known)}")
    return FORMS[form](TABLES[name](study, trials, confirmations))


def to_csv(table: Table) -> bytes:
    """Return CSV: no value is an empty cell, infinity is `inf`, a truth value is `true` or `false`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_text(cell) for cell in row] for row in table.rows)
    return buffer.getvalue().encode()


def to_json(table: Table) -> bytes:
    """Return a list of records, one per line; no value is null, infinity is the text "inf" or "-inf"."""
    encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
    lines = [
        encode(
            {
                name: number(cell) if isinstance(cell, float) else cell
                for name, cell in zip(table.columns, row, strict=True)
            }
        )
        for row in table.rows
    ]
    return ("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n").encode()


def to_parquet(table: Table) -> bytes:
    """Return text, int64, double and boolean columns; no value is null."""
    import pyarrow as pa  # 30 MB that only this needs
    from pyarrow import parquet

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in table.columns.items()])
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer)
    return buffer.getvalue()


Build = Callable[[StudyRecord, Sequence[TrialRecord], Sequence[ConfirmationRecord]], Table]
TABLES: dict[str, Build] = {
    "trials": trials_table,
    "curves": curves_table,
    "confirmations": confirmations_table,
    "epochs": epochs_table,
    "repeats": repeats_table,
    "traces": traces_table,
    "differing-signs": differing_signs_table,
    "published": published_table,
}
OMITTED_IF_EMPTY = (
    "confirmations",
    "repeats",
    "traces",
    "differing-signs",
    "published",
)  # in an export only if they have rows
FORMS: dict[str, Callable[[Table], bytes]] = {"csv": to_csv, "parquet": to_parquet, "json": to_json}


def _hyperparameters(spec: StudySpec) -> dict[str, Kind]:
    """Return every hyperparameter of the arms and the kind of its values, from the search spaces, without trials."""
    kinds: dict[str, set[Kind]] = {}
    for arm in spec.arms:
        for name, dimension in arm.space.items():
            kinds.setdefault(name, set()).add(_kind(dimension))
    # one arm may search a hyperparameter as integers, another as real numbers
    return {name: "number" if len(found) > 1 else found.pop() for name, found in kinds.items()}


def _kind(dimension: Dimension) -> Kind:
    match dimension:
        case Float() | Tied():
            return "number"
        case Int():
            return "integer"
        case Choice(values):
            return KINDS[type(values[0])]
        case Fixed(value):
            return KINDS[type(value)]


def _table(columns: dict[str, Kind], rows: Sequence[tuple[Any, ...]]) -> Table:
    """Return a table with NaN as None and every number of a `number` column as a float."""
    real = [kind == "number" for kind in columns.values()]
    return Table(columns, [tuple(map(_cell, row, real)) for row in rows])


def _cell(value: Any, real: bool) -> Cell:
    if not real or value is None:
        return value  # type: ignore[no-any-return]
    return None if math.isnan(value) else float(value)


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return str(cell).lower()
        case _:
            return str(cell)
