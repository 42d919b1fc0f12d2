"""The comparison, checked against its parts and against what must hold for every study."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from synthetic import confirmed_study, figure8_like, study_of, trial_of, trials_of

from studies.analysis import stats
from studies.analysis.compared import Check, ExtraTrialsAt
from studies.analysis.comparison import TARGET_SHARES, compare
from studies.analysis.estimate import NONE, Estimate
from studies.design.methods import METHODS as METHOD_TABLE
from studies.design.spec import from_json
from studies.records import EpochRecord, TrialState
from studies.results.report import report
from trainers.tasks import TASKS

METHODS = ("gradient-filter", "latent-sgd")


@pytest.fixture(scope="module")
def whole():
    return compare(*figure8_like(slow=1.8))


def faulty():
    """Make a study with failed trials, a run's first three among them, and some diverged ones of objective -inf."""
    study, trials = figure8_like(runs=9, trials=7, seed=5, slow=1.4)
    for i, t in enumerate(trials):
        if i % 11 == 3 or ((t.arm, t.run) == (METHODS[1], 4) and t.trial < 4):
            trials[i] = replace(t, state=TrialState.FAILED, objective=None, test_metric=None)
        elif i % 13 == 5:
            trials[i] = replace(t, state=TrialState.DIVERGED, objective=-math.inf, test_metric=None)
    return study, trials


@pytest.mark.parametrize("name", ["finished", "faulty"])
def test_every_number_is_what_it_was(name, whole):
    """The known numbers are from the first version, which resampled runs one by one."""
    known = json.loads((Path(__file__).parent / "known_comparisons.json").read_text())[name]

    def check(got, expected, where):
        if isinstance(expected, dict):
            assert expected.keys() <= got.keys(), where
            for key, value in expected.items():
                check(got[key], value, f"{where}.{key}")
        elif isinstance(expected, list):
            for i, pair in enumerate(zip(got, expected, strict=True)):
                check(*pair, f"{where}[{i}]")
        else:
            assert type(got) is type(expected), where
            assert got == (pytest.approx(expected, abs=1e-12) if isinstance(expected, float) else expected), (
                where
            )

    check((whole if name == "finished" else compare(*faulty())).to_json(), known, name)


def test_per_method(whole):
    filters, latent = whole.arms.values()
    assert (filters.dimensions, latent.dimensions) == (2, 6)
    assert filters.hyperparameters["alpha"] == {"low": 1e-6, "high": 1.0, "log": True}
    for m in (filters, latent):
        assert (m.runs, m.trials, m.initial_trials, m.model_based_trials) == (20, 25, 5, 20)
        assert (m.completed, m.diverged, m.failed, m.retries) == (500, 0, 0, 0)
        assert m.sources == {"model": 400, "sobol": 100}
        assert m.best_at_budget.n == 20
    assert whole.complete
    assert whole.compared_at == 25


def test_numbers_are_those_of_the_final_values(whole):
    _, trials = figure8_like(slow=1.8)
    finals = [
        np.array([max(t.objective for t in trials if (t.arm, t.run) == (m, r)) for r in range(1, 21)])
        for m in METHODS
    ]
    for m, final in zip(METHODS, finals, strict=True):
        best = whole.arms[m].best_at_budget
        assert best.median.value == pytest.approx(np.median(final))
        assert (best.median.low, best.median.high) == tuple(np.sort(final)[[5, 14]])
        assert best.mean.value == pytest.approx(final.mean())
    test = whole.pairs[0].best_at_budget
    exact = scipy_stats.PermutationMethod(n_resamples=50_000, rng=np.random.default_rng(0))
    assert test.unpaired.p == pytest.approx(scipy_stats.mannwhitneyu(*finals, method=exact).pvalue, abs=0.01)
    above = np.mean(finals[0][:, None] > finals[1]) + np.mean(finals[0][:, None] == finals[1]) / 2
    assert test.unpaired.p_a_better.value == pytest.approx(above)
    assert test.paired.pairs == 20
    assert test.paired.p == test.paired.p_holm


