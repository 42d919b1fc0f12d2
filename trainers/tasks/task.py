"""What a task is: what is trained on what, by which recipe, and how it is scored."""

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

    Their activations are binary already. For so many epochs more than the recipe's Adam with this learning rate and
    weight decay trains these weights, in [-1, 1] (Paren & Poudel 2021, section 4.3), while the recipe trains all else;
    decays run over the step and start anew with the second, which every method starts from these weights with. In the
    step `decay` shapes both learning rates, None as the recipe's does, and the recipe's starts from
    `real_learning_rate`, None from its own.

    `optimizer` "sgd" has SGD with the recipe's momentum in Adam's place, and puts nothing back into [-1, 1].
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

    `optimizer` trains the real-valued parameters: SGD with `momentum`, Nesterov's or not, or Adam with `betas`;
    both with `learning_rate` and `weight_decay` (none on normalisation, biases, RSign, RPReLU and Scale). `decay`
    shapes both their learning rate and the binary optimizer's alpha or learning rate over all steps, from its start
    value to 0, exponentially to `decay_end` of it.

    Images of bytes become floats by `pixels`: from -1 to 1, or with every channel's mean and deviation taken
    out; `augmentation` changes training images before. With `noise` the network gets normal noise of that
    deviation on its inputs, in training and scoring, and is to give back what was there (Nayak 2020, eq 4). A
    `first_step` comes before the recipe's own epochs.

    With a `teacher`, the name of a task in TEACHERS whose network has been trained, `loss` compares the outputs
    with the teacher's on the same inputs, not with the classes.

    `precision` is that of all that is computed: weights, inputs, gradients, what optimizers keep, outputs. What a
    training begins with and is given is made in float32, so that it is the same in float64.
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
        """All epochs of a training by `method`, or, without one, of its first step alone if it has one."""
        if self.first_step is None:
            return self.epochs
        return self.first_step.epochs + (self.epochs if method else 0)

    @property
    def real(self) -> dict[str, Value]:
        """The hyperparameters of `optimizer`, as a training may be given others; `real_decay` is of its learning rate
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
        """What a training may be given otherwise than the recipe has it, whatever its method: `real` and the batch
        size."""
        return {**self.real, "batch_size": self.batch_size}

    def tuned(self, hyperparameters: Mapping[str, Value]) -> "Recipe":
        """The recipe with what numbers `hyperparameters` have of `real`; the others are the method's."""
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

    `image_size` is the side of the data set's images, None where it has none. With `top5` it is also counted how
    often the class is among the five likeliest. The worst accuracy is 0.
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
