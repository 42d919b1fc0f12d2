"""A comparison in one paragraph of plain words, each number with its interval."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Estimate = Mapping[str, Any]

# metric: its sign, the unit of a difference, factor, decimals
UNITS = {"accuracy": ("%", "percentage points", 100.0, 1)}
RAW = ("", "", 1.0, 4)


def summary(comparison: Mapping[str, Any]) -> str:
    """What was compared, how good each method got, how many trials each needed, and what stays open."""
    sentences = [_compared(comparison)]
    if not comparison["compared_at"]:
        return f"{sentences[0]} Not every run has done its first trial, so there is nothing to compare yet."
    sentences.append(_reached(comparison))
    pairs = [pair for pair in comparison["pairs"] if pair["a"] == next(iter(comparison["methods"]))]
    sentences += [_better(comparison, pair) for pair in pairs]
    sentences.append(_tested(comparison))
    sentences.append(_needed(comparison))
    for pair in pairs:
        sentences += [_saved(comparison, pair), _extra(comparison, pair)]
    if comparison["runs"] == 1:
        sentences.append("One run per method says nothing of how much runs differ: there are no intervals.")
    unequal = [check["what"] for check in comparison["parity"] if not check["equal"]]
    if unequal:
        sentences.append(f"Not equal between the methods: {_listed(unequal)}.")
    return " ".join(sentence for sentence in sentences if sentence)


def value(x: float | str | None, metric: str) -> str:
    """An objective in the metric's unit; a dash where there is none."""
    if x is None:
        return "–"
    sign, _, factor, decimals = UNITS.get(metric, RAW)
    return _minus(f"{float(x) * factor:.{decimals}f}{sign}")


def estimate(e: Estimate, metric: str) -> str:
    """`93.4% (95.9% interval 92.8% to 93.8%)`; the value alone where it has no interval."""
    return _with_interval(e, lambda x: value(x, metric))


def difference(e: Estimate, metric: str) -> str:
    """Between two objectives: `0.40 percentage points (95.2% interval −0.10 to 0.90)`."""
    _, unit, factor, decimals = UNITS.get(metric, RAW)

    def show(x: float | str | None) -> str:
        return "–" if x is None else _minus(f"{float(x) * factor:.{decimals + 1}f}")

    return _with_interval(e, show, unit)


def trials(e: Estimate) -> str:
    """A mean number of trials: `8.3 (95% interval 6.1 to 10.2)`."""
    return _with_interval(e, _number)


def share(e: Estimate) -> str:
    """A proportion in whole percent: `85% (95% interval 64% to 95%)`."""
    return _with_interval(e, lambda x: "–" if x is None else f"{x:.0%}")


def p_value(p: float | None) -> str:
    """`p = 0.012`."""
    if p is None:
        return "–"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def extra(entry: Mapping[str, Any]) -> str:
    """Extra trials after one n: `9`, `-2`, or `at least 13` where the curve does not get there."""
    return _bounded(entry["extra"], entry["at_least"])


def extra_interval(entry: Mapping[str, Any], level: float | None) -> str:
    """Its interval: `4 to at least 13`; a dash where there is none."""
    if level is None or entry["at_least"] is None:
        return "–"
    ends = [_bounded(entry[end], entry["at_least"]) for end in ("low", "high")]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def excludes_zero(e: Estimate) -> bool:
    """Whether zero lies outside the interval; no where there is no interval."""
    return e["low"] is not None and e["high"] is not None and (float(e["low"]) > 0 or float(e["high"]) < 0)


def halfway(comparison: Mapping[str, Any]) -> int:
    """The trial at which the text quotes `extra_trials`: half of those compared, rounded up."""
    return (int(comparison["compared_at"]) + 1) // 2


def _compared(comparison: Mapping[str, Any]) -> str:
    methods = comparison["methods"].values()
    names = [f"{m['label']} ({_count(m['dimensions'], 'hyperparameter')})" for m in methods]
    first = next(iter(methods))
    initial = first["initial_trials"]
    model = f", the first {initial} of each run without its model" if first["model_based_trials"] else ""
    each = "each " if len(names) > 1 else ""
    text = (
        f"{_capital(_listed(names))} {'were' if len(names) > 1 else 'was'} {each}tuned on "
        f"{comparison['task']} in {_count(comparison['runs'], 'independent run')} of "
        f"{_count(comparison['trials'], 'trial')} by the {comparison['searcher']} searcher{model}."
    )
    if not comparison["complete"]:
        text += (
            f" The study is unfinished: {comparison['trials_done']} of {comparison['trials_planned']} trials "
            "are done."
        )
    return text


