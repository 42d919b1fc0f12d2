"""A comparison in plain words, each number with its interval."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from studies.analysis.compared import ArmResult, Comparison, Paired, PairResult, Split
from studies.analysis.estimate import Estimate
from studies.analysis.stats import BOOTSTRAP_FROM
from studies.results import plateau, wording
from studies.results.climb import climbs, fresh, similar
from studies.results.wording import (
    capital,
    count,
    difference,
    listed,
    p_value,
    setting,
    trials,
    value,
)
from trainers.data import DATASETS
from trainers.tasks import TASKS, Proxy

CROWD = 4  # more arms than these hide each other's runs and intervals in a figure, and make a text too long


class _OfShare(Protocol):
    """An entry for one target."""

    @property
    def share(self) -> float: ...


OfShare = TypeVar("OfShare", bound=_OfShare)


def summary(comparison: Comparison) -> str:
    """Say what was compared, how good each arm got, how many trials each needed, and what stays open: a paragraph each.

    With more than CROWD arms, rank them by how good they got, and give only those pairs with the first arm that are
    told apart.
    """
    arms = list(comparison.arms.values())
    told = _many if len(arms) > CROWD else _few
    paragraphs = [*told(comparison, arms), _limits(comparison)]
    texts = (" ".join(sentence for sentence in sentences if sentence) for sentences in paragraphs)
    return "\n\n".join(text for text in texts if text)


def _few(comparison: Comparison, arms: Sequence[ArmResult]) -> Iterator[Iterable[str]]:
    """Yield the paragraphs with every number and its interval, and every pair with the first arm."""
    tuned = searching(arms)
    names = [f"{m.label} ({count(m.dimensions, 'hyperparameter')})" for m in tuned]
    yield [_compared(comparison, listed(names))]
    if not comparison.compared_at:
        return
    pairs = _with_first(comparison)
    if comparison.endpoint == "confirmed":
        yield [
            _confirmed(comparison, _medians(comparison, arms, "confirmed", wording.estimate)),
            *(_better(comparison, pair, "confirmed") for pair in pairs),
            *(similar(comparison, pair) for pair in pairs),
        ]
        yield [climbs(comparison)]
        searched = [pair for pair in pairs if not _has_control(comparison, pair)]
        yield [
            plateau.needed(comparison, tuned, trials),
            *(plateau.saved(comparison, pair) for pair in searched),
            *(plateau.extra(comparison, pair, halfway(comparison)) for pair in searched),
        ]
    reached = _reached(comparison, _medians(comparison, arms, "validation", wording.estimate))
    yield [reached, *(_better(comparison, pair, "validation") for pair in pairs)]
    yield [_tested(comparison, _medians(comparison, arms, "test", wording.estimate), pairs)]
    both = [pair for pair in pairs if not _has_control(comparison, pair)]
    more = [told(comparison, pair) for pair in both for told in (_saved, _extra)]
    several = "The intervals are not adjusted for the number of pairs." if len(comparison.pairs) > 1 else ""
    yield [_needed(comparison, tuned, trials), *more, several]


def _many(comparison: Comparison, arms: Sequence[ArmResult]) -> Iterator[Iterable[str]]:
    """Yield the paragraphs with arms ranked, without intervals, and only pairs with the first arm that are told
    apart."""
    yield [_compared(comparison, count(len(searching(arms)), "arm"))]
    if not comparison.compared_at:
        return
    pairs = _with_first(comparison)
    if comparison.endpoint == "confirmed":
        medians = _ranking(comparison, arms, "confirmed")
        yield [
            _confirmed(comparison, medians, ", from best to worst,"),
            *_told(comparison, pairs, "confirmed"),
        ]
        yield [climbs(comparison, brief=True)]
        yield [plateau.needed(comparison, _nearest(searching(arms)), _bare)]
    reached = _reached(comparison, _ranking(comparison, arms, "validation"), ", from best to worst,")
    yield [reached, *_told(comparison, pairs, "validation")]
    told = [pair for pair in pairs if settled(comparison, pair.test_at_budget.paired)]
    yield [_tested(comparison, _ranking(comparison, arms, "test"), told)]
    needed = _needed(comparison, _soonest(comparison, searching(arms)), _bare)
    yield [needed, "The report's tables give the intervals and all pairs."]


def _told(comparison: Comparison, pairs: Sequence[PairResult], split: Split) -> Iterator[str]:
    """Yield the pairs with the first arm that are told apart, and how many are not."""
    told = [pair for pair in pairs if settled(comparison, pair.at_budget(split).paired)]
    if len(told) > CROWD:
        yield f"Paired by run, {_differs(comparison, told)}."
    else:
        yield from (_better(comparison, pair, split) for pair in told)
    if others := len(pairs) - len(told):
        which = "remaining arm" if told else "other arm"
        first = comparison.arms[_first(comparison)].label
        yield f"{capital(first)} is not told apart from the {count(others, which)}."


def searching(arms: Sequence[ArmResult]) -> list[ArmResult]:
    """Return the arms that are not controls; all arms if there are no others."""
    return [m for m in arms if not m.is_control] or list(arms)


def _has_control(comparison: Comparison, pair: PairResult) -> bool:
    """Return whether one of the two is a control, for which how soon it gets somewhere is luck alone."""
    return any(comparison.arms[name].is_control for name in (pair.a, pair.b))


def _limits(comparison: Comparison) -> Iterator[str]:
    """Yield what the comparison cannot say."""
    if not comparison.compared_at:
        yield "Not every run has done its first trial, so there is nothing to compare yet."
        return
    if comparison.pairs and not comparison.final:
        yield (
            "Differences between the arms are reported only at the end: if they were tested at every look, equal arms "
            "would be found different in at least one study in five."
        )
    if comparison.start:
        yield _seen(comparison)
    yield _idle(comparison)
    if comparison.runs == 1:
        yield "One run per arm says nothing about how much runs differ, so there are no intervals."
    elif comparison.runs < BOOTSTRAP_FROM:
        yield "There are too few runs for intervals of numbers of trials."
    unequal = [check.what for check in comparison.parity if not check.equal]
    if unequal:
        yield f"Not equal between the arms: {listed(unequal)}."
    yield _at_bounds(comparison)


def _at_bounds(comparison: Comparison) -> str:
    """Say which arms' best trials lie at an end of a range."""
    found = []
    for m in comparison.arms.values():
        if m.best is not None and m.best.at_bounds:
            given = m.best.hyperparameters
            values = [
                f"{name} = {setting(given[name])} ({end} end)" for name, end in m.best.at_bounds.items()
            ]
            found.append(f"{listed(values)} with {m.label}")
    if not found:
        return ""
    return (
        f"Some best trials lie at an end of a range, beyond which values may be better: {'; '.join(found)}."
    )


