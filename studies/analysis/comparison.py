"""The computation of the comparison of a study's arms.

Arms are compared after `compared_at` trials: the budget or, in an unfinished study, the largest number of trials
that every run has done. The endpoints are fixed beforehand:

- `confirmed_at_budget`, if the study confirms its incumbents: the mean test metric of their hyperparameters with fresh
  seeds. It comes first once all are confirmed. `climb` is how far a run got from its first trial, as seen and as
  confirmed, and which share of that was luck. Two arms are `similar` if the 90 % interval of their paired difference
  lies within one training's standard deviation over seeds (`equivalence`): the rule is fixed, its margin computed;
- `trials_to_plateau`, once all are confirmed: the trials until a run's confirmed curve first gets within one training's
  standard deviation over seeds of the `plateau`, the confirmed value at the budget of the best arm's median run; and
  `extra_trials_confirmed`, like `extra_trials` below but on the mean confirmed curves;
- `best_at_budget`, the validation objective of the incumbent, with its test metric beside it in `test_at_budget`;
- `trials_to_target`. A study names no target. The rule for it was fixed beforehand and does not depend on the arms; the
  target itself is computed from the results: what at least three quarters of all runs, counted together, reach
  (TARGET_SHARE). It stays the same if the arms' names are swapped. It lies where most runs get, so few are censored.
  For two arms that share no value it is the worse one's median. Intervals take it as given. Other shares are given
  beside it (TARGET_SHARES): a conclusion that only one of them supports is weak.

`pairs` holds every pair a, b of arms, in the study's order. Runs are paired by design, so `paired` is the analysis
and `unpaired` is given for comparison; a run without a result is worse than any with one. Differences of objectives
are a - b, differences of trials b - a: positive if a is ahead, except for an objective that is minimised.
`extra_trials` lists, for each order of the pair and for the mean and the median curve, how many trials beyond n `arm`
needs to get where `reference` is after n. There, None means "not within `compared_at` trials", that is at least
`at_least` more. If `at_least` is None too, not every run of `reference` has a value yet; if `level` is None, there is
no interval.

Nothing is tested before the end: `p` and `equivalence` are None until all results are in, as repeated tests find a
difference where there is none. A study that stops when it is decided (`decision`) is compared by its runs up to the
decision, or before it by its complete runs. Its `paired` has the tests and intervals of `sequence`, which allow for
repeated looks; its `unpaired` has none. Its first pair was declared, and in `endpoint` is not adjusted for others.

`ranking` names the arms by the median of their runs in `endpoint`, the best first. It decides nothing: `pairs` do.
`best` is an arm's best trial that did not diverge, the first of equals; `at_bounds` names those of its hyperparameters
that lie at an end of their range, beyond which better ones may be. `errors` are the commonest of the failed trials.

`published` holds the results that papers print, as the study's file gives them, its arms' first: it is in no test.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from studies.analysis import sequence, stats
from studies.analysis.compared import (
    ArmResult,
    AtBudget,
    BestTrial,
    Climb,
    Comparison,
    Confirmations,
    Difference,
    Equivalence,
    ExtraTrials,
    ExtraTrialsAt,
    Paired,
    PairResult,
    Plateau,
    PublishedResult,
    Saving,
    Split,
    ToPlateau,
    ToTarget,
    Unpaired,
    given,
)
from studies.analysis.confirmation import Worth, seed_sd, worth
from studies.analysis.curves import Curves, Floats, Ints, of_study
from studies.analysis.decision import SIMILAR_LEVEL, decision, first_runs, similar
from studies.analysis.estimate import NONE, Estimate, Number, known
from studies.analysis.extra_trials import CURVES, extra_trials, resampled_means
from studies.analysis.failures import commonest
from studies.analysis.parity import audit
from studies.analysis.survival import kaplan_meier, restricted_mean, trials_to
from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS
from studies.design.space import bound, searched
from studies.design.spec import ArmSpec, StudySpec, stored
from studies.records import ConfirmationRecord, StudyRecord, TrialRecord, TrialState
from trainers.seeds import derive

RESAMPLES = 10_000
SPLITS: tuple[Split, ...] = ("validation", "test")
TARGET_SHARES = (0.9, 0.75, 0.5, 0.25)  # each target: what this share of all runs reaches
TARGET_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class _Times:
    """Trials of one arm's runs to one target: per run, and as restricted means of the runs and of the resamples."""

    times: Ints
    reached: NDArray[np.bool_]
    survival: Floats
    mean: float
    means: Floats


