"""The benchmark's stacked trainings are the same as the trainings that they stand for."""

import pytest
import torch
from stacked_trainings import TASK, Stack, Steps

from trainers.tasks import Proxy
from trainers.training.training import Training
from trainers.training_spec import Machine, TrainingSpec


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_after_an_epoch_the_weights_are_those_of_each_training_alone(precision, spoken_digits):
    """In float64 sign for sign; in float32, sums in another order flip few signs."""
    values = {"alpha": 1e-3, "gamma": 0.1}
    proxy = Proxy(epochs=1, precision=precision)
    specs = [
        TrainingSpec(task=TASK, proxy=proxy, method="gradient-filter", hyperparameters=values, seed=seed)
        for seed in (3, 4)
    ]
    steps = Steps(specs, spoken_digits, torch.device("cpu"))
    before = {name: steps.stack.tensors[name].detach().clone() for name in steps.stack.binary}
    metrics = steps.run()
    alone = [Training(each, Machine(data_dir=spoken_digits)) for each in specs]
    for training in alone:
        training.begin()
    results = [training.epoch() for training in alone]
    of_each = [[r.validation_metric for r in results], [r.test_metric for r in results]]
    ours, theirs = steps.stack.tensors, Stack([training.model for training in alone]).tensors
    exact = precision == "float64"
    differ = metrics - torch.tensor(of_each, dtype=metrics.dtype)
    assert differ.abs().max() < (1e-9 if exact else 0.01)
    for name in steps.stack.binary:
        assert (ours[name] != theirs[name]).double().mean() < (1e-9 if exact else 2e-3)
        assert (ours[name] != before[name]).double().mean() > 2e-2
    for name in steps.stack.real:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-12 if exact else 5e-3, rtol=0)