def _seen(comparison: Comparison) -> str:
    drawn = DATASETS[TASKS[comparison.task].dataset].drawn_test
    parts = "validation and test samples" if drawn else "validation samples"
    return (
        f'Every training starts from the network "{comparison.start}". If that network was trained on the same data, '
        f"it has seen {parts} of the runs, and the {comparison.metric} on them is optimistic."
    )


def _idle(comparison: Comparison) -> str:
    """Say which arms' initial_magnitude does nothing, because their latent weights are not drawn."""
    arms = comparison.arms.values()
    ours = [m for m in arms if isinstance(m.hyperparameters.get("initial_magnitude"), Mapping | tuple)]
    before = [m.label for m in ours if _has_first_step(comparison, m)]
    others = [m.label for m in ours if comparison.start and m.label not in before]
    texts = []
    if before:
        idle = "has no effect: latent weights come from the first step."
        texts.append(f"The initial_magnitude of {listed(before)} {idle}")
    if others:
        idle = "has no effect if that network has real-valued weights."
        texts.append(f"The initial_magnitude of {listed(others)} {idle}")
    return " ".join(texts)


def _has_first_step(comparison: Comparison, arm: ArmResult) -> bool:
    """Return whether the arm trains in two steps, as its task or a proxy says."""
    task = TASKS[arm.task or comparison.task]
    own: dict[str, Any] = dict(arm.proxy or {})
    shared: dict[str, Any] = dict(comparison.proxy)
    return Proxy(**own).over(Proxy(**shared), task).of(task).recipe.first_step is not None


def excludes_zero(e: Estimate) -> bool:
    """Return whether zero lies outside the interval; False if there is no interval."""
    return e.low is not None and e.high is not None and (e.low > 0 or e.high < 0)


def halfway(comparison: Comparison) -> int:
    """Return the trial at which the text quotes `extra_trials`: half of those compared, rounded up."""
    return (comparison.compared_at + 1) // 2


def at_target(comparison: Comparison, entries: Sequence[OfShare]) -> OfShare:
    """Return the one of the `trials_to_target` entries that is for the endpoint's target."""
    return next(entry for entry in entries if entry.share == comparison.target_share)


