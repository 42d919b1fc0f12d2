"""Exports of a study's figures, tables, comparison, provenance and report: a folder, an archive, one image."""

import io
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from matplotlib import rc_context
from matplotlib.figure import Figure

from studies.analysis.compared import Comparison
from studies.analysis.comparison import compare
from studies.analysis.curves import runs_of
from studies.design.spec import PROTOCOL, StudySpec, stored
from studies.encoding import to_json
from studies.errors import StudyError
from studies.records import ConfirmationRecord, StudyRecord, TrialRecord
from studies.results import figures, grids, traces
from studies.results.data_tables import FORMS, OMITTED_IF_EMPTY, TABLES
from studies.results.dictionary import dictionary
from studies.results.output_folder import OWNER
from studies.results.report import changes_file, report, study_file
from trainers.seeds import derive

# the settings and metadata of each kind of image: no date, no random identifiers, fonts embedded as fonts
IMAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "png": ({}, {"Software": None}),
    "svg": ({"svg.hashsalt": "tunebench"}, {"Date": None}),
    "pdf": ({"pdf.fonttype": 42}, {"CreationDate": None}),
}
# 40 MB of text for Figure 8: not exported, but the service has them
TOO_LONG = (("epochs", "json"), ("traces", "json"), ("differing-signs", "json"))
_drawing = Lock()  # matplotlib's settings are global: two threads would undo each other's


def export(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    out: Path,
    comparison: Comparison | None = None,
    confirmations: Sequence[ConfirmationRecord] = (),
) -> list[Path]:
    """Write everything into `out` and return the files, the figure first and the report last.

    `comparison` is the result of `compare`, if the caller has it. Each file is replaced whole or not at all, and the
    same records give the same bytes. Raises StudyError naming the path if `out` cannot be written.
    """
    files = _files(study, trials, comparison, confirmations)
    for name in sorted(files, key=OWNER.__ne__):
        _write(out / name, files[name])
    return [out / name for name in files]


def archive(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    comparison: Comparison | None = None,
    confirmations: Sequence[ConfirmationRecord] = (),
) -> bytes:
    """Return what `export` writes as a zip file with one folder, named after the study; same records, same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in _files(study, trials, comparison, confirmations).items():
            entry = zipfile.ZipInfo(f"{study.id}/{name}")  # dated 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, content)
    return buffer.getvalue()


def image(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    kind: str,
    confirmations: Sequence[ConfirmationRecord] = (),
) -> bytes:
    """Return Figure 8 as a file of one of the kinds in IMAGES. Raises StudyError for another kind."""
    if kind not in IMAGES:
        raise StudyError(f"unknown kind of image {kind!r}; known are {', '.join(IMAGES)}")
    with _drawing:
        return _image(figures.figure8(study, trials, confirmations), kind)


def _files(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    comparison: Comparison | None,
    confirmations: Sequence[ConfirmationRecord],
) -> dict[str, bytes]:
    spec = stored(study)
    if comparison is None:
        comparison = compare(study, trials, confirmations=confirmations)
    with _drawing:
        files = _figures(study, trials, comparison, confirmations)
    for name, build in TABLES.items():
        table = build(study, trials, confirmations)
        if table.rows or name not in OMITTED_IF_EMPTY:
            forms = [form for form in FORMS if (name, form) not in TOO_LONG]
            files |= {f"{name}.{form}": FORMS[form](table) for form in forms}
    changes = _changes(study)
    counted = [trial for trial in trials if trial.run <= comparison.runs]
    return (
        files
        | {name: diff.encode() for name, diff in changes.items()}
        | {
            "study.yaml": study_file(study).encode(),
            "dictionary.md": dictionary().encode(),
            "comparison.json": to_json(comparison.to_json()),
            "provenance.json": to_json(_provenance(study, spec, trials)),
            "report.md": report(study, comparison, sorted(files), _sources(counted)).encode(),
        }
    )


def _sources(trials: Sequence[TrialRecord]) -> dict[str, int]:
    """Return how many trials were taken over from each other study."""
    return Counter(trial.taken_from.partition("/")[0] for trial in trials if trial.taken_from)


def _figures(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    comparison: Comparison,
    confirmations: Sequence[ConfirmationRecord],
) -> dict[str, bytes]:
    figure8 = figures.figure8(study, trials, confirmations)
    drawn = {}
    if (grid := grids.over_grid(study, trials)) is not None:
        drawn["grid"] = grid
    if (arms := grids.side_by_side(study, trials)) is not None:
        drawn["arms"] = arms
    recorded = {name: draw(study, trials) for name, draw in traces.FIGURES.items()}
    drawn |= {name: figure for name, figure in recorded.items() if figure is not None}
    if comparison.target is not None:
        drawn["trials-to-target"] = figures.trials_to_target(comparison)
    if comparison.pairs:
        drawn["extra-trials"] = figures.extra_trials(comparison)
    if comparison.plateau is not None:
        drawn["trials-to-plateau"] = figures.trials_to_plateau(comparison)
    if comparison.pairs and comparison.endpoint == "confirmed":
        drawn["extra-trials-confirmed"] = figures.extra_trials(comparison, confirmed=True)
    files = {f"figure8.{kind}": _image(figure8, kind) for kind in IMAGES}
    return files | {f"{name}.png": _image(figure, "png") for name, figure in drawn.items()}


def _changes(study: StudyRecord) -> dict[str, str]:
    """Return the changes to the code that ran, if there were any, by file name."""
    ran_on = (study.provenance, *study.provenance.get("continued", ()))
    diffs = (ran.get("changes", {}).get("diff") for ran in ran_on)
    return {changes_file(i): diff for i, diff in enumerate(diffs) if diff}


def _without_diffs(ran_on: Mapping[str, Any], i: int = 0) -> dict[str, Any]:
    """Return the provenance with file names in place of the diffs."""
    found = dict(ran_on)
    if "continued" in found:
        found["continued"] = [_without_diffs(ran, n) for n, ran in enumerate(found["continued"], start=1)]
    if "changes" in found:
        changes = dict(found["changes"])
        found["changes"] = {"file": changes_file(i) if changes.pop("diff", None) else None} | changes
    return found


def _provenance(study: StudyRecord, spec: StudySpec, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return what the study is and what it ran on; every seed is listed or follows from the study's."""
    seeds: dict[str, dict[str, list[int]]] = {arm.name: {} for arm in spec.arms}
    for run in runs_of(trials):
        seeds[run.arm][str(run.run)] = [trial.seed for trial in run.trials]
    return {
        "protocol": PROTOCOL,
        **_without_diffs(study.provenance),
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
    settings, metadata = IMAGES[kind]
    buffer = io.BytesIO()
    with rc_context(settings):  # type: ignore[arg-type]
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


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
