"""Writes a study's figure, tables, comparison, provenance and report into a folder."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from studies import figures, stats
from studies.comparison import compare
from studies.curves import best_so_far, curves_of, runs_of
from studies.errors import StudyError
from studies.records import StudyRecord, TrialRecord
from studies.report import report
from studies.spec import PROTOCOL, StudySpec, from_json
from trainers.seeds import derive

CURVE_COLUMNS = (
    "method",
    "trial",
    "n",
    "median",
    "median_low",
    "median_high",
    "mean",
    "mean_low",
    "mean_high",
)
TRIAL_COLUMNS = (
    "study",
    "method",
    "run",
    "trial",
    "state",
    "objective",
    "test_metric",
    "best_so_far",
    "suggest_seconds",
    "train_seconds",
    "attempts",
)


def export(study: StudyRecord, trials: Sequence[TrialRecord], out: Path) -> list[Path]:
    """Write everything into `out` and return the files, the figure first and the report last.

    Each file replaces the one before it whole or not at all, and the same records give the same bytes. An
    empty CSV cell is no value, `inf` is infinity; JSON has null for no value and the text "inf" or "-inf".
    Raises StudyError naming the path where `out` cannot be written.
    """
    spec = from_json(study.spec, source=study.id)
    comparison = compare(study, trials)
    drawn = figures.figure8(study, trials)
    files = {f"figure8.{kind}": _image(drawn, kind) for kind in ("png", "svg", "pdf")}
    if comparison["target"] is not None:
        files["trials-to-target.png"] = _image(figures.trials_to_target(comparison), "png")
    if comparison["pairs"]:
        files["extra-trials.png"] = _image(figures.extra_trials(comparison), "png")
    files |= {
        "curves.csv": _csv(CURVE_COLUMNS, _curve_rows(spec, trials)),
        "trials.csv": _csv(*_trial_table(spec, trials)),
        "comparison.json": _json(comparison),
        "provenance.json": _json(_provenance(study, spec, trials)),
        "report.md": report(study, comparison, sorted(files)).encode(),
    }
    for name, content in files.items():
        _write(out / name, content)
    return [out / name for name in files]


def _curve_rows(spec: StudySpec, trials: Sequence[TrialRecord]) -> list[tuple[Any, ...]]:
    """Median and mean of the `n` runs that have a value after a trial.

    From one row to the next they may fall where `n` changes or runs are not all there; the figure and
    `extra_trials` use only the trials where `n` is the number of runs.
    """
    rows = []
    for method in spec.methods:
        shape, direction = (spec.runs, spec.trials), spec.task_definition().direction
        curves = curves_of(method.name, trials, shape, direction)
        for trial in range(1, int(curves.done.max()) + 1):
            column = curves.best[:, trial - 1]
            values = column[~np.isnan(column)]
            estimates = [(e.value, e.low, e.high) for e in (stats.median(values), stats.mean(values))]
            rows.append((method.name, trial, values.size, *estimates[0], *estimates[1]))
    return rows


def _trial_table(
    spec: StudySpec, trials: Sequence[TrialRecord]
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    names = tuple(dict.fromkeys(name for method in spec.methods for name in method.space))
    order = {method.name: i for i, method in enumerate(spec.methods)}
    direction = spec.task_definition().direction
    rows = []
    for run in sorted(runs_of(trials), key=lambda run: (order[run.method], run.run)):
        best, _ = best_so_far([t.objective for t in run.trials], direction)
        for t, so_far in zip(run.trials, best, strict=True):
            outcome = (t.state.value, t.objective, t.test_metric, float(so_far))
            effort = (t.suggest_seconds, t.train_seconds, t.attempts)
            values = (t.hyperparameters.get(name) for name in names)
            rows.append((t.study, t.method, t.run, t.trial, *outcome, *effort, *values))
    return (*TRIAL_COLUMNS, *(f"hp.{name}" for name in names)), rows


def _provenance(study: StudyRecord, spec: StudySpec, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """What the study is and what it ran on; every seed of it follows from the study's or is listed."""
    seeds: dict[str, dict[str, list[int]]] = {method.name: {} for method in spec.methods}
    for run in runs_of(trials):
        seeds[run.method][str(run.run)] = [trial.seed for trial in run.trials]
    return {
        "protocol": PROTOCOL,
        **study.provenance,
        "study": study.id,
        "digest": spec.digest,
        "state": study.state.value,
        "created_at": study.created_at.isoformat(),
        "started_at": study.started_at and study.started_at.isoformat(),
        "finished_at": study.finished_at and study.finished_at.isoformat(),
        "spec": study.spec,
        "seeds": {"study": spec.seed, "bootstrap": derive(spec.seed, "bootstrap"), "trials": seeds},
    }


def _image(figure: Figure, kind: str) -> bytes:
    """The figure as a file; no date and no random identifiers, fonts embedded as fonts."""
    buffer = io.BytesIO()
    undated: dict[str, Any] = {
        "svg": {"Date": None},
        "pdf": {"CreationDate": None},
        "png": {"Software": None},
    }
    with rc_context({"svg.hashsalt": "tunebench", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, metadata=undated[kind])
    return buffer.getvalue()


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value)) if isinstance(value, float) else str(value)


def _json(content: Any) -> bytes:
    return (json.dumps(_finite(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _finite(content: Any) -> Any:
    match content:
        case float() if math.isnan(content):
            return None
        case float() if math.isinf(content):
            return str(content)
        case Mapping():
            return {str(key): _finite(value) for key, value in content.items()}
        case list() | tuple():
            return [_finite(value) for value in content]
        case _:
            return content


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StudyError(f"{path}: cannot be written: {error.strerror or error}") from error
