"""Studies on a real local Ray cluster, with real training of the real data."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import faults
import pytest
import ray
import ray.util.state
from apart import python_in, without_ray
from made_up import train_with
from pictures import data_folder
from ray.util.state.exception import RayStateApiException
from twins import numbers

from studies.design.searchers import Suggestion
from studies.design.spec import from_json
from studies.errors import NoResultError, StudyError
from studies.records import TrialState
from studies.running.cluster import cluster
from studies.running.experiment import run_study
from studies.running.trial import assign, choose, train
from trainers.files import checksum
from trainers.seeds import derive
from trainers.tasks import TASKS, Proxy
from trainers.training import training
from trainers.training.checkpoints import Checkpoint
from trainers.training.start import start_file

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


class Kept:
    def __init__(self, fail_at=None):
        self.trials = []
        self.fail_at = fail_at

    def record(self, trial):
        if len(self.trials) == self.fail_at:
            raise OSError("no space left on device")
        self.trials.append(trial)


def study(**changes):
    data = {
        "name": "s",
        "task": "spoken-digits",
        "methods": ["gradient-filter", "latent-sgd"],
        "searcher": {"name": "ax", "initial_trials": 2},
        "runs": 2,
        "trials": 3,
    }
    return from_json(data | changes)


@pytest.fixture(scope="module")
def local_cluster():
    with cluster():
        yield


@pytest.fixture(scope="module")
def whole(local_cluster, spoken_digits):
    sink = Kept()
    run_study(study(), "s-1", sink, [], data_dir=spoken_digits)
    return sink.trials


def test_every_trial_is_there_once_and_in_order(whole):
    assert Counter((t.arm, t.run) for t in whole) == {
        (method, run): 3 for method in ("gradient-filter", "latent-sgd") for run in (1, 2)
    }
    for method in ("gradient-filter", "latent-sgd"):
        for run in (1, 2):
            own = [t for t in whole if (t.arm, t.run) == (method, run)]
            assert [t.trial for t in own] == [1, 2, 3]
            assert [t.source for t in own] == ["sobol", "sobol", "model"]


def test_a_record_says_what_happened(whole):
    for trial in whole:
        assert trial.study == "s-1"
        assert trial.state is TrialState.COMPLETED
        assert trial.attempts == 1
        assert len(trial.epochs) == 16
        assert trial.objective == trial.epochs[-1].validation_metric
        assert trial.test_metric == trial.epochs[-1].test_metric
        assert trial.train_seconds == pytest.approx(sum(e.train_seconds for e in trial.epochs))
        assert trial.suggest_seconds > 0
        assert trial.finished_at > trial.started_at
        assert trial.started_at.utcoffset().total_seconds() == 0


def test_runs_are_paired(whole):
    seeds = {(t.arm, t.run, t.trial): t.seed for t in whole}
    for (method, run, trial), seed in seeds.items():
        assert seed == seeds["gradient-filter", run, trial] == derive(0, "run", run, "trial", trial), method
    assert len(set(seeds.values())) == 6


def test_a_trial_is_what_its_assignment_says(whole, spoken_digits):
    """The same trial without Ray."""
    (stored,) = (t for t in whole if (t.arm, t.run, t.trial) == ("latent-sgd", 2, 1))
    assignment = assign(study(), "latent-sgd", 2, (), data_dir=spoken_digits)
    suggestion, _ = choose(assignment)
    assert suggestion.hyperparameters == stored.hyperparameters
    assert list(train(assignment, suggestion))[-1].validation_metric == stored.objective


def test_a_trial_of_a_proxy_trains_the_proxy(spoken_digits):
    spec = study(proxy={"epochs": 2, "train_fraction": 0.2, "width": 8})
    assignment = assign(spec, "gradient-filter", 1, (), data_dir=spoken_digits)
    assert assignment.training.proxy == spec.proxy
    suggestion, _ = choose(assignment)
    assert len(list(train(assignment, suggestion))) == 2


def test_a_trial_decodes_as_its_study_says(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    spec = study(task="imagenet-birealnet18", resources={"decoder": "dali"})
    assignment = assign(spec, "gradient-filter", 1, (), data_dir=data_folder(tmp_path, train=13))
    with pytest.raises(ValueError, match="DALI is not installed here"):
        next(train(assignment, choose(assignment)[0]))


def test_a_trial_is_compiled_where_its_study_says_so(spoken_digits, monkeypatch):
    """What compiling does is shown in tests/trainers/training/test_compilation.py."""
    asked = []
    monkeypatch.setattr(
        training, "compiled", lambda kind, device: asked.append(device) or training.batch_loss
    )
    for compile in (False, True):
        spec = study(proxy={"epochs": 1}, resources={"compile": compile})
        assignment = assign(spec, "latent-sgd", 1, (), data_dir=spoken_digits)
        list(train(assignment, choose(assignment)[0]))
    assert asked == ["cpu"]


def test_the_dashboard_tells_studies_and_trials_by_name(whole):
    here = ray.get_runtime_context().gcs_address
    filters = [("class_name", "=", "TrialWorker")]
    actors = ray.util.state.list_actors(address=here, filters=filters, detail=True)
    slots = min(
        4, int(ray.cluster_resources()["CPU"])
    )  # a worker may have been replaced by one of the same name
    assert {actor.repr_name for actor in actors} == {f"s-1-slot{n:02d}" for n in range(1, slots + 1)}
    logs = []
    for actor in actors:
        for text in log_of(actor, here):
            logs += text.splitlines()
    for trial in whole:
        name = f"s-{trial.arm}-r{trial.run:02d}-t{trial.trial:02d}"
        assert [line for line in logs if line.startswith(f"{name}: {trial.source}, {{")]
        assert f"{name}: {trial.objective} after epoch 16" in logs


def log_of(actor, here):
    """On a busy machine the process that is asked for it may not have come up yet."""
    give_up = time.monotonic() + 180
    while True:
        try:
            return list(ray.util.state.get_log(address=here, actor_id=actor.actor_id))
        except RayStateApiException:
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


@pytest.mark.parametrize("kept", [5, 11])
def test_a_continued_study_has_the_same_trials(whole, kept, spoken_digits):
    sink = Kept()
    run_study(study(), "s-1", sink, whole[:kept], data_dir=spoken_digits)
    assert numbers(whole[:kept] + sink.trials) == numbers(whole)


def test_a_finished_study_trains_nothing(whole, spoken_digits):
    sink = Kept()
    run_study(study(), "s-1", sink, whole, data_dir=spoken_digits)
    assert sink.trials == []


def test_a_gap_in_the_history_is_refused(whole, spoken_digits):
    history = [t for t in whole if t.trial != 2]
    with pytest.raises(StudyError, match="run 1 has trial 3 but not 2"):
        run_study(study(), "s-1", Kept(), history, data_dir=spoken_digits)


@pytest.fixture
def data_with_a_start(spoken_digits, tmp_path):
    """A data folder with the checkpoint of a training of three epochs in it, `first`."""
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    file = start_file(tmp_path, "first")
    file.parent.mkdir()
    values = {"alpha": 1e-3, "gamma": 0.1}
    options = {"seed": 1, "split_seed": 1, "data_dir": tmp_path, "proxy": Proxy(epochs=3)}
    list(
        train_with(TASKS["spoken-digits"], "gradient-filter", values, checkpoint=Checkpoint(file), **options)
    )
    return tmp_path


def test_every_trial_starts_from_the_studys_network(local_cluster, data_with_a_start):
    spec = study(
        methods=[{"name": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}, "ste-adam"],
        searcher="sobol",
        trials=2,
        proxy={"epochs": 1},
        start="first",
    )
    sink = Kept()
    run_study(spec, "s-4", sink, [], data_dir=data_with_a_start)
    assert len(sink.trials) == 8
    for trial in sink.trials:
        options = {
            "seed": trial.seed,
            "split_seed": derive(0, "run", trial.run, "split"),
            "data_dir": data_with_a_start,
            "proxy": spec.proxy,
        }
        task, values = TASKS["spoken-digits"], trial.hyperparameters
        file = data_with_a_start / "starts" / "first.pt"
        assert figures(trial.epochs) == figures(train_with(task, trial.arm, values, start=file, **options))
        if trial.arm == "gradient-filter":
            (scratch,) = train_with(task, trial.arm, values, **options)
            assert trial.epochs[0].train_loss < scratch.train_loss - 0.3
            assert trial.objective > scratch.validation_metric


def test_a_start_that_changes_while_the_study_runs_stops_it(local_cluster, data_with_a_start):
    file = data_with_a_start / "starts" / "first.pt"

    class Changing(Kept):
        def record(self, trial):
            super().record(trial)
            file.write_bytes(file.read_bytes() + b"x")

    spec = study(methods=["bop"], searcher="sobol", runs=1, start="first")
    sink = Changing()
    told = r"a worker cannot train: .*first\.pt: is not what was to be started from; put that one back"
    with pytest.raises(StudyError, match=told):
        run_study(spec, "s-6", sink, [], data_dir=data_with_a_start, start_sum=checksum(file))
    assert len(sink.trials) == 1


def test_a_worker_that_has_nothing_to_start_from_stops_the_study(local_cluster, spoken_digits):
    spec = study(start="none", runs=1)
    sink = Kept()
    with pytest.raises(StudyError, match=r"a worker cannot train: .*none\.pt: there is no such"):
        run_study(spec, "s-5", sink, [], data_dir=spoken_digits)
    assert sink.trials == []


def test_a_worker_that_has_not_what_it_is_to_use_stops_the_study(local_cluster, tmp_path):
    """Every other trial would fail of it as well, and the study be over without a result."""
    spec = study(task="imagenet-birealnet18", runs=1, resources={"decoder": "dali"})
    sink = Kept()
    with pytest.raises(StudyError, match="a worker cannot train: NVIDIA DALI is not installed here"):
        run_study(spec, "s-7", sink, [], data_dir=data_folder(tmp_path, train=13))
    assert sink.trials == []


def test_a_sink_that_fails_stops_the_study(local_cluster, spoken_digits):
    sink = Kept(fail_at=2)
    with pytest.raises(OSError, match="no space left"):
        run_study(study(methods=["bop"], runs=1), "s-1", sink, [], data_dir=spoken_digits)
    assert len(sink.trials) == 2


def test_a_trial_that_fits_nowhere_is_refused(local_cluster, spoken_digits):
    with pytest.raises(
        StudyError, match=r"a trial needs 512 CPU, .* on one machine; the cluster's have . CPU"
    ):
        run_study(study(resources={"cpus": 512}), "s-1", Kept(), [], data_dir=spoken_digits)
    with pytest.raises(StudyError, match=r"a trial needs 1 CPU, 1 GPU, .*; the cluster's have . CPU, 0 GPU"):
        run_study(study(resources={"gpus": 1}), "s-1", Kept(), [], data_dir=spoken_digits)


def test_an_address_where_nothing_answers_is_told(monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(StudyError, match=r"RAY_ADDRESS '127\.0\.0\.1:1' does not answer"), cluster():
        pass


def test_a_local_ray_that_does_not_come_up_is_told(monkeypatch, caplog):
    def timed_out(*args, **options):
        give_up = time.monotonic() + 10
        while not caplog.records and time.monotonic() < give_up:
            time.sleep(0.01)
        raise Exception("The current node timed out during startup.\nThis could happen")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", timed_out)
    monkeypatch.setattr("studies.running.cluster.SLOW_SECONDS", 0.05)
    told = r"^Ray does not start here: The current node timed out during startup\. This could"
    with pytest.raises(StudyError, match=told), cluster():
        pass
    assert [record.getMessage() for record in caplog.records] == [
        "Ray is not up after 0 s: its logs say nothing"
    ]


@pytest.fixture(scope="module")
def faulty_cluster():
    ray.shutdown()
    start_ray()
    yield
    ray.shutdown()


def test_a_method_whose_first_trials_all_fail_of_one_error_stops_the_study(faulty_cluster, spoken_digits):
    spec = study(
        methods=[{"name": "gradient-filter", "space": {"alpha": faults.RAISES}}, "bop"],
        searcher="sobol",
        runs=5,
        proxy={"width": 8, "epochs": 1},
        resources={"max_retries": 0},
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
    with pytest.warns(UserWarning, match="cannot be kept") as told:
        run_study(spec, "s-9", sink, [], data_dir=tmp_path)
    assert [(trial.state, trial.attempts) for trial in sink.trials] == [(TrialState.COMPLETED, 1)] * 2
    (warning,) = [str(each.message) for each in told if "cannot be kept" in str(each.message)]
    assert warning.startswith(f"trainings cannot be kept in {tmp_path / 'checkpoints'}: ")


@pytest.mark.timeout(600)
def test_every_kind_of_failure_frees_the_slot_and_is_stored(faulty_cluster, spoken_digits, tmp_path):
    kinds = [faults.RAISES, faults.HANGS, faults.KILLED, faults.DIVERGES, faults.TOO_LARGE, faults.SOUND]
    kinds.append(faults.SHORT_OF_BREATH)
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    spec = study(
        methods=[{"name": "gradient-filter", "space": {"alpha": kinds, "gamma": 0.1}}],
        searcher="sobol",
        runs=4,
        trials=2,
        seed=37,  # with this one Sobol's first two points of four runs are all seven kinds
        resources={"max_seconds": 25, "max_retries": 1},
    )
    sink = Kept()
    run_study(spec, "s-2", sink, [], data_dir=tmp_path)
    assert sorted((t.run, t.trial) for t in sink.trials) == [(r, t) for r in (1, 2, 3, 4) for t in (1, 2)]
    of_kind = {t.hyperparameters["alpha"]: t for t in sink.trials}
    assert of_kind.keys() == set(kinds)
    for kind, reason in (
        (faults.RAISES, "RuntimeError: a layer broke"),
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
    breathless = of_kind[faults.SHORT_OF_BREATH]  # only a second process that goes on comes to an end
    assert (breathless.state, breathless.error, breathless.attempts) == (TrialState.COMPLETED, None, 2)
    assert breathless.train_seconds < (breathless.finished_at - breathless.started_at).total_seconds()
    assignment = assign(spec, "gradient-filter", breathless.run, (), data_dir=spoken_digits)
    seeded = replace(assignment.training, seed=breathless.seed)
    assignment = replace(assignment, training=seeded)
    untouched = train(assignment, Suggestion(breathless.hyperparameters, "sobol"))
    assert figures(breathless.epochs) == figures(untouched)
    assert list((tmp_path / "checkpoints").iterdir()) == []


BEREFT = """
import os
from pathlib import Path
import test_run
test_run.start_ray({test_run.faults.DRIVER: str(os.getpid())})
test_run.run_study(test_run.bereft(), "s-3", test_run.Kept(), [], data_dir=Path.cwd())
"""


def test_a_training_whose_driver_was_killed_goes_on_under_the_next(spoken_digits, tmp_path):
    ray.shutdown()
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    # this tree first: beside it tests/trainers and tests/studies have the names of its packages
    environment = without_ray() | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    killed = subprocess.run([sys.executable, "-c", BEREFT], cwd=tmp_path, env=environment)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    sink = Kept()
    start_ray()
    try:
        run_study(bereft(), "s-3", sink, [], data_dir=tmp_path)
    finally:
        ray.shutdown()
    (trial,) = sink.trials
    # a training from its beginning fails
    assert (trial.state, trial.attempts) == (TrialState.COMPLETED, 1)
    assignment = assign(bereft(), "gradient-filter", 1, (), data_dir=spoken_digits)
    assert figures(trial.epochs) == figures(train(assignment, Suggestion(trial.hyperparameters, "sobol")))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def bereft():
    space = {"alpha": faults.BEREAVES, "gamma": {"low": 0.05, "high": 0.2}}
    return study(methods=[{"name": "gradient-filter", "space": space}], searcher="sobol", runs=1, trials=1)


def start_ray(environment=None):
    """Of which every worker may meet a fault."""
    ray.cloudpickle.register_pickle_by_value(sys.modules["faults"])
    hook = {"worker_process_setup_hook": faults.install, "env_vars": environment or {}}
    ray.init("local", log_to_driver=False, runtime_env=hook)


def figures(epochs):
    return [replace(epoch, train_seconds=0.0, evaluate_seconds=0.0) for epoch in epochs]


LOCAL = """
import json, os, sys
import psutil
from studies.running.cluster import cluster  # before Ray
import ray
from studies.running.ray_token import find_ray_token
with cluster():
    listening = [
        (process.name(), socket.laddr.ip.removeprefix("::ffff:"))
        for process in psutil.Process().children(recursive=True)
        for socket in process.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    ]
    executable = ray.remote(num_cpus=0, runtime_env={"env_vars": {"A": "1"}})(lambda: sys.executable)
    found = {
        "listening": listening,
        "worker": os.path.realpath(ray.get(executable.remote(), timeout=60)),
        "session": ray._private.worker.global_worker.node.get_session_dir_path(),
        "token": find_ray_token(),
    }
    found["modes"] = [oct(os.stat(path).st_mode & 0o777) for path in (
        os.path.join(found["session"], "../.."), os.path.expanduser("~/.ray/auth_token"), os.path.expanduser("~/.ray")
    )]
    print(json.dumps(found))
