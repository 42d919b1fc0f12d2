"""The base class of mirror descent, ProxQuant and BNEW: real-valued weights that become binary over a training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainers.layers.binary import sign
from trainers.optimizers.adam import Adam, adam_step
from trainers.optimizers.binary_optimizer import BinaryOptimizer
from trainers.schedules import Progress


def frozen_steps(fine_tuning: float, total: int) -> int:
    """Return how many steps at the end of `total` have frozen signs: the share `fine_tuning`, at least one."""
    return max(1, round(fine_tuning * total))


class Relaxed(BinaryOptimizer):
    """Base class of the optimizers whose weights are binary only at the end.

    Adam moves real-valued weights, which start Glorot uniform like a real-valued layer's. A subclass defines in `relax`
    how they are pulled to -1 and +1 and what the forward pass uses, and in `grow` how the pull gets stronger.

    `schedule` gives a training three phases (Paren & Poudel 2021, section 4.3). For the share `pretraining` of its
    steps the weights are real; then they are pulled to their signs; for the share `fine_tuning`, at least one step, the
    parameters hold the signs and stay, while the real-valued parameters adapt. Before that `binarised` gives the signs.
    With `restart` the learning rate falls over the steps before the fine-tuning, in which the real-valued parameters'
    learning rate starts again (section 5.2); otherwise it falls over the whole training.
    """

    optional: ClassVar[Mapping[str, Any]] = {
        "decay": "none",
        "pretraining": 0.0,
        "fine_tuning": 0.2,
        "restart": False,
    }
    beginning: Mapping[str, Any] = {"frozen": False}
    decayed: ClassVar[str] = "learning_rate"
    latent: ClassVar[bool] = True

    def relax(self, group: dict[str, Any], thetas: list[Tensor], ws: list[Tensor]) -> None:
        """Pull the weights `ws` to -1 and +1, in place, and write into `thetas` what the forward pass uses."""
        raise NotImplementedError

    def grow(self, group: dict[str, Any], steps: int, progress: Progress) -> None:
        """Set the strength of the pull, `steps` after the pre-training (negative: before its end)."""
        raise NotImplementedError

    def initialise(self, group: dict[str, Any]) -> None:
        super().initialise(group)
        for theta in group["params"]:
            self.relax(group, [theta], [self.draw_latent(theta)])

    @property
    def real(self) -> bool:
        return not all(group["frozen"] for group in self.param_groups)

    def start(self, group: dict[str, Any], theta: Tensor, weight: Tensor, real: bool) -> None:
        super().start(group, theta, weight, real)
        self.relax(group, [theta], [self.state[theta]["w"]])

    def move(self, group: dict[str, Any], progress: Progress) -> None:
        step, total = progress.step, progress.total_steps
        last = frozen_steps(group["fine_tuning"], total)
        restart = group.get("restart", False)  # older checkpoints have none
        super().move(group, progress.restarted(last) if restart else progress)
        self.grow(group, step - round(group["pretraining"] * total), progress)
        if total - step > last or group["frozen"]:
            return
        group["frozen"] = True
        self._write_signs(group["params"])

    def rows(self, group: dict[str, Any]) -> list[tuple[Tensor, ...]]:
        return [] if group["frozen"] else super().rows(group)

    def buffers(self, group: dict[str, Any]) -> tuple[str, ...]:
        return "w", "m", "v"

    def update(
        self,
        group: dict[str, Any],
        thetas: list[Tensor],
        gradients: list[Tensor],
        buffers: list[list[Tensor]],
    ) -> None:
        ws, ms, vs = buffers
        adam_step(gradients, ws, ms, vs, group["steps"], Adam(group["learning_rate"]))
        self.relax(group, thetas, ws)

    @contextmanager
    def binarised(self) -> Iterator[None]:
        thetas = [theta for group in self.param_groups if not group["frozen"] for theta in group["params"]]
        with self.holding({theta: sign(self.state[theta]["w"]) for theta in thetas}):
            yield

    @torch.no_grad()
    def _write_signs(self, thetas: list[Tensor]) -> None:
        for theta in thetas:
            theta.copy_(sign(self.state[theta]["w"]))
