"""Estimators find what is planted in made-up studies, and nothing if nothing is planted; verdicts follow their rule."""

from dataclasses import replace

import numpy as np
import pytest
from claims import NO_WORSE
from synthetic import confirmed_study, study_of, trial_of
from verdicts import (
    Above,
    At,
    Coincidence,
    Confirmed,
    Differences,
    DifferingSigns,
    Done,
    Each,
    FilterOf,
    LateFlips,
    MoreTrials,
    Oscillations,
    Pairs,
    Verdict,
    Within,
    binary_ahead,
    judged,
    latent_ahead,
    nearest,
    scored,
    shown,
    verdict,
    weakest,
)

from studies.analysis.estimate import NONE, Estimate
from studies.design.spec import stored
from studies.records import EpochRecord, Series

ALPHAS = (1e-4, 1e-3, 1e-2)
GRID = {"name": "grid", "method": "gradient-filter", "space": {"alpha": [*ALPHAS], "gamma": 0.1}}
TWIN = {"name": "twin", "method": "gradient-filter", "space": {"alpha": 0.1, "gamma": [*ALPHAS]}}
OTHER = {"name": "other", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.5}}
DIRECTION, SIMILAR = Above(0.0, 0.005), Within(0.01)


def epochs(loss: float, flips: float) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(epoch=i, train_loss=loss, validation_metric=0.5, test_metric=0.5, flip_ratio=flips / i,
                    train_seconds=0.1, evaluate_seconds=0.1)
        for i in (1, 2)
    )  # fmt: skip


def made_up(worth, *, runs=12, noise=0.005, seed=0, loss=lambda arm, run, i: 1.0):
    """Make up a noisy study with a shift per run, which pairing takes out; `worth` gives that of an arm's i-th
    value."""
    record = study_of(arms=[GRID, TWIN, OTHER], searcher="grid", runs=runs)
    spec = stored(record)
    rng = np.random.default_rng(seed)
    trials = []
    for run in range(1, runs + 1):
        shift = rng.normal(0, 0.05)
        for arm in spec.arms:
            for i, value in enumerate(ALPHAS):
                listed = {"grid": "alpha", "twin": "gamma"}.get(arm.name)
                point = {name: dimension.at(0) for name, dimension in arm.space.items()}
                point |= {listed: value} if listed else {}
                objective = 0.8 + shift + worth(arm.name, i) + rng.normal(0, noise)
                trial = trial_of(spec, arm.name, run, i + 1, objective)
                made = epochs(loss(arm.name, run, i), 0.1 * 2**i)
                trials.append(replace(trial, hyperparameters=point, epochs=made))
    return Done(spec, record, trials)


def planted(arm, i):
    """Return a worth that makes the grid's middle 3 points better than its ends, and the twin as good."""
    return 0.03 if arm == "twin" or (arm == "grid" and i == 1) else 0.0


MIDDLE = At("grid", (1e-3,))
ENDS = (At("grid", (1e-4,)), At("grid", (1e-2,)))


@pytest.mark.parametrize(
    ("estimator", "rule", "expected"),
    [
        (Differences(MIDDLE, ENDS), DIRECTION, Verdict.REPRODUCED),
        (Differences(MIDDLE, (ENDS[0], At("twin", (1e-3,)))), DIRECTION, Verdict.NOT_DECIDABLE),  # one of two
        (Differences(ENDS[0], (MIDDLE,)), DIRECTION, Verdict.NOT_REPRODUCED),
        (Differences(MIDDLE, (At("twin", (1e-3,)),)), SIMILAR, Verdict.REPRODUCED),
        (Differences(MIDDLE, ENDS), SIMILAR, Verdict.NOT_REPRODUCED),
        (Differences(At("twin", (1e-4,)), (At("other"),)), DIRECTION, Verdict.REPRODUCED),
    ],
)
def test_what_is_planted_is_found(estimator, rule, expected):
    assert verdict(estimator.estimates(made_up(planted)), rule) is expected


