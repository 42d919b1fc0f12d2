"""The figures of a study, from its records alone."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from studies.analysis import stats
from studies.analysis.compared import Comparison
from studies.analysis.comparison import label
from studies.analysis.curves import Floats, of_study
from studies.analysis.estimate import Estimate
from studies.analysis.extra_trials import mean_curve
from studies.design.space import searched
from studies.design.spec import ArmSpec, stored
from studies.records import StudyRecord, TrialRecord
from studies.results.summary import CROWD, at_target
from studies.results.wording import RAW, UNITS, count, value

COLUMN_INCHES = 3.4  # a column of a two-column page
# Okabe & Ito's colours, told apart with any colour vision and, in this order, in grey; where there are more arms
# than those, others as far from them and from each other as 13 can be with any colour vision. The page has the same
LOOKS = (
    ("#0072B2", "o"),
    ("#D55E00", "^"),
    ("#009E73", "s"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
    ("#8A2152", "<"),
    ("#4A3A86", ">"),
    ("#405918", "p"),
    ("#A1554C", "*"),
    ("#736B7A", "h"),
    ("#033630", "d"),
)
DASHES = (0, (4, 2))
GREY = "0.35"  # of what is the same for every arm
LINE = 58  # characters of a title across the figure
HALF_A_COLUMN = 36  # characters of an arm's name that leave room for another beside it


def figure8(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure:
    """Every run's best-so-far after each trial, the mean of each arm, its median with the exact interval.

    Of more arms than CROWD, whose runs and intervals would hide each other, means and medians alone.
    One point in ten at most lies below the axis, where a few bad first trials would otherwise take up most of
    it; those points are drawn as arrows on its edge and counted. No mean is cut off once a model chooses. Mean and
    median are drawn where every run has a value: over fewer runs they could fall.
    """
    spec = stored(study)
    task = spec.task_definition()
    sign, _, factor, _ = UNITS.get(task.metric, RAW)
    curves = {name: factor * found.best for name, found in of_study(spec, trials).items()}
    low, high = _range(list(curves.values()), spec.searcher.initial_trials, task.direction == "maximize")
    crowd = len(curves) > CROWD
    names = {arm.name: _name(arm) for arm in spec.arms}
    columns = 2 if max(map(len, names.values())) <= HALF_A_COLUMN else 1
    key = [] if crowd else _runs_key(sum(int(((b < low) | (b > high)).sum()) for b in curves.values()))
    key = _key(crowd) + key
    rows = (len(curves) + len(key) + columns - 1) // columns
    figure, axes = _axes(2.5, spec.task_label if spec.task_label != spec.task else "", legend_rows=rows)
    lines: list[Artist] = []
    for (m, best), look, dodge in zip(curves.items(), cycle(LOOKS), _dodges(len(curves)), strict=False):
        if not crowd:
            _runs(axes, best, look, dodge, (low, high))
        lines.append(_middle(axes, best, names[m], look))
    axes.set_ylim(low, high)
    axes.set_xlim(0.3, spec.trials + 0.7)
    axes.set_xlabel("Trials", fontsize=8)
    best_word = "Best" if task.direction == "maximize" else "Lowest"
    axes.set_ylabel(
        f"{best_word} validation {task.metric} so far{f' ({sign.strip()})' if sign else ''}", fontsize=8
    )
    _legend(figure, lines, key, columns)
    return figure


def trials_to_target(comparison: Comparison) -> Figure:
    """Share of runs that have reached the target, by trial (one minus Kaplan-Meier), with Wilson's interval
    where arms are compared, unless they are more than CROWD."""
    crowd = len(comparison.arms) > CROWD
    figure, axes = _axes(2.0, _title(comparison), legend_rows=len(comparison.arms))
    lines: list[Artist] = []
    trial = np.arange(comparison.compared_at + 1)
    for m, (colour, marker) in zip(comparison.arms.values(), cycle(LOOKS), strict=False):
        entry = at_target(comparison, m.trials_to_target)
        share = 1 - np.array(entry.still_short)
        if entry.success_rate.level is not None and not crowd:
            # no run is censored before the last trial compared, so the share is a plain proportion of the runs
            ends = [stats.wilson(round(float(s) * m.runs), m.runs) for s in share]
            low, high = _interval(ends)
            axes.fill_between(trial, 100 * low, 100 * high, step="post", color=colour, alpha=0.18, lw=0)
        lines += axes.step(
            trial, 100 * share, where="post", color=colour, lw=1.5, marker=marker, ms=2.5, label=m.label
        )
    axes.set_ylim(-3, 103)
    axes.set_xlim(0, comparison.compared_at + 0.5)
    axes.set_xlabel("Trials", fontsize=8)
    axes.set_ylabel(f"Runs at {value(comparison.target, comparison.metric)} or better (%)", fontsize=8)
    _legend(figure, lines, [])
    return figure


def extra_trials(comparison: Comparison) -> Figure:
    """How many more trials each arm's mean curve needs than the first arm's, with the bootstrap
    interval, unless the arms are more than CROWD.

    The grey line is the budget: a curve or an interval that ends there says "at least".
    """
    arms = comparison.arms
    crowd = len(arms) > CROWD
    reference = next(iter(arms))
    found = [
        e for pair in comparison.pairs for e in pair.extra_trials
        if e.reference == reference and e.curve == "mean"
    ]  # fmt: skip
    figure, axes = _axes(2.0, _title(comparison), legend_rows=len(found) + 2)
    lines: list[Artist] = []
    for e, (colour, marker) in zip(
        found, [LOOKS[(i + 1) % len(LOOKS)] for i in range(len(found))], strict=True
    ):
        known = [entry for entry in e.by_trial if entry.at_least is not None]
        trial = [entry.trial for entry in known]
        low, extra, high = (
            np.array([entry.at_least if end is None else end for entry, end in zip(known, ends, strict=True)])
            for ends in ([e.low for e in known], [e.extra for e in known], [e.high for e in known])
        )
        there = np.array([entry.extra is not None for entry in known], dtype=bool)
        if e.level is not None and not crowd:
            axes.fill_between(trial, low, high, color=colour, alpha=0.18, lw=0)
        lines += axes.plot(
            trial, np.where(there, extra, np.nan), color=colour, lw=1.5, marker=marker, ms=3,
            label=arms[e.arm].label,
        )  # fmt: skip
        axes.plot(
            np.array(trial)[~there], extra[~there], ls="", marker="^", ms=3.5, mfc="none", mec=colour, mew=0.7
        )
    horizon = comparison.compared_at
    axes.plot([1, horizon], [horizon, 1], color="0.55", lw=0.8, ls=":")
    axes.axhline(0, color="0.3", lw=0.6)
    axes.set_xlim(0.3, horizon + 0.7)
    axes.set_xlabel(f"Trials of {arms[reference].label}", fontsize=8)
    axes.set_ylabel("Extra trials to get as far", fontsize=8)
    key = [
        (
            Line2D([], [], ls="", marker="^", ms=3.5, mfc="none", mec="0.35", mew=0.7),
            "at least, not there by then",
        ),
        (Line2D([], [], color="0.55", lw=0.8, ls=":"), f"budget of {horizon} trials"),
    ]
    _legend(figure, lines, key)
    return figure


def _runs(axes: Axes, best: Floats, look: tuple[str, str], dodge: float, limits: tuple[float, float]) -> None:
    """Every run's points, those beyond the limits on the edge, and the interval of their median."""
    colour, marker = look
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


