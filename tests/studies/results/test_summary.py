"""The comparison in words: the numbers and the caveats that it must hold."""

import math
from dataclasses import replace

import pytest
from synthetic import figure8_like, study_of, trials_of

from studies.analysis.compared import ExtraTrialsAt
from studies.analysis.comparison import compare
from studies.analysis.estimate import Estimate
from studies.design.methods import METHODS
from studies.results import wording
from studies.results.summary import excludes_zero, summary


def test_a_clear_result():
    comparison = compare(*figure8_like(slow=1.8))
    text = summary(comparison)
    assert [len(paragraph.splitlines()) for paragraph in text.split("\n\n")] == [1, 1, 1, 1]
    assert text.startswith(
        "Gradient filter (2 hyperparameters) and latent SGD (6 hyperparameters) were each tuned"
    )
    assert "20 independent runs of 25 trials" in text
    filters, latent = comparison.arms.values()
    for m in (filters, latent):
        assert wording.estimate(m.best_at_budget.median, "accuracy") in text
        assert f"{wording.trials(m.trials_to_target[1].restricted_mean)} with {m.label}" in text
    entry = comparison.pairs[0].extra_trials[0].by_trial[12]
    interval = f"95% interval of the extra trials: {entry.low} or more"
    assert entry.high is None
    after = "After 13 trials, gradient filter's mean validation curve is at a level that latent SGD's reaches"
    assert f"{after} in {entry.extra} more trials ({interval})." in text
    assert " more trials than gradient filter" in text
    test = comparison.pairs[0].test_at_budget.paired
    shift = wording.difference(test.hodges_lehmann, "accuracy")
    assert f"there the paired difference is {shift}, signed-rank {wording.p_value(test.p)}" in text
    assert "The target is a validation accuracy of " in text
    assert "Counting at most 25 trials per run, the mean number of trials to reach it is " in text
    assert "unfinished" not in text


@pytest.mark.parametrize(
    ("task", "seen"),
    [("spoken-digits", "validation and test samples"), ("mnist-lenet5", "validation samples")],
)
def test_what_the_network_has_seen_that_trainings_start_from(task, seen):
    _, trials = figure8_like(runs=3, trials=2)
    text = summary(compare(study_of(task=task, runs=3, trials=2, start="first"), trials))
    assert f" were each tuned on {task}, from first, in 3 independent runs" in text
    assert (
        'Every training starts from the network "first". If that network was trained on the same data' in text
    )
    assert f", it has seen {seen} of the runs, and the accuracy on them is optimistic." in text
    assert "starts from" not in summary(compare(*figure8_like(runs=3, trials=2)))


def test_a_hyperparameter_that_does_nothing_is_told():
    _, trials = figure8_like(runs=3, trials=2)
    of = {
        key: summary(compare(study_of(runs=3, trials=2, **changes), trials))
        for key, changes in (
            ("start", {"start": "first"}),
            ("two steps", {"proxy": {"first_step": 5}}),
            ("neither", {}),
        )
    }
    idle = "The initial_magnitude of latent SGD has no effect"
    assert f"{idle} if that network has real-valued weights." in of["start"]
    assert f"{idle}: latent weights come from the first step." in of["two steps"]
    assert idle not in of["neither"]


def test_a_hyperparameter_does_nothing_where_the_arms_own_task_has_a_first_step():
    """If its own proxy takes the first step out, the hyperparameter has an effect."""
    task = {"task": "cifar10-reactnet20"}
    arms = [{"name": "a", "method": "latent-sgd"} | task, {"name": "b", "method": "latent-sgd"}]
    arms += [arms[0] | {"name": "c", "proxy": {"first_step": 0}}]
    study = study_of(task="cifar10-resnet20", arms=arms, runs=3, trials=1)
    text = summary(compare(study, trials_of(study, {name: [[0.5]] * 3 for name in "abc"})))
    assert "The initial_magnitude of a has no effect: latent weights come from the first step." in text


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
    assert text.count(", so the two are not told apart.") == 2  # on the validation and on the test split
    assert "the interval includes zero, so neither is shown to need fewer" in text
    assert "reaches in as many trials" in text


def test_the_test_decides_not_an_interval_below_the_level():
    """Five runs: the widest interval, 93.8%, leaves zero out, yet p is 0.062."""
    study = study_of(runs=5, trials=1)
    values = {"gradient-filter": [0.91, 0.92, 0.93, 0.94, 0.95], "latent-sgd": [0.90, 0.90, 0.90, 0.90, 0.90]}
    comparison = compare(study, trials_of(study, {m: [[v] for v in its] for m, its in values.items()}))
    paired = comparison.pairs[0].best_at_budget.paired
    assert excludes_zero(paired.hodges_lehmann)
    assert paired.p_holm == 0.0625
    text = summary(comparison)
    assert "signed-rank p = 0.062, so the two are not told apart." in text
    assert "There are too few runs for intervals of numbers of trials." in text


def test_a_level_not_reached_within_the_budget():
    study = study_of(runs=6, trials=4)
    objectives = {"gradient-filter": [[0.5, 0.9, 0.9, 0.9]] * 6, "latent-sgd": [[0.4, 0.5, 0.6, 0.7]] * 6}
    text = summary(compare(study, trials_of(study, objectives)))
    assert (
        "After 2 trials, gradient filter's mean validation curve is at a level that latent SGD's does not reach "
        "in the remaining 2 trials (95% interval of the extra trials: 3 or more)." in text
    )
    assert "at least 3" not in text


