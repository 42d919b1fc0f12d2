"""A comparison at a glance: a verdict in one sentence, a table of the best arms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from studies.analysis.compared import Comparison, PairResult, Split
from studies.analysis.estimate import Estimate
from studies.analysis.power import runs_needed
from studies.results.summary import at_target, excludes_zero, settled, so_far, summary
from studies.results.wording import (
    brief,
    brief_share,
    brief_trials,
    capital,
    count,
    gap,
    listed,
    value,
)

ROWS = 6  # of the table
NAMED = 3  # the sentence names up to so many arms, and counts more
VALIDATION: Split = "validation"
TEST: Split = "test"
CONFIRMED: Split = "confirmed"


@dataclass(frozen=True, slots=True)
class BestMethods:
    """The best arms by their median run, as text; `note` says what the numbers are. Empty before there are any."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the terminal, the report and the page open with: one sentence, a table, and a summary in paragraphs."""

    verdict: str
    table: BestMethods
    summary: str


def answer(comparison: Comparison) -> Answer:
    return Answer(verdict(comparison), table(comparison), summary(comparison))


def verdict(comparison: Comparison) -> str:
    """Say what the tests tell apart, and no more: no arm wins by a point estimate."""
    if not comparison.compared_at:
        return "There is nothing to compare yet: not every run has done its first trial."
    if not comparison.final and len(comparison.arms) > 1:
        return f"{capital(so_far(comparison))}; differences between the arms are reported at the end."
    text = _verdict(comparison)
    if not comparison.complete:
        return f"So far, after {count(comparison.compared_at, 'trial')}: {text}."
    return f"{capital(text)}{_stopped(comparison)}."


def _stopped(comparison: Comparison) -> str:
    """Say that the study was decided and ended before all of its runs; else return ""."""
    found = comparison.decision
    if found is None or found.verdict is None or found.after == found.planned:
        return ""
    a, b = (_label(comparison, arm) for arm in (found.a, found.b))
    what = f"that {a} and {b} are {found.verdict}"
    return f"; the study ended after {found.after} of {found.planned} runs, when it was decided {what}"


def _on(comparison: Comparison) -> dict[Split, str]:
    """Return the splits that two arms are compared in, each in words, the first endpoint first."""
    if comparison.endpoint == CONFIRMED:
        validation = f"in the best validation {comparison.metric} so far"
        return {CONFIRMED: "on the test split with fresh seeds", VALIDATION: validation}
    return {VALIDATION: "on the validation split", TEST: "on the test split"}


def table(comparison: Comparison) -> BestMethods:
    """Return the ROWS best arms by their median run: how good, how soon, and whether they are told apart from the
    first.

    The first one is the first that searches: the others are not measured against a control.
    """
    if not comparison.compared_at:
        return BestMethods((), (), "")
    metric, ranking = comparison.metric, comparison.ranking
    columns = ["arm", f"validation {metric}", f"test {metric}"]
    if comparison.endpoint == CONFIRMED:
        columns = ["arm", f"confirmed {metric}", "luck in the climb", "best validation so far"]
    if comparison.plateau is not None:
        columns.append(f"trials to {value(comparison.plateau.target, metric)}, confirmed")
    elif comparison.target is not None:
        columns.append(f"trials to {value(comparison.target, metric)}")
    if len(ranking) > 1 and comparison.final:
        first = _first(comparison, ranking)
        columns.append("against the first" if first == ranking[0] else f"against {_label(comparison, first)}")
    rows = tuple(tuple(_row(comparison, name)) for name in ranking[:ROWS])
    return BestMethods(tuple(columns), rows, _note(comparison))


def _first(comparison: Comparison, names: Sequence[str]) -> str:
    """Return the first arm that is not a control, or the first of all if all are."""
    return next((name for name in names if not comparison.arms[name].is_control), names[0])


def _note(comparison: Comparison) -> str:
    level, runs = f"{comparison.level:.0%}", comparison.runs
    text = f"Medians of {count(runs, 'run')} after {count(comparison.compared_at, 'trial')}"
    if any(
        _bounded(comparison, m.at_budget(VALIDATION).median).low is not None for m in comparison.arms.values()
    ):
        text += f", with intervals of {level} or slightly more in brackets"
    if comparison.target is not None or comparison.plateau is not None:
        text += (
            f"; trials to the target are restricted means, counting at most {comparison.compared_at} per run"
        )
    if (more := len(comparison.ranking) - ROWS) > 0:
        text += f". {count(more, 'more arm')}: see the report"
    return f"{text}."


def _bounded(comparison: Comparison, e: Estimate) -> Estimate:
    """Drop the estimate's interval if, with few runs, its level is lower than the comparison's."""
    return replace(e, low=None) if e.level is None or e.level < comparison.level else e


