"""The figures of recorded series show them in their lines and images."""

import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from synthetic import study_of, trial_of

from studies.design.spec import stored
from studies.records import EpochRecord, Series
from studies.results import traces
from studies.results.export import archive
from studies.results.traces import FIGURES

LATENT = {"initial_magnitude": 0.1, "gamma": 0.1, "weight_decay": 1e-3}
ARMS = (
    {
        "name": "latent",
        "method": "latent-sgd-magnitude-independent",
        "space": LATENT | {"learning_rate": 1.0},
    },
    {"name": "filter", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}},
)
STEPS = [10, 20, 30, 40]


def weight(name, seed, *whats):
    values = np.random.default_rng(seed).normal(0, 1e-3, (len(whats), 4))
    return [Series.of(f"{name}.{what}", STEPS, row) for what, row in zip(whats, values, strict=True)]


def records(**task):
    """Make two runs r; the second arm flips half as much, and differs in r more signs from row to row."""
    study = study_of(arms=ARMS, searcher="random", runs=2, trials=1, **task)
    spec, trials = stored(study), []
    for i, arm in enumerate(spec.arms):
        kept = ("gradient", "w", "m") if i == 0 else ("gradient", "g", "m")
        for run in (1, 2):
            bits = np.zeros((4, 24), bool)
            for row in range(4) if i else ():
                bits[row, : row * run] = True
            series = (
                Series.of("flip_ratio", STEPS, np.array([8.0, 4.0, 2.0, 0.0]) * run * 1e-3 / (i + 1)),
                *weight("3[0,1]", run + i, *kept),
                Series.of("3[0,1].sign", STEPS, [1, 1, 1, 1]),
                *weight("5[2,2]", run + i + 9, *kept),
                Series.of("5[2,2].sign", STEPS, [1, -1, -1, 1]),
                Series.of("signs", STEPS, np.packbits(bits, axis=1)),
            )
            epochs = tuple(
                EpochRecord(epoch=epoch, train_loss=1.0 / epoch, validation_metric=0.5, test_metric=0.5 + 0.1 * epoch,
                            flip_ratio=0.1, train_seconds=1.0, evaluate_seconds=1.0, train_metric=0.6 + 0.1 * epoch)
                for epoch in (1, 2)
            )  # fmt: skip
            trial = trial_of(spec, arm.name, run, 1, 0.7)
            trials.append(replace(trial, series=(series,), epochs=epochs))
    return study, trials


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_flips_by_step_are_the_means_of_the_runs():
    figure = traces.flips(*records())
    (axes,) = figure.axes
    latent, of_filter = axes.lines
    assert latent.get_xdata().tolist() == STEPS
    np.testing.assert_allclose(latent.get_ydata(), [1.2, 0.6, 0.3, 0.0])
    np.testing.assert_allclose(of_filter.get_ydata(), [0.6, 0.3, 0.15, 0.0])
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == (
        "Step",
        "Weights flipped per step (%)",
        "log",
    )
    assert texts(figure) == ["latent", "filter"]


def test_a_line_of_flips_for_each_setting_of_a_grid():
    arm = {"name": "filter", "method": "gradient-filter", "space": {"alpha": [1e-3, 1e-2], "gamma": 0.1}}
    study = study_of(arms=[arm], searcher="grid", runs=1)
    trials = [
        replace(
            trial_of(stored(study), "filter", 1, i, 0.5, hyperparameters={"alpha": alpha, "gamma": 0.1}),
            series=((Series.of("flip_ratio", [1, 2], [alpha, alpha / 2]),),),
        )
        for i, alpha in enumerate((1e-3, 1e-2), start=1)
    ]
    figure = traces.flips(study, trials)
    assert texts(figure) == ["filter, alpha 0.001", "filter, alpha 0.01"]
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[0.1, 0.05], [1.0, 0.5]]


def test_differing_signs_of_the_first_two_arms():
    figure = traces.signs(*records())
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [
        [0, 1, 2, 3],
        [0, 2, 4, 6],
        [0, 1.5, 3, 4.5],
    ]
    assert axes.get_ylabel() == "Differing signs"
    assert axes.get_title() == "latent and filter"
    assert axes.get_ylim()[0] == 0 < 6 < axes.get_ylim()[1]


