"""The two values that a training is made of: what is trained, and what it is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from trainers.feeding.decoders import Decoder
from trainers.hyperparameters import Value
from trainers.record import NOTHING, Record
from trainers.revisions import revisions
from trainers.tasks import WHOLE, Proxy, Task

# what has always decided a training, in an order that names of kept trials depend on
FIRST = ("task", "proxy", "method", "hyperparameters", "seed", "split_seed", "device", "threads")
NEUTRAL = ("start_sum", "data_dir", "workers")  # what gives the same numbers, whatever it is


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """What is trained: a network by a method for its binary weights, with these hyperparameters and seeds.

    `proxy` scales `task` down. A network without binary weights, a teacher, has no `method`; a task of two steps is
    without one trained by the first alone. `hyperparameters` are the method's and, where they differ from the
    recipe's, the batch size and those of the real-valued parameters' optimizer (`Recipe.own`).

    Real-valued initial weights, the order of samples and their augmentation depend on `seed` alone and are the
    same for every method; the split and noise in scoring depend on `split_seed`. Raises ValueError where one is
    negative.

    A task with a teacher takes the weights in `teacher`, or those in the data folder. `start` is another training's
    checkpoint, whose weights this one starts from, with new optimizers; it must have the SHA-256 `start_sum` if that
    is given. `record` asks for more than results.
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
                f"batch_size is a hyperparameter, {size}, and the proxy's, {self.proxy.batch_size}: give one of the two"
            )

    @property
    def scaled(self) -> Task:
        """The task as `proxy` scales it down, in batches of as many as `hyperparameters` say. Raises ValueError where
        it cannot."""
        task, size = self.proxy.of(self.task), self.hyperparameters.get("batch_size")
        return replace(task, recipe=replace(task.recipe, batch_size=size)) if isinstance(size, int) else task


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What it is trained on: the data folder, the device as torch names it, and how each is used.

    `threads` are torch's on the CPU; None leaves them as they are. Images too many for memory are decoded by
    `workers`, Pillow's processes or DALI's threads: None for as many as torch has threads, but on the CPU, whose
    threads train, for none. Any number gives the same batches. `decoder` has the images to train on; `compile` has
    torch compile the step (`compilation`). Raises ValueError for `workers` below 0.
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
    """All that decides a training's numbers, by the names of the fields: what its checkpoint is told from others by.

    What is not of FIRST is in it only where it is not as it is by default, `revisions` where there are any.
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