def test_the_estimate_is_the_planted_difference():
    (low, high) = Differences(MIDDLE, ENDS).estimates(made_up(planted, runs=40, noise=0.002))
    for e in (low, high):
        assert e.value == pytest.approx(0.03, abs=0.002)
        assert e.low < 0.03 < e.high
        assert e.level >= 0.975


def test_without_an_effect_a_direction_is_hardly_ever_reproduced_and_similar_never_refuted():
    nothing = Differences(MIDDLE, (ENDS[0],))
    found = [nothing.estimates(made_up(lambda arm, i: 0.0, seed=seed)) for seed in range(200)]
    assert sum(verdict(e, DIRECTION) is Verdict.REPRODUCED for e in found) <= 12  # 2.5 % of 200 is 5
    assert sum(verdict(e, SIMILAR) is Verdict.NOT_REPRODUCED for e in found) <= 1


def test_too_few_runs_decide_nothing():
    done = made_up(planted, runs=5, noise=1e-4)
    for estimator in (Differences(MIDDLE, ENDS), Coincidence(("grid", "twin"))):
        assert verdict(estimator.estimates(done), DIRECTION) is Verdict.NOT_DECIDABLE
    assert (
        verdict(Differences(MIDDLE, ENDS).estimates(replace(done, trials=[])), DIRECTION)
        is Verdict.NOT_DECIDABLE
    )


def arms_apart(*worths: float, runs: int = 12, over: str | None = None):
    """Make up controls of one trial a run, each better by so many standard deviations of 0.01, with noise of its
    own."""
    names = [f"arm{i}" for i in range(len(worths))]
    arms = [
        OTHER | {"name": name, "space": {"alpha": 10.0 ** -(i + 1), "gamma": 0.5}}
        for i, name in enumerate(names)
    ]
    record = study_of(arms=arms, runs=runs, trials=1)
    spec = stored(record)
    rng = np.random.default_rng(0)
    trials = [
        trial_of(spec, name, run, 1, 0.8 + 0.01 * (worth + rng.normal()))
        for name, worth in zip(names, worths, strict=True)
        for run in range(1, runs + 1)
    ]
    return Pairs(tuple(name for name in names if name != over), over).estimates(Done(spec, record, trials))


def test_pairs_are_all_of_them_in_standard_deviations():
    estimates = arms_apart(0, 0, 3, runs=60)
    assert [round(e.value) for e in estimates] == [0, -3, -3]
    assert all(e.level >= 1 - 0.05 / 3 for e in estimates)
    assert verdict(estimates, Within(1.0)) is Verdict.NOT_REPRODUCED
    assert verdict(arms_apart(0, 0, 0, runs=60), Within(1.0)) is Verdict.REPRODUCED
    assert verdict(arms_apart(0, 0, 0, runs=5), Within(1.0)) is Verdict.NOT_DECIDABLE
    assert verdict(arms_apart(0, 0, 0, runs=8), Within(1.0)) is Verdict.NOT_DECIDABLE  # as wide as its margin


def test_pairs_over_an_arm_are_each_arms_with_that_one():
    estimates = arms_apart(3, 3, 0, runs=60, over="arm2")
    assert [round(e.value) for e in estimates] == [3, 3]
    assert all(e.level >= 1 - 0.05 / 2 for e in estimates)
    one_behind = arms_apart(3, 0, 0, runs=60, over="arm2")
    for control, expected in ((estimates, Verdict.REPRODUCED), (one_behind, Verdict.NOT_DECIDABLE)):
        assert judged(arms_apart(3, 3, runs=60), Within(1.0), control=control) is expected


def test_pairs_of_settings_hold_where_each_does():
    done = made_up(planted)
    each = Each(((MIDDLE, ENDS[0]), (MIDDLE, ENDS[1])))
    assert each.estimates(done) == Differences(MIDDLE, ENDS).estimates(done)
    turned = Each((each.pairs[0], each.pairs[1][::-1])).estimates(done)
    assert [verdict([e], DIRECTION) for e in turned] == [Verdict.REPRODUCED, Verdict.NOT_REPRODUCED]
    assert verdict(turned, DIRECTION) is Verdict.NOT_REPRODUCED
    assert "; training" not in each.words(done.spec)
    assert each.words(done.spec).startswith("validation accuracy: grid (alpha ")


