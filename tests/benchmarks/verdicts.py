"""Tests whether a paper's claim holds in a study's records: what is estimated, and how an interval becomes a
verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import combinations
from typing import ClassVar, Protocol

import numpy as np

from studies.analysis import stats
from studies.analysis.compared import Comparison
from studies.analysis.comparison import compare
from studies.analysis.confirmation import worth
from studies.analysis.curves import Floats
from studies.analysis.estimate import NONE, Estimate
from studies.analysis.recorded import differing, each_of, first_gradients
from studies.analysis.settings import Measure, Point, Runs, by_setting, flips, objective
from studies.design.space import searched
from studies.design.spec import StudySpec
from studies.records import ConfirmationRecord, StudyRecord, TrialRecord
from studies.results.wording import RAW, UNITS, count, listed, minus, setting
from trainers.optimizers.gradient_filter import filtered

LEVEL = 0.95  # of all intervals of a claim together
FEWEST_RUNS = 6  # that a claim needs to be decided at all


def last_flips(trial: TrialRecord) -> float | None:
    """Return the share of binary weights that a step flips in the last epoch; None if that is not known."""
    return trial.epochs[-1].flip_ratio if trial.epochs else None


def trained(trial: TrialRecord) -> float | None:
    """Return the metric on the training samples at the end; None if it was not recorded."""
    return trial.epochs[-1].train_metric if trial.epochs else None


def started(trial: TrialRecord) -> float | None:
    """Return the metric on the training samples after the first epoch; None if it was not recorded."""
    return trial.epochs[0].train_metric if trial.epochs else None


def scored(trial: TrialRecord) -> float | None:
    """Return the test metric at the end."""
    return trial.epochs[-1].test_metric if trial.epochs else None


def binary_ahead(trial: TrialRecord) -> float | None:
    """Return the test metric at the end minus that with latent weights for the binary ones; None if not recorded."""
    latent = trial.epochs[-1].latent_test_metric if trial.epochs else None
    return None if latent is None else trial.epochs[-1].test_metric - latent


def latent_ahead(trial: TrialRecord) -> float | None:
    """Return the test metric with latent weights at the end minus that with binary ones; None if not recorded."""
    ahead = binary_ahead(trial)
    return None if ahead is None else -ahead


@dataclass(frozen=True, slots=True)
class LateFlips:
    """The share of binary weights that a step flips, averaged over `epochs` epochs before the `frozen` last ones, in
    which signs are frozen; None if there are fewer epochs than these."""

    epochs: int
    frozen: int

    def __call__(self, trial: TrialRecord) -> float | None:
        late = trial.epochs[-self.epochs - self.frozen : -self.frozen]
        known = len(trial.epochs) >= self.epochs + self.frozen
        return sum(epoch.flip_ratio for epoch in late) / self.epochs if known else None


@dataclass(frozen=True, slots=True)
class FilterOf:
    """A filter of order 1 or 2 with a trial's gamma and alpha, this one multiplied by `factor`."""

    order: int
    factor: float = 1.0

    def changes(self, gradients: Floats, trial: TrialRecord) -> float:
        """Return how often a step changes the sign of the filter's output, averaged over the weights (steps, weights).

        What the first step sets is no change.
        """
        alpha, gamma = (float(trial.hyperparameters[name]) for name in ("alpha", "gamma"))
        signs = filtered(gradients, self.factor * alpha, gamma if self.order == 2 else None).signs
        return float(np.mean(signs[:-1] * signs[1:] < 0))

    def __str__(self) -> str:
        order = {1: "first", 2: "second"}[self.order]
        return f"{order}-order filter" + (f" with {self.factor:g} times alpha" if self.factor != 1 else "")


@dataclass(frozen=True, slots=True)
class Oscillations:
    """How much more often a step in the first epoch changes the sign of the first filter's output than of the second's,
    both from the same recorded gradients; None if these are incomplete."""

    more: FilterOf
    less: FilterOf

    def __call__(self, trial: TrialRecord) -> float | None:
        gradients = first_gradients(trial)
        if not gradients:
            return None
        whole = np.stack([*gradients.values()], axis=1)
        return self.more.changes(whole, trial) - self.less.changes(whole, trial)


