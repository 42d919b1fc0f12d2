"""The numbers of a comparison as text, each with its interval."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from trainers.hyperparameters import Value

if TYPE_CHECKING:  # commands that only print need not load it
    from studies.analysis.compared import ExtraTrialsAt, Given
    from studies.analysis.estimate import Estimate

# by metric: its sign, the unit of a difference, the factor to that unit, decimals
UNITS = {"accuracy": ("%", "percentage points", 100.0, 1), "PSNR": (" dB", "dB", 1.0, 2)}
RAW = ("", "", 1.0, 4)


def value(x: float | None, metric: str) -> str:
    """Format an objective in the metric's unit; a dash if there is none."""
    sign, _, factor, decimals = UNITS.get(metric, RAW)
    return _shown(x, factor, decimals) + ("" if x is None else sign)


def estimate(e: "Estimate", metric: str) -> str:
    """Format an estimate: `93.4% (95.9% interval 92.8% to 93.8%)`, or the value alone if it has no interval."""
    return _with_interval(e, lambda x: value(x, metric))


def published(test: float, sd: float | None, metric: str) -> str:
    """Format a published result with all of its digits: `84.3% ± 0.3`, or `84.3%` without a standard deviation."""
    sign, _, factor, decimals = UNITS.get(metric, RAW)
    found = [_printed(x * factor, decimals) for x in (test, sd) if x is not None]
    return f"{found[0]}{sign}" + "".join(f" ± {x}" for x in found[1:])


def difference(e: "Estimate", metric: str) -> str:
    """Format a difference between two objectives: `0.40 percentage points (95.2% interval −0.10 to 0.90)`."""
    _, unit, factor, decimals = UNITS.get(metric, RAW)
    return _with_interval(e, lambda x: _shown(x, factor, decimals + 1), unit if e.value is not None else "")


def trials(e: "Estimate") -> str:
    """Format a mean number of trials: `8.3 (95% interval 6.1 to 10.2)`."""
    return _with_interval(e, lambda x: _shown(x, 1.0, 1))


def share(e: "Estimate") -> str:
    """Format a proportion in whole percent: `85% (95% interval 64% to 95%)`."""
    return _with_interval(e, lambda x: "–" if x is None else minus(f"{x:.0%}"))


def setting(x: Value) -> str:
    """Format a hyperparameter's value as in a study file, with every digit: near 1 the last ones count."""
    if isinstance(x, bool):
        return str(x).lower()
    return str(x).removesuffix(".0") if isinstance(x, float) else str(x)


def values(entry: "Given") -> str:
    """Format what a study gives one hyperparameter: `1e-06 to 1, logarithmic`, `true or false`, or one value."""
    if isinstance(entry, Mapping) and "to" in entry:
        to = entry["to"]
        return (
            f"{setting(entry['ratio'])} × {to}" if "ratio" in entry else f"{setting(entry['product'])} / {to}"
        )
    if isinstance(entry, Mapping):
        return f"{setting(entry['low'])} to {setting(entry['high'])}{', logarithmic' if entry.get('log') else ''}"
    return " or ".join(map(setting, entry)) if isinstance(entry, tuple) else setting(entry)


def brief(e: "Estimate", metric: str) -> str:
    """Format an objective in little room: `93.4% (92.8 to 93.8)`, with the interval's level said elsewhere."""
    sign, _, factor, decimals = UNITS.get(metric, RAW)
    return _brief(e, factor, decimals, sign)


def gap(e: "Estimate", metric: str) -> str:
    """Format the size of a difference between two objectives: `0.40 percentage points (0.10 to 0.90)`."""
    _, unit, factor, decimals = UNITS.get(metric, RAW)
    return _brief(
        e.opposite() if e.value is not None and e.value < 0 else e, factor, decimals + 1, f" {unit}".rstrip()
    )


def brief_trials(e: "Estimate", unit: str = "") -> str:
    """Format a mean number of trials: `8.3 (6.1 to 10.2)`."""
    return _brief(e, 1.0, 1, unit)


def brief_share(e: "Estimate") -> str:
    """Format a proportion: `35% (19% to 54%)`."""
    return _brief(e, 100.0, 0, "%")


def p_value(p: float | None) -> str:
    """Format a p-value: `p = 0.012`."""
    if p is None:
        return "–"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def extra(entry: "ExtraTrialsAt", level: float | None) -> str:
    """Format extra trials after one n: `9 (4 to 12)`, or `≥ 13 (≥ 4)` if the curve or its upper end exceeds the
    budget."""
    if entry.at_least is None:
        return "–"
    found = f"≥ {entry.at_least}" if entry.extra is None else minus(str(entry.extra))
    return found if level is None else f"{found} ({ends(entry, '≥ {}')})"


def ends(entry: "ExtraTrialsAt", open_ended: str) -> str:
    """Format the interval of extra trials, with `open_ended` if its upper end lies beyond the budget."""
    low = minus(str(entry.at_least if entry.low is None else entry.low))
    return open_ended.format(low) if entry.high is None else f"{low} to {minus(str(entry.high))}"


def minus(text: str) -> str:
    """Replace a leading hyphen by a true minus sign, or drop it if the number is zero."""
    if not text.startswith("-"):
        return text
    return "−" + text[1:] if any(digit in text for digit in "123456789∞") else text[1:]


def count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _with_interval(e: "Estimate", show: Callable[[float | None], str], unit: str = "") -> str:
    text = f"{show(e.value)} {unit}".rstrip()
    if e.low is None or e.high is None or e.level is None:
        return text
    level = f"{100 * e.level:.1f}".removesuffix(".0")
    return f"{text} ({level}% interval {show(e.low)} to {show(e.high)})"


def _printed(x: float, decimals: int) -> str:
    """Format x with at least this many decimals, and up to six if it has more."""
    whole, _, rest = f"{x:.6f}".partition(".")
    return minus(f"{whole}.{rest.rstrip('0').ljust(decimals, '0')}")


def _brief(e: "Estimate", factor: float, decimals: int, unit: str) -> str:
    if e.value is None:
        return "–"
    value, low, high = (_shown(x, factor, decimals) for x in (e.value, e.low, e.high))
    return f"{value}{unit}" if e.low is None or e.high is None else f"{value}{unit} ({low} to {high})"


def _shown(x: float | None, factor: float, decimals: int) -> str:
    return "–" if x is None else minus(f"{x * factor:.{decimals}f}".replace("inf", "∞"))
