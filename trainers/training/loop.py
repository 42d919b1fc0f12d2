"""One training of one binary network, epoch by epoch."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from trainers import devices
from trainers.feeding.decoders import Decoder
from trainers.feeding.feed import feed
from trainers.hyperparameters import Value
from trainers.optimizers import validate
from trainers.tasks import WHOLE, Proxy, Task
from trainers.training import teachers
from trainers.training.checkpoints import Checkpoint
from trainers.training.results import EpochResult
from trainers.training.training import Training


def train(
    task: Task,
    optimizer: str | None,
    hyperparameters: Mapping[str, Value],
    *,
    seed: int,
    split_seed: int,
    data_dir: Path,
    device: str = "cpu",
    proxy: Proxy = WHOLE,
    teacher: Path | None = None,
    save: Path | None = None,
    workers: int | None = None,
    decoder: Decoder = "pillow",
    compile: bool = False,
    checkpoint: Checkpoint | None = None,
    start: Path | None = None,
    start_sum: str | None = None,
) -> Iterator[EpochResult]:
    """Train `task`'s network once, its binary weights by `optimizer`, and yield every epoch's result.

    A network without binary weights, a teacher, has no `optimizer`; a task of two steps is without one trained by the
    first alone. A task with a teacher takes the weights in `teacher`, or those in the data folder. After the last
    epoch the network's weights are put into `save`.

    Real-valued initial weights, the order of samples and their augmentation depend on `seed` alone and are the
    same for every optimizer; the split and noise in scoring depend on `split_seed`. torch's global random state is
    left as it was. `hyperparameters` are the optimizer's and, where they differ from the recipe's, those of the
    real-valued parameters' optimizer (`Recipe.real`). `proxy` scales the task down. What an epoch is, `workers` and
    `decoder` are those of `feed`; `compile` that of `compilation`. No epoch follows one that has diverged.

    With a `checkpoint` a training that was stopped anywhere goes on from there, on the same kind of machine with
    the very numbers that it would have had; the epochs that it had finished are yielded again. `start` is another
    training's checkpoint, whose weights this one starts from, with new optimizers; it must have the SHA-256 `start_sum`
    if that is given. Raises, at the first `next`, ValueError for arguments out of range, DataError for the data set and
    the teacher, and CheckpointError for a checkpoint.
    """
    for name, number in (("seed", seed), ("split_seed", split_seed)):
        if number < 0:
            raise ValueError(f"{name} must be at least 0, got {number}")
    task = proxy.of(task)
    validate(optimizer, hyperparameters, task.recipe.real)
    place = devices.find(device)
    source = feed(
        task,
        proxy,
        seed=seed,
        split_seed=split_seed,
        data_dir=data_dir,
        place=place,
        workers=workers,
        decoder=decoder,
    )
    training = Training(
        task,
        optimizer,
        hyperparameters,
        source,
        proxy=proxy,
        place=place,
        seed=seed,
        split_seed=split_seed,
        teacher=teachers.file_of(task, data_dir, teacher),
        compile=compile,
    )
    training.begin(checkpoint, start, start_sum)
    yield from training.results
    while not training.over:
        yield training.epoch()
    if save is not None and not training.diverged:
        teachers.save(training.model, save)
