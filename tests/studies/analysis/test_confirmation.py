"""What stands for an incumbent when it is trained anew."""

from studies.analysis.confirmation import representatives


def test_the_first_incumbent_with_the_same_hyperparameters_stands_for_it():
    given = [{"a": 1}, {"a": 2}, {"a": 1}, {"a": 3}, {"a": 2}]
    assert representatives([0.1, 0.2, 0.3, 0.2, 0.4], given, "maximize") == (1, 2, 1, 1, 2)
    assert representatives([0.4, 0.3, 0.3, 0.2, 0.1], given, "minimize") == (1, 2, 2, 4, 2)


def test_a_trial_without_a_result_has_none_and_changes_nothing():
    given = [{}, {"a": 2}, {}, {"a": 3}]
    assert representatives([None, 0.2, None, 0.1], given, "maximize") == (0, 2, 2, 2)
    assert representatives([None], [{}], "maximize") == (0,)


def test_a_control_has_one():
    assert representatives([0.1, 0.3, 0.2, 0.4], [{"a": 1}] * 4, "maximize") == (1, 1, 1, 1)
