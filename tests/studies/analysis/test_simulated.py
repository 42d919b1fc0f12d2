"""Coverage of the intervals and tests of whole simulated studies, whose truth is known.

Accuracies are discrete. Each run has a split that both arms share. In each run an arm gets better by at least GAIN at
a random trial; before it, its settings are worse, some much. The searcher's objectives and confirmations are noisy.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from studies.analysis import stats
from studies.analysis.comparison import _luck, _saving, _Times, _times
from studies.analysis.curves import bands
from studies.analysis.decision import SIMILAR_LEVEL, similar
from studies.analysis.extra_trials import extra_trials, mean_curve, resampled_means
from studies.analysis.survival import trials_to

TRIALS, SEEDS, STUDIES, POOL, RESAMPLES = 12, 2, 1500, 40_000, 1000
GAIN, LATER, BETTER = (
    0.03,
    2,
    0.004,
)  # what an arm gains at that trial; the trials by which b is later; the accuracy by which a is better
SAMPLES, SPREAD = 500, 0.004  # in validation and in test; standard deviation of one training over seeds
EARLY = 3  # the trial at which it is asked when b's mean confirmed curve gets to where a's is


@dataclass(frozen=True)
class Arm:
    """The best so far as seen and its confirmed worth, `(runs, trials)` or with a leading axis of studies.

    `spread` is the mean variance over seeds of the incumbents at the budget.
    """

    best: np.ndarray
    confirmed: np.ndarray
    spread: np.ndarray

    def of(self, study: int) -> "Arm":
        return Arm(self.best[study], self.confirmed[study], self.spread[study])


def arm(rng, shape, split, skill=0.93, gain=GAIN, later=0):
    """Simulate an arm of `shape` (studies, runs). With a `gain` of 0 all that its search finds is equally good."""
    trial = np.arange(1, TRIALS + 1)
    found = np.minimum(rng.geometric(0.35, shape) + later, TRIALS)[..., None]
    before = gain * (1 + rng.exponential(1.0, (*shape, TRIALS)))
    worth = skill + split[..., None] - np.where(trial < found, before, 0.0)
    seen = accuracy(rng, worth)
    best = np.maximum.accumulate(seen, axis=-1)
    new = np.concatenate([np.ones((*shape, 1), bool), seen[..., 1:] > best[..., :-1]], axis=-1)
    incumbent = np.maximum.accumulate(np.where(new, trial - 1, 0), axis=-1)
    fresh = np.stack([accuracy(rng, worth) for _ in range(SEEDS)])
    confirmed = np.take_along_axis(fresh.mean(axis=0), incumbent, axis=-1)
    variance = np.take_along_axis(fresh.var(axis=0, ddof=1), incumbent[..., -1:], axis=-1)
    return Arm(best, confirmed, variance.mean(axis=(-2, -1)))


def accuracy(rng, worth):
    """Return the accuracy of one training with its own seed."""
    return rng.binomial(SAMPLES, np.clip(worth + rng.normal(0, SPREAD, worth.shape), 0, 1)) / SAMPLES


def simulated(seed, studies, runs):
    """Simulate arms a and b, a better by BETTER and sooner by LATER trials, and an arm with nothing to find."""
    rng, shape = np.random.default_rng(seed), (studies, runs)
    split = rng.normal(0, 0.005, shape)
    better = arm(rng, shape, split, skill=0.93 + BETTER)
    return better, arm(rng, shape, split, later=LATER), arm(rng, shape, split, gain=0.0)


@pytest.fixture(scope="module")
def truth():
    return [each.of(0) for each in simulated(0, 1, POOL)]


def mean_time(curves, goal):
    times, _ = trials_to(curves, goal, np.full(len(curves), TRIALS))
    return float(times.mean())


class Truth:
    """The true values of the arms a and b, from many runs of each: computed once for all studies."""

    def __init__(self, a, b):
        self.curves = [mean_curve(each.confirmed) for each in (b, a)]
        self.climb = [float((c[:, -1] - c[:, 0]).mean()) for c in (a.best, a.confirmed)]
        self.interquartile_mean = stats.interquartile_mean(a.confirmed[:, -1]).value
        self.time_to_target = mean_time(a.best, 0.936)
        tops = [np.maximum.accumulate(each.confirmed, axis=-1)[:, :-1] for each in (a, b)]
        self._tops = [np.sort(each, axis=0).T for each in tops]

    def times(self, goal):
        """Return each arm's mean trials to the goal: 1, plus the share short of it after each trial but the last."""
        return [1 + sum(np.searchsorted(top, goal) for top in tops) / POOL for tops in self._tops]


def holds(interval, value):
    """Return whether the interval holds the value; NaN without one, as if nothing climbed in some resample."""
    if interval.low is None or interval.high is None:
        return np.nan
    return interval.low <= value + 1e-9 and value - 1e-9 <= interval.high


def extra(b, a):
    """Return the extra trials of b's curve to get where a's is after `EARLY` trials."""
    return extra_trials(b, a[:EARLY])[-1]


def coverage(checks):
    """Return by name the share of studies whose interval holds the truth."""
    return {name: float(np.nanmean([check[name] for check in checks])) for name in checks[0]}