FLIPS = (flips, last_flips)
WORDS: dict[Measure, str] = {
    flips: "weights flipped per step",
    last_flips: "weights flipped per step in the last epoch",
    trained: "training {metric}",
    started: "training {metric} after the first epoch",
    scored: "test {metric}",
    binary_ahead: "test {metric} of binary weights minus that of latent ones",
    latent_ahead: "test {metric} of latent weights minus that of binary ones",
}


class Verdict(StrEnum):
    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_DECIDABLE = "not decidable at this scale"


@dataclass(frozen=True, slots=True)
class At:
    """A setting of a study: an arm and, if it lists values, one value of each hyperparameter."""

    arm: str
    point: Point = ()

    def words(self, spec: StudySpec) -> str:
        """Return the setting in words: `standard (learning rate 1)`."""
        names = (name.replace("_", " ") for name in searched(spec.arm(self.arm).space))
        values = [
            f"{name} {setting(value)}" for name, value in zip(names, self.point, strict=bool(self.point))
        ]
        return f"{self.arm} ({', '.join(values)})" if values else self.arm


@dataclass(frozen=True)
class Done:
    """A study in the database: its trials with epochs and what was recorded, and its incumbents' confirmations."""

    spec: StudySpec
    record: StudyRecord
    trials: Sequence[TrialRecord]
    confirmations: Sequence[ConfirmationRecord] = ()

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison of its arms, as in its report."""
        return compare(self.record, self.trials, confirmations=self.confirmations)


class Estimator(Protocol):
    """What is estimated for a claim: one estimate, or several that must all hold."""

    def estimates(self, done: Done) -> list[Estimate]:
        """Return estimates whose intervals hold together at LEVEL; one without an interval for fewer than FEWEST_RUNS
        runs."""
        ...

    def words(self, spec: StudySpec) -> str:
        """Describe for a reader what is estimated."""
        ...

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        """Return the unit in which it is shown, and the factor to that unit."""
        ...


@dataclass(frozen=True, slots=True)
class Differences:
    """How much more a setting measures than each of several others, or than 0: Hodges & Lehmann's, paired by run.

    The intervals of several differences have Bonferroni's level each.
    """

    more: At
    less: tuple[At, ...] = ()
    measure: Measure = objective

    def estimates(self, done: Done) -> list[Estimate]:
        found = by_setting(done.spec, done.trials, self.measure)
        ahead = found[self.more.arm].get(self.more.point, {})
        if not self.less:
            values = np.array([*ahead.values()])
            return [_paired(values, np.zeros(values.size), 1)]
        return [_difference(found, self.more, other, len(self.less)) for other in self.less]

    def words(self, spec: StudySpec) -> str:
        less = " and ".join(other.words(spec) for other in self.less)
        return f"{_words(self.measure, spec)}: {self.more.words(spec)}{f', minus {less}' if less else ''}"

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        return _unit(self.measure, spec, alone=not self.less)


@dataclass(frozen=True, slots=True)
class Each:
    """How much more the first setting of each pair measures than its second, as `Differences`."""

    pairs: tuple[tuple[At, At], ...]
    measure: Measure = objective

    def estimates(self, done: Done) -> list[Estimate]:
        found = by_setting(done.spec, done.trials, self.measure)
        return [_difference(found, more, less, len(self.pairs)) for more, less in self.pairs]

    def words(self, spec: StudySpec) -> str:
        pairs = listed([f"{more.words(spec)} minus {less.words(spec)}" for more, less in self.pairs])
        return f"{_words(self.measure, spec)}: {pairs}"

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        return _unit(self.measure, spec)


@dataclass(frozen=True, slots=True)
class Pairs:
    """How far apart every two of these arms are, as in `Differences`, in standard deviations of the objective over the
    runs, pooled over these arms and taken as known. With `over`, how far each of them is ahead of that arm."""

    arms: tuple[str, ...]
    over: str | None = None

    def estimates(self, done: Done) -> list[Estimate]:
        found = by_setting(done.spec, done.trials, objective)
        of = [found[arm].get((), {}) for arm in (*self.arms, *([self.over] if self.over else ()))]
        runs = sorted(set.intersection(*map(set, of)))
        values = np.array([[each[run] for run in runs] for each in of])
        if len(runs) < FEWEST_RUNS or not values[: len(self.arms)].var(axis=1).any():
            return [NONE]
        values /= math.sqrt(values[: len(self.arms)].var(axis=1, ddof=1).mean())
        pairs = [(each, values[-1]) for each in values[:-1]] if self.over else list(combinations(values, 2))
        return [_paired(a, b, len(pairs)) for a, b in pairs]

    def words(self, spec: StudySpec) -> str:
        which = (
            f"{listed(self.arms)}, each minus {self.over}"
            if self.over
            else f"every pair of {listed(self.arms)}"
        )
        return f"{_words(objective, spec)}: {which}, divided by the standard deviation over runs"

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        return "standard deviations", 1.0


@dataclass(frozen=True, slots=True)
class Coincidence:
    """The share of trainings of two arms, paired by run and trial, whose epochs all have the same loss, metrics and
    flips to the last digit, with Wilson's interval. `apart` pairs a trial with the one that many trials later."""

    arms: tuple[str, str]
    apart: int = 0

    def estimates(self, done: Done) -> list[Estimate]:
        a, b = ({(t.run, t.trial): _numbers(t) for t in done.trials if t.arm == arm} for arm in self.arms)
        pairs = [(a[key], b[key[0], key[1] + self.apart]) for key in a if (key[0], key[1] + self.apart) in b]
        if len({run for run, _ in a}) < FEWEST_RUNS or not all(one and other for one, other in pairs):
            return [NONE]
        return [stats.wilson(sum(one == other for one, other in pairs), len(pairs), LEVEL)]

    def words(self, spec: StudySpec) -> str:
        which = f"{self.arms[0]} and {self.arms[1]}"
        return f"share of trainings of {which} that are the same to the last digit" + (
            ", each paired with the next value's training" if self.apart else ""
        )

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        return "%", 100.0


