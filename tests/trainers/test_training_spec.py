"""A training's identity stays what it was: checkpoints of earlier versions go on."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from made_up import VALUES

from trainers.revisions import COMPILED
from trainers.tasks import TASKS, Proxy
from trainers.training.checkpoints import Checkpoint
from trainers.training.loop import train
from trainers.training_spec import FIRST, NEUTRAL, Machine, TrainingSpec, fingerprint

SPEECH = TASKS["spoken-digits"]
RECIPE = {
    "epochs": 16,
    "batch_size": 50,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "betas": (0.9, 0.999),
    "weight_decay": 1e-4,
    "decay": "cosine",
    "decay_end": 1e-4,
    "nesterov": None,  # counts as missing
    "loss": "cross-entropy",
    "pixels": "symmetric",
    "augmentation": "none",
    "noise": 0.0,
    "teacher": None,
    "first_step": None,
    "precision": None,  # counts as missing
}
FIRST_STEP = {
    "epochs": 1,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "decay": None,
    "optimizer": None,
    "real_learning_rate": None,
}  # None counts as missing
PLAIN = {
    "task": "spoken-digits",
    "recipe": RECIPE,
    "model": {"width": 128, "first": 56},
    "method": "bop",
    "hyperparameters": VALUES["bop"],
    "seed": 3,
    "split_seed": 4,
    "proxy": {},
    "training samples": 1000,
    "device": "cpu",
    "compiled": None,
    "decoder": None,
    "teacher": None,
    "start": None,
}
SUM = (
    "cced28c6dc3f99c2396a5eaad732bf6b28142335892b1cd0e6af6cdb53f5ccfa"  # of a file with the word start in it
)
LATENT = VALUES["latent-sgd"] | {"real_learning_rate": 0.2}
SMALL = {"epochs": 2, "train_fraction": 0.2, "width": 8}

# changes to a training by bop with seeds 3 and 4, and the changes in what decides it
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"start": "start"}, {"start": SUM}),
    (
        {"method": "latent-sgd", "hyperparameters": LATENT, "proxy": Proxy(**SMALL)},
        {
            "method": "latent-sgd",
            "hyperparameters": LATENT,
            "proxy": SMALL,
            "recipe": RECIPE | {"epochs": 2, "learning_rate": 0.2},
            "model": {"width": 8, "first": 56},
            "training samples": 200,
        },
    ),
    (
        {"proxy": Proxy(epochs=2, first_step=1)},
        {
            "proxy": {"epochs": 2, "first_step": 1},
            "recipe": RECIPE | {"epochs": 2, "first_step": FIRST_STEP},
        },
    ),
    (
        {"method": None, "hyperparameters": {}, "proxy": Proxy(first_step=1)},
        {
            "method": None,
            "hyperparameters": {},
            "proxy": {"first_step": 1},
            "recipe": RECIPE | {"first_step": FIRST_STEP},
        },
    ),
    (
        {"proxy": Proxy(precision="float64")},
        {"proxy": {"precision": "float64"}, "recipe": RECIPE | {"precision": "float64"}},
    ),
]


class Looked(BaseException):
    """An end before any training."""


class Looking(Checkpoint):
    def open(self, training: Any) -> None:
        self.training = dict(training)
        raise Looked


@pytest.mark.parametrize(("given", "decided_by"), CASES)
def test_what_decides_a_training_is_told_as_it_always_was(
    given: dict[str, Any], decided_by: dict[str, Any], spoken_digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "start").write_bytes(b"start")
    if "start" in given:
        given = given | {"start": tmp_path / given["start"]}
    spec = TrainingSpec(task=SPEECH, method="bop", hyperparameters=VALUES["bop"], seed=3, split_seed=4)
    looking = Looking(tmp_path / "none")
    with pytest.raises(Looked):
        next(train(replace(spec, **given), Machine(data_dir=spoken_digits), checkpoint=looking))
    assert looking.training == PLAIN | decided_by


def test_a_new_option_counts_as_soon_as_it_is_used(tmp_path: Path) -> None:
    spec, machine = TrainingSpec(task=SPEECH), Machine(data_dir=tmp_path)
    assert tuple(fingerprint(spec, machine)) == FIRST
    for name in {each.name for each in fields(spec)} - {*FIRST, *NEUTRAL}:
        assert fingerprint(replace(spec, **{name: Path("x")}), machine).keys() == {*FIRST, name}
    same = replace(machine, data_dir=Path("elsewhere"), workers=3)
    assert fingerprint(spec, same) == fingerprint(spec, machine)
    other = replace(machine, decoder="dali", compile=True)
    more = {"decoder": "dali", "compile": True, "revisions": {"compile": COMPILED}}
    assert fingerprint(spec, other) == fingerprint(spec, machine) | more


def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="split_seed must be at least 0, got -1"):
        TrainingSpec(task=SPEECH, split_seed=-1)
    with pytest.raises(ValueError, match="workers must be at least 0, got -1"):
        Machine(data_dir=Path(), workers=-1)


def test_a_batch_size_is_said_once() -> None:
    told = "batch_size is given twice, 32 as a hyperparameter and 16 in the proxy: give only one"
    with pytest.raises(ValueError, match=told):
        TrainingSpec(
            task=TASKS["spoken-digits"], proxy=Proxy(batch_size=16), hyperparameters={"batch_size": 32}
        )