def test_coincidence_counts_trainings_that_are_the_same():
    done = made_up(planted)
    (same,) = Coincidence(("grid", "twin")).estimates(done)
    assert (same.value, same.high) == (1, 1)
    assert verdict([same], Above(0.9, 0.9)) is Verdict.REPRODUCED
    (shifted,) = Coincidence(("grid", "twin"), apart=1).estimates(done)
    assert shifted.value == 0
    done = made_up(planted, loss=lambda arm, run, i: 1.0 + (arm == "twin" and run <= 6) * 1e-12)
    (half,) = Coincidence(("grid", "twin")).estimates(done)
    assert half.value == 0.5


def test_differing_signs_are_counted_in_every_run():
    done = made_up(planted, runs=8)
    spec, trials = done.spec, done.trials

    def signs(trial, differing):
        bits = np.zeros((2, 24), bool)
        bits[0, : differing(trial) if trial.arm == "twin" else 0] = True
        return replace(trial, series=((Series.of("signs", [5, 10], np.packbits(bits, axis=1)),),))

    counted, none = DifferingSigns(("grid", "twin")), Within(0.5)
    exact = counted.estimates(replace(done, trials=[signs(t, lambda _: 0) for t in trials]))
    assert verdict(exact, none) is Verdict.REPRODUCED
    assert shown(weakest(exact, none), *counted.unit(spec)) == "0 signs"
    one_run = counted.estimates(replace(done, trials=[signs(t, lambda t: 3 * (t.run == 5)) for t in trials]))
    assert [e.value for e in one_run] == [0, 0, 0, 0, 3, 0, 0, 0]
    assert verdict(one_run, none) is Verdict.NOT_REPRODUCED
    assert shown(weakest(one_run, none), *counted.unit(spec)) == "3 signs"
    whole = [signs(t, lambda _: 0) for t in trials]
    for few in ([t for t in whole if t.run <= 6], [t for t in whole if (t.run, t.arm) != (8, "twin")]):
        assert verdict(counted.estimates(replace(done, trials=few)), none) is Verdict.NOT_DECIDABLE
    early = [replace(t, series=((Series.of("signs", [5], t.series[0][0].values[:1]),),)) for t in whole]
    stopped = [short if short.arm == "twin" else t for t, short in zip(whole, early, strict=True)]
    assert verdict(counted.estimates(replace(done, trials=stopped)), none) is Verdict.NOT_DECIDABLE
    assert (
        verdict(counted.estimates(replace(done, trials=trials)), none) is Verdict.NOT_DECIDABLE
    )  # nothing recorded


def confirmed(**keys) -> Done:
    """Make up two searches, of which the second finds good settings later, and two controls."""
    study, trials, confirmations = confirmed_study(**keys)
    return Done(stored(study), study, trials, confirmations)


FIRST, SECOND = "gradient-filter", "latent-sgd"


def test_arms_are_compared_by_what_their_incumbents_are_worth_with_fresh_seeds():
    done = confirmed(runs=20, trials=12)
    (e,) = Confirmed(FIRST, SECOND).estimates(done)
    (pair,) = (p for p in done.comparison.pairs if (p.a, p.b) == (FIRST, SECOND))
    assert e == pair.confirmed_at_budget.paired.hodges_lehmann
    (early,) = Confirmed(FIRST, SECOND, after=(None, 1)).estimates(done)
    assert early.low > e.high
    assert verdict([early], SIMILAR) is Verdict.NOT_REPRODUCED
    assert Confirmed(FIRST, SECOND, after=(None, 1)).words(done.spec) == (
        "test accuracy of the best hyperparameters so far with fresh seeds: gradient-filter after 12 trials, minus "
        "latent-sgd after 1 trial"
    )
    (crashed,) = Confirmed(FIRST, SECOND).estimates(replace(done, confirmations=done.confirmations[:-60]))
    assert crashed != e
    for few in (confirmed(runs=5), replace(done, confirmations=())):
        assert verdict(Confirmed(FIRST, SECOND).estimates(few), SIMILAR) is Verdict.NOT_DECIDABLE


