"""Made-up studies for the page: records that look and develop like real ones, written as a driver writes them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from studies.analysis.confirmation import representatives
from studies.analysis.curves import runs_of
from studies.design.space import Space
from studies.design.spec import StudySpec
from studies.records import ConfirmationRecord, EpochRecord, StudyState, TrialRecord, TrialState
from studies.running.provenance import provenance
from trainers.hyperparameters import Value
from trainers.seeds import derive
from trainers.tasks import TASKS

# the value with the best accuracy, in powers of ten, and the accuracy lost at a distance of one power of ten
BEST = {"alpha": (-2.6, 0.045), "gamma": (-0.8, 0.02), "learning_rate": (-0.8, 0.04),
        "initial_magnitude": (-1.5, 0.012), "weight_decay": (-4.0, 0.004)}  # fmt: skip
TOP = 0.972
EPOCHS = 10
TRAIN_SECONDS = 0.4


@dataclass
class Course:
    """A study in progress: `trials` yields its trials in the order in which drivers store them, the runs in parallel.

    Epochs have top-5 metrics if the study's task does.
    """

    store: Store
    spec: StudySpec
    seed: int = 0

    def trials(self) -> Iterator[TrialRecord]:
        rng = np.random.default_rng(self.seed)
        best: dict[tuple[str, int], tuple[float, Mapping[str, Value]]] = {}
        clock = datetime.now(UTC) - timedelta(seconds=TRAIN_SECONDS * self.spec.planned / 2)
        for number in range(1, self.spec.trials + 1):
            for method in self.spec.arms:
                for run in range(1, self.spec.runs + 1):
                    initial = number <= self.spec.searcher.initial_trials
                    held = best.get((method.name, run))
                    chosen = _chosen(rng, method.space, None if initial or held is None else held[1])
                    state, objective, error = _outcome(rng, chosen)
                    if objective is not None and (held is None or objective > held[0]):
                        best[method.name, run] = objective, chosen
                    clock += timedelta(seconds=TRAIN_SECONDS / 2)
                    yield TrialRecord(
                        study=self.spec.study_id, arm=method.name, run=run, trial=number, state=state,
                        hyperparameters=chosen, source="sobol" if initial else "model",
                        seed=derive(self.spec.seed, "run", run, "trial", number),
                        objective=objective, test_metric=None if objective is None else max(0.0, objective - 0.011),
                        suggest_seconds=0.004 if initial else float(rng.uniform(0.2, 0.5)),
                        train_seconds=float(rng.uniform(0.9, 1.3) * TRAIN_SECONDS),
                        attempts=3 if state is TrialState.FAILED else 1, error=error,
                        started_at=clock - timedelta(seconds=TRAIN_SECONDS), finished_at=clock,
                        epochs=_epochs(rng, state, objective, top5=TASKS[self.spec.task].top5),
                    )  # fmt: skip

    def claim(self) -> Lease:
        """Create the study, unless it exists, and claim it."""
        self.store.create_study(self.spec, provenance(self.spec, Path("nowhere")))
        return self.store.claim(self.spec.study_id, Owner.current(), 3600)


def finished(store: Store, spec: StudySpec, seed: int = 0) -> str:
    """Store a completed study. Returns its id."""
    course = Course(store, spec, seed)
    lease = course.claim()
    for trial in course.trials():
        store.record(lease, trial)
    for confirmation in confirmations(spec, store.trials(spec.study_id)):
        store.confirm(lease, confirmation)
    store.finish(lease, StudyState.COMPLETED)
    return spec.study_id


def confirmations(spec: StudySpec, trials: Sequence[TrialRecord]) -> Iterator[ConfirmationRecord]:
    """Yield confirmations of every incumbent, slightly worse than the incumbent, as its luck is gone."""
    rng = np.random.default_rng(0)
    for run in runs_of(trials):
        objectives = [trial.objective for trial in run.trials]
        settings = [trial.hyperparameters for trial in run.trials]
        chosen = dict.fromkeys(representatives(objectives, settings, spec.task_definition().direction))
        for incumbent in (run.trials[number - 1] for number in chosen if number):
            for number in range(1, (spec.confirm.seeds if spec.confirm else 0) + 1):
                value = min(incumbent.objective, TOP) - 0.011 + float(rng.normal(0, 0.006))
                yield ConfirmationRecord(
                    study=spec.study_id, arm=run.arm, run=run.run, trial=incumbent.trial, number=number,
                    state=TrialState.COMPLETED, seed=derive(spec.seed, "confirm", run.run, "seed", number),
                    objective=value, test_metric=value, train_seconds=TRAIN_SECONDS, attempts=1, error=None,
                    started_at=incumbent.started_at, finished_at=incumbent.finished_at,
                )  # fmt: skip


def underway(
    store: Store, spec: StudySpec, trials: int, seed: int = 0
) -> tuple[Lease, Iterator[TrialRecord]]:
    """Store a running study with so many trials done. Returns its lease and an iterator over its other trials."""
    course = Course(store, spec, seed)
    lease, rest = course.claim(), course.trials()
    for _ in range(trials):
        store.record(lease, next(rest))
    return lease, rest


def _chosen(rng: np.random.Generator, space: Space, near: Mapping[str, Value] | None) -> dict[str, Any]:
    """Return a point of the space: anywhere, or not far from the point `near`."""
    found = {name: dimension.at(float(rng.uniform())) for name, dimension in space.items()}
    if near is None:
        return found
    for name, value in near.items():
        if isinstance(value, float):
            low, high = space[name].at(0.0), space[name].at(1.0)
            found[name] = float(np.clip(value * 10 ** rng.normal(0, 0.35), low, high))
        elif rng.uniform() < 0.85:
            found[name] = value
    return found


def _outcome(
    rng: np.random.Generator, chosen: Mapping[str, Value]
) -> tuple[TrialState, float | None, str | None]:
    if rng.uniform() < 0.012:
        return TrialState.FAILED, None, "RuntimeError: CUDA error: out of memory\n  in step 31 of epoch 2"
    if chosen.get("learning_rate", 0.0) > 4 and rng.uniform() < 0.6:
        return TrialState.DIVERGED, 0.0, None
    loss = sum(
        cost * (math.log10(chosen[name]) - at) ** 2 for name, (at, cost) in BEST.items() if name in chosen
    )
    loss += 0.01 * bool(chosen.get("clipping")) + abs(rng.normal(0, 0.008))
    return TrialState.COMPLETED, round(500 * max(0.1, TOP - loss)) / 500, None


def _epochs(
    rng: np.random.Generator, state: TrialState, objective: float | None, *, top5: bool
) -> tuple[EpochRecord, ...]:
    if objective is None:
        return ()
    if state is TrialState.DIVERGED:
        return (_epoch(1, math.nan, 0.1, top5=top5, diverged=True),)
    rise = [objective - (objective - 0.1) * math.exp(-epoch / 1.8) for epoch in range(1, EPOCHS)]
    values = [value - float(rng.uniform(0, 0.01)) for value in rise] + [objective]
    losses = [2.2 * math.exp(-i / 3) for i in range(1, EPOCHS + 1)]
    lines = enumerate(zip(losses, values, strict=True), start=1)
    return tuple(_epoch(i, loss, value, top5=top5) for i, (loss, value) in lines)


def _epoch(epoch: int, loss: float, value: float, *, top5: bool, diverged: bool = False) -> EpochRecord:
    test = max(0.0, value - 0.011)
    return EpochRecord(
        epoch=epoch, train_loss=loss, validation_metric=value, test_metric=test,
        flip_ratio=0.2 / epoch**2, train_seconds=TRAIN_SECONDS / EPOCHS, evaluate_seconds=0.004, diverged=diverged,
        validation_top5=math.sqrt(value) if top5 else None, test_top5=math.sqrt(test) if top5 else None,
    )  # fmt: skip