@dataclass(frozen=True, slots=True)
class DifferingSigns:
    """The most signs that differ between two arms at any recorded step, for each run; none if any run lacks a step. The
    number is counted, so its interval is itself, at a level of 1."""

    arms: tuple[str, str]

    def estimates(self, done: Done) -> list[Estimate]:
        spec = done.spec
        found = differing(spec, done.trials, self.arms)
        steps = [s.steps.tolist() for t in done.trials if t.arm in self.arms for s in each_of(t, "signs")]
        whole = len(steps) == len(self.arms) * spec.runs * spec.trials and all(s == steps[0] for s in steps)
        if found is None or spec.runs < FEWEST_RUNS or not whole:
            return [NONE]
        return [Estimate(most, most, most, 1.0) for most in found.runs.max(axis=1).tolist()]

    def words(self, spec: StudySpec) -> str:
        return f"most signs that differ between {' and '.join(self.arms)} at a recorded step of any run"

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        return "signs", 1.0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """How much more one arm's incumbents are worth than another's, after `after` trials each, or the budget: the mean
    test metric of their hyperparameters with fresh seeds, as in `Differences`."""

    more: str
    less: str
    after: tuple[int | None, int | None] = (None, None)

    def estimates(self, done: Done) -> list[Estimate]:
        a, b = (
            worth(done.spec, arm, done.trials, done.confirmations).confirmed[:, (n or done.spec.trials) - 1]
            for arm, n in zip((self.more, self.less), self.after, strict=True)
        )
        both = ~np.isnan(a) & ~np.isnan(b)
        return [_paired(a[both], b[both], 1)]

    def words(self, spec: StudySpec) -> str:
        of = (
            f"{arm} after {count(n or spec.trials, 'trial')}"
            for arm, n in zip((self.more, self.less), self.after, strict=True)
        )
        return (
            f"test {spec.task_definition().metric} of the best hyperparameters so far with fresh seeds: "
            + (", minus ".join(of))
        )

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        return _unit(objective, spec)


