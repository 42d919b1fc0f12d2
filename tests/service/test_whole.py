"""A study under the real service on real Ray, small enough for every run of the tests: all that studies go through."""

import json
from pathlib import Path

import pytest
from killable import Service
from twins import numbers

from service.client import Client
from studies.design.spec import from_json
from studies.records import StudyState

pytestmark = pytest.mark.timeout(300)
SPEC = {
    "name": "whole",
    "task": "spoken-digits",
    "proxy": {"epochs": 1, "width": 16},
    "methods": ["gradient-filter", "bop"],
    "searcher": {"name": "botorch", "initial_trials": 1},
    "runs": 1,
    "trials": 2,
}


def test_a_study_is_submitted_run_watched_and_exported(tmp_path: Path, spoken_digits: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    service = Service(tmp_path, f"sqlite:///{tmp_path}/tunebench.db", data)
    service.start()
    try:
        with Client(service.url) as client:
            study = client.submit(SPEC)
            *_, last = client.watch(study.id)
            assert last.state is StudyState.COMPLETED, service.log()
            compared = client.comparison(study.id)
            client.export(study.id, tmp_path / "results")
    finally:
        service.stop()
    assert last.trials.completed == from_json(SPEC).planned
    trials = service.store.trials(study.id, with_epochs=True)
    assert [trial.source for trial in trials] == ["sobol", "model"] * 2
    assert all(len(trial.epochs) == 1 and trial.objective for trial in trials)
    assert len(numbers(trials)) == 4
    exported = tmp_path / "results"
    assert {"figure8.png", "report.md", "comparison.json", "trials.csv"} <= {
        p.name for p in exported.iterdir()
    }
    assert json.loads((exported / "comparison.json").read_text())["trials_done"] == 4
    said = " ".join((exported / "report.md").read_text().split())
    assert " ".join(compared.verdict.split()) in said
