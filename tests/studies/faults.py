"""Faults put into real training workers: what a run of bad luck or bad hyperparameters does to a trial."""

import itertools
import os
import time

import torch

RAISES, HANGS, KILLED, DIVERGES, TOO_LARGE = 0.1, 0.2, 0.3, 0.4, 0.5
SOUND, SHORT_OF_BREATH, BEREAVES = 0.6, 0.7, 0.8
BREATH = 150  # steps, of 200, after which the last two kill: the process that took them, and its driver
DRIVER = "TUNEBENCH_TEST_DRIVER"  # the process to kill; where there is none, who gets so far fails


def install():
    """Run at the start of every worker: the filter misbehaves where alpha is one of the values above."""
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
                    os.kill(os.getpid(), 9)  # what the kernel does to a process that has eaten its memory
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