@dataclass(frozen=True, slots=True)
class MoreTrials:
    """How many more trials an arm needs, averaged over the runs, than one that the study names before it, as in the
    report (docs/numbers.md): to the target that three quarters of all runs reach by what the searcher saw or, if
    `fresh`, to the plateau by what the hyperparameters are worth with fresh seeds."""

    more: str
    less: str
    fresh: bool = False

    def estimates(self, done: Done) -> list[Estimate]:
        (pair,) = (p for p in done.comparison.pairs if (p.a, p.b) == (self.less, self.more))
        found = pair.trials_to_plateau if self.fresh else pair.trials_to_target[0].difference
        return [found if found and done.comparison.complete and done.spec.runs >= FEWEST_RUNS else NONE]

    def words(self, spec: StudySpec) -> str:
        to = (
            f"plateau of the test {spec.task_definition().metric} with fresh seeds"
            if self.fresh
            else f"validation {spec.task_definition().metric} that three quarters of all runs reach"
        )
        return f"trials to the {to}: {self.more}, minus {self.less}"

    def unit(self, spec: StudySpec) -> tuple[str, float]:
        return "trials", 1.0


@dataclass(frozen=True, slots=True)
class Above:
    """A rule that holds if the interval lies above `bound`, and fails if it lies below `least`, too small for a
    claim."""

    bound: float
    least: float

    @property
    def blind(self) -> bool:
        """True if a measure that shows nothing can also satisfy the rule: any rule that is not just a direction."""
        return self.bound != 0

    def holds(self, e: Estimate) -> bool | None:
        assert e.low is not None
        assert e.high is not None
        return True if e.low > self.bound else False if e.high < self.least else None

    def broken(self, e: Estimate) -> bool:
        """Return whether a control shows what would have made the rule fail."""
        return e.high is not None and e.high < self.least

    def words(self, unit: str, factor: float) -> str:
        bound, least = (f"{factor * x:g}" for x in (self.bound, self.least))
        return f"above {bound}; not reproduced below {least} {unit}".replace(" %", "%")


@dataclass(frozen=True, slots=True)
class Within:
    """A rule that holds if the interval lies within plus or minus `margin`, and fails if it lies beyond."""

    margin: float
    blind: ClassVar[bool] = True

    def holds(self, e: Estimate) -> bool | None:
        assert e.low is not None
        assert e.high is not None
        if -self.margin < e.low and e.high < self.margin:
            return True
        return False if e.low > self.margin or e.high < -self.margin else None

    def broken(self, e: Estimate) -> bool:
        """Return whether a control, with what is known to be better first, shows more than the margin."""
        return e.low is not None and e.low > self.margin

    def words(self, unit: str, factor: float) -> str:
        return f"within ±{factor * self.margin:g} {unit}".replace(" %", "%")


Rule = Above | Within


def verdict(estimates: Sequence[Estimate], rule: Rule) -> Verdict:
    """Return reproduced if the rule holds for all estimates, not reproduced if it fails for one, else not decidable.

    Without an interval, return not decidable.
    """
    if not estimates or any(e.low is None or e.high is None for e in estimates):
        return Verdict.NOT_DECIDABLE
    found = [rule.holds(e) for e in estimates]
    if all(found):
        return Verdict.REPRODUCED
    return Verdict.NOT_REPRODUCED if False in found else Verdict.NOT_DECIDABLE


def judged(
    found: Sequence[Estimate],
    rule: Rule,
    *,
    control: Sequence[Estimate] = (),
    over_control: bool = False,
    given: bool = True,
) -> Verdict:
    """Return the verdict on a claim, given its `control`'s estimates and whether what it takes as `given` holds.

    Reproduced becomes not decidable if the rule is blind and not all estimates of the control break it, or, with
    `over_control`, if the estimate that speaks most against the claim does not lie beyond all of the control.
    """
    said = verdict(found, rule) if given else Verdict.NOT_DECIDABLE
    if said is not Verdict.REPRODUCED:
        return said
    if rule.blind and not (control and all(rule.broken(e) for e in control)):
        return Verdict.NOT_DECIDABLE
    if over_control:
        low = weakest(found, rule).low
        beyond = all(low is not None and e.high is not None and low > e.high for e in control)
        return said if control and beyond else Verdict.NOT_DECIDABLE
    return said


