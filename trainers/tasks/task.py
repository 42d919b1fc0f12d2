"""A task: data, a network, a recipe and a metric."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from trainers.hyperparameters import Value
from trainers.schedules import EXPONENTIAL_END

Loss = Literal[
    "cross-entropy", "smoothed-cross-entropy", "squared-hinge", "mean-squared-error", "distribution"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStep:
    """The first of two steps of a training: the same network with real-valued weights in its binary layers.

    Activations are binary already. The step adds `epochs` to the recipe's. In it Adam, with this learning rate and
    weight decay, trains these weights and keeps them in [-1, 1] (Paren & Poudel 2021, section 4.3), while the recipe's
    optimizer trains all else. In the second step every method starts from these weights, and decays start again. In the
    first, `decay` shapes both learning rates (None: the recipe's decay), and the recipe's optimizer starts from
    `real_learning_rate` (None: the recipe's learning rate).

    With `optimizer` "sgd", SGD with the recipe's momentum replaces Adam and puts nothing back into [-1, 1].
    """

    epochs: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decay: Literal["none", "linear", "cosine", "exponential", "step"] | None = None
    optimizer: Literal["adam", "sgd"] | None = None  # None is Adam
    real_learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything of a training but the binary parameters' optimizer: the same for every method.

    `optimizer` trains the real-valued parameters: SGD with `momentum`, with or without Nesterov's, or Adam with
    `betas`. Both have `learning_rate` and `weight_decay` (none on normalisation, biases, RSign, RPReLU and Scale). Over
    all steps `decay` shapes their learning rate and the binary optimizer's alpha, learning rate or the like; an
    exponential decay falls to `decay_end` of the start value.

    `pixels` turns images of bytes into floats: from -1 to 1, or standardised by every channel's mean and deviation.
    Before that, `augmentation` changes training images. With `noise` the network gets normal noise of that deviation on
    its inputs, in training and scoring, and is to return the inputs without it (Nayak 2020, eq 4). A `first_step` comes
    before the recipe's own epochs.

    With a `teacher`, the name of a task in TEACHERS whose network has been trained, `loss` compares the outputs with
    the teacher's on the same inputs, not with the classes.

    `precision` is that of everything computed: weights, inputs, gradients, optimizer states, outputs. Initial values
    and samples are made in float32, so that they are the same in float64.
    """

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float
    momentum: float = 0.0
    nesterov: bool | None = None  # None is no
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    decay: Literal["none", "linear", "cosine", "exponential", "step"]
    decay_end: float = EXPONENTIAL_END
    loss: Literal[
        "cross-entropy", "smoothed-cross-entropy", "squared-hinge", "mean-squared-error", "distribution"
    ] = "cross-entropy"
    pixels: Literal["symmetric", "standardised"] = "symmetric"
    augmentation: Literal["none", "crop-and-flip", "flip-and-colours"] = "none"
    noise: float = 0.0
    teacher: str | None = None
    first_step: FirstStep | None = None
    precision: Literal["float64"] | None = None  # None is float32

    def epochs_by(self, method: str | None) -> int:
        """Return the number of epochs of a training by `method`; None trains only the first step if there is one."""
        if self.first_step is None:
            return self.epochs
        return self.first_step.epochs + (self.epochs if method else 0)

    @property
    def real(self) -> dict[str, Value]:
        """The hyperparameters of `optimizer`, which a training may replace; `real_decay` is of its learning rate
        alone."""
        averages: dict[str, Value] = (
            {"real_beta1": self.betas[0], "real_beta2": self.betas[1]}
            if self.optimizer == "adam"
            else {"real_momentum": self.momentum}
        )
        return {
            "real_learning_rate": self.learning_rate,
            "real_weight_decay": self.weight_decay,
            **averages,
            "real_decay": self.decay,
        }

    @property
    def own(self) -> dict[str, Value]:
        """The recipe's values that a training by any method may replace: `real` and the batch size."""
        return {**self.real, "batch_size": self.batch_size}

    def tuned(self, hyperparameters: Mapping[str, Value]) -> "Recipe":
        """Return the recipe with the numbers of `real` that are in `hyperparameters`; the others are the method's."""
        real = {
            key: float(hyperparameters.get(key, value))
            for key, value in self.real.items()
            if key != "real_decay"
        }
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

    `image_size` is the side of the data set's images, None if it has none. `top5` also counts how often the class is
    among the five likeliest. The worst accuracy is 0.
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
        """The width of the network, in the model's own units."""
        return int(self.model_options["width"])
