"""The verdict, which claims no more than the tests show, and the table of the best methods."""

from dataclasses import replace

import pytest
from synthetic import CONTROLS, confirmations_of, confirmed_study, figure8_like, study_of, trial_of, trials_of

from studies.analysis.comparison import compare
from studies.analysis.failures import Failure
from studies.design.methods import METHODS
from studies.design.spec import from_json
from studies.records import TrialState
from studies.results.report import report
from studies.results.summary import summary
from studies.results.verdict import ROWS, answer, table, verdict

PAIR = ("gradient-filter", "latent-sgd")
NOISE = [0.90, 0.92, 0.91, 0.94, 0.93, 0.95, 0.92, 0.93, 0.91, 0.94]


def of_runs(values, trials=1, **keys):
    """Return a comparison of methods whose runs have one value each in all of their trials."""
    study = study_of(list(values), runs=len(next(iter(values.values()))), trials=trials, **keys)
    return compare(study, trials_of(study, {m: [[v] * trials for v in its] for m, its in values.items()}))


def shifted(by):
    return [round(v + by + 0.001 * i, 4) for i, v in enumerate(NOISE)]


def test_who_ends_better_and_sooner():
    study, trials = figure8_like(runs=12, trials=8, slow=4.0)
    found = verdict(compare(study, trials))
    assert found.startswith("Gradient filter is better than latent SGD on the validation split, by ")
    assert " percentage points (" in found
    assert ", and on the test split, by " in found
    assert "; gradient filter needs on average " in found
    assert " fewer trials (" in found
    assert ") to reach a validation accuracy of " in found
    swapped = verdict(compare(*figure8_like(runs=12, trials=8, slow=0.25)))
    assert swapped.startswith("Latent SGD is better than gradient filter on the validation split")


def test_where_there_is_a_plateau_no_target_is_needed():
    """There is none if an arm diverges in every trial."""
    study, trials, confirmations = confirmed_study(list(PAIR), runs=12)
    comparison = compare(study, trials, confirmations=confirmations)
    assert comparison.plateau is not None
    without = replace(comparison, target=None)
    assert verdict(without) == verdict(comparison)
    assert table(without).note == table(comparison).note


def test_no_difference_is_told_where_the_test_tells_none():
    """The first method's median is higher, which decides nothing."""
    other = [v - (0.004 if i % 2 else -0.003) for i, v in enumerate(NOISE)]
    comparison = of_runs(dict(zip(PAIR, (NOISE, other), strict=True)))
    first, second = (m.best_at_budget.median.value for m in comparison.arms.values())
    assert first != second
    assert verdict(comparison) == (
        "No difference is shown between gradient filter and latent SGD, "
        "either in accuracy or in the trials they need."
    )
    assert table(comparison).rows[1][-1] == "not told apart"


def test_an_interval_that_reaches_zero_is_no_verdict_whatever_the_test_says():
    comparison = compare(*figure8_like(slow=1.8))
    paired = comparison.pairs[0].best_at_budget.paired
    assert paired.p_holm < 0.05
    assert paired.hodges_lehmann.low == 0
    assert verdict(comparison).startswith(
        "No difference in accuracy is shown between gradient filter and latent SGD; "
    )


@pytest.mark.parametrize(
    ("test_shift", "said"),
    [
        (
            0.0,
            "on the validation split, by 4.5 percentage points (4.20 to 4.70), "
            "but no difference is shown on the test split; ",
        ),
        (0.04, "on the validation split, by 4.5"),
    ],
)
def test_validation_and_test_are_told_apart_each(test_shift, said):
    study = study_of(list(PAIR), runs=10, trials=1)
    values = dict(zip(PAIR, (shifted(0.04), NOISE), strict=True))
    wobble = [0.002, -0.002]
    trials = [
        replace(t, test_metric=NOISE[t.run - 1] + (test_shift + wobble[t.run % 2]) * (t.arm == PAIR[0]))
        for t in trials_of(study, {m: [[v] for v in its] for m, its in values.items()})
    ]
    found = verdict(compare(study, trials))
    assert found.replace("4.45", "4.5").startswith(f"Gradient filter is better than latent SGD {said}")
    assert ("and on the test split, by" in found) == bool(test_shift)


