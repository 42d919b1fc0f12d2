"""How soon the arms' confirmed curves get near the plateau, in words."""

from collections.abc import Callable, Sequence

from studies.analysis.compared import ArmResult, Comparison, ExtraTrials, ExtraTrialsAt, PairResult, ToPlateau
from studies.analysis.estimate import Estimate
from studies.results.wording import capital, count, ends, gap, trials, value


def near(comparison: Comparison) -> str:
    """Describe what a run must get within; the comparison must have a plateau."""
    plateau = comparison.plateau
    assert plateau is not None
    margin = gap(Estimate(plateau.margin, None, None, None), comparison.metric)
    best = comparison.arms[plateau.arm].label
    return (
        f"within {margin} (one training's standard deviation over seeds) of {_where(comparison)}, which {best} "
        "reaches"
    )


def needed(comparison: Comparison, arms: Sequence[ArmResult], show: Callable[[Estimate], str]) -> str:
    """Say how soon the arms' runs get near the plateau; return "" if that is not known."""
    parts = [
        f"{show(found.restricted_mean)} with {m.label}, where {_share(found, m.runs)}"
        for m in arms
        if (found := m.trials_to_plateau) is not None
    ]
    if not parts:
        return ""
    return (
        f"Counting at most {count(comparison.compared_at, 'trial')} per run, the mean number of trials until a run's "
        f"confirmed curve comes {near(comparison)}, is {'; '.join(parts)}."
    )


def _share(found: ToPlateau, runs: int) -> str:
    """Say how many of an arm's `runs` get there, of those that count."""
    counted = len(found.times)
    words = f"{found.reached} of {counted} runs get there"
    if counted < runs:
        words += f", not counting {count(runs - counted, 'run')} with a crashed confirmation"
    return words


def saved(comparison: Comparison, pair: PairResult) -> str:
    """Say how many more or fewer trials b needs than a to get near the plateau."""
    found = pair.trials_to_plateau
    if found is None or found.value is None:
        return ""
    a, b = comparison.labels(pair)
    text = f"{capital(b)} thus takes {trials(found)} more trials than {a}"
    if found.value < 0:
        text = f"{capital(b)} thus takes {trials(found.opposite())} fewer trials than {a}"
    if found.low is not None and found.high is not None and found.low <= 0 <= found.high:
        text += "; the interval includes zero, so neither is shown to need fewer"
    return f"{text}."


def extra(comparison: Comparison, pair: PairResult, n: int) -> str:
    """Describe the extra trials after n on the mean confirmed curves: b's, measured against a."""
    if pair.extra_trials_confirmed is None:
        return ""
    a, b = comparison.labels(pair)
    found = next(e for e in pair.extra_trials_confirmed if e.arm == pair.b)
    return extra_after(found, (a, b), "confirmed", n, comparison.compared_at)


def extra_after(found: ExtraTrials, names: tuple[str, str], kind: str, n: int, budget: int) -> str:
    """Describe extra trials; `names` are the reference's and the measured arm's, `kind` says which mean curves."""
    entry, left = found.by_trial[n - 1], budget - n
    if entry.at_least is None or (entry.extra is None and not left):
        return ""
    reference, arm = names
    after, reached = count(n, "trial"), _reached(entry, left)
    text = f"After {after}, {reference}'s mean {kind} curve is at a level that {arm}'s {reached}"
    if found.level is None:
        return f"{text}."
    text += f" ({found.level:.0%} interval of the extra trials: {ends(entry, '{} or more')})"
    low, high = entry.low, entry.high
    if low is not None and low <= 0 and (high is None or high >= 0):
        return f"{text}; the interval includes zero."
    return f"{text}."


def _reached(entry: ExtraTrialsAt, left: int) -> str:
    more = entry.extra
    if more is None:
        return f"does not reach in the remaining {count(left, 'trial')}"
    kind = "fewer trial" if more < 0 else "more trial"
    return f"reaches in {count(abs(more), kind) if more else 'as many trials'}"


def _where(comparison: Comparison) -> str:
    assert comparison.plateau is not None
    return f"the plateau of {value(comparison.plateau.value, comparison.metric)}"
