"""The comparison of a study's methods: every number of the report, as JSON values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.analysis import stats
from studies.analysis.curves import Curves, Floats, Ints, curves_of
from studies.analysis.extra_trials import CURVES, extra_trials
from studies.analysis.failures import commonest
from studies.analysis.parity import audit
from studies.analysis.survival import kaplan_meier, restricted_mean, trials_to
from studies.design.methods import METHODS
from studies.design.space import bound, searched, to_json
from studies.design.spec import MethodSpec, StudySpec, stored
from studies.encoding import finite, number
from studies.records import StudyRecord, TrialRecord, TrialState
from trainers.seeds import derive

RESAMPLES = 10_000
AT_BUDGET = ("best_at_budget", "test_at_budget")
TARGET_SHARES = (0.9, 0.75, 0.5, 0.25)  # each target: what this share of all runs reaches
TARGET_SHARE = 0.75
NONE: dict[str, Any] = dict.fromkeys(("value", "low", "high", "level"))


@dataclass(frozen=True, slots=True)
class _Times:
    """Trials of one method's runs to one target: the runs' own, and restricted means with those of the resamples."""

    times: Ints
    reached: NDArray[np.bool_]
    survival: Floats
    mean: float
    means: Floats


def compare(
    study: StudyRecord, trials: Sequence[TrialRecord], epochs: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Any]:
    """The content of comparison.json. `epochs`: as `audit` takes them.

    Methods are compared after `compared_at` trials: the budget or, in an unfinished study, the largest number
    of trials that every run has done. An estimate is `{value, low, high, level}`, null where there is none;
    objectives are in the metric's own unit. Two endpoints are fixed beforehand:

    - `best_at_budget`, the validation objective of the incumbent, with its test metric beside it in
      `test_at_budget`;
    - `trials_to_target`. A study names no target. The rule for one was fixed beforehand and does not know the
      methods, the target itself is computed from the results: what at least three quarters of all runs, counted
      together, reach (TARGET_SHARE). It stays the same however the methods' names are swapped; it lies where
      most runs get, so few are censored; and of two methods that share no value it is the worse one's median.
      Intervals hold it fixed. Other shares are given beside it (TARGET_SHARES): a conclusion that only one of
      them bears out is weak.

    `pairs` holds every pair a, b of methods, in the study's order. Runs are paired by design, so `paired` is the
    analysis and `unpaired` is given for comparison; a run without a result is worse than any with one.
    Differences of objectives are a - b, those of trials b - a: positive where a is ahead, except for an objective
    that is minimised. `extra_trials` lists, for each order of the pair and for the mean and the median curve, how
    many trials beyond n `method` needs to get where `reference` is after n. There null is "not within
    `compared_at` trials", which is at least `at_least` more (where that is null too, not every run of `reference`
    has a value yet; where `level` is null, there is no interval).

    `ranking` names the methods by their median run, the best first, which decides nothing: `pairs` do. `best` is a
    method's best trial of all that are done, the first of equals; `at_bounds` names those of its hyperparameters that
    lie at an end of their range, beyond which better ones may be. `errors` are the commonest of its failed trials.
    """
    spec = stored(study)
    direction = spec.task_definition().direction
    curves = {m.name: curves_of(m.name, trials, (spec.runs, spec.trials), direction) for m in spec.methods}
    horizon = int(min(c.done.min() for c in curves.values()))
    sign = 1.0 if direction == "maximize" else -1.0
    best = {name: sign * c.best[:, :horizon] for name, c in curves.items()}
    rng = np.random.default_rng(derive(spec.seed, "bootstrap"))
    draws = stats.resample(spec.runs, RESAMPLES, rng)  # the same for every method: run r is paired
    targets = [_target(best, share) for share in TARGET_SHARES] if horizon else []
    times = {name: [_times(b, goal, draws) for _, goal in targets] for name, b in best.items()}
    ends = {name: _ends(c, trials, horizon) for name, c in curves.items()} if horizon else {}
    finished = sum(int(c.done.sum()) for c in curves.values())
    of = {m.name: [t for t in trials if t.method == m.name] for m in spec.methods}
    return {
        "study": study.id,
        "name": study.name,
        "task": spec.task,
        "proxy": spec.proxy.changes,
        "start": spec.start,
        "task_label": spec.task_label,
        "metric": spec.task_definition().metric,
        "direction": direction,
        "searcher": spec.searcher.name,
        "seed": spec.seed,
        "runs": spec.runs,
        "trials": spec.trials,
        "trials_done": finished,
        "trials_planned": spec.runs * spec.trials * len(spec.methods),
        "complete": horizon == spec.trials,
        "compared_at": horizon,
        "level": stats.LEVEL,
        "resamples": RESAMPLES,
        "methods": {
            m.name: _protocol(spec, m, of[m.name])
            | {what: _centre(ends[m.name][what]) if ends else None for what in AT_BUDGET}
            | {
                "trials_to_target": [
                    _to_target(t, *target, sign, alone=len(curves) == 1)
                    for t, target in zip(times[m.name], targets, strict=True)
                ],
                "best": _best(m, of[m.name], sign),
                "errors": [asdict(failure) for failure in commonest(of[m.name])],
            }
            for m in spec.methods
        },
        "ranking": sorted(best, key=lambda name: _rank(best[name])) if ends else list(best),
        "target": number(sign * dict(targets)[TARGET_SHARE]) if targets else None,
        "target_share": TARGET_SHARE,
        "pairs": _pairs(best, ends, sign, targets, times, draws),
        "parity": audit(spec, trials, horizon, epochs),
    }


def label(method: str) -> str:
    """A method's name in running text; a study may be older than the table."""
    return (METHODS[method].label if method in METHODS else "") or method.replace("-", " ")


