"""Studies on a real local Ray cluster, with real training of the real data."""

import socket
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest
import ray
import ray.util.state
from apart import processors
from made_up import train_with
from pictures import data_folder
from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
from ray.util.state.exception import RayStateApiException
from small import Kept, figures, study
from twins import numbers

from studies.errors import StudyError
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


@pytest.fixture(scope="module")
def local_cluster():
    """Start a cluster beside another, whose agent has the port that Ray would give to this one's."""
    with socket.socket() as other, pytest.MonkeyPatch.context() as set_here:
        for name, value in processors(1).items():
            set_here.setenv(name, value)
        with suppress(OSError):  # if there is one already
            other.bind(("127.0.0.1", DEFAULT_DASHBOARD_AGENT_LISTEN_PORT))
            other.listen()
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
        assert len(trial.epochs) == 10
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
    """Without Ray, the assignment gives the same trial."""
    (stored,) = (t for t in whole if (t.arm, t.run, t.trial) == ("latent-sgd", 2, 1))
    assignment = assign(study(), study().arm("latent-sgd"), 2, (), data_dir=spoken_digits)
    suggestion, _ = choose(assignment)
    assert suggestion.hyperparameters == stored.hyperparameters
    assert list(train(assignment, suggestion))[-1].validation_metric == stored.objective


def test_a_trial_of_a_proxy_trains_the_proxy(spoken_digits):
    spec = study(proxy={"epochs": 2, "train_fraction": 0.2, "width": 8})
    assignment = assign(spec, spec.arm("gradient-filter"), 1, (), data_dir=spoken_digits)
    assert assignment.training.proxy == spec.proxy
    suggestion, _ = choose(assignment)
    assert len(list(train(assignment, suggestion))) == 2


def test_a_trial_decodes_as_its_study_says(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    spec = study(task="imagenet-birealnet18", proxy={"epochs": 1}, resources={"decoder": "dali"})
    assignment = assign(spec, spec.arm("gradient-filter"), 1, (), data_dir=data_folder(tmp_path, train=13))
    with pytest.raises(ValueError, match="DALI is not installed here"):
        next(train(assignment, choose(assignment)[0]))


def test_a_trial_is_compiled_where_its_study_says_so(spoken_digits, monkeypatch):
    """tests/trainers/training/test_compilation.py shows what compiling does."""
    asked = []
    monkeypatch.setattr(
        training, "compiled", lambda kind, device: asked.append(device) or training.batch_loss
    )
    for compile in (False, True):
        spec = study(proxy={"epochs": 1, "width": 16}, resources={"compile": compile})
        assignment = assign(spec, spec.arm("latent-sgd"), 1, (), data_dir=spoken_digits)
        list(train(assignment, choose(assignment)[0]))
    assert asked == ["cpu"]


def test_the_dashboard_tells_studies_and_trials_by_name(whole):
    here = ray.get_runtime_context().gcs_address
    filters = [("class_name", "=", "TrialWorker")]
    actors = ray.util.state.list_actors(address=here, filters=filters, detail=True)
    slots = min(
        4, int(ray.cluster_resources()["CPU"])
    )  # a worker may have been replaced by another with its name
    assert {actor.repr_name for actor in actors} == {f"s-1-slot{n:02d}" for n in range(1, slots + 1)}
    logs = []
    for actor in actors:
        for text in log_of(actor, here):
            logs += text.splitlines()
    for trial in whole:
        name = f"s-{trial.arm}-r{trial.run:02d}-t{trial.trial:02d}"
        assert [line for line in logs if line.startswith(f"{name}: {trial.source}, {{")]
        assert f"{name}: {trial.objective} after epoch 10" in logs


def log_of(actor, here):
    """Return an actor's logs, retrying: on a busy machine the process that has them may not be up yet."""
    give_up = time.monotonic() + 120
    while True:
        try:
            return list(ray.util.state.get_log(address=here, actor_id=actor.actor_id))
        except RayStateApiException:
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


def test_a_continued_study_has_the_same_trials(whole, spoken_digits):
    sink = Kept()
    run_study(study(), "s-1", sink, whole[:5], data_dir=spoken_digits)
    assert numbers(whole[:5] + sink.trials) == numbers(whole)


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
    """Make a data folder with a start, `first`: the checkpoint of a training of three epochs."""
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

    spec = study(proxy={"epochs": 1}, methods=["bop"], searcher="sobol", runs=1, start="first")
    sink = Changing()
    told = r"a worker cannot train: .*first\.pt: is not the expected network; put that one back"
    with pytest.raises(StudyError, match=told):
        run_study(
            spec, "s-6", sink, [], data_dir=data_with_a_start, ran_on={"start": {"sha256": checksum(file)}}
        )
    assert len(sink.trials) == 1


def test_a_trial_that_fits_nowhere_is_refused(local_cluster, spoken_digits):
    with pytest.raises(
        StudyError, match=r"a trial needs 512 CPU, .* on one machine; the cluster's machines have . CPU"
    ):
        run_study(study(resources={"cpus": 512}), "s-1", Kept(), [], data_dir=spoken_digits)
    with pytest.raises(
        StudyError, match=r"a trial needs 1 CPU, 1 GPU, .*; the cluster's machines have . CPU, 0 GPU"
    ):
        run_study(study(resources={"gpus": 1}), "s-1", Kept(), [], data_dir=spoken_digits)
