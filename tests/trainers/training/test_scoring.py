import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from trainers.data import Samples
from trainers.tasks import TASKS
from trainers.training.scoring import evaluate

TASK = TASKS["spoken-digits"]


def test_accuracy_counts_every_batch() -> None:
    logits = torch.tensor([[3.0, 1.0], [0.0, 1.0], [5.0, 2.0], [0.0, 9.0], [1.0, 0.0]])
    targets = torch.tensor([0, 0, 0, 1, 1])
    batches = [Samples(*part) for part in zip(logits.split(2), targets.split(2), strict=True)]
    assert evaluate(nn.Identity(), batches, TASK, None, torch.Generator()) == (3 / 5, None)
    both = replace(TASK, top5=True)
    assert evaluate(nn.Identity(), batches, both, None, torch.Generator()) == (3 / 5, 1)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["imagenet-reactnet-a", "cifar10-denoise"])
def test_outputs_that_are_not_finite_have_no_score(broken: float, name: str) -> None:
    task = replace(TASKS[name], recipe=TASK.recipe)  # inputs as they are
    outputs = torch.zeros(4, 6)
    targets = outputs.clone() if task.metric == "PSNR" else torch.zeros(4, dtype=torch.int64)
    batches = [Samples(*part) for part in zip(outputs.split(2), targets.split(2), strict=True)]
    assert not math.isnan(evaluate(nn.Identity(), batches, task, None, torch.Generator()).metric)
    outputs[3, 5] = broken
    assert math.isnan(evaluate(nn.Identity(), batches, task, None, torch.Generator()).metric)