def test_differing_signs_of_the_next_two_arms_are_beside_them():
    _, trials = records()
    more = [
        arm | {"name": name, "proxy": {"precision": "float64"}} for arm, name in zip(ARMS, "ab", strict=True)
    ]
    third = ARMS[1] | {"name": "third", "space": {"alpha": 0.1, "gamma": 0.1}}
    both = study_of(arms=[*ARMS, *more, third], searcher="random", runs=2, trials=1)
    names = {"latent": "a", "filter": "b"}
    twins = [replace(t, arm=names[t.arm]) for t in trials if t.run == 1]
    figure = traces.signs(both, [*trials, *twins])
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("latent and filter", "a and b")
    assert [line.get_ydata().tolist() for line in second.lines] == [[0, 1, 2, 3]] * 2
    assert first.get_ylim() == second.get_ylim()
    (alone,) = traces.signs(both, twins).axes
    assert alone.get_title() == "a and b"


def test_the_metric_by_epoch_on_training_and_test_samples():
    study, trials = records()
    figure = traces.metrics(study, trials)
    training, test, loss = figure.axes
    named = [axes.get_ylabel() for axes in figure.axes]
    assert named == ["Training accuracy (%)", "Test accuracy (%)", "Training loss"]
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0, 0.5]] * 2
    assert training.get_ylim() == test.get_ylim() != loss.get_ylim()
    assert [[round(y) for y in line.get_ydata()] for line in training.lines] == [[70, 80]] * 2
    assert [[round(y) for y in line.get_ydata()] for line in test.lines] == [[60, 70]] * 2
    assert texts(figure) == ["latent", "filter"]
    latent = [
        replace(t, epochs=tuple(replace(e, latent_test_metric=0.2 * e.epoch) for e in t.epochs))
        for t in trials
    ]
    figure = traces.metrics(study, latent)
    last = figure.axes[-2]
    assert [[round(y) for y in line.get_ydata()] for line in last.lines] == [[20, 40]] * 2
    assert last.get_ylabel() == "Test accuracy, latent\nweights (%)"
    assert (
        0
        <= last.yaxis.label.get_window_extent().y0
        < figure.bbox.y1
        >= last.yaxis.label.get_window_extent().y1
    )
    of_test = [replace(t, epochs=tuple(replace(e, train_metric=None) for e in t.epochs)) for t in latent]
    named = [axes.get_ylabel() for axes in traces.metrics(study, of_test).axes]
    assert named == ["Test accuracy (%)", "Test accuracy, latent\nweights (%)"], (
        "no training curves were asked for"
    )


def test_the_traces_of_the_weight_that_flips_most():
    study, trials = records()
    figure = traces.weights(study, trials)
    panels = [axes for axes in figure.axes if axes.axison]
    labels = [axes.get_ylabel().replace("\n", " ") for axes in panels]
    latent, of_filter = ("average m", "latent weight w"), ("first average m", "second average g")
    assert sorted(labels) == sorted([*("gradient", "sign") * 2, *latent, *of_filter])
    assert len(figure.axes) == 10
    titles = [axes.get_title() for axes in figure.axes[:2]]
    assert titles == ["latent, weight 5[2,2]", "filter, weight 5[2,2]"]
    drawn = {
        (axes.get_ylabel().replace("\n", " "), axes.get_subplotspec().colspan.start): axes.lines[0]
        for axes in panels
    }
    for arm, column in (("latent", 0), ("filter", 1)):
        (first,) = (t for t in trials if t.arm == arm and t.run == 1)
        for series in first.series[0]:
            weight, _, what = series.name.rpartition(".")
            if weight == "5[2,2]":
                words = "average m" if (arm, what) == ("latent", "m") else traces.KEPT.get(what, what)
                assert drawn[words, column].get_ydata().tolist() == series.values.tolist()


def test_the_only_average_of_a_first_order_filter_is_neither_first_nor_second():
    arm = {"name": "first", "method": "gradient-filter-first-order", "space": {"alpha": 1e-3}}
    study = study_of(arms=[arm], searcher="random", runs=1, trials=1)
    series = (*weight("3[0,1]", 0, "gradient", "g"), Series.of("3[0,1].sign", STEPS, [1, 1, -1, -1]))
    trial = replace(trial_of(stored(study), "first", 1, 1, 0.5), series=(series,))
    labels = [axes.get_ylabel().replace("\n", " ") for axes in traces.weights(study, [trial]).axes]
    assert labels == ["gradient", "average g", "sign"]
    assert traces.filters(study, [trial]) is None


