"""Results by setting, from the records alone: a grid's against the values it lists, or arms side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.analysis import stats
from studies.analysis.comparison import label
from studies.analysis.curves import Floats
from studies.analysis.decision import up_to_decision
from studies.analysis.settings import Point, Runs, by_setting, flips, objective
from studies.design.space import searched
from studies.design.spec import ArmSpec, StudySpec, stored
from studies.records import StudyRecord, TrialRecord
from studies.results import canvas
from studies.results.summary import CROWD
from studies.results.wording import RAW, UNITS, setting
from trainers.hyperparameters import Value

MAGNITUDES = 10.0  # an axis is logarithmic if its largest value is this many times its smallest
HEIGHT_INCHES = 1.9
UPRIGHT = 5  # names of arms that fit side by side below a column
SLANTED: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
SLANTED_INCHES = 0.6  # the extra height that these need
DASHES = (0, (4, 2))


@dataclass(frozen=True, slots=True)
class GridLine:
    """A line: an arm at some values of one hyperparameter, with one value of each other that it lists.

    `means` (values, 3) are the runs' mean and the ends of its interval at each of these `values`, NaN where there is
    none.
    """

    name: str
    values: tuple[Value, ...]
    means: Floats


@dataclass(frozen=True, slots=True)
class Quantity:
    """What the vertical axis shows: its words, the factor to its unit, whether it may be logarithmic, and all
    measurements."""

    words: str
    unit: float
    logarithmic: bool
    found: Mapping[str, Mapping[Point, Runs]]


def over_grid(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw means over the runs, with Student's t interval, against every hyperparameter that the arms of a grid list.

    Each hyperparameter has a row of panels: the objective and, if trials have their epochs, the share of binary weights
    that a step flips, averaged over the training. A line is an arm with one value of each other hyperparameter that it
    lists; a control, which lists none, is a dashed level. Magnitudes have logarithmic axes. Return None if no arm has a
    grid.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    grids = [arm for arm in spec.arms if spec.is_grid(arm)]
    if not grids:
        return None
    quantities = _quantities(spec, trials)
    names = list(dict.fromkeys(name for arm in grids for name in searched(arm.space)))
    rows = [[_series(grids, name, quantity) for quantity in quantities] for name in names]
    lines = dict.fromkeys(series.name for row in rows for series in row[0])
    controls = [arm for arm in spec.arms if arm.is_control]
    looks = dict(zip([*lines, *(arm.name for arm in controls)], cycle(canvas.LOOKS), strict=False))
    figure = canvas.figure_of(
        HEIGHT_INCHES * len(names), canvas.title(spec), len(looks), columns=len(quantities)
    )
    panels = figure.subplots(len(names), len(quantities), sharey="col", squeeze=False)
    shown: dict[str, Artist] = {}
    for row, name, across in zip(rows, names, panels, strict=True):
        for of_panel, quantity, axes in zip(row, quantities, across, strict=True):
            places = _dress(axes, name, quantity, of_panel)
            shown |= _lines(axes, of_panel, places, looks) | _levels(axes, controls, quantity, looks)
    canvas.legend(figure, [*shown.values()], [])
    return figure


def side_by_side(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw each arm's mean over the runs with Student's t interval, and every run as a point, for `over_grid`'s
    quantities.

    Return None if an arm searches anything.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    if not all(arm.is_control for arm in spec.arms):
        return None
    quantities = _quantities(spec, trials)
    names, height, slanted = [label(arm.name, arm.method) for arm in spec.arms], HEIGHT_INCHES, {}
    if len(names) <= UPRIGHT:
        names = [name.replace(" ", "\n") for name in names]
    else:
        height, slanted = height + SLANTED_INCHES, SLANTED
    figure = canvas.figure_of(height, canvas.title(spec), 0, columns=len(quantities))
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        canvas.plain(axes)
        axes.set_ylabel(quantity.words, fontsize=8)
        axes.set_xticks(range(len(names)), names, fontsize=6.5, **slanted)
        axes.set_xlim(-0.6, len(names) - 0.4)
        for i, (arm, look) in enumerate(zip(spec.arms, cycle(canvas.LOOKS), strict=False)):
            for runs in quantity.found[arm.name].values():
                _arm(axes, i, runs, quantity.unit, look)
    canvas.fix_layout(figure)
    return figure


def _arm(axes: Axes, place: int, runs: Runs, unit: float, look: tuple[str, str]) -> None:
    colour, marker = look
    values = unit * np.array([*runs.values()])
    axes.plot(
        np.full(values.size, place - 0.15),
        values,
        ls="",
        marker=".",
        ms=3,
        mfc=colour,
        mec="none",
        alpha=0.35,
    )
    value, low, high = _mean(runs, unit)
    ends = None if np.isnan(low) else [[value - low], [high - value]]
    axes.errorbar([place + 0.1], [value], yerr=ends, color=colour, marker=marker, ms=4, capsize=2, lw=1.0)


def _quantities(spec: StudySpec, trials: Sequence[TrialRecord]) -> list[Quantity]:
    metric = spec.task_definition().metric
    sign, _, factor, _ = UNITS.get(metric, RAW)
    words = f"Validation {metric}" + (f" ({sign.strip()})" if sign else "")
    found = [Quantity(words, factor, False, by_setting(spec, trials, objective))]
    binary = [trial for trial in trials if spec.arm(trial.arm).is_binary]
    if any(trial.epochs for trial in binary):
        found.append(Quantity("Weights flipped per step (%)", 100.0, True, by_setting(spec, binary, flips)))
    return found


def _series(grids: Sequence[ArmSpec], name: str, quantity: Quantity) -> list[GridLine]:
    """Return the lines against the hyperparameter `name`."""
    found = []
    for arm in grids:
        listed = list(searched(arm.space))
        if name not in listed:
            continue
        at = listed.index(name)
        points = quantity.found[arm.name]
        for others in dict.fromkeys(point[:at] + point[at + 1 :] for point in points):
            of_line = {
                point[at]: runs for point, runs in points.items() if point[:at] + point[at + 1 :] == others
            }
            rest = zip([each for each in listed if each != name], others, strict=True)
            words = "".join(f", {each.replace('_', ' ')} {setting(value)}" for each, value in rest)
            means = np.array([_mean(runs, quantity.unit) for runs in of_line.values()])
            found.append(GridLine(label(arm.name, arm.method) + words, tuple(of_line), means))
    return found


def _mean(runs: Runs, unit: float) -> tuple[float, float, float]:
    """Return the mean and the ends of its interval, NaN where there is none."""
    e = stats.mean(unit * np.array([*runs.values()]))
    value, low, high = (np.nan if x is None else x for x in (e.value, e.low, e.high))
    return value, low, high


def _dress(axes: Axes, name: str, quantity: Quantity, series: Sequence[GridLine]) -> dict[Value, float]:
    """Label and scale a panel's axes; return where on its axis each value of the hyperparameter `name` lies."""
    canvas.plain(axes)
    axes.set_xlabel(name.replace("_", " "), fontsize=8)
    axes.set_ylabel(quantity.words, fontsize=8)
    values = list(dict.fromkeys(value for each in series for value in each.values))
    numbers = [
        float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if len(numbers) < len(values):  # booleans and words
        axes.set_xticks(range(len(values)), [setting(value) for value in values])
        return {value: float(i) for i, value in enumerate(values)}
    above = [number for number in numbers if number > 0]
    if above and min(numbers) >= 0 and max(above) >= MAGNITUDES * min(above):
        if len(above) == len(numbers):
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=min(above))
    if not series:  # its arms have no binary weights
        axes.set_axis_off()
    elif quantity.logarithmic and all((each.means[:, 0] > 0).all() for each in series):
        axes.set_yscale("log")
    return dict(zip(values, numbers, strict=True))


