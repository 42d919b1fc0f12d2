"""What a number of runs can show, compared with simulated studies."""

import math

import numpy as np
import pytest

from studies.analysis import power, sequence, stats


@pytest.mark.parametrize("pairs", [1, 3, 15, 66])
def test_with_fewer_runs_no_result_can_be_told(pairs):
    needed = power.runs_needed(pairs)
    for runs, possible in ((needed - 1, False), (needed, True)):
        least = stats.wilcoxon(np.arange(1.0, runs + 1), np.zeros(runs))
        assert least == 2 / 2**runs
        assert (pairs * least < 0.05) is possible
    assert power.detectable(needed - 1, pairs) is None


@pytest.mark.parametrize(("runs", "pairs"), [(10, 1), (20, 1), (20, 15)])
def test_four_of_five_simulated_studies_find_it(runs, pairs):
    shift, rng = power.detectable(runs, pairs), np.random.default_rng(runs + pairs)
    differences = rng.normal(shift, 1.0, (1500, runs))
    found = np.mean([stats.wilcoxon(d, np.zeros(runs)) < 0.05 / pairs for d in differences])
    assert found == pytest.approx(power.POWER, abs=0.05)


def test_more_runs_show_less_and_more_pairs_need_more():
    by_runs = [power.detectable(runs, 3) for runs in (8, 10, 20, 40, 1000)]
    assert by_runs == sorted(by_runs, reverse=True)
    assert power.detectable(20, 15) > power.detectable(20, 1)
    assert power.detectable(1000, 1) == pytest.approx((1.960 + 0.842) / math.sqrt(955), rel=0.01)


@pytest.mark.parametrize("runs", [8, 10, 20, 40])
def test_four_of_five_simulated_studies_are_decided(runs):
    differences = np.random.default_rng(runs).normal(power.decidable(runs), 1.0, (1500, runs))
    assert (sequence.told_apart(differences)[:, -1] == 1).mean() == pytest.approx(power.POWER, abs=0.05)


def test_nothing_is_decided_by_fewer_runs():
    assert not sequence.told_apart(np.ones(power.DECIDED_FROM - 1)).any()
    assert sequence.told_apart(np.ones(power.DECIDED_FROM))[-1] == 1
    assert power.decidable(power.DECIDED_FROM - 1) is None