@dataclass(frozen=True, slots=True)
class _Measured:
    """The values by which arms are compared after `horizon` trials, by arm.

    `final` says that all results are in, `sequential` that the study may have stopped because of its results.

    `best` is `(runs, horizon)`, negated if the objective is minimised, which `sign` undoes. `ends` are the runs' last
    values in the metric's own unit, `worth` what their incumbents are worth on the test split. `targets` pairs shares
    of all runs with what they reach, negated like `best`. `ends` and `targets` are empty before every run has a trial.
    """

    horizon: int
    final: bool
    sequential: bool
    sign: float
    best: Mapping[str, Floats]
    ends: Mapping[str, Mapping[Split, Floats]]
    worth: Mapping[str, Worth]
    confirmations: Confirmations | None
    targets: Sequence[tuple[float, float]]
    times: Mapping[str, Sequence[_Times | None]]
    draws: stats.Draws

    @property
    def confirmed(self) -> Mapping[str, Floats]:
        """The confirmed curves by arm, `(runs, horizon)` like `best`, once all are confirmed; empty before."""
        if self.endpoint != "confirmed":
            return {}
        return {name: self.sign * of.confirmed[:, : self.horizon] for name, of in self.worth.items()}

    @property
    def plateau(self) -> Plateau | None:
        """The plateau of the best arm; None before all are confirmed, or if the margin is not known."""
        margin = self.confirmations.seed_sd if self.confirmations else None
        if self.endpoint != "confirmed" or margin is None:
            return None
        arm = self.ranking[0]
        value = float(np.nanmedian(self.ends[arm]["confirmed"]))
        return Plateau(arm, value, margin, value - self.sign * margin)

    @property
    def target(self) -> Number | None:
        """The objective that TARGET_SHARE of all runs reach, in the metric's own unit."""
        return known(self.sign * dict(self.targets)[TARGET_SHARE]) if self.targets else None

    @property
    def ranking(self) -> tuple[str, ...]:
        """The arms by their median run, the best first; in the study's order before every run has a trial."""
        if not self.ends:
            return tuple(self.best)
        ends = {name: self.sign * of[self.endpoint] for name, of in self.ends.items()}
        return tuple(sorted(ends, key=lambda name: _rank(ends[name])))

    @property
    def endpoint(self) -> Split:
        """The split that is claimed first: "confirmed" once all incumbents are, before that "validation"."""
        whole = self.confirmations is not None and self.confirmations.complete
        return "confirmed" if whole and "confirmed" in self.splits else "validation"

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits by which arms are compared, "confirmed" only if anything is."""
        some = any(not np.isnan(of["confirmed"]).all() for of in self.ends.values())
        return (*SPLITS, "confirmed") if some else SPLITS


def compare(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    epochs: Mapping[str, Sequence[int]] | None = None,
    confirmations: Sequence[ConfirmationRecord] = (),
) -> Comparison:
    """Return the content of comparison.json. `epochs` is as `audit` takes it."""
    spec = stored(study)
    decided = decision(spec, trials, confirmations) if spec.stop_when else None
    planned, done, over = spec.planned, len(trials), decided is None or decided.over
    if decided is not None and (over or decided.after):
        spec, trials, confirmations = first_runs(decided.after, spec, trials, confirmations)
    task, curves = spec.task_definition(), of_study(spec, trials)
    measured = _measured(spec, trials, curves, confirmations, over=over)
    return Comparison(
        study=study.id,
        name=study.name,
        task=spec.task,
        proxy=spec.proxy.changes,
        start=spec.start,
        task_label=spec.task_label,
        metric=task.metric,
        direction=task.direction,
        searcher=spec.searcher.name,
        seed=spec.seed,
        runs=spec.runs,
        trials=spec.trials,
        trials_done=sum(int(c.done.sum()) for c in curves.values()) if over else done,
        trials_planned=spec.planned if over else planned,
        complete=over and measured.horizon == spec.trials,
        compared_at=measured.horizon,
        level=stats.LEVEL,
        resamples=RESAMPLES,
        confirmations=measured.confirmations,
        endpoint=measured.endpoint,
        arms={m.name: _arm(spec, m, [t for t in trials if t.arm == m.name], measured) for m in spec.arms},
        ranking=measured.ranking,
        target=measured.target,
        target_share=TARGET_SHARE,
        pairs=_pairs(measured),
        parity=audit(spec, trials, measured.horizon, epochs),
        plateau=measured.plateau,
        decision=decided,
        published=_published(spec) or None,
    )


def _published(spec: StudySpec) -> tuple[PublishedResult, ...]:
    arms = [(label(arm.name, arm.method), arm.name, arm.published) for arm in spec.arms]
    rows = [(row.name, None, row) for row in spec.published]
    return tuple(
        PublishedResult(name, arm, its.test, its.sd, its.source) for name, arm, its in arms + rows if its
    )


def _measured(
    spec: StudySpec,
    trials: Sequence[TrialRecord],
    curves: Mapping[str, Curves],
    confirmations: Sequence[ConfirmationRecord],
    *,
    over: bool,
) -> _Measured:
    """Return the values by which arms are compared. `over` says that no further runs follow."""
    horizon = int(min(c.done.min() for c in curves.values()))
    sign = 1.0 if spec.task_definition().direction == "maximize" else -1.0
    best = {name: sign * c.best[:, :horizon] for name, c in curves.items()}
    rng = np.random.default_rng(derive(spec.seed, "bootstrap"))
    draws = stats.resample(spec.runs, RESAMPLES, rng)  # the same for every arm: run r is paired
    worst = sign * spec.task_definition().worst
    targets = [_target(best, share, worst) for share in TARGET_SHARES] if horizon else []
    worths = {name: worth(spec, name, trials, confirmations) for name in curves}
    confirmed = _confirmations(spec, worths, confirmations, horizon, over=over)
    return _Measured(
        horizon=horizon,
        final=over and horizon == spec.trials and (confirmed is None or confirmed.complete),
        sequential=spec.stop_when is not None,
        sign=sign,
        best=best,
        ends={name: _ends(c, worths[name], horizon) for name, c in curves.items()} if horizon else {},
        worth=worths,
        confirmations=confirmed,
        targets=targets,
        times={name: [_times(b, goal, draws) for _, goal in targets] for name, b in best.items()},
        draws=draws,
    )


def label(arm: str, method: str) -> str:
    """Return an arm's name in running text: its method's label if named after its method and METHODS still has that."""
    known = METHODS[method].label if arm == method and method in METHODS else ""
    return known or arm.replace("-", " ")


def _arm(spec: StudySpec, arm: ArmSpec, trials: Sequence[TrialRecord], measured: _Measured) -> ArmResult:
    """Return the arm's result; `trials` are this arm's only."""
    ends, alone = measured.ends.get(arm.name), len(measured.best) == 1
    confirmed = "confirmed" in measured.splits
    searcher = spec.searcher_of(arm)
    model = SEARCHERS[searcher.name].model and not arm.is_control
    initial = min(searcher.initial_trials, spec.trials) if model else spec.trials
    states = [trial.state for trial in trials]
    sources = [trial.source for trial in trials]
    return ArmResult(
        label=label(arm.name, arm.method),
        method=arm.method,
        searcher=None if arm.is_control else searcher.name,
        dimensions=len(searched(arm.space)),
        hyperparameters={name: given(dimension) for name, dimension in arm.space.items()},
        runs=spec.runs,
        trials=spec.trials,
        initial_trials=initial,
        model_based_trials=spec.trials - initial,
        sources={source: sources.count(source) for source in sorted(set(sources))},
        max_retries=spec.resources.max_retries,
        retries=sum(max(0, trial.attempts - 1) for trial in trials),
        trials_done=len(trials),
        completed=states.count(TrialState.COMPLETED),
        diverged=states.count(TrialState.DIVERGED),
        failed=states.count(TrialState.FAILED),
        suggest_seconds=_median([trial.suggest_seconds for trial in trials]),
        train_seconds=_median([trial.train_seconds for trial in trials]),
        best_at_budget=_at_budget(ends["validation"]) if ends else None,
        test_at_budget=_at_budget(ends["test"]) if ends else None,
        confirmed_at_budget=_at_budget(ends["confirmed"]) if ends and confirmed else None,
        climb=_climb(measured, arm.name) if confirmed else None,
        trials_to_target=tuple(
            _to_target(times, share, goal, measured.sign, alone)
            for times, (share, goal) in zip(measured.times[arm.name], measured.targets, strict=True)
        ),
        best=_best(arm, trials, measured.sign, spec.task_definition().worst),
        errors=commonest(trials),
        tied=_tied(measured, arm.name, trials) if spec.confirm and ends else None,
        trials_to_plateau=_to_plateau(measured, arm.name),
        task=arm.task,
        proxy=arm.proxy.changes or None,
    )


def _median(seconds: Sequence[float]) -> float | None:
    return float(np.median(seconds)) if seconds else None


def _ends(curves: Curves, worth: Worth, horizon: int) -> dict[Split, Floats]:
    """Return each run's best objective after `horizon` trials and what that is worth, by split."""
    last = horizon - 1
    return {
        "validation": curves.best[:, last],
        "test": worth.held_out[:, last],
        "confirmed": worth.confirmed[:, last],
    }


