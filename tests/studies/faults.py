"""Faults injected into real training workers: what bad luck or bad hyperparameters do to a trial."""

import itertools
import os
import time

import torch

RAISES, HANGS, KILLED, DIVERGES, TOO_LARGE = 0.1, 0.2, 0.3, 0.4, 0.5
SOUND, SHORT_OF_BREATH, BEREAVES = 0.6, 0.7, 0.8
BREATH = 150  # steps, of 200, after which the last two kill their own process and their driver
DRIVER = "TUNEBENCH_TEST_DRIVER"  # the process to kill; without one, a training that gets so far fails


def install():
    """Run at the start of every worker: make the filter misbehave if alpha is one of the values above."""
    from trainers import optimizers
    from trainers.training import checkpoints

    looks = itertools.count(1)
    checkpoints.Checkpoint.due = lambda self, *, end=False: next(looks) % 50 == 0  # kept every 50 steps

    class Faulty(optimizers.GradientFilter):
        taken = 0

        def step(self, closure=None):
            match self.defaults["alpha"]:
                case 0.1:
                    raise RuntimeError("a layer broke")
                case 0.2:
                    time.sleep(3600)
                case 0.3:
                    os.kill(os.getpid(), 9)  # as the kernel does to a process that takes too much memory
                case 0.4:
                    for parameter in self.param_groups[0]["params"]:
                        parameter.detach().fill_(torch.nan)
                case 0.5:
                    torch.empty(2**50)
                case 0.7 if self.taken == BREATH:
                    os.kill(os.getpid(), 9)
                case 0.8 if self.taken == BREATH:
                    os.kill(int(os.environ[DRIVER]), 9)
                    time.sleep(3600)
                case _:
                    self.taken += 1
                    super().step(closure)

    optimizers.OPTIMIZERS["gradient-filter"] = Faulty
