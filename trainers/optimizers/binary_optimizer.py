"""The base class of the optimizers of binary parameters: all but their update rules."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, Signature
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.hyperparameters import check_ranges
from trainers.layers.binary import draw_signs, sign
from trainers.optimizers.batches import cache_batches
from trainers.optimizers.buffers import buffer, load_buffers
from trainers.optimizers.scalars import within
from trainers.optimizers.uncompiled import Uncompiled
from trainers.schedules import Progress, factor

PARAMS = Parameter("params", Parameter.POSITIONAL_OR_KEYWORD)
GENERATOR = Parameter("generator", Parameter.KEYWORD_ONLY, default=None)


class BinaryOptimizer(Uncompiled):
    """Base class of the optimizers of binary parameters.

    A subclass defines `hyperparameters`, the names of its constructor's required arguments; `optional`, its keyword
    arguments with their defaults; `decayed`, the hyperparameter that `decay` shapes; `buffers`, the names of what it
    keeps for each parameter; and `update`, its step. Each step reads the hyperparameters from `param_groups`, whose
    groups also start with the values in `beginning`.

    The constructor draws signs from `generator` (on the CPU; default: torch's own) and raises ValueError for a value
    out of range. Only `schedule` changes values over a training. After every step the parameters hold what the
    forward pass uses: -1 and +1 (times a scale) unless the class says otherwise.
    """

    hyperparameters: ClassVar[tuple[str, ...]]
    optional: ClassVar[Mapping[str, Any]] = {"decay": "none"}
    beginning: Mapping[str, Any] = {}
    may_be_none: ClassVar[tuple[str, ...]] = ()
    decayed: ClassVar[str]
    latent: ClassVar[bool] = False  # whether binary weights are the signs of latent weights, the buffer `w`
    generator: torch.Generator | None = None

    __signature__: ClassVar[Signature]  # of the constructor, for help()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if hasattr(cls, "hyperparameters") and "__init__" not in vars(cls):
            own = _arguments(cls.hyperparameters, cls.optional).parameters.values()
            cls.__signature__ = Signature([PARAMS, *own, GENERATOR])

    def __init__(
        self, params: Iterable[Any], *values: Any, generator: torch.Generator | None = None, **named: Any
    ) -> None:
        given = _arguments(self.hyperparameters, self.optional).bind(*values, **named)
        given.apply_defaults()
        self.generator = generator
        super().__init__(params, {**given.arguments, **self.beginning, "steps": 0})

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Return the names of the buffers of each parameter of `group`, in the order in which `update` gets them."""
        raise NotImplementedError

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        """Take one step in place on a batch of `group`'s parameters; the gradients have the buffers' type."""
        raise NotImplementedError

    def initialise(self, group: dict[str, Any]) -> None:
        """Give a new group's parameters their first values: random signs."""
        for theta in group["params"]:
            theta.copy_(draw_signs(theta, self.generator))

    def draw_latent(self, theta: Tensor, magnitude: float | None = None) -> Tensor:
        """Create and return `theta`'s buffer `w`: uniform in [-magnitude, magnitude], with the signs in `theta`.

        The default magnitude is Glorot & Bengio's, as for a real-valued layer, but at most 1. Numbers are drawn in
        float32, so that a seed gives the same ones for every type.
        """
        w = buffer(theta)
        magnitude = min(1.0, glorot(theta)) if magnitude is None else magnitude
        magnitudes = torch.rand(theta.shape, generator=self.generator, dtype=torch.float32)
        w.copy_(magnitudes.mul_(within(magnitude, [magnitudes]))).mul_(theta)
        self.state[theta]["w"] = w
        return w

    @property
    def real(self) -> bool:
        """Whether the parameters are real-valued at present, so that their values are worth taking over."""
        return False

    @torch.no_grad()
    def take_over(self, weights: Mapping[Tensor, Tensor], *, real: bool) -> None:
        """Start from another network's weights, given by parameter; call this before the first step.

        The signs of the weights are taken, scaled or not, and if the weights are `real` their values too where a method
        uses them:

        - latent weights take the values, whatever their `initial_magnitude`, or else the signs and keep the magnitudes
          that they drew: latent-sgd, latent-sgd-magnitude-independent, ste-adam, mirror-descent, proxquant-l1 and -l2,
          bnew;
        - the filters, whose weights are only their output's sign, take the values, or else the signs, as their past
          (`Filtering`): gradient-filter, gradient-filter-first-order, iir-filter;
        - bop and bop-second-order take the signs, which stay until a gradient's average reaches the threshold.
        """
        for group in self.param_groups:
            for theta in group["params"]:
                if theta in weights:
                    self.start(group, theta, weights[theta].to(theta), real)

    def start(self, group: dict[str, Any], theta: Tensor, weight: Tensor, real: bool) -> None:
        """Take over one parameter's weights."""
        theta.copy_(sign(weight))
        w = self.state[theta].get("w")
        if w is not None:
            w.copy_(weight if real else w.abs() * theta)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        names = (*self.hyperparameters, *self.optional)
        values = {name: param_group.get(name, self.defaults[name]) for name in names}
        check_ranges({k: v for k, v in values.items() if not (v is None and k in self.may_be_none)})
        super().add_param_group(param_group)
        with torch.no_grad():
            self.initialise(self.param_groups[-1])

    def schedule(self, progress: Progress) -> None:
        """Set the values that the next step uses. Called before its forward pass; reads nothing from the device."""
        for group in self.param_groups:
            self.move(group, progress)

    def move(self, group: dict[str, Any], progress: Progress) -> None:
        """Set the values of one group that change over a training."""
        self.decay(group, self.decayed, group["decay"], progress)

    @staticmethod
    def decay(group: dict[str, Any], name: str, decay: str, progress: Progress) -> None:
        """Set the value `name` to what it was at the first call times the factor of `decay` at `progress`."""
        start = group.setdefault(f"initial_{name}", group[name])
        group[name] = start * factor(decay, progress.step, progress.total_steps, progress.end)

    @contextmanager
    def binarised(self) -> Iterator[None]:
        """Temporarily replace the parameters by the signs that the training would end with now, which are scored."""
        yield

    @contextmanager
    def latent_weights(self) -> Iterator[None]:
        """Temporarily replace the parameters by their latent weights; the optimizer must be `latent`."""
        with self.holding(
            {theta: self.state[theta]["w"] for g in self.param_groups for theta in g["params"]}
        ):
            yield

    @contextmanager
    def holding(self, weights: Mapping[Tensor, Tensor]) -> Iterator[None]:
        """Temporarily replace the parameters' values by `weights`."""
        kept = [theta.detach().clone() for theta in weights]
        with torch.no_grad():
            for theta, weight in weights.items():
                theta.copy_(weight)
        try:
            yield
        finally:
            with torch.no_grad():
                for theta, value in zip(weights, kept, strict=True):
                    theta.copy_(value)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rows = self.rows(group)
            group["steps"] += bool(rows)
            for thetas, gradients, *buffers in cache_batches(rows):
                wide = [gradient.to(b.dtype) for gradient, b in zip(gradients, buffers[0], strict=True)]
                self.update(group, thetas, wide, buffers)
        return loss

    def rows(self, group: dict[str, Any]) -> list[tuple[Tensor, ...]]:
        """Return the rows (parameter, gradient, its buffers) of parameters with a gradient; create missing buffers."""
        names = self.buffers(group)
        rows = []
        for theta in group["params"]:
            if theta.grad is None:
                continue
            state = self.state[theta]
            for name in names:
                if name not in state:
                    state[name] = buffer(theta)
            rows.append((theta, theta.grad, *(state[name] for name in names)))
        return rows

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        load_buffers(self, state_dict)


class NoBinaryWeights(BinaryOptimizer):
    """The optimizer of a network without binary weights: it does nothing."""

    hyperparameters: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, params: Iterable[Any] = (), *, generator: torch.Generator | None = None) -> None:
        super().__init__([{"params": list(params)}], generator=generator)

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ()

    def move(self, group: dict[str, Any], progress: Progress) -> None:
        pass


def _arguments(hyperparameters: tuple[str, ...], optional: Mapping[str, Any]) -> Signature:
    """Return the signature of an optimizer's constructor; binding to it raises TypeError as calling a function does."""
    needed = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in hyperparameters]
    keywords = [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in optional.items()]
    return Signature([*needed, *keywords])


def glorot(theta: Tensor) -> float:
    """Return sqrt(6 / (fan in + fan out)) of a weight (out, in, ...); a vector counts as having a single input."""
    outputs = len(theta) if theta.dim() else 1
    inputs = theta.shape[1] if theta.dim() > 1 else 1
    taps = math.prod(theta.shape[2:])
    return math.sqrt(6 / ((inputs + outputs) * taps))