def _confirmations(
    spec: StudySpec,
    worths: Mapping[str, Worth],
    confirmations: Sequence[ConfirmationRecord],
    horizon: int,
    *,
    over: bool,
) -> Confirmations | None:
    if spec.confirm is None:
        return None
    seeds = spec.confirm.seeds
    planned = seeds * sum(of.incumbents for of in worths.values())
    return Confirmations(
        seeds=seeds,
        planned=planned,
        done=len(confirmations),
        failed=sum(each.state is TrialState.FAILED for each in confirmations),
        complete=over and horizon == spec.trials and len(confirmations) == planned,
        seed_sd=known(seed_sd(worths.values(), horizon)) if horizon else None,
    )


def _rank(best: Floats) -> tuple[float, float]:
    """Return the key by which arms sort: the median of the runs' final values, then their mean; none comes last."""
    final = best[~np.isnan(best)]
    return (-float(np.median(final)), -float(final.mean())) if final.size else (math.inf, math.inf)


def _best(arm: ArmSpec, trials: Sequence[TrialRecord], sign: float, worst: float) -> BestTrial | None:
    scored = {
        (-sign * t.objective, t.trial, t.run): t
        for t in trials
        if t.objective not in (None, worst)  # with repeats, not all of them may have diverged
    }
    if not scored:
        return None
    trial = scored[min(scored)]
    given = trial.hyperparameters
    ends = {name: bound(dimension, given[name]) for name, dimension in arm.space.items() if name in given}
    return BestTrial(
        run=trial.run,
        trial=trial.trial,
        objective=trial.objective,
        test_metric=trial.test_metric,
        hyperparameters=dict(given),
        at_bounds={name: end for name, end in ends.items() if end is not None},
    )