"""


def test_a_local_cluster_is_closed_to_all_others_wherever_it_is_installed(tmp_path):
    """Ray does not quote the path of Python in commands, makes its token readable to all and lets all write its folder;
    a long TMPDIR, as Slurm sets it, has no room for sockets."""
    python = python_in(tmp_path / 'My $(Project); "é" & more' / "venv")
    long = tmp_path / ("long" * 20)
    long.mkdir()
    done = subprocess.run(
        [python, "-c", LOCAL],
        env=without_ray() | {"HOME": str(tmp_path), "TMPDIR": str(long), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        umask=0o022,
    )
    assert done.returncode == 0, done.stderr
    assert "dashboard" not in done.stderr, "a minute is waited for one that does not start"
    found = json.loads(done.stdout)
    assert ["raylet", "127.0.0.1"] in found["listening"]
    assert {ip for _, ip in found["listening"]} == {"127.0.0.1"}
    assert found["worker"] == os.path.realpath(python)
    assert found["modes"] == ["0o700", "0o600", "0o700"]
    assert (tmp_path / ".ray" / "auth_token").read_text() == found["token"]
    assert not Path(found["session"]).exists(), "nothing is left"


NO_WORKERS = """
import sys
if sys.orig_argv[1].endswith({script!r}):
    sys.exit("no workers here")
"""


def test_workers_that_do_not_start_end_the_study_with_what_ray_says_of_them(
    spoken_digits, tmp_path, monkeypatch
):
    ray.shutdown()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("studies.running.experiment.WORKER_SECONDS", 5.0)
    told = r"Ray's workers do not start: .* \(raylet\.err\)"
    for script in ("setup_worker.py", "default_worker.py"):  # one process becomes the other
        (tmp_path / "sitecustomize.py").write_text(NO_WORKERS.format(script=script))
        with cluster(), pytest.raises(StudyError, match=told):
            run_study(study(), "s-1", Kept(), [], data_dir=spoken_digits)
