"""Trials that fail, hang and are killed on a real local Ray cluster, and what becomes of their studies."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import faults
import pytest
from apart import local_ray, without_ray
from small import Kept, figures, study

from studies.design.searchers import Suggestion
from studies.errors import NoResultError
from studies.records import TrialState
from studies.running.experiment import run_study
from studies.running.trial import assign, train

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def faulty_cluster():
    with local_ray(faults.install):
        yield


def test_a_method_whose_first_trials_all_fail_of_one_error_stops_the_study(
    faulty_cluster, spoken_digits, monkeypatch
):
    monkeypatch.setattr(
        "studies.analysis.failures.CERTAIN_TRIALS", 2
    )  # each failure costs the start of a worker
    spec = study(
        methods=[{"name": "gradient-filter", "space": {"alpha": faults.RAISES}}, "bop"],
        searcher="sobol",
        runs=2,
        proxy={"width": 8, "epochs": 1},
        resources={"max_retries": 0, "cpus": 2},  # one trial at a time
    )
    sink = Kept()
    told = (
        r"^gradient-filter has no result: all \d+ trials failed: RuntimeError: a layer broke \(\d+ trials\)$"
    )
    with pytest.raises(NoResultError, match=told):
        run_study(spec, "s-8", sink, [], data_dir=spoken_digits)
    assert len(sink.trials) < spec.planned


def test_a_folder_that_cannot_keep_trainings_costs_one_warning_and_no_attempt(
    faulty_cluster, spoken_digits, tmp_path
):
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    (tmp_path / "checkpoints").touch()  # a file in its place
    space = {"alpha": faults.SOUND, "gamma": {"low": 0.05, "high": 0.2}}
    spec = study(methods=[{"name": "gradient-filter", "space": space}], searcher="sobol", runs=1, trials=2)
    sink = Kept()
    with pytest.warns(UserWarning, match="cannot be saved") as told:
        run_study(spec, "s-9", sink, [], data_dir=tmp_path)
    assert [(trial.state, trial.attempts) for trial in sink.trials] == [(TrialState.COMPLETED, 1)] * 2
    (warning,) = [str(each.message) for each in told if "cannot be saved" in str(each.message)]
    assert warning.startswith(f"trainings cannot be saved in {tmp_path / 'checkpoints'}: ")


@pytest.mark.timeout(600)
def test_every_kind_of_failure_frees_the_slot_and_is_stored(faulty_cluster, spoken_digits, tmp_path):
    kinds = [faults.HANGS, faults.KILLED, faults.DIVERGES, faults.TOO_LARGE, faults.SOUND]
    kinds.append(faults.SHORT_OF_BREATH)
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    spec = study(
        methods=[{"name": "gradient-filter", "space": {"alpha": kinds, "gamma": 0.1}}],
        searcher="sobol",
        runs=3,
        trials=2,
        seed=71,  # with this seed Sobol's first two points of three runs cover all six kinds
        resources={"max_seconds": 25, "max_retries": 1},
    )
    sink = Kept()
    run_study(spec, "s-2", sink, [], data_dir=tmp_path)
    assert sorted((t.run, t.trial) for t in sink.trials) == [(r, t) for r in (1, 2, 3) for t in (1, 2)]
    of_kind = {t.hyperparameters["alpha"]: t for t in sink.trials}
    assert of_kind.keys() == set(kinds)
    for kind, reason in (
        (faults.HANGS, "stopped: still running after max_seconds = 25"),
        (faults.KILLED, "the worker process died"),
        (faults.TOO_LARGE, "can't allocate memory"),
    ):
        trial = of_kind[kind]
        assert trial.state is TrialState.FAILED
        assert trial.objective is trial.test_metric is None
        assert trial.attempts == 2
        assert reason in trial.error
    diverged, sound = of_kind[faults.DIVERGES], of_kind[faults.SOUND]
    assert (diverged.state, diverged.objective, diverged.attempts) == (TrialState.DIVERGED, 0.0, 1)
    assert "non-finite in epoch 1" in diverged.error
    assert (sound.state, sound.error, sound.attempts) == (TrialState.COMPLETED, None, 1)
    breathless = of_kind[faults.SHORT_OF_BREATH]  # only a second process that continues gets to the end
    assert (breathless.state, breathless.error, breathless.attempts) == (TrialState.COMPLETED, None, 2)
    assert breathless.train_seconds < (breathless.finished_at - breathless.started_at).total_seconds()
    assignment = assign(spec, spec.arm("gradient-filter"), breathless.run, (), data_dir=spoken_digits)
    seeded = replace(assignment.training, seed=breathless.seed)
    assignment = replace(assignment, training=seeded)
    untouched = train(assignment, Suggestion(breathless.hyperparameters, "sobol"))
    assert figures(breathless.epochs) == figures(untouched)
    assert list((tmp_path / "checkpoints").iterdir()) == []


BEREFT = """
import os
from pathlib import Path
import test_faults
with test_faults.local_ray(test_faults.faults.install, {test_faults.faults.DRIVER: str(os.getpid())}):
    test_faults.run_study(test_faults.bereft(), "s-3", test_faults.Kept(), [], data_dir=Path.cwd())
"""


def test_a_training_whose_driver_was_killed_goes_on_under_the_next(faulty_cluster, spoken_digits, tmp_path):
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    # this tree first, as tests/trainers and tests/studies have the same names as its packages
    environment = without_ray() | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", BEREFT], cwd=tmp_path, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    sink = Kept()
    run_study(bereft(), "s-3", sink, [], data_dir=tmp_path)
    (trial,) = sink.trials
    # a training that starts again from the beginning fails
    assert (trial.state, trial.attempts) == (TrialState.COMPLETED, 1)
    assignment = assign(bereft(), bereft().arm("gradient-filter"), 1, (), data_dir=spoken_digits)
    assert figures(trial.epochs) == figures(train(assignment, Suggestion(trial.hyperparameters, "sobol")))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def bereft():
    space = {"alpha": faults.BEREAVES, "gamma": {"low": 0.05, "high": 0.2}}
    return study(methods=[{"name": "gradient-filter", "space": space}], searcher="sobol", runs=1, trials=1)