def _at_budget(values: Floats) -> AtBudget:
    values = values[~np.isnan(values)]
    return AtBudget(values.size, stats.median(values), stats.mean(values), tuple(values.tolist()))


def _tied(measured: _Measured, arm: str, trials: Sequence[TrialRecord]) -> int:
    best = measured.sign * measured.best[arm][:, -1]
    held = Counter(t.run for t in trials if t.trial <= measured.horizon and t.objective == best[t.run - 1])
    return sum(times > 1 for times in held.values())


def _climb(measured: _Measured, arm: str) -> Climb:
    """Return the climb from the first trial to the last compared, over the runs that are confirmed at both."""
    seen, confirmed = measured.best[arm], measured.sign * measured.worth[arm].confirmed[:, : measured.horizon]
    with np.errstate(invalid="ignore"):  # infinity minus infinity is no climb
        climbs = [curve[:, -1] - curve[:, 0] for curve in (seen, confirmed)]
    there = ~np.isnan(climbs).any(axis=0)
    return Climb(
        n=int(there.sum()),
        seen=stats.mean(climbs[0][there]),
        confirmed=stats.mean(climbs[1][there]),
        luck=_luck(climbs[0][there], climbs[1][there], measured.draws[there]),
    )


def _luck(seen: Floats, confirmed: Floats, draws: stats.Draws) -> Estimate:
    """Return the share of the mean climb `seen` that is not `confirmed`, both `(runs,)`; `draws` are of these runs."""
    if not seen.any():
        return NONE
    if not confirmed.any():  # by construction, as in a control: nothing is estimated
        return Estimate.of(1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = 1 - confirmed.sum() / seen.sum()
        replicates = 1 - _drawn(confirmed, draws) / _drawn(seen, draws)
    return stats.bootstrap(float(value), replicates, seen.size)


def _drawn(values: Floats, draws: stats.Draws) -> Floats:
    """Return the sum of every resample: `(resamples,)`."""
    return np.asarray(np.einsum("r,rk->k", values, draws.astype(np.float64)))


def _target(best: Mapping[str, Floats], share: float, worst: float) -> tuple[float, float]:
    """Return `share` and the best run's objective that at least `share` of all runs reach.

    NaN if fewer have any, or only the `worst`, as which a trial that diverged counts.
    """
    final = np.concatenate([curves[:, -1] for curves in best.values()])
    ordered = -np.sort(-final)  # best first, NaN last
    reached = float(ordered[math.ceil(share * ordered.size) - 1])
    return share, reached if reached > worst else math.nan


def _times(best: Floats, goal: float, draws: stats.Draws) -> _Times | None:
    if np.isnan(goal):
        return None
    runs, horizon = best.shape
    times, reached = trials_to(best, goal, np.full(runs, horizon))
    survival = kaplan_meier(times, reached, horizon)
    resampled = kaplan_meier(times, reached, horizon, draws)
    return _Times(times, reached, survival, float(restricted_mean(survival)), restricted_mean(resampled))


def _to_target(times: _Times | None, share: float, goal: float, sign: float, alone: bool) -> ToTarget:
    if times is None:
        return ToTarget(share, None, None, NONE, NONE, None, None)
    runs, reached = times.times.size, int(times.reached.sum())
    success = stats.wilson(reached, runs)
    if alone:  # the target is a quantile of these same runs: the share is set, not estimated
        success = replace(NONE, value=success.value)
    return ToTarget(
        share=share,
        target=sign * goal,
        reached=reached,
        success_rate=success,
        restricted_mean=stats.bootstrap(times.mean, times.means, runs),
        still_short=tuple(times.survival.tolist()),
        times=tuple(int(t) if there else None for t, there in zip(times.times, times.reached, strict=True)),
    )


def _to_plateau(measured: _Measured, arm: str) -> ToPlateau | None:
    times = _plateau_times(measured, arm)
    if times is None:
        return None
    runs, horizon = times.times.size, measured.horizon
    return ToPlateau(
        reached=int(times.reached.sum()),
        success_rate=stats.wilson(int(times.reached.sum()), runs),
        restricted_mean=stats.bounded_mean(times.times.astype(np.float64), (1, horizon)),
        still_short=tuple(times.survival.tolist()),
        times=tuple(int(t) if there else None for t, there in zip(times.times, times.reached, strict=True)),
    )


def _plateau_times(measured: _Measured, arm: str) -> _Times | None:
    plateau = measured.plateau
    if plateau is None:
        return None
    known = _known(measured, arm)
    if not known.any():
        return None
    return _times(measured.confirmed[arm][known], measured.sign * plateau.target, measured.draws[known])


def _known(measured: _Measured, arm: str) -> NDArray[np.bool_]:
    """Return by run whether the confirmed curve is known: in the other runs a confirmation has crashed."""
    return np.asarray(~(np.isnan(measured.confirmed[arm]) & ~np.isnan(measured.best[arm])).any(axis=1))


def _pairs(measured: _Measured) -> tuple[PairResult, ...]:
    best, times = measured.best, measured.times
    if not measured.targets or len(best) == 1:
        return ()
    resampled = {
        (name, curve): resample(b, measured.draws)
        for name, b in best.items()
        for curve, (_, resample) in CURVES.items()
    }
    confirmed_means = {
        (name, "mean"): resampled_means(c, measured.draws) for name, c in measured.confirmed.items()
    }
    to_plateau = {name: _plateau_times(measured, name) for name in best}
    pairs = list(combinations(best, 2))
    differences = {
        split: _adjusted(
            [
                _difference(measured, _ranked(measured, a, split), _ranked(measured, b, split))
                for a, b in pairs
            ],
            declared=int(measured.sequential and split == measured.endpoint),
        )
        for split in measured.splits
    }
    confirmed = differences.get("confirmed")
    return tuple(
        PairResult(
            a=a,
            b=b,
            best_at_budget=differences["validation"][i],
            test_at_budget=differences["test"][i],
            confirmed_at_budget=confirmed[i] if confirmed else None,
            equivalence=_equivalence(measured, a, b),
            trials_to_target=tuple(
                Saving(share, known(measured.sign * goal), _saving(of_a, of_b))
                for (share, goal), of_a, of_b in zip(measured.targets, times[a], times[b], strict=True)
            ),
            extra_trials=tuple(
                _extra(best, resampled, arm, reference, curve)
                for arm, reference in ((b, a), (a, b))
                for curve in CURVES
            ),
            trials_to_plateau=_saving(to_plateau[a], to_plateau[b]) if measured.plateau else None,
            extra_trials_confirmed=_extra_confirmed(measured, confirmed_means, a, b)
            if measured.confirmed
            else None,
        )
        for i, (a, b) in enumerate(pairs)
    )


def _adjusted(differences: Sequence[Difference], declared: int) -> list[Difference]:
    """Add `p_holm`: the tests of all pairs are one family in `unpaired` and another in `paired`.

    In `paired` the first `declared` pairs are a family of their own, as the study asked about them beforehand.
    """
    unpaired = _holm([difference.unpaired.p for difference in differences])
    paired = [difference.paired.p for difference in differences]
    paired = _holm(paired[:declared]) + _holm(paired[declared:])
    return [
        Difference(replace(d.unpaired, p_holm=p_unpaired), replace(d.paired, p_holm=p_paired))
        for d, p_unpaired, p_paired in zip(differences, unpaired, paired, strict=True)
    ]


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    return [known(p) for p in stats.holm([np.nan if p is None else p for p in p_values])]


def _ranked(measured: _Measured, arm: str, split: Split) -> Floats:
    """Return the runs' values, higher is better: -inf without a result, NaN only if a result has no test metric."""
    ends = measured.ends[arm]
    return np.where(np.isnan(ends["validation"]), -np.inf, measured.sign * ends[split])


def _difference(measured: _Measured, a: Floats, b: Floats) -> Difference:
    """Compare the runs of two arms, higher is better, `a[r]` and `b[r]` paired; `p_holm` is still missing."""
    if not np.isfinite([a, b]).any():
        a = b = a[:0]  # neither has a result
    both, sign = ~np.isnan(a) & ~np.isnan(b), measured.sign
    pa, pb = a[both], b[both]
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    tested = measured.final
    unpaired = Unpaired(
        hodges_lehmann=stats.hodges_lehmann(sign * a, sign * b),
        p_a_better=stats.superiority(a, b),
        p=known(stats.mann_whitney(a, b)) if tested and not measured.sequential else None,
        p_holm=None,
    )
    if measured.sequential:
        shift, better = (replace(NONE, value=e.value) for e in (unpaired.hodges_lehmann, unpaired.p_a_better))
        unpaired = replace(unpaired, hodges_lehmann=shift, p_a_better=better)
    p_value = sequence.p_value if measured.sequential else stats.wilcoxon
    paired = Paired(
        pairs=pa.size,
        a_better=int((pa > pb).sum()),
        equal=int((pa == pb).sum()),
        b_better=int((pa < pb).sum()),
        hodges_lehmann=_shift(measured, pa, pb, stats.LEVEL),
        p=known(p_value(pa, pb)) if tested else None,
        p_holm=None,
    )
    return Difference(unpaired, paired)


def _shift(measured: _Measured, a: Floats, b: Floats, level: float) -> Estimate:
    """Return the paired difference in the metric's own unit, from values of which higher is better."""
    estimated = sequence.interval if measured.sequential else stats.paired_hodges_lehmann
    return estimated(measured.sign * a, measured.sign * b, level)


def _equivalence(measured: _Measured, one: str, other: str) -> Equivalence | None:
    """Return whether two arms are similar; None if the spread over seeds is not known or results are missing."""
    margin = measured.confirmations.seed_sd if measured.confirmations and measured.final else None
    if margin is None:
        return None
    a, b = _ranked(measured, one, "confirmed"), _ranked(measured, other, "confirmed")
    both = ~np.isnan(a) & ~np.isnan(b)
    found = _shift(measured, a[both], b[both], SIMILAR_LEVEL)
    if measured.sequential:
        return Equivalence(margin, found, similar(stats.differences(a[both], b[both]), margin))
    known_well = found.level is not None and found.level >= SIMILAR_LEVEL
    within = found.low is not None and found.high is not None and -margin < found.low <= found.high < margin
    return Equivalence(margin, found, known_well and within)


def _saving(a: _Times | None, b: _Times | None) -> Estimate:
    """Return the restricted mean trials to the target of `b` minus those of `a`; the target is taken as given."""
    if a is None or b is None:
        return NONE
    return stats.bootstrap(b.mean - a.mean, b.means - a.means, min(a.times.size, b.times.size))


def _extra(
    best: Mapping[str, Floats],
    resampled: Mapping[tuple[str, str], Floats],
    arm: str,
    reference: str,
    curve: str,
) -> ExtraTrials:
    runs, horizon = best[arm].shape
    of_all, _ = CURVES[curve]
    extra = extra_trials(of_all(best[arm]), of_all(best[reference]))
    replicates = extra_trials(resampled[arm, curve], resampled[reference, curve])
    low, high = stats.percentiles(replicates, runs)
    by_trial = tuple(
        ExtraTrialsAt(
            trial=n,
            extra=_whole(extra[n - 1]),
            low=_whole(low[n - 1]),
            high=_whole(high[n - 1]),
            at_least=None if np.isnan(extra[n - 1]) else horizon - n + 1,
        )
        for n in range(1, horizon + 1)
    )
    level = stats.LEVEL if runs >= stats.BOOTSTRAP_FROM else None
    return ExtraTrials(arm, reference, curve, level, by_trial)


def _extra_confirmed(
    measured: _Measured, resampled: Mapping[tuple[str, str], Floats], a: str, b: str
) -> tuple[ExtraTrials, ...] | None:
    """Return the extra trials on the confirmed curves, b's first, over the runs whose curves are known in both arms;
    None if there is no such run. `resampled` are the means if all are known."""
    curves, known = measured.confirmed, _known(measured, a) & _known(measured, b)
    if not known.any():
        return None
    if not known.all():
        draws = measured.draws[known]
        draws = draws[:, draws.any(axis=0)]  # the resamples that have any of these runs
        curves = {name: curves[name][known] for name in (a, b)}
        resampled = {(name, "mean"): resampled_means(c, draws) for name, c in curves.items()}
    return tuple(_extra(curves, resampled, arm, reference, "mean") for arm, reference in ((b, a), (a, b)))


def _whole(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
