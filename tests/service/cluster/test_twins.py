"""A study of repeats and confirmations that is grown by the command, which is killed in the middle of each.

Its results are compared with those that one process trains without Ray or a database.
"""

import json
import re
from dataclasses import replace

import pytest
from killable import Study, wait
from twins import alone, numbers

from service.database.engine import connect, reading, upgrade
from service.database.tables import repeats
from service.records import COMPLETED
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
    study = Study(tmp_path)
    (study.folder / "spec.json").write_text(json.dumps(SPEC))
    return study


def killed(study, when):
    """Start to grow the study, and kill the command once `when` is true."""
    driver = study.start(*GROWN)
    wait(when)
    driver.kill()
    driver.wait()


def anonymous(records):
    return [replace(record, taken_from=None) for record in records]


def confirmed(records):
    return sorted((c.id, c.number, c.state, c.seed, c.objective, c.test_metric, c.address) for c in records)


def own(study, id):
    """Return the confirmations that the study has trained itself."""
    return [each for each in study.store.confirmations(id) if not each.taken_from]


def compared(record, trials, confirmations):
    timeless = [replace(t, suggest_seconds=0.0, train_seconds=1.0, taken_from=None) for t in trials]
    return compare(record, timeless, confirmations=confirmations).to_json()


def test_grown_and_killed_it_is_the_study_that_had_all_from_the_start(study, spoken_digits, here):
    upgrade(connect(study.url))
    spec = from_json(SPEC)
    study.store.finish(study.train_alone(spec, provenance(spec, spoken_digits), spoken_digits), COMPLETED)
    small = spec.study_id
    then = study.store.trials(small), study.store.confirmations(small)
    code, out, _ = here("plan", *GROWN[1:-2])
    assert (code, "6 of its 16 trials are in the database" in " ".join(out.split())) == (0, True)

    killed(study, lambda: len(study.store.studies()) == 2 and study.store.studies()[0].trials > 8)
    told = rf"taken over, because they are already trained: \d+ from {small}"
    assert re.search(told, " ".join(study.log().split()))
    grown = study.store.studies()[0]
    assert (grown.taken_over, grown.trials < 16) == (6, True)
    with reading(study.store.engine) as connection:
        trained = connection.execute(repeats.select()).all()
    assert len(trained) == 2 * (6 + grown.trials), "of the trials under way nothing is stored"
    killed(study, lambda: study.store.studies()[0].trials == 16 and len(own(study, grown.id)) >= 2)
    left = len(own(study, grown.id))
    code, _, log = here(*GROWN)
    assert code == 0, log
    assert "nothing is taken over" not in study.log() + log

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
    # trials that were taken over have them too
    assert [len(training) for t in trials for training in t.series] == [6] * 32
    assert (study.folder / "grown/differing-signs.png").exists()

    seeds = {(c.run, c.number): c.seed for c in confirmations}
    assert all(seeds[c.run, c.number] == c.seed for c in confirmations)  # arms share them
    assert not {repeat.seed for t in trials for repeat in t.repeats} & set(seeds.values())
    published = [(c.run, c.trial, c.number) for c in confirmations if c.arm == "published"]
    assert published == [(run, 1, number) for run in (1, 2) for number in (1, 2, 3, 4)]
    assert {t.source for t in trials if t.arm == "published"} == {"fixed"}
    assert {t.source for t in trials if t.arm == "gradient-filter"} == {"sobol", "model"}
