"""Commands that show studies, from a database here or a service."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.backends import LocalDatabase, backend
from service.commands.options import AsJson, Database, OptionalService, Study
from service.commands.terminal import out, paragraph, print_json, print_lines, print_rows, say
from studies.records import StudyState
from studies.results import beside
from studies.results.output_folder import check_folder
from studies.results.wording import count, setting, value

if TYPE_CHECKING:
    from service.schemas import ComparisonAnswer, StudySummary
    from studies.analysis.compared import ArmResult

NARROW = 105  # columns; narrower terminals cannot hold the table of the best arms

# The least width of the list's columns. If these are still too wide together, columns are left out in this order.
LEAST = {
    "created (UTC)": 16,
    "arms": 12,
    "by": 6,
    "task": 12,
    "labels": 8,
    "priority": 8,
    "turn": 4,
    "study": 20,
}


def list_studies(
    url: OptionalService = None,
    db: Database = None,
    state: Annotated[
        list[StudyState] | None, typer.Option(help="Only studies in this state; may be repeated.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only studies of this task or a proxy of it.")] = None,
    label: Annotated[str | None, typer.Option(help="Only studies with this label.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the studies, newest first, one line each."""
    where = backend(url, db)
    studies = list(where.studies(states=state or (), task=task, label=label))
    if as_json:
        print_json([study.model_dump(mode="json") for study in studies])
        return
    if not studies:
        run = (
            "run one: tunebench run SPEC"
            if isinstance(where, LocalDatabase)
            else "queue one: tunebench submit SPEC"
        )
        say("no matching studies" if state or task or label else f"no studies yet; {run}{where.option}")
        return
    waiting = any(study.state is StudyState.QUEUED for study in studies)
    turns = _turns(where.studies(states=[StudyState.QUEUED])) if waiting else {}
    print_lines([_line(study, turns) for study in studies], LEAST)


def show(study: Study, url: OptionalService = None, db: Database = None, as_json: AsJson = False) -> None:
    """Show a study: its state, the verdict, each arm's best trial, what was published, the comparison in words."""
    where = backend(url, db)
    found = where.find(study)
    compared = where.comparison(found.id)
    if as_json:
        print_json(found.model_dump(mode="json") | compared.model_dump(mode="json", exclude={"last_event"}))
        return
    say(f"{found.id}  {found.state}, {done(found)} of {found.trials.planned} trials on {found.task_label}")
    if found.trouble:
        say(f"does not continue: {found.trouble}")
    if found.error:
        say(f"stopped: {found.error}")
    tell(compared)


def export(
    study: Study,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to write to; created if missing.")],
    url: OptionalService = None,
    db: Database = None,
) -> None:
    """Write a study's figure, curves, trials, comparison, provenance and report, also while it runs."""
    where = backend(url, db)
    found = where.find(study).id
    check_folder(out_dir, found)
    tell_export(where.export(found, out_dir), out_dir)


def tell_export(compared: "ComparisonAnswer", folder: Path) -> None:
    """Print the main files of an export, and the comparison."""
    say(f"Figure: {folder / 'figure8.png'}\nReport: {folder / 'report.md'}")
    tell(compared)


def done(study: "StudySummary") -> int:
    """Return how many of the study's trials have finished."""
    return study.trials.completed + study.trials.diverged + study.trials.failed


def tell(compared: "ComparisonAnswer") -> None:
    """Print the verdict, the table of the best arms, their best trials, why trials failed, what was published, and the
    summary in words."""
    say("")
    paragraph(compared.verdict)
    table = compared.table
    _tell_table([dict(zip(table.columns, row, strict=True)) for row in table.rows], table.note)
    comparison = compared.comparison
    for arm in (comparison.arms[name] for name in comparison.ranking):
        say("")
        _tell_best(arm, comparison.metric)
        for failure in arm.errors:
            paragraph(f"  {count(failure.trials, 'trial')} failed: {failure.error}")
    _tell_table(beside.beside(comparison), beside.note(comparison.metric), beside.HEADING)
    for text in compared.summary.split("\n\n"):
        say("")
        paragraph(text)


def _tell_table(rows: Sequence[Mapping[str, str]], note: str, heading: str = "") -> None:
    """Print a table and a note on its numbers. Do nothing if it has no rows."""
    if not rows:
        return
    say("")
    if heading:
        paragraph(f"{heading}:")
    # in a narrow terminal, each interval has its own line and is not broken
    interval = "\n(" if out.is_terminal and out.width < NARROW else " ("
    print_rows(
        [{name: cell.replace(" (", interval) for name, cell in row.items()} for row in rows], as_json=False
    )
    paragraph(note)


def _tell_best(arm: "ArmResult", metric: str) -> None:
    best = arm.best
    if best is None:
        ended = [
            f"{count(n, 'trial')} {how}"
            for n, how in ((arm.failed, "failed"), (arm.diverged, "diverged"))
            if n
        ]
        say(f"{arm.label}: no result{', ' + ' and '.join(ended) if ended else ' yet'}")
        return
    scores = f"{value(best.objective, metric)} (test {value(best.test_metric, metric)})"
    say(
        f"{arm.label}: best {scores}, run {best.run} trial {best.trial}{', with' * bool(best.hyperparameters)}"
    )
    for name, given in best.hyperparameters.items():
        end = best.at_bounds.get(name)
        say(f"  {name} = {setting(given)}{f' (the {end} end of its range)' if end else ''}")


def _turns(queued: "Iterable[StudySummary]") -> dict[str, int]:
    """Return each queued study's turn, 1 for the next to start: by priority, then in order of submission."""
    order = sorted(queued, key=lambda study: (-study.priority, study.created_at, study.id))
    return {study.id: turn for turn, study in enumerate(order, 1)}


def _line(study: "StudySummary", turns: Mapping[str, int]) -> dict[str, str]:
    return {
        "study": study.id,
        "state": study.state,
        "turn": str(turns.get(study.id, "")),
        "trials": f"{done(study)}/{study.trials.planned}",
        "priority": str(study.priority or ""),
        "task": study.task_label,
        "arms": ", ".join(study.arms),
        "created (UTC)": f"{study.created_at:%Y-%m-%d %H:%M}",
        "labels": ", ".join(study.labels),
        "by": "" if study.submitted_by == "local" else study.submitted_by or "",
    }
