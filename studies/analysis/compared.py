"""The comparison of a study's arms: every number of the report, the content of comparison.json.

`compare` makes it, the export and the service write it, the client reads it back. Objectives are in the metric's own
unit; the export's dictionary explains each key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from studies.analysis.estimate import Estimate, Number
from studies.analysis.failures import Failure
from studies.design.space import Dimension, to_json
from studies.encoding import number
from trainers.hyperparameters import Value

# a run's final value: its best validation objective, the test metric of the same network, or the mean test metric of
# its hyperparameters with fresh seeds
Split = Literal["validation", "test", "confirmed"]
# keys added later, left out if null, so that the files of older studies stay the same
LATER = {"decision", "plateau", "trials_to_plateau", "extra_trials_confirmed", "tied", "published"}
# and the keys of an arm that are left out unless it has its own
OWN = {"task", "proxy"}
# the order of these keys in comparison.json without a target, kept from the first version
WITHOUT_TARGET = ("share", "success_rate", "restricted_mean", "target", "reached", "still_short", "times")
Given = (
    Value | tuple[Value, ...] | Mapping[str, Value]
)  # to a hyperparameter by a study: one value, a choice, or a range


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AtBudget:
    """An arm's runs at the trial where arms are compared; `n` of them have a value."""

    n: int
    median: Estimate
    mean: Estimate
    values: tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class Climb:
    """The gain of an arm's incumbents from trial 1 to the trial where arms are compared; positive is better.

    Means over the `n` runs that are confirmed at both trials. `seen` is the gain in the best validation objective so
    far, `confirmed` the gain in the test metric of the hyperparameters with fresh seeds. `luck` is the share of the
    seen climb that is not confirmed: 1 for a control, null if nothing climbed.
    """

    n: int
    seen: Estimate
    confirmed: Estimate
    luck: Estimate


@dataclass(frozen=True, slots=True)
class ToTarget:
    """How soon an arm's runs reach the objective that `share` of all runs reach; null without such a target, or
    if it would be the worst value, as which a trial that diverged counts.

    `still_short` is the share of runs short of the target after 0, 1, ... trials; `times` has null for a run that does
    not reach it.
    """

    share: float
    target: Number | None
    reached: int | None
    success_rate: Estimate
    restricted_mean: Estimate
    still_short: tuple[float, ...] | None
    times: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Plateau:
    """The level that the best arm reaches: the median of its runs' confirmed values at the budget.

    `target` is worse by `margin`, the standard deviation of one training over seeds.
    """

    arm: str
    value: Number
    margin: Number
    target: Number


@dataclass(frozen=True, slots=True)
class ToPlateau:
    """How soon the confirmed curves of an arm's runs get within the margin of the plateau; fields as in `ToTarget`."""

    reached: int
    success_rate: Estimate
    restricted_mean: Estimate
    still_short: tuple[float, ...]
    times: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class BestTrial:
    """An arm's best trial; `at_bounds` names the hyperparameters that lie at an end of their range."""

    run: int
    trial: int
    objective: Number | None
    test_metric: Number | None
    hyperparameters: Mapping[str, Value]
    at_bounds: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ArmResult:
    """An arm's settings, what became of its trials, how good it got and how soon.

    A control, which searches nothing, has no searcher.
    """

    label: str
    method: str
    searcher: str | None
    dimensions: int
    hyperparameters: Mapping[str, Given]
    runs: int
    trials: int
    initial_trials: int
    model_based_trials: int
    sources: Mapping[str, int]
    max_retries: int
    retries: int
    trials_done: int
    completed: int
    diverged: int
    failed: int
    suggest_seconds: float | None
    train_seconds: float | None
    best_at_budget: AtBudget | None
    test_at_budget: AtBudget | None
    confirmed_at_budget: AtBudget | None
    climb: Climb | None
    trials_to_target: tuple[ToTarget, ...]
    best: BestTrial | None
    errors: tuple[Failure, ...]
    tied: int | None = None  # runs in which several trials share the best objective
    trials_to_plateau: ToPlateau | None = None
    task: str | None = None  # its own, like `proxy`
    proxy: Mapping[str, int | float | str] | None = None

    @property
    def is_control(self) -> bool:
        """Whether it searches nothing."""
        return self.searcher is None

    def at_budget(self, split: Split) -> AtBudget:
        """Return the arm's values on this split. Raises ValueError if there is nothing to compare yet."""
        found = _on(split, self.best_at_budget, self.test_at_budget, self.confirmed_at_budget)
        if found is None:
            raise ValueError(f"{self.label} has no {split} results to compare yet")
        return found


