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
    # Quist 2023, section 3, latent weight initialization: divide the first average by the gradients' share in it
    "bias_correction": SWITCH,
    # Quist 2023, eq 3: epsilon
    "learning_rate": Interval(0, math.inf, open_low=True, open_high=True),
    # Quist 2023, eq 1: latent weights start uniform in [-s, s]; 0 starts them at zero with random signs
    "initial_magnitude": Interval(0, math.inf, open_high=True),
    # Quist 2023, eq 3: lambda
    "weight_decay": Interval(0, math.inf, open_high=True),
    # Quist 2023, Table 1: multiply binary weights by their channel's mean latent magnitude
    "scaling": SWITCH,
    # Quist 2023, Table 1: no gradient where a latent weight is outside [-1, 1]; Paren & Poudel 2021, eq 4: put latent
    # weights back into it
    "clipping": SWITCH,
    # Bi-Real Net and ReActNet: no gradient outside [-1, 1], for methods whose `clipping` puts latent weights back
    "masking": SWITCH,
    # code of Nayak 2020: divide each layer's learning rate by twice the bound of Glorot's uniform distribution
    "glorot_rates": SWITCH,
    # Quist 2023, section 3, alpha decay: how alpha or its counterpart decays; by default as in the task's recipe
    "decay": DECAY,
    # of a low-pass filter, as a share of half the sampling rate: one cycle per 2 / cutoff steps keeps half its power
    "cutoff": Interval(0, 1, open_low=True, open_high=True),
    # Quist 2023, eq 14: the number of steps that a filter looks back
    "order": Options((1, 2, 3, 4)),
    # Kingma & Ba 2015, algorithm 1: weights of the old value in the averages of the gradient and of its square
    "beta1": Interval(0, 1, open_high=True),
    "beta2": Interval(0, 1, open_high=True),
    # Nayak 2020, eq 2: threshold that the averaged gradient must reach to flip a weight
    "tau": Interval(0, math.inf, open_high=True),
    "tau_decay": DECAY,
    # Paren & Poudel 2021, section 3.3: discount factor of the squared gradient's average
    "sigma": Interval(0, 1, open_low=True),
    # Paren & Poudel 2021, section 3.2, lambda_rate there: the factor by which the temperature beta grows per epoch
    "beta_rate": Interval(1, math.inf, open_high=True),
    # Paren & Poudel 2021, sections 3.4 and 4.3: the regulariser's weight lambda, if it grew until the last epoch
    "lambda_rate": Interval(0, math.inf, open_high=True),
    # Paren & Poudel 2021, section 4.3: share of the training's steps before weights are pulled to -1 and +1
    "pretraining": Interval(0, 0.5),
    # Paren & Poudel 2021, section 4.3: share of the training's steps that have frozen signs, at its end
    "fine_tuning": Interval(0, 0.5, open_low=True),
    # Paren & Poudel 2021, section 5.2: let learning rates decay before the fine-tuning and restart with it
    "restart": SWITCH,
    # of the recipe's optimizer of the real-valued parameters, with any method
    "real_learning_rate": Interval(0, math.inf, open_low=True, open_high=True),
    "real_momentum": Interval(0, 1, open_high=True),
    "real_beta1": Interval(0, 1, open_high=True),
    "real_beta2": Interval(0, 1, open_high=True),
    "real_weight_decay": Interval(0, math.inf, open_high=True),
    "real_decay": DECAY,
    # of the recipe, with any method
    "batch_size": Whole(2, MOST_IN_A_BATCH),
}


def check_ranges(values: Mapping[str, object]) -> None:
    """Raise ValueError at the first value outside its hyperparameter's range, naming both."""
    for name, value in values.items():
        if value not in VALID[name]:
            raise ValueError(f"{name} must be in {VALID[name]}, got {value!r}")