def _lines(
    axes: Axes,
    series: Sequence[GridLine],
    places: Mapping[Value, float],
    looks: Mapping[str, tuple[str, str]],
) -> dict[str, Artist]:
    """Draw the means as lines, with their intervals unless there are more lines than CROWD."""
    lines: dict[str, Artist] = {}
    for each in series:
        colour, marker = looks[each.name]
        x = np.array([places[value] for value in each.values])
        order = np.argsort(x)
        mean, low, high = each.means[order].T
        if len(looks) <= CROWD:
            axes.fill_between(x[order], low, high, color=colour, alpha=0.18, lw=0)
        (lines[each.name],) = axes.plot(
            x[order], mean, color=colour, marker=marker, ms=3.5, lw=1.2, label=each.name
        )
    return lines


def _levels(
    axes: Axes, controls: Sequence[ArmSpec], quantity: Quantity, looks: Mapping[str, tuple[str, str]]
) -> dict[str, Artist]:
    """Draw the means of those controls that have any as dashed horizontal lines."""
    levels: dict[str, Artist] = {}
    for arm in controls:
        name = f"{label(arm.name, arm.method)} (control)"
        for runs in quantity.found[arm.name].values():
            value, low, high = _mean(runs, quantity.unit)
            if not np.isnan(low) and len(looks) <= CROWD:
                axes.axhspan(low, high, color=looks[arm.name][0], alpha=0.1, lw=0)
            levels[arm.name] = axes.axhline(value, color=looks[arm.name][0], lw=1.0, ls=DASHES, label=name)
    return levels
