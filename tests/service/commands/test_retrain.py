"""A stored trial trained again by the command."""

from dataclasses import replace

import pytest
from writers import spec, trial

from service.database.owner import Owner
from studies.design.methods import METHODS
from studies.records import RepeatRecord, TrialState
from studies.results.data_tables import trials_table
from studies.running.trial import retrain
from trainers.tasks import TASKS, Proxy
from trainers.training.loop import train
from trainers.training_spec import Machine, TrainingSpec

PROXY = Proxy(epochs=2, train_fraction=0.2, width=16)


@pytest.fixture
def recorded(store, spoken_digits, monkeypatch):
    """A study whose first trial has two trainings, whose second has one altered epoch, and whose third failed."""
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(spoken_digits))
    chosen = spec(proxy=PROXY.changes, methods=["gradient-filter"], trials=3)
    study = store.create_study(chosen, {}).id
    lease = store.claim(study, Owner.current(), 60)
    for number in (1, 2):
        made = trial(study, number=number, seed=5 + number)
        epochs = tuple(retrain(chosen, made, data_dir=spoken_digits))
        if number == 2:
            epochs = (epochs[0], replace(epochs[1], train_loss=epochs[1].train_loss * (1 + 1e-15)))
        metrics = {"objective": epochs[-1].validation_metric, "test_metric": epochs[-1].test_metric}
        again = list(retrain(chosen, made, data_dir=spoken_digits, seed=99))[-1] if number == 1 else None
        each = [(made.seed, epochs[-1]), (99, again)] if again else []
        repeats = tuple(
            RepeatRecord(
                state=TrialState.COMPLETED,
                seed=seed,
                objective=last.validation_metric,
                test_metric=last.test_metric,
            )
            for seed, last in each
        )
        store.record(lease, replace(made, epochs=epochs, **metrics, repeats=repeats))
    failed = {
        "state": TrialState.FAILED,
        "objective": None,
        "test_metric": None,
        "error": "ValueError: no\n\nTraceback",
    }
    store.record(lease, replace(trial(study, number=3), epochs=(), **failed))
    return study


def test_its_numbers_are_the_stored_ones_or_it_is_said_that_they_are_not(tunebench, store, recorded):
    at = ("--db", str(store.engine.url))
    code, out, err = tunebench("retrain", recorded, "gradient-filter-r01-t01", *at)
    assert (code, "the same numbers, to the last digit" in out) == (0, True)
    assert "epoch 2: validation " in err
    code, out, _ = tunebench("retrain", recorded, "gradient-filter-r01-t01", "--seed", "99", *at)
    assert (code, "the same numbers, to the last digit" in out) == (0, True)
    code, out, _ = tunebench("retrain", recorded, "gradient-filter-r01-t02", *at)
    assert (code, "the numbers differ from the stored ones" in out) == (1, True)
    code, out, _ = tunebench("retrain", recorded, "gradient-filter-r01-t01", "--seed", "9", *at)
    assert (code, "numbers" in out) == (0, False)


def test_a_row_of_the_export_is_all_that_a_training_by_hand_needs(store, recorded, spoken_digits):
    found = trials_table(store.study_by_id(recorded), store.trials(recorded))
    row = dict(zip(found.columns, found.rows[0], strict=True))
    by_hand = TrainingSpec(
        task=TASKS["spoken-digits"],
        proxy=PROXY,
        method=METHODS[row["method"]].optimizer,
        hyperparameters={name: row[f"hp.{name}"] for name in ("alpha", "gamma")},
        seed=row["seed"],
        split_seed=row["split_seed"],
    )
    *_, last = train(by_hand, Machine(data_dir=spoken_digits))
    assert (last.validation_metric, last.test_metric) == (row["objective"], row["test_metric"])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            "gradient-filter-r01-t09",
            "has no finished trial 'gradient-filter-r01-t09'; a trial's id is ARM-rRUN-tTRIAL",
        ),
        ("first", "for example gradient-filter-r01-t01, and the arms are gradient-filter"),
        (
            "gradient-filter-r01-t03",
            "trial gradient-filter-r01-t03 failed and has no numbers: ValueError: no",
        ),
    ],
)
def test_what_cannot_be_trained_again(tunebench, store, recorded, wanted, message):
    code, _, err = tunebench("retrain", recorded, wanted, "--db", str(store.engine.url))
    assert (code, message in err) == (2, True)
