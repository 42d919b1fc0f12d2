"""The worth of incumbents that are trained again: known answers, coverage, missing results."""

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic import confirmation_of, confirmations_of, study_of, trial_of

from studies.analysis import stats
from studies.analysis.compared import LATER
from studies.analysis.comparison import _luck, compare
from studies.analysis.confirmation import representatives, seed_sd, worth
from studies.analysis.curves import means
from studies.design.spec import from_json
from studies.records import TrialState
from studies.results import figures
from studies.results.report import report
from trainers.tasks import TASKS

PUBLISHED = {"name": "filter-published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}
SEEDS = {1: -0.01, 2: 0.0, 3: 0.01}  # what a fresh seed adds: a standard deviation of 0.01


def planted(runs=8, trials=6, improves=3, points=0.05, direction=1.0, start=0.90):
    """Make an arm that improves by `points` at trial `improves`, and its control, which never improves.

    Both appear to climb 0.01 per trial more than they do; run r is better by 0.001 r throughout.
    """
    study = study_of(["gradient-filter", PUBLISHED], runs=runs, trials=trials, confirm={"seeds": 3})
    spec = from_json(study.spec)
    records, truth = [], {}
    for arm in ("gradient-filter", "filter-published"):
        for run in range(1, runs + 1):
            for trial in range(1, trials + 1):
                better = arm == "gradient-filter" and trial >= improves
                given = {"alpha": 1e-4 if better else 1e-3, "gamma": 0.1}
                truth[arm, run, trial] = start + direction * (points * better + 0.001 * run)
                seen = truth[arm, run, trial] + direction * 0.01 * (trial - 1)
                records.append(
                    trial_of(
                        spec, arm, run, trial, seen, hyperparameters=given, test_metric=truth[arm, run, trial]
                    )
                )
    found = confirmations_of(study, records, lambda t, number: truth[t.arm, t.run, t.trial] + SEEDS[number])
    return study, records, found


@pytest.fixture(scope="module")
def compared():
    study, trials, confirmations = planted()
    return compare(study, trials, confirmations=confirmations)


def test_the_first_incumbent_with_the_same_hyperparameters_stands_for_it():
    given = [{"a": 1}, {"a": 2}, {"a": 1}, {"a": 3}, {"a": 2}]
    assert representatives([0.1, 0.2, 0.3, 0.2, 0.4], given, "maximize") == (1, 2, 1, 1, 2)
    assert representatives([0.4, 0.3, 0.3, 0.2, 0.1], given, "minimize") == (1, 2, 2, 4, 2)


def test_a_trial_without_a_result_has_none_and_changes_nothing():
    given = [{}, {"a": 2}, {}, {"a": 3}]
    assert representatives([None, 0.2, None, 0.1], given, "maximize") == (0, 2, 2, 2)
    assert representatives([None], [{}], "maximize") == (0,)


def test_a_control_has_one():
    assert representatives([0.1, 0.3, 0.2, 0.4], [{"a": 1}] * 4, "maximize") == (1, 1, 1, 1)


def test_the_curves_of_a_run():
    study, trials, confirmations = planted(runs=1)
    found = worth(from_json(study.spec), "gradient-filter", trials, confirmations)
    assert found.stands.tolist() == [[1, 1, 3, 3, 3, 3]]
    assert found.held_out[0] == pytest.approx([0.901] * 2 + [0.951] * 4)
    assert found.confirmed[0] == pytest.approx([0.901] * 2 + [0.951] * 4)
    assert found.incumbents == 2
    assert [e.value for e in means(found.confirmed)] == pytest.approx([0.901] * 2 + [0.951] * 4)


def test_a_planted_climb_is_found_and_the_rest_is_luck(compared):
    """The seen climb is 0.05 at trial 3 and 0.01 per trial, 0.10 in all."""
    arm = compared.arms["gradient-filter"]
    assert (arm.climb.n, arm.is_control) == (8, False)
    assert arm.climb.seen.value == pytest.approx(0.10)
    assert arm.climb.confirmed.value == pytest.approx(0.05)
    assert arm.climb.luck.value == pytest.approx(0.5)
    assert (arm.climb.luck.low, arm.climb.luck.high) == pytest.approx((0.5, 0.5))
    assert arm.confirmed_at_budget.values == pytest.approx([0.95 + 0.001 * r for r in range(1, 9)])
    assert arm.confirmed_at_budget.mean.value == pytest.approx(0.9545)
    assert compared.confirmations.seed_sd == pytest.approx(0.01)
    assert (compared.confirmations.planned, compared.confirmations.done) == (72, 72)


def test_a_planted_delay_is_found_on_the_confirmed_curve(compared):
    """The arm improves at trial 3 and its control never does; the margin is 0.01, the plateau the median run's."""
    tuned, control = (
        compared.arms[name].trials_to_plateau for name in ("gradient-filter", "filter-published")
    )
    assert (compared.plateau.arm, compared.plateau.value) == ("gradient-filter", pytest.approx(0.9545))
    assert compared.plateau.target == pytest.approx(0.9445)
    assert (tuned.times, control.times) == ((3,) * 8, (None,) * 8)
    assert (tuned.reached, control.reached, control.still_short[-1]) == (8, 0, 1.0)
    assert tuned.restricted_mean.low < tuned.restricted_mean.value == 3 < tuned.restricted_mean.high
    assert control.restricted_mean.value == control.restricted_mean.high == 6  # the budget
    (pair,) = compared.pairs
    assert pair.trials_to_plateau.value == 3
    found = {e.arm: [(at.extra, at.at_least) for at in e.by_trial] for e in pair.extra_trials_confirmed}
    assert found["filter-published"] == [(0, 6), (-1, 5), *((None, 7 - n) for n in range(3, 7))]
    assert found["gradient-filter"] == [(1 - n, 7 - n) for n in range(1, 7)]


def test_a_run_of_which_a_confirmation_crashed_says_nothing_of_how_soon():
    study, trials, confirmations = planted()
    crash = {"state": TrialState.FAILED, "objective": None, "test_metric": None, "error": "E"}

    def compared(crashed):
        kept = [replace(c, **crash) if crashed(c) else c for c in confirmations]
        return compare(study, trials, confirmations=kept)

    one = compared(lambda c: (c.arm, c.run, c.trial) == ("gradient-filter", 2, 3))
    found = one.arms["gradient-filter"].trials_to_plateau
    assert (found.times, found.restricted_mean.value) == ((3,) * 7, 3)
    assert one.pairs[0].trials_to_plateau.value == 3
    said = report(study, one, [])
    assert "where 7 of 7 runs get there, not counting 1 run with a crashed confirmation." in said
    assert "where 8 of 8 runs get there." in report(study, compared(lambda c: False), [])
    whole = compared(lambda c: False).pairs[0].extra_trials_confirmed
    for arm in ("gradient-filter", "filter-published"):  # the measured one and the reference
        lost = compared(lambda c, arm=arm: (c.arm, c.run, c.number) == (arm, 2, 1))
        assert lost.confirmations.failed > 0
        assert lost.pairs[0].extra_trials_confirmed == whole
        assert "not every run" not in report(study, lost, [])
    half = compared(lambda c: c.run in (1, 2) if c.arm == "gradient-filter" else c.run in (3, 4, 5))
    for entry in half.pairs[0].extra_trials_confirmed:  # of three runs, which some resamples have none of
        assert entry.level is None
    none = compared(lambda c: c.arm == "filter-published")
    assert none.arms["filter-published"].trials_to_plateau is None
    assert none.pairs[0].trials_to_plateau.value is None
    assert none.pairs[0].extra_trials_confirmed is None
    assert "| – |" in report(study, none, [])
    (axes,) = figures.trials_to_plateau(none).axes
    assert [line.get_label() for line in axes.lines] == ["gradient filter"]


def test_resamples_without_a_run_that_counts_are_left_out():
    study, trials, confirmations = planted(runs=12)
    crash = {"state": TrialState.FAILED, "objective": None, "test_metric": None, "error": "E"}
    kept = [replace(c, **crash) if c.run > 6 and c.arm == "gradient-filter" else c for c in confirmations]
    whole = compare(study, trials, confirmations=confirmations).pairs[0].extra_trials_confirmed
    half = compare(study, trials, confirmations=kept).pairs[0].extra_trials_confirmed
    assert [[at.extra for at in e.by_trial] for e in half] == [[at.extra for at in e.by_trial] for e in whole]
    (tuned,) = [e for e in half if e.arm == "gradient-filter"]
    assert tuned.level == 0.95
    assert all(at.low is not None and at.high is not None for at in tuned.by_trial)


def test_what_diverged_says_nothing_of_how_much_one_training_varies():
    """Not how much two other arms may differ, either: a third arm decided whether they are similar."""
    study, trials, confirmations = planted()
    worst = {"state": TrialState.DIVERGED, "objective": 0.0, "test_metric": 0.0}

    def margin(diverged):
        kept = [replace(c, **worst) if diverged(c) else c for c in confirmations]
        return compare(study, trials, confirmations=kept).confirmations.seed_sd

    control = "filter-published"
    assert margin(lambda c: c.arm == control and (c.run, c.number) == (2, 1)) == pytest.approx(0.01)
    assert margin(lambda c: c.arm == control) == pytest.approx(0.01)
    assert margin(lambda c: True) is None


def test_ties_for_the_incumbent_are_counted():
    study, trials, confirmations = planted()
    last = {(t.run, t.arm): t.objective for t in trials if t.trial == 6}
    tied = [
        replace(t, objective=last[t.run, t.arm])
        if t.trial == 2 and t.run < 4 and t.arm == "gradient-filter"
        else t
        for t in trials
    ]
    compared = compare(study, tied, confirmations=confirmations)
    assert [arm.tied for arm in compared.arms.values()] == [3, 0]
    assert "share the best objective in 3 of 8 runs with gradient filter. The first of them" in report(
        study, compared, []
    )
    plain = study_of(runs=2, trials=2)
    assert compare(plain, []).arms["latent-sgd"].tied is None


def test_nothing_is_said_of_a_plateau_before_all_is_confirmed():
    study, trials, confirmations = planted()
    whole = compare(study, trials, confirmations=confirmations).to_json()
    some = compare(study, trials, confirmations=confirmations[:-1]).to_json()
    for where in (lambda c: c, lambda c: c["arms"]["gradient-filter"], lambda c: c["pairs"][0]):
        more = where(whole).keys() - where(some).keys()
        assert more
        assert more <= LATER


def test_a_controls_climb_is_all_luck(compared):
    control = compared.arms["filter-published"]
    assert control.is_control
    assert control.climb.seen.value == pytest.approx(0.05)
    assert control.climb.confirmed.value == 0.0
    assert control.climb.luck == stats.Estimate(1.0, None, None, None)


def test_the_confirmed_difference_is_an_endpoint_of_its_own(compared):
    (pair,) = compared.pairs
    assert compared.endpoint == "confirmed"
    assert pair.confirmed_at_budget.paired.hodges_lehmann.value == pytest.approx(0.05)
    assert pair.confirmed_at_budget.paired.p == pytest.approx(2 / 2**8)
    assert not pair.equivalence.similar
    assert pair.at_budget("confirmed") is pair.confirmed_at_budget


@pytest.mark.parametrize(("points", "similar"), [(0.0, True), (0.009, True), (0.011, False), (-0.011, False)])
def test_similar_is_claimed_within_one_trainings_standard_deviation(points, similar):
    study, trials, confirmations = planted(points=points, runs=8)
    (pair,) = compare(study, trials, confirmations=confirmations).pairs
    assert pair.equivalence.margin == pytest.approx(0.01)
    assert pair.equivalence.difference.value == pytest.approx(points)
    assert pair.equivalence.similar is similar


def test_too_few_runs_are_never_similar():
    """With four runs the signed-rank interval has at most 87.5 %."""
    study, trials, confirmations = planted(points=0.0, runs=4)
    (pair,) = compare(study, trials, confirmations=confirmations).pairs
    assert pair.equivalence.difference.level == pytest.approx(0.875)
    assert not pair.equivalence.similar


def test_one_seed_has_no_spread():
    study = study_of(["gradient-filter", PUBLISHED], runs=6, trials=1, confirm={"seeds": 1})
    spec = from_json(study.spec)
    trials = [trial_of(spec, arm, run, 1, 0.9) for arm in study.arms for run in range(1, 7)]
    compared = compare(study, trials, confirmations=confirmations_of(study, trials, lambda *_: 0.9))
    assert compared.endpoint == "confirmed"
    assert compared.confirmations.seed_sd is None
    assert compared.pairs[0].equivalence is None


def test_a_climb_of_a_minimised_metric_is_positive(monkeypatch):
    task = replace(TASKS["spoken-digits"], direction="minimize", worst=math.inf)
    monkeypatch.setitem(TASKS, "spoken-digits", task)
    study, trials, confirmations = planted(direction=-1.0)
    compared = compare(study, trials, confirmations=confirmations)
    climb = compared.arms["gradient-filter"].climb
    assert compared.plateau.target == pytest.approx(0.8455 + 0.01)
    assert compared.arms["gradient-filter"].trials_to_plateau.times == (3,) * 8
    assert [climb.seen.value, climb.confirmed.value, climb.luck.value] == pytest.approx([0.10, 0.05, 0.5])
    assert compared.ranking == ("gradient-filter", "filter-published")
    assert compared.pairs[0].confirmed_at_budget.paired.hodges_lehmann.value == pytest.approx(-0.05)


def test_missing_and_failed_confirmations_have_no_value():
    study, trials, confirmations = planted()
    missing = [c for c in confirmations if (c.arm, c.run, c.number) != ("gradient-filter", 2, 3)]
    found = worth(from_json(study.spec), "gradient-filter", trials, missing)
    assert np.isnan(found.confirmed[1]).all()
    assert not np.isnan(np.delete(found.confirmed, 1, axis=0)).any()
    compared = compare(study, trials, confirmations=missing)
    assert (compared.endpoint, compared.confirmations.complete) == ("validation", False)
    assert compared.arms["gradient-filter"].climb.n == 7
    assert compared.pairs[0].confirmed_at_budget.paired.pairs == 7
    lost = confirmation_of(study, "gradient-filter", 2, 3, 3, None)
    failed = [*(c for c in missing if (c.arm, c.run, c.trial) != (lost.arm, 2, 3)), lost]
    failed += [
        c for c in confirmations if (c.arm, c.run) == (lost.arm, 2) and c not in failed and c.number < 3
    ]
    failed += [c for c in confirmations if (c.arm, c.run, c.trial, c.number) == (lost.arm, 2, 1, 3)]
    compared = compare(study, trials, confirmations=failed)
    assert (compared.endpoint, compared.confirmations.failed) == ("confirmed", 1)
    found = worth(from_json(study.spec), "gradient-filter", trials, failed)
    assert np.isnan(found.confirmed[1]).tolist() == [False, False, True, True, True, True]
    assert [e.value is None for e in means(found.confirmed)] == [False, False, True, True, True, True]
    assert means(found.confirmed)[0].level == stats.LEVEL


def test_a_diverged_confirmation_is_the_worst_there_is():
    study, trials, confirmations = planted(runs=1)
    some = [
        replace(c, state=TrialState.DIVERGED, test_metric=0.0) if (c.trial, c.number) == (3, 1) else c
        for c in confirmations
    ]
    found = worth(from_json(study.spec), "gradient-filter", trials, some)
    assert found.confirmed[0, -1] == pytest.approx((0.951 + 0.961) / 3)


def test_a_run_without_a_result_is_worse_than_any_with_one():
    study, trials, _ = planted(runs=6)
    trials = [
        replace(t, state=TrialState.FAILED, objective=None, test_metric=None)
        if (t.arm, t.run) == ("filter-published", 4)
        else t
        for t in trials
    ]
    confirmations = confirmations_of(study, trials, lambda t, number: t.test_metric + SEEDS[number])
    compared = compare(study, trials, confirmations=confirmations)
    assert compared.endpoint == "confirmed"
    assert compared.arms["filter-published"].confirmed_at_budget.n == 5
    paired = compared.pairs[0].confirmed_at_budget.paired
    assert (paired.pairs, paired.a_better) == (6, 6)


def test_an_unfinished_study_claims_nothing_of_its_confirmations_yet():
    study, trials, confirmations = planted()
    some = [t for t in trials if t.run < 8 or t.trial < 5]
    compared = compare(study, some, confirmations=[c for c in confirmations if c.run < 8])
    assert (compared.compared_at, compared.endpoint, compared.confirmations.complete) == (
        4,
        "validation",
        False,
    )
    assert compared.confirmations.planned == compared.confirmations.done == 63
    assert compared.arms["gradient-filter"].confirmed_at_budget.n == 7
    nothing = compare(study, some)
    assert nothing.arms["gradient-filter"].confirmed_at_budget is None
    assert nothing.pairs[0].equivalence is None
    with pytest.raises(ValueError, match="nothing is confirmed"):
        nothing.pairs[0].at_budget("confirmed")


def test_a_study_without_confirmations_has_none():
    study = study_of(["gradient-filter", PUBLISHED], runs=6, trials=2)
    spec = from_json(study.spec)
    trials = [trial_of(spec, a, r, t, 0.9) for a in study.arms for r in range(1, 7) for t in (1, 2)]
    written = compare(study, trials).to_json()
    assert (written["confirmations"], written["endpoint"]) == (None, "validation")
    assert all(arm["confirmed_at_budget"] is arm["climb"] is None for arm in written["arms"].values())
    assert written["pairs"][0]["confirmed_at_budget"] is written["pairs"][0]["equivalence"] is None


def test_luck_is_not_defined_where_nothing_climbed():
    draws = stats.resample(6, 100, np.random.default_rng(0))
    assert _luck(np.zeros(6), np.full(6, 0.01), draws).value is None
    rarely = np.array([0.01, 0, 0, 0, 0, 0])
    found = _luck(rarely, rarely / 2, draws)  # some resamples have no climb at all
    assert (found.value, found.low) == (0.5, None)


def test_the_spread_over_seeds_is_pooled_over_the_last_incumbents():
    study, trials, confirmations = planted(runs=2)
    wide = [replace(c, test_metric=c.test_metric * 5) if c.trial == 1 else c for c in confirmations]
    spec = from_json(study.spec)
    arms = [worth(spec, arm, trials, wide) for arm in study.arms]
    assert seed_sd(arms[:1], 6) == pytest.approx(0.01)
    assert seed_sd(arms, 6) == pytest.approx(math.sqrt((0.01**2 + 0.05**2) / 2))
    assert seed_sd(arms, 1) == pytest.approx(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "least"), [(6, 0.90), (10, 0.925), (20, 0.925), (40, 0.935)])
def test_the_intervals_of_climb_and_luck_hold_the_truth(runs, least):
    """Discrete accuracies, 1,500 studies: the seen climb is a confirmed climb of 0.02 plus as much luck."""
    rng = np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(1500):
        skill = rng.gamma(2.0, 0.01, runs)
        seen = np.rint(500 * (skill + rng.gamma(2.0, 0.01, runs))) / 500
        confirmed = np.rint(2000 * (skill + rng.normal(0, 0.004, runs))) / 2000
        climb, draws = stats.mean(confirmed), stats.resample(runs, 1000, rng)
        luck = _luck(seen, confirmed, draws)
        held += [climb.low <= 0.02 <= climb.high, luck.low <= 0.5 <= luck.high]
    assert (held / 1500 > least).all(), held / 1500
    assert (held / 1500 < 0.97).all(), held / 1500
