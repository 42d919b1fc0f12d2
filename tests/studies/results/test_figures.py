"""The figures show all that they claim to, and are fit for print."""

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from synthetic import CONTROLS, confirmed_study, figure8_like, study_of, trials_of

from studies.analysis.comparison import compare, label
from studies.analysis.confirmation import worth
from studies.analysis.curves import curves_of
from studies.design.methods import METHODS as METHOD_TABLE
from studies.design.spec import stored
from studies.results import canvas, figures
from studies.results.report import report
from trainers.optimizers import OPTIMIZERS

METHODS = ("gradient-filter", "latent-sgd")


@pytest.fixture(scope="module")
def records():
    return figure8_like(runs=6, trials=10)


def legend(figure):
    return [text.get_text() for text in (figure.axes[0].get_legend() or figure.legends[0]).get_texts()]


def test_figure8_says_what_it_shows(records):
    figure = figures.figure8(*records)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Trials"
    assert axes.get_ylabel() == "Best validation accuracy so far (%)"
    assert legend(figure)[:5] == [
        "gradient filter (2 hyperparameters)",
        "latent SGD (6 hyperparameters)",
        "mean of the runs",
        "median and interval",
        "one run",
    ]


def test_a_proxys_figures_say_so(records):
    _, trials = records
    study = study_of(METHODS, runs=6, trials=10, proxy={"epochs": 5, "train_fraction": 0.25, "width": 32})
    compared = compare(study, trials)
    words = "proxy of spoken-digits: 5 epochs, 25% of the training samples, width 32"
    for figure in (
        figures.figure8(study, trials),
        figures.trials_to_target(compared),
        figures.extra_trials(compared),
    ):
        title = next(text for text in figure.findobj(Text) if "proxy" in text.get_text())
        assert title.get_text().replace("\n", " ") == words
        box, axes = title.get_window_extent(), figure.axes[0].get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= axes.y1
    assert f"tuned on a {words}, in 6 independent runs" in report(study, compared, [])


def test_the_figures_of_trainings_that_start_from_another_network_say_so(records):
    _, trials = records
    study = study_of(METHODS, runs=6, trials=10, start="first")
    compared = compare(study, trials)
    for figure in (
        figures.figure8(study, trials),
        figures.trials_to_target(compared),
        figures.extra_trials(compared),
    ):
        assert "spoken-digits, from first" in [text.get_text() for text in figure.findobj(Text)]


def test_every_run_mean_and_median_is_drawn(records):
    study, trials = records
    lines = figures.figure8(study, trials).axes[0].lines
    for method in METHODS:
        best = 100 * curves_of(method, trials, (6, 10), "maximize").best
        drawn = [np.asarray(line.get_ydata()) for line in lines]
        assert any(y.size == 60 and np.array_equal(np.sort(y), np.sort(best.ravel())) for y in drawn)
        assert any(y.size == 10 and np.allclose(y, best.mean(axis=0)) for y in drawn)
        assert any(y.size == 10 and np.allclose(y, np.median(best, axis=0)) for y in drawn)


def test_points_beyond_the_axis_are_marked_and_counted(records):
    study, trials = records
    figure = figures.figure8(study, trials)
    low, high = figure.axes[0].get_ylim()
    best = 100 * np.concatenate([curves_of(m, trials, (6, 10), "maximize").best for m in METHODS])
    off = int(((best < low) | (best > high)).sum())
    assert 0 < off <= 0.1 * best.size
    assert legend(figure)[-1] == f"beyond the axis ({off})"
    edge = [line for line in figure.axes[0].lines if line.get_marker() == "v" and line.get_markersize() == 3]
    assert sum(len(line.get_ydata()) for line in edge) == off


@pytest.fixture(scope="module")
def confirmed():
    return confirmed_study(runs=6, trials=10)


def test_with_confirmations_a_second_panel_shows_what_it_was_worth(confirmed):
    study, trials, confirmations = confirmed
    figure = figures.figure8(*confirmed)
    seen, true = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "What the searcher saw: best validation so far",
        "What it was worth: test, with fresh seeds",
    ]
    assert seen.get_ylim() == true.get_ylim()
    assert legend(figure)[:8] == [
        "gradient filter (2 searched)",
        "latent SGD (6 searched)",
        "filter published (control)",
        "latent published (control)",
        "mean of 6 runs",
        "above: median, 96.9% band",
        "below: mean, 95% band",
        "fainter: the whole curve",
    ]
    for arm in study.arms:
        found = worth(stored(study), arm, trials, confirmations)
        wanted = [found.confirmed] if arm in ("filter-published", "latent-published") else [found.held_out]
        for values in (found.confirmed, *wanted):
            mean = 100 * values.mean(axis=0)
            assert any(
                len(y) == 10 and np.allclose(y, mean) for y in (line.get_ydata() for line in true.lines)
            )


