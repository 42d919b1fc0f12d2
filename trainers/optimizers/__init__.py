"""Optimizers of binary parameters, one file a family. A new one is a class in a file and a line here."""

from collections.abc import Mapping

from trainers.hyperparameters import Value, check
from trainers.optimizers.gradient_filter import GradientFilter
from trainers.optimizers.latent_sgd import LatentSGD

__all__ = ["OPTIMIZERS", "GradientFilter", "LatentSGD", "validate"]

# each class says which hyperparameters it takes and which one of them a recipe's decay shapes
OPTIMIZERS: dict[str, type[GradientFilter] | type[LatentSGD]] = {
    "gradient-filter": GradientFilter,
    "latent-sgd": LatentSGD,
}


def validate(name: str, hyperparameters: Mapping[str, Value]) -> None:
    """Raise ValueError for an unknown optimizer, or hyperparameters unknown, missing or out of range."""
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}; known are {', '.join(OPTIMIZERS)}")
    allowed = OPTIMIZERS[name].hyperparameters
    for key in hyperparameters:
        if key not in allowed:
            raise ValueError(f"{name} has no hyperparameter {key!r}; it has {', '.join(allowed)}")
    missing = [key for key in allowed if key not in hyperparameters]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}")
    check(hyperparameters)
