"""A study's changes to a task, and the sizes that networks allow."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from trainers.hyperparameters import MOST_IN_A_BATCH, VALID
from trainers.tasks.table import REAL_TASKS, TASKS, TEACHERS
from trainers.tasks.task import FirstStep, Recipe, Task

MOST_EPOCHS = 10_000  # that a proxy may ask for, in either step
LESS = ("train_fraction", "width", "image_size")  # what a proxy can only reduce
FIRST = ("epochs", "train_fraction", "width", "image_size", "first_step")  # fields since the beginning
OF_FIRST_STEP = (
    "first_step_learning_rate",
    "first_step_weight_decay",
    "first_step_decay",
    "first_step_optimizer",
    "first_step_real_learning_rate",
)
FIRST_STEP_OPTIMIZERS = ("adam", "sgd")
OF_SAMPLES = (
    "train_fraction",
    "image_size",
    "validation",
)  # what changes samples, but neither network nor recipe


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Proxy:
    """A study's changes to a task, mostly to scale it down for want of time.

    Fewer or more `epochs` than the recipe's; other batches; a share of every class of the training samples, in (0, 1];
    fewer channels or units, in the model's own `width`; images of a smaller side; a `first_step` of this many epochs, 0
    for training in one step, with the values of `FirstStep`. With `validation` "none" all published training images are
    trained on and only test images are scored: tables report this, but hyperparameters cannot be chosen by it.
    `without` removes one of the network's PARTS, an ablation; "none" keeps all, as the task does. `precision` is the
    recipe's, one of PRECISIONS; every task's own is the first.

    None leaves the task as it is. Raises ValueError. `str` says it in words: "10 epochs, width 16".
    """

    epochs: int | None = None
    train_fraction: float | None = None
    width: int | None = None
    image_size: int | None = None
    first_step: int | None = None
    batch_size: int | None = None
    first_step_learning_rate: float | None = None
    first_step_weight_decay: float | None = None
    first_step_decay: str | None = None
    first_step_optimizer: str | None = None
    first_step_real_learning_rate: float | None = None
    validation: str | None = None
    without: str | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        for name in ("width", "image_size"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be at least 1, got {value!r}")
        for name, low, high in (
            ("epochs", 1, MOST_EPOCHS),
            ("batch_size", 2, MOST_IN_A_BATCH),
            ("first_step", 0, MOST_EPOCHS),
        ):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not low <= value <= high):
                raise ValueError(f"{name} must be in [{low}, {high}], got {value!r}")
        share = self.train_fraction
        if share is not None and (type(share) not in (int, float) or not 0 < share <= 1):
            raise ValueError(f"train_fraction must be in (0, 1], got {share!r}")
        for name in ("learning_rate", "weight_decay", "decay", "real_learning_rate"):
            value = getattr(self, f"first_step_{name}")
            if value is not None and not _valid(name, value):
                raise ValueError(f"first_step_{name} must be in {VALID[name]}, got {value!r}")
        if self.first_step_optimizer not in (None, *FIRST_STEP_OPTIMIZERS):
            known = ", ".join(FIRST_STEP_OPTIMIZERS)
            raise ValueError(
                f"first_step_optimizer must be one of {known}, got {self.first_step_optimizer!r}"
            )
        if self.validation not in (None, "none"):
            raise ValueError(f"validation must be none, got {self.validation!r}")
        if self.without not in (None, *WITHOUT):
            raise ValueError(f"without must be one of {', '.join(WITHOUT)}, got {self.without!r}")
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    def __str__(self) -> str:
        return ", ".join(WORDS[name](value) for name, value in self.changes.items())

    def __repr__(self) -> str:
        """Return the fields; those not in FIRST only if they are set, as names of kept trainings depend on it."""
        shown = {name: value for name, value in asdict(self).items() if name in FIRST or value is not None}
        return f"Proxy({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def changes(self) -> dict[str, int | float | str]:
        """The values that differ from the task's, by name; empty if the proxy is the task itself."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    def label(self, task: str, start: str | None = None) -> str:
        """Return the name to show: `task` if nothing is changed, and "proxy of" it if anything is less. `start` names
        the network that trainings start from."""
        label = f"{task}: {self}" if self.changes else task
        if self.is_less(task):
            label = f"proxy of {label}"
        return f"{label}, from {start}" if start else label

    def is_less(self, task: str) -> bool:
        """Return whether anything of the task with this name is scaled down."""
        known = {**TASKS, **TEACHERS}.get(task)
        shorter = self.epochs is not None and not (known and self.epochs >= known.recipe.epochs)
        return shorter or self.first_step == 0 or any(name in self.changes for name in LESS)

    def over(self, other: "Proxy", task: Task) -> "Proxy":
        """Return the proxy with this one's values and, where it has none, the other's, for trainings of `task`.

        If it has no first step, the other's values for one are dropped.
        """
        said: dict[str, Any] = dict(self.changes)
        both, own = replace(other, **said), task.recipe.first_step
        if not (both.first_step if both.first_step is not None else own and own.epochs):
            idle = [name for name in OF_FIRST_STEP if name not in said]
            both = replace(both, **dict.fromkeys(idle))
        return both.without_defaults(task)

    def without_defaults(self, task: Task) -> "Proxy":
        """Return the proxy without the values that are the task's own."""
        first = task.recipe.first_step or FirstStep(epochs=1)
        own = {
            "epochs": task.recipe.epochs,
            "train_fraction": 1,
            "width": task.width,
            "image_size": task.image_size,
            "first_step": task.recipe.first_step.epochs if task.recipe.first_step else 0,
            "batch_size": task.recipe.batch_size,
            "first_step_learning_rate": first.learning_rate,
            "first_step_weight_decay": first.weight_decay,
            "first_step_decay": first.decay or task.recipe.decay,
            "first_step_optimizer": first.optimizer or "adam",
            "first_step_real_learning_rate": first.real_learning_rate,
            "without": "none",
            "precision": "float32",
        }
        return replace(self, **{name: None for name, value in own.items() if getattr(self, name) == value})

    def of(self, task: Task) -> Task:
        """Return `task` with the proxy's recipe, width and image size.

        Raises ValueError for more than the task's own, less than its network needs, or what the task does not have.
        """
        options, least = task.model_options, LEAST.get(task.model, Least())
        if self.width is not None:
            _at_most("width", self.width, task.width, task)
            _at_least("width", self.width, least.width, task)
            options = {**options, "width": self.width}
        if self.image_size is not None:
            if task.image_size is None:
                raise ValueError(f"{task.name} has no images: leave out image_size, got {self.image_size}")
            _at_most("image_size", self.image_size, task.image_size, task)
            _at_least("image_size", self.image_size, least.image_size, task)
            if self.image_size % least.multiple:
                needed = f"a multiple of {least.multiple} for {task.name}'s network"
                raise ValueError(f"image_size must be {needed}, got {self.image_size}")
        if self.without not in (None, "none"):
            if self.without not in PARTS.get(task.model, ()):
                raise ValueError(f"{task.name}'s network has no {self.without} to leave out")
            options = {**options, "without": self.without}
        if self.first_step and task.name in (*REAL_TASKS, *TEACHERS):
            raise ValueError(
                f"{task.name} has no binary weights: leave out first_step, got {self.first_step}"
            )
        if self.validation and task.image_size is None:
            raise ValueError(
                f"{task.name} has no published test samples: leave out validation, got {self.validation!r}"
            )
        return replace(
            task,
            recipe=self._recipe(task.recipe),
            model_options=options,
            image_size=self.image_size or task.image_size,
        )

    def _recipe(self, recipe: Recipe) -> Recipe:
        recipe = replace(
            recipe,
            epochs=self.epochs or recipe.epochs,
            batch_size=self.batch_size or recipe.batch_size,
            precision="float64" if self.precision == "float64" else recipe.precision,
        )
        if self.first_step is not None:
            step = replace(recipe.first_step or FirstStep(epochs=1), epochs=self.first_step)
            recipe = replace(recipe, first_step=step if step.epochs else None)
        prefix = "first_step_"
        changed: dict[str, Any] = {
            name.removeprefix(prefix): v for name, v in self.changes.items() if name.startswith(prefix)
        }
        if not changed:
            return recipe
        if recipe.first_step is None:
            raise ValueError(
                f"{prefix}{next(iter(changed))} needs a first step: set first_step to its number of epochs"
            )
        return replace(recipe, first_step=replace(recipe.first_step, **changed))


