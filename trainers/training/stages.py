"""The one or two steps of a training, each with an optimizer of its own for the binary layers' weights."""

from collections.abc import Mapping
from typing import NamedTuple

from trainers.hyperparameters import Value
from trainers.optimizers import OPTIMIZERS, BinaryOptimizer, NoBinaryWeights
from trainers.optimizers.real_weights import RealWeights
from trainers.schedules import Progress
from trainers.tasks import Recipe


class Stage(NamedTuple):
    """Epochs with one optimizer of the binary layers' weights, up to and with the training's `last_epoch`.

    `decay` shapes the learning rate of the real-valued parameters.
    """

    optimizer: type[BinaryOptimizer]
    values: dict[str, Value]
    epochs: int
    last_epoch: int
    decay: str

    def progress(self, step: int, steps_an_epoch: int, end: float) -> Progress:
        """How far the stage is before the training's `step`; what decays in it starts anew."""
        before = (self.last_epoch - self.epochs) * steps_an_epoch
        return Progress(step - before, self.epochs * steps_an_epoch, steps_an_epoch, end)


def stages(recipe: Recipe, optimizer: str | None, hyperparameters: Mapping[str, Value]) -> list[Stage]:
    """Those of a training by `recipe`: the method's, after the recipe's first step if it has one; without a method
    that step alone.

    `hyperparameters` are the method's, whatever there is of `recipe.own` among them. Raises ValueError for a
    `real_decay` without the step that it is of.
    """
    first, before = recipe.first_step, []
    if first and optimizer is None and "real_decay" in hyperparameters:
        given = hyperparameters["real_decay"]
        raise ValueError(
            f"real_decay is of the second step, which needs a method, got {given!r}; the first has first_step_decay"
        )
    if first:
        weights = {"learning_rate": first.learning_rate, "weight_decay": first.weight_decay}
        shape = first.decay or recipe.decay
        before = [Stage(RealWeights, {"decay": shape, **weights}, first.epochs, first.epochs, shape)]
    decay = str(hyperparameters.get("real_decay", recipe.decay))
    if optimizer is None:
        return before or [Stage(NoBinaryWeights, {}, recipe.epochs, recipe.epochs, decay)]
    method = OPTIMIZERS[optimizer]
    values: dict[str, Value] = {"decay": recipe.decay}
    if first and "pretraining" in method.optional:
        values["pretraining"] = 0.0  # the first step is that
    values |= {name: value for name, value in hyperparameters.items() if name not in recipe.own}
    return [*before, Stage(method, values, recipe.epochs, recipe.epochs_by(optimizer), decay)]
