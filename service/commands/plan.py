"""The check of a study before it is run: what it would cost and could show."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands.backends import LocalDatabase, backend
from service.commands.options import AsJson, Database, OptionalService, Runs, Trials
from service.commands.run import check_ready
from service.commands.study_file import changed
from service.commands.terminal import print_json, say
from studies.records import has_own
from studies.results.wording import count
from trainers.record import Record

if TYPE_CHECKING:
    from service.schemas import Design, Validation


def plan(
    spec: Annotated[Path, typer.Argument(help="Study file, YAML or JSON.")],
    url: OptionalService = None,
    db: Database = None,
    runs: Runs = None,
    trials: Trials = None,
    as_json: AsJson = False,
) -> None:
    """Check a study file: show what the study would cost and could show, or every fault that keeps it from running."""
    study, where = changed(spec, runs, trials), backend(url, db)
    if isinstance(where, LocalDatabase):
        found = _here(study, str(spec), where)
    else:
        with where.client() as client:
            found = client.validate(study)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    stored = f"already stored, {found.exists}" if found.exists else "not stored yet"
    confirmed = f" and at most {count(found.confirmations, 'confirmation')}" if found.confirmations else ""
    repeats = found.spec.get("repeats", 1)
    each = f" of {repeats} trainings each" if repeats > 1 else ""
    say(f"{found.id}: {count(found.planned, 'trial')}{each}{confirmed}, {stored}")
    if record := found.spec.get("record"):
        say(f"Recorded of each training: {Record(**record)}.")
    if found.there:
        are = "is" if found.there == 1 else "are"
        say(
            f"{found.there} of its {count(found.planned, 'trial')} {are} in the database and {are} not trained again."
        )
    if found.estimate is None:
        say(f"How long it takes is unknown: {_why_unknown(found.spec)}.")
    else:
        seconds = timedelta(seconds=max(round(found.estimate.seconds), 1))
        recorded = count(found.estimate.recorded_trials, "recorded trial")
        say(f"Its trials take one worker about {seconds}, estimated from {recorded} of its task.")
    _tell_design(found.design)
    if found.spec.get("stop_when"):
        say(
            "The study is tested after every run, which these numbers allow for, and stops once it is decided: telling "
            f"its first two arms apart takes at least {found.design.runs_needed} runs."
        )


def _why_unknown(spec: Mapping[str, Any]) -> str:
    """Return why there is no estimate of the study's time."""
    if any(isinstance(arm["space"].get("batch_size"), list | dict) for arm in spec["arms"]):
        return "an arm searches its batch size"
    own = any(map(has_own, spec["arms"]))
    return f"no trial {'like those of one of its arms' if own else 'of its task'} is recorded yet"


def _tell_design(design: "Design") -> None:
    """Print which difference a test of two arms can find with this number of runs."""
    runs, pairs = (
        count(design.runs, "run"),
        f", adjusted for {design.pairs} pairs," if design.pairs > 1 else "",
    )
    if not design.pairs:
        return
    if design.detectable is None:
        say(
            f"With {runs} no test{pairs} can tell two arms apart, whatever the results: that takes at least "
            f"{design.runs_needed} runs."
        )
        return
    say(
        f"With {runs} a test{pairs} finds a difference of {design.detectable:.2f} SD between two arms in four of five "
        "such studies; SD is the standard deviation of the difference over runs."
    )


def _here(study: object, source: str, here: LocalDatabase) -> "Validation":
    from service.api.validation import validation
    from studies.design.spec import from_json
    from studies.running.provenance import provenance

    spec = from_json(study, source=source)
    check_ready(spec, here)
    if not here.exists():
        return validation(spec, None)
    return validation(spec, here.store, provenance(spec, here.settings.data_dir))
