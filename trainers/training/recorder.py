"""The recorder of a training's steps, which keeps rows on the training's device until an epoch's end."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainers import tensors
from trainers.errors import UnusableError
from trainers.feeding.feed import feed
from trainers.layers.binary import named_binary_parameters
from trainers.models import MODELS
from trainers.optimizers import BinaryOptimizer
from trainers.record import MOST_NUMBERS, MOST_SIGN_BYTES, Record
from trainers.seeds import derive
from trainers.training.flips import FlipCounter
from trainers.training.results import Series
from trainers.training_spec import Machine, TrainingSpec

BITS = (128, 64, 32, 16, 8, 4, 2, 1)
NUMBERS_A_WEIGHT = 4  # about: gradient, sign and the optimizer's buffers
FLIPS, WEIGHTS, SIGNS = "flip_ratio", "weights", "signs"  # what a row has, each if asked for


class Recorder:
    """The rows that `record` asks for about the binary parameters `named`, one after every `record.every` steps.

    Nothing is copied to the host before `take`, at an epoch's end. Raises UnusableError if a training of so many
    `steps` would record too much.
    """

    def __init__(
        self, record: Record, named: Sequence[tuple[str, nn.Parameter]], seed: int, steps: int
    ) -> None:
        self.record = record
        self.parameters = [theta for _, theta in named]
        self.weights = sum(theta.numel() for theta in self.parameters)
        self._chosen = _choose(named, record.weights, seed)
        device = self.parameters[0].device if self.parameters else None
        self._bits = torch.tensor(BITS, dtype=torch.uint8, device=device)
        self._names: list[str] = []  # of the numbers in a row of weights
        self._steps: list[int] = []
        self._rows: dict[str, list[Tensor]] = {}
        self._flips = 0  # in earlier epochs, since the last row
        rows = steps // record.every
        a_row = record.flips + NUMBERS_A_WEIGHT * len(self._chosen)
        if (numbers := rows * a_row) > MOST_NUMBERS:
            raise UnusableError(
                f"{a_row} numbers at {rows:,} steps are {numbers:,}, but a training may record {MOST_NUMBERS:,}: "
                f"record every {-(-record.every * numbers // MOST_NUMBERS)} steps"
            )
        if record.signs and (size := rows * -(-self.weights // 8)) > MOST_SIGN_BYTES:
            raise UnusableError(
                f"the signs of {self.weights:,} weights at {rows:,} steps are {size:,} bytes, but a training may "
                f"record {MOST_SIGN_BYTES:,}: record every {-(-record.every * size // MOST_SIGN_BYTES)} steps"
            )

    @torch.no_grad()
    def look(self, step: int, optimizer: BinaryOptimizer, flips: FlipCounter) -> None:
        """Add a row after step number `step`, if this step is recorded. Reads nothing from the device."""
        if not self.record.steps or step % self.record.every:
            return
        self._steps.append(step)
        if self.record.flips:
            self._add(FLIPS, flips.flips.clone())
        if self._chosen:
            row = {
                f"{name}.{what}": number
                for name, theta, place in self._chosen
                for what, number in _numbers(theta, place, optimizer).items()
            }
            self._names = list(row)
            self._add(WEIGHTS, torch.stack([number.double() for number in row.values()]))
        if self.record.signs:
            self._add(SIGNS, self._packed_signs())

    def _add(self, what: str, row: Tensor) -> None:
        self._rows.setdefault(what, []).append(row)

    def take(self, flips: FlipCounter) -> tuple[Series, ...]:
        """Return the epoch's series and begin the next epoch's; `flips` counts the epoch's. Waits for the device."""
        rows = {what: torch.stack(its).cpu() for what, its in self._rows.items()}
        series: list[Series] = []
        if self.record.flips:
            # from counts since the epoch's beginning to counts since the row before
            counts = [-self._flips, *rows.get(FLIPS, torch.empty(0)).tolist()]
            self._flips = int(flips.flips) - counts[-1]
            of = self.weights * self.record.every
            ratios = [(count - before) / of for before, count in pairwise(counts)]
            series += [Series.of(FLIPS, self._steps, ratios)] if ratios else []
        if WEIGHTS in rows:
            columns = rows[WEIGHTS].T.numpy()
            series += [
                Series.of(name, self._steps, its) for name, its in zip(self._names, columns, strict=True)
            ]
        if SIGNS in rows:
            series.append(Series.of(SIGNS, self._steps, rows[SIGNS].numpy()))
        self._steps, self._rows = [], {}
        return tuple(series)

    def _packed_signs(self) -> Tensor:
        """Return the signs as `Series` packs them (bytes,), the last byte padded with zeros."""
        bits = torch.cat([theta.signbit().flatten() for theta in self.parameters])
        bits = nn.functional.pad(bits, (0, -len(bits) % 8)).view(-1, 8).to(torch.uint8)
        return (bits * self._bits).sum(1, dtype=torch.uint8)

    def state_dict(self) -> dict[str, Any]:
        rows = {what: torch.stack(its) for what, its in self._rows.items()}
        return {"steps": self._steps, "names": self._names, "rows": rows, "flips": self._flips}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps, self._names, self._flips = list(state["steps"]), state["names"], state["flips"]
        device = self.parameters[0].device if self.parameters else None
        self._rows = {what: list(rows.to(device).unbind()) for what, rows in state["rows"].items()}


def check_room(spec: TrainingSpec, data_dir: Path) -> None:
    """Raise UnusableError if a training of `spec` would record more than it may.

    Reads the data, which decide the training's steps and network; raises DataError, and ValueError for too few samples.
    """
    task, source = spec.scaled, feed(spec, Machine(data_dir=data_dir))
    with torch.device("meta"), tensors.SkipInitialisation():
        model = MODELS[task.model](source.input_shape, source.classes, **task.model_options)
    steps = task.recipe.epochs_by(spec.method) * source.steps_an_epoch
    Recorder(spec.record, named_binary_parameters(model), spec.seed, steps)


def _numbers(theta: Tensor, place: tuple[int, ...], optimizer: BinaryOptimizer) -> dict[str, Tensor]:
    """Return the numbers of one weight after a step: its gradient, its optimizer's buffers, and its sign."""
    kept = {} if theta.grad is None else {"gradient": theta.grad}
    own = optimizer.state.get(theta, {}).items()
    kept |= {name: tensor for name, tensor in own if tensor.shape == theta.shape}
    return {name: tensor[place] for name, tensor in kept.items()} | {
        "sign": 1 - 2 * theta[place].signbit().int()
    }


Chosen = list[tuple[str, nn.Parameter, tuple[int, ...]]]


def _choose(named: Sequence[tuple[str, nn.Parameter]], number: int, seed: int) -> Chosen:
    """Draw `number` weights by `seed`, spread over the layers from first to last; return name, parameter, index."""
    generator = torch.Generator().manual_seed(derive(seed, "recorded-weights"))
    layers = [i * len(named) // number for i in range(number)] if named else []
    chosen: Chosen = []
    for layer in dict.fromkeys(layers):
        name, theta = named[layer]
        for flat in torch.randperm(theta.numel(), generator=generator)[: layers.count(layer)]:
            place = tuple(int(i) for i in torch.unravel_index(flat, theta.shape))
            chosen.append((f"{name.removesuffix('.weight')}[{','.join(map(str, place))}]", theta, place))
    return chosen