def endpoints(study, draws, truth):
    """Return by name whether one study's intervals hold the truth, for its own plateau and target taken as given."""
    a, b, idle = study
    plateau = max(float(np.median(each.confirmed[:, -1])) for each in (a, b))
    goal = plateau - float(np.sqrt((a.spread + b.spread) / 2))
    to_plateau: list[_Times] = [_times(each.confirmed, goal, draws) for each in (a, b)]
    to_target = _times(a.best, 0.936, draws)
    runs = len(a.best)
    times = [stats.bounded_mean(each.times.astype(float), (1, TRIALS)) for each in to_plateau]
    true = truth.times(goal)
    curves = [resampled_means(each.confirmed, draws) for each in (b, a)]
    low, high = stats.percentiles(extra(*curves), runs)
    climbs = [[c[:, -1] - c[:, 0] for c in (each.best, each.confirmed)] for each in (a, idle)]
    difference = stats.paired_hodges_lehmann(a.confirmed[:, -1], b.confirmed[:, -1])
    return {
        "trials to the plateau, a": holds(times[0], true[0]),
        "trials to the plateau, b": holds(times[1], true[1]),
        "their difference": holds(_saving(*to_plateau), true[1] - true[0]),
        "extra trials": low <= extra(*truth.curves) <= high,
        "confirmed climb": holds(stats.mean(climbs[0][1]), truth.climb[1]),
        "confirmed climb of a search for nothing": holds(stats.mean(climbs[1][1]), 0.0),
        "luck": holds(_luck(*climbs[0], draws), 1 - truth.climb[1] / truth.climb[0]),
        "confirmed difference": holds(difference, BETTER),
        "IQM": holds(stats.interquartile_mean(a.confirmed[:, -1]), truth.interquartile_mean),
        "trials to a validation target": holds(
            stats.bootstrap(to_target.mean, to_target.means, runs), truth.time_to_target
        ),
        "band of the confirmed curve": all(
            holds(e, x) for e, x in zip(bands(a.confirmed), truth.curves[1], strict=True)
        ),
    }


def measured(runs, studies, truth):
    made = simulated(runs, studies, runs)
    draws = [stats.resample(runs, RESAMPLES, np.random.default_rng(i)) for i in range(20)]
    return coverage([endpoints([each.of(i) for each in made], draws[i % 20], truth) for i in range(studies)])


def test_a_planted_effect_is_recovered_by_every_endpoint(truth):
    """In the mean over studies of 40 runs; many or most also tell it from no effect, which shows how hard that is."""
    runs, studies = 40, 60
    made, draws = simulated(1, studies, runs), stats.resample(runs, RESAMPLES, np.random.default_rng(0))
    found = []
    for study in range(studies):
        a, b, _ = (each.of(study) for each in made)
        times = [_times(each.confirmed, 0.928, draws) for each in (a, b)]
        curves = [resampled_means(each.confirmed, draws) for each in (b, a)]
        more = extra(mean_curve(b.confirmed), mean_curve(a.confirmed))
        low, _ = stats.percentiles(extra(*curves), runs)
        better = stats.paired_hodges_lehmann(a.confirmed[:, -1], b.confirmed[:, -1])
        saved = _saving(*times)
        told = (better.low > 0, saved.low > 0, low > 0)
        found.append((better.value, saved.value, more, *told))
    better, saved, more, *told = np.array(found, dtype=float).T
    true = [mean_time(each.confirmed, 0.928) for each in truth[:2]]
    assert Truth(*truth[:2]).times(0.928) == pytest.approx(true)
    assert better.mean() == pytest.approx(BETTER, abs=0.0004)
    assert saved.mean() == pytest.approx(true[1] - true[0], abs=0.3)
    assert np.median(more) == 3
    assert [each.mean() > least for each, least in zip(told, (0.2, 0.9, 0.9), strict=True)] == [True] * 3


def test_a_search_for_nothing_is_seen_to_climb_and_is_not_confirmed_to(truth):
    nothing = truth[2]
    seen, confirmed = ((c[:, -1] - c[:, 0]).mean() for c in (nothing.best, nothing.confirmed))
    assert seen > 0.01
    assert abs(confirmed) < 0.0003


# nominally 95 %; docs/numbers.md says how far short few skewed runs fall, most in the first trials
LEAST = {
    "their difference": 0.91,
    "luck": 0.91,
    "IQM": 0.905,
    "band of the confirmed curve": 0.88,
    "trials to a validation target": 0.84,
}


@pytest.mark.slow
@pytest.mark.parametrize("runs", [6, 10, 20, 40])
def test_intervals_hold_the_truth(runs, truth):
    found = measured(runs, STUDIES, Truth(*truth[:2]))
    least = LEAST if runs < 20 else {}
    short = {name: share for name, share in found.items() if share < least.get(name, 0.925)}
    assert not short, found


@pytest.mark.slow
@pytest.mark.parametrize("runs", [6, 10, 20, 40])
def test_arms_that_differ_by_the_margin_are_called_similar_in_one_study_of_twenty(runs):
    """After all runs and, with the test that is repeated after each run, at any time until then."""
    rng, margin = np.random.default_rng(runs), 0.006
    noise = (rng.binomial(1000, 0.93, (STUDIES, runs)) - rng.binomial(1000, 0.93, (STUDIES, runs))) / 4000
    once, ever = 0, 0
    for d in margin + noise:
        e = stats.paired_hodges_lehmann(d, np.zeros(runs), SIMILAR_LEVEL)
        once += e.level >= SIMILAR_LEVEL and -margin < e.low <= e.high < margin
        ever += similar(d, margin)
    assert once / STUDIES <= 0.06
    assert ever / STUDIES <= 0.05
    assert similar(noise[0], margin) or runs < 20  # as arms without a difference are
