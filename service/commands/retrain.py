"""Retraining of a stored trial: for the same numbers, or with another seed."""

from typing import TYPE_CHECKING, Annotated

import typer

from service.commands.backends import LocalDatabase, local_database
from service.commands.options import Database, Study
from service.commands.run import check_ready
from service.commands.terminal import notes, print_rows, say
from service.errors import StoreError

if TYPE_CHECKING:
    from studies.records import EpochRecord, StudyRecord, TrialRecord

Trial = Annotated[str, typer.Argument(help="Trial id, such as gradient-filter-r01-t03.")]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Train with this seed, instead of the trial's own.")
]


def retrain(study: Study, trial: Trial, seed: Seed = None, db: Database = None) -> None:
    """Train a stored trial again and compare the numbers, or train its hyperparameters with another seed.

    For a trial with several trainings, this repeats the first one, or the one whose seed is given.
    """
    from studies.design.spec import stored
    from studies.results.wording import value
    from studies.running import trial as trials

    here = local_database(db)
    record = here.store.study(study)
    spec, then = stored(record), _trial(here, record, trial)
    check_ready(spec, here)
    start_sum = record.provenance.get("start", {}).get("sha256")
    for now in trials.retrain(spec, then, data_dir=here.settings.data_dir, start_sum=start_sum, seed=seed):
        say(f"epoch {now.epoch}: validation {now.validation_metric:.6g}, test {now.test_metric:.6g}", notes)
    metric = spec.task_definition().metric
    stored_one = next(
        (each for each in then.repeats if each.seed == (then.seed if seed is None else seed)), then
    )
    ended = (now.validation_metric, now.test_metric)
    given = {"stored": (stored_one.objective, stored_one.test_metric), "now": ended}
    rows = [
        {"training": name, "validation": value(validation, metric), "test": value(test, metric)}
        for name, (validation, test) in given.items()
    ]
    print_rows(rows, as_json=False)
    if seed is not None and seed != stored_one.seed:
        return
    first = stored_one.seed == then.seed  # the training whose epochs are stored
    if repr(given["stored"]) != repr(given["now"]) or (first and not _same(then.epochs[-1], now)):
        hardware, commit = record.provenance.get("hardware", {}), record.provenance.get("commit")
        say(
            f"the numbers differ from the stored ones, which come from {hardware.get('cpu')} and commit {commit}"
        )
        raise typer.Exit(1)
    say("the same numbers, to the last digit")


def _trial(here: LocalDatabase, study: "StudyRecord", text: str) -> "TrialRecord":
    from service.schemas import trial_of

    named = trial_of(text)
    found = None if named is None else here.store.trial(study.id, *named)
    if found is None:
        raise StoreError(
            f"study {study.id} has no finished trial {text!r:.100}; a trial's id is ARM-rRUN-tTRIAL, for example "
            f"{next(iter(study.arms))}-r01-t01, and the arms are {', '.join(study.arms)}"
        )
    if not found.epochs:
        raise StoreError(
            f"trial {text} failed and has no numbers: {(found.error or '').partition(chr(10))[0]}"
        )
    return found


def _same(then: "EpochRecord", now: "EpochRecord") -> bool:
    """Return whether all but the seconds and the series, which are stored separately, is equal."""
    kept = [name for name in then.__slots__ if not name.endswith("seconds") and name != "series"]
    return all(repr(getattr(then, name)) == repr(getattr(now, name)) for name in kept)
