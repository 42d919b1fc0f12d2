"""A study of repeats and confirmations that grows, by the command, killed in the middle of each.

What it comes to is held to what one process trains that knows neither Ray nor a database.
"""

import copy
import json
import re
from dataclasses import replace

import pytest
from killable import Study, wait
from twins import alone, numbers

from service.database.engine import reading
from service.database.tables import repeats
from studies.analysis.comparison import compare
from studies.design.spec import from_json, stored
from studies.running.provenance import provenance

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
    "repeats": 2,
    "record": {"every": 7, "flips": True, "weights": 1, "signs": True},
    "confirm": {"seeds": 4},
}
GROWN = ("run", "spec.json", "--runs", "2", "--trials", "4", "--out", "grown")


@pytest.fixture
def study(tmp_path):
    study = Study(tmp_path / "study")
    (study.folder / "spec.json").write_text(json.dumps(SPEC))
    return study


def done(study, *arguments):
    """The log of a command that succeeds, as one line."""
    before = len(study.log()) if (study.folder / "log").exists() else 0
    assert study.start(*arguments).wait() == 0, study.log()
    return " ".join(study.log()[before:].split())


def killed(study, when):
    """Start to grow the study and kill that once `when` holds."""
    driver = study.start(*GROWN)
    wait(when)
    driver.kill()
    driver.wait()


def elsewhere(study, data_dir):
    """A trial of an arm, trained on another kind of machine, in the study's database."""
    done(study, "db", "upgrade")
    spec = from_json(SPEC | {"name": "elsewhere", "trials": 1, "arms": ["gradient-filter"]})
    there = copy.deepcopy(provenance(spec, data_dir))
    there["hardware"]["instructions"] = "none"
    study.train_alone(spec, there, data_dir)


def anonymous(records):
    return [replace(record, taken_from=None) for record in records]


def confirmed(records):
    return sorted((c.id, c.number, c.state, c.seed, c.objective, c.test_metric, c.address) for c in records)


def own(study, id):
    """The confirmations that it has trained itself."""
    return [each for each in study.store.confirmations(id) if not each.taken_from]


def compared(record, trials, confirmations):
    timeless = [replace(t, suggest_seconds=0.0, train_seconds=1.0, taken_from=None) for t in trials]
    return compare(record, timeless, confirmations=confirmations).to_json()


def test_grown_and_killed_it_is_the_study_that_had_all_from_the_start(study, spoken_digits):
    elsewhere(study, spoken_digits)
    log = done(study)
    told = "nothing is taken over from elsewhere-[0-9a-f]{8}, whose trials would be others here: instructions none"
    assert re.search(told, log)
    small = study.store.studies()[0].id
    then = study.store.trials(small), study.store.confirmations(small)
    assert "6 of its 16 trials are in the database" in done(study, "plan", *GROWN[1:-2])

    killed(study, lambda: len(study.store.studies()) == 3 and study.store.studies()[0].trials > 8)
    grown = study.store.studies()[0]
    assert (grown.taken_over, grown.trials < 16) == (6, True)
    with reading(study.store.engine) as connection:
        trained = connection.execute(repeats.select()).all()
    assert len(trained) == 2 * (6 + grown.trials) + 2, "of the trials under way nothing is stored"
    killed(study, lambda: study.store.studies()[0].trials == 16 and len(own(study, grown.id)) >= 2)
    left = len(own(study, grown.id))
    assert "nothing is taken over" not in done(study, *GROWN)

    record = study.store.study_by_id(grown.id)
    trials = study.store.trials(grown.id, with_epochs=True, with_series=True)
    confirmations = study.store.confirmations(grown.id)
    assert 2 <= left < len(own(study, grown.id))
    whole, fresh = alone(stored(record), record.provenance, spoken_digits)
    assert numbers(anonymous(trials)) == numbers(whole)
    assert confirmed(confirmations) == confirmed(fresh)
    assert compared(record, trials, confirmations) == compared(record, whole, fresh)

    assert {t.taken_from for t in trials} == {None} | {f"{small}/{t.id}" for t in then[0]}
    known = {f"{small}/{record.id}" for record in (*then[0], *then[1])}
    taken = {c.taken_from for c in confirmations} - {None}
    assert taken, "those of incumbents that still are"
    assert taken <= known
    report = (study.folder / "grown/report.md").read_text()
    assert "6 of 16 trials were taken over from another study" in report
    assert (study.folder / "grown/repeats.csv").exists()
    # what is taken over has them too
    assert [len(training) for t in trials for training in t.series] == [6] * 32
    assert (study.folder / "grown/differing-signs.png").exists()

    seeds = {(c.run, c.number): c.seed for c in confirmations}
    assert all(seeds[c.run, c.number] == c.seed for c in confirmations)  # arms share them
    assert not {repeat.seed for t in trials for repeat in t.repeats} & set(seeds.values())
    published = [(c.run, c.trial, c.number) for c in confirmations if c.arm == "published"]
    assert published == [(run, 1, number) for run in (1, 2) for number in (1, 2, 3, 4)]
    assert {t.source for t in trials if t.arm == "published"} == {"fixed"}
    assert {t.source for t in trials if t.arm == "gradient-filter"} == {"sobol", "model"}