@pytest.mark.parametrize(
    ("runs", "methods", "needed"), [(1, 2, 6), (5, 2, 6), (7, 3, 7), (6, 3, 7), (11, 12, 12)]
)
def test_too_few_runs_decide_nothing(runs, methods, needed):
    """Whatever the values are: the exact test has no smaller p."""
    values = {
        name: [0.9 - 0.1 * i - 0.001 * r for r in range(runs)]
        for i, name in enumerate(list(METHODS)[:methods])
    }
    comparison = of_runs(values)
    smallest = min(p.best_at_budget.paired.p_holm or 1 for p in comparison.pairs)
    assert (smallest < 0.05) == (runs >= needed)
    text = verdict(comparison)
    assert (f"; this takes at least {needed} runs." in text) == (runs < needed)
    assert ("is better" in text) == (runs >= needed)


def test_of_many_methods():
    names = list(METHODS)[:5]
    values = dict(zip(names, (shifted(0.03), shifted(0.03)[::-1], NOISE, NOISE, NOISE), strict=True))
    text = verdict(of_runs(values))
    assert "is better than 3 of the 4 others on the validation split and on the test split" in text
    assert "; no difference from " in text
    assert " is shown on the validation split." in text
    values = dict.fromkeys(names, NOISE)
    assert verdict(of_runs(values)) == (
        "No difference is shown between gradient filter, whose median run is the best, and the 4 others."
    )


def test_the_table_has_the_best_first_and_six_rows_at_most():
    names = list(METHODS)[:9]
    values = {name: [v - 0.01 * ((i * 5) % 9) for v in NOISE] for i, name in enumerate(names)}
    comparison = of_runs(values)
    found = table(comparison)
    medians = [comparison.arms[name].best_at_budget.median.value for name in comparison.ranking]
    assert medians == sorted(medians, reverse=True)
    assert [row[0] for row in found.rows] == [
        comparison.arms[name].label for name in comparison.ranking[:ROWS]
    ]
    assert found.note.endswith("3 more arms: see the report.")
    assert found.rows[0][-1] == ""
    assert {row[-1] for row in found.rows[1:]} <= {"worse", "not told apart"}
    minimised = replace(comparison, direction="minimize")
    assert table(minimised).rows[1][-1] != "worse"


def test_intervals_of_few_runs_are_not_in_the_table():
    """Three runs give at most 75 %, which would mislead beside the others' 95 %."""
    row = table(compare(*figure8_like(runs=3, trials=6))).rows[0]
    assert not any("(" in cell for cell in row)
    assert "(" in table(compare(*figure8_like(runs=6, trials=6))).rows[0][1]


def test_what_there_is_no_verdict_of():
    study, trials = figure8_like(runs=6, trials=4)
    assert verdict(compare(study, [])).startswith("There is nothing to compare yet")
    begun = answer(compare(study, [t for t in trials if t.trial <= 2]))
    assert begun.verdict == (
        "So far 24 of 48 trials are done; differences between the arms are reported at the end."
    )
    for word in ("against", "told apart", "p =", "p <", "aired", "shown", "fewer", "thus"):
        assert word not in begun.verdict + str(begun.table) + begun.summary
    failed = [
        replace(t, state=TrialState.FAILED, objective=None, test_metric=None, error="E: x") for t in trials
    ]
    assert verdict(compare(study, failed)) == "No arm has a result, because every trial failed."
    half = [t if t.arm == PAIR[0] else f for t, f in zip(trials, failed, strict=True)]
    assert (
        verdict(compare(study, half))
        == "Only gradient filter has a result: every trial of the other arm failed."
    )
    alone = verdict(compare(*figure8_like(runs=6, trials=4, methods=[PAIR[1]])))
    assert alone.startswith("Latent SGD is the only arm, so nothing is compared; ")


