"""What is recorded of a training beside what it comes to."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from trainers.tasks import Task

MOST = {"every": 1_000_000, "weights": 64, "images": 64}
# of what is recorded of steps, in words
STEPS: dict[str, Callable[[int], str]] = {
    "flips": lambda _: "flips",
    "weights": lambda n: f"{n} weight{'' if n == 1 else 's'}",
    "signs": lambda _: "all signs",
}
MOST_SIGN_BYTES = 2**24  # of a training, eight signs in a byte
MOST_NUMBERS = 2**20  # of a training's other series


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is recorded of a training, by default nothing. It changes none of the training's numbers.

    After every so many steps, `every`, there is a row of: the FF ratio with `flips` (Quist 2023, eq 18), its mean over
    the steps since the row before; of so many binary `weights`, which the training's seed chooses over the layers, the
    gradient, all that their optimizer keeps of them, and the sign; and all `signs`.

    After every epoch the task's metric: with `train_metric` on the training samples as they are, with `latent_metric`
    on validation and test samples with latent weights for the binary ones (Nayak 2020, section 2), which not every
    method has. After the last one, of a task with noise, what the network makes of the first `images` test samples.
    Raises ValueError.
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
            raise ValueError(f"every {self.every} is of flips, weights and signs, none of which is asked for")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Record":
        """From values by name. Raises ValueError, also for an unknown name."""
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"{name} is nothing to record; known are {', '.join(known)}")
        return cls(**values)

    @property
    def changes(self) -> dict[str, Any]:
        """What is not as by default, by name; empty where nothing is recorded."""
        return {
            name: value for name in self.__slots__ if (value := getattr(self, name)) != getattr(NOTHING, name)
        }

    def __str__(self) -> str:
        """In words: "flips and 4 weights every 10 steps; the metric on training samples"."""
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
        """Whether anything is recorded of steps."""
        return any(getattr(self, name) for name in STEPS)

    def faults(self, task: Task, *, binary: bool, latent: bool) -> Iterator[tuple[str, str]]:
        """What cannot be recorded of a training of `task`, with `binary` weights and `latent` ones or not, and why."""
        for name in STEPS:
            if getattr(self, name) and not binary:
                yield name, f"{name} are of binary weights; {task.name} has none"
        if self.latent_metric and not latent:
            yield "latent_metric", "latent_metric needs a method with latent weights"
        if self.images and not task.recipe.noise:
            yield "images", f"images are of what is given back without its noise; {task.name} has none"


NOTHING = Record()