def test_targets_are_what_a_share_of_all_runs_reach(whole):
    for i, share in enumerate(TARGET_SHARES):
        entries = [m.trials_to_target[i] for m in whole.arms.values()]
        assert sum(e.reached for e in entries) >= share * 40
        for m, e in zip(whole.arms.values(), entries, strict=True):
            assert e.reached == sum(v >= e.target for v in m.best_at_budget.values)
            capped = [25 if time is None else time for time in e.times]
            assert e.restricted_mean.value == pytest.approx(np.mean(capped))
            assert e.restricted_mean.low <= e.restricted_mean.value <= e.restricted_mean.high
            assert e.success_rate.value == e.reached / 20
        saving = whole.pairs[0].trials_to_target[i].difference
        filters, latent = (e.restricted_mean.value for e in entries)
        assert saving.value == pytest.approx(latent - filters)


def test_extra_trials_both_ways_and_for_both_curves(whole):
    found = {(e.arm, e.curve): e.by_trial for e in whole.pairs[0].extra_trials}
    assert set(found) == {(m, c) for m in METHODS for c in ("mean", "median")}
    latent = found["latent-sgd", "mean"]
    assert [e.trial for e in latent] == list(range(1, 26))
    assert latent[9].extra > 0
    assert latent[9].low <= latent[9].extra
    assert latent[-1] == ExtraTrialsAt(25, extra=None, low=None, high=None, at_least=1)
    assert found["gradient-filter", "mean"][9].extra < 0


def test_it_is_json_and_the_same_every_time(whole):
    written = whole.to_json()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert compare(*figure8_like(slow=1.8)) == whole


def test_swapping_the_methods_only_turns_the_signs(whole):
    study, trials = figure8_like(slow=1.8)
    turned = compare(replace(study, spec=study.spec | {"arms": study.spec["arms"][::-1]}), trials)
    assert turned.target == whole.target
    for kind in ("paired", "unpaired"):
        one, other = (getattr(c.pairs[0].best_at_budget, kind) for c in (whole, turned))
        assert one.p == pytest.approx(other.p)
        shifts = (one.hodges_lehmann, other.hodges_lehmann)
        assert [getattr(shifts[0], end) for end in ("value", "low", "high")] == pytest.approx(
            [-getattr(shifts[1], end) for end in ("value", "high", "low")]
        )


def test_less_is_better_where_the_task_says_so(monkeypatch, whole):
    study, trials = figure8_like(slow=1.8)
    monkeypatch.setitem(
        TASKS, "spoken-digits", replace(TASKS["spoken-digits"], direction="minimize", worst=1.0)
    )
    errors = [replace(t, objective=1 - t.objective, test_metric=1 - t.objective) for t in trials]
    turned = compare(study, errors)
    assert turned.target == pytest.approx(1 - whole.target)
    for m in METHODS:
        one, other = (c.arms[m] for c in (whole, turned))
        assert other.best_at_budget.median.value == pytest.approx(1 - one.best_at_budget.median.value)
        assert [e.times for e in one.trials_to_target] == [e.times for e in other.trials_to_target]
    one, other = (c.pairs[0] for c in (whole, turned))
    assert one.best_at_budget.unpaired.p_a_better == other.best_at_budget.unpaired.p_a_better
    shift = one.best_at_budget.paired.hodges_lehmann.value
    assert other.best_at_budget.paired.hodges_lehmann.value == pytest.approx(-shift)


def test_an_unfinished_study_is_compared_where_every_run_has_been():
    study, trials = figure8_like(runs=6, trials=10)
    begun = [t for t in trials if t.trial <= 4 or t.run <= 2]
    got = compare(study, begun)
    assert (got.complete, got.compared_at, got.trials_done, got.trials_planned) == (
        False,
        4,
        72,
        120,
    )
    only_four = compare(study, [t for t in trials if t.trial <= 4])
    for m in METHODS:
        assert got.arms[m].best_at_budget == only_four.arms[m].best_at_budget
    assert got.pairs == only_four.pairs
    done = next(check for check in got.parity if check.what == "trials done in each run")
    assert done.values == dict.fromkeys(METHODS, "4 to 10")


def test_nothing_to_compare_yet():
    study, trials = figure8_like(runs=3, trials=4)
    got = compare(study, [t for t in trials if t.run < 3])
    assert got.compared_at == 0
    assert got.pairs == ()
    assert got.target is None
    assert got.arms["latent-sgd"].best_at_budget is None