@pytest.mark.parametrize("runs", [1, 2, 6])
@pytest.mark.parametrize("methods", [1, 2, 3, 12])
def test_it_is_one_sentence_for_every_size(runs, methods):
    found = answer(compare(*figure8_like(runs=runs, trials=3, methods=list(METHODS)[:methods])))
    text = found.verdict
    assert text.endswith(".")
    assert ". " not in text
    assert not [bad for bad in ("None", "nan", "inf", "  ", "{", "–") if bad in text]
    assert all(len(row) == len(found.table.columns) for row in found.table.rows)


def test_the_best_trial_with_every_digit_and_what_lies_at_a_bound():
    study = study_of([*PAIR, "ste-adam"], runs=2, trials=2)
    trials = trials_of(study, {m: [[0.8, 0.9], [0.9, 0.7]] for m in (*PAIR, "ste-adam")})
    best = {
        "gradient-filter": {"alpha": 1e-6, "gamma": 1.0},
        "latent-sgd": {"learning_rate": 10.0, "gamma": 0.03},
        "ste-adam": {"beta2": 0.89999647, "beta1": 0.7},
    }
    trials = [
        replace(t, hyperparameters={**t.hyperparameters, **best[t.arm]}) if (t.run, t.trial) == (2, 1) else t
        for t in trials
    ]
    comparison = compare(study, trials)
    found = {name: m.best for name, m in comparison.arms.items()}
    assert [(b.run, b.trial, b.objective) for b in found.values()] == [(2, 1, 0.9)] * 3  # the first of equals
    assert found["gradient-filter"].at_bounds == {"alpha": "low", "gamma": "high"}
    assert found["latent-sgd"].at_bounds == {"learning_rate": "high"}
    assert found["ste-adam"].at_bounds == {"beta2": "low"}
    text = report(study, comparison, [])
    assert "alpha = 1e-06 **(low end of its range)**<br>gamma = 1 **(high end of its range)**" in text
    assert "beta2 = 0.89999647 **(low end of its range)**" in text
    assert (
        "alpha = 1e-06 (low end) and gamma = 1 (high end) with gradient filter; "
        in answer(comparison).summary
    )


def test_why_trials_failed_is_counted():
    study = study_of(list(PAIR), runs=4, trials=3)
    trials = trials_of(study, {m: [[0.9, None, None]] * 4 for m in PAIR})
    trials = [
        replace(t, error=f"ValueError: no `{t.run}`|\nTraceback" if t.arm == PAIR[0] else t.error)
        for t in trials
    ]
    comparison = compare(study, trials)
    assert comparison.arms["latent-sgd"].errors == (Failure("RuntimeError: out of memory", 8),)
    text = report(study, comparison, [])
    assert "\n| gradient filter | 8 | `ValueError: no '1'\\|` |\n" in text
    assert "Why trials failed" not in report(study, compare(study, [t for t in trials if t.trial == 1]), [])


def of_worths(worths, runs=10, spread=0.004):
    """Make arms whose only trial is seen at 0.9, and whose hyperparameters are worth this much on the test split."""
    study = study_of(arms=[*worths], runs=runs, trials=1, confirm={"seeds": 2})
    spec = from_json(study.spec)
    names = [arm.name for arm in spec.arms]
    trials = [trial_of(spec, name, run, 1, 0.9 + 0.001 * run) for name in names for run in range(1, runs + 1)]
    values = dict(zip(names, worths.values(), strict=True))
    fresh = confirmations_of(study, trials, lambda t, n: values[t.arm] + 0.001 * t.run + spread * (-1) ** n)
    return compare(study, trials, confirmations=fresh), study, trials, fresh


class Arm(dict):
    """An arm of a study file that can be a dictionary key."""

    def __hash__(self):
        return hash(self["name"])


TUNED = tuple(Arm(name=name, method=name) for name in PAIR)
CONTROL, OTHER = map(Arm, CONTROLS)


