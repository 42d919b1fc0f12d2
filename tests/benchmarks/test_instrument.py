"""The instrument's statistics against known answers, and the instrument on a task that takes seconds."""

import json
from pathlib import Path

import instrument
import numpy as np
import pytest

from trainers.tasks import TASKS, Proxy

SMALL = Proxy(epochs=1, train_fraction=0.2, width=8)
TINY = {"splits": 2, "seeds": 2, "settings": 3, "repeats": 2}


def test_components_by_hand() -> None:
    """Means 2, 5 and 8, variance of the means 9, of the pairs 2, 2 and 8: within 4, between 9 - 4 / 2."""
    parts = instrument.components(np.array([[1.0, 3], [4, 6], [6, 10]]))
    assert (parts.between, parts.within) == (7, 4)
    assert parts.signal() == 7 / 11
    assert parts.signal(4) == 7 / 8


def test_nothing_between_is_no_signal_and_nothing_within_all_of_it() -> None:
    assert instrument.components(np.array([[1.0, 3], [3, 1]])).signal() == 0
    assert instrument.components(np.array([[1.0, 1], [3, 3]])).signal() == 1
    assert instrument.components(np.ones((3, 2))).signal() == 0


@pytest.mark.parametrize(("between", "within"), [(2.5, 0.7), (0.5, 0.5), (0.0, 1.0)])
def test_what_was_planted_is_estimated(between: float, within: float) -> None:
    """In 2,000 simulated tables, variances are met on average, and 95 % intervals hold the truth about as often."""
    rng = np.random.default_rng(3)
    tables = rng.normal(90, between, (2000, 32, 1)) + rng.normal(0, within, (2000, 32, 4))
    found = [instrument.components(table) for table in tables]
    assert np.mean([part.within for part in found]) == pytest.approx(within**2, rel=0.02)
    slack = within**2 / 4 * 0.15  # because a negative variance counts as 0
    assert np.mean([part.between for part in found]) == pytest.approx(between**2, rel=0.02, abs=slack)
    if not between:
        return
    truth = between**2 / (between**2 + within**2)
    intervals = np.array([instrument.signal_interval(table, 1) for table in tables[:300]])
    covered = np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1]))
    assert 0.87 <= covered <= 0.98  # a percentile interval of 32 settings is a little narrow


def test_the_deviation_is_that_over_seeds_and_not_over_splits() -> None:
    assert instrument.deviation(np.array([[1.0, 3], [101, 103]])) == pytest.approx(2**0.5)
    mean, low, high = instrument.mean_interval(np.array([1.0, 2, 3]))
    assert (mean, low, high) == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)


def test_a_section_is_put_in_place_of_its_old_self() -> None:
    page = "# Page\n\nWords.\n\n## a\n\nold\n\n## b\n\nkept\n"
    assert instrument.with_section(page, "a", ["new"]) == "# Page\n\nWords.\n\n## a\n\nnew\n\n## b\n\nkept\n"
    assert instrument.with_section(page, "c", ["new"]) == page + "\n## c\n\nnew\n"


def test_every_setting_is_in_the_space_and_no_training_is_planned_twice() -> None:
    plan = instrument.Plan(TASKS["spoken-digits"], SMALL, instrument.Size())
    keys = [instrument.key(spec) for spec in plan.all]
    assert len(set(keys)) == len(keys) == 8 + 3 * 24 + 2 * 128
    for method in instrument.PUBLISHED:
        space = instrument.METHODS[method].space
        assert instrument.PUBLISHED[method].keys() == space.keys()
        for row in plan.settings(method):
            assert all(row[0].hyperparameters[name] in dimension for name, dimension in space.items())
            assert len({spec.split_seed for spec in row}) == 1


@pytest.mark.slow
def test_the_whole_instrument_stops_and_goes_on(
    spoken_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instrument, "PROCESSES", 1)  # a process takes as long to start as all these trainings
    page, file = tmp_path / "page.md", tmp_path / "out" / "spoken-digits.jsonl"
    page.write_text("# Instrument\n")
    arguments = ["--proxy", json.dumps(SMALL.changes), "--page", str(page), "--out", str(file.parent)]
    arguments += ["--data", str(spoken_digits)] + [f"--{name}={n}" for name, n in TINY.items()]
    instrument.main(arguments)
    whole, lines = page.read_text(), file.read_text().splitlines()
    assert len(lines) == 2 + 3 * 4 + 2 * 6
    title = f"# Instrument\n\n## {SMALL.label('spoken-digits')}\n\n"
    assert whole.startswith(title + "| %, 2 splits x 2 seeds | validation | test |")
    assert "| frozen random signs |" in whole
    assert "the signal of `latent-sgd` is at least 0.7" in whole

    file.write_text("\n".join(lines[:20]) + "\n" + lines[20][:30])  # as if killed in the middle of a line
    page.write_text("# Instrument\n")
    instrument.main(arguments)
    again, before = (
        [line for line in text.splitlines() if "CPU seconds" not in line]
        for text in (page.read_text(), whole)
    )
    assert again == before
    assert len([line for line in file.read_text().splitlines() if line.endswith("}")]) == len(lines)


def test_signs_that_flip_are_no_frozen_ones(spoken_digits: Path) -> None:
    plan = instrument.Plan(TASKS["spoken-digits"], SMALL, instrument.Size(**TINY))
    entry = {"validation": 0.5, "test": 0.5, "flips": 0.01}
    with pytest.raises(RuntimeError, match="they are not frozen"):
        instrument.Measurement(plan, {instrument.key(spec): entry for spec in plan.all}).lines()
