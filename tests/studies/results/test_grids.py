"""The figure of a grid shows what was measured at the points where it was measured."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import figure8_like, study_of, trial_of, trials_of

from studies.analysis import stats
from studies.design.spec import stored
from studies.records import EpochRecord
from studies.results.export import export
from studies.results.grids import over_grid, side_by_side

ALPHAS, GAMMAS = (1e-4, 1e-3, 1e-2), (0.05, 0.5)
GRID = {"name": "filter", "method": "gradient-filter", "space": {"alpha": [*ALPHAS], "gamma": 0.1}}
OTHER = {"name": "swapped", "method": "gradient-filter", "space": {"alpha": 0.1, "gamma": [*ALPHAS[::-1]]}}
CONTROL = {"name": "published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}
WORTH = {1e-4: 0.5, 1e-3: 0.75, 1e-2: 0.25}


def epochs(*ratios: float) -> tuple[EpochRecord, ...]:
    return tuple(
        EpochRecord(epoch=i, train_loss=1.0, validation_metric=0.5, test_metric=0.5, flip_ratio=ratio,
                    train_seconds=0.1, evaluate_seconds=0.1)
        for i, ratio in enumerate(ratios, start=1)
    )  # fmt: skip


def records(*arms, runs=4, flips=True):
    """Make trials: each run is 1/64 better than the one before; ten times the value flips ten times as many weights."""
    study = study_of(arms=arms, searcher="grid", runs=runs)
    spec = stored(study)
    trials = []
    for arm in spec.arms:
        listed = [name for name in ("alpha", "gamma") if len(getattr(arm.space[name], "values", ())) > 1]
        for run in range(1, runs + 1):
            for i in range(spec.trials):
                point = {name: arm.space[name].at(0) for name in arm.space}
                if listed:
                    point[listed[0]] = arm.space[listed[0]].values[i]
                value = point[listed[0]] if listed else 1e-3
                trial = trial_of(spec, arm.name, run, i + 1, WORTH[value] + run / 64)
                trials.append(
                    replace(trial, hyperparameters=point, epochs=epochs(value, value / 2) if flips else ())
                )
    return study, trials


def test_a_point_is_the_mean_of_the_runs_and_its_band_the_t_interval():
    figure = over_grid(*records(GRID, CONTROL))
    objective, flips = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == ["alpha", "alpha"]
    assert (objective.get_ylabel(), flips.get_ylabel()) == (
        "Validation accuracy (%)",
        "Weights flipped per step (%)",
    )
    line, level = objective.lines
    assert line.get_xdata().tolist() == [*ALPHAS]
    wanted = [stats.mean(100 * (WORTH[alpha] + np.arange(1, 5) / 64)) for alpha in ALPHAS]
    assert line.get_ydata() == pytest.approx([each.value for each in wanted])
    band, _ = objective.collections[0].get_paths()[0].vertices, None
    assert {*np.round(band[:, 1], 9)} >= {*np.round([e for w in wanted for e in (w.low, w.high)], 9)}
    assert level.get_ydata() == pytest.approx([wanted[1].value] * 2)
    assert level.get_linestyle() == "--"
    assert flips.lines[0].get_ydata() == pytest.approx([75 * alpha for alpha in ALPHAS])
    assert (objective.get_xscale(), objective.get_yscale(), flips.get_yscale()) == ("log", "linear", "log")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["filter", "published (control)"]


def test_arms_that_list_different_things_have_rows_of_their_own():
    figure = over_grid(*records(GRID, OTHER, flips=False))
    assert [axes.get_xlabel() for axes in figure.axes] == ["alpha", "gamma"]
    for axes, colour in zip(figure.axes, ("#0072B2", "#D55E00"), strict=True):
        (line,) = axes.lines
        assert line.get_xdata().tolist() == [*ALPHAS]  # from left to right, in whatever order they are listed
        assert line.get_ydata() == pytest.approx([100 * (WORTH[alpha] + 2.5 / 64) for alpha in ALPHAS])
        assert line.get_color() == colour


def test_an_arm_without_a_result_leaves_its_row_empty():
    study, trials = records(GRID, OTHER)
    figure = over_grid(study, [trial for trial in trials if trial.arm == "filter"])
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 0, 0]
    assert all(not axes.lines for axes in over_grid(study, []).axes)


def test_two_lists_are_lines_against_each_of_them():
    both = {"name": "filter", "method": "gradient-filter", "space": {"alpha": [*ALPHAS], "gamma": [*GAMMAS]}}
    study = study_of(arms=[both], searcher="grid", runs=1)
    spec = stored(study)
    points = [{"alpha": alpha, "gamma": gamma} for alpha in ALPHAS for gamma in GAMMAS]
    trials = [
        replace(trial_of(spec, "filter", 1, i, 0.5 + i / 100), hyperparameters=point)
        for i, point in enumerate(points, start=1)
    ]
    by_alpha, by_gamma = over_grid(study, trials).axes
    assert [line.get_label() for line in by_alpha.lines] == ["filter, gamma 0.05", "filter, gamma 0.5"]
    assert by_alpha.lines[1].get_ydata() == pytest.approx([52, 54, 56])
    assert by_gamma.lines[0].get_label() == "filter, alpha 0.0001"
    assert by_gamma.lines[2].get_ydata() == pytest.approx([55, 56])


def test_words_and_switches_stand_side_by_side():
    decays = {"name": "decays", "method": "gradient-filter",
              "space": {"alpha": 1e-3, "gamma": 0.1, "decay": ["none", "cosine"]}}  # fmt: skip
    study = study_of(arms=[decays], searcher="grid", runs=2)
    spec = stored(study)
    trials = [
        replace(trial_of(spec, "decays", run, i, 0.5 + i / 4), hyperparameters={"decay": decay})
        for run in (1, 2)
        for i, decay in enumerate(("none", "cosine"), start=1)
    ]
    (axes,) = over_grid(study, trials).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "cosine"]
    assert axes.lines[0].get_ydata() == pytest.approx([75, 100])


def test_a_study_without_a_grid_has_none():
    records_of_tuning = figure8_like(runs=2, trials=3)
    assert over_grid(*records_of_tuning) is side_by_side(*records_of_tuning) is None


def test_arms_that_search_nothing_are_side_by_side(tmp_path):
    other = CONTROL | {"name": "another-alpha", "space": {"alpha": 1e-2, "gamma": 0.1}}
    study = study_of(arms=[CONTROL, other], runs=3, trials=1)
    trials = [
        replace(trial_of(stored(study), arm, run, 1, worth + run / 64), epochs=epochs(0.25, 0.5))
        for arm, worth in (("published", 0.75), ("another-alpha", 0.5))
        for run in (1, 2, 3)
    ]
    objective, flips = side_by_side(study, trials).axes
    assert [text.get_text() for text in objective.get_xticklabels()] == ["published", "another\nalpha"]
    runs, mean, *_ = objective.lines
    assert runs.get_ydata() == pytest.approx([100 * (0.75 + run / 64) for run in (1, 2, 3)])
    assert mean.get_ydata() == pytest.approx([100 * (0.75 + 2 / 64)])
    wanted = stats.mean(100 * (0.75 + np.arange(1, 4) / 64))
    (bar,) = objective.collections[0].get_segments()
    assert bar[:, 1] == pytest.approx([wanted.low, wanted.high])
    assert flips.lines[0].get_ydata() == pytest.approx([37.5] * 3)
    export(study, trials, tmp_path)
    assert "](arms.png)" in (tmp_path / "report.md").read_text()


def test_of_flips_there_is_nothing_where_no_weights_are_binary(tmp_path):
    real = {"name": "real-valued", "task": "cifar10-real-denoise"}
    bop = {"name": "bop", "space": {"gamma": 1e-4, "tau": 1e-8}}
    study = study_of(arms=[real, bop], task="cifar10-denoise", runs=6, trials=1)
    trials = [
        replace(trial_of(stored(study), arm, run, 1, worth + run / 64), epochs=epochs(ratio))
        for arm, worth, ratio in (("real-valued", 14.0, 0.0), ("bop", 9.0, 0.25))
        for run in range(1, 7)
    ]
    objective, flips = side_by_side(study, trials).axes
    assert len(objective.collections) == 2
    assert {float(y) for line in flips.lines for y in line.get_ydata()} == {25}
    export(study, trials, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "**Real-valued network is better than Bop on the validation split, by 5.000 dB" in text
    assert "- `real-valued`: Nayak et al. 2020, section 5" in text


def test_a_grid_without_binary_weights_has_no_panel_of_their_flips():
    real = {
        "name": "real-valued",
        "task": "cifar10-real-denoise",
        "space": {"real_learning_rate": [1e-3, 1e-2]},
    }
    bop = {"name": "bop", "space": {"gamma": [1e-4, 1e-3], "tau": 1e-8}}
    study = study_of(arms=[real, bop], task="cifar10-denoise", searcher="grid", runs=2)
    spec = stored(study)
    trials = [
        replace(
            trial_of(spec, arm.name, run, i + 1, 9.0),
            hyperparameters={name: getattr(d, "values", [d.at(0)] * 2)[i] for name, d in arm.space.items()},
            epochs=epochs(0.25 * arm.is_binary),
        )
        for arm in spec.arms
        for run in (1, 2)
        for i in (0, 1)
    ]
    panels = over_grid(study, trials).axes
    assert [axes.axison for axes in panels] == [True, False, True, True]


def test_it_is_in_the_export_and_the_report(tmp_path):
    names = {file.name for file in export(*records(GRID, CONTROL), tmp_path)}
    assert "grid.png" in names
    assert "](grid.png)" in (tmp_path / "report.md").read_text()


def test_names_of_many_arms_do_not_lie_on_each_other():
    arms = [
        {"name": f"straight-through-{i}", "method": "bop", "space": {"gamma": 0.1**i, "tau": 0.0}}
        for i in range(1, 9)
    ]
    study = study_of(arms, runs=2, trials=1)
    figure = side_by_side(study, trials_of(study, {arm["name"]: [[0.5], [0.6]] for arm in arms}))
    slants = [text.get_rotation() for text in figure.axes[0].get_xticklabels()]
    assert slants == [40] * 8