def test_what_is_confirmed_comes_first_and_validation_under_its_true_name():
    found = verdict(of_worths({TUNED[0]: 0.95, TUNED[1]: 0.90})[0])
    assert found.startswith(
        "Gradient filter is better than latent SGD on the test split with fresh seeds, by 5.00 percentage points"
    )
    assert ", but no difference is shown in the best validation accuracy so far; " in found
    assert table(of_worths({TUNED[0]: 0.95, TUNED[1]: 0.90})[0]).columns[1:4] == (
        "confirmed accuracy",
        "luck in the climb",
        "best validation so far",
    )


def test_similar_is_said_where_it_is_shown():
    comparison = of_worths({TUNED[0]: 0.950, TUNED[1]: 0.9502})[0]
    comparison = replace(
        comparison,
        pairs=(replace(comparison.pairs[0], confirmed_at_budget=comparison.pairs[0].best_at_budget),),
    )
    assert verdict(comparison) == (
        "Gradient filter and latent SGD are similar: with fresh seeds they differ by less than one training's standard "
        "deviation over seeds."
    )
    assert table(comparison).rows[1][-1] == "similar"
    assert "Gradient filter and latent SGD are similar: the 90% interval" in summary(comparison)
    apart = replace(comparison.pairs[0].equivalence, similar=False)
    unlike = replace(comparison, pairs=(replace(comparison.pairs[0], equivalence=apart),))
    assert verdict(unlike).startswith(
        "No difference is shown between gradient filter and latent SGD, either in"
    )
    assert "similar" not in verdict(unlike) + summary(unlike)


@pytest.mark.parametrize("worth", [0.96, 0.90])
def test_a_control_was_not_tuned_and_does_not_win(worth):
    comparison = of_worths({CONTROL: worth, TUNED[0]: 0.93})[0]
    word = "worse" if worth > 0.93 else "better"
    assert verdict(comparison).startswith(
        f"Gradient filter is {word} than filter published on the test split with fresh seeds, by "
    )
    assert "fewer trials" not in verdict(comparison)
    text = summary(comparison)
    assert text.startswith("Gradient filter (2 hyperparameters) was tuned on ")
    assert "Filter published is a control: trained equally often, with nothing searched." in text
    assert table(comparison).columns[-1] == f"against {'gradient filter' if worth > 0.93 else 'the first'}"
    three = of_worths({CONTROL: worth, TUNED[0]: 0.93, TUNED[1]: 0.92})[0]
    said = verdict(three)
    assert said.startswith("Gradient filter is better than ")
    assert ("it is worse than filter published, which searches nothing" in said) == (worth > 0.93)


def test_an_arm_may_be_worse_than_every_control():
    said = verdict(of_worths({CONTROL: 0.96, OTHER: 0.95, TUNED[0]: 0.90})[0])
    assert said.startswith(
        "Gradient filter, the best arm that searches, is worse than filter published and latent pub"
    )
    assert said.endswith(", which search nothing.")


def test_controls_alone_were_trained():
    text = summary(of_worths({CONTROL: 0.95, OTHER: 0.93})[0])
    assert text.startswith(
        "Filter published (0 hyperparameters) and latent published (0 hyperparameters) were each tr"
    )
    assert "tuned" not in text


def test_each_searcher_is_named():
    random = {"name": "filter-random", "method": "gradient-filter", "searcher": "random"}
    study, trials, fresh = confirmed_study(["gradient-filter", random, CONTROLS[0]], runs=6, trials=3)
    text = summary(compare(study, trials, confirmations=fresh))
    assert "filter random by the random searcher" in text
    assert " with filter published: that is luck alone." in text


def test_before_all_is_confirmed_it_says_so():
    _, study, trials, fresh = of_worths({TUNED[0]: 0.95, TUNED[1]: 0.90})
    comparison = compare(study, trials, confirmations=fresh[:-3])
    said = (
        "All trials and 37 of 40 confirmations are done; "
        "differences between the arms are reported at the end."
    )
    assert verdict(comparison) == said
    tests = [comparison.pairs[0].at_budget(split).paired.p for split in ("validation", "test", "confirmed")]
    assert (tests, comparison.pairs[0].equivalence) == ([None] * 3, None)
    assert "fresh seed" not in answer(comparison).summary
