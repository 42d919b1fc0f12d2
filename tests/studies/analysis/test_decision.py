"""Decisions of studies, which depend only on the first complete runs, whatever else is stored."""

import random
from dataclasses import replace

import numpy as np
import pytest
from synthetic import CONTROLS, confirmations_of, study_of, trial_of, trials_of

from studies.analysis.compared import Decision
from studies.analysis.comparison import compare
from studies.analysis.decision import decision, up_to_decision
from studies.design.spec import from_json
from studies.records import StudyState, TrialState
from studies.results.data_tables import curves_table
from studies.results.report import report
from studies.results.verdict import answer

A, B = "gradient-filter", "latent-sgd"
SEEDS = {1: -0.004, 2: 0.004}


def confirmed(points, runs=12, confirm=2, wobble=0.001):
    """Make a study where arm A is worth `points` more than B and than A's control; one training's SD is 0.0057."""
    arms = [{"name": name, "method": name} for name in (A, B)] + [CONTROLS[0]]
    study = study_of(arms=arms, runs=runs, trials=2, confirm={"seeds": confirm}, stop_when="decided")
    spec = from_json(study.spec)
    trials = [
        trial_of(spec, arm.name, run, trial, 0.9 + 0.001 * run, hyperparameters={"alpha": 0.1 * trial})
        for arm in spec.arms
        for run in range(1, runs + 1)
        for trial in (1, 2)
    ]
    fresh = confirmations_of(
        study,
        trials,
        lambda t, n: 0.9 + 0.001 * t.run + (points + wobble * (-1) ** t.run) * (t.arm == A) + SEEDS[n],
    )
    return study, trials, fresh


def decided(study, trials, fresh=()):
    return decision(from_json(study.spec), trials, fresh)


def test_different_and_similar():
    assert decided(*confirmed(0.02)) == Decision(A, B, "confirmed", 7, 12, "different")
    assert decided(*confirmed(-0.02)).verdict == "different"
    alike = decided(*confirmed(0.0))
    assert (alike.verdict, alike.after) == ("similar", 6)
    assert decided(*confirmed(0.005, wobble=0.02)) == Decision(A, B, "confirmed", 12, 12, None)


def test_arms_without_a_run_that_is_confirmed_in_both_are_not_similar():
    study, trials, fresh = confirmed(0.0, runs=2)
    crash = {"state": TrialState.FAILED, "objective": None, "test_metric": None, "error": "E"}
    kept = [replace(c, **crash) if (c.arm, c.run) in ((A, 1), (B, 2)) else c for c in fresh]
    (pair,) = [p for p in compare(study, trials, confirmations=kept).pairs if (p.a, p.b) == (A, B)]
    assert not pair.equivalence.similar
    assert pair.equivalence.difference.value is None


def test_validation_decides_where_nothing_is_confirmed_and_then_nothing_is_similar():
    study = study_of([A, B], runs=12, trials=1, stop_when="decided")
    for points, verdict in ((0.02, "different"), (0.0, None)):
        values = {
            A: [[0.9 + 0.001 * r + points] for r in range(12)],
            B: [[0.9 + 0.001 * r] for r in range(12)],
        }
        found = decided(study, trials_of(study, values))
        assert (found.endpoint, found.verdict) == ("validation", verdict)
    lost = trials_of(
        study, {A: [[0.8]] + [[None]] * 11, B: [[0.9]] * 12}
    )  # a run without a result is the worst
    assert decided(study, lost).verdict == "different"


@pytest.mark.parametrize(("results", "verdict"), [(0, None), (1, "different")])
def test_an_arm_without_a_result_is_not_told_apart_from_one_with(results, verdict):
    study = study_of([A, B], runs=12, trials=1, stop_when="decided")
    values = {
        A: [[0.9 + 0.001 * r] for r in range(12)],
        B: [[0.5 if r < results else None] for r in range(12)],
    }
    assert decided(study, trials_of(study, values)).verdict == verdict


def test_only_complete_runs_count_from_the_first_on():
    study, trials, fresh = confirmed(0.02)
    for missing in (
        [t for t in trials if (t.arm, t.run, t.trial) != (A, 4, 2)],
        [t for t in trials if (t.arm, t.run, t.trial) != (CONTROLS[0]["name"], 4, 2)],
    ):
        assert decided(study, missing, fresh) == Decision(A, B, "confirmed", 3, 12, None)
    some = [c for c in fresh if (c.arm, c.run, c.number) != (B, 5, 2)]
    assert decided(study, trials, some).after == 4
    failed = [c if (c.arm, c.run) != (B, 5) else replace(c, test_metric=None) for c in fresh]
    assert decided(study, trials, failed).verdict == "different"  # run 5 left out


