"""A comparison in one paragraph of plain words, each number with its interval."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from studies.stats import BOOTSTRAP_FROM

Estimate = Mapping[str, Any]

# metric: its sign, the unit of a difference, factor, decimals
UNITS = {"accuracy": ("%", "percentage points", 100.0, 1)}
RAW = ("", "", 1.0, 4)
CROWD = 4  # more methods than these hide each other's runs and intervals in a figure, and each other's words


def summary(comparison: Mapping[str, Any]) -> str:
    """What was compared, how good each method got, how many trials each needed, and what stays open.

    Of more than CROWD methods it says in their order how good they got, and of the pairs with the first one those
    that are told apart.
    """
    sentences = [_compared(comparison)]
    if not comparison["compared_at"]:
        return f"{sentences[0]} Not every run has done its first trial, so there is nothing to compare yet."
    sentences.append(_reached(comparison))
    pairs = [pair for pair in comparison["pairs"] if pair["a"] == next(iter(comparison["methods"]))]
    told = [
        pair
        for pair in pairs
        if not _crowd(comparison) or _settled(comparison, pair["best_at_budget"]["paired"])
    ]
    sentences += [_better(comparison, pair) for pair in told]
    if others := len(pairs) - len(told):
        first = next(iter(comparison["methods"].values()))["label"]
        which = "other differences" if told else "differences"
        sentences.append(f"Run by run the {others} {which} from {first} are not settled.")
    sentences.append(_tested(comparison, pairs))
    sentences.append(_needed(comparison))
    for pair in [] if _crowd(comparison) else pairs:
        sentences += [_saved(comparison, pair), _extra(comparison, pair)]
    if _crowd(comparison):
        sentences.append("The report's tables have the intervals, and every pair.")
    elif len(comparison["pairs"]) > 1:
        sentences.append("The intervals are not adjusted for the number of pairs.")
    if comparison["runs"] == 1:
        sentences.append("One run per method says nothing of how much runs differ: there are no intervals.")
    elif comparison["runs"] < BOOTSTRAP_FROM:
        sentences.append("The runs are too few for an interval of a number of trials.")
    unequal = [check["what"] for check in comparison["parity"] if not check["equal"]]
    if unequal:
        sentences.append(f"Not equal between the methods: {_listed(unequal)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def value(x: float | str | None, metric: str) -> str:
    """An objective in the metric's unit; a dash where there is none."""
    sign, _, factor, decimals = UNITS.get(metric, RAW)
    return _shown(x, factor, decimals) + ("" if x is None else sign)


def estimate(e: Estimate, metric: str) -> str:
    """`93.4% (95.9% interval 92.8% to 93.8%)`; the value alone where it has no interval."""
    return _with_interval(e, lambda x: value(x, metric))


def difference(e: Estimate, metric: str) -> str:
    """Between two objectives: `0.40 percentage points (95.2% interval −0.10 to 0.90)`."""
    _, unit, factor, decimals = UNITS.get(metric, RAW)

    return _with_interval(
        e, lambda x: _shown(x, factor, decimals + 1), unit if e["value"] is not None else ""
    )


def trials(e: Estimate) -> str:
    """A mean number of trials: `8.3 (95% interval 6.1 to 10.2)`."""
    return _with_interval(e, lambda x: _shown(x, 1.0, 1))


def _value_alone(e: Estimate, metric: str) -> str:
    return value(e["value"], metric)


def _trials_alone(e: Estimate) -> str:
    return _shown(e["value"], 1.0, 1)


def share(e: Estimate) -> str:
    """A proportion in whole percent: `85% (95% interval 64% to 95%)`."""
    return _with_interval(e, lambda x: "–" if x is None else f"{x:.0%}")


def p_value(p: float | None) -> str:
    """`p = 0.012`."""
    if p is None:
        return "–"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def extra(entry: Mapping[str, Any], level: float | None) -> str:
    """Extra trials after one n with their interval: `9 (4 to 12)`; `≥ 13 (≥ 4)` where the curve, or its upper
    end, does not get there."""
    if entry["at_least"] is None:
        return "–"
    count = f"≥ {entry['at_least']}" if entry["extra"] is None else _minus(str(entry["extra"]))
    return count if level is None else f"{count} ({_ends(entry, '≥ {}')})"


def excludes_zero(e: Estimate) -> bool:
    """Whether zero lies outside the interval; no where there is no interval."""
    return e["low"] is not None and e["high"] is not None and (float(e["low"]) > 0 or float(e["high"]) < 0)


def halfway(comparison: Mapping[str, Any]) -> int:
    """The trial at which the text quotes `extra_trials`: half of those compared, rounded up."""
    return (int(comparison["compared_at"]) + 1) // 2