def test_other_targets_that_do_not_bear_it_out_are_named():
    comparison = compare(*figure8_like(slow=1.8))
    (pair,) = comparison.pairs
    entries = pair.trials_to_target
    assert all(excludes_zero(e.difference) for e in entries[:2])

    def told(*lows, targets=(entries[0].target, entries[1].target, 0.951, 0.962)):
        savings = tuple(
            replace(e, target=target, difference=Estimate(4.0, low, 9.0, 0.95))
            for e, target, low in zip(entries, targets, lows, strict=True)
        )
        return summary(replace(comparison, pairs=(replace(pair, trials_to_target=savings),)))

    named = "at the harder targets 95.1% and 96.2% the interval includes zero."
    assert f" more trials than gradient filter; {named}" in told(1, 1, -1, -1)
    assert " more trials than gradient filter. " in told(1, 1, 1, 1)
    alike = (0.9621, 0.962, 0.9622, 0.9624)  # equal to one decimal, but four targets
    assert "; at the easier target 96.2% the interval" in told(-1, 1, 1, 1, targets=alike)
    assert "; at the other targets 96.2% the interval" in told(-1, 1, -1, 1, targets=alike)


def test_runs_without_a_result_are_counted():
    study = study_of(runs=8, trials=2)
    objectives = {"gradient-filter": [[0.9, 0.9]] * 8, "latent-sgd": [[0.8, 0.8]] * 6 + [[None, None]] * 2}
    text = summary(compare(study, trials_of(study, objectives)))
    assert "with latent SGD (6 of 8 runs have a result)" in text
    assert "is 10.00 percentage points (96.1% interval 10.00 to ∞), signed-rank p = 0.008." in text
    nothing = {m: [[None, None]] * 8 for m in ("gradient-filter", "latent-sgd")}
    text = summary(compare(study, trials_of(study, nothing)))
    assert "is none with gradient filter (0 of 8 runs have a result)" in text
    assert "is not defined, because too few runs have a result" in text


def test_of_many_methods_the_order_is_told_and_what_is_settled():
    study = study_of(runs=12, trials=1, methods=list(METHODS)[:6])
    of = {m: [[0.90 + 0.001 * ((r + k) % 4)] for r in range(12)] for k, m in enumerate(list(METHODS)[:5])}
    of[list(METHODS)[5]] = [[0.95 + 0.001 * r] for r in range(12)]
    text = summary(compare(study, trials_of(study, of)))
    assert text.startswith("6 arms were each tuned on ")
    assert "accuracy is, from best to worst, 95.5% with straight-through Adam, " in text
    assert text.count("The paired difference, gradient filter minus") == 1
    assert "gradient filter minus straight-through Adam, is −5." in text
    assert "Gradient filter is not told apart from the 4 remaining arms." in text
    assert "1.0 with straight-through Adam, where 12 of 12 runs reach it" in text
    assert "thus takes" not in text
    of[list(METHODS)[5]] = of["latent-sgd"]
    assert "Gradient filter is not told apart from the 5 other arms." in summary(
        compare(study, trials_of(study, of))
    )


def test_several_pairs_are_said_not_to_be_adjusted(monkeypatch):
    monkeypatch.setitem(METHODS, "third", replace(METHODS["gradient-filter"], label="third"))
    text = summary(
        compare(*figure8_like(runs=6, trials=4, methods=("gradient-filter", "latent-sgd", "third")))
    )
    assert "The intervals are not adjusted for the number of pairs." in text
    assert "there the paired difference, gradient filter minus third, is" in text
    assert "Holm-adjusted signed-rank p" in text


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
    assert "After 4 trials, which every run has done, the median run" in text
    assert "there is nothing to compare yet" in summary(compare(study, []))


def test_unequal_treatment_is_named():
    study, trials = figure8_like(runs=2, trials=8)
    text = summary(compare(study, trials[:-1]))
    assert "Not equal between the arms: trials done in each run" in text


def test_numbers_in_words():
    assert wording.value(15.183, "PSNR") == "15.18 dB"
    assert wording.difference(Estimate(1.5, None, None, None), "PSNR") == "1.500 dB"
    e = Estimate(value=0.9344, low=0.93, high=0.9386, level=0.9586)
    assert wording.estimate(e, "accuracy") == "93.4% (95.9% interval 93.0% to 93.9%)"
    assert wording.estimate(replace(e, low=None), "accuracy") == "93.4%"
    assert wording.difference(replace(e, value=-0.001, low=-0.00001), "accuracy") == (
        "−0.10 percentage points (95.9% interval 0.00 to 93.86)"
    )
    assert wording.estimate(e, "loss") == "0.9344 (95.9% interval 0.9300 to 0.9386)"
    assert wording.share(Estimate(0.85, 0.64, 1.0, 0.95)) == "85% (95% interval 64% to 100%)"
    assert [wording.p_value(p) for p in (None, 0.0001, 0.0123, 0.5)] == [
        "–",
        "p < 0.001",
        "p = 0.012",
        "p = 0.50",
    ]
    entry = ExtraTrialsAt(trial=1, extra=None, low=-2, high=None, at_least=7)
    assert wording.extra(entry, 0.95) == "≥ 7 (≥ −2)"
    assert wording.extra(replace(entry, low=None), 0.95) == "≥ 7 (≥ 7)"
    assert wording.extra(replace(entry, extra=-1, high=3), 0.95) == "−1 (−2 to 3)"
    assert wording.extra(entry, None) == "≥ 7"
    assert wording.extra(replace(entry, at_least=None), 0.95) == "–"
    infinite = Estimate(value=0.1, low=-math.inf, high=math.inf, level=0.95)
    assert wording.estimate(infinite, "accuracy") == "10.0% (95% interval −∞% to ∞%)"
