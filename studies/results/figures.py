"""The figures of a study, from its records alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from studies.analysis import stats
from studies.analysis.compared import ArmResult, Comparison, ToPlateau, ToTarget
from studies.analysis.comparison import label
from studies.analysis.confirmation import worth
from studies.analysis.curves import Floats, bands, means, of_study
from studies.analysis.decision import up_to_decision
from studies.analysis.estimate import Estimate
from studies.analysis.extra_trials import mean_curve
from studies.design.space import searched
from studies.design.spec import ArmSpec, StudySpec, stored
from studies.records import ConfirmationRecord, StudyRecord, TrialRecord
from studies.results import canvas
from studies.results.summary import CROWD, at_target
from studies.results.wording import RAW, UNITS, capital, count, value

DASHES = (0, (4, 2))
CONTROL = (0, (2, 1))  # the dashes of a control's mean, which has hollow marks
TWO_COLUMNS = 58  # characters of the longest two names of a legend that fit side by side
Limits = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """How an arm is drawn: hollow marks and dashes where it is a control."""

    key: str
    name: str
    colour: str
    marker: str
    control: bool

    @property
    def mean(self) -> dict[str, Any]:
        """The style of its mean line."""
        hollow = {"mfc": "white", "mec": self.colour, "mew": 0.7, "ls": CONTROL, "lw": 1.0}
        filled = {"mec": "white", "mew": 0.3, "ls": "-", "lw": 1.5}
        return {"color": self.colour, "marker": self.marker, "ms": 3} | (hollow if self.control else filled)


def figure8(
    study: StudyRecord, trials: Sequence[TrialRecord], confirmations: Sequence[ConfirmationRecord] = ()
) -> Figure:
    """Draw every run's best so far after each trial, each arm's mean, and its median with the exact interval.

    With `confirmations`, a second panel below shows on the same scale what the best so far was worth: the mean
    confirmed test metric with its t interval, and the mean held-out one. A control has only means, in the colour of the
    first arm that searches its method on the same task and proxy.

    With more arms than CROWD, whose runs and intervals would hide each other, only means and medians are drawn. At most
    one point in ten lies beyond the axis, where a few bad first trials would otherwise take up most of it; such points
    are drawn as arrows on its edge and counted. No mean is cut off once a model chooses; before, an arrow may stand for
    it. Mean and median are drawn only where every run has a value: over fewer runs they could fall.
    """
    spec, trials, confirmations = up_to_decision(stored(study), trials, confirmations)
    task = spec.task_definition()
    sign, _, factor, _ = UNITS.get(task.metric, RAW)
    curves = {name: factor * found.best for name, found in of_study(spec, trials).items()}
    worths = {name: worth(spec, name, trials, confirmations) for name in curves} if confirmations else {}
    values = {name: (factor * of.held_out, factor * of.confirmed) for name, of in worths.items()}
    arms = _arms(spec, brief=bool(worths))
    crowd = len(arms) > CROWD
    drawn = [curves[arm.key] for arm in arms if not (crowd or arm.control)]
    limits = _limits(spec, drawn, [*curves.values(), *(mean for of in values.values() for mean in of)])
    key = _key(spec, list(curves.values()), limits, confirmed=bool(worths))
    columns = _columns([*(arm.name for arm in arms), *(words for _, words in key)])
    rows = (len(curves) + len(key) + columns - 1) // columns
    title = spec.task_label if spec.task_label != spec.task else ""
    figure, panels = _panels(1 + bool(worths), title, legend_rows=rows)
    lines: list[Artist] = []
    for arm, dodge in zip(arms, _dodges(len(arms)), strict=True):
        if not (crowd or arm.control):
            _runs(panels[0], curves[arm.key], arm, dodge, limits)
        lines.append(_middle(panels[0], curves[arm.key], arm, limits))
        if worths:
            _worth(panels[1], *values[arm.key], arm, limits, crowd=crowd)
    panels[0].set_ylim(*limits)  # the panels share it
    panels[0].set_xlim(0.3, spec.trials + 0.7)
    panels[-1].set_xlabel("Trials", fontsize=8)
    best_word, unit = (
        "Best" if task.direction == "maximize" else "Lowest",
        f" ({sign.strip()})" if sign else "",
    )
    panels[0].set_ylabel(f"{best_word} validation {task.metric} so far{unit}", fontsize=8)
    if worths:
        titles = ("best validation so far", "test, with fresh seeds")
        for axes, start, what in zip(
            panels, ("What the searcher saw", "What it was worth"), titles, strict=True
        ):
            axes.set_title(f"{start}: {what}", fontsize=7.5, loc="left")
            axes.set_ylabel(f"{capital(task.metric)}{unit}", fontsize=8)
    canvas.legend(figure, lines, key, columns)
    return figure


def trials_to_target(comparison: Comparison) -> Figure:
    """Draw the share of runs that have reached the target, by trial."""
    entries = {name: at_target(comparison, m.trials_to_target) for name, m in comparison.arms.items()}
    goal = value(comparison.target, comparison.metric)
    return _reached(comparison, entries, f"Runs at {goal} or better (%)")


def trials_to_plateau(comparison: Comparison) -> Figure:
    """Draw the share of runs that have, with fresh seeds, been within the margin of the plateau, by trial."""
    assert comparison.plateau is not None
    entries = {name: m.trials_to_plateau for name, m in comparison.arms.items() if m.trials_to_plateau}
    goal = value(comparison.plateau.target, comparison.metric)
    return _reached(comparison, entries, f"Runs confirmed at {goal} (%)")


def _reached(comparison: Comparison, entries: Mapping[str, ToTarget | ToPlateau], words: str) -> Figure:
    """Draw one minus Kaplan-Meier, with Wilson's interval if several arms are compared, but not more than CROWD."""
    crowd = len(comparison.arms) > CROWD
    figure, axes = _axes(2.0, _title(comparison), legend_rows=len(comparison.arms))
    lines: list[Artist] = []
    trial = np.arange(comparison.compared_at + 1)
    looks = _compared(comparison)
    for name, entry in entries.items():
        share = 1 - np.array(entry.still_short)
        if entry.success_rate.level is not None and not crowd:
            # no run is censored before the last trial compared, so the share is a plain proportion of the runs
            runs = len(entry.times or ())  # without those with a crashed confirmation
            ends = [stats.wilson(round(float(s) * runs), runs) for s in share]
            low, high = _interval(ends)
            low[0] = high[0] = 0.0  # before the first trial no run is there, by definition, not estimation
            axes.fill_between(
                trial, 100 * low, 100 * high, step="post", color=looks[name].colour, alpha=0.18, lw=0
            )
        line = looks[name].mean | {"ms": 2.5}
        label = comparison.arms[name].label
        lines += axes.step(trial, 100 * share, where="post", label=label, **line)
    axes.set_ylim(-3, 103)
    axes.set_xlim(0, comparison.compared_at + 0.5)
    axes.set_xlabel("Trials", fontsize=8)
    axes.set_ylabel(words, fontsize=8)
    canvas.legend(figure, lines, [])
    return figure