def test_trials_more_are_the_reports():
    done, rule = confirmed(runs=20, trials=12), Above(0.0, 1.0)
    (pair,) = (p for p in done.comparison.pairs if (p.a, p.b) == (FIRST, SECOND))
    (seen,) = MoreTrials(SECOND, FIRST).estimates(done)
    (fresh,) = MoreTrials(SECOND, FIRST, fresh=True).estimates(done)
    assert (seen, fresh) == (pair.trials_to_target[0].difference, pair.trials_to_plateau)
    assert seen.value == done.comparison.arms[SECOND].trials_to_target[0].restricted_mean.value - (
        done.comparison.arms[FIRST].trials_to_target[0].restricted_mean.value
    )
    (luck,) = MoreTrials("latent-published", "filter-published").estimates(done)
    assert verdict([luck], Above(5.0, 5.0)) is Verdict.NOT_REPRODUCED  # equal controls
    assert verdict([fresh], rule) is Verdict.REPRODUCED
    for few in (confirmed(runs=5), replace(done, trials=[t for t in done.trials if t.trial <= 6])):
        for known in (False, True):
            found = MoreTrials(SECOND, FIRST, fresh=known).estimates(few)
            assert verdict(found, rule) is Verdict.NOT_DECIDABLE
    assert verdict(
        MoreTrials(SECOND, FIRST, fresh=True).estimates(replace(done, confirmations=())), rule
    ) is (Verdict.NOT_DECIDABLE)


def test_late_flips_are_those_before_signs_stay():
    done = made_up(planted)
    spec, trials = done.spec, done.trials
    (epoch, _) = trials[0].epochs
    flipped = (0.5, 0.1, 0.02, 0.01, 0.0)
    trial = replace(trials[0], epochs=tuple(replace(epoch, flip_ratio=each) for each in flipped))
    late = LateFlips(epochs=2, frozen=1)
    assert late(trial) == pytest.approx(0.015)
    assert late(replace(trial, epochs=trial.epochs[:2])) is None
    shown = Differences(At("other"), measure=late)
    assert shown.words(spec) == "weights flipped per step in the last 2 epochs before signs are frozen: other"
    assert shown.unit(spec) == ("% of weights", 100.0)


def recorded(gradients, runs=8) -> Done:
    """Make up trainings of one epoch by a filter, with gradients (steps, weights) of each run."""
    record = study_of(arms=[OTHER], searcher="random", runs=runs, trials=1)
    spec = stored(record)
    trials = []
    for run in range(1, runs + 1):
        its = gradients(run)
        steps = range(1, len(its) + 1)
        series = tuple(Series.of(f"{i}[0].gradient", steps, column) for i, column in enumerate(its.T))
        trial = trial_of(spec, "other", run, 1, 0.5, hyperparameters={"alpha": 1e-3, "gamma": 0.1})
        trials.append(replace(trial, series=(series,), epochs=epochs(1.0, 0.1)[:1]))
    return Done(spec, record, trials)


def test_sign_changes_of_filters_of_one_gradient_by_hand():
    (trial, *_) = recorded(lambda run: np.array([[8.0, 1.0], [-7.0, 1.0], [8.0, 1.0], [8.0, 1.0]])).trials
    trial = replace(trial, hyperparameters={"alpha": 0.5, "gamma": 0.5})
    gradients = np.stack([s.values for s in trial.series[0]], axis=1)
    assert FilterOf(1).changes(gradients, trial) == 2 / 6  # 4, -1.5, 3.25, 5.625; three steps of two weights
    assert FilterOf(2).changes(gradients, trial) == 0  # 2, 0.25, 1.75, 3.6875
    assert FilterOf(1, factor=0.2).changes(gradients, trial) == 0  # 0.8, 0.02, 0.818, 1.5362
    assert Oscillations(FilterOf(1), FilterOf(2))(trial) == 2 / 6
    assert Oscillations(FilterOf(2), FilterOf(1, factor=2))(trial) == -2 / 6


