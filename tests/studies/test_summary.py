"""The paragraph in words: the numbers it must hold, and its caveats."""

import pytest
from synthetic import figure8_like, study_of, trials_of

from studies import summary as words
from studies.comparison import compare
from studies.summary import summary


def test_a_clear_result():
    comparison = compare(*figure8_like(slow=1.8))
    text = summary(comparison)
    assert "\n" not in text
    assert text.startswith(
        "Gradient filter (2 hyperparameters) and latent SGD (6 hyperparameters) were each tuned"
    )
    assert "20 independent runs of 25 trials" in text
    filters, latent = comparison["methods"].values()
    for m in (filters, latent):
        assert words.estimate(m["best_at_budget"]["median"], "accuracy") in text
        assert f"{words.trials(m['trials_to_target'][1]['restricted_mean'])} with {m['label']}" in text
    entry = comparison["pairs"][0]["extra_trials"][0]["by_trial"][12]
    assert f"latent SGD's needs {entry['extra']} more trials" in text
    assert "trials more than gradient filter." in text
    assert "unfinished" not in text


def test_an_open_result_says_so():
    study = study_of(runs=8, trials=2)
    values = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.89, 0.96]
    text = summary(
        compare(
            study,
            trials_of(
                study,
                {"gradient-filter": [[v, v] for v in values], "latent-sgd": [[v, v] for v in values[::-1]]},
            ),
        )
    )
    assert "the interval includes zero, so which of the two ends better is not settled" in text
    assert "the interval includes zero, so neither is shown to need fewer" in text
    assert "needs no more trials" in text


@pytest.mark.parametrize("runs", [1, 2, 5])
@pytest.mark.parametrize("methods", [["gradient-filter"], ["latent-sgd", "gradient-filter"]])
def test_it_is_whole_for_every_size(runs, methods):
    text = summary(compare(*figure8_like(runs=runs, trials=6, methods=methods)))
    assert not [bad for bad in ("None", "nan", "inf ", "  ", "{", "–") if bad in text]
    assert ("no intervals" in text) == (runs == 1)
    assert f"{runs} independent run{'s' if runs > 1 else ''} of 6 trials" in text
    assert text.endswith(".")


def test_an_unfinished_study_says_so():
    study, trials = figure8_like(runs=6, trials=10)
    text = summary(compare(study, [t for t in trials if t.trial <= 4]))
    assert "The study is unfinished: 48 of 120 trials are done." in text
    assert "After 4 trials, as many as every run has done," in text
    assert "there is nothing to compare yet" in summary(compare(study, []))


def test_unequal_treatment_is_named():
    study, trials = figure8_like(runs=2, trials=8)
    text = summary(compare(study, trials[:-1]))
    assert "Not equal between the methods: trials done in each run" in text


def test_numbers_in_words():
    e = {"value": 0.9344, "low": 0.93, "high": 0.9386, "level": 0.9586}
    assert words.estimate(e, "accuracy") == "93.4% (95.9% interval 93.0% to 93.9%)"
    assert words.estimate(e | {"low": None}, "accuracy") == "93.4%"
    assert words.difference(e | {"value": -0.001, "low": -0.00001}, "accuracy") == (
        "−0.10 percentage points (95.9% interval 0.00 to 93.86)"
    )
    assert words.estimate(e, "loss") == "0.9344 (95.9% interval 0.9300 to 0.9386)"
    assert (
        words.share({"value": 0.85, "low": 0.64, "high": 1.0, "level": 0.95})
        == "85% (95% interval 64% to 100%)"
    )
    assert [words.p_value(p) for p in (None, 0.0001, 0.0123, 0.5)] == [
        "–",
        "p < 0.001",
        "p = 0.012",
        "p = 0.50",
    ]
    entry = {"extra": None, "low": -2, "high": None, "at_least": 7}
    assert words.extra(entry) == "at least 7"
    assert words.extra_interval(entry, 0.95) == "−2 to at least 7"
    assert words.extra_interval(entry, None) == "–"
