"""One trial: choose hyperparameters from the run's history, then train with them."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS, Observation, Suggestion
from studies.design.space import Fixed, Space, searched, untied, whole_point
from studies.design.spec import ArmSpec, SearcherSpec, StudySpec
from studies.records import TrialRecord
from studies.running.schedule import Confirms, Turn
from trainers.record import NOTHING
from trainers.seeds import derive
from trainers.tasks import Task
from trainers.training.results import EpochResult
from trainers.training.start import start_file
from trainers.training_spec import FIRST, Machine, TrainingSpec, fingerprint

if TYPE_CHECKING:
    from trainers.training.checkpoints import Checkpoint

LEFT_SECONDS = 30 * 86400  # no trial lasts longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Everything that decides a trial, so that any process can run it with the same result.

    It is the trial that follows `history`, or `confirms` an earlier one with that trial's hyperparameters. `training`
    is what it trains, without the hyperparameters, which it chooses first; `machine` is what it trains on. Trials with
    the same run and number share the training's `seed` (data order, initialisation) between arms, and all trials of a
    run share its `split_seed`: runs are paired. `searcher_seed` belongs to the method's run, so that arms of one method
    differ in what they are, not in their names. A trial of several trainings has `more_seeds`, one for each after the
    first.
    """

    name: str
    arm: str
    run: int
    trial: int
    training: TrainingSpec
    machine: Machine
    searcher: SearcherSpec
    searcher_seed: int
    space: Space
    history: tuple[Observation, ...]
    max_seconds: float
    more_seeds: tuple[int, ...] = ()
    confirms: Confirms | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its trainings, in order."""
        return self.training.seed, *self.more_seeds


def assign(
    spec: StudySpec,
    arm: ArmSpec,
    run: int,
    history: tuple[Observation, ...],
    *,
    data_dir: Path,
    start_sum: str | None = None,
) -> Assignment:
    """Return the trial of the arm's run `run` that follows `history`; `start_sum` is the start's checksum, if known.

    Trial t of a run has the same seed in every arm. All trials of a grid have the first one's seed, because only their
    values are compared.
    """
    trial = len(history) + 1
    seeded = "run", run, "trial", 1 if spec.is_grid(arm) else trial
    return Assignment(
        name=f"{spec.name}-{arm.name}-r{run:02d}-t{trial:02d}",
        arm=arm.name,
        run=run,
        trial=trial,
        training=TrainingSpec(
            task=spec.task_of(arm),
            proxy=spec.proxy_of(arm),
            method=METHODS[arm.method].optimizer,
            seed=derive(spec.seed, *seeded),
            split_seed=spec.split_seed(run),
            start=start_file(data_dir, spec.start) if spec.start else None,
            start_sum=start_sum,
            record=spec.record,
        ),
        machine=spec.resources.machine(data_dir),
        searcher=spec.searcher_of(arm),
        searcher_seed=derive(spec.seed, "method", arm.method, "run", run, "searcher"),
        space=arm.space,
        history=history,
        max_seconds=spec.resources.max_seconds * spec.repeats,
        more_seeds=tuple(
            derive(spec.seed, *seeded, "repeat", repeat) for repeat in range(2, spec.repeats + 1)
        ),
    )


def assign_confirmation(
    spec: StudySpec,
    arm: ArmSpec,
    run: int,
    confirms: Confirms,
    *,
    data_dir: Path,
    start_sum: str | None = None,
) -> Assignment:
    """Return a training of one trial's hyperparameters, with a seed that all arms' confirmations in the run share.

    Nothing is recorded of it.
    """
    trial = assign(spec, arm, run, (), data_dir=data_dir, start_sum=start_sum)
    return replace(
        trial,
        name=f"{spec.name}-{arm.name}-r{run:02d}-t{confirms.trial:02d}-c{confirms.number:02d}",
        trial=confirms.trial,
        training=replace(
            trial.training, seed=derive(spec.seed, "run", run, "confirm", confirms.number), record=NOTHING
        ),
        space={name: Fixed(value) for name, value in confirms.hyperparameters.items()},
        max_seconds=spec.resources.max_seconds,
        more_seeds=(),
        confirms=confirms,
    )


def assigned(spec: StudySpec, turn: Turn, *, data_dir: Path, start_sum: str | None = None) -> Assignment:
    """Return the trial or confirmation whose turn it is."""
    arm = spec.arm(turn.arm)
    if turn.confirms is not None:
        return assign_confirmation(spec, arm, turn.run, turn.confirms, data_dir=data_dir, start_sum=start_sum)
    return assign(spec, arm, turn.run, turn.history, data_dir=data_dir, start_sum=start_sum)


def repeats(assignment: Assignment) -> tuple[Assignment, ...]:
    """Return the trial's trainings, each as a trial of one training."""
    return tuple(
        replace(assignment, training=replace(assignment.training, seed=seed), more_seeds=())
        for seed in assignment.seeds
    )


