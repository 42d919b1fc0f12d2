"""Trials of several trainings, by the command, killed in the middle of one."""

import json
from statistics import fmean

import pytest
from killable import Study, wait

from service.database.engine import connect, reading
from service.database.tables import repeats

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SPEC = {
    "name": "twin",
    "task": "spoken-digits",
    "proxy": {"width": 64},
    "searcher": {"name": "botorch", "initial_trials": 2},
    "methods": ["gradient-filter"],
    "runs": 1,
    "trials": 4,
    "repeats": 3,
}


def twin(folder):
    study = Study(folder)
    (folder / "spec.json").write_text(json.dumps(SPEC))
    return study


def test_trials_are_those_of_a_study_that_nothing_has_killed(tmp_path, spoken_digits):
    whole, cut = twin(tmp_path / "whole"), twin(tmp_path / "cut")
    assert whole.start().wait() == 0, whole.log()
    driver = cut.start()
    wait(lambda: cut.count() == 2)  # the run has one trial at a time, so the third is under way
    driver.kill()
    driver.wait()
    with reading(connect(cut.url)) as connection:
        stored = connection.execute(repeats.select()).all()
    assert len(stored) == 3 * cut.count() < 12, "of the third nothing is stored"
    assert cut.start("resume", "twin").wait() == 0, cut.log()
    assert cut.trials() == whole.trials()

    trials = whole.store.trials(whole.id())
    assert [trial.source for trial in trials] == ["sobol", "sobol", "model", "model"]
    assert len({repeat.seed for trial in trials for repeat in trial.repeats}) == 12
    for trial in trials:
        assert trial.seed == trial.repeats[0].seed
        assert trial.objective == fmean(repeat.objective for repeat in trial.repeats)
        assert trial.test_metric == fmean(repeat.test_metric for repeat in trial.repeats)
    exported = whole.folder / "results" / whole.id()
    assert {f"repeats.{form}" for form in ("csv", "parquet", "json")} <= {f.name for f in exported.iterdir()}
