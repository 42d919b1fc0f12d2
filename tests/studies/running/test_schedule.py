from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.analysis.decision import decision
from studies.design.spec import from_json
from studies.errors import StudyError
from studies.records import ConfirmationRecord, RepeatRecord, TrialRecord, TrialState
from studies.running.schedule import Schedule

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def study(methods=2, runs=3, trials=4):
    names = ["gradient-filter", "latent-sgd"][:methods]
    return from_json({"name": "s", "task": "spoken-digits", "methods": names, "runs": runs, "trials": trials})


def record(method, run, trial, objective=0.5):
    return TrialRecord(
        study="s",
        arm=method,
        run=run,
        trial=trial,
        state=TrialState.COMPLETED,
        hyperparameters={"alpha": trial / 100},
        source="sobol",
        seed=0,
        objective=objective,
        test_metric=objective,
        suggest_seconds=0.0,
        train_seconds=0.0,
        attempts=1,
        error=None,
        started_at=NOW,
        finished_at=NOW,
    )


@given(
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 9),
    st.randoms(use_true_random=False),
)
def test_every_trial_is_handed_out_once_whatever_finishes_first(methods, runs, trials, slots, random):
    schedule = Schedule(study(methods, runs, trials), "s", [], slots)
    under_way, done = [], Counter()
    while schedule.remaining:
        while (turn := schedule.next()) is not None:
            assert len(turn.history) == done[turn.arm, turn.run]
            assert (turn.arm, turn.run) not in [(t.arm, t.run) for t in under_way]
            assert turn.slot in set(range(slots)) - {t.slot for t in under_way}
            under_way.append(turn)
        assert len(under_way) == slots or schedule.waiting == 0
        turn = under_way.pop(random.randrange(len(under_way)))
        done[turn.arm, turn.run] += 1
        schedule.finished(record(turn.arm, turn.run, done[turn.arm, turn.run]))
    assert schedule.next() is None
    assert set(done.values()) == {trials}
    assert len(done) == methods * runs


def test_the_slot_that_became_free_last_is_next():
    schedule = Schedule(study(runs=2), "s", [], slots=3)
    turns = [schedule.next() for _ in range(3)]
    assert [turn.slot for turn in turns] == [0, 1, 2]
    assert (schedule.next(), schedule.waiting) == (None, 1)
    for turn in turns[:2]:
        schedule.finished(record(turn.arm, turn.run, 1))
    assert schedule.waiting == 3
    assert [schedule.next().slot, schedule.next().slot] == [1, 0]
    schedule.put_back(turns[2].arm, turns[2].run)
    assert schedule.next().slot == 2


def test_the_shortest_run_is_next():
    history = [record("gradient-filter", 1, 1), record("latent-sgd", 1, 1), record("gradient-filter", 2, 1)]
    schedule = Schedule(study(runs=2), "s", history, slots=4)
    turns = [schedule.next() for _ in range(4)]
    assert [(t.arm, t.run, len(t.history)) for t in turns] == [
        ("latent-sgd", 2, 0),
        ("gradient-filter", 1, 1),
        ("latent-sgd", 1, 1),
        ("gradient-filter", 2, 1),
    ]


def test_failed_trials_are_part_of_the_history():
    schedule = Schedule(study(1, 1), "s", [record("gradient-filter", 1, 1, None)], slots=1)
    (observation,) = schedule.next().history
    assert (observation.hyperparameters, observation.objective) == ({"alpha": 0.01}, None)


def test_the_searcher_sees_how_far_a_trials_repeats_are_apart():
    """Except if one diverged: that is not noise."""
    made = RepeatRecord(state=TrialState.COMPLETED, seed=1, objective=0.5, test_metric=0.5)
    apart, lost = replace(made, objective=0.75), replace(made, state=TrialState.DIVERGED, objective=0.0)
    history = [
        replace(record("gradient-filter", 1, 1), objective=0.625, repeats=(made, apart)),
        record("gradient-filter", 1, 2),
        replace(record("gradient-filter", 1, 3), state=TrialState.DIVERGED, repeats=(made, lost)),
    ]
    schedule = Schedule(study(1, 1), "s", history, slots=1)
    assert [o.sem for o in schedule.next().history] == [pytest.approx(0.125), None, None]


def test_a_trial_that_came_to_nothing_is_handed_out_again():
    schedule = Schedule(study(1, 1), "s", [], slots=1)
    turn = schedule.next()
    assert schedule.next() is None
    schedule.put_back(turn.arm, turn.run)
    assert schedule.next() == turn


def test_a_history_with_a_gap_is_refused():
    with pytest.raises(StudyError, match="s: gradient-filter run 1 has trial 2 but not 1"):
        Schedule(study(), "s", [record("gradient-filter", 1, 2)], slots=1)