def test_a_control_stands_apart_in_the_colour_of_its_method(confirmed):
    for axes in figures.figure8(*confirmed).axes:
        means = {line.get_label().split(" (")[0]: line for line in axes.lines if "(" in line.get_label()}
        tuned, control = means["gradient filter"], means["filter published"]
        assert control.get_color() == tuned.get_color() != means["latent published"].get_color()
        assert control.get_linestyle() != tuned.get_linestyle() == "-"
        assert control.get_markerfacecolor() == "white"
    again = CONTROLS[0] | {"name": "filter-weak", "space": {"alpha": 1e-2, "gamma": 0.1}}
    figure = figures.figure8(*confirmed_study([*CONTROLS[:1], again, "gradient-filter"], runs=2, trials=3))
    assert len({line.get_color() for line in figure.axes[1].lines if "(" in line.get_label()}) == 2


def test_a_mean_below_the_axis_is_marked(records):
    figure = figures.figure8(*records)
    (axes,) = figure.axes
    low, _ = axes.get_ylim()
    means = [line for line in axes.lines if "(" in line.get_label()]
    off = [(np.asarray(line.get_ydata()) < low).sum() for line in means]
    marks = [line for line in axes.lines if line.get_marker() == "v" and line.get_markersize() == 4]
    assert sum(off) == sum(len(mark.get_xdata()) for mark in marks) > 0


def test_methods_stand_apart(records):
    lines = [line for line in figures.figure8(*records).axes[0].lines if len(line.get_ydata()) == 60]
    first, second = lines
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    assert not set(first.get_xdata()) & set(second.get_xdata())


def test_every_method_has_a_look_and_a_name_of_its_own():
    assert len(canvas.LOOKS) >= len(METHOD_TABLE)
    for column in zip(*canvas.LOOKS, strict=True):
        assert len(set(column)) == len(canvas.LOOKS)
    labels = [label(name, name) for name in METHOD_TABLE]
    assert len(set(labels)) == len(labels)
    assert all(method.label for method in METHOD_TABLE.values())
    assert label("a-method-of-the-future", "a-method-of-the-future") == "a method of the future"
    assert label("latent-random", "latent-sgd") == "latent random"


# Machado et al. 2009: linear RGB as seen with all receptors, and without red, green or blue ones
SEEN = {
    "all": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.parametrize("vision", SEEN)
def test_no_two_methods_colours_look_the_same(vision):
    srgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour, _ in canvas.LOOKS]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ SEEN[vision].T, 0, 1) @ XYZ.T / XYZ.sum(axis=1)
    cube = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack(
        [116 * cube[:, 1] - 16, 500 * (cube[:, 0] - cube[:, 1]), 200 * (cube[:, 1] - cube[:, 2])], axis=1
    )
    apart = np.linalg.norm(lab[:, None] - lab, axis=2)[np.triu_indices(len(lab), 1)]
    assert apart.min() > 10  # CIELAB: five times the least visible difference


@pytest.fixture(scope="module")
def long_names():
    names = sorted(OPTIMIZERS, key=lambda name: len(METHOD_TABLE[name].label))[-4:]
    return figure8_like(runs=6, trials=10, methods=names)


@pytest.fixture(scope="module")
def all_methods():
    return figure8_like(runs=6, trials=10, slow=1.1, methods=list(OPTIMIZERS))


def test_a_crowd_is_means_and_medians(all_methods):
    study, trials = all_methods
    figure = figures.figure8(study, trials)
    (axes,) = figure.axes
    assert not axes.collections
    drawn = [np.asarray(line.get_ydata()) for line in axes.lines if line.get_linestyle() != "None"]
    assert len(drawn) == 2 * len(OPTIMIZERS)
    for method in OPTIMIZERS:
        best = 100 * curves_of(method, trials, (6, 10), "maximize").best
        for middle in (best.mean(axis=0), np.median(best, axis=0)):
            assert any(y.size == 10 and np.allclose(y, middle) for y in drawn)
    assert legend(figure)[len(OPTIMIZERS) :] == ["mean of the runs", "median"]
    comparison = compare(study, trials)
    for draw in (figures.trials_to_target, figures.extra_trials):
        assert not draw(comparison).axes[0].collections
    assert "The runs and intervals of so many arms would hide each other" in report(
        study, comparison, ["figure8.png"]
    )