def retrain(
    spec: StudySpec,
    trial: TrialRecord,
    *,
    data_dir: Path,
    start_sum: str | None = None,
    seed: int | None = None,
) -> Iterator[EpochResult]:
    """Repeat a stored trial's first training, an epoch at a time, with its own seed or another."""
    assignment = assign(spec, spec.arm(trial.arm), trial.run, (), data_dir=data_dir, start_sum=start_sum)
    training = replace(assignment.training, seed=trial.seed if seed is None else seed)
    return train(replace(assignment, training=training), Suggestion(dict(trial.hyperparameters), "given"))


def choose(assignment: Assignment) -> tuple[Suggestion, float]:
    """Choose the trial's hyperparameters; return them and the seconds that it took."""
    space = assignment.space
    if not searched(space):
        return Suggestion(whole_point(space, {}), "fixed"), 0.0
    from trainers.devices import set_threads

    set_threads(assignment.machine.threads)
    start = time.perf_counter()
    suggestion = SEARCHERS[assignment.searcher.name].suggest(
        untied(space),
        assignment.history,
        assignment.searcher_seed,
        maximize=assignment.training.task.direction == "maximize",
        initial_trials=assignment.searcher.initial_trials,
    )
    suggestion = replace(suggestion, hyperparameters=whole_point(space, suggestion.hyperparameters))
    return suggestion, time.perf_counter() - start


def kept(assignment: Assignment, suggestion: Suggestion) -> "Checkpoint":
    """Return the file that keeps the trial's training, for another worker of this machine to resume if this one is
    lost.

    The file's name ends in a digest of all that decides the training, so that no other training resumes from it.
    """
    from trainers.training.checkpoints import Checkpoint

    named = fingerprint(_training(assignment, suggestion), assignment.machine)
    words = {name: _word(value) for name, value in named.items()}
    first = [words.pop(name) for name in FIRST]
    number = derive(*first, *(f"{name} {word}" for name, word in words.items()))
    return Checkpoint(folder(assignment.machine.data_dir) / f"{assignment.name}-{number:016x}", spare=True)


def _training(assignment: Assignment, suggestion: Suggestion) -> TrainingSpec:
    return replace(assignment.training, hyperparameters=suggestion.hyperparameters)


def _word(value: Any) -> int | str:
    """Return what stands for a part of a training's fingerprint in a file name; for a file, its own name."""
    match value:
        case Task():
            return value.name
        case Path():
            return value.stem
        case Mapping():
            return repr(sorted(value.items()))
        case int() | str():
            return value
    return repr(value)


def folder(data_dir: Path) -> Path:
    """Return the folder of the trainings under way. Whatever is in it may be deleted at the cost of time."""
    return data_dir / "checkpoints"


def sweep(data_dir: Path) -> None:
    """Delete what trials given up long ago have left in the folder."""
    for file in folder(data_dir).glob("*"):
        with suppress(OSError):  # another worker is first, or nothing can be written there
            if file.stat().st_mtime < time.time() - LEFT_SECONDS:
                file.unlink()


def train(
    assignment: Assignment, suggestion: Suggestion, checkpoint: "Checkpoint | None" = None
) -> Iterator[EpochResult]:
    """Run the trial's training, an epoch at a time. Raises CheckpointError if its start is no longer what it was."""
    from trainers.training.loop import train

    return train(_training(assignment, suggestion), assignment.machine, checkpoint=checkpoint)
