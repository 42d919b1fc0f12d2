"""Studies that an earlier version has stored: their comparison and curves stay the same, byte for byte.

stored/studies.db.gz has made-up studies, written by version 0.1 with schema 0004: a complete study; a study of three
methods, stopped unevenly, with failed and diverged trials; a study whose task was minimised, with infinite objectives;
a study of a single run; a study with hardly a result, so that targets are null; a study with nothing to compare yet.
Beside it are their comparison.json and a service's answers for their curves. The numbers are that version's, except
digits beyond the tenth, which were rounding errors of a subtraction. Keys have changed with `arms`, and confirmations
have added some; the unfinished study no longer has a p.
"""

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from service.api.analyst import ANALYSES
from service.database.engine import connect, upgrade
from service.database.store import Store
from service.schemas import ComparisonAnswer
from studies.analysis.comparison import compare
from studies.design.spec import stored
from studies.results.export import export
from trainers.tasks import TASKS

STORED = Path(__file__).parent / "stored"
STUDIES = sorted(file.parent.name for file in STORED.glob("*/comparison.json"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    file = tmp_path_factory.mktemp("stored") / "studies.db"
    file.write_bytes(gzip.decompress((STORED / "studies.db.gz").read_bytes()))
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    yield Store(engine)
    engine.dispose()


@pytest.fixture(autouse=True)
def minimised(monkeypatch):
    """Minimise a task, since none of ours is minimised."""
    task = replace(TASKS["cifar10-denoise"], direction="minimize", worst=math.inf)
    monkeypatch.setitem(TASKS, "cifar10-denoise", task)


@pytest.fixture(autouse=True)
def protocol(monkeypatch):
    """Set the protocol that the studies were run under, which is part of their ids."""
    monkeypatch.setattr("studies.design.spec.PROTOCOL", 3)
    monkeypatch.setattr("trainers.revisions.TASKS", {})
    monkeypatch.setattr("trainers.revisions.METHODS", {})


def test_they_are_all_there(store):
    assert sorted(study.id for study in store.studies()) == STUDIES


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_of_this_version_has_another_id(study, store):
    assert stored(store.study_by_id(study)).study_id != study  # as it would have other trials


@pytest.mark.parametrize("study", STUDIES)
def test_a_stored_study_has_its_comparison(study, store, tmp_path):
    record, trials = store.study_by_id(study), store.trials(study, with_epochs=True)
    export(record, trials, tmp_path)
    assert (tmp_path / "comparison.json").read_bytes() == (STORED / study / "comparison.json").read_bytes()


@pytest.mark.parametrize("study", STUDIES)
def test_a_stored_study_has_its_curves(study, store):
    answered = ANALYSES["curves"](store, store.study_by_id(study))
    assert answered == (STORED / study / "curves-answer.json").read_bytes()


@pytest.mark.parametrize("study", STUDIES)
def test_what_is_answered_of_a_comparison_is_read_back_whole(study, store):
    answered = ANALYSES["comparison"](store, store.study_by_id(study))
    read = ComparisonAnswer.model_validate_json(answered)
    compared = compare(store.study_by_id(study), store.trials(study), store.epoch_range_by_arm(study))
    assert read.comparison == compared
    written = json.dumps(read.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    assert written.encode() == answered
    assert json.loads(written)["comparison"] == compared.to_json()