@pytest.mark.parametrize("draw", ["figure8", "trials_to_target", "extra_trials"])
@pytest.mark.parametrize("which", ["records", "long_names", "all_methods", "confirmed"])
def test_fit_for_print(which, draw, request):
    records = request.getfixturevalue(which)
    figure = figures.figure8(*records) if draw == "figure8" else getattr(figures, draw)(compare(*records[:2]))
    assert 3.3 <= figure.get_figwidth() <= 3.5
    figure.canvas.draw()
    shown = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= 7
    inside = figure.get_tightbbox().padded(-0.02)
    assert inside.x0 >= 0
    assert inside.x1 <= figure.get_figwidth()


def test_a_figure_of_anything():
    study, trials = figure8_like(runs=3, trials=5)
    for some in ([], trials[:1], [t for t in trials if t.trial < 3], trials):
        figures.figure8(study, some).savefig(io.BytesIO())
    failed = study_of(runs=2, trials=2)
    figures.figure8(failed, trials_of(failed, {m: [[None, None]] * 2 for m in METHODS})).savefig(io.BytesIO())
    one_failed = {m: [[None, None], [0.5, 0.6]] for m in METHODS}
    figures.extra_trials(compare(failed, trials_of(failed, one_failed))).savefig(io.BytesIO())
    comparison = compare(*figure8_like(runs=1, trials=3))
    figures.extra_trials(comparison).savefig(io.BytesIO())
    figures.trials_to_target(comparison).savefig(io.BytesIO())


def test_settings_of_matplotlib_are_left_alone(records):
    before = dict(matplotlib.rcParams)
    figures.figure8(*records).savefig(io.BytesIO())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("studies.analysis.comparison", []),
        ("studies.results.data_tables", []),
        ("studies.results.export", ["matplotlib"]),
    ],
)
def test_light_imports(module, needs):
    """The service imports these modules, and each heavy one would cost its process time and memory."""
    heavy = ["torch", "ray", "ax", "sqlalchemy", "scipy.stats", "scipy.optimize", "scipy.special", "pyarrow",
             "pandas", "matplotlib.pyplot", "matplotlib"]  # fmt: skip
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(needs)


def test_mean_and_median_stop_where_a_run_is_missing(records):
    """Over fewer runs they could fall: here the best run stops early."""
    study, trials = records
    some = [t for t in trials if t.trial <= 7 or t.run != 1]
    lines = figures.figure8(study, some).axes[0].lines
    drawn = [np.asarray(line.get_ydata()) for line in lines if len(line.get_ydata()) == 10]
    assert len(drawn) == 4
    for y in drawn:
        assert np.isnan(y).tolist() == [False] * 7 + [True] * 3


def test_one_method_has_no_band_at_its_own_target():
    for methods, bands in ((METHODS, 2), (METHODS[:1], 0)):
        figure = figures.trials_to_target(compare(*figure8_like(runs=6, trials=5, methods=methods)))
        assert len(figure.axes[0].collections) == bands


def test_before_the_first_trial_no_run_is_at_the_target():
    figure = figures.trials_to_target(compare(*figure8_like(runs=6, trials=5)))
    for band in figure.axes[0].collections:
        corners = band.get_paths()[0].vertices
        assert corners[corners[:, 0] == 0, 1].max() == 0


def test_an_arm_looks_the_same_in_all_figures(confirmed):
    study, trials, confirmations = confirmed
    compared = compare(study, trials, confirmations=confirmations)

    def look(figure, start):
        named = [line for line in figure.axes[0].lines if str(line.get_label()).startswith(start)]
        return {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in named}

    drawn = [figures.figure8(*confirmed), figures.trials_to_target(compared), figures.extra_trials(compared)]
    for start in ("latent SGD", "latent published"):
        assert len(set.union(*(look(figure, start) for figure in drawn))) == 1


def test_a_control_of_another_network_is_told_from_that_of_the_arm_that_searches():
    narrow = CONTROLS[0] | {"name": "narrow", "proxy": {"width": 64}}
    study, trials, fresh = confirmed_study(["gradient-filter", narrow, CONTROLS[0]], runs=6, trials=3)
    compared = compare(study, trials, confirmations=fresh)
    for figure in (figures.figure8(study, trials, fresh), figures.trials_to_target(compared)):
        colours = {str(line.get_label()).split(" (")[0]: line.get_color() for line in figure.axes[0].lines}
        assert colours["filter published"] == colours["gradient filter"] != colours["narrow"]
    text = report(study, compared, [])
    assert " with narrow (with a task or proxy other than those of the arms that search) and " in text
    assert " with filter published: that is luck alone." in text
    assert " and (if networks are the same) real-valued\n  initialisation. The difference" in text
    alone = compare(*(found := figure8_like(runs=6, trials=3)))
    assert "shares its data split, data order and real-valued\n  init" in report(found[0], alone, [])
