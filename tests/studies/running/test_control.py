"""Stopping a study on a real cluster, and continuing it."""

import os
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray
from apart import local_ray
from twins import alone, numbers

from studies.design.spec import from_json
from studies.running import experiment
from studies.running.cluster import own
from studies.running.control import Control
from studies.running.experiment import run_study

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
ARMS_ALIAS = {"width": 16, "epochs": 3}
AT_ONCE = 10  # seconds, on a busy machine: waiting for a busy worker here would never end


def slow():
    """Run at the start of every worker: make the filter's trials wait until the file `go` exists."""
    from trainers import optimizers

    folder = Path(os.environ["TEST_FOLDER"])

    class Waiting(optimizers.GradientFilter):
        def step(self, closure=None):
            (folder / str(os.getpid())).touch()
            while not (folder / "go").exists():
                time.sleep(0.01)
            super().step(closure)

    optimizers.OPTIMIZERS["gradient-filter"] = Waiting


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def two_slots(folder):
    with local_ray(slow, {"TEST_FOLDER": str(folder)}):
        yield


@pytest.fixture
def workers(folder, two_slots):
    """Return a function that lists the process ids of workers in the middle of a trial, which waits for `go`."""
    for file in folder.iterdir():
        file.unlink()
    return lambda: [int(file.name) for file in folder.iterdir() if file.name.isdigit()]


@pytest.fixture
def go(folder, workers):
    (folder / "go").touch()


def study(**changes):
    data = {
        "name": "s",
        "task": "spoken-digits",
        "proxy": ARMS_ALIAS,
        "methods": ["gradient-filter", "latent-sgd"],
        "searcher": "sobol",
        "runs": 2,
        "trials": 3,
    }
    return from_json(data | changes)


def serial():
    """Make a study with one run, so that half as many workers start."""
    return study(methods=["latent-sgd"], runs=1, trials=10)


def filter_only(**changes):
    data = {"name": "f", "task": "spoken-digits", "proxy": ARMS_ALIAS, "methods": ["gradient-filter"]}
    return from_json(data | {"searcher": "sobol"} | changes)


ONE_AT_A_TIME = filter_only(resources={"cpus": 2})


class Kept:
    def __init__(self, then=lambda sink: None):
        self.trials, self._then = [], then

    def record(self, trial):
        self.trials.append(trial)
        self._then(self)

    def at(self, addresses):
        return {}


class Later(threading.Thread):
    """A thread that does something once a condition holds, and remembers when."""

    def __init__(self, condition, act):
        super().__init__(daemon=True)
        self._condition, self._act, self.at = condition, act, None
        self.start()

    def run(self):
        while not self._condition():
            time.sleep(0.01)
        self.at = time.monotonic()
        self._act()


def is_free():
    return ray.available_resources().get("CPU") == 2


def within(seconds, condition):
    give_up = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.02)
    return condition()


@pytest.fixture(scope="module")
def whole(spoken_digits):
    """Return the trials of a study that nothing stopped."""
    trials, _ = alone(serial(), {}, spoken_digits)
    return trials


def go_on(sink, before, data_dir, control=None):
    """Run the rest of the serial study."""
    spec = serial()
    return run_study(spec, spec.study_id, sink, before, control=control, data_dir=data_dir)


def test_a_drained_and_an_aborted_study_go_on_with_the_same_trials(whole, go, spoken_digits):
    control = Control()
    drained = Kept(lambda sink: len(sink.trials) == 3 and control.drain())
    assert go_on(drained, [], spoken_digits, control) is False
    assert 3 <= len(drained.trials) < len(whole) - 4
    control = Control()
    aborted = Kept(lambda sink: len(sink.trials) == 4 and control.abort())
    assert go_on(aborted, drained.trials, spoken_digits, control) is False
    assert len(aborted.trials) == 4
    before = drained.trials + aborted.trials
    assert numbers(before) == numbers(whole[: len(before)])  # to the end as well: test_run


def test_a_slots_worker_is_there_for_the_trials_to_come(workers, go, spoken_digits):
    """Also with between one and two runs per slot, when a slot's next trial is often not known yet."""
    sink = Kept()
    assert run_study(filter_only(runs=3, trials=4), "f-1", sink, [], data_dir=spoken_digits) is True
    assert (len(sink.trials), len(workers())) == (12, 2)