def extra_trials(comparison: Comparison, *, confirmed: bool = False) -> Figure:
    """Draw how many more trials each arm's mean curve, validation or confirmed, needs than the first arm's, with the
    bootstrap interval unless there are more arms than CROWD.

    The grey line is the budget: a curve or an interval that ends there is only a lower bound.
    """
    arms = comparison.arms
    crowd = len(arms) > CROWD
    reference = next(iter(arms))
    entries = [
        e
        for pair in comparison.pairs
        for e in (pair.extra_trials_confirmed or () if confirmed else pair.extra_trials)
    ]
    found = [e for e in entries if e.reference == reference and e.curve == "mean"]
    figure, axes = _axes(2.0, _title(comparison), legend_rows=len(found) + 2)
    lines: list[Artist] = []
    looks = _compared(comparison)
    for e in found:
        known = [entry for entry in e.by_trial if entry.at_least is not None]
        trial = [entry.trial for entry in known]
        low, extra, high = (
            np.array([entry.at_least if end is None else end for entry, end in zip(known, ends, strict=True)])
            for ends in ([e.low for e in known], [e.extra for e in known], [e.high for e in known])
        )
        there = np.array([entry.extra is not None for entry in known], dtype=bool)
        if e.level is not None and not crowd:
            axes.fill_between(trial, low, high, color=looks[e.arm].colour, alpha=0.18, lw=0)
        line = looks[e.arm].mean
        lines += axes.plot(trial, np.where(there, extra, np.nan), label=looks[e.arm].name, **line)
        axes.plot(
            np.array(trial)[~there],
            extra[~there],
            ls="",
            marker="^",
            ms=3.5,
            mfc="none",
            mec=looks[e.arm].colour,
            mew=0.7,
        )
    horizon = comparison.compared_at
    axes.plot([1, horizon], [horizon, 1], color="0.55", lw=0.8, ls=":")
    axes.axhline(0, color="0.3", lw=0.6)
    axes.set_xlim(0.3, horizon + 0.7)
    axes.set_xlabel(f"Trials of {arms[reference].label}", fontsize=8)
    axes.set_ylabel("Extra trials, confirmed" if confirmed else "Extra trials to the same level", fontsize=8)
    key = [
        (
            Line2D([], [], ls="", marker="^", ms=3.5, mfc="none", mec="0.35", mew=0.7),
            "lower bound: not within the budget",
        ),
        (Line2D([], [], color="0.55", lw=0.8, ls=":"), f"budget of {horizon} trials"),
    ]
    canvas.legend(figure, lines, key)
    return figure