@dataclass(frozen=True, slots=True)
class Unpaired:
    """Two arms compared without the pairing of runs. `p_holm` is adjusted for all pairs of arms."""

    hodges_lehmann: Estimate
    p_a_better: Estimate
    p: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """Two arms compared run by run, the main analysis. `p_holm` is adjusted for all pairs of arms."""

    pairs: int
    a_better: int
    equal: int
    b_better: int
    hodges_lehmann: Estimate
    p: float | None
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between the final values of two arms' runs, a minus b."""

    unpaired: Unpaired
    paired: Paired


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether two arms are similar: the 90 % interval of their paired confirmed difference is within ± `margin`.

    This amounts to two one-sided tests at 5 %. `margin` is the standard deviation of one training over seeds.
    """

    margin: Number
    difference: Estimate
    similar: bool


@dataclass(frozen=True, slots=True)
class Saving:
    """Mean trials of b to the target that `share` of all runs reach, minus mean trials of a."""

    share: float
    target: Number | None
    difference: Estimate


@dataclass(frozen=True, slots=True)
class ExtraTrialsAt:
    """The trials beyond `trial` that one arm needs to get where the other is after `trial`.

    Null means "not within the trials compared": at least `at_least` more. If that is null too, the other arm has no
    value after `trial`.
    """

    trial: int
    extra: int | None
    low: int | None
    high: int | None
    at_least: int | None


@dataclass(frozen=True, slots=True)
class ExtraTrials:
    """How many more trials `arm` needs to get where `reference` is, on the mean or the median curve of the runs."""

    arm: str
    reference: str
    curve: str
    level: float | None
    by_trial: tuple[ExtraTrialsAt, ...]


@dataclass(frozen=True, slots=True)
class PairResult:
    """The comparison of two arms, a and b."""

    a: str
    b: str
    best_at_budget: Difference
    test_at_budget: Difference
    confirmed_at_budget: Difference | None
    equivalence: Equivalence | None
    trials_to_target: tuple[Saving, ...]
    extra_trials: tuple[ExtraTrials, ...]
    trials_to_plateau: Estimate | None = None  # mean trials of b minus mean trials of a
    extra_trials_confirmed: tuple[ExtraTrials, ...] | None = None

    def at_budget(self, split: Split) -> Difference:
        """Return the difference on this split. Raises ValueError if nothing is confirmed."""
        found = _on(split, self.best_at_budget, self.test_at_budget, self.confirmed_at_budget)
        if found is None:
            raise ValueError(f"nothing is confirmed of {self.a} and {self.b}")
        return found


@dataclass(frozen=True, slots=True)
class Confirmations:
    """The trainings of incumbents with `seeds` fresh seeds each.

    `planned` counts the trainings for runs that are over, `done` and `failed` the stored ones. `complete` says that all
    runs are over and all their incumbents confirmed. `seed_sd` is the standard deviation of one training's test metric
    over seeds, pooled over the incumbents at the budget of which none diverged; null with one seed.
    """

    seeds: int
    planned: int
    done: int
    failed: int
    complete: bool
    seed_sd: Number | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the first two arms, a and b, of a study that stops when it is decided differ in `endpoint`.

    `verdict` is the answer after `after` complete runs of at most `planned`; null if there is none so far.
    """

    a: str
    b: str
    endpoint: Split
    after: int
    planned: int
    verdict: Literal["different", "similar"] | None

    @property
    def over(self) -> bool:
        """Whether no further run is awaited."""
        return self.verdict is not None or self.after == self.planned


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be equal between the arms, whether it is, and each arm's value."""

    what: str
    equal: bool
    values: Mapping[str, Given]


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """A result that `source` prints for a method, none of ours. `arm` is the study's arm to compare, null for none.

    `test` is the test metric, `sd` its standard deviation over the paper's trainings, null if the study file does not
    give it.
    """

    name: str
    arm: str | None
    test: Number
    sd: Number | None
    source: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a study's arms."""

    study: str
    name: str
    task: str
    proxy: Mapping[str, int | float | str]
    start: str | None
    task_label: str
    metric: str
    direction: Literal["maximize", "minimize"]
    searcher: str
    seed: int
    runs: int
    trials: int
    trials_done: int
    trials_planned: int
    complete: bool
    compared_at: int
    level: float
    resamples: int
    confirmations: Confirmations | None
    endpoint: Split  # the value that is claimed first
    arms: Mapping[str, ArmResult]
    ranking: tuple[str, ...]
    target: Number | None
    target_share: float
    pairs: tuple[PairResult, ...]
    parity: tuple[Check, ...]
    plateau: Plateau | None = None
    decision: Decision | None = None
    published: tuple[PublishedResult, ...] | None = None  # null for none

    @property
    def final(self) -> bool:
        """Whether all results are in, so that arms may be called different: before that, no test is shown."""
        return self.complete and (self.confirmations is None or self.confirmations.complete)

    def beside(self, row: PublishedResult) -> tuple[AtBudget | None, AtBudget | None]:
        """Return the test and the confirmed values of the row's arm; None for a missing one or a row without an arm."""
        arm = self.arms[row.arm] if row.arm is not None else None
        return (arm.test_at_budget, arm.confirmed_at_budget) if arm else (None, None)

    def labels(self, pair: PairResult) -> tuple[str, str]:
        """Return the names of the pair's arms, a and b, in running text."""
        return self.arms[pair.a].label, self.arms[pair.b].label

    def to_json(self) -> dict[str, Any]:
        """Return the content of comparison.json as JSON values: keys in the order of the fields, infinities as text."""
        found: dict[str, Any] = _json(self)
        return found


def _on(split: Split, validation: T, test: T, confirmed: T) -> T:
    return {"validation": validation, "test": test, "confirmed": confirmed}[split]


def given(dimension: Dimension) -> Given:
    """Return what a study gives a hyperparameter, as its file writes it."""
    written: Value | list[Value] | dict[str, Value] = to_json(dimension)
    return tuple(written) if isinstance(written, list) else written


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return number(value)
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, tuple):
        return [_json(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _json(each) for key, each in value.items()}
    keys = WITHOUT_TARGET if isinstance(value, ToTarget) and value.target is None else value.__slots__
    found = {key: getattr(value, key) for key in keys}
    later = LATER | OWN if isinstance(value, ArmResult) else LATER
    return {key: _json(each) for key, each in found.items() if each is not None or key not in later}
