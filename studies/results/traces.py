"""The figures of what trainings recorded, from the records alone."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.analysis.comparison import label
from studies.analysis.decision import up_to_decision
from studies.analysis.recorded import (
    Setting,
    Traces,
    by_setting,
    by_weight,
    differing,
    each_of,
    first_gradients,
    named,
    of_epochs,
    pairs_of_signs,
)
from studies.design.space import searched
from studies.design.spec import StudySpec, stored
from studies.records import Series, StudyRecord, TrialRecord
from studies.results import canvas
from studies.results.wording import RAW, UNITS, setting

PANEL_INCHES = 1.9
LABEL = 28  # characters along the side of such a panel
LOW_INCHES = 0.75  # of a panel with one of a weight's traces
IMAGE_INCHES = 0.55
MOST_COLUMNS = 4  # of a weight's traces, one arm each; of differing signs, two arms each; of filtered weights
# what an optimizer keeps for a weight, in words, in the order of the panels; others follow under their own names
KEPT = {
    "gradient": "gradient",
    "m": "first average m",  # "average m" without g
    "g": "second average g",  # "average g" without m
    "v": "average of squares v",
    "w": "latent weight w",
}
# the panels of a weight's gradient and of what the filters of both orders make of it
FILTERED = ("gradient", "filtered", "sign, first order", "sign, second order")
# the metrics by epoch: the field of an epoch's record, and its label
BY_EPOCH = {
    "train_metric": "Training {metric}",
    "test_metric": "Test {metric}",
    "latent_test_metric": "Test {metric}, latent weights",
}

Draw = Callable[[StudyRecord, Sequence[TrialRecord]], Figure | None]


def flips(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw the share of binary weights that a step flips, by step: the mean over the runs of each arm or grid setting.

    A line has a gap where no weight flips. Source: Quist 2023, Figures 3 and 5.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    found = by_setting(spec, trials, named("flip_ratio"))
    if not found:
        return None
    figure, (axes,) = _panels(spec, 1, len(found))
    axes.set_yscale("log", nonpositive="mask")
    lines = _lines(axes, spec, found, 100.0)
    _name(axes, "Step", "Weights flipped per step (%)")
    canvas.legend(figure, lines, [])
    return figure


def metrics(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw the metric by epoch on training and test samples, and with latent weights, with a line per arm or setting as
    in `flips`. If the training metric was recorded, draw the training loss too.

    Return None if only test samples were scored. Source: Nayak 2020, section 2 and Figures 1b and 4; Paren & Poudel
    2021, Figure 2.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    whole = {name: by_setting(spec, trials, of_epochs(name)) for name in BY_EPOCH}
    found = {name: settings for name, settings in whole.items() if settings}
    if found.keys() <= {"test_metric"}:
        return None
    loss = by_setting(spec, trials, of_epochs("train_loss")) if "train_metric" in found else {}
    metric = spec.task_definition().metric
    sign, _, unit, _ = UNITS.get(metric, RAW)
    lines: dict[Any, Line2D] = {}
    number = len(found) + bool(loss)
    figure, panels = _panels(spec, number, max(map(len, found.values())), alike=len(found))
    for axes, (name, settings) in zip(panels, found.items(), strict=False):
        lines |= {line.get_label(): line for line in _lines(axes, spec, settings, unit)}
        _name(axes, "Epoch", BY_EPOCH[name].format(metric=metric) + (f" ({sign.strip()})" if sign else ""))
    if loss:
        lines |= {line.get_label(): line for line in _lines(panels[-1], spec, loss, 1.0)}
        _name(panels[-1], "Epoch", "Training loss")
    canvas.legend(figure, [*lines.values()], [], columns=len(panels))
    return figure


def signs(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw by step how many signs differ between the first two arms, the next two and so on: each run, and the mean.

    Source: Quist 2023, Figure 7.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    counted = ((a, b, differing(spec, trials, (a.name, b.name))) for a, b in pairs_of_signs(spec))
    found = list(islice(((a, b, its) for a, b, its in counted if its is not None), MOST_COLUMNS))
    if not found:
        return None
    figure, panels = _panels(spec, len(found), 2)
    for axes, (a, b, traces) in zip(panels, found, strict=True):
        for run in traces.runs:
            (one,) = axes.plot(traces.steps, run, color=canvas.GREY, lw=0.4, alpha=0.5, label="one run")
        (mean,) = axes.plot(
            traces.steps, traces.mean, color=canvas.LOOKS[0][0], lw=1.2, label="mean of the runs"
        )
        _name(axes, "Step", "Differing signs")
        axes.set_title(f"{label(a.name, a.method)} and {label(b.name, b.method)}", fontsize=7)
    most = max(float(np.nanmax(traces.runs)) for _, _, traces in found)
    panels[0].set_ylim(0, max(1.0, most) * 1.05)  # for all panels
    canvas.legend(figure, [mean, one], [], columns=len(panels))
    return figure


def weights(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw all that was recorded of one weight by step: for each of the first arms, from its first run's first
    training.

    The weight is the recorded one whose sign changes most often in the first arm that recorded any. Source: Quist 2023,
    Figure 2.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    found = {
        arm: by_weight(trial) for arm, trial in islice(_first_trials(spec, trials).items(), MOST_COLUMNS)
    }
    chosen = {
        arm: max(its, key=lambda name: _changes(its[name]["sign"])) for arm, its in found.items() if its
    }
    if not chosen:
        return None
    liveliest = next(iter(chosen.values()))
    chosen |= {arm: liveliest for arm in chosen if liveliest in found[arm]}
    shown = {arm: found[arm][weight] for arm, weight in chosen.items()}
    names = [what for its in shown.values() for what in its if what != "sign"]
    whats = [*sorted(dict.fromkeys(names), key=[*KEPT, *names].index), "sign"]
    figure = canvas.figure_of(LOW_INCHES * len(whats), canvas.title(spec), 0, columns=len(shown))
    panels = figure.subplots(len(whats), len(shown), sharex="col", squeeze=False)
    for column, (arm, its), (colour, _) in zip(panels.T, shown.items(), cycle(canvas.LOOKS), strict=False):
        column[0].set_title(f"{label(arm, spec.arm(arm).method)}, weight {chosen[arm]}", fontsize=7)
        column[-1].set_xlabel("Step", fontsize=8)
        for axes, what in zip(column, whats, strict=True):
            _trace(axes, _kept(what, its), its.get(what), colour)
    return figure


def filters(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw the first recorded weights' gradients by step in the first epoch, and what both filters make of each.

    The filters of first and second order have the arm's alpha, kept constant. Both filter the same gradients, so that
    their outputs differ only by the filter. The gradients are from the first training of the first arm with a gradient
    filter. Source: Quist 2023, Figure 2.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    filtering = (
        (trial, recorded)
        for arm, trial in _first_trials(spec, trials).items()
        if spec.arm(arm).method == "gradient-filter" and (recorded := first_gradients(trial))
    )
    if (found := next(filtering, None)) is None:
        return None
    from trainers.optimizers.gradient_filter import filtered  # torch, which takes a second and 200 MB

    trial, recorded = found
    shown = dict(islice(recorded.items(), MOST_COLUMNS))
    gradients = np.stack([*shown.values()], axis=1)
    alpha, gamma = float(trial.hyperparameters["alpha"]), float(trial.hyperparameters["gamma"])
    first, second = filtered(gradients, alpha), filtered(gradients, alpha, gamma)
    orders = f"first order, alpha {setting(alpha)}", f"second order, also gamma {setting(gamma)}"
    steps = np.arange(1, len(gradients) + 1)
    wide = -(-len(shown) // 2)
    figure = canvas.figure_of(LOW_INCHES * len(FILTERED), canvas.title(spec), 2, columns=wide)
    panels = figure.subplots(len(FILTERED), len(shown), sharex=True, squeeze=False)
    for i, (weight, column) in enumerate(zip(shown, panels.T, strict=True)):
        column[0].set_title(f"weight {weight}", fontsize=7)
        column[-1].set_xlabel("Step", fontsize=8)
        _plot(column[0], steps, gradients[:, i], canvas.GREY, FILTERED[0])
        for its, order, axes, (colour, _) in zip(
            (first, second), orders, column[2:], canvas.LOOKS, strict=False
        ):
            _plot(column[1], steps, its.outputs[:, i], colour, order)
            _plot(axes, steps, its.signs[:, i], colour, "sign")
        for axes, words in zip(column, FILTERED, strict=True):
            axes.set_ylabel(textwrap.fill(words, 8) if i == 0 else "", fontsize=7)
            axes.locator_params(axis="x", nbins=4)
    canvas.legend(figure, [*panels[0, 0].lines, *panels[1, 0].lines], [], columns=wide)
    return figure


def images(study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure | None:
    """Draw test images as they are, with noise, and as each arm's first training recovers them after its last epoch.

    Source: Nayak 2020, Figures 4 and 5.
    """
    spec, trials, _ = up_to_decision(stored(study), trials, ())
    found = {arm: trial for arm, trial in _first_trials(spec, trials).items() if each_of(trial, "recovered")}
    if not found:
        return None
    first = next(iter(found.values()))
    rows = [("original", each_of(first, "original")[0]), ("with noise", each_of(first, "noisy")[0])]
    rows += [
        (label(arm, spec.arm(arm).method), each_of(trial, "recovered")[0]) for arm, trial in found.items()
    ]
    count = rows[0][1].values.shape[1]
    figure = canvas.figure_of(IMAGE_INCHES * len(rows), canvas.title(spec), 0)
    figure.set_figwidth(max(canvas.COLUMN_INCHES, IMAGE_INCHES * (count + 2)))
    panels = figure.subplots(len(rows), count, squeeze=False)
    for across, (name, series) in zip(panels, rows, strict=True):
        for axes, image in zip(across, series.values[-1], strict=True):
            channels_last = np.moveaxis(image, 0, -1)
            grey = channels_last.shape[-1] == 1
            axes.imshow(channels_last[..., 0] if grey else channels_last, cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        across[0].set_ylabel(name, fontsize=7, rotation=0, ha="right", va="center")
    return figure


# by file name; drawn if there is anything to draw
FIGURES: Mapping[str, Draw] = {
    "flips-by-step": flips,
    "metric-by-epoch": metrics,
    "weight-by-step": weights,
    "filtered-gradient": filters,
    "differing-signs": signs,
    "images": images,
}


def _panels(
    spec: StudySpec, number: int, legend_rows: int, alike: int | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure with `number` panels side by side; all, or the first `alike`, share their vertical axis."""
    figure = canvas.figure_of(PANEL_INCHES, canvas.title(spec), -(-legend_rows // number), columns=number)
    panels = figure.subplots(1, number, squeeze=False)[0]
    for axes in panels[1:alike]:
        axes.sharey(panels[0])
    for axes in panels:
        canvas.plain(axes)
    return figure, list(panels)


def _lines(axes: Axes, spec: StudySpec, found: Mapping[Setting, Traces], unit: float) -> list[Line2D]:
    """Draw the mean of each setting's runs by step."""
    lines: list[Line2D] = []
    for (arm, point), traces, (colour, marker) in zip(
        found, found.values(), cycle(canvas.LOOKS), strict=False
    ):
        of = spec.arm(arm)
        words = "".join(
            f", {name.replace('_', ' ')} {setting(value)}"
            for name, value in zip(searched(of.space), point, strict=False)
        )
        (line,) = axes.plot(traces.steps, unit * traces.mean, color=colour, lw=1.0, marker=marker, ms=3)
        line.set_markevery(max(1, len(traces.steps) // 10))
        line.set_label(label(of.name, of.method) + words)
        lines.append(line)
    return lines


def _name(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(textwrap.fill(y, LABEL), fontsize=8)
    axes.tick_params(labelleft=True)


def _first_trials(spec: StudySpec, trials: Sequence[TrialRecord]) -> dict[str, TrialRecord]:
    """Return the first trial of the first run of each arm that has one with series."""
    found = sorted((trial for trial in trials if trial.series), key=lambda t: (t.run, t.trial))
    firsts = {trial.arm: trial for trial in reversed(found)}
    return {arm.name: firsts[arm.name] for arm in spec.arms if arm.name in firsts}


def _changes(signs: Series) -> int:
    return int(np.count_nonzero(np.diff(signs.values)))


def _kept(what: str, its: Mapping[str, Series]) -> str:
    """Return the label of what an optimizer keeps for a weight; a single average is not called first or second."""
    words = KEPT.get(what, what)
    return words if {"m", "g"} <= its.keys() or what not in ("m", "g") else f"average {what}"


def _trace(axes: Axes, words: str, series: Series | None, colour: str) -> None:
    """Draw one trace of a weight; leave the panel empty if the arm has no such trace."""
    if series is None:
        axes.set_axis_off()
        return
    _plot(axes, series.steps, series.values, colour, words)
    axes.set_ylabel(words.replace(" ", "\n", 1), fontsize=7)


def _plot(axes: Axes, steps: Any, values: Any, colour: str, words: str) -> None:
    """Draw one line of numbers by step, labelled with `words`; a sign as a step function."""
    canvas.plain(axes)
    axes.plot(
        steps, values, color=colour, lw=0.8, label=words, drawstyle="steps-post" if words == "sign" else None
    )
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.yaxis.get_offset_text().set_fontsize(6)
    if words == "sign":
        axes.set_ylim(-1.3, 1.3)
        axes.set_yticks([-1, 1])