def test_the_test_split_is_compared_run_by_run_in_the_same_way():
    study, trials = figure8_like(runs=8, trials=4, seed=3)
    rng = np.random.default_rng(1)
    tests = dict(zip(METHODS, rng.integers(0, 500, (2, 8)) / 500, strict=True))
    trials = [replace(t, test_metric=float(tests[t.arm][t.run - 1])) for t in trials]
    got = compare(study, trials).pairs[0].test_at_budget
    a, b = tests.values()
    assert got.paired.hodges_lehmann == stats.paired_hodges_lehmann(a, b)
    assert got.paired.p == got.paired.p_holm == stats.wilcoxon(a, b)
    assert got.unpaired.hodges_lehmann == stats.hodges_lehmann(a, b)
    assert got.unpaired.p == stats.mann_whitney(a, b)
    some = [replace(t, test_metric=None) if (t.arm, t.run) == (METHODS[1], 3) else t for t in trials]
    got = compare(study, some).pairs[0].test_at_budget
    keep = np.arange(8) != 2
    assert got.paired.pairs == 7
    assert got.paired.hodges_lehmann == stats.paired_hodges_lehmann(a[keep], b[keep])
    assert got.unpaired.p == stats.mann_whitney(a, b[keep])


def test_holm_within_each_family(monkeypatch):
    methods = (*METHODS, "third")
    monkeypatch.setitem(METHOD_TABLE, "third", METHOD_TABLE["gradient-filter"])
    study, trials = figure8_like(runs=8, trials=4, methods=methods)
    rng = np.random.default_rng(0)
    trials = [replace(t, test_metric=t.objective + rng.normal(0, 0.01)) for t in trials]
    pairs = compare(study, trials).pairs
    assert len(pairs) == 3
    for what in ("best_at_budget", "test_at_budget"):
        for kind in ("paired", "unpaired"):
            tests = [getattr(getattr(pair, what), kind) for pair in pairs]
            assert [t.p_holm for t in tests] == stats.holm([t.p for t in tests])


def test_runs_without_a_result_are_the_worst():
    study = study_of(runs=8, trials=2)
    good, better = np.arange(40, 48) / 50, np.arange(41, 49) / 50
    objectives = {METHODS[0]: [[v, v] for v in better], METHODS[1]: [[v, v] for v in good]}
    objectives[METHODS[0]][7] = [None, None]  # the best run
    got = compare(study, trials_of(study, objectives))
    end, pair = got.arms[METHODS[0]].best_at_budget, got.pairs[0].best_at_budget
    assert (end.n, len(end.values)) == (7, 7)
    a = np.append(better[:7], -1.0)
    assert pair.paired.p == stats.wilcoxon(a, good)
    assert [getattr(pair.paired, key) for key in ("pairs", "a_better", "equal", "b_better")] == [8, 7, 0, 1]
    assert pair.unpaired.p == stats.mann_whitney(a, good)
    assert pair.unpaired.p_a_better == stats.superiority(a, good)
    assert pair.paired.hodges_lehmann.low == -math.inf
    assert pair.paired.hodges_lehmann.value == pytest.approx(0.02)
    test = got.pairs[0].test_at_budget
    assert test == pair  # the made-up test metric is the objective
    nothing = {m: [[None, None]] * 8 for m in METHODS}
    pair = compare(study, trials_of(study, nothing)).pairs[0]
    assert pair.best_at_budget.paired.p is None
    assert pair.best_at_budget.unpaired.p_a_better.value is None


def test_wins_ties_and_losses():
    study = study_of(runs=6, trials=1)
    values = {METHODS[0]: [0.5, 0.6, 0.7, 0.8, 0.9, 0.5], METHODS[1]: [0.4, 0.6, 0.6, 0.9, 0.9, 0.4]}
    objectives = {m: [[v] for v in its] for m, its in values.items()}
    paired = compare(study, trials_of(study, objectives)).pairs[0].best_at_budget.paired
    assert [getattr(paired, key) for key in ("a_better", "equal", "b_better")] == [3, 2, 1]


def test_paired_times_that_differ_by_a_constant_do_so_in_every_resample():
    """This holds only if both methods are resampled by the same run numbers."""
    study = study_of(runs=8, trials=20)
    times = [1, 2, 3, 5, 8, 9, 12, 15]
    objectives = {
        m: [[0.9 if t >= time + late else 0.5 for t in range(1, 21)] for time in times]
        for m, late in zip(METHODS, (0, 4), strict=True)
    }
    entry = compare(study, trials_of(study, objectives)).pairs[0].trials_to_target[1]
    assert entry.target == 0.9
    assert entry.difference == Estimate(value=4, low=4, high=4, level=0.95)


