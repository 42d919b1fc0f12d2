"""The reasons why trials failed, and failures that leave a study without a result."""

from collections.abc import Iterable

import pytest
from synthetic import study_of, trial_of

from studies.analysis.failures import Failure, FailureTracker, commonest, first_line, nothing
from studies.design.spec import StudySpec, from_json
from studies.records import TrialRecord

BROKEN, OTHER = "RuntimeError: a layer broke\n\nTraceback", "ValueError: 3 is no size\n\nTraceback"


def spec_of(**changes: object) -> StudySpec:
    return from_json(study_of(**changes).spec)  # type: ignore[arg-type]


def failed(spec: StudySpec, run: int, trial: int, error: str = BROKEN, method: str = "bop") -> TrialRecord:
    return trial_of(spec, method, run, trial, None, error=error)


def told(losses: FailureTracker, trials: Iterable[TrialRecord]) -> list[str | None]:
    return [losses.add(trial) for trial in trials]


def test_errors_are_counted_by_their_first_line_and_whatever_numbers_are_in_it() -> None:
    spec = spec_of(methods=["bop"], runs=9)
    errors = [
        BROKEN,
        "out of memory: 12.5 MB at 0xff01",
        "out of memory: 7 MB at 0x0",
        BROKEN,
        BROKEN,
        "",
        None,
    ]
    trials = [trial_of(spec, "bop", run, 1, None, error=error) for run, error in enumerate(errors, start=1)]
    trials.append(trial_of(spec, "bop", 9, 1, 0.5))
    assert commonest(trials, 5) == (
        Failure("RuntimeError: a layer broke", 3),
        Failure("out of memory: 12.5 MB at 0xff01", 2),
        Failure("no reason given", 2),
    )
    assert [str(failure) for failure in commonest(trials[:3], 1)] == [
        "out of memory: 12.5 MB at 0xff01 (2 trials)"
    ]
    assert commonest(trials[-1:]) == ()
    assert len(first_line(1000 * "x")) == 300


def test_a_method_without_a_result_is_named_with_its_errors() -> None:
    spec = spec_of(methods=["bop", "ste-adam"], runs=2, trials=2, searcher="sobol")
    sound = [trial_of(spec, "ste-adam", run, trial, 0.5) for run in (1, 2) for trial in (1, 2)]
    assert (
        nothing(
            spec.to_json(), [*sound, *(failed(spec, 1, n) for n in (1, 2)), trial_of(spec, "bop", 2, 1, 0.1)]
        )
        is None
    )
    lost = [failed(spec, 1, 1), failed(spec, 2, 1), failed(spec, 1, 2), failed(spec, 2, 2, OTHER)]
    assert nothing(spec.to_json(), [*sound, *lost]) == (
        "bop has no result: all 4 trials failed: RuntimeError: a layer broke (3 trials); "
        "ValueError: 3 is no size (1 trial)"
    )


def test_a_search_whose_model_found_nothing_is_no_result() -> None:
    spec = spec_of(methods=["bop"], runs=2, trials=4, searcher={"name": "ax", "initial_trials": 2})
    start = [trial_of(spec, "bop", run, trial, 0.5) for run in (1, 2) for trial in (1, 2)]
    rest = [failed(spec, run, trial) for run in (1, 2) for trial in (3, 4)]
    found = nothing(spec.to_json(), start + rest)
    assert found is not None
    assert found.startswith(
        "bop, after the first 2 trials of each run, has no result: all 4 trials failed: Runtime"
    )
    assert nothing(spec.to_json(), start + rest[1:] + [trial_of(spec, "bop", 1, 3, 0.2)]) is None
    assert nothing(spec.to_json(), [failed(spec, 1, 1), *start[1:], trial_of(spec, "bop", 1, 3, 0.2)]) is None


@pytest.mark.parametrize(("runs", "each"), [(1, 5), (2, 3), (5, 1), (20, 1)])
def test_the_same_error_in_the_first_trials_of_every_run_is_certain(runs: int, each: int) -> None:
    spec = spec_of(methods=["bop"], runs=runs, trials=25, searcher="random")
    first = [failed(spec, run, trial) for trial in range(1, each + 1) for run in range(1, runs + 1)]
    reason = f"bop has no result: all {runs * each} trials failed: RuntimeError: a layer broke ({runs * each} trials)"
    losses = FailureTracker(spec.to_json())
    assert told(losses, first) == [None] * (len(first) - 1) + [reason]
    # if the study is resumed, each run gets as many trials again
    more = [failed(spec, run, each + trial) for trial in range(1, each + 1) for run in range(1, runs + 1)]
    again = told(losses, more)
    assert again[:-1] == [None] * (len(more) - 1)
    assert again[-1] is not None
    # with another error or a result among them, nothing is certain
    assert told(FailureTracker(spec.to_json()), [*first[:-1], failed(spec, runs, each, OTHER)])[-1] is None
    assert (
        told(FailureTracker(spec.to_json()), [*first[:-1], trial_of(spec, "bop", runs, each, 0.1)])[-1]
        is None
    )
    ahead = trial_of(spec, "bop", 1, each + 1, 0.1)
    assert told(FailureTracker(spec.to_json(), [ahead]), first)[-1] is None


def test_a_model_that_fails_every_run_is_certain_too() -> None:
    spec = spec_of(methods=["bop"], runs=5, trials=25)
    start = [trial_of(spec, "bop", run, trial, 0.5) for run in range(1, 6) for trial in range(1, 6)]
    found = told(FailureTracker(spec.to_json(), start), [failed(spec, run, 6) for run in range(1, 6)])
    assert found[:4] == [None] * 4
    assert found[4] is not None
    assert found[4].startswith(
        "bop, after the first 5 trials of each run, has no result: all 5 trials failed: "
    )