def weakest(estimates: Sequence[Estimate], rule: Rule) -> Estimate:
    """Return the estimate that speaks most against the claim."""
    known = [e for e in estimates if e.low is not None and e.high is not None]
    if len(known) < len(estimates) or not known:
        return next((e for e in estimates if e not in known), NONE)
    if isinstance(rule, Above):
        return min(known, key=lambda e: e.low or 0.0)
    return max(known, key=lambda e: max(abs(e.low or 0.0), abs(e.high or 0.0)))


def nearest(control: Sequence[Estimate], rule: Rule) -> Estimate:
    """Return the control's estimate that decides.

    That is the least beyond what a blind rule allows, or the largest that an effect must lie above.
    """
    known = [e for e in control if e.low is not None and e.high is not None]
    if len(known) < len(control) or not known:
        return next((e for e in control if e not in known), NONE)
    if isinstance(rule, Above):
        return max(known, key=lambda e: e.high or 0.0)
    return min(known, key=lambda e: e.low or 0.0)


def shown(e: Estimate, unit: str, factor: float) -> str:
    """Format an estimate: `1.20 (0.55 to 1.80) percentage points`; a dash if there is no value."""
    if e.value is None:
        return "–"
    if e.level == 1:  # counted
        return f"{factor * e.value:,.0f} {unit}"
    spread = factor * max((abs(x) for x in (e.low, e.high) if x is not None), default=1.0)
    digits = 4 if 0 < spread < 0.1 else 3 if 0 < spread < 1 else 2
    value, *ends = (
        None if x is None else minus(f"{factor * x:.{digits}f}") for x in (e.value, e.low, e.high)
    )
    interval = f" ({ends[0]} to {ends[1]})" if None not in ends else ""
    return f"{value}{interval} {unit}".replace(" %", "%")


def _difference(found: Mapping[str, Mapping[Point, Runs]], more: At, less: At, questions: int) -> Estimate:
    """Estimate the difference of two settings from the runs that both have."""
    ahead, behind = (found[at.arm].get(at.point, {}) for at in (more, less))
    runs = sorted(ahead.keys() & behind.keys())
    a, b = (np.array([values[run] for run in runs]) for values in (ahead, behind))
    return _paired(a, b, questions)


def _paired(a: Floats, b: Floats, questions: int) -> Estimate:
    level = 1 - (1 - LEVEL) / questions
    found = stats.paired_hodges_lehmann(a, b, level)
    reached = found.level is not None and found.level >= level and a.size >= FEWEST_RUNS
    return found if reached else Estimate(found.value, None, None, None)


def _numbers(trial: TrialRecord) -> tuple[tuple[float | None, ...], ...]:
    return tuple((e.train_loss, e.validation_metric, e.test_metric, e.flip_ratio) for e in trial.epochs)


def _words(measure: Measure, spec: StudySpec) -> str:
    if isinstance(measure, LateFlips):
        return f"weights flipped per step in the last {measure.epochs} epochs before signs are frozen"
    if isinstance(measure, Oscillations):
        return (
            f"sign changes of the {measure.more} in the first epoch, minus those of the {measure.less} for the same "
            "gradients"
        )
    return WORDS.get(measure, "validation {metric}").format(metric=spec.task_definition().metric)


def _unit(measure: Measure, spec: StudySpec, *, alone: bool = False) -> tuple[str, float]:
    """Return the unit of a measure's differences or, if it stands alone, of its values."""
    if measure in FLIPS or isinstance(measure, LateFlips):
        return "% of weights", 100.0
    if isinstance(measure, Oscillations):
        return "in 100 steps", 100.0
    sign, unit, factor, _ = UNITS.get(spec.task_definition().metric, RAW)
    return sign.strip() if alone and measure is scored else unit, factor