def test_what_came_later_changes_nothing():
    study, trials, fresh = confirmed(0.02)
    spec, after = from_json(study.spec), 7
    first = ([t for t in trials if t.run <= after], [c for c in fresh if c.run <= after])
    whole = compare(study, *first[:1], confirmations=first[1])
    turned = [replace(c, test_metric=0.0) if c.run > after and c.arm == A else c for c in fresh]
    for later in range(5):
        extra = random.Random(later).sample(range(len(trials)), 20)
        some = [t for i, t in enumerate(trials) if t.run <= after or (i in extra and t.trial == 1)]
        assert compare(study, some, confirmations=first[1]) == whole
    assert compare(study, trials, confirmations=turned) == whole
    assert up_to_decision(spec, trials, turned)[0].runs == after
    assert curves_table(study, trials, turned) == curves_table(study, *first)
    assert whole.final
    assert (whole.runs, whole.trials_planned, whole.trials_done) == (after, 42, 42)


def test_until_then_the_complete_runs_are_compared_and_nothing_is_claimed():
    study, trials, fresh = confirmed(0.02)
    some = [t for t in trials if t.run <= 4 or (t.run == 5 and t.arm == A)]
    compared = compare(study, some, confirmations=[c for c in fresh if c.run <= 4])
    assert (compared.runs, compared.compared_at, compared.trials_done) == (4, 2, len(some))
    assert (compared.trials_planned, compared.complete, compared.final) == (72, False, False)
    assert not compared.confirmations.complete
    assert compared.pairs[0].best_at_budget.paired.p is None
    assert (
        "The study is unfinished: 26 of 72 trials are done. Only the first 4 complete runs are considered."
        in (answer(compared).summary)
    )
    assert compare(study, trials[:1]).compared_at == 0


def test_a_decided_study_planned_what_it_did():
    study = replace(study_of([A, B], runs=8, trials=2, stop_when="decided"), completed=20)
    assert replace(study, state=StudyState.RUNNING).planned == 32
    assert replace(study, state=StudyState.COMPLETED).planned == 20


def test_what_is_claimed_allows_for_the_stop():
    study, trials, fresh = confirmed(0.02)
    compared = compare(study, trials, confirmations=fresh)
    pair = compared.pairs[0]
    assert pair.confirmed_at_budget.paired.p_holm == pair.confirmed_at_budget.paired.p  # the declared pair
    assert 0.025 < pair.confirmed_at_budget.paired.p < 0.05  # the signed-rank test of 7 runs gives 0.016
    assert 0 < pair.confirmed_at_budget.paired.hodges_lehmann.low < 0.02
    assert pair.confirmed_at_budget.unpaired.p is None
    assert pair.confirmed_at_budget.unpaired.hodges_lehmann.low is None
    said = answer(compared)
    assert said.verdict.endswith(
        "the study ended after 7 of 12 runs, when it was decided that gradient filter and latent SGD are different."
    )
    assert "anytime-valid" in said.summary
    assert "signed-rank" not in said.verdict + said.summary
    text = report(study, compared, [])
    assert "It was decided after 7 complete runs of 12: the two are different." in text
    assert compared.to_json()["decision"]["after"] == 7


def test_similar_is_claimed_by_the_same_test():
    study, trials, fresh = confirmed(0.0)
    compared = compare(study, trials, confirmations=fresh)
    assert compared.pairs[0].equivalence.similar
    assert "are similar" in answer(compared).verdict


def test_a_study_that_does_not_stop_has_no_such_key():
    study = study_of([A, B], runs=8, trials=1)
    values = {A: [[0.9]] * 8, B: [[0.8]] * 8}
    compared = compare(study, trials_of(study, values))
    assert "decision" not in compared.to_json()
    assert compared.pairs[0].best_at_budget.paired.p == 2 / 2**8


@pytest.mark.parametrize("seed", range(3))
def test_a_margin_is_that_of_the_runs_looked_at(seed):
    """So the spread over seeds of later runs does not matter either."""
    study, trials, fresh = confirmed(0.0)
    noise = np.random.default_rng(seed).normal(0, 0.5, len(fresh))
    wild = [replace(c, test_metric=0.5 + x) if c.run > 6 else c for c, x in zip(fresh, noise, strict=True)]
    assert decided(study, trials, wild) == decided(study, trials, fresh)
