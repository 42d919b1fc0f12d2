"""Optimizers of binary parameters, one file per family. A new one needs a class in a file and a line in OPTIMIZERS."""

from collections.abc import Iterable, Mapping

from trainers.hyperparameters import Value, check_ranges
from trainers.optimizers.binary_optimizer import BinaryOptimizer, NoBinaryWeights
from trainers.optimizers.bop import Bop, SecondOrderBop
from trainers.optimizers.gradient_filter import FirstOrderFilter, GradientFilter
from trainers.optimizers.iir_filter import IIRFilter
from trainers.optimizers.latent_sgd import LatentSGD, MagnitudeIndependentSGD
from trainers.optimizers.mirror_descent import MirrorDescent
from trainers.optimizers.proximal import BNEW, ProxQuantL1, ProxQuantL2
from trainers.optimizers.ste_adam import STEAdam

__all__ = [
    "BNEW",
    "OPTIMIZERS",
    "BinaryOptimizer",
    "Bop",
    "FirstOrderFilter",
    "GradientFilter",
    "IIRFilter",
    "LatentSGD",
    "MagnitudeIndependentSGD",
    "MirrorDescent",
    "NoBinaryWeights",
    "ProxQuantL1",
    "ProxQuantL2",
    "STEAdam",
    "SecondOrderBop",
    "validate",
]

OPTIMIZERS: dict[str, type[BinaryOptimizer]] = {
    "gradient-filter": GradientFilter,
    "latent-sgd": LatentSGD,
    "gradient-filter-first-order": FirstOrderFilter,
    "iir-filter": IIRFilter,
    "latent-sgd-magnitude-independent": MagnitudeIndependentSGD,
    "ste-adam": STEAdam,
    "bop": Bop,
    "bop-second-order": SecondOrderBop,
    "mirror-descent": MirrorDescent,
    "proxquant-l1": ProxQuantL1,
    "proxquant-l2": ProxQuantL2,
    "bnew": BNEW,
}


def validate(name: str | None, hyperparameters: Mapping[str, Value], others: Iterable[str] = ()) -> None:
    """Raise ValueError for an unknown optimizer, or for an unknown, missing or out-of-range hyperparameter.

    `others` are further allowed names, not the optimizer's. `name` is None for a training without a method.
    """
    if name is not None and name not in OPTIMIZERS:
        raise ValueError(
            f"unknown optimizer {name!r}; known are {', '.join(OPTIMIZERS)}; none without binary weights"
        )
    kind = NoBinaryWeights if name is None else OPTIMIZERS[name]
    needed, optional = kind.hyperparameters, (*kind.optional, *others)
    for key in hyperparameters:
        if key not in (*needed, *optional):
            has = ", and optionally ".join(", ".join(names) for names in (needed, optional) if names)
            raise ValueError(
                f"{name or 'a training without a method'} has no hyperparameter {key!r}; it has {has}"
            )
    missing = [key for key in needed if key not in hyperparameters]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}")
    check_ranges(hyperparameters)
