"""Tasks: what is trained on what, by which recipe, and how it is scored. All data, nothing to run."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, NamedTuple

from trainers.hyperparameters import Value
from trainers.schedules import EXPONENTIAL_END

MOST_FIRST_EPOCHS = 10_000  # that a proxy may ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """The first of two steps of a training: the same network with real-valued weights in its binary layers.

    Their activations are binary already. For so many epochs more than the recipe's Adam with this learning rate and
    weight decay trains these weights, in [-1, 1] (Paren & Poudel 2021, section 4.3), while the recipe trains all else;
    decays run over the step and start anew with the second, which every method starts from these weights with.
    """

    epochs: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything of a training but the binary parameters' optimizer: the same for every method.

    `optimizer` trains the real-valued parameters: SGD with `momentum`, or Adam with `betas`; both with
    `learning_rate` and `weight_decay` (none on normalisation, biases, RSign and RPReLU). `decay` shapes both
    their learning rate and the binary optimizer's alpha or learning rate over all steps, from its start value to
    0, exponentially to `decay_end` of it.

    Images of bytes become floats by `pixels`: from -1 to 1, or with every channel's mean and deviation taken
    out; `augmentation` changes training images before. With `noise` the network gets normal noise of that
    deviation on its inputs, in training and scoring, and is to give back what was there (Nayak 2020, eq 4). A
    `first_step` comes before the recipe's own epochs.

    With a `teacher`, the name of a task in TEACHERS whose network has been trained, `loss` compares the outputs
    with the teacher's on the same inputs, not with the classes.
    """

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float
    momentum: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    decay: Literal["none", "linear", "cosine", "exponential"]
    decay_end: float = EXPONENTIAL_END
    loss: Literal["cross-entropy", "squared-hinge", "mean-squared-error", "distribution"] = "cross-entropy"
    pixels: Literal["symmetric", "standardised"] = "symmetric"
    augmentation: Literal["none", "crop-and-flip", "flip-and-colours"] = "none"
    noise: float = 0.0
    teacher: str | None = None
    first_step: FirstStep | None = None

    def epochs_by(self, method: str | None) -> int:
        """All epochs of a training by `method`, or, without one, of its first step alone if it has one."""
        if self.first_step is None:
            return self.epochs
        return self.first_step.epochs + (self.epochs if method else 0)

    @property
    def real(self) -> dict[str, float]:
        """The hyperparameters of `optimizer`, as a training may be given others."""
        own = {"real_learning_rate": self.learning_rate, "real_weight_decay": self.weight_decay}
        if self.optimizer == "adam":
            return own | {"real_beta1": self.betas[0], "real_beta2": self.betas[1]}
        return own | {"real_momentum": self.momentum}

    def tuned(self, hyperparameters: Mapping[str, Value]) -> "Recipe":
        """The recipe with what `hyperparameters` have of `real`; the others are the method's."""
        real = {key: float(hyperparameters.get(key, value)) for key, value in self.real.items()}
        return replace(
            self,
            learning_rate=real["real_learning_rate"],
            momentum=real.get("real_momentum", self.momentum),
            betas=(real.get("real_beta1", self.betas[0]), real.get("real_beta2", self.betas[1])),
            weight_decay=real["real_weight_decay"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Data, model, recipe and metric. `dataset` and `model` are names in DATASETS and MODELS.

    `image_size` is the side of the data set's images, None where it has none. With `top5` it is also counted how
    often the class is among the five likeliest. The worst accuracy is 0, and so is the worst PSNR of outputs from -1
    to 1.
    """

    name: str
    summary: str
    dataset: str
    model: str
    model_options: Mapping[str, int | str | bool] = field(default_factory=dict)
    recipe: Recipe
    metric: Literal["accuracy", "PSNR"] = "accuracy"
    direction: Literal["maximize", "minimize"] = "maximize"
    worst: float = 0.0  # the objective of a training that diverged
    image_size: int | None = None
    top5: bool = False

    @property
    def width(self) -> int:
        """Of the network, in the model's own units."""
        return int(self.model_options["width"])


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


def _of_recordings(name: str, summary: str) -> Task:
    """The network of spoken-digits, trained longer, on speakers it has not heard."""
    return Task(
        name=name,
        summary=f"{summary}, no speaker in two splits; four fully connected layers, three of them binary",
        dataset=name,
        model="audio-mlp",
        model_options={"width": 256},
        recipe=Recipe(
            epochs=20, batch_size=100, learning_rate=0.1, momentum=0.9, weight_decay=1e-4, decay="cosine"
        ),
    )


SIDES = {"mnist": 28, "cifar10": 32, "cifar100": 32, "imagenet": 224}


def _of_images(
    name: str,
    summary: str,
    model: str,
    recipe: Recipe,
    *,
    width: int,
    metric: Literal["accuracy", "PSNR"] = "accuracy",
    **options: str | bool,
) -> Task:
    """A task on the data set that its name begins with; top-5 is counted of ImageNet's many classes."""
    dataset = name.split("-")[0]
    return Task(
        name=name,
        summary=summary,
        dataset=dataset,
        model=model,
        model_options={"width": width, **options},
        recipe=recipe,
        metric=metric,
        image_size=SIDES[dataset],
        top5=dataset == "imagenet",
    )


# Nayak 2020, with its authors' code: docs/decisions/0011
HINGE_MNIST = Recipe(
    epochs=500,
    batch_size=100,
    optimizer="adam",
    learning_rate=3e-3,
    decay="exponential",
    decay_end=1e-4,
    loss="squared-hinge",
)
HINGE_CIFAR = replace(HINGE_MNIST, epochs=100, batch_size=50, learning_rate=1e-3, decay_end=3e-4)
BVGG = Recipe(
    epochs=250,
    batch_size=64,
    optimizer="adam",
    learning_rate=1e-3,
    betas=(0.99, 0.999),
    decay="none",
    augmentation="crop-and-flip",
)
DENOISING = replace(BVGG, augmentation="none", loss="mean-squared-error", noise=0.1)

# Quist 2023, section 4.1
BIREALNET = Recipe(
    epochs=400,
    batch_size=256,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    decay="cosine",
    pixels="standardised",
    augmentation="crop-and-flip",
)

# Paren & Poudel 2021, section 5.1
RESNET = Recipe(
    epochs=1000,
    batch_size=128,
    optimizer="adam",
    learning_rate=1e-2,
    decay="linear",
    pixels="standardised",
    augmentation="crop-and-flip",
)

# what the ResNet-20 of Paren & Poudel 2021 and the ReActNet-A of Quist 2023 learn from: He et al. 2016, with a cosine
# for their steps
RESNET_TEACHER = replace(BIREALNET, epochs=180, batch_size=128)
IMAGENET_TEACHER = replace(BIREALNET, epochs=90, augmentation="flip-and-colours")

# Quist 2023, section 4.1: 600,000 steps on the images that are not held out for validation
REACTNET = Recipe(
    epochs=249,
    batch_size=510,
    optimizer="adam",
    learning_rate=2.5e-3,
    decay="linear",
    loss="distribution",
    pixels="standardised",
    augmentation="flip-and-colours",
    teacher="imagenet-resnet34",
)

_TASKS = (
    Task(
        name="spoken-digits",
        summary="ten spoken digits from MFCC frames, four fully connected layers, three of them binary",
        dataset="spoken-digits",
        model="audio-mlp",
        model_options={"width": 256},
        recipe=Recipe(
            epochs=10, batch_size=100, learning_rate=0.1, momentum=0.9, weight_decay=1e-4, decay="cosine"
        ),
    ),
    _of_recordings("fsdd", "ten spoken digits from log-mel features of FSDD's 3,000 wav files"),
    _of_recordings("audiomnist", "ten spoken digits from AudioMNIST's 30,000 wav files"),
    _of_images(
        "mnist-fullycon",
        "handwritten digits, three dense layers of 4,096 units and a last one",
        "fullycon",
        HINGE_MNIST,
        width=4096,
    ),
    _of_images("mnist-lenet5", "handwritten digits, LeNet-5", "lenet5", HINGE_MNIST, width=20),
    _of_images("cifar10-lenet5", "images of 10 classes, LeNet-5", "lenet5", HINGE_CIFAR, width=20),
    _of_images(
        "cifar10-convnet",
        "images of 10 classes, six convolutions and three dense layers",
        "convnet",
        HINGE_CIFAR,
        width=128,
    ),
    _of_images(
        "cifar10-bvgg",
        "images of 10 classes, BVGG with batch normalisation",
        "bvgg",
        BVGG,
        width=128,
        normalisation="batch",
    ),
    _of_images(
        "cifar10-bvgg-layer",
        "images of 10 classes, BVGG with layer normalisation",
        "bvgg",
        BVGG,
        width=128,
        normalisation="layer",
    ),
    _of_images(
        "cifar10-denoise",
        "images with noise to be taken out, a binary autoencoder",
        "autoencoder",
        DENOISING,
        width=32,
        metric="PSNR",
    ),
    _of_images(
        "cifar10-birealnet20", "images of 10 classes, Bi-Real-Net-20", "birealnet20", BIREALNET, width=16
    ),
    _of_images(
        "cifar10-resnet20", "images of 10 classes, binary ResNet-20", "binary-resnet20", RESNET, width=16
    ),
    _of_images(
        "cifar100-resnet20", "images of 100 classes, binary ResNet-20", "binary-resnet20", RESNET, width=16
    ),
    _of_images(
        "cifar10-resnet20-distilled",
        "images of 10 classes, binary ResNet-20 that learns from a real-valued one",
        "binary-resnet20",
        replace(RESNET, loss="distribution", teacher="cifar10-real-resnet20"),
        width=16,
    ),
    _of_images(
        "cifar100-resnet20-distilled",
        "images of 100 classes, binary ResNet-20 that learns from a real-valued one",
        "binary-resnet20",
        replace(RESNET, loss="distribution", teacher="cifar100-real-resnet20"),
        width=16,
    ),
    _of_images(
        "imagenet-reactnet-a",
        "large images of any number of classes, ReActNet-A that learns from ResNet-34",
        "reactnet-a",
        REACTNET,
        width=32,
    ),
    _of_images(
        "imagenet-birealnet18",
        "large images of any number of classes, Bi-Real-Net-18 that learns from ResNet-34",
        "birealnet18",
        REACTNET,
        width=64,
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _TASKS}

# Networks without binary weights, for tasks to learn from: trained by themselves, not by a method.
_TEACHERS = (
    _of_images(
        "cifar10-real-resnet20",
        "images of 10 classes, real-valued ResNet-20",
        "resnet20",
        RESNET_TEACHER,
        width=16,
    ),
    _of_images(
        "cifar100-real-resnet20",
        "images of 100 classes, real-valued ResNet-20",
        "resnet20",
        RESNET_TEACHER,
        width=16,
    ),
    _of_images(
        "imagenet-resnet34",
        "large images of any number of classes, real-valued ResNet-34",
        "resnet34",
        IMAGENET_TEACHER,
        width=64,
    ),
)
TEACHERS: dict[str, Task] = {task.name: task for task in _TEACHERS}

# Another one, that no task learns from: Nayak 2020's autoencoder, to compare the binary one with.
_REAL = _of_images(
    "cifar10-real-denoise",
    "images with noise to be taken out, a real-valued autoencoder",
    "autoencoder",
    DENOISING,
    width=32,
    metric="PSNR",
    binary=False,
)
REAL_TASKS: dict[str, Task] = {_REAL.name: _REAL}
