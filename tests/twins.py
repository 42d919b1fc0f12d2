"""What two studies of the same spec have in common, and what a study comes to without Ray and a database."""

from dataclasses import asdict, replace
from datetime import UTC, datetime
from statistics import fmean

from studies.records import ConfirmationRecord, RepeatRecord, TrialRecord, TrialState
from studies.running.reuse import address, conditions
from studies.running.schedule import Schedule
from studies.running.trial import assigned, choose, repeats, train
from trainers.training.results import joined


def numbers(trials):
    """All that must not depend on when, where and how often a study was run: everything but times and attempts."""

    def kept(record, *dropped):
        return tuple((name, value) for name, value in asdict(record).items() if name not in dropped)

    return sorted(
        (
            *kept(
                replace(t, epochs=(), series=()),
                "suggest_seconds",
                "train_seconds",
                "attempts",
                "started_at",
                "finished_at",
            ),
            *(kept(epoch, "train_seconds", "evaluate_seconds") for epoch in t.epochs),
            t.series,
        )
        for t in trials
    )


def alone(spec, ran_on, data_dir):
    """All records of a study whose every training is completed, trained one after the other by this process.

    `ran_on` is the provenance of what is compared with it.
    """
    schedule, under, found = Schedule(spec, spec.study_id, (), slots=0), conditions(spec, ran_on), []
    while turns := list(schedule.open()):
        for turn in turns:
            assignment = assigned(spec, turn, data_dir=data_dir)
            record = _trained(assignment, study=spec.study_id, address=address(assignment, under))
            schedule.finished(record)
            found.append(record)
    trials = [record for record in found if isinstance(record, TrialRecord)]
    return trials, [record for record in found if isinstance(record, ConfirmationRecord)]


def _trained(assignment, **given):
    suggestion, _ = choose(assignment)
    trainings = [tuple(train(one, suggestion)) for one in repeats(assignment)]
    lasts = [epochs[-1] for epochs in trainings]
    now = datetime.now(UTC)
    ended = given | {
        "arm": assignment.arm,
        "run": assignment.run,
        "trial": assignment.trial,
        "state": TrialState.COMPLETED,
        "seed": assignment.training.seed,
        "objective": fmean(last.validation_metric for last in lasts),
        "test_metric": fmean(last.test_metric for last in lasts),
        "train_seconds": 1.0,
        "attempts": 1,
        "error": None,
        "started_at": now,
        "finished_at": now,
    }
    if assignment.confirms is not None:
        return ConfirmationRecord(number=assignment.confirms.number, **ended)
    several = tuple(
        RepeatRecord(
            state=TrialState.COMPLETED,
            seed=seed,
            objective=last.validation_metric,
            test_metric=last.test_metric,
        )
        for seed, last in zip(assignment.seeds, lasts, strict=True)
    )
    series = tuple(joined([each for epoch in epochs for each in epoch.series]) for epochs in trainings)
    return TrialRecord(
        hyperparameters=suggestion.hyperparameters,
        source=suggestion.source,
        suggest_seconds=0.0,
        epochs=tuple(replace(epoch, series=()) for epoch in trainings[0]),
        series=series if any(series) else (),
        repeats=several if len(several) > 1 else (),
        **ended,
    )