def _compared(comparison: Comparison, who: str) -> str:
    arms = list(comparison.arms.values())
    tuned, controls = searching(arms), [m for m in arms if m.is_control]
    task = comparison.task_label
    if task != comparison.task:
        task = f"a {task}," if task.startswith("proxy") else f"{task},"
    size = f"{count(comparison.runs, 'independent run')} of {count(comparison.trials, 'trial')}"
    were = "were each" if len(tuned) > 1 else "was"
    if len(controls) == len(arms):
        text = f"{capital(who)} {were} trained on {task} in {size}, with nothing searched."
    else:
        text = f"{capital(who)} {were} tuned on {task} in {size}{_searchers(tuned)}."
        if controls:
            names = listed([m.label for m in controls])
            what = "are controls" if len(controls) > 1 else "is a control"
            text += f" {capital(names)} {what}: trained equally often, with nothing searched."
    if not comparison.complete:
        text += (
            f" The study is unfinished: {comparison.trials_done} of {comparison.trials_planned} trials "
            "are done."
        )
        if comparison.decision and comparison.decision.after:
            looked_at = count(comparison.runs, "complete run")
            text += f" Only the first {looked_at} {'is' if comparison.runs == 1 else 'are'} considered."
    return text


def _searchers(tuned: Sequence[ArmResult]) -> str:
    """Return ` by the ax searcher, the first 5 of each run without its model`, or that for each of several
    searchers."""
    by: dict[tuple[str, int], list[str]] = {}
    for m in tuned:
        by.setdefault((m.searcher or "", m.initial_trials if m.model_based_trials else 0), []).append(m.label)
    texts = []
    for (searcher, initial), labels in by.items():
        model = f" (the first {count(initial, 'trial')} of each run without its model)" if initial else ""
        whom = "" if len(by) == 1 else f"{listed(labels)} "
        texts.append(f"{whom}by the {searcher} searcher{model}")
    return f" {texts[0]}" if len(texts) == 1 else f": {'; '.join(texts)}"


def _confirmed(comparison: Comparison, medians: str, order: str = "") -> str:
    metric = comparison.metric
    return (
        f"The mean test {metric} of the median run's incumbent after {count(comparison.compared_at, 'trial')}, "
        f"trained again with {fresh(comparison)} that no searcher saw, is{order} {medians}."
    )


def _reached(comparison: Comparison, medians: str, order: str = "") -> str:
    after = count(comparison.compared_at, "trial")
    if not comparison.complete:
        after += ", which every run has done"
    return f"After {after}, the median run's best validation {comparison.metric} is{order} {medians}."


def _medians(
    comparison: Comparison,
    arms: Sequence[ArmResult],
    split: Split,
    show: Callable[[Estimate, str], str],
) -> str:
    parts = []
    for m in arms:
        end = m.at_budget(split)
        middle = show(end.median, comparison.metric) if end.n else "none"
        some = f" ({end.n} of {m.runs} runs have a result)" if end.n < m.runs else ""
        parts.append(f"{middle} with {m.label}{some}")
    return listed(parts)


def _ranking(comparison: Comparison, arms: Sequence[ArmResult], split: Split) -> str:
    """Return the medians from the best on, without intervals."""
    sign = -1 if comparison.direction == "maximize" else 1

    def median(arm: ArmResult) -> float:
        middle = arm.at_budget(split).median.value
        return math.inf if middle is None else sign * middle

    ranked = sorted(arms, key=median)
    return _medians(comparison, ranked, split, lambda e, metric: value(e.value, metric))


def _soonest(comparison: Comparison, arms: Sequence[ArmResult]) -> list[ArmResult]:
    """Sort the arms so that those whose runs need the fewest trials to the target come first."""
    if comparison.target is None:
        return list(arms)

    def needed(arm: ArmResult) -> float:
        mean = at_target(comparison, arm.trials_to_target).restricted_mean.value
        return math.inf if mean is None else mean

    return sorted(arms, key=needed)


def _nearest(arms: Sequence[ArmResult]) -> list[ArmResult]:
    """Sort the arms so that those whose runs need the fewest trials to get near the plateau come first."""

    def needed(arm: ArmResult) -> float:
        mean = arm.trials_to_plateau.restricted_mean.value if arm.trials_to_plateau else None
        return math.inf if mean is None else mean

    return sorted(arms, key=needed)


def _bare(mean: Estimate) -> str:
    return trials(replace(mean, low=None))


def _first(comparison: Comparison) -> str:
    """Return the first arm that searches, or the first of all if none does."""
    names = list(comparison.arms)
    return next((name for name in names if not comparison.arms[name].is_control), names[0])


def _with_first(comparison: Comparison) -> list[PairResult]:
    """Return the pairs with the first arm; none before the end."""
    first = _first(comparison)
    return [pair for pair in comparison.pairs if comparison.final and first in (pair.a, pair.b)]


def so_far(comparison: Comparison) -> str:
    """Say how far an unfinished study is."""
    if not comparison.complete or comparison.confirmations is None:
        return f"so far {comparison.trials_done} of {comparison.trials_planned} trials are done"
    done, planned = comparison.confirmations.done, comparison.confirmations.planned
    return f"all trials and {done} of {planned} confirmations are done"