def of_two_epochs(gradients, **space):
    """Make a study of one gradient filter that recorded these gradients (weights, steps) in two epochs."""
    arm = {"name": "filter", "method": "gradient-filter", "space": {"alpha": 0.5, "gamma": 0.5} | space}
    study = study_of(arms=[arm], searcher="random", runs=1, trials=1)
    steps = range(1, len(gradients[0]) + 1)
    series = tuple(
        Series.of(f"{i}[0,1].{what}", steps, its)
        for i, its in enumerate(gradients)
        for what in ("gradient", "g", "m", "sign")  # what was recorded of averages is not drawn
    )
    trial = trial_of(stored(study), "filter", 1, 1, 0.5)
    epochs = tuple(
        EpochRecord(epoch=epoch, train_loss=1.0, validation_metric=0.5, test_metric=0.5, flip_ratio=0.1,
                    train_seconds=1.0, evaluate_seconds=1.0)
        for epoch in (1, 2)
    )  # fmt: skip
    return study, [replace(trial, series=(series,), epochs=epochs)]


def test_both_filters_are_drawn_of_one_recorded_gradient_in_the_first_epoch():
    figure = traces.filters(*of_two_epochs([[8.0, -16.0, 0.0, 99.0, 99.0, 99.0], [-8.0, 0.0, 8.0, 1, 1, 1]]))
    panels = np.array(figure.axes).reshape(4, 2)
    drawn = [[[line.get_ydata().tolist() for line in axes.lines] for axes in column] for column in panels.T]
    assert drawn[0] == [
        [[8, -16, 0]],
        [[4, -6, -3], [2, -2, -2.5]],
        [[-1, 1, 1]],
        [[-1, 1, 1]],
    ]
    assert drawn[1] == [
        [[-8, 0, 8]],
        [[-4, -2, 3], [-2, -2, 0.5]],
        [[1, 1, -1]],
        [[1, 1, -1]],
    ]
    assert all(line.get_xdata().tolist() == [1, 2, 3] for axes in figure.axes for line in axes.lines)
    assert [axes.get_title() for axes in panels[0]] == ["weight 0[0,1]", "weight 1[0,1]"]
    assert [axes.get_ylabel().replace("\n", " ") for axes in panels[:, 0]] == [*traces.FILTERED]
    assert texts(figure) == ["gradient", "first order, alpha 0.5", "second order, also gamma 0.5"]
    both, first, second = (axes.lines for axes in panels[1:, 0])
    assert [line.get_color() for line in both] == [first[0].get_color(), second[0].get_color()]


def test_at_most_four_weights_are_filtered():
    figure = traces.filters(*of_two_epochs([[1.0, -1.0, 1.0, -1.0]] * 5))
    assert len(figure.axes) == 4 * traces.MOST_COLUMNS


def test_images_with_noise_and_recovered_by_each_arm():
    study, trials = records(task="cifar10-denoise")
    bytes_of = np.arange(3 * 2 * 3 * 8 * 8, dtype=np.uint8).reshape(3, 1, 2, 3, 8, 8)
    names = ("original", "noisy", "recovered")
    shown = tuple(Series.of(name, [40], its) for name, its in zip(names, bytes_of, strict=True))
    trials = [replace(trial, series=(shown,)) for trial in trials]
    figure = traces.images(study, trials)
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["original", "with noise", "latent", "filter"]
    wanted = [*bytes_of[0, 0], *bytes_of[1, 0], *bytes_of[2, 0], *bytes_of[2, 0]]
    for axes, image in zip(figure.axes, wanted, strict=True):
        assert np.array_equal(axes.images[0].get_array(), np.moveaxis(image, 0, -1))


def test_an_export_has_the_figures_of_what_was_recorded_and_the_numbers_as_a_table():
    study, trials = records()
    packed = zipfile.ZipFile(BytesIO(archive(study, trials)))
    names = {name.partition("/")[2] for name in packed.namelist()}
    drawn = {"flips-by-step.png", "metric-by-epoch.png", "weight-by-step.png", "differing-signs.png"}
    assert drawn <= names
    assert "images.png" not in names
    assert {"traces.csv", "traces.parquet"} <= names
    assert "traces.json" not in names
    table = pd.read_csv(packed.open(f"{study.id}/traces.csv"))
    flips = table[(table.series == "flip_ratio") & (table.arm == "filter") & (table.run == 2)]
    assert flips.step.tolist() == STEPS
    np.testing.assert_allclose(flips.value, [8e-3, 4e-3, 2e-3, 0])
    assert len(table) == 4 * 9 * 4
    assert set(table.repeat) == {1}


@pytest.mark.parametrize("name", FIGURES)
def test_where_nothing_was_recorded_nothing_is_drawn(name):
    study, trials = records()
    epochs = tuple(replace(epoch, train_metric=None) for epoch in trials[0].epochs)
    assert FIGURES[name](study, [replace(trial, series=(), epochs=epochs) for trial in trials]) is None
    assert FIGURES[name](study, []) is None