def _row(comparison: Comparison, name: str) -> Iterator[str]:
    m, first = comparison.arms[name], _first(comparison, comparison.ranking)
    yield f"{m.label} (control)" if m.is_control else m.label
    splits: tuple[Split, ...] = (VALIDATION, TEST)
    if comparison.endpoint == CONFIRMED:
        yield brief(_bounded(comparison, m.at_budget(CONFIRMED).median), comparison.metric)
        yield brief_share(m.climb.luck) if m.climb else "–"
        splits = (VALIDATION,)
    for split in splits:
        yield brief(_bounded(comparison, m.at_budget(split).median), comparison.metric)
    if comparison.plateau is not None:
        yield brief_trials(m.trials_to_plateau.restricted_mean) if m.trials_to_plateau else "–"
    elif comparison.target is not None:
        yield brief_trials(at_target(comparison, m.trials_to_target).restricted_mean)
    if len(comparison.ranking) > 1 and comparison.final:
        pair = None if name == first else _pair(comparison, first, name)
        ahead = _ahead(comparison, pair, comparison.endpoint) if pair else None
        alike = "similar" if pair and _alike(comparison, name, first) else "not told apart"
        yield "" if name == first else {None: alike, first: "worse", name: "better"}[ahead]


def _verdict(comparison: Comparison) -> str:
    arms, runs = comparison.arms, comparison.runs
    scored = [name for name in comparison.ranking if arms[name].at_budget(VALIDATION).n]
    if not scored:
        return "no arm has a result, because every trial failed"
    best = arms[scored[0]]
    if len(arms) == 1:
        median = brief(_bounded(comparison, best.at_budget(VALIDATION).median), comparison.metric)
        return (
            f"{best.label} is the only arm, so nothing is compared; the best validation "
            f"{comparison.metric} of its median run is {median}"
        )
    if len(scored) == 1:
        return f"only {best.label} has a result: every trial of the other {'arm' if len(arms) == 2 else 'arms'} failed"
    needed = runs_needed(len(comparison.pairs), comparison.level)
    if runs < needed and comparison.decision is None:
        return (
            f"nothing is decided: with {count(runs, 'run')} per arm no test{_adjusted(comparison)} can tell two arms "
            f"apart; this takes at least {needed} runs"
        )
    return _of_two(comparison, *comparison.pairs) if len(arms) == 2 else _of_many(comparison, scored)


def _of_two(comparison: Comparison, pair: PairResult) -> str:
    a, b = comparison.labels(pair)
    winners = {split: _ahead(comparison, pair, split) for split in _on(comparison)}
    sooner = _sooner(comparison, pair)
    alike = _alike(comparison, pair.a, pair.b)
    if not (any(winners.values()) or sooner):
        if alike:
            return (
                f"{a} and {b} are similar: with fresh seeds they differ by less than one training's standard "
                "deviation over seeds"
            )
        how = (
            ""
            if _control(comparison, pair)
            else f", either in {comparison.metric} or in the trials they need"
        )
        return f"no difference is shown between {a} and {b}{how}"
    text = _better(comparison, pair, winners)
    if alike:
        text += "; with fresh seeds the two differ by less than one training's standard deviation over seeds"
    if _control(comparison, pair):  # how soon a control gets anywhere is luck
        return text
    return f"{text}; {sooner or 'no difference is shown in the trials they need'}"


def _control(comparison: Comparison, pair: PairResult) -> bool:
    return any(comparison.arms[name].is_control for name in (pair.a, pair.b))


def _better(comparison: Comparison, pair: PairResult, winners: Mapping[Split, str | None]) -> str:
    """Say which arm ends better in each split, and by how much; if a control does, that the other ends worse."""
    on, labels = _on(comparison), dict(zip((pair.a, pair.b), comparison.labels(pair), strict=True))
    found = {split: winner for split, winner in winners.items() if winner}
    if not found:
        return f"no difference in {comparison.metric} is shown between {' and '.join(labels.values())}"
    by = {split: gap(pair.at_budget(split).paired.hodges_lehmann, comparison.metric) for split in found}
    (first, winner), *rest = found.items()
    (loser,) = labels.keys() - {winner}
    subject, verb, other = winner, "better", loser
    if comparison.arms[winner].is_control and not comparison.arms[loser].is_control:
        subject, verb, other = loser, "worse", winner
    text = f"{labels[subject]} is {verb} than {labels[other]} {on[first]}, by {by[first]}"
    if not rest:
        (second,) = on.keys() - {first}
        return f"{text}, but no difference is shown {on[second]}"
    ((second, again),) = rest
    turned = {"better": "worse", "worse": "better"}[verb]
    return f"{text}, {'and' if again == winner else f'but {turned}'} {on[second]}, by {by[second]}"