def confirming(runs=2, trials=3, seeds=2):
    arms = ["gradient-filter", {"name": "fixed", "method": "bop", "space": {"gamma": 0.1, "tau": 1e-6}}]
    data = {"name": "s", "task": "spoken-digits", "arms": arms, "runs": runs, "trials": trials}
    return from_json(data | {"confirm": {"seeds": seeds}})


def confirmation(arm, run, trial, number):
    made = record(arm, run, trial)
    shared = {f.name: getattr(made, f.name) for f in fields(ConfirmationRecord) if f.name != "number"}
    return ConfirmationRecord(number=number, **shared)


def test_incumbents_are_confirmed_once_their_run_is_over_and_no_trial_waits():
    """Other trials are not confirmed, and hyperparameters that two incumbents share only once."""
    spec = confirming(runs=1)
    fixed = {"gamma": 0.1, "tau": 1e-6}
    objectives = {"gradient-filter": (0.5, 0.4, 0.6), "fixed": (0.5, 0.7, 0.9)}
    history = [
        replace(record(arm, 1, t, o), hyperparameters=fixed if arm == "fixed" else {"alpha": t / 100})
        for arm, values in objectives.items()
        for t, o in enumerate(values, start=1)
    ]
    expected = [("gradient-filter", trial, n) for trial in (1, 3) for n in (1, 2)]
    expected += [("fixed", 1, n) for n in (1, 2)]
    schedule = Schedule(spec, "s", history[:-1], slots=8)
    turns = [schedule.next() for _ in range(6)]
    assert turns[0].confirms is None  # the last trial comes first
    assert [(t.arm, t.confirms.trial, t.confirms.number) for t in turns[1:5]] == expected[:4]
    assert turns[5] is None
    assert turns[3].confirms.hyperparameters == {"alpha": 0.03}
    schedule.finished(history[-1])
    assert schedule.remaining == 6
    lost = turns[2]
    schedule.put_back(lost.arm, lost.run, lost.confirms)
    later = [schedule.next() for _ in range(3)]
    assert later[0].confirms == lost.confirms
    assert [(t.arm, t.confirms.trial, t.confirms.number) for t in later[1:]] == expected[4:]
    for arm, trial, number in expected:
        schedule.finished(confirmation(arm, 1, trial, number))
    assert schedule.remaining == 0
    confirmed = [confirmation(arm, 1, trial, number) for arm, trial, number in expected]
    assert Schedule(spec, "s", [*history, *confirmed], 1).remaining == 0
    again = Schedule(spec, "s", [*history, *confirmed[1:]], 1)
    assert (again.remaining, again.next().confirms) == (1, turns[1].confirms)


def outcome(turn, done):
    """Return a training's record, the same whenever it finishes: the first arm is better by a point in each run."""
    better = 0.01 * (turn.arm == "gradient-filter") + 0.002 * turn.run
    if turn.confirms is not None:
        made = confirmation(turn.arm, turn.run, turn.confirms.trial, turn.confirms.number)
        return replace(made, test_metric=0.5 + better + 0.002 * turn.confirms.number)
    return record(turn.arm, turn.run, done + 1, 0.5 + better)


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(0, 200), st.booleans(), st.randoms(use_true_random=False))
def test_it_stops_when_it_is_decided_by_the_same_runs_whatever_finishes_first(slots, stop, confirms, random):
    """Also if it is stopped after `stop` trainings and continued."""
    arms, keys = ["gradient-filter", "latent-sgd"], {"runs": 14, "trials": 2, "stop_when": "decided"}
    keys |= {"confirm": {"seeds": 2}} if confirms else {}
    spec = from_json({"name": "s", "task": "spoken-digits", "methods": arms, **keys})
    records, under_way = [], []
    schedule = Schedule(spec, "s", records, slots)
    while schedule.remaining:
        while (turn := schedule.next()) is not None:
            under_way.append(turn)
        turn = under_way.pop(random.randrange(len(under_way)))
        records.append(outcome(turn, len(turn.history)))
        schedule.finished(records[-1])
        if len(records) == stop:
            under_way, schedule = [], Schedule(spec, "s", records, slots)
    kept = [
        [each for each in records if isinstance(each, kind)] for kind in (TrialRecord, ConfirmationRecord)
    ]
    found = decision(spec, *kept)
    assert (found.verdict, found.after) == ("different", 7)
    assert under_way == []
    assert Schedule(spec, "s", records, 1).remaining == 0
    assert slots > 1 or all(each.run <= 7 for each in records)  # else others go ahead of a slow run