def _runs(axes: Axes, best: Floats, look: Look, dodge: float, limits: Limits) -> None:
    """Draw every run's points, with those beyond the limits on the edge, and the interval of their median."""
    colour, marker = look.colour, look.marker
    trial = np.arange(1, best.shape[1] + 1)
    low, high = _interval(_medians(best))
    axes.fill_between(trial, low, high, step="post", color=colour, alpha=0.18, lw=0, zorder=1)
    places = np.broadcast_to(trial + dodge, best.shape)
    axes.plot(places.ravel(), best.ravel(), ls="", marker=marker, ms=2.2, mfc=colour, mec="none", alpha=0.35)
    off = (best < limits[0]) | (best > limits[1])
    if not off.any():
        return
    edge = np.where(best < limits[0], limits[0], limits[1])
    axes.plot(
        places[off],
        edge[off],
        ls="",
        marker="v",
        ms=3,
        mfc="none",
        mec=colour,
        mew=0.5,
        clip_on=False,
        alpha=0.8,
    )


def _middle(axes: Axes, best: Floats, look: Look, limits: Limits) -> Artist:
    """Draw the runs' median, except for a control, and their mean with the arm's name."""
    if not look.control:
        medians = np.array([e.value for e in _medians(best)], dtype=np.float64)
        axes.step(_trials(best), medians, where="post", color=look.colour, lw=0.8, ls=DASHES, zorder=3)
    return _mean(axes, mean_curve(best), look, limits)


def _worth(
    axes: Axes, held_out: Floats, confirmed: Floats, look: Look, limits: Limits, *, crowd: bool
) -> None:
    """Draw the mean confirmed value with its interval and, except for a control, the mean held-out one.

    An arm that searches also has a fainter band, which holds for its whole curve.
    """
    found = means(confirmed)
    shown = [] if crowd else [(found, 0.18)] if look.control else [(bands(confirmed), 0.08), (found, 0.14)]
    for estimates, alpha in shown:
        low, high = _interval(estimates)
        axes.fill_between(
            _trials(confirmed), low, high, step="post", color=look.colour, alpha=alpha, lw=0, zorder=1
        )
    _mean(axes, _values(found), look, limits)
    if not look.control:
        held = _values(means(held_out))
        axes.step(_trials(held_out), held, where="post", color=look.colour, lw=0.8, ls=DASHES, zorder=3)


