"""The training methods a study can compare, each with its default search space."""

from dataclasses import dataclass

from studies.space import Choice, Float, Space


@dataclass(frozen=True, slots=True)
class Method:
    """An optimizer for the binary parameters (a name in `trainers.optimizers.OPTIMIZERS`) and its search space."""

    optimizer: str
    space: Space
    summary: str
    source: str


SWITCH = Choice((False, True))

METHODS: dict[str, Method] = {
    "gradient-filter": Method(
        optimizer="gradient-filter",
        space={"alpha": Float(1e-6, 1.0, log=True), "gamma": Float(1e-3, 1.0, log=True)},
        summary="second-order gradient filter, no latent weights",
        source="Quist et al. 2023, eqs 11-13",
    ),
    "latent-sgd": Method(
        optimizer="latent-sgd",
        space={
            "learning_rate": Float(1e-4, 10.0, log=True),
            "initial_magnitude": Float(1e-4, 1.0, log=True),
            "gamma": Float(1e-3, 1.0, log=True),
            "weight_decay": Float(1e-6, 1e-1, log=True),
            "scaling": SWITCH,
            "clipping": SWITCH,
        },
        summary="SGD with momentum and weight decay on latent weights",
        source="Quist et al. 2023, eqs 1-5 and Table 1",
    ),
}
