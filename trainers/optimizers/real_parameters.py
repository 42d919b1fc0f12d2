"""The optimizer of a network's real-valued parameters."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from trainers.layers.rsign_rprelu import RPReLU, RSign, Scale
from trainers.optimizers.uncompiled import SGD, Adam
from trainers.tasks import Recipe

SPARED = (_NormBase, nn.LayerNorm, RSign, RPReLU, Scale)  # layers without weight decay


def real_optimizer(model: nn.Module, real: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer for `real`, the model's real-valued parameters."""
    by_decay = groups(model, real, recipe.weight_decay)
    if recipe.optimizer == "adam":
        return Adam(by_decay, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
    nesterov = bool(recipe.nesterov and recipe.momentum)
    return SGD(
        by_decay,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=nesterov,
        fused=True,
    )


def groups(model: nn.Module, real: list[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Split `real` into at most two parameter groups: `SPARED` layers' parameters and biases have no weight decay."""
    exempt: set[Tensor] = {p for m in model.modules() if isinstance(m, SPARED) for p in m.parameters()}
    exempt |= {p for name, p in model.named_parameters() if name.endswith("bias")}
    groups = [
        {"params": [p for p in real if p not in exempt], "weight_decay": weight_decay},
        {"params": [p for p in real if p in exempt], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
