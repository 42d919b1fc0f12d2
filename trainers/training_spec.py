"""The two values that define a training: what is trained, and the machine that trains it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from trainers.feeding.decoders import Decoder
from trainers.hyperparameters import Value
from trainers.record import NOTHING, Record
from trainers.revisions import revisions
from trainers.tasks import WHOLE, Proxy, Task

# what has decided a training from the beginning; names of kept trials depend on the order
FIRST = ("task", "proxy", "method", "hyperparameters", "seed", "split_seed", "device", "threads")
NEUTRAL = ("start_sum", "data_dir", "workers")  # what never changes a training's numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """What is trained: a network, by a method for its binary weights, with these hyperparameters and seeds.

    `proxy` scales `task` down. `method` is None for a network without binary weights, such as a teacher, and to train
    the first step alone of a task that has two. `hyperparameters` are the method's and those that replace the recipe's:
    the batch size and those of the real-valued parameters' optimizer (`Recipe.own`).

    Real-valued initial weights, the order of samples and their augmentation depend on `seed` alone and are the same for
    every method; the split and the noise in scoring depend on `split_seed`. Raises ValueError for a negative seed, or a
    batch size in both `proxy` and `hyperparameters`.

    `teacher` is a file of the teacher's weights, None for the one in the data folder. `start` is another training's
    checkpoint, whose weights this one starts from, with new optimizers; it must have the SHA-256 `start_sum` if that is
    given. `record` asks for more than results.
    """

    task: Task
    proxy: Proxy = WHOLE
    method: str | None = None
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0
    split_seed: int = 0
    teacher: Path | None = None
    start: Path | None = None
    start_sum: str | None = None
    record: Record = NOTHING

    def __post_init__(self) -> None:
        for name in ("seed", "split_seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.proxy.batch_size and (size := self.hyperparameters.get("batch_size")) is not None:
            raise ValueError(
                f"batch_size is given twice, {size} as a hyperparameter and {self.proxy.batch_size} in the proxy: "
                "give only one"
            )

    @property
    def scaled(self) -> Task:
        """The task as `proxy` scales it down, with any batch size in `hyperparameters`. Raises ValueError."""
        task, size = self.proxy.of(self.task), self.hyperparameters.get("batch_size")
        return replace(task, recipe=replace(task.recipe, batch_size=size)) if isinstance(size, int) else task


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that trains: the data folder, the device as torch names it, and how each is used.

    `threads` is the number of torch's CPU threads; None leaves it as it is. `workers` decode images that are too many
    for memory: processes with Pillow, threads with DALI. None means as many as torch has threads if `device` is a GPU,
    and 0 on the CPU, whose threads train. Any number gives the same batches. `decoder` decodes the training images;
    `compile` has torch compile the step (`compilation`). Raises ValueError for `workers` below 0.
    """

    data_dir: Path
    device: str = "cpu"
    threads: int | None = None
    workers: int | None = None
    decoder: Decoder = "pillow"
    compile: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be at least 0, got {self.workers}")


def fingerprint(spec: TrainingSpec, machine: Machine) -> dict[str, Any]:
    """Return all that decides a training's numbers, by field name; it tells a training's checkpoint from others.

    Fields that are not in FIRST are included only where they are not the default, `revisions` only where there are any.
    """
    named = {
        each.name: (getattr(part, each.name), each.default)
        for part in (spec, machine)
        for each in fields(part)
    }
    changed = revisions(spec.task.name, [spec.method], compiled=machine.compile)
    return {
        name: value.changes if isinstance(value, Record) else value
        for name, (value, default) in named.items()
        if name in FIRST or (name not in NEUTRAL and value != default)
    } | ({"revisions": changed} if changed else {})
