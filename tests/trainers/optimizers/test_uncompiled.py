"""torch's optimizers without its compiler."""

import subprocess
import sys

import pytest
import torch

from trainers.optimizers.uncompiled import SGD, Adam

OPTIONS = {
    Adam: {"lr": 0.1, "betas": (0.8, 0.99), "weight_decay": 0.01, "fused": True},
    SGD: {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "fused": True},
}


@pytest.mark.parametrize("optimizer", OPTIONS)
def test_it_does_what_torchs_own_does(optimizer):
    own, torchs = (torch.nn.Parameter(torch.arange(6.0)) for _ in range(2))
    pairs = [
        (own, optimizer([own], **OPTIONS[optimizer])),
        (torchs, getattr(torch.optim, optimizer.__name__)([torchs], **OPTIONS[optimizer])),
    ]
    for step in range(3):
        for parameter, one in pairs:
            parameter.grad = torch.linspace(-1, step, 6)
            one.step()
    assert own.equal(torchs)
    kept, other = (one.state_dict() for _, one in pairs)
    assert kept.keys() == other.keys()
    assert kept["param_groups"] == other["param_groups"]
    again = optimizer([own], lr=1.0)
    again.load_state_dict(kept)
    assert again.param_groups[0]["lr"] == 0.1


TRAINS = """
import pathlib, sys, torch
from trainers.models import MODELS
from trainers.optimizers import OPTIMIZERS
from trainers.optimizers.uncompiled import Adam
from trainers.training import teachers
parameter = torch.nn.Parameter(torch.ones(4))
for optimizer in (Adam([parameter], lr=0.1), OPTIMIZERS["bop"]([parameter], 0.1, 0.0)):
    parameter.grad = torch.ones(4)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
file, shape = pathlib.Path(sys.argv[1]), (3, 32, 32)
torch.save(MODELS["resnet20"](shape, 10, width=2).state_dict(), file)
teachers.load("cifar10-real-resnet20", file, shape, 10)
print("torch._dynamo" in sys.modules)
"""


def test_what_does_not_compile_loads_no_compiler(tmp_path):
    command = [sys.executable, "-c", TRAINS, str(tmp_path / "teacher.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
