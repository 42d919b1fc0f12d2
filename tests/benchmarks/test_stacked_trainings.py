"""The stacked trainings of the benchmark are the trainings that they stand for."""

import torch
from stacked_trainings import TASK, Stack, Steps

from trainers.tasks import Proxy
from trainers.training.training import Training
from trainers.training_spec import Machine, TrainingSpec


def test_after_an_epoch_the_weights_are_those_of_each_training_alone(spoken_digits):
    values = {"alpha": 1e-3, "gamma": 0.1}
    specs = [
        TrainingSpec(
            task=TASK, proxy=Proxy(epochs=1), method="gradient-filter", hyperparameters=values, seed=seed
        )
        for seed in (3, 4)
    ]
    steps = Steps(specs, spoken_digits, torch.device("cpu"))
    before = {name: steps.stack.tensors[name].detach().clone() for name in steps.stack.binary}
    validation, test = steps.run()
    alone = []
    for i, spec in enumerate(specs):
        training = Training(spec, Machine(data_dir=spoken_digits))
        training.begin()
        result = training.epoch()
        alone.append(training.model)
        # sums in another order turn few signs round
        assert abs(result.validation_metric - validation[i]) < 0.01
        assert abs(result.test_metric - test[i]) < 0.01
    ours, theirs = steps.stack.tensors, Stack(alone).tensors
    for name in steps.stack.binary:
        assert (ours[name] != theirs[name]).double().mean() < 2e-3
        assert (ours[name] != before[name]).double().mean() > 2e-2
    for name in steps.stack.real:
        torch.testing.assert_close(ours[name], theirs[name], atol=5e-3, rtol=0)
