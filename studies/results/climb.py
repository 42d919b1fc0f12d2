"""What each arm's climb is worth, in words, and which arms are similar."""

from studies.analysis.compared import ArmResult, Comparison, PairResult
from studies.analysis.estimate import Estimate
from studies.results.wording import capital, count, difference, gap, listed, share


def climbs(comparison: Comparison, *, brief: bool = False) -> str:
    """Describe how far each searching arm was seen to climb and what share of that was luck, then the controls."""
    arms = [m for m in comparison.arms.values() if m.climb is not None and m.climb.seen.value is not None]
    if not arms:
        return ""
    tuned = [_climb(m, comparison.metric, brief) for m in arms if not m.is_control]
    searched = [(m.task, m.proxy) for m in arms if not m.is_control]
    controls = [
        f"{_seen(m, comparison.metric, brief)} with {m.label}"
        + (
            " (with a task or proxy other than those of the arms that search)"
            if searched and (m.task, m.proxy) not in searched
            else ""
        )
        for m in arms
        if m.is_control
    ]
    text = ""
    if tuned:
        text = (
            f"From trial 1 to trial {comparison.compared_at}, the best validation {comparison.metric} so far climbs by "
            f"{'; by '.join(tuned)}."
        )
    if controls:
        which = "A control, which searches nothing, climbs"
        if len(controls) > 1:
            which = "Controls, which search nothing, climb"
        text += f" {which} by {listed(controls)}: that is luck alone."
    return text.strip()


def similar(comparison: Comparison, pair: PairResult) -> str:
    """Say that the two arms of a pair are similar, if that is shown; else return ""."""
    found = pair.equivalence
    if found is None or not found.similar:
        return ""
    a, b = comparison.labels(pair)
    margin = gap(Estimate(found.margin, None, None, None), comparison.metric)
    return (
        f"{capital(a)} and {b} are similar: the {0.9:.0%} interval of their difference with fresh seeds lies within "
        f"one training's standard deviation over seeds, {margin}."
    )


def fresh(comparison: Comparison) -> str:
    """Return the number of fresh seeds in words; the comparison must have confirmations."""
    assert comparison.confirmations is not None
    return count(comparison.confirmations.seeds, "fresh seed")


def _climb(arm: ArmResult, metric: str, brief: bool) -> str:
    assert arm.climb is not None
    text = f"{_seen(arm, metric, brief)} with {arm.label}"
    if arm.climb.luck.value is None:
        return text
    luck = share(_bare(arm.climb.luck) if brief else arm.climb.luck)
    if brief:
        return f"{text}, of which {luck} is luck"
    return f"{text}, of which {difference(arm.climb.confirmed, metric)} are confirmed and {luck} is luck"


def _seen(arm: ArmResult, metric: str, brief: bool) -> str:
    assert arm.climb is not None
    return difference(_bare(arm.climb.seen) if brief else arm.climb.seen, metric)


def _bare(e: Estimate) -> Estimate:
    return Estimate(e.value, None, None, None)
