"""How a task is scaled down, and how far its network lets it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from trainers.tasks.task import FirstStep, Task

MOST_FIRST_EPOCHS = 10_000  # that a proxy may ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """How a task is scaled down, for want of time: what comes out is a proxy's result, not the task's.

    Fewer `epochs` than the recipe's; a share of every class of the training samples, in (0, 1]; fewer channels or
    units, in the model's own `width`; images of a smaller side; a `first_step` of so many epochs, which by itself is
    no less than the task, of none for training in one. None leaves the task as it is. Raises ValueError. `str` says
    it in words: "10 epochs, width 16".
    """

    epochs: int | None = None
    train_fraction: float | None = None
    width: int | None = None
    image_size: int | None = None
    first_step: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "width", "image_size"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be at least 1, got {value!r}")
        first = self.first_step
        if first is not None and (type(first) is not int or not 0 <= first <= MOST_FIRST_EPOCHS):
            raise ValueError(f"first_step must be in [0, {MOST_FIRST_EPOCHS}], got {first!r}")
        share = self.train_fraction
        if share is not None and (type(share) not in (int, float) or not 0 < share <= 1):
            raise ValueError(f"train_fraction must be in (0, 1], got {share!r}")

    def __str__(self) -> str:
        return ", ".join(WORDS[name](value) for name, value in self.changes.items())

    @property
    def changes(self) -> dict[str, int | float]:
        """What is not as the task has it, by name; empty where the proxy is the task itself."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def label(self, task: str, start: str | None = None) -> str:
        """How the proxy of `task` is named wherever a task is: as a proxy; as the task where nothing is changed, or
        where a first step is added, which is not less. `start` names the network that trainings start from."""
        label = task
        if self.changes:
            more = set(self.changes) == {"first_step"} and self.first_step
            label = f"{task}: {self}" if more else f"proxy of {task}: {self}"
        return f"{label}, from {start}" if start else label

    def without_own(self, task: Task) -> "Proxy":
        """The same without what is as `task` has it by itself."""
        own = {
            "epochs": task.recipe.epochs,
            "train_fraction": 1,
            "width": task.width,
            "image_size": task.image_size,
            "first_step": task.recipe.first_step.epochs if task.recipe.first_step else 0,
        }
        return replace(self, **{name: None for name, value in own.items() if getattr(self, name) == value})

    def of(self, task: Task) -> Task:
        """`task` with the proxy's epochs, width and image size.

        Raises ValueError where the task's own are less, or its network needs more.
        """
        recipe, options, least = task.recipe, task.model_options, LEAST.get(task.model, Least())
        if self.epochs is not None:
            _at_most("epochs", self.epochs, recipe.epochs, task)
            recipe = replace(recipe, epochs=self.epochs)
        if self.first_step is not None:
            step = replace(recipe.first_step or FirstStep(epochs=1), epochs=self.first_step)
            recipe = replace(recipe, first_step=step if step.epochs else None)
        if self.width is not None:
            _at_most("width", self.width, task.width, task)
            _at_least("width", self.width, least.width, task)
            options = {**options, "width": self.width}
        if self.image_size is not None:
            if task.image_size is None:
                raise ValueError(f"{task.name} has no images: no image_size {self.image_size}")
            _at_most("image_size", self.image_size, task.image_size, task)
            _at_least("image_size", self.image_size, least.image_size, task)
            if self.image_size % least.multiple:
                needed = f"a multiple of {least.multiple} for {task.name}'s network"
                raise ValueError(f"image_size must be {needed}, got {self.image_size}")
        return replace(
            task, recipe=recipe, model_options=options, image_size=self.image_size or task.image_size
        )


class Least(NamedTuple):
    """What a network needs: so many units of width, images of such a side, which is a multiple of `multiple`."""

    width: int = 1
    image_size: int = 1
    multiple: int = 1


# of the models that need more than 1, so that something is left of an image and of every layer
LEAST: dict[str, Least] = {
    "lenet5": Least(image_size=4),
    "convnet": Least(image_size=8),
    "bvgg": Least(image_size=10),
    "autoencoder": Least(width=4, image_size=8, multiple=8),
}


# of what a proxy changes, by name
WORDS: dict[str, Callable[[float], str]] = {
    "epochs": lambda n: f"{n} epoch{'' if n == 1 else 's'}",
    "train_fraction": lambda share: f"{100 * share:g}% of the training samples",
    "width": lambda n: f"width {n}",
    "image_size": lambda side: f"images of {side} x {side}",
    "first_step": lambda n: (
        f"{n} epoch{'' if n == 1 else 's'} with real weights before" if n else "in one step"
    ),
}
WHOLE = Proxy()  # the task itself


def _at_most(name: str, value: int, own: int, task: Task) -> None:
    if value > own:
        raise ValueError(f"{name} must be at most {task.name}'s own, {own}, got {value}")


def _at_least(name: str, value: int, least: int, task: Task) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least} for {task.name}'s network, got {value}")