def test_noise_changes_the_sign_after_the_first_order_more_often_and_a_trend_after_none():
    more, less, none = FilterOf(1), FilterOf(2), Oscillations(FilterOf(1), FilterOf(1))
    noise = recorded(lambda run: np.random.default_rng(run).normal(size=(175, 4)))
    rule = Above(0.0, 0.005)
    for oscillations, expected in (
        (Oscillations(more, less), Verdict.REPRODUCED),
        (Oscillations(less, more), Verdict.NOT_REPRODUCED),
        (none, Verdict.NOT_REPRODUCED),
        (Oscillations(FilterOf(1, factor=100), more), Verdict.REPRODUCED),
    ):
        found = Differences(At("other"), measure=oscillations)
        assert verdict(found.estimates(noise), rule) is expected
    trend = recorded(lambda run: np.full((175, 4), 1e-3 * run))
    shown = Differences(At("other"), measure=Oscillations(more, less))
    (e,) = shown.estimates(trend)
    assert e.value == 0
    for trials in (noise.trials[:5], [replace(t, series=()) for t in noise.trials]):
        assert verdict(shown.estimates(replace(noise, trials=trials)), rule) is Verdict.NOT_DECIDABLE
    assert shown.words(noise.spec) == (
        "sign changes of the first-order filter in the first epoch, minus those of the second-order filter for the "
        "same gradients: other"
    )
    assert shown.unit(noise.spec) == ("in 100 steps", 100.0)
    assert str(FilterOf(1, factor=10)) == "first-order filter with 10 times alpha"


def test_latent_weights_are_compared_within_each_training():
    nobody = made_up(planted)
    recorded = [
        replace(t, epochs=(t.epochs[0], replace(t.epochs[1], latent_test_metric=0.47 + t.run / 1e4)))
        for t in nobody.trials
    ]
    done = replace(nobody, trials=recorded)
    (e,) = Differences(At("other"), measure=binary_ahead).estimates(done)
    assert e.value == pytest.approx(0.03 - 6.5e-4)
    assert verdict([e], DIRECTION) is Verdict.REPRODUCED
    (e,) = Differences(At("other"), measure=latent_ahead).estimates(done)
    assert verdict([e], DIRECTION) is Verdict.NOT_REPRODUCED
    (e,) = Differences(At("other"), measure=latent_ahead).estimates(nobody)
    assert verdict([e], DIRECTION) is Verdict.NOT_DECIDABLE  # nobody recorded it


@pytest.mark.parametrize(
    ("low", "high", "rule", "expected"),
    [
        (0.001, 0.03, DIRECTION, Verdict.REPRODUCED),
        (-0.001, 0.03, DIRECTION, Verdict.NOT_DECIDABLE),
        (-0.03, 0.004, DIRECTION, Verdict.NOT_REPRODUCED),
        (0.001, 0.004, DIRECTION, Verdict.REPRODUCED),
        (-0.009, 0.009, SIMILAR, Verdict.REPRODUCED),
        (-0.009, 0.011, SIMILAR, Verdict.NOT_DECIDABLE),
        (0.011, 0.03, SIMILAR, Verdict.NOT_REPRODUCED),
        (-0.03, -0.011, SIMILAR, Verdict.NOT_REPRODUCED),
        (-0.004, 0.03, NO_WORSE, Verdict.REPRODUCED),
        (-0.009, 0.004, NO_WORSE, Verdict.NOT_DECIDABLE),
        (-0.009, -0.006, NO_WORSE, Verdict.NOT_REPRODUCED),
        (None, None, SIMILAR, Verdict.NOT_DECIDABLE),
    ],
)
def test_the_rule(low, high, rule, expected):
    holds = Estimate(0.02, 0.01, 0.03, 0.95) if rule is DIRECTION else Estimate(0.0, -0.001, 0.001, 0.95)
    e = Estimate(0.0, low, high, 0.95)
    assert verdict([e], rule) is verdict([e, holds], rule) is expected
    assert weakest([e, holds], rule) in (e, holds)
    assert verdict([], rule) is Verdict.NOT_DECIDABLE


