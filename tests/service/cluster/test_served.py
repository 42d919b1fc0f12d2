"""Studies under the real service, on real Ray: one runs undisturbed, the processes of others are killed."""

import json
import random
import shutil
import socket
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from heads import command, is_dead
from killable import PLANNED, Disk, Listener, Service, ask, ends, grows, trials, wait
from sqlalchemy import update
from twins import numbers

from service.client import Client
from service.database.engine import writing
from service.database.tables import studies
from service.records import FINISHED
from studies.design.spec import from_json
from studies.records import StudyState

pytestmark = pytest.mark.timeout(900)
WHOLE = {
    "name": "whole",
    "task": "spoken-digits",
    "proxy": {"epochs": 1, "width": 16},
    "methods": ["gradient-filter", "bop"],
    "searcher": {"name": "botorch", "initial_trials": 1},
    "runs": 1,
    "trials": 2,
}


@pytest.fixture(scope="module")
def one_service(tmp_path_factory, spoken_digits):
    folder = tmp_path_factory.mktemp("service")
    data = folder / "data"
    data.mkdir()
    (data / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    with closing(Disk(folder / "disk")) as disk:
        one = Service(folder, f"sqlite:///{disk.folder}/tunebench.db", data)
        one.disk = disk
        one.start()
        yield one
        one.stop()


@pytest.fixture
def service(one_service):
    """The service without studies: those of earlier tests are deleted, so that the same ones can be submitted again."""
    yield one_service
    for study in one_service.store.studies():
        one_service.store.delete(study.id)


def driver_of(service, study):
    (driver,) = [p for p in service.ray_processes("service.worker") if {"--fence", study} <= {*command(p)}]
    return driver


def kill_service(service, study):
    service.kill()
    grows(service, study)  # it needs no service
    driver = driver_of(service, study)
    driver.suspend()  # else the study ends before the service is back
    service.start()
    driver.resume()


def kill_driver(service, study):
    driver = driver_of(service, study)
    driver.kill()
    wait(lambda: not driver.is_running())


def workers_of(service):
    """Return the workers once there are some: a worker has another name between two calls."""
    workers = []
    wait(lambda: workers.extend(service.ray_processes("ray::twin")) or workers)
    return workers


def kill_worker(service, study):
    worker = workers_of(service)[0]
    worker.kill()
    wait(lambda: not worker.is_running())


def kill_head(service, study):
    driver = driver_of(service, study)
    for worker in workers_of(service):
        worker.suspend()  # else the study goes on, perhaps to its end, until the service notices that the head is dead
    (gcs,) = service.ray_processes("gcs_server")
    gcs.kill()
    wait(lambda: not gcs.is_running())
    wait(lambda: not driver.is_running(), 60)


def stop_service(service, study):
    processes = service.ray_processes("")
    assert len(processes) > 5
    service.stop()
    wait(lambda: not any(process.is_running() for process in processes), 30)
    assert service.store.study(study).state in (StudyState.RUNNING, StudyState.QUEUED)
    service.start()


def fill_disk(service, study):
    driver = driver_of(service, study)
    with service.disk.full():
        wait(lambda: not driver.is_running(), 60)
        told = f"database {service.database_url} has no disk space left"
        wait(lambda: told in service.log() or told in (service.store.study(study).error or ""))
        assert httpx.get(f"{service.url}/v1/studies/{study}").status_code == 200
        assert httpx.get(f"{service.url}/readyz").status_code == 503
        before = trials(service, study)
    wait(lambda: service.store.study(study).state is StudyState.FAILED or trials(service, study) > before)
    if service.store.study(study).state is StudyState.FAILED:
        Client(service.url).resume(study)


def freeze_driver(service, study):
    """Suspend the driver until it is stopped with its workers, and the study goes on."""
    sleeper, workers = driver_of(service, study), workers_of(service)
    sleeper.suspend()
    seen = service.store.study(study)
    with writing(service.store.engine) as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(studies).values(lease_expires_at=past))
    wait(lambda: service.store.study(study).state is not StudyState.RUNNING, 60)
    wait(lambda: all(is_dead(process) for process in [sleeper, *workers]), 10)
    told = [event.data for event in service.store.events(study, seen.last_event) if event.kind == "state"]
    assert told[0]["reason"] == "its driver is gone, and its Ray job was stopped"
    assert f"{study}: gradient-filter, latent-sgd on proxy of" in service.store.log(study)