def _compared(comparison: Mapping[str, Any]) -> str:
    methods = comparison["methods"].values()
    names = [f"{m['label']} ({_count(m['dimensions'], 'hyperparameter')})" for m in methods]
    if _crowd(comparison):
        names = [f"{len(names)} methods"]
    first = next(iter(methods))
    initial = first["initial_trials"]
    model = f", the first {initial} of each run without its model" if first["model_based_trials"] else ""
    each = "each " if len(methods) > 1 else ""
    task = f"a {comparison['task_label']}," if comparison["proxy"] else comparison["task_label"]
    text = (
        f"{_capital(_listed(names))} {'were' if len(methods) > 1 else 'was'} {each}tuned on "
        f"{task} in {_count(comparison['runs'], 'independent run')} of "
        f"{_count(comparison['trials'], 'trial')} by the {comparison['searcher']} searcher{model}."
    )
    if not comparison["complete"]:
        text += (
            f" The study is unfinished: {comparison['trials_done']} of {comparison['trials_planned']} trials "
            "are done."
        )
    return text


def _reached(comparison: Mapping[str, Any]) -> str:
    after = _count(comparison["compared_at"], "trial")
    if not comparison["complete"]:
        after += ", as many as every run has done,"
    best = f"the median run's best validation {comparison['metric']}"
    order = ", from the best on," if _crowd(comparison) else ""
    return f"After {after} {best} is{order} {_medians(comparison, 'best_at_budget')}."


def _crowd(comparison: Mapping[str, Any]) -> bool:
    return len(comparison["methods"]) > CROWD


def _settled(comparison: Mapping[str, Any], test: Mapping[str, Any]) -> bool:
    """Whether a paired test tells the two methods of a pair apart."""
    return test["p_holm"] is not None and test["p_holm"] < 1 - comparison["level"]


def _medians(comparison: Mapping[str, Any], what: str) -> str:
    """Of each method; of a crowd from the best on and without intervals."""
    methods = list(comparison["methods"].values())
    show = estimate
    if _crowd(comparison):
        sign = -1 if comparison["direction"] == "maximize" else 1
        methods.sort(key=lambda m: sign * m[what]["median"]["value"] if m[what]["n"] else math.inf)
        show = _value_alone
    parts = []
    for m in methods:
        end = m[what]
        middle = show(end["median"], comparison["metric"]) if end["n"] else "none"
        some = f" ({end['n']} of {m['runs']} runs have a result)" if end["n"] < m["runs"] else ""
        parts.append(f"{middle} with {m['label']}{some}")
    return _listed(parts)