def test_no_target_is_no_number():
    study = study_of(runs=2, trials=3)
    nothing = {m: [[None] * 3] * 2 for m in METHODS}
    got = compare(study, trials_of(study, nothing))
    assert got.target is None
    for entry in got.arms["latent-sgd"].trials_to_target:
        assert entry.success_rate == entry.restricted_mean == NONE
        assert {getattr(entry, key) for key in ("target", "reached", "times", "still_short")} == {None}
    assert got.pairs[0].trials_to_target[0].difference == NONE


def test_few_runs_have_no_bootstrap_interval():
    for runs, there in ((5, False), (6, True)):
        got = compare(*figure8_like(runs=runs, trials=6))
        (pair,) = got.pairs
        for e in (
            got.arms["latent-sgd"].trials_to_target[1].restricted_mean,
            pair.trials_to_target[1].difference,
        ):
            assert e.value is not None
            assert [getattr(e, key) is not None for key in ("low", "high", "level")] == [there] * 3
        assert {e.level for e in pair.extra_trials} == {0.95 if there else None}


def test_one_run_has_no_intervals():
    got = compare(*figure8_like(runs=1, trials=6))
    best = got.arms["latent-sgd"].best_at_budget
    assert best.median.value is not None
    for estimate in (
        best.median,
        best.mean,
        got.pairs[0].best_at_budget.paired.hodges_lehmann,
    ):
        assert estimate.low is None
        assert estimate.high is None
    assert all(e.level is None for e in got.pairs[0].extra_trials)


def test_one_method_has_no_pairs():
    got = compare(*figure8_like(runs=4, trials=6, methods=METHODS[1:]))
    assert got.pairs == ()
    assert got.target is not None
    for entry in got.arms["latent-sgd"].trials_to_target:  # only its own quantile's share
        assert entry.success_rate == replace(NONE, value=entry.reached / 4)


def test_failed_and_diverged_trials():
    study = study_of(["latent-sgd"], runs=3, trials=3)
    spec = from_json(study.spec)
    trials = trials_of(study, {"latent-sgd": [[None, 0.5, 0.4], [None, None, None], [0.6, 0.7, None]]})
    trials[2] = trial_of(spec, "latent-sgd", 1, 3, 0.0, state=TrialState.DIVERGED)
    got = compare(study, trials).arms["latent-sgd"]
    assert (got.completed, got.diverged, got.failed, got.retries) == (3, 1, 5, 10)
    assert got.best_at_budget.values == (0.5, 0.7)
    three_quarters = next(e for e in got.trials_to_target if e.share == 0.75)
    assert three_quarters.target is None  # two of three runs have any value
    assert three_quarters.reached is None
    half = next(e for e in got.trials_to_target if e.share == 0.5)
    assert (half.target, half.times) == (0.5, (2, None, 1))


def test_what_diverged_is_neither_a_target_nor_a_best_trial():
    study = study_of(runs=2, trials=1)
    trials = [
        replace(t, state=TrialState.DIVERGED) if t.objective == 0.0 else t
        for t in trials_of(study, {"gradient-filter": [[0.5], [0.0]], "latent-sgd": [[0.0], [0.0]]})
    ]
    got = compare(study, trials)
    assert got.target is None  # three of four runs reach only the worst value
    assert "Too few runs have a trial that did not fail or diverge to set a target." in report(study, got, [])
    assert [arm.best and arm.best.objective for arm in got.arms.values()] == [0.5, None]
    partly = [replace(t, state=TrialState.DIVERGED) for t in trials_of(study, {"gradient-filter": [[0.5]]})]
    assert (
        compare(study, partly).arms["gradient-filter"].best.objective == 0.5
    )  # one of several trainings diverged
    quarter = next(e for e in got.arms["gradient-filter"].trials_to_target if e.share == 0.25)
    assert (quarter.target, quarter.times) == (0.5, (1, None))


