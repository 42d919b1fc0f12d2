from dataclasses import replace

import torch
from torch import nn

from trainers.data import Samples
from trainers.scoring import evaluate
from trainers.tasks import TASKS

TASK = TASKS["spoken-digits"]


def test_accuracy_counts_every_batch() -> None:
    logits = torch.tensor([[3.0, 1.0], [0.0, 1.0], [5.0, 2.0], [0.0, 9.0], [1.0, 0.0]])
    targets = torch.tensor([0, 0, 0, 1, 1])
    batches = [Samples(*part) for part in zip(logits.split(2), targets.split(2), strict=True)]
    assert evaluate(nn.Identity(), batches, TASK, None, torch.Generator()) == (3 / 5, None)
    both = replace(TASK, top5=True)
    assert evaluate(nn.Identity(), batches, both, None, torch.Generator()) == (3 / 5, 1)
