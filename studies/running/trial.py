"""One trial: choose hyperparameters from the run's history, then train with them."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS, Observation, Suggestion
from studies.design.space import Space
from studies.design.spec import StudySpec
from trainers.feeding.decoders import Decoder
from trainers.seeds import derive
from trainers.tasks import TASKS, Proxy
from trainers.training.results import EpochResult
from trainers.training.start import start_file

if TYPE_CHECKING:
    from trainers.training.checkpoints import Checkpoint

LEFT_SECONDS = 30 * 86400  # no trial lasts longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Everything that decides a trial, so that any process can carry it out with the same result.

    Trials of the same run and number share `seed` (data order, initialisation) between methods, and all trials
    of a run share `split_seed`: runs are paired. `searcher_seed` belongs to the method's run. `start_sum` is the
    checksum of what `start` names, None where it is not known.
    """

    name: str
    task: str
    proxy: Proxy
    start: str | None
    start_sum: str | None
    method: str
    run: int
    trial: int
    seed: int
    split_seed: int
    searcher: str
    searcher_seed: int
    initial_trials: int
    space: Space
    history: tuple[Observation, ...]
    data_dir: Path
    device: str
    threads: int
    decoder: Decoder
    compile: bool
    max_seconds: float


def assign(
    spec: StudySpec,
    method: str,
    run: int,
    history: tuple[Observation, ...],
    *,
    data_dir: Path,
    start_sum: str | None = None,
) -> Assignment:
    """The trial of `method`'s run `run` that follows `history`."""
    trial = len(history) + 1
    return Assignment(
        name=f"{spec.name}-{method}-r{run:02d}-t{trial:02d}",
        task=spec.task,
        proxy=spec.proxy,
        start=spec.start,
        start_sum=start_sum,
        method=method,
        run=run,
        trial=trial,
        seed=derive(spec.seed, "run", run, "trial", trial),
        split_seed=derive(spec.seed, "run", run, "split"),
        searcher=spec.searcher.name,
        searcher_seed=derive(spec.seed, "method", method, "run", run, "searcher"),
        initial_trials=spec.searcher.initial_trials,
        space=next(m.space for m in spec.methods if m.name == method),
        history=history,
        data_dir=data_dir,
        device="cuda" if spec.resources.gpus > 0 else "cpu",
        threads=spec.resources.cpus,
        decoder=spec.resources.decoder,
        compile=spec.resources.compile,
        max_seconds=spec.resources.max_seconds,
    )


def choose(assignment: Assignment) -> tuple[Suggestion, float]:
    """The trial's hyperparameters and the seconds it took to choose them."""
    _take_threads(assignment)
    start = time.perf_counter()
    suggestion = SEARCHERS[assignment.searcher](
        assignment.space,
        assignment.history,
        assignment.searcher_seed,
        maximize=TASKS[assignment.task].direction == "maximize",
        initial_trials=assignment.initial_trials,
    )
    return suggestion, time.perf_counter() - start


def _take_threads(assignment: Assignment) -> None:
    """Sums differ in their last bits with the number of threads: it is part of what decides a trial."""
    import torch

    torch.set_num_threads(assignment.threads)


def kept(assignment: Assignment, suggestion: Suggestion) -> "Checkpoint":
    """Where the trial's training is kept, for another worker of this machine to go on with if this one is lost.

    The file is named after all that decides the training, so it does not matter which study comes to it.
    """
    from trainers.training.checkpoints import Checkpoint

    added = {"start": assignment.start, "decoder": assignment.decoder, "compile": assignment.compile}
    number = derive(
        assignment.task,
        repr(assignment.proxy),
        assignment.method,
        repr(sorted(suggestion.hyperparameters.items())),
        assignment.seed,
        assignment.split_seed,
        assignment.device,
        assignment.threads,
        *(f"{name} {value}" for name, value in added.items() if value not in (None, "pillow", False)),
    )
    return Checkpoint(folder(assignment.data_dir) / f"{assignment.name}-{number:016x}", spare=True)


def folder(data_dir: Path) -> Path:
    """Of the trainings under way. Whatever is in it may be deleted at the cost of time."""
    return data_dir / "checkpoints"


def sweep(data_dir: Path) -> None:
    """Delete what trials have left there that were given up long ago."""
    for file in folder(data_dir).glob("*"):
        with suppress(OSError):  # another worker is first, or nothing can be written there
            if file.stat().st_mtime < time.time() - LEFT_SECONDS:
                file.unlink()


def train(
    assignment: Assignment, suggestion: Suggestion, checkpoint: "Checkpoint | None" = None
) -> Iterator[EpochResult]:
    """The trial's training, an epoch at a time. Raises CheckpointError where its start is no longer what it was."""
    from trainers.training.loop import train

    _take_threads(assignment)
    return train(
        TASKS[assignment.task],
        METHODS[assignment.method].optimizer,
        suggestion.hyperparameters,
        seed=assignment.seed,
        split_seed=assignment.split_seed,
        data_dir=assignment.data_dir,
        device=assignment.device,
        proxy=assignment.proxy,
        decoder=assignment.decoder,
        compile=assignment.compile,
        checkpoint=checkpoint,
        start=start_file(assignment.data_dir, assignment.start) if assignment.start else None,
        start_sum=assignment.start_sum,
    )
