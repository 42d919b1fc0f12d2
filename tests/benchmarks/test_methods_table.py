"""The rows that a study gives the table, read from its comparison.json."""

from methods_table import rows_of
from synthetic import study_of, trials_of

from studies.analysis.comparison import compare


def test_arms_stand_beside_the_linear_classifier() -> None:
    study = study_of(runs=3, trials=2)
    objectives = {"gradient-filter": [0.75, 0.5], "latent-sgd": [0.5, 0.25]}
    trials = trials_of(study, {arm: [values] * 3 for arm, values in objectives.items()})
    found = list(rows_of("here", compare(study, trials).to_json(), {"validation": 0.7, "test": 0.625}))
    assert found == [
        ("here", "linear", "70.0", "62.5", ""),
        ("", "gradient-filter", "75.0", "75.0", "+12.5"),
        ("", "latent-sgd", "50.0", "50.0", "-12.5"),
    ]