EFFECT, NOTHING, HARM = (Estimate(value, value - 0.002, value + 0.002, 0.95) for value in (0.03, 0.0, -0.03))


@pytest.mark.parametrize(
    ("rule", "ours", "control", "expected"),
    [
        (SIMILAR, NOTHING, [EFFECT], Verdict.REPRODUCED),
        (SIMILAR, NOTHING, [EFFECT, EFFECT], Verdict.REPRODUCED),
        (
            SIMILAR,
            NOTHING,
            [EFFECT, NOTHING],
            Verdict.NOT_DECIDABLE,
        ),  # a control that shows no effect may miss one
        (SIMILAR, NOTHING, [HARM], Verdict.NOT_DECIDABLE),  # the setting known to be better is not
        (SIMILAR, NOTHING, [], Verdict.NOT_DECIDABLE),
        (SIMILAR, NOTHING, [NONE], Verdict.NOT_DECIDABLE),
        (SIMILAR, EFFECT, [NOTHING], Verdict.NOT_REPRODUCED),  # an effect is seen, whatever the control
        (NO_WORSE, NOTHING, [HARM], Verdict.REPRODUCED),
        (NO_WORSE, NOTHING, [EFFECT], Verdict.NOT_DECIDABLE),  # a useful part seems better left out
        (NO_WORSE, HARM, [NOTHING], Verdict.NOT_REPRODUCED),
        (DIRECTION, EFFECT, [], Verdict.REPRODUCED),
        (DIRECTION, EFFECT, [EFFECT], Verdict.REPRODUCED),
    ],
)
def test_no_effect_is_reproduced_only_where_one_is_seen(rule, ours, control, expected):
    assert judged([ours], rule, control=control) is expected


def test_an_effect_above_its_control_lies_above_all_of_it():
    for control, expected in (
        ([NOTHING], Verdict.REPRODUCED),
        ([NOTHING, HARM], Verdict.REPRODUCED),
        ([EFFECT], Verdict.NOT_DECIDABLE),
        ([NOTHING, EFFECT], Verdict.NOT_DECIDABLE),
        ([NONE], Verdict.NOT_DECIDABLE),
        ([], Verdict.NOT_DECIDABLE),
    ):
        assert judged([EFFECT], DIRECTION, control=control, over_control=True) is expected
    assert judged([HARM], DIRECTION, control=[EFFECT], over_control=True) is Verdict.NOT_REPRODUCED


def test_without_what_is_given_nothing_is_decided():
    for e in (EFFECT, HARM):
        assert judged([e], DIRECTION, given=False) is Verdict.NOT_DECIDABLE
        assert judged([e], DIRECTION, given=True) is verdict([e], DIRECTION)


def test_a_controls_estimate_that_is_shown_is_what_its_rule_is_decided_by():
    assert nearest([EFFECT, NOTHING], SIMILAR) is NOTHING
    assert nearest([EFFECT, NOTHING], DIRECTION) is EFFECT
    assert nearest([HARM, NOTHING], NO_WORSE) is NOTHING
    assert nearest([EFFECT, NONE], SIMILAR) is nearest([], SIMILAR) is NONE


def test_numbers_as_they_are_written():
    points = shown(Estimate(0.012, -0.001, 0.03, 0.95), "percentage points", 100)
    assert points == "1.20 (−0.10 to 3.00) percentage points"
    assert shown(Estimate(1.0, 0.912, 1.0, 0.95), "%", 100) == "100.00 (91.20 to 100.00)%"
    assert shown(Estimate(None, None, None, None), "%", 100) == "–"


def test_differences_of_test_accuracy_are_in_points() -> None:
    spec = stored(study_of(arms=[GRID, TWIN, OTHER], searcher="grid"))
    grid, other = At("grid", (1e-3,)), At("other")
    assert Differences(other, measure=scored).unit(spec) == ("%", 100)
    assert Differences(grid, (other,), scored).unit(spec) == ("percentage points", 100)
    assert Each(((grid, other),), scored).unit(spec) == ("percentage points", 100)
