"""The papers' hyperparameters and the values each may take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

Value = float | int | bool | str


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high`; an open end leaves out the bound itself."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        return f"{'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole numbers from `low` to `high`."""

    low: int
    high: int

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{{{self.low}, {self.low + 1}, ..., {self.high}}}"


@dataclass(frozen=True, slots=True)
class Options:
    """One of a few values."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return any(type(value) is type(v) and value == v for v in self.values)

    def __str__(self) -> str:
        return "{" + ", ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in self.values) + "}"


SWITCH = Options((False, True))
DECAY = Options(("none", "linear", "cosine", "exponential", "step"))

MOST_IN_A_BATCH = 65_536

VALID: dict[str, Interval | Whole | Options] = {
    # Quist 2023, eq 12, alpha = epsilon * lambda: discount factor of the filter's second average
    "alpha": Interval(0, 1, open_low=True),
    # Quist 2023, eqs 2 and 11: discount factor of the gradient's average (momentum is 1 - gamma)
    "gamma": Interval(0, 1, open_low=True),
    # Quist 2023, section 3, latent weight initialization: the first average over the share that gradients have in it
    "bias_correction": SWITCH,
    # Quist 2023, eq 3: epsilon
    "learning_rate": Interval(0, math.inf, open_low=True, open_high=True),
    # Quist 2023, eq 1: latent weights start uniform in [-s, s]; 0 starts them at zero with random signs
    "initial_magnitude": Interval(0, math.inf, open_high=True),
    # Quist 2023, eq 3: lambda
    "weight_decay": Interval(0, math.inf, open_high=True),
    # Quist 2023, Table 1: binary weights times their channel's mean latent magnitude
    "scaling": SWITCH,
    # Quist 2023, Table 1: no gradient where a latent weight has left [-1, 1]; Paren & Poudel 2021, eq 4: latent weights
    # put back into it
    "clipping": SWITCH,
    # Bi-Real Net and ReActNet: what latent SGD has as `clipping`, where that is the other
    "masking": SWITCH,
    # code of Nayak 2020: each layer's learning rate over twice the bound of Glorot's uniform distribution
    "glorot_rates": SWITCH,
    # Quist 2023, section 3, alpha decay: how alpha or what is its like falls; where not given, as the task's recipe
    # says
    "decay": DECAY,
    # of a low-pass filter, as a share of half the sampling rate: a cycle in 2 / cutoff steps passes at half power
    "cutoff": Interval(0, 1, open_low=True, open_high=True),
    # Quist 2023, eq 14: how many steps a filter looks back
    "order": Options((1, 2, 3, 4)),
    # Kingma & Ba 2015, algorithm 1: shares of the old value in the averages of the gradient and of its square
    "beta1": Interval(0, 1, open_high=True),
    "beta2": Interval(0, 1, open_high=True),
    # Nayak 2020, eq 2: what the averaged gradient must reach to flip a weight
    "tau": Interval(0, math.inf, open_high=True),
    "tau_decay": DECAY,
    # Paren & Poudel 2021, section 3.3: discount factor of the squared gradient's average
    "sigma": Interval(0, 1, open_low=True),
    # Paren & Poudel 2021, section 3.2: lambda_rate, the factor of the temperature beta an epoch
    "beta_rate": Interval(1, math.inf, open_high=True),
    # Paren & Poudel 2021, sections 3.4 and 4.3: what the weight lambda of the regulariser would be in the last epoch
    "lambda_rate": Interval(0, math.inf, open_high=True),
    # Paren & Poudel 2021, section 4.3: share of the training's steps before weights are pulled to -1 and +1
    "pretraining": Interval(0, 0.5),
    # Paren & Poudel 2021, section 4.3: share of the training's steps, the last ones, with the signs frozen
    "fine_tuning": Interval(0, 0.5, open_low=True),
    # Paren & Poudel 2021, section 5.2: whether learning rates fall over what is before the fine-tuning, and anew in it
    "restart": SWITCH,
    # of the recipe's optimizer of the real-valued parameters, whatever the method
    "real_learning_rate": Interval(0, math.inf, open_low=True, open_high=True),
    "real_momentum": Interval(0, 1, open_high=True),
    "real_beta1": Interval(0, 1, open_high=True),
    "real_beta2": Interval(0, 1, open_high=True),
    "real_weight_decay": Interval(0, math.inf, open_high=True),
    "real_decay": DECAY,
    # of the recipe, whatever the method
    "batch_size": Whole(2, MOST_IN_A_BATCH),
}


def check_ranges(values: Mapping[str, object]) -> None:
    """Raise ValueError at the first value outside its hyperparameter's range, naming both."""
    for name, value in values.items():
        if value not in VALID[name]:
            raise ValueError(f"{name} must be in {VALID[name]}, got {value!r}")