def _sooner(comparison: Comparison, pair: PairResult) -> str:
    """Say which of the two needs fewer trials to the target or the plateau; return "" if neither is shown to."""
    if _control(comparison, pair):
        return ""
    if comparison.plateau is not None and pair.trials_to_plateau is not None:
        saving = pair.trials_to_plateau
        plateau = value(comparison.plateau.value, comparison.metric)
        goal = f"come within one training's standard deviation over seeds of the plateau, {plateau}"
    elif comparison.target is not None:
        saving = at_target(comparison, pair.trials_to_target).difference
        goal = f"reach a validation {comparison.metric} of {value(comparison.target, comparison.metric)}"
    else:
        return ""
    if saving.value is None or not excludes_zero(saving):
        return ""
    soonest = pair.a if saving.value > 0 else pair.b
    fewer = brief_trials(saving if saving.value > 0 else saving.opposite(), " fewer trials")
    return f"{_label(comparison, soonest)} needs on average {fewer} to {goal}"


def _of_many(comparison: Comparison, scored: Sequence[str]) -> str:
    """Say which arms the best one is told apart from: of those that none is told better than, the best by median
    run."""

    def beats(one: str, split: Split) -> list[str]:
        return [
            name
            for name in scored
            if name != one and _ahead(comparison, _pair(comparison, one, name), split) == one
        ]

    on = _on(comparison)
    head, second = on
    beaten = {loser for name in scored for loser in beats(name, head)}
    best = [name for name in scored if name not in beaten] or scored
    first = _first(comparison, (*best, *scored))
    others = [name for name in scored if name != first]
    than, than_on_second = beats(first, head), beats(first, second)
    ahead = [name for name in others if first in beats(name, head)]
    told = {*than, *ahead}
    alike = [name for name in others if name not in told and _alike(comparison, first, name)]
    rest = [_label(comparison, name) for name in others if name not in told and name not in alike]
    label, which = _label(comparison, first), "whose median run is the best"
    if first != scored[0]:
        which = "the best arm that searches"
    text = f"{label} is better than {_some(than, others)} {on[head]}"
    text += f" and {'' if than == than_on_second else f'than {_some(than_on_second, others)} '}{on[second]}"
    if not than:
        text = f"no difference is shown between {label}, {which}, and the {count(len(others) - len(ahead), 'other')}"
        if than_on_second:
            text += f" {on[head]}; it is better than {_some(than_on_second, others)} {on[second]}"
    elif rest:
        text += (
            f"; no difference from {listed(rest) if len(rest) <= NAMED else f'{len(rest)} others'} is shown "
            f"{on[head]}"
        )
    if alike:
        labels = (
            listed([_label(comparison, name) for name in alike])
            if len(alike) <= NAMED
            else f"{len(alike)} of them"
        )
        text += f"; it is similar to {labels}, within one training's standard deviation over seeds"
    if ahead:  # controls, as it is the best arm that searches
        losing = (
            f"worse than {listed([_label(comparison, name) for name in ahead])}, "
            f"which search{'es' if len(ahead) == 1 else ''} nothing"
        )
        text = f"{label}, {which}, is {losing}" if ahead == others else f"{text}; it is {losing}"
    failed = len(comparison.arms) - len(scored)
    return text + (f"; {count(failed, 'arm')} failed in every trial" if failed else "")


def _some(beaten: Sequence[str], others: Sequence[str]) -> str:
    if len(beaten) == len(others):
        return f"each of the {len(others)} others"
    return f"{len(beaten) or 'none'} of the {len(others)} others"


def _ahead(comparison: Comparison, pair: PairResult, split: Split) -> str | None:
    """Return the better arm of a pair, or None unless both the test and the interval tell the two apart."""
    test = pair.at_budget(split).paired
    shift = test.hodges_lehmann
    if shift.value is None or not (settled(comparison, test) and excludes_zero(shift)):
        return None
    ahead = (shift.value > 0) == (comparison.direction == "maximize")
    return pair.a if ahead else pair.b


def _pair(comparison: Comparison, one: str, other: str) -> PairResult:
    return next(pair for pair in comparison.pairs if {pair.a, pair.b} == {one, other})


def _alike(comparison: Comparison, one: str, other: str) -> bool:
    """Return whether the two are confirmed to be similar."""
    found = _pair(comparison, one, other).equivalence
    return found is not None and found.similar and comparison.endpoint == CONFIRMED


def _adjusted(comparison: Comparison) -> str:
    pairs = len(comparison.pairs)
    return f", adjusted for {pairs} pairs," if pairs > 1 else ""


def _label(comparison: Comparison, arm: str) -> str:
    return comparison.arms[arm].label