def _better(comparison: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    a, b = (comparison["methods"][pair[side]]["label"] for side in "ab")
    return (
        f"Run by run the difference, {a} minus {b}, is "
        f"{_apart(comparison, pair['best_at_budget']['paired'], 'which of the two ends better is not settled')}."
    )


def _tested(comparison: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> str:
    text = (
        "Being chosen flatters the validation value: on the test split, which no searcher saw, the same networks' "
        f"median {comparison['metric']} is {_medians(comparison, 'test_at_budget')}"
    )
    if _crowd(comparison):
        pairs = [pair for pair in pairs if _settled(comparison, pair["test_at_budget"]["paired"])]
    for pair in pairs:
        a, b = (comparison["methods"][pair[side]]["label"] for side in "ab")
        who = f", {a} minus {b}," if len(pairs) > 1 else ""
        test = pair["test_at_budget"]["paired"]
        text += f"; there the difference{who} is {_apart(comparison, test, 'that is not settled')}"
    return f"{text}."


def _apart(comparison: Mapping[str, Any], test: Mapping[str, Any], unsettled: str) -> str:
    """A paired difference with its interval and p, and what they leave open."""
    shift, p = test["hodges_lehmann"], test["p_holm"]
    text = "not defined, as too few runs have a result"
    if shift["value"] is not None:
        text = difference(shift, comparison["metric"])
    if shift["low"] is None or p is None:
        return text
    text += f", signed-rank {'Holm-adjusted ' if len(comparison['pairs']) > 1 else ''}{p_value(p)}"
    if not _settled(comparison, test):
        return f"{text}, so {unsettled}"
    if not excludes_zero(shift):  # with ties the closed interval is wider than the test
        text += "; the test tells the two apart, but the interval reaches zero: it may be next to nothing"
    return text


def _needed(comparison: Mapping[str, Any]) -> str:
    if comparison["target"] is None:
        return "Too few runs have a result to set a target."
    parts = []
    methods = list(comparison["methods"].values())
    show = trials
    if _crowd(comparison):
        methods.sort(key=lambda m: at_target(comparison, m["trials_to_target"])["restricted_mean"]["value"])
        show = _trials_alone
    for m in methods:
        entry = at_target(comparison, m["trials_to_target"])
        mean = show(entry["restricted_mean"])
        parts.append(f"{mean} with {m['label']}, where {entry['reached']} of {m['runs']} runs got there")
    metric = comparison["metric"]
    return (
        f"To reach a validation {metric} of {value(comparison['target'], metric)}, as at least "
        f"{comparison['target_share']:.0%} of all runs do, a run needs on average this many trials, "
        f"counting at most {comparison['compared_at']}: {'; '.join(parts)}."
    )


def _saved(comparison: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    saving = at_target(comparison, pair["trials_to_target"])["difference"]
    if saving["value"] is None:
        return ""
    a, b = (comparison["methods"][pair[side]]["label"] for side in "ab")
    text = f"{_capital(b)} thus takes {trials(saving)} trials more than {a}"
    if saving["value"] < 0:
        text = f"{_capital(b)} thus takes {trials(_negative(saving))} trials fewer than {a}"
    if saving["low"] is None:
        return f"{text}."
    if not excludes_zero(saving):
        return f"{text}; the interval includes zero, so neither is shown to need fewer."
    return f"{text}{_elsewhere(comparison, pair)}."


def _elsewhere(comparison: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    """At which other targets the difference in trials is not told from zero."""
    share = comparison["target_share"]
    harder = {
        value(entry["target"], comparison["metric"]): entry["share"] < share
        for entry in pair["trials_to_target"]
        if entry["difference"]["low"] is not None and not excludes_zero(entry["difference"])
    }
    if not harder:
        return ""
    kind = "harder" if all(harder.values()) else "other" if any(harder.values()) else "easier"
    return (
        f"; at the {kind} target{'s' * (len(harder) > 1)} {_listed(list(harder))} the interval includes zero"
    )


def _extra(comparison: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    a, b = (comparison["methods"][pair[side]]["label"] for side in "ab")
    n = halfway(comparison)
    left = comparison["compared_at"] - n
    found = next(e for e in pair["extra_trials"] if (e["method"], e["curve"]) == (pair["b"], "mean"))
    entry = found["by_trial"][n - 1]
    count = entry["extra"]
    if entry["at_least"] is None or (count is None and not left):
        return ""
    if count is None:
        reached = f"does not reach in the {_count(left, 'trial')} it has left"
    else:
        more = _count(abs(count), "fewer trial" if count < 0 else "more trial") if count else "no more trials"
        reached = f"reaches with {more}"
    after = _count(n, "trial")
    text = f"After {after} {a}'s mean validation curve is at a level that {b}'s {reached}"
    if found["level"] is None:
        return f"{text}."
    text += f" ({comparison['level']:.0%} interval of the extra trials: {_ends(entry, '{} or more')})"
    low, high = entry["low"], entry["high"]
    if low is not None and low <= 0 and (high is None or high >= 0):
        return f"{text}; the interval includes zero."
    return f"{text}."


def _negative(e: Estimate) -> Estimate:
    low, high = (None if e[end] is None else -e[end] for end in ("high", "low"))
    return {"value": -e["value"], "low": low, "high": high, "level": e["level"]}


def at_target(comparison: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of `trials_to_target` entries, the one for the target of the endpoint."""
    return next(entry for entry in entries if entry["share"] == comparison["target_share"])


def _with_interval(e: Estimate, show: Callable[[Any], str], unit: str = "") -> str:
    text = f"{show(e['value'])} {unit}".rstrip()
    if e["low"] is None or e["high"] is None:
        return text
    level = f"{100 * e['level']:.1f}".removesuffix(".0")
    return f"{text} ({level}% interval {show(e['low'])} to {show(e['high'])})"


def _shown(x: float | str | None, factor: float, decimals: int) -> str:
    return "–" if x is None else _minus(f"{float(x) * factor:.{decimals}f}".replace("inf", "∞"))


def _ends(entry: Mapping[str, Any], open_ended: str) -> str:
    """The interval of extra trials, `open_ended` where its upper end lies beyond the budget."""
    low = _minus(str(entry["at_least"] if entry["low"] is None else entry["low"]))
    return open_ended.format(low) if entry["high"] is None else f"{low} to {_minus(str(entry['high']))}"


def _minus(text: str) -> str:
    """A true minus sign, and none before a zero."""
    if not text.startswith("-"):
        return text
    return "−" + text[1:] if any(digit in text for digit in "123456789∞") else text[1:]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
