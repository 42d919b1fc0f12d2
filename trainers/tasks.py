"""Tasks: what is trained on what, by which recipe, and how it is scored. All data, nothing to run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything of a training but the binary parameters' optimizer: the same for every method.

    `learning_rate`, `momentum` and `weight_decay` (none on batch normalisation and biases) are those of the SGD
    that trains the real-valued parameters. `decay` shapes both their learning rate and the binary
    optimizer's alpha or learning rate, from its start value to 0 over all steps.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    weight_decay: float
    decay: Literal["none", "linear", "cosine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Data, model, recipe and metric. `dataset` and `model` are names in DATASETS and MODELS."""

    name: str
    summary: str
    dataset: str
    model: str
    model_options: Mapping[str, int] = field(default_factory=dict)
    recipe: Recipe
    metric: Literal["accuracy"]
    direction: Literal["maximize", "minimize"]
    worst: float  # the objective of a training that diverged


TASKS: dict[str, Task] = {
    "spoken-digits": Task(
        name="spoken-digits",
        summary="ten spoken digits from MFCC frames, four fully connected layers, three of them binary",
        dataset="spoken-digits",
        model="audio-mlp",
        model_options={"width": 64},
        recipe=Recipe(
            epochs=10, batch_size=100, learning_rate=0.1, momentum=0.9, weight_decay=1e-4, decay="cosine"
        ),
        metric="accuracy",
        direction="maximize",
        worst=0.0,
    ),
}