def test_a_study_is_submitted_run_watched_and_exported(service, tmp_path):
    """All stages of a study, in one that is small enough for every run of the tests."""
    with Client(service.url) as client:
        study = client.submit(WHOLE)
        *_, last = client.watch(study.id)
        assert last.state is StudyState.COMPLETED, service.log()
        compared = client.comparison(study.id)
        client.export(study.id, tmp_path / "results")
    assert last.trials.completed == from_json(WHOLE).planned
    trials = service.store.trials(study.id, with_epochs=True)
    assert [trial.source for trial in trials] == ["sobol", "model"] * 2
    assert all(len(trial.epochs) == 1 and trial.objective for trial in trials)
    assert len(numbers(trials)) == 4
    exported = tmp_path / "results"
    assert {"figure8.png", "report.md", "comparison.json", "trials.csv"} <= {
        p.name for p in exported.iterdir()
    }
    assert json.loads((exported / "comparison.json").read_text())["trials_done"] == 4
    said = " ".join((exported / "report.md").read_text().split())
    assert " ".join(compared.verdict.split()) in said


@pytest.mark.cluster
def test_prometheus_finds_what_the_service_and_a_studys_driver_count(service, tmp_path):
    """The configuration is the one in the docs, with another port."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip("Prometheus is not installed")
    config = tmp_path / "prometheus.yml"
    problem_responses = Path("docs/prometheus.yml").read_text()
    for there, here in (("127.0.0.1:8000", f"127.0.0.1:{service.port}"), ("15s", "1s")):
        assert there in problem_responses
        problem_responses = problem_responses.replace(there, here)
    (tmp_path / "tunebench-token").write_text("no token is needed here")
    config.write_text("global: {scrape_interval: 1s}\n" + problem_responses)
    subprocess.run(["promtool", "check", "config", config], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as found:
        at = f"127.0.0.1:{found.getsockname()[1]}"
    study = service.submit(
        name="counted", runs=1, searcher="sobol", trials=500
    )  # more than the test has time for
    paths = {"config.file": config, "storage.tsdb.path": tmp_path / "tsdb", "web.listen-address": at}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            ["prometheus", *(f"--{name}={value}" for name, value in paths.items())], stdout=log, stderr=log
        ) as prometheus,
    ):
        try:
            wait(lambda: queried(at, "tunebench_database_up") == [1.0], 30)
            wait(lambda: queried(at, f'ray_tunebench_trials_done{{study="{study}"}}'), 60)
        finally:
            prometheus.terminate()
            Client(service.url).cancel(study)
            wait(lambda: service.store.study(study).state in FINISHED)


def queried(at, query):
    try:
        answer = ask(f"http://{at}/api/v1/query", params={"query": query}).json()
    except (httpx.HTTPError, ValueError):  # it is not ready yet
        return []
    return [float(found["value"][1]) for found in answer["data"]["result"]]


@pytest.mark.cluster
def test_whatever_is_killed_or_stopped_the_study_is_the_same(service, untouched):
    wait(lambda: ask(f"{service.url}/readyz").json()["ray"] == "ok", 60)
    study = service.submit()
    listener = Listener(service, study)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    kills = [
        kill_service,
        kill_driver,
        kill_worker,
        kill_head,
        stop_service,
        *[fill_disk] * service.disk.small,
    ]
    draw.shuffle(kills)
    for kill in kills:
        grows(service, study, draw.randint(1, 2))
        time.sleep(draw.uniform(0, 0.2))
        assert trials(service, study) < PLANNED
        kill(service, study)
    ends(service, study)
    assert numbers(service.store.trials(study, with_epochs=True)) == untouched.trials()
    assert listener.heard_all(service)["trial"] == PLANNED
    wait(lambda: f"{study}: completed" in "\n".join(Client(service.url).logs(study)), 30)
    with writing(service.store.engine) as connection:  # a job of a head that is gone
        connection.execute(update(studies).values(job=f"{study}-0"))
    wait(lambda: f"{study}: completed" in "\n".join(Client(service.url).logs(study)), 30)
    states = [event.data["to"] for event in listener.heard if event.kind == "state"]
    assert states.count("running") >= 4  # at first, and after killing driver, head and service


@pytest.mark.cluster
def test_a_study_that_is_paused_cancelled_and_whose_driver_freezes_frees_the_cluster_and_goes_on_the_same(
    service, untouched
):
    study = service.submit()
    client = Client(service.url)
    grows(service, study, 3)
    client.pause(study)
    ends(service, study, StudyState.PAUSED)
    before = trials(service, study)
    assert 0 < before < PLANNED
    wait(lambda: not service.ray_processes("ray::twin"), 60)
    client.resume(study)
    grows(service, study, 2)
    client.pause(study, now=True)
    ends(service, study, StudyState.PAUSED, 30)
    client.resume(study)
    grows(service, study, 1)
    assert client.cancel(study).requested == "cancel"
    ends(service, study, StudyState.CANCELLED, 30)
    assert before < trials(service, study) < PLANNED
    client.resume(study)
    grows(service, study, 1)
    freeze_driver(service, study)
    ends(service, study)
    assert numbers(service.store.trials(study, with_epochs=True)) == untouched.trials()