def _reached(comparison: Mapping[str, Any]) -> str:
    metric = comparison["metric"]
    parts = [
        f"{estimate(m['best_at_budget']['median'], metric)} with {m['label']}"
        for m in comparison["methods"].values()
    ]
    after = _count(comparison["compared_at"], "trial")
    if not comparison["complete"]:
        after += ", as many as every run has done,"
    return f"After {after} the median run's best validation {metric} is {_listed(parts)}."


def _better(comparison: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    a, b = (comparison["methods"][pair[side]]["label"] for side in "ab")
    test = pair["best_at_budget"]["paired"]
    shift = test["hodges_lehmann"]
    if shift["value"] is None:
        return f"{_capital(a)} and {b} have no run in common with a result."
    text = f"Run by run the difference, {a} minus {b}, is {difference(shift, comparison['metric'])}"
    if shift["low"] is None:
        return f"{text}."
    adjusted = "Holm-adjusted " if len(comparison["pairs"]) > 1 else ""
    text += f", signed-rank {adjusted}{p_value(test['p_holm'])}"
    if excludes_zero(shift):
        return f"{text}."
    if test["p_holm"] < 1 - comparison["level"]:  # with ties the closed interval is wider than the test
        return (
            f"{text}; the test tells the two apart, but the interval reaches zero: it may be next to nothing."
        )
    return f"{text}; the interval includes zero, so which of the two ends better is not settled."


def _tested(comparison: Mapping[str, Any]) -> str:
    metric = comparison["metric"]
    parts = [
        f"{estimate(m['test_at_budget']['median'], metric)} with {m['label']}"
        for m in comparison["methods"].values()
    ]
    return (
        f"The validation value is flattered by having been chosen; on the test split, which no searcher saw, "
        f"the same networks' median {metric} is {_listed(parts)}."
    )


def _needed(comparison: Mapping[str, Any]) -> str:
    if comparison["target"] is None:
        return "Too few runs have a result to set a target."
    parts = []
    for m in comparison["methods"].values():
        entry = at_target(comparison, m["trials_to_target"])
        mean = trials(entry["restricted_mean"])
        parts.append(f"{mean} with {m['label']}, where {entry['reached']} of {m['runs']} runs got there")
    return (
        f"To reach {value(comparison['target'], comparison['metric'])}, a level that at least "
        f"{comparison['target_share']:.0%} of all runs reach, a run needs on average this many trials, "
        f"counting one that did not as {comparison['compared_at']}: {'; '.join(parts)}."
    )


def _saved(comparison: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    saving = at_target(comparison, pair["trials_to_target"])["difference"]
    if comparison["target"] is None or saving["value"] is None:
        return ""
    a, b = (comparison["methods"][pair[side]]["label"] for side in "ab")
    text = f"{_capital(b)} thus takes {trials(saving)} trials more than {a}"
    if saving["value"] < 0:
        text = f"{_capital(b)} thus takes {trials(_negative(saving))} trials fewer than {a}"
    if saving["low"] is None or excludes_zero(saving):
        return f"{text}."
    return f"{text}; the interval includes zero, so neither is shown to need fewer."


def _extra(comparison: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    a, b = (comparison["methods"][pair[side]]["label"] for side in "ab")
    n = halfway(comparison)
    found = next(e for e in pair["extra_trials"] if (e["method"], e["curve"]) == (pair["b"], "mean"))
    entry = found["by_trial"][n - 1]
    if entry["at_least"] is None:
        return ""
    count = entry["extra"]
    if count is None:
        need = f"at least {entry['at_least']} more trials"
    else:
        need = _count(abs(count), "fewer trial" if count < 0 else "more trial") if count else "no more trials"
    text = f"To get where {a}'s mean curve is after {_count(n, 'trial')}, {b}'s needs {need}"
    interval = extra_interval(entry, found["level"])
    if interval == "–":
        return f"{text}."
    text += f" ({comparison['level']:.0%} interval {interval})"
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


def _number(x: float | None) -> str:
    return "–" if x is None else _minus(f"{float(x):.1f}")


def _bounded(x: int | None, at_least: int | None) -> str:
    if at_least is None:
        return "–"
    return f"at least {at_least}" if x is None else _minus(str(x))


def _minus(text: str) -> str:
    """A true minus sign, and none before a zero."""
    if not text.startswith("-"):
        return text
    return "−" + text[1:] if any(digit in text for digit in "123456789") else text[1:]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
