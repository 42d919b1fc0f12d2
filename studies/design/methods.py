"""The training methods a study can compare, each with its default search space."""

from dataclasses import dataclass, field

from studies.design.space import Choice, Float, Int, Space


@dataclass(frozen=True, slots=True)
class Method:
    """An optimizer for the binary parameters (a name in `trainers.optimizers.OPTIMIZERS`) and its search space.

    A method without an optimizer is only for the tasks in REAL_TASKS, which have no binary weights.

    The space holds the hyperparameters that the source tunes, with bounds around the values that it uses or tries. A
    study file may add the dimensions in `extra` and RECIPE; without them, the optimizer's or the recipe's defaults
    apply.
    """

    optimizer: str | None
    space: Space
    summary: str
    source: str
    label: str = ""  # its name in running text
    extra: Space = field(default_factory=dict)
    latent: bool = False  # whether it keeps latent weights

    @property
    def known(self) -> Space:
        """All dimensions that a study file may give the method, those of its own space first."""
        return {**self.space, **self.extra, **RECIPE}


SWITCH = Choice((False, True))
DECAY = Choice(("none", "linear", "cosine"))

# for the real-valued parameters' optimizer, with bounds around the recipes' values; a task takes its own optimizer's
REAL: Space = {
    "real_learning_rate": Float(1e-4, 1.0, log=True),  # 1e-3 to 1e-1
    "real_momentum": Float(0.0, 0.99),  # 0.9
    "real_beta1": Float(0.5, 0.995),  # 0.9 and 0.99
    "real_beta2": Float(0.9, 0.9999),  # 0.999
    "real_weight_decay": Float(1e-6, 1e-2, log=True),  # none and 1e-4
    "real_decay": DECAY,
}
# for every method
RECIPE: Space = {**REAL, "batch_size": Int(16, 1024, log=True)}  # 50 to 510

PHASES: Space = {
    "decay": DECAY,
    "pretraining": Float(0.0, 0.5),
    "fine_tuning": Float(0.02, 0.5),
    "restart": SWITCH,
}

ALPHA = Float(1e-6, 1.0, log=True)  # Quist 2023: 1e-3 on CIFAR-10, 1e-5 on ImageNet
GAMMA = Float(1e-3, 1.0, log=True)  # Quist 2023: 0.1
LATENT = {
    "learning_rate": Float(1e-4, 10.0, log=True),
    "initial_magnitude": Float(1e-4, 1.0, log=True),
    "gamma": GAMMA,
    "weight_decay": Float(1e-6, 1e-1, log=True),
}
ADAM = Float(1e-4, 1.0, log=True)  # Nayak 2020: 1e-3; Paren & Poudel 2021: 1e-2 and 1e-3
# Nayak 2020: 1e-6 to 1e-2; Paren & Poudel 2021: 1e-4
ADAPTIVITY = Float(1e-7, 1e-1, log=True)
# Paren & Poudel 2021, its code: 1e-4 and 1e-3 on CIFAR, 1e-6 on ImageNet; Bai et al.: 3e-4. More for fewer steps
LAMBDA_RATE = Float(1e-7, 1.0, log=True)