def _valid(name: str, value: object) -> bool:
    try:
        return value in VALID[name]
    except OverflowError:  # a whole number too large for a float
        return False


class Least(NamedTuple):
    """A network's least width and least side of images, which must be a multiple of `multiple`."""

    width: int = 1
    image_size: int = 1
    multiple: int = 1


# of the models that need more than 1, so that no image and no layer becomes empty
LEAST: dict[str, Least] = {
    "lenet5": Least(image_size=4),
    "convnet": Least(image_size=8),
    "bvgg": Least(image_size=10),
    "autoencoder": Least(width=4, image_size=8, multiple=8),
}


# of the models whose papers have ablations
PARTS: dict[str, tuple[str, ...]] = {
    "reactnet20": (
        "offsets",
        "polynomial",
        "real-ends",
        "real-shortcuts",
        "rprelu",
        "rsign",
        "scale",
        "scale-and-polynomial",
        "slopes",
    )
}
WITHOUT = (*sorted({part for parts in PARTS.values() for part in parts}), "none")
PRECISIONS = ("float32", "float64")

# for a proxy's changes, by name
WORDS: dict[str, Callable[[Any], str]] = {
    "epochs": lambda n: f"{n} epoch{'' if n == 1 else 's'}",
    "train_fraction": lambda share: f"{100 * share:g}% of the training samples",
    "width": lambda n: f"width {n}",
    "image_size": lambda side: f"images of {side} x {side}",
    "first_step": lambda n: (
        f"{n} epoch{'' if n == 1 else 's'} with real weights before" if n else "in one step"
    ),
    "batch_size": lambda n: f"batches of {n}",
    "first_step_learning_rate": lambda rate: f"those weights' rate {rate:g}",
    "first_step_weight_decay": lambda decay: f"their weight decay {decay:g}",
    "first_step_decay": lambda decay: f"{decay} decay before",
    "first_step_optimizer": lambda name: f"those weights by {name} before",
    "first_step_real_learning_rate": lambda rate: f"all else at the rate {rate:g} before",
    "validation": lambda _: "all training images, scored on test alone",
    "without": lambda part: f"without its {part}" if part != "none" else "with all its parts",
    "precision": lambda kind: f"in {kind}",
}
WHOLE = Proxy()  # the task itself


def _at_most(name: str, value: int, own: int, task: Task) -> None:
    if value > own:
        raise ValueError(f"{name} must be at most {task.name}'s own, {own}, got {value}")


def _at_least(name: str, value: int, least: int, task: Task) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least} for {task.name}'s network, got {value}")
