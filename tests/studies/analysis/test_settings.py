"""The results of each setting, checked by hand."""

from dataclasses import replace

import pytest
from synthetic import study_of, trials_of

from studies.analysis.settings import by_setting, flips, objective
from studies.design.spec import stored
from studies.records import EpochRecord

LISTED = {"name": "listed", "method": "gradient-filter", "space": {"alpha": [1e-3, 1e-2], "gamma": 0.1}}
CONTROL = {"name": "control", "method": "gradient-filter", "space": {"alpha": 0.5, "gamma": 0.1}}


def epoch(number: int, flip_ratio: float) -> EpochRecord:
    return EpochRecord(
        epoch=number, train_loss=1.0, validation_metric=0.5, test_metric=0.5, flip_ratio=flip_ratio,
        train_seconds=0.1, evaluate_seconds=0.1,
    )  # fmt: skip


def test_by_arm_point_and_run():
    study = study_of(arms=[LISTED, CONTROL], searcher="grid", runs=2)
    trials = trials_of(
        study, {"listed": [[0.5, 0.75], [0.25, None]], "control": [[0.5, 1.0], [0.125, 0.125]]}
    )
    values = [{"alpha": alpha, "gamma": 0.1} for alpha in (1e-3, 1e-2)]
    trials = [
        replace(trial, hyperparameters=values[trial.trial - 1]) if trial.arm == "listed" else trial
        for trial in trials
    ]
    assert by_setting(stored(study), trials[::-1], objective) == {
        "listed": {(1e-3,): {1: 0.5, 2: 0.25}, (1e-2,): {1: 0.75}},  # one failed
        "control": {(): {1: 0.75, 2: 0.125}},
    }


def test_flips_are_the_mean_of_the_epochs():
    study = study_of(arms=[LISTED], searcher="grid", runs=1)
    trial, without = trials_of(study, {"listed": [[0.5, 0.5]]})
    trial = replace(trial, epochs=(epoch(1, 0.25), epoch(2, 0.125)))
    assert flips(trial) == pytest.approx(0.1875)
    assert flips(without) is None
