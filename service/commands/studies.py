"""Looking at studies, in a database here or at a service."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.options import AsJson, Database, Place, Study
from service.places import place
from service.terminal import number, paragraph, print_json, print_rows, say
from studies.folder import check_folder
from studies.words import value

if TYPE_CHECKING:
    from service.schemas import StudySummary, Trial


def list_studies(url: Place = None, db: Database = None, as_json: AsJson = False) -> None:
    """List the studies, the newest first."""
    studies = list(place(url, db).studies())
    if as_json:
        print_json([study.model_dump(mode="json") for study in studies])
        return
    rows = [
        {
            "study": study.id,
            "state": study.state,
            "trials": f"{done(study)}/{study.trials.planned}",
            "task": study.task_label,
            "methods": study.methods,
            "created": f"{study.created_at:%Y-%m-%d %H:%M} UTC",
        }
        for study in studies
    ]
    print_rows(rows, as_json=False, empty="no studies yet; run one: tunebench run SPEC")


def show(study: Study, url: Place = None, db: Database = None, as_json: AsJson = False) -> None:
    """Show a study: its state, each method's best, the comparison in words."""
    where = place(url, db)
    found = where.find(study)
    words, comparison = where.comparison(found.id)
    if as_json:
        print_json(found.model_dump(mode="json") | {"summary": words, "comparison": comparison})
        return
    say(f"{found.id}  {found.state}, {done(found)} of {found.trials.planned} trials on {found.task_label}")
    if found.trouble:
        say(f"does not go on: {found.trouble}")
    if found.error:
        say(f"stopped: {found.error}")
    for method in found.methods:
        say(f"  {method}: {_best(found.incumbents.get(method), found.metric)}")
    paragraph(words)


def export(
    study: Study,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder to write to; made where it is missing.")],
    url: Place = None,
    db: Database = None,
) -> None:
    """Write a study's figure, curves, trials, comparison, provenance and report, also while it runs."""
    where = place(url, db)
    found = where.find(study).id
    check_folder(out_dir, found)
    tell_export(where.export(found, out_dir), out_dir)


def tell_export(words: str, folder: Path) -> None:
    """Say what an export has written, and the comparison."""
    say(f"Figure: {folder / 'figure8.png'}\nReport: {folder / 'report.md'}")
    paragraph(words)


def done(study: "StudySummary") -> int:
    """How many of its trials are over."""
    return study.trials.completed + study.trials.diverged + study.trials.failed


def _best(trial: "Trial | None", metric: str) -> str:
    if trial is None:
        return "no result yet"
    values = ", ".join(f"{name} = {number(given)}" for name, given in trial.hyperparameters.items())
    best, test = value(trial.objective, metric), value(trial.test_metric, metric)
    return f"best {best} (test {test}), run {trial.run} trial {trial.trial}, with {values}"
