"""The score of a network on a split."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from trainers.data import Samples
from trainers.feeding.network_inputs import Pixels, prepare
from trainers.tasks import Task
from trainers.training.metrics import METRICS, is_among_five, is_broken


class Score(NamedTuple):
    """The task's metric, and top-5 if the task counts it."""

    metric: float
    top5: float | None = None

    @classmethod
    def worst(cls, task: Task) -> "Score":
        """Return the score of a training that diverged."""
        return cls(task.worst, 0.0 if task.top5 else None)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[Samples],
    task: Task,
    scale: Pixels | None,
    generator: torch.Generator,
) -> Score:
    """Return the score of `model` on `batches`; noise comes from `generator`, on their device.

    Leaves the model in evaluation mode. The metric is NaN if an output is not finite: the largest of such outputs is no
    answer.
    """
    model.eval()
    metric = METRICS[task.metric]
    measures = [is_broken, *([is_among_five] if task.top5 else [])]
    sums = torch.zeros(len(measures), dtype=torch.float64, device=generator.device)
    values = []
    for batch in batches:
        inputs, targets = prepare(batch, task.recipe, scale, generator, training=False)
        outputs = model(inputs)
        values.append(metric.of_samples(outputs, targets))
        sums += torch.stack([measure(outputs, targets).sum(dtype=torch.float64) for measure in measures])
    scored = torch.cat(values)
    value, broken, *top5 = torch.cat([metric.of_all(scored)[None], sums / len(scored)]).tolist()
    return Score(math.nan if broken else value, *top5)
