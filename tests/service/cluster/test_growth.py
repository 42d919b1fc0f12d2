"""A finished study that grows, by the command, killed in the middle of it."""

import json
import re
from dataclasses import replace

import pytest
from killable import Study, wait
from twins import numbers

from studies.analysis.comparison import compare

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SPEC = {
    "name": "twin",
    "task": "spoken-digits",
    "proxy": {"width": 64, "epochs": 2},
    "searcher": {"name": "botorch", "initial_trials": 2},
    "arms": [
        "gradient-filter",
        {"name": "published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}},
    ],
    "runs": 1,
    "trials": 3,
    "confirm": {"seeds": 1},
}
GROWN = ("run", "spec.json", "--runs", "2", "--trials", "4", "--out", "grown")


def twin(folder):
    study = Study(folder)
    (folder / "spec.json").write_text(json.dumps(SPEC))
    return study


def done(study, *arguments):
    """The log of a command that succeeds, as one line."""
    before = len(study.log()) if (study.folder / "log").exists() else 0
    assert study.start(*arguments).wait() == 0, study.log()
    return " ".join(study.log()[before:].split())


def records(study, id):
    """All trainings of one of its studies, by nothing that depends on who did them and when."""
    trials = [replace(t, study="", taken_from=None) for t in study.store.trials(id, with_epochs=True)]
    confirmed = study.store.confirmations(id)
    return numbers(trials), [(c.id, c.state, c.seed, c.objective, c.test_metric) for c in confirmed]


def compared(study, id):
    trials = [
        replace(t, suggest_seconds=0.0, train_seconds=0.0) for t in study.store.trials(id, with_epochs=True)
    ]
    record, confirmations = study.store.study_by_id(id), study.store.confirmations(id)
    return compare(record, trials, confirmations=confirmations).to_json()


def test_a_grown_study_is_the_one_that_had_all_from_the_start(tmp_path, spoken_digits, monkeypatch):
    small, whole = twin(tmp_path / "small"), twin(tmp_path / "whole")
    with monkeypatch.context() as another:  # kind of machine
        another.setenv("ATEN_CPU_CAPABILITY", "default")
        done(small, "run", "spec.json", "--trials", "1", "--out", "elsewhere")
    log = done(small)
    assert re.search(r"nothing is taken over from twin-\w{8}, whose trials would be others here: instr", log)
    first = small.store.studies()[0].id
    assert "6 of its 16 trials are in the database" in done(small, "plan", *GROWN[1:-2])

    driver = small.start(*GROWN)
    wait(lambda: len(small.store.studies()) == 3 and small.store.studies()[0].trials > 8)
    driver.kill()
    driver.wait()
    grown = small.store.studies()[0]
    assert grown.taken_over == 6
    assert grown.trials < 16
    log = done(small, *GROWN)
    assert "nothing is taken over" not in log

    done(whole, *GROWN)
    (id,) = (study.id for study in whole.store.studies())
    assert id == grown.id
    assert records(small, id) == records(whole, id)
    assert compared(small, id) == compared(whole, id)
    trials, then = small.store.trials(id), small.store.trials(first)
    known = {f"{first}/{record.id}" for record in (*then, *small.store.confirmations(first))}
    assert {t.taken_from for t in trials if t.taken_from} == {f"{first}/{t.id}" for t in then}
    assert {t.taken_from for t in whole.store.trials(id)} == {None}
    confirmed = {c.taken_from for c in small.store.confirmations(id)} - {None}
    assert confirmed, "those of incumbents that still are"
    assert confirmed <= known
    assert (
        "6 of 16 trials were taken over from another study" in (small.folder / "grown/report.md").read_text()
    )