def _protocol(spec: StudySpec, method: MethodSpec, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """What the method was given, and what became of its trials."""
    initial = min(spec.searcher.initial_trials, spec.trials) if spec.searcher.name == "ax" else spec.trials
    states = [trial.state for trial in trials]
    sources = [trial.source for trial in trials]
    return {
        "label": label(method.name),
        "dimensions": len(searched(method.space)),
        "hyperparameters": {name: to_json(dimension) for name, dimension in method.space.items()},
        "runs": spec.runs,
        "trials": spec.trials,
        "initial_trials": initial,
        "model_based_trials": spec.trials - initial,
        "sources": {source: sources.count(source) for source in sorted(set(sources))},
        "max_retries": spec.resources.max_retries,
        "retries": sum(max(0, trial.attempts - 1) for trial in trials),
        "trials_done": len(trials),
        **{state.value: states.count(state) for state in TrialState},
        "suggest_seconds": number(float(np.median([t.suggest_seconds for t in trials] or [np.nan]))),
        "train_seconds": number(float(np.median([t.train_seconds for t in trials] or [np.nan]))),
    }


def _ends(curves: Curves, trials: Sequence[TrialRecord], horizon: int) -> dict[str, Floats]:
    """Best objective of each run after `horizon` trials, and the test metric of the trial that holds it."""
    metric = {(t.run, t.trial): t.test_metric for t in trials if t.method == curves.method}
    held = [metric.get((run + 1, int(trial))) for run, trial in enumerate(curves.incumbent[:, horizon - 1])]
    test = np.array([np.nan if value is None else value for value in held], dtype=np.float64)
    return dict(zip(AT_BUDGET, (curves.best[:, horizon - 1], test), strict=True))


def _rank(best: Floats) -> tuple[float, float]:
    """What methods are sorted by: the median of the runs' final values and then their mean; none comes last."""
    final = best[:, -1][~np.isnan(best[:, -1])]
    return (-float(np.median(final)), -float(final.mean())) if final.size else (math.inf, math.inf)


def _best(method: MethodSpec, trials: Sequence[TrialRecord], sign: float) -> dict[str, Any] | None:
    scored = {(-sign * t.objective, t.trial, t.run): t for t in trials if t.objective is not None}
    if not scored:
        return None
    trial = scored[min(scored)]
    given = trial.hyperparameters
    ends = {name: bound(dimension, given[name]) for name, dimension in method.space.items() if name in given}
    return {
        "run": trial.run,
        "trial": trial.trial,
        "objective": finite(trial.objective),
        "test_metric": finite(trial.test_metric),
        "hyperparameters": dict(given),
        "at_bounds": {name: end for name, end in ends.items() if end is not None},
    }


def _centre(values: Floats) -> dict[str, Any]:
    values = values[~np.isnan(values)]
    return {
        "n": values.size,
        "median": _estimate(stats.median(values)),
        "mean": _estimate(stats.mean(values)),
        "values": [number(float(value)) for value in values],
    }


def _target(best: Mapping[str, Floats], share: float) -> tuple[float, float]:
    """The objective that at least `share` of all runs reach, one that a run has; NaN where fewer have any."""
    final = np.concatenate([curves[:, -1] for curves in best.values()])
    ordered = -np.sort(-final)  # best first, NaN last
    return share, float(ordered[math.ceil(share * ordered.size) - 1])


def _times(best: Floats, goal: float, draws: stats.Draws) -> _Times | None:
    if np.isnan(goal):
        return None
    runs, horizon = best.shape
    times, reached = trials_to(best, goal, np.full(runs, horizon))
    survival = kaplan_meier(times, reached, horizon)
    resampled = kaplan_meier(times, reached, horizon, draws)
    return _Times(times, reached, survival, float(restricted_mean(survival)), restricted_mean(resampled))


def _to_target(times: _Times | None, share: float, goal: float, sign: float, alone: bool) -> dict[str, Any]:
    if times is None:
        nothing = dict.fromkeys(("target", "reached", "still_short", "times"))
        return {"share": share, "success_rate": NONE, "restricted_mean": NONE} | nothing
    runs, reached = times.times.size, int(times.reached.sum())
    success = _estimate(stats.wilson(reached, runs))
    if alone:  # the target is a quantile of these very runs: the share is set, not estimated
        success = NONE | {"value": success["value"]}
    return {
        "share": share,
        "target": number(sign * goal),
        "reached": reached,
        "success_rate": success,
        "restricted_mean": _estimate(stats.bootstrap(times.mean, times.means, runs)),
        "still_short": times.survival.tolist(),
        "times": [int(t) if there else None for t, there in zip(times.times, times.reached, strict=True)],
    }


def _pairs(
    best: Mapping[str, Floats],
    ends: Mapping[str, Mapping[str, Floats]],
    sign: float,
    targets: Sequence[tuple[float, float]],
    times: Mapping[str, Sequence[_Times | None]],
    draws: stats.Draws,
) -> list[dict[str, Any]]:
    if not targets or len(best) == 1:
        return []
    resampled = {
        (name, curve): resample(b, draws)
        for name, b in best.items()
        for curve, (_, resample) in CURVES.items()
    }
    pairs: list[dict[str, Any]] = []
    for a, b in combinations(best, 2):
        pairs.append(
            {
                "a": a,
                "b": b,
                **{
                    what: _difference(_ranked(ends[a], what, sign), _ranked(ends[b], what, sign), sign)
                    for what in AT_BUDGET
                },
                "trials_to_target": [
                    {
                        "share": share,
                        "target": number(sign * goal),
                        "difference": _saving(of_a, of_b),
                    }
                    for (share, goal), of_a, of_b in zip(targets, times[a], times[b], strict=True)
                ],
                "extra_trials": [
                    _extra(best, resampled, method, reference, curve)
                    for method, reference in ((b, a), (a, b))
                    for curve in CURVES
                ],
            }
        )
    for what, kind in product(AT_BUDGET, ("unpaired", "paired")):
        tests = [pair[what][kind] for pair in pairs]
        adjusted = stats.holm([np.nan if test["p"] is None else test["p"] for test in tests])
        for test, p in zip(tests, adjusted, strict=True):
            test["p_holm"] = number(p)
    return pairs


def _ranked(ends: Mapping[str, Floats], what: str, sign: float) -> Floats:
    """Higher is better: -inf for a run without a result, NaN only where a result has no test metric."""
    return np.where(np.isnan(ends["best_at_budget"]), -np.inf, sign * ends[what])


def _difference(a: Floats, b: Floats, sign: float) -> dict[str, Any]:
    """Between the runs of two methods, higher is better; `a[r]` and `b[r]` are paired."""
    if not np.isfinite([a, b]).any():
        a = b = a[:0]  # neither has a result
    both = ~np.isnan(a) & ~np.isnan(b)
    pa, pb = a[both], b[both]
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    return {
        "unpaired": {
            "hodges_lehmann": _estimate(stats.hodges_lehmann(sign * a, sign * b)),
            "p_a_better": _estimate(stats.superiority(a, b)),
            "p": number(stats.mann_whitney(a, b)),
        },
        "paired": {
            "pairs": pa.size,
            "a_better": int((pa > pb).sum()),
            "equal": int((pa == pb).sum()),
            "b_better": int((pa < pb).sum()),
            "hodges_lehmann": _estimate(stats.paired_hodges_lehmann(sign * pa, sign * pb)),
            "p": number(stats.wilcoxon(pa, pb)),
        },
    }


def _saving(a: _Times | None, b: _Times | None) -> dict[str, Any]:
    """Restricted mean trials to the target of `b` less that of `a`; the target is held fixed."""
    if a is None or b is None:
        return NONE
    return _estimate(stats.bootstrap(b.mean - a.mean, b.means - a.means, a.times.size))


def _extra(
    best: Mapping[str, Floats],
    resampled: Mapping[tuple[str, str], Floats],
    method: str,
    reference: str,
    curve: str,
) -> dict[str, Any]:
    runs, horizon = best[method].shape
    of_all, _ = CURVES[curve]
    extra = extra_trials(of_all(best[method]), of_all(best[reference]))
    replicates = extra_trials(resampled[method, curve], resampled[reference, curve])
    low, high = stats.percentiles(replicates, runs)
    return {
        "method": method,
        "reference": reference,
        "curve": curve,
        "level": stats.LEVEL if runs >= stats.BOOTSTRAP_FROM else None,
        "by_trial": [
            {
                "trial": n,
                "extra": _whole(extra[n - 1]),
                "low": _whole(low[n - 1]),
                "high": _whole(high[n - 1]),
                "at_least": None if np.isnan(extra[n - 1]) else horizon - n + 1,
            }
            for n in range(1, horizon + 1)
        ],
    }


def _estimate(estimate: stats.Estimate) -> dict[str, Any]:
    return {name: number(value) for name, value in asdict(estimate).items()}


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