def test_busy_workers_are_given_up_at_once(workers, spoken_digits):
    control, sink, titles = Control(), Kept(), []

    def abort():
        titles.extend(psutil.Process(pid).cmdline()[0] for pid in workers())
        control.abort()

    aborted = Later(lambda: len(workers()) == 2, abort)
    assert run_study(filter_only(), "f-1", sink, [], control=control, data_dir=spoken_digits) is False
    assert time.monotonic() - aborted.at < AT_ONCE
    assert sink.trials == []
    assert within(AT_ONCE, lambda: not any(psutil.pid_exists(pid) for pid in workers()))
    assert within(AT_ONCE, is_free)
    assert sorted(titles) == ["ray::f-gradient-filter-r01-t01", "ray::f-gradient-filter-r02-t01"]


def test_a_drained_study_finishes_the_trials_in_flight(workers, folder, spoken_digits):
    control, sink = Control(), Kept()

    def drain():
        control.drain()
        time.sleep(1)
        (folder / "go").touch()

    Later(lambda: len(workers()) == 1, drain)
    assert run_study(ONE_AT_A_TIME, "f-1", sink, [], control=control, data_dir=spoken_digits) is False
    assert [(trial.run, trial.trial) for trial in sink.trials] == [(1, 1)]
    assert within(AT_ONCE, is_free)


def test_a_drained_study_keeps_no_idle_worker(workers, folder, spoken_digits, monkeypatch):
    """Not even while a trial that has been handed out waits for a worker, as after the loss of a machine."""
    lost = {"CPU": 3.0}
    monkeypatch.setattr(experiment, "slots", lambda spec: 3)
    monkeypatch.setattr(experiment, "own", lambda spec, slot: own(spec, slot) | (lost if slot == 2 else {}))
    control, freed = Control(), []
    sink = Kept(lambda sink: workers() and control.drain())  # a latent trial's: the filter's waits

    def let_go():
        freed.append(within(AT_ONCE, lambda: ray.available_resources().get("CPU") == 1))
        (folder / "go").touch()

    Later(lambda: control.draining, let_go)
    assert run_study(study(trials=500), "s-1", sink, [], control=control, data_dir=spoken_digits) is False
    assert freed == [True]
    assert [trial.arm for trial in sink.trials].count("gradient-filter") == 1
    assert within(AT_ONCE, is_free)


def test_a_drained_study_waits_for_its_trials_until_it_is_aborted(workers, folder, spoken_digits):
    control, sink = Control(), Kept()
    drained = Later(lambda: len(workers()) == 1, control.drain)
    aborted = Later(lambda: drained.at is not None and time.monotonic() > drained.at + 2, control.abort)
    assert run_study(ONE_AT_A_TIME, "f-1", sink, [], control=control, data_dir=spoken_digits) is False
    assert 0 < time.monotonic() - aborted.at < AT_ONCE
    assert sink.trials == []


@pytest.mark.parametrize("wish", ["drain", "abort"])
def test_a_study_that_waits_for_the_cluster_stops_at_once(wish, workers, spoken_digits):
    taken = ray.util.placement_group([{"CPU": 2}])
    ray.get(taken.ready())
    control, sink, start = Control(), Kept(), time.monotonic()
    stopped = Later(lambda: time.monotonic() > start + 2, getattr(control, wish))
    try:
        assert run_study(filter_only(), "f-1", sink, [], control=control, data_dir=spoken_digits) is False
        assert time.monotonic() - stopped.at < AT_ONCE
    finally:
        ray.util.remove_placement_group(taken)
    assert workers() == sink.trials == []
    assert within(AT_ONCE, is_free)


def test_a_study_whose_workers_are_still_starting_stops_at_once(workers, spoken_digits):
    control, sink = Control(), Kept()
    stopped = Later(lambda: ray.available_resources().get("CPU", 0) == 0, control.drain)
    assert run_study(filter_only(), "f-1", sink, [], control=control, data_dir=spoken_digits) is False
    assert time.monotonic() - stopped.at < AT_ONCE
    assert workers() == sink.trials == []
    assert within(AT_ONCE, is_free)


def test_a_fault_of_the_sink_does_not_wait_for_busy_workers(workers, spoken_digits):
    def full(sink):
        raise OSError("no space left on device")

    failed = Kept(full)
    with pytest.raises(OSError, match="no space left"):  # from a latent trial: the filter's wait
        run_study(study(), "s-1", failed, [], data_dir=spoken_digits)
    assert len(failed.trials) == 1
    assert within(AT_ONCE, lambda: not any(psutil.pid_exists(pid) for pid in workers()))
    assert within(AT_ONCE, is_free)


@pytest.mark.parametrize("wish", ["drain", "abort"])
def test_a_stop_that_comes_before_the_study(whole, wish, go, spoken_digits):
    control, sink = Control(), Kept()
    getattr(control, wish)()
    assert go_on(sink, whole[:5], spoken_digits, control) is False
    assert go_on(sink, whole, spoken_digits, control) is True
    assert sink.trials == []
