"""The one or two stages of a training, each with its own optimizer of the binary layers' weights."""

from collections.abc import Mapping
from typing import NamedTuple

from trainers.hyperparameters import Value
from trainers.optimizers import OPTIMIZERS, BinaryOptimizer, NoBinaryWeights
from trainers.optimizers.real_weights import RealWeights, RealWeightsSGD
from trainers.optimizers.relaxed import frozen_steps
from trainers.schedules import Progress, factor
from trainers.tasks import FirstStep, Recipe


class Stage(NamedTuple):
    """Epochs with one optimizer of the binary layers' weights, up to and including the training's `last_epoch`.

    The real-valued parameters have a `learning_rate` that `decay` shapes over the stage. With `fine_tuning`, the share
    of the stage in which signs are frozen, the decay covers the stage before this share and starts again in it.
    """

    optimizer: type[BinaryOptimizer]
    values: dict[str, Value]
    epochs: int
    last_epoch: int
    learning_rate: float
    decay: str
    fine_tuning: float | None = None

    def progress(self, step: int, steps_an_epoch: int, end: float) -> Progress:
        """Return the stage's progress before the training's `step`; decays start again with the stage."""
        before = (self.last_epoch - self.epochs) * steps_an_epoch
        return Progress(step - before, self.epochs * steps_an_epoch, steps_an_epoch, end)

    def real_learning_rate(self, progress: Progress) -> float:
        """Return the learning rate of the real-valued parameters at this progress of the stage."""
        if self.fine_tuning is not None:
            progress = progress.restarted(frozen_steps(self.fine_tuning, progress.total_steps))
        return self.learning_rate * factor(self.decay, progress.step, progress.total_steps, progress.end)


def stages(recipe: Recipe, optimizer: str | None, hyperparameters: Mapping[str, Value]) -> list[Stage]:
    """Return the stages of a training by `recipe`: the recipe's first step if it has one, then the method's stage.

    Without a method the first step is alone; a recipe without either has one stage without binary weights. Of
    `hyperparameters` the method's and `real_decay` are used; others of `recipe.own` may be there. Raises ValueError for
    a `real_decay` without the second step, which it shapes.
    """
    first, before = recipe.first_step, []
    if first and optimizer is None and "real_decay" in hyperparameters:
        given = hyperparameters["real_decay"]
        raise ValueError(
            f"real_decay applies to the second step, which needs a method, got {given!r}; for the first step, set "
            "first_step_decay"
        )
    if first:
        before = [_first(first, recipe)]
    rate, decay = recipe.learning_rate, str(hyperparameters.get("real_decay", recipe.decay))
    if optimizer is None:
        return before or [Stage(NoBinaryWeights, {}, recipe.epochs, recipe.epochs, rate, decay)]
    method = OPTIMIZERS[optimizer]
    values: dict[str, Value] = {"decay": recipe.decay}
    if first and "pretraining" in method.optional:
        values["pretraining"] = 0.0  # the first step replaces it
    values |= {name: value for name, value in hyperparameters.items() if name not in recipe.own}
    anew = {**method.optional, **values} if values.get("restart") else {}
    last_epoch = recipe.epochs_by(optimizer)
    return [
        *before,
        Stage(method, values, recipe.epochs, last_epoch, rate, decay, anew.get("fine_tuning")),
    ]


def _first(step: FirstStep, recipe: Recipe) -> Stage:
    """Return the first stage, with real-valued weights and the optimizer that `step` names."""
    values: dict[str, Value] = {"decay": step.decay or recipe.decay, "weight_decay": step.weight_decay}
    optimizer: type[BinaryOptimizer] = RealWeights
    if step.optimizer == "sgd":
        optimizer, values = RealWeightsSGD, {**values, "real_momentum": recipe.momentum}
    values["learning_rate"] = step.learning_rate
    rate = recipe.learning_rate if step.real_learning_rate is None else step.real_learning_rate
    return Stage(optimizer, values, step.epochs, step.epochs, rate, str(values["decay"]))