def _mean(axes: Axes, mean: Floats, look: Look, limits: Limits) -> Artist:
    """Draw the line, with arrows on the edge where it lies beyond the limits."""
    trial = np.arange(1, len(mean) + 1)
    (line,) = axes.step(trial, mean, where="post", label=look.name, zorder=4, **look.mean)
    off = (mean < limits[0]) | (mean > limits[1])
    edge = np.where(mean < limits[0], limits[0], limits[1])[off]
    face = "white" if look.control else look.colour
    arrow: dict[str, Any] = {"marker": "v", "ms": 4, "mfc": face, "mec": look.colour, "mew": 0.7}
    if off.any():
        axes.plot(trial[off], edge, ls="", clip_on=False, zorder=5, **arrow)
    return line


def _trials(values: Floats) -> Floats:
    return np.arange(1.0, values.shape[1] + 1)


def _values(estimates: Sequence[Estimate]) -> Floats:
    return np.array([e.value for e in estimates], dtype=np.float64)


def _interval(estimates: Sequence[Estimate]) -> tuple[Floats, Floats]:
    """Return the ends of the intervals, NaN where there are none."""
    low, high = [e.low for e in estimates], [e.high for e in estimates]
    return np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)


def _medians(best: Floats) -> list[Estimate]:
    return [stats.median(column if not np.isnan(column).any() else column[:0]) for column in best.T]


def _limits(spec: StudySpec, drawn: Sequence[Floats], averaged: Sequence[Floats]) -> Limits:
    """Return the ends of the vertical axis; values may lie beyond the end that the search starts from.

    All but a tenth of the points `drawn` lie within, and so does every mean of the `averaged` once a model chooses. The
    arrays are `(runs, trials)`.
    """
    maximize, initial = spec.task_definition().direction == "maximize", spec.searcher.initial_trials
    sign = 1 if maximize else -1
    means = [mean_curve(values) for values in averaged]
    points = np.concatenate([best[np.isfinite(best)] for best in drawn or means]) * sign
    points = points[np.isfinite(points)]
    if not points.size:
        return 0.0, 1.0
    middles = sign * np.concatenate([mean[initial - 1 :] for mean in means])
    middles = middles[np.isfinite(middles)]
    low, high = float(np.quantile(points, 0.1)), float(points.max())
    if middles.size:
        low, high = min(low, float(middles.min())), max(high, float(middles.max()))
    margin = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
    low, high = low - margin, high + margin
    return (low, high) if maximize else (-high, -low)


def _dodges(n: int) -> Iterator[float]:
    """Return sideways shifts, in trials, that keep the arms' points apart."""
    return iter((0.4 * ((np.arange(n) + 0.5) / n - 0.5)).tolist())


def _key(
    spec: StudySpec, curves: Sequence[Floats], limits: Limits, *, confirmed: bool
) -> list[tuple[Any, str]]:
    """Return the legend entries of lines, bands and points, which are the same for all arms."""
    crowd = len(curves) > CROWD
    solid = Line2D([], [], color=canvas.GREY, lw=1.5)
    dashed = Line2D([], [], color=canvas.GREY, lw=0.8, ls=DASHES)
    band = Patch(color=canvas.GREY, alpha=0.18, lw=0)
    key: list[tuple[Any, str]] = [
        (solid, f"mean of {count(spec.runs, 'run')}" if confirmed else "mean of the runs")
    ]
    if confirmed:
        exact = stats.median(np.arange(spec.runs, dtype=np.float64)).level
        level = "" if exact is None or crowd else f", {100 * exact:.1f}% band"
        key.append((dashed if crowd else (band, dashed), f"above: median{level}"))
        if not crowd and spec.runs > 1:
            faint = Patch(color=canvas.GREY, alpha=0.08, lw=0)
            key.append(((band, solid), f"below: mean, {stats.LEVEL:.0%} band"))
            key.append((faint, "fainter: the whole curve"))
        key.append((dashed, "below: held out"))
    else:
        key.append((dashed, "median") if crowd else ((band, dashed), "median and interval"))
    if crowd:
        return key
    off = sum(int(((best < limits[0]) | (best > limits[1])).sum()) for best in curves)
    return key + _runs_key(off)


