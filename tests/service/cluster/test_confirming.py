"""Incumbents trained anew after their run, by the command, killed in the middle of it."""

import json

import pytest
from killable import Study, wait
from twins import numbers

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SPEC = {
    "name": "twin",
    "task": "spoken-digits",
    "proxy": {"width": 64, "epochs": 2},
    "searcher": "sobol",
    "arms": [
        "gradient-filter",
        {"name": "published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}},
    ],
    "runs": 2,
    "trials": 3,
    "confirm": {"seeds": 4},
}


def twin(folder):
    study = Study(folder)
    (folder / "spec.json").write_text(json.dumps(SPEC))
    return study


def confirmed(study):
    """What must not depend on when they were trained."""
    found = study.store.confirmations(study.id())
    return [(c.arm, c.run, c.trial, c.number, c.state, c.seed, c.objective, c.test_metric) for c in found]


def test_confirmations_are_those_of_a_study_that_nothing_has_killed(tmp_path, spoken_digits):
    whole, cut = twin(tmp_path / "whole"), twin(tmp_path / "cut")
    assert whole.start().wait() == 0, whole.log()
    driver = cut.start()
    wait(lambda: cut.count() == 12 and len(confirmed(cut)) >= 2)
    driver.kill()
    driver.wait()
    left = len(confirmed(cut))
    assert 2 <= left < len(confirmed(whole))
    assert cut.start("resume", "twin").wait() == 0, cut.log()
    assert confirmed(cut) == confirmed(whole)
    assert numbers(cut.store.trials(cut.id())) == numbers(whole.store.trials(whole.id()))

    trials = whole.store.trials(whole.id())
    seeds = {(c[1], c[3]): c[5] for c in confirmed(whole)}
    assert all(
        seeds[run, number] == seed for _, run, _, number, _, seed, _, _ in confirmed(whole)
    )  # arms share them
    assert not {t.seed for t in trials} & set(seeds.values())
    control = [c for c in confirmed(whole) if c[0] == "published"]
    assert [(run, trial, number) for _, run, trial, number, *_ in control] == [
        (run, 1, number) for run in (1, 2) for number in (1, 2, 3, 4)
    ]
    assert {t.source for t in trials if t.arm == "published"} == {"fixed"}
