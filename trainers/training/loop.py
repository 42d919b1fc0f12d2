"""One training of one binary network, epoch by epoch."""

from collections.abc import Iterator
from pathlib import Path

from trainers import devices
from trainers.optimizers import validate
from trainers.training import teachers
from trainers.training.checkpoints import Checkpoint
from trainers.training.results import EpochResult
from trainers.training.training import Training
from trainers.training_spec import Machine, TrainingSpec


def train(
    spec: TrainingSpec,
    machine: Machine,
    *,
    checkpoint: Checkpoint | None = None,
    save: Path | None = None,
) -> Iterator[EpochResult]:
    """Train what `spec` says on `machine` once, and yield every epoch's result.

    `Feed` defines an epoch. No epoch follows one that has diverged; otherwise the network's weights are saved to `save`
    after the last one. torch's global random state is left as it was.

    With a `checkpoint` a training that was stopped anywhere goes on from there, on the same kind of machine with
    exactly the numbers that it would have had. The epochs that it had finished are yielded again. The first `next`
    raises ValueError for an unknown name or a value out of range, DataError for the data set and the teacher, and
    CheckpointError for a checkpoint.
    """
    devices.set_threads(machine.threads)
    validate(spec.method, spec.hyperparameters, spec.scaled.recipe.own)
    training = Training(spec, machine)
    training.begin(checkpoint)
    yield from training.results
    while not training.over:
        yield training.epoch()
    if save is not None and not training.diverged:
        teachers.save(training.model, save)