def _runs_key(off: int) -> list[tuple[Any, str]]:
    """Return the legend entries of the points, of which `off` lie outside the axis."""
    key = [(Line2D([], [], ls="", marker="o", ms=2.2, mfc=canvas.GREY, mec="none", alpha=0.6), "one run")]
    if off:
        mark = Line2D([], [], ls="", marker="v", ms=3, mfc="none", mec=canvas.GREY, mew=0.5)
        key.append((mark, f"beyond the axis ({off})"))
    return key


def _columns(names: Sequence[str]) -> int:
    """Return the number of columns of a legend with these names, the first half of which fills the first column."""
    half = (len(names) + 1) // 2
    longest = [max(map(len, part), default=0) for part in (names[:half], names[half:])]
    return 2 if sum(longest) <= TWO_COLUMNS else 1


def _arms(spec: StudySpec, *, brief: bool) -> list[Look]:
    """Return how the arms of a study are drawn."""
    looks = _looks({arm.name: arm for arm in spec.arms})
    return [Look(a.name, _name(a, brief=brief), *looks[a.name], control=a.is_control) for a in spec.arms]


def _compared(comparison: Comparison) -> dict[str, Look]:
    """Return how the arms of a comparison are drawn: like those of its study."""
    looks = _looks(comparison.arms)
    return {
        name: Look(name, arm.label, *looks[name], control=arm.is_control)
        for name, arm in comparison.arms.items()
    }


def _looks(arms: Mapping[str, ArmSpec | ArmResult]) -> dict[str, tuple[str, str]]:
    """Return the arms' colours and markers; a control has those of its first arm, unless an earlier control has
    them."""
    looks = dict(zip(arms, cycle(canvas.LOOKS), strict=False))
    first: dict[object, str] = {}
    for name, arm in arms.items():
        if not arm.is_control:
            first.setdefault(_trained(arm), name)
    return {
        name: looks[first.pop(_trained(arm), name) if arm.is_control else name] for name, arm in arms.items()
    }


def _trained(arm: ArmSpec | ArmResult) -> object:
    """Return the method, task and proxy, which an arm and its control have in common."""
    proxy = arm.proxy.changes if isinstance(arm, ArmSpec) else arm.proxy or {}
    return arm.method, arm.task, frozenset(proxy.items())


def _name(arm: ArmSpec, *, brief: bool) -> str:
    """Return the arm's label with how many hyperparameters were searched."""
    n = len(searched(arm.space))
    many = f"{n} searched" if brief else count(n, "hyperparameter")
    return f"{label(arm.name, arm.method)} ({'control' if arm.is_control else many})"


def _title(comparison: Comparison) -> str:
    """Return what a figure must say by itself: that it shows a proxy, or trainings that start from another network."""
    return comparison.task_label if comparison.task_label != comparison.task else ""


def _axes(height_inches: float, title: str, legend_rows: int) -> tuple[Figure, Axes]:
    """Return axes `height_inches` high including labels, below a title and above a legend of so many rows."""
    figure = canvas.figure_of(height_inches, title, legend_rows)
    axes = figure.add_subplot()
    canvas.plain(axes)
    return figure, axes


def _panels(n: int, title: str, legend_rows: int) -> tuple[Figure, list[Axes]]:
    """Return `n` axes, one below the other, that share both scales."""
    figure = canvas.figure_of(2.5 if n == 1 else 2.0 * n, title, legend_rows)
    panels = list(figure.subplots(n, sharex=True, sharey=True, squeeze=False)[:, 0])
    for axes in panels:
        canvas.plain(axes)
    return figure, panels
