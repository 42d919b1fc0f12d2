"""What a training records besides its results."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trainers.tasks import Task

MOST = {"every": 1_000_000, "weights": 64, "images": 64}
# what is recorded after steps, in words
STEPS: dict[str, Callable[[int], str]] = {
    "flips": lambda _: "flips",
    "weights": lambda n: f"{n} weight{'' if n == 1 else 's'}",
    "signs": lambda _: "all signs",
}
MOST_SIGN_BYTES = 2**24  # per training, eight signs in a byte
MOST_NUMBERS = 2**20  # per training, in all other series


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a training records, by default nothing. Recording changes none of the training's numbers.

    A row follows every `every` steps. It has, with `flips`, the flip ratio (Quist 2023, eq 18), averaged over the steps
    since the previous row; for each of `weights` binary weights, which the training's seed chooses across the layers,
    the gradient, everything that the optimizer keeps for it, and the sign; with `signs`, all signs.

    After every epoch comes the task's metric: with `train_metric` on the training samples without augmentation, with
    `latent_metric` on validation and test samples with latent weights in place of the binary ones (Nayak 2020, section
    2), which not every method has. After the last epoch of a task with noise come the network's outputs for the first
    `images` test samples. Raises ValueError.
    """

    every: int = 1
    flips: bool = False
    weights: int = 0
    signs: bool = False
    train_metric: bool = False
    latent_metric: bool = False
    images: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in MOST:
                low = int(name == "every")
                if type(value) is not int or not low <= value <= MOST[name]:
                    raise ValueError(f"{name} must be in [{low}, {MOST[name]}], got {value!r}")
            elif type(value) is not bool:
                raise ValueError(f"{name} must be true or false, got {value!r}")
        if self.every != 1 and not self.steps:
            raise ValueError(
                f"every {self.every} applies to flips, weights and signs, and none of them is set"
            )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Record":
        """Return a record with these values. Raises ValueError, also for an unknown name."""
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"{name} cannot be recorded; known are {', '.join(known)}")
        return cls(**values)

    @property
    def changes(self) -> dict[str, Any]:
        """The values that differ from the default, by name; empty if nothing is recorded."""
        return {
            name: value for name in self.__slots__ if (value := getattr(self, name)) != getattr(NOTHING, name)
        }

    def __str__(self) -> str:
        """Return the record in words: "flips and 4 weights every 10 steps; the metric on training samples"."""
        of_steps = [word(value) for name, word in STEPS.items() if (value := getattr(self, name))]
        apart = "after every step" if self.every == 1 else f"every {self.every} steps"
        listed = " and ".join(filter(None, [", ".join(of_steps[:-1]), *of_steps[-1:]]))
        parts = [f"{listed} {apart}"] if of_steps else []
        parts += ["the metric on training samples"] * self.train_metric
        parts += ["the metric with latent weights"] * self.latent_metric
        parts += [f"{self.images} images recovered"] * bool(self.images)
        return "; ".join(parts)

    @property
    def steps(self) -> bool:
        """Whether anything is recorded after steps."""
        return any(getattr(self, name) for name in STEPS)

    def faults(self, task: Task, *, binary: bool, latent: bool) -> Iterator[tuple[str, str]]:
        """Yield what a training of `task` with or without `binary` and `latent` weights cannot record, and why."""
        for name in STEPS:
            if getattr(self, name) and not binary:
                yield name, f"{name} need binary weights; {task.name} has none"
        if self.latent_metric and not latent:
            yield "latent_metric", "latent_metric needs a method with latent weights"
        if self.images and not task.recipe.noise:
            yield "images", f"images need a task that removes noise; {task.name} does not"


NOTHING = Record()
