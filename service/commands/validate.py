"""Looking at a study before it is run."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.backends import LocalDatabase, backend
from service.commands.options import AsJson, Database, OptionalService, Runs, Trials
from service.commands.run import check_ready
from service.commands.study_file import changed
from service.commands.terminal import print_json, say
from studies.results.wording import count

if TYPE_CHECKING:
    from service.schemas import Validation


def validate(
    spec: Annotated[Path, typer.Argument(help="Study file, YAML or JSON.")],
    url: OptionalService = None,
    db: Database = None,
    runs: Runs = None,
    trials: Trials = None,
    as_json: AsJson = False,
) -> None:
    """Check a study file: what the study would be and cost, or all that keeps it from running; nothing is stored."""
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
    say(f"{found.id}: {count(found.planned, 'trial')}, {stored}")
    if found.estimate is None:
        say("How long it takes is not known: no trial of its task is recorded yet.")
    else:
        seconds = timedelta(seconds=max(round(found.estimate.seconds), 1))
        recorded = count(found.estimate.recorded_trials, "recorded trial")
        say(f"It takes about {seconds} of one worker, by {recorded} of its task.")


def _here(study: object, source: str, here: LocalDatabase) -> "Validation":
    from service.api.validation import validation
    from studies.design.spec import from_json

    spec = from_json(study, source=source)
    check_ready(spec, here)
    return validation(spec, here.store if here.exists() else None)