METHODS: dict[str, Method] = {
    "gradient-filter": Method(
        optimizer="gradient-filter",
        space={"alpha": ALPHA, "gamma": GAMMA},
        summary="second-order gradient filter, no latent weights",
        source="Quist et al. 2023, eqs 11-13",
        label="gradient filter",
        extra={"decay": DECAY, "bias_correction": SWITCH},
    ),
    "latent-sgd": Method(
        optimizer="latent-sgd",
        space={**LATENT, "scaling": SWITCH, "clipping": SWITCH},
        summary="SGD with momentum and weight decay on latent weights",
        source="Quist et al. 2023, eqs 1-5 and Table 1",
        label="latent SGD",
        extra={"decay": DECAY},
        latent=True,
    ),
    "gradient-filter-first-order": Method(
        optimizer="gradient-filter-first-order",
        space={"alpha": ALPHA},
        summary="first-order gradient filter: one average of the gradient, no latent weights",
        source="Quist et al. 2023, eq 10 and Figure 2",
        label="first-order gradient filter",
        extra={"decay": DECAY},
    ),
    "iir-filter": Method(
        optimizer="iir-filter",
        # a gradient filter's alpha corresponds to a cut-off of about alpha / pi
        space={"cutoff": Float(1e-6, 0.5, log=True), "order": Choice((1, 2, 3, 4))},
        summary="Butterworth low-pass filter of the gradient, no latent weights",
        source="Quist et al. 2023, eq 14",
        label="Butterworth filter",
        extra={"decay": DECAY},
    ),
    "latent-sgd-magnitude-independent": Method(
        optimizer="latent-sgd-magnitude-independent",
        space=LATENT,
        summary="SGD on latent weights without scaling and clipping",
        source="Quist et al. 2023, eqs 2-9, Figures 3 and 4",
        label="magnitude-independent latent SGD",
        extra={"decay": DECAY},
        latent=True,
    ),
    "ste-adam": Method(
        optimizer="ste-adam",
        space={
            "learning_rate": ADAM,
            "beta1": Float(0.5, 0.995),  # Nayak 2020: 0.99; Kingma & Ba: 0.9
            "beta2": Float(0.9, 0.9999),  # 0.999
            "weight_decay": Float(
                1e-8, 1e-2, log=True
            ),  # the papers have none; the lower end is practically none
            "clipping": SWITCH,
        },
        summary="Adam on latent weights, with straight-through gradients",
        source="Paren and Poudel 2021, eqs 4-5; Nayak et al. 2020",
        label="straight-through Adam",
        extra={
            "decay": DECAY,
            "scaling": SWITCH,
            "masking": SWITCH,
            "initial_magnitude": LATENT["initial_magnitude"],  # Nayak 2020: 1; ReActNet: 1e-3
            "glorot_rates": SWITCH,
        },
        latent=True,
    ),
    "bop": Method(
        optimizer="bop",
        # tau 1e-9 to 1e-7 (Nayak 2020, Paren & Poudel 2021)
        space={"gamma": ADAPTIVITY, "tau": Float(1e-10, 1e-3, log=True)},
        summary="weights flip where the averaged gradient passes a threshold",
        source="Nayak et al. 2020, eqs 1-2; Helwegen et al. 2019",
        label="Bop",
        extra={"decay": DECAY, "tau_decay": DECAY},
    ),
    "bop-second-order": Method(
        optimizer="bop-second-order",
        # Suarez-Ramirez et al.: gamma 1e-7, sigma 1e-3, tau 1e-6
        space={
            "gamma": Float(1e-9, 1e-1, log=True),
            "sigma": Float(1e-5, 1.0, log=True),
            "tau": Float(1e-10, 1.0, log=True),
        },
        summary="Bop with the averaged gradient divided by the root of the averaged squared gradient",
        source="Paren and Poudel 2021, section 3.3; Suarez-Ramirez et al. 2021",
        label="second-order Bop",
        extra={"decay": DECAY, "tau_decay": DECAY},
    ),
    "mirror-descent": Method(
        optimizer="mirror-descent",
        # 1.003 to 1.3 over 1,000 epochs; log-uniform is uniform in the last beta's logarithm
        space={"learning_rate": ADAM, "beta_rate": Float(1.001, 4.0, log=True)},
        summary="Adam on latent weights, through a tanh that gets steeper",
        source="Paren and Poudel 2021, eq 6; Ajanthan et al. 2021",
        label="mirror descent",
        extra={**PHASES, "clipping": SWITCH},
        latent=True,
    ),
    "proxquant-l1": Method(
        optimizer="proxquant-l1",
        space={"learning_rate": ADAM, "lambda_rate": LAMBDA_RATE},
        summary="real weights drawn to their signs by a growing penalty on the distance",
        source="Paren and Poudel 2021, eqs 8-10; Bai et al. 2019",
        label="ProxQuant L1",
        extra=PHASES,
        latent=True,
    ),
    "proxquant-l2": Method(
        optimizer="proxquant-l2",
        space={"learning_rate": ADAM, "lambda_rate": LAMBDA_RATE},
        summary="real weights drawn to their signs by a growing penalty on the squared distance",
        source="Paren and Poudel 2021, eqs 8-10; Bai et al. 2019",
        label="ProxQuant L2",
        extra=PHASES,
        latent=True,
    ),
    "bnew": Method(
        optimizer="bnew",
        space={"learning_rate": ADAM, "lambda_rate": LAMBDA_RATE},
        summary="real weights in [-1, 1] driven outwards by a growing concave penalty",
        source="Paren and Poudel 2021, eq 12 and section 4",
        label="BNEW",
        extra=PHASES,
        latent=True,
    ),
    "real-valued": Method(
        optimizer=None,
        space={},
        summary="no binary weights: the recipe's optimizer alone, on a task without binary weights, for comparison",
        source="Nayak et al. 2020, section 5",
        label="real-valued network",
    ),
}
