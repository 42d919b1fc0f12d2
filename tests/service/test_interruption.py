"""Studies that are interrupted or killed have, in the end, the trials of one that was not."""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from twins import numbers

from service.database import connect
from service.store import Store

pytestmark = pytest.mark.timeout(600)

SPEC = {
    "name": "twin",
    "task": "spoken-digits",
    "methods": ["gradient-filter", "latent-sgd"],
    "searcher": {"name": "ax", "initial_trials": 3},
    "runs": 2,
    "trials": 6,
}
PLANNED = 24


class Study:
    """The command in its own folder, as a user starts it."""

    def __init__(self, folder, url=None):
        self.folder, self.url = folder, url or f"sqlite:///{folder}/tunebench.db"
        folder.mkdir()
        (folder / "spec.json").write_text(json.dumps(SPEC))

    def start(self, *arguments):
        command = [
            sys.executable,
            "-m",
            "service.cli",
            *(arguments or ("run", "spec.json")),
            "--db",
            self.url,
        ]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        environment["PYTHONPATH"] = str(Path.cwd())
        with (self.folder / "log").open("a") as log:
            # as in a terminal, whatever the tests run under: a background job's children ignore an interrupt
            heeding = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, preexec_fn=heeding
            )

    def log(self):
        return (self.folder / "log").read_text()

    def trials(self):
        """All that must not depend on when and how often the study was started."""
        return numbers(Store(connect(self.url)).trials(self.id(), with_epochs=True))

    def id(self):
        (study,) = Store(connect(self.url)).studies()
        return study.id

    def state(self):
        return Store(connect(self.url)).studies()[0].state

    def count(self):
        try:
            return sum(Store(connect(self.url)).trial_counts().values())
        except Exception:
            return 0  # the database is just being made


def wait(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def workers_of(driver):
    children = psutil.Process(driver.pid).children(recursive=True)
    return [child for child in children if child.name().startswith("ray::Resource")]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, spoken_digits):
    study = Study(tmp_path_factory.mktemp("twins") / "untouched")
    assert study.start().wait() == 0, study.log()
    assert study.count() == PLANNED
    return study


def test_a_driver_killed_at_random_moments_loses_and_doubles_nothing(untouched, tmp_path):
    study = Study(tmp_path / "killed")
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    kills = 0
    while kills < 3:
        before = study.count()
        driver = study.start()
        target = before + draw.randint(1, 4)
        wait(lambda: study.count() >= target or driver.poll() is not None)  # noqa: B023
        time.sleep(draw.uniform(0, 0.3))
        workers = workers_of(driver)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait() == -signal.SIGKILL, study.log()
        kills += 1
        wait(lambda: not any(worker.is_running() for worker in workers))  # noqa: B023
        assert study.state() == "running"
        assert before < study.count() < PLANNED
    assert study.start().wait() == 0, study.log()
    assert study.state() == "completed"
    assert study.trials() == untouched.trials()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_study_is_paused_and_resumed(untouched, tmp_path, number):
    study = Study(tmp_path / "interrupted")
    driver = study.start()
    wait(lambda: study.count() >= 3)
    driver.send_signal(number)
    assert driver.wait(60) == 130, study.log()
    assert study.state() == "paused"
    assert re.search(
        r"Interrupted: \d+ of 24 trials are kept; the same command goes on from there", study.log()
    )
    assert "Traceback" not in study.log()
    assert study.start("resume", "twin").wait() == 0, study.log()
    assert study.trials() == untouched.trials()


def test_a_killed_worker_is_replaced_and_its_trial_repeated(untouched, tmp_path):
    study = Study(tmp_path / "worker")
    driver = study.start()
    wait(lambda: study.count() >= 3)
    workers = []
    wait(lambda: workers.extend(workers_of(driver)) or workers)  # between two calls a worker has another name
    workers[0].kill()
    assert driver.wait() == 0, study.log()
    assert study.trials() == untouched.trials()
    attempts = [trial.attempts for trial in Store(connect(study.url)).trials(study.id())]
    assert sorted(attempts) == [1] * (PLANNED - 1) + [2]


def test_a_second_driver_of_the_same_study_is_refused(tmp_path, spoken_digits):
    study = Study(tmp_path / "two")
    first = study.start()
    wait(lambda: study.count() >= 1)
    second = study.start()
    assert second.wait(60) == 2
    assert f"is run by process {first.pid} on" in study.log()
    assert first.wait() == 0, study.log()
    assert study.count() == PLANNED


def test_a_finished_study_is_exported_again_and_not_run(untouched):
    started = time.monotonic()
    assert untouched.start().wait() == 0
    assert time.monotonic() - started < 30
    assert "twin-" in untouched.log()
    assert "is complete: 24 trials are in the database" in untouched.log()
    exported = untouched.folder / "results" / untouched.id()
    assert {"figure8.png", "figure8.svg", "figure8.pdf", "report.md"} <= {
        path.name for path in exported.iterdir()
    }


def test_a_study_whose_driver_died_after_the_last_trial_is_completed(untouched, tmp_path):
    study = Study(tmp_path / "last")
    shutil.copy(untouched.folder / "tunebench.db", study.folder)
    with sqlite3.connect(study.folder / "tunebench.db") as connection:
        connection.execute("update studies set state = 'paused', finished_at = null")
    connection.close()
    assert study.start().wait() == 0, study.log()
    assert study.state() == "completed"
    assert study.trials() == untouched.trials()


def test_a_study_of_another_protocol_is_not_continued(untouched, tmp_path):
    study = Study(tmp_path / "protocol")
    shutil.copy(untouched.folder / "tunebench.db", study.folder)
    with sqlite3.connect(study.folder / "tunebench.db") as connection:
        connection.execute("pragma foreign_keys = off")
        connection.execute("update studies set id = 'twin-00000000', state = 'paused'")
        connection.execute("update trials set study = 'twin-00000000'")
    connection.close()
    assert study.start("resume", "twin-00000000").wait() == 2
    assert "twin-00000000 was started by another version of tunebench" in study.log()


def test_data_that_vanish_stop_the_study(tmp_path, spoken_digits, monkeypatch):
    study = Study(tmp_path / "vanish")
    data = tmp_path / "data"
    shutil.copytree(spoken_digits / "spoken-digits", data / "spoken-digits")
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", "../data")  # relative, and workers have folders of their own
    driver = study.start()
    wait(lambda: "Starting Ray" in study.log())
    shutil.rmtree(data)
    assert driver.wait() == 2
    assert "a worker cannot read the data: " in study.log()
    assert "run: tunebench data fetch spoken-digits" in study.log()
    assert (study.state(), study.count()) == ("failed", 0)


@pytest.mark.postgres
def test_the_same_study_in_postgresql_is_the_same(untouched, postgresql, tmp_path):
    study = Study(tmp_path / "postgresql", postgresql)
    assert study.start().wait() == 0, study.log()
    assert study.trials() == untouched.trials()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own with room for the tables and a few trials; it can be given more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # this process may still have it open


def test_a_full_disk_stops_the_study_and_loses_nothing(untouched, small_disk, tmp_path):
    study = Study(tmp_path / "full", f"sqlite:///{small_disk}/tunebench.db")
    assert study.start().wait() == 2, study.log()
    assert "is full" in study.log()
    assert "Traceback" not in study.log()
    assert 0 < study.count() < PLANNED
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert study.start().wait() == 0, study.log()
    assert study.trials() == untouched.trials()
