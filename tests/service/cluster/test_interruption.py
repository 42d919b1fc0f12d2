"""Studies that are interrupted or killed end with the trials of an uninterrupted study."""

import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from functools import partial
from itertools import cycle

import pytest
from killable import PLANNED, Disk, Study, kill_worker, wait, workers_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


RUN, RESUME = ("run", "spec.json"), ("resume", "twin")


@pytest.fixture
def disk(tmp_path):
    with closing(Disk(tmp_path / "disk")) as disk:
        yield disk


def test_however_its_drivers_end_a_study_loses_and_doubles_nothing(
    untouched, spoken_digits, tmp_path, disk, tunebench, monkeypatch
):
    """One study goes through all ends, so each end loses nothing, whatever happened before."""
    study = Study(tmp_path, f"sqlite:///{disk.folder}/tunebench.db")
    (tmp_path / "data").symlink_to(spoken_digits)
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", "data")  # relative, while workers have their own folders
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    ends = [_kill, _interrupt, _terminate, *[partial(_fill, disk)] * disk.small]
    draw.shuffle(ends)
    for end, command in zip(ends, cycle((RUN, RESUME)), strict=False):
        before = study.count()
        driver = study.start(*command)
        wait(lambda: study.count() > before or driver.poll() is not None)  # noqa: B023
        time.sleep(draw.uniform(0, 0.3))
        end(study, driver)
        assert before < study.count() < PLANNED
    before = study.count()
    driver = study.start(*RESUME)
    wait(lambda: study.count() > before)
    kill_worker(driver)
    code, _, told = tunebench(*RUN, "--db", study.url)
    assert (code, f"is run by process {driver.pid} on" in told) == (2, True)
    assert study.count() < PLANNED
    assert driver.wait() == 0, study.log()
    assert study.state() == "completed"
    assert study.trials() == untouched.trials()
    attempts = [trial.attempts for trial in study.store.trials(study.id())]
    assert sorted(attempts) == [1] * (PLANNED - 1) + [2]


def _kill(study, driver):
    workers = workers_of(driver)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL, study.log()
    wait(lambda: not any(worker.is_running() for worker in workers))
    assert study.state() == "running"


def _interrupt(study, driver, number=signal.SIGINT):
    driver.send_signal(number)
    assert driver.wait(60) == 130, study.log()
    assert study.state() == "paused"
    kept = f"Interrupted: {study.count()} of {PLANNED} trials are stored. Continue with the same command or with: "
    assert kept in study.log()
    assert "Traceback" not in study.log()


def _terminate(study, driver):
    _interrupt(study, driver, signal.SIGTERM)


def _fill(disk, study, driver):
    with disk.full():
        assert driver.wait(60) == 2, study.log()
    assert f"error: database {study.url} has no disk space left" in study.log()
    assert "Traceback" not in study.log()


@pytest.fixture
def finished(untouched, tmp_path):
    """The study with all its trials."""
    study = Study(tmp_path)
    shutil.copy(untouched.folder / "tunebench.db", study.folder)
    return study


def change(study, *statements):
    with sqlite3.connect(study.folder / "tunebench.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_finished_study_is_exported_again_and_not_run(finished, tunebench):
    """A note says that the data are no longer those that the study ran on."""
    before, id = finished.store.study(finished.id()).provenance["data"]["sha256"], finished.id()
    change(finished, f"update studies set provenance = replace(provenance, '{before}', '{64 * '0'}')")
    code, out, err = tunebench(*RUN)
    log = " ".join((err + out).split())
    assert code == 0, log
    assert "Starting Ray" not in log
    assert f"{id} is complete: {PLANNED} trials are in the database note: twin-" in log
    assert (
        f"put the earlier data back (spoken-digits, sha256 {64 * '0'}), or run the study under another name"
        in log
    )
    exported = finished.folder / "results" / id
    assert {"figure8.png", "figure8.svg", "figure8.pdf", "report.md"} <= {
        path.name for path in exported.iterdir()
    }


def test_a_study_whose_driver_died_after_the_last_trial_is_completed(untouched, finished, tunebench):
    change(finished, "update studies set state = 'paused', finished_at = null")
    code, _, log = tunebench(*RUN)
    assert code == 0, log
    assert finished.state() == "completed"
    assert finished.trials() == untouched.trials()


def test_a_study_of_another_protocol_is_not_continued(finished, tunebench):
    change(
        finished,
        "pragma foreign_keys = off",
        "update studies set id = 'twin-00000000', state = 'paused'",
        "update trials set study = 'twin-00000000'",
    )
    code, _, log = tunebench("resume", "twin-00000000")
    assert code == 2
    assert "twin-00000000 was started by another version of tunebench" in log