def settled(comparison: Comparison, test: Paired) -> bool:
    """Return whether a paired test tells the two arms of a pair apart."""
    return test.p_holm is not None and test.p_holm < 1 - comparison.level


def _better(comparison: Comparison, pair: PairResult, split: Split) -> str:
    a, b = comparison.labels(pair)
    return (
        f"The paired difference, {a} minus {b}, is "
        f"{_apart(comparison, pair.at_budget(split).paired, 'the two are not told apart')}."
    )


def _tested(comparison: Comparison, medians: str, pairs: Sequence[PairResult]) -> str:
    text = (
        "Validation values are optimistic because trials were chosen by them. On the test split, which no searcher "
        f"saw, the same networks' median {comparison.metric} is {medians}"
    )
    if len(pairs) > CROWD:
        return f"{text}; there {_differs(comparison, pairs)}."
    for pair in pairs:
        a, b = comparison.labels(pair)
        who = f", {a} minus {b}," if len(pairs) > 1 else ""
        test = pair.test_at_budget.paired
        text += (
            f"; there the paired difference{who} is {_apart(comparison, test, 'the two are not told apart')}"
        )
    return f"{text}."


def _differs(comparison: Comparison, pairs: Sequence[PairResult]) -> str:
    """Say which arms are told apart from the first one, if there are too many to give their numbers."""
    which = _first(comparison)
    others = listed([comparison.arms[pair.b if pair.a == which else pair.a].label for pair in pairs])
    first = comparison.arms[which].label
    return f"{first} is told apart from {others} (Holm-adjusted {_test(comparison)} tests)"


def _apart(comparison: Comparison, test: Paired, unsettled: str) -> str:
    """Give a paired difference with its interval and p, and what they leave open."""
    shift, p = test.hodges_lehmann, test.p_holm
    text = "not defined, because too few runs have a result"
    if shift.value is not None:
        text = difference(shift, comparison.metric)
    if shift.low is None or p is None:
        return text
    text += f", {'Holm-adjusted ' if len(comparison.pairs) > 1 else ''}{_test(comparison)} {p_value(p)}"
    if not settled(comparison, test):
        return f"{text}, so {unsettled}"
    if not excludes_zero(shift):  # with ties the closed interval is wider than the test
        text += (
            "; the test tells the two apart, but the interval reaches zero: the difference may be negligible"
        )
    return text


def _test(comparison: Comparison) -> str:
    return "signed-rank" if comparison.decision is None else "anytime-valid"


def _needed(comparison: Comparison, arms: Sequence[ArmResult], show: Callable[[Estimate], str]) -> str:
    if comparison.target is None:
        return "Too few runs have a trial that did not fail or diverge to set a target."
    parts = []
    for m in arms:
        entry = at_target(comparison, m.trials_to_target)
        mean = show(entry.restricted_mean)
        parts.append(f"{mean} with {m.label}, where {entry.reached} of {m.runs} runs reach it")
    metric = comparison.metric
    return (
        f"The target is a validation {metric} of {value(comparison.target, metric)}, which at least "
        f"{comparison.target_share:.0%} of all runs reach. Counting at most "
        f"{count(comparison.compared_at, 'trial')} per run, the mean number of trials to reach it is "
        f"{'; '.join(parts)}."
    )


def _saved(comparison: Comparison, pair: PairResult) -> str:
    saving = at_target(comparison, pair.trials_to_target).difference
    if saving.value is None:
        return ""
    a, b = comparison.labels(pair)
    text = f"{capital(b)} thus takes {trials(saving)} more trials than {a}"
    if saving.value < 0:
        text = f"{capital(b)} thus takes {trials(saving.opposite())} fewer trials than {a}"
    if saving.low is None:
        return f"{text}."
    if not excludes_zero(saving):
        return f"{text}; the interval includes zero, so neither is shown to need fewer."
    return f"{text}{_elsewhere(comparison, pair)}."


def _elsewhere(comparison: Comparison, pair: PairResult) -> str:
    """Say at which other targets the difference in trials is not told from zero."""
    share = comparison.target_share
    harder = {
        entry.target: entry.share < share
        for entry in pair.trials_to_target
        if entry.difference.low is not None and not excludes_zero(entry.difference)
    }
    if not harder:
        return ""
    names = list(dict.fromkeys(value(target, comparison.metric) for target in harder))
    kind = "harder" if all(harder.values()) else "other" if any(harder.values()) else "easier"
    return f"; at the {kind} target{'s' * (len(harder) > 1)} {listed(names)} the interval includes zero"


def _extra(comparison: Comparison, pair: PairResult) -> str:
    found = next(e for e in pair.extra_trials if (e.arm, e.curve) == (pair.b, "mean"))
    names, n = comparison.labels(pair), halfway(comparison)
    return plateau.extra_after(found, names, "validation", n, comparison.compared_at)