def _middle(axes: Axes, best: Floats, name: str, look: tuple[str, str]) -> Artist:
    """The runs' median and, with the arm's name, their mean."""
    colour, marker = look
    trial = np.arange(1, best.shape[1] + 1)
    medians = np.array([e.value for e in _medians(best)], dtype=np.float64)
    axes.step(trial, medians, where="post", color=colour, lw=0.8, ls=DASHES, zorder=3)
    (line,) = axes.step(
        trial,
        mean_curve(best),
        where="post",
        color=colour,
        lw=1.5,
        marker=marker,
        ms=3,
        mec="white",
        mew=0.3,
        label=name,
        zorder=4,
    )
    return line


def _interval(estimates: Sequence[Estimate]) -> tuple[Floats, Floats]:
    """The ends, NaN where there is none."""
    low, high = [e.low for e in estimates], [e.high for e in estimates]
    return np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)


def _medians(best: Floats) -> list[Estimate]:
    return [stats.median(column if not np.isnan(column).any() else column[:0]) for column in best.T]


def _range(curves: Sequence[Floats], initial: int, maximize: bool) -> tuple[float, float]:
    """Limits of the vertical axis; the open side is the one that the search starts from."""
    sign = 1 if maximize else -1
    points = np.concatenate([sign * best[np.isfinite(best)] for best in curves])
    if not points.size:
        return 0.0, 1.0
    means = np.concatenate([sign * mean_curve(best)[initial - 1 :] for best in curves])
    low = min(
        float(np.quantile(points, 0.1)), float(np.nanmin(means)) if np.isfinite(means).any() else np.inf
    )
    high = float(points.max())
    margin = 0.06 * (high - low) or 0.01 * abs(high) or 1.0
    low, high = low - margin, high + margin
    return (low, high) if maximize else (-high, -low)