def test_the_test_metric_is_the_incumbents():
    study = study_of(["latent-sgd"], runs=1, trials=3)
    trials = trials_of(study, {"latent-sgd": [[0.5, 0.8, 0.6]]})
    trials = [replace(t, test_metric=test) for t, test in zip(trials, [0.9, 0.7, 0.95], strict=True)]
    assert compare(study, trials).arms["latent-sgd"].test_at_budget.values == (0.7,)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("seeds of trial t of run r, between the arms", {"seed": 1}),
        ("trials chosen without a model in each run, of the first 8", {"source": "sobol"}),
        ("retries after a crash", {"attempts": 2}),
        ("trials that failed for good", {"state": TrialState.FAILED, "objective": None}),
    ],
)
def test_parity_audit_flags(what, change):
    study, trials = figure8_like(runs=2, trials=8)
    assert all(check.equal for check in compare(study, trials).parity)
    trials[-1] = replace(trials[-1], **change)
    unequal = [check.what for check in compare(study, trials).parity if not check.equal]
    assert unequal == [what]


def test_parity_audit_flags_the_real_valued_parameters_optimizer():
    searched = {"low": 0.01, "high": 1.0, "log": True}

    def real(*spaces):
        methods = [{"name": name, "space": space} for name, space in zip(METHODS, spaces, strict=True)]
        study = study_of(methods, runs=1, trials=1)
        parity = compare(study, trials_of(study, {method: [[0.5]] for method in METHODS})).parity
        return [check for check in parity if "real" in check.what or "batch" in check.what]

    assert real({}, {}) == []
    assert real({"real_learning_rate": searched}, {}) == [
        Check(
            what="values of real_learning_rate",
            equal=False,
            values={"gradient-filter": searched, "latent-sgd": 0.1},
        )
    ]
    assert not real({}, {"real_momentum": 0.5})[0].equal
    assert real({"real_momentum": 0.9}, {})[0].equal
    assert real({}, {"batch_size": [25, 50]}) == [
        Check(
            what="values of batch_size",
            equal=False,
            values={"gradient-filter": 50, "latent-sgd": (25, 50)},
        )
    ]
    both = real({"real_learning_rate": searched}, {"real_learning_rate": searched})
    assert [check.equal for check in both] == [True]


def test_what_arms_train_of_their_own_is_said():
    arms = [
        "bop",
        {"name": "narrow", "method": "bop", "proxy": {"width": 8}},
        {"name": "fast", "method": "bop", "space": {"real_learning_rate": 1.0}},
    ]
    study = study_of(arms, runs=1, trials=1)
    found = compare(study, trials_of(study, {arm: [[0.5]] for arm in ("bop", "narrow", "fast")}))
    assert found.task_label == study.task_label == "spoken-digits (narrow: width 8)"
    task = next(check for check in found.parity if check.what == "task")
    assert (task.equal, task.values["narrow"]) == (False, "proxy of spoken-digits: width 8")
    of_arms = found.to_json()["arms"]
    assert of_arms["narrow"]["proxy"] == {"width": 8}
    assert not {"task", "proxy"} & of_arms["bop"].keys()


def test_parity_audit_flags_epochs_and_bounds():
    epoch = EpochRecord(
        epoch=1, train_loss=1.0, validation_metric=0.5, test_metric=0.5, flip_ratio=0.1, train_seconds=1.0,
        evaluate_seconds=1.0,
    )  # fmt: skip
    study = study_of(
        ["gradient-filter", {"name": "latent-sgd", "space": {"gamma": {"low": 0.01}}}], runs=1, trials=1
    )
    first, second = trials_of(study, {method: [[0.5]] for method in METHODS})
    parity = compare(
        study, [replace(first, epochs=(epoch,) * 10), replace(second, epochs=(epoch,) * 9)]
    ).parity
    unequal = {check.what: check.values for check in parity if not check.equal}
    assert unequal["epochs of a completed trial"] == {"gradient-filter": 10, "latent-sgd": 9}
    assert [v["low"] for v in unequal["values searched for gamma"].values()] == [0.001, 0.01]


def test_a_control_has_no_model_to_be_without():
    study, trials, confirmations = confirmed_study()
    found = compare(study, trials, confirmations=confirmations).parity
    (check,) = [each for each in found if each.what.startswith("trials chosen without a model")]
    assert (check.equal, list(check.values)) == (True, ["gradient-filter", "latent-sgd"])
