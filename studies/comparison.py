"""The comparison of a study's methods: every number of the report, as JSON values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies import stats
from studies.curves import Curves, Floats, curves_of
from studies.extra_trials import CURVES, extra_trials, resampled_curves
from studies.parity import audit
from studies.records import StudyRecord, TrialRecord, TrialState
from studies.space import searched, to_json
from studies.spec import MethodSpec, StudySpec, from_json
from studies.survival import kaplan_meier, restricted_mean, trials_to
from trainers.seeds import derive

RESAMPLES = 10_000
AT_BUDGET = ("best_at_budget", "test_at_budget")
TARGET_SHARES = (0.9, 0.75, 0.5, 0.25)  # each target: what this share of all runs reaches
TARGET_SHARE = 0.75
NONE: dict[str, Any] = dict.fromkeys(("value", "low", "high", "level"))


def compare(study: StudyRecord, trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """The content of comparison.json.

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
    """
    spec = from_json(study.spec, source=study.id)
    direction = spec.task_definition().direction
    curves = {m.name: curves_of(m.name, trials, (spec.runs, spec.trials), direction) for m in spec.methods}
    horizon = int(min(c.done.min() for c in curves.values()))
    sign = 1.0 if direction == "maximize" else -1.0
    best = {name: sign * c.best[:, :horizon] for name, c in curves.items()}
    rng = np.random.default_rng(derive(spec.seed, "bootstrap"))
    rows = stats.resample(spec.runs, RESAMPLES, rng)  # the same for every method: run r is paired
    targets = [_target(best, share) for share in TARGET_SHARES] if horizon else []
    ends = {name: _ends(c, trials, horizon) for name, c in curves.items()} if horizon else {}
    finished = sum(int(c.done.sum()) for c in curves.values())
    return {
        "study": study.id,
        "name": study.name,
        "task": spec.task,
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
            m.name: _protocol(spec, m, [t for t in trials if t.method == m.name])
            | {what: _centre(ends[m.name][what]) if ends else None for what in AT_BUDGET}
            | {"trials_to_target": [_to_target(best, m.name, *target, sign, rows) for target in targets]}
            for m in spec.methods
        },
        "target": _json(sign * dict(targets)[TARGET_SHARE]) if targets else None,
        "target_share": TARGET_SHARE,
        "pairs": _pairs(best, ends, sign, targets, rows),
        "parity": audit(spec, trials, horizon),
    }


def label(method: str) -> str:
    """A method's name in running text."""
    return " ".join("SGD" if word == "sgd" else word for word in method.split("-"))


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
        "suggest_seconds": _json(float(np.median([t.suggest_seconds for t in trials] or [np.nan]))),
        "train_seconds": _json(float(np.median([t.train_seconds for t in trials] or [np.nan]))),
    }


def _ends(curves: Curves, trials: Sequence[TrialRecord], horizon: int) -> dict[str, Floats]:
    """Best objective of each run after `horizon` trials, and the test metric of the trial that holds it."""
    metric = {(t.run, t.trial): t.test_metric for t in trials if t.method == curves.method}
    held = [metric.get((run + 1, int(trial))) for run, trial in enumerate(curves.incumbent[:, horizon - 1])]
    test = np.array([np.nan if value is None else value for value in held], dtype=np.float64)
    return dict(zip(AT_BUDGET, (curves.best[:, horizon - 1], test), strict=True))


def _centre(values: Floats) -> dict[str, Any]:
    values = values[~np.isnan(values)]
    return {
        "n": values.size,
        "median": _estimate(stats.median(values)),
        "mean": _estimate(stats.mean(values)),
        "values": [_json(float(value)) for value in values],
    }


def _target(best: Mapping[str, Floats], share: float) -> tuple[float, float]:
    """The objective that at least `share` of all runs reach, one that a run has; NaN where fewer have any."""
    final = np.concatenate([curves[:, -1] for curves in best.values()])
    ordered = -np.sort(-final)  # best first, NaN last
    return share, float(ordered[math.ceil(share * ordered.size) - 1])


def _to_target(
    best: Mapping[str, Floats], method: str, share: float, goal: float, sign: float, rows: NDArray[np.int64]
) -> dict[str, Any]:
    runs, horizon = best[method].shape
    if np.isnan(goal):
        nothing = dict.fromkeys(("target", "reached", "still_short", "times"))
        return {"share": share, "success_rate": NONE, "restricted_mean": NONE} | nothing
    times, reached = trials_to(best[method], goal, np.full(runs, horizon))
    success = _estimate(stats.wilson(int(reached.sum()), runs))
    if len(best) == 1:  # the target is a quantile of these very runs: the share is set, not estimated
        success = NONE | {"value": success["value"]}
    return {
        "share": share,
        "target": _json(sign * goal),
        "reached": int(reached.sum()),
        "success_rate": success,
        "restricted_mean": _estimate(
            stats.bootstrap(lambda r: restricted_mean(kaplan_meier(times[r], reached[r], horizon)), rows)
        ),
        "still_short": [float(value) for value in kaplan_meier(times, reached, horizon)],
        "times": [int(t) if there else None for t, there in zip(times, reached, strict=True)],
    }


def _pairs(
    best: Mapping[str, Floats],
    ends: Mapping[str, Mapping[str, Floats]],
    sign: float,
    targets: Sequence[tuple[float, float]],
    rows: NDArray[np.int64],
) -> list[dict[str, Any]]:
    if not targets:
        return []
    resampled = {name: resampled_curves(curves, rows) for name, curves in best.items()}
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
                        "target": _json(sign * goal),
                        "difference": _saving(best[a], best[b], goal, rows),
                    }
                    for share, goal in targets
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
            test["p_holm"] = _json(p)
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
            "p": _json(stats.mann_whitney(a, b)),
        },
        "paired": {
            "pairs": pa.size,
            "a_better": int((pa > pb).sum()),
            "equal": int((pa == pb).sum()),
            "b_better": int((pa < pb).sum()),
            "hodges_lehmann": _estimate(stats.paired_hodges_lehmann(sign * pa, sign * pb)),
            "p": _json(stats.wilcoxon(pa, pb)),
        },
    }


def _saving(a: Floats, b: Floats, goal: float, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Restricted mean trials to the target of `b` less that of `a`; the target is held fixed."""
    if np.isnan(goal):
        return NONE
    runs, horizon = a.shape
    sides = [trials_to(side, goal, np.full(runs, horizon)) for side in (b, a)]

    def difference(r: NDArray[np.int64]) -> Floats:
        of_b, of_a = (
            restricted_mean(kaplan_meier(times[r], reached[r], horizon)) for times, reached in sides
        )
        return of_b - of_a

    return _estimate(stats.bootstrap(difference, rows))


def _extra(
    best: Mapping[str, Floats],
    resampled: Mapping[str, Mapping[str, Floats]],
    method: str,
    reference: str,
    curve: str,
) -> dict[str, Any]:
    runs, horizon = best[method].shape
    extra = extra_trials(CURVES[curve](best[method]), CURVES[curve](best[reference]))
    low, high = stats.percentiles(extra_trials(resampled[method][curve], resampled[reference][curve]), runs)
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
    return {name: _json(value) for name, value in asdict(estimate).items()}


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None


def _json(value: float) -> float | str | None:
    """NaN as null, the infinities as "inf" and "-inf": JSON has none of them."""
    return None if math.isnan(value) else value if math.isfinite(value) else str(value)