def _dodges(n: int) -> Iterator[float]:
    """Sideways shifts, in trials, that keep the arms' points apart."""
    return iter((0.4 * ((np.arange(n) + 0.5) / n - 0.5)).tolist())


def _key(crowd: bool) -> list[tuple[Any, str]]:
    """What the lines mean, whatever the arm."""
    dashed = Line2D([], [], color=GREY, lw=0.8, ls=DASHES)
    mean = (Line2D([], [], color=GREY, lw=1.5), "mean of the runs")
    if crowd:
        return [mean, (dashed, "median")]
    return [mean, ((Patch(color=GREY, alpha=0.18, lw=0), dashed), "median and interval")]


def _runs_key(off: int) -> list[tuple[Any, str]]:
    """What the points mean, of which `off` lie outside the axis."""
    key = [(Line2D([], [], ls="", marker="o", ms=2.2, mfc=GREY, mec="none", alpha=0.6), "one run")]
    if off:
        mark = Line2D([], [], ls="", marker="v", ms=3, mfc="none", mec=GREY, mew=0.5)
        key.append((mark, f"beyond the axis ({off})"))
    return key


def _name(arm: ArmSpec) -> str:
    """Its label with how many hyperparameters were searched."""
    return f"{label(arm.name, arm.method)} ({count(len(searched(arm.space)), 'hyperparameter')})"


def _title(comparison: Comparison) -> str:
    """What a figure must say by itself: that it is of a proxy, or of trainings that start from another network."""
    return comparison.task_label if comparison.task_label != comparison.task else ""


def _axes(height_inches: float, title: str, legend_rows: int) -> tuple[Figure, Axes]:
    """Axes `height_inches` high with their labels, below a title and above a legend of so many rows."""
    lines = textwrap.wrap(title, LINE)
    height_inches += 0.15 * (legend_rows + 1 + len(lines))
    figure = Figure(figsize=(COLUMN_INCHES, height_inches), dpi=300, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if lines:
        figure.suptitle("\n".join(lines), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_linewidth(0.6)
    axes.tick_params(labelsize=7, width=0.6, length=3)
    axes.grid(axis="y", color="0.9", lw=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    return figure, axes


def _legend(
    figure: Figure, lines: Sequence[Artist], key: Sequence[tuple[Any, str]], columns: int = 1
) -> None:
    """Put the legend below the axes, where it hides no point, and fix the layout."""
    handles = [*lines, *(mark for mark, _ in key)]
    names = [*(str(line.get_label()) for line in lines), *(name for _, name in key)]
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=columns,
        fontsize=7,
        handlelength=1.5,
        labelspacing=0.3,
        columnspacing=0.8,
        edgecolor="none",
    )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out again for each file format, the axes would shrink each time
