"""Studies under the real service, on real Ray, with everything killed that can be."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from killable import PLANNED, Service, enlarge, wait
from sqlalchemy import update
from twins import numbers

from service.client import Client
from service.database.engine import writing
from service.database.tables import studies
from service.errors import ServiceError
from service.records import FINISHED
from studies.records import StudyState

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def data(tmp_path, spoken_digits):
    """A data folder, and so a Ray head, of this test's own."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    return folder


@pytest.fixture(scope="module")
def one_service(tmp_path_factory, spoken_digits):
    folder = tmp_path_factory.mktemp("service")
    data = folder / "data"
    data.mkdir()
    (data / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    one = Service(folder, f"sqlite:///{folder}/tunebench.db", data)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def service(one_service):
    """Without studies: those of a test before are deleted, the same ones may be submitted again."""
    yield one_service
    for study in one_service.store.studies():
        one_service.store.delete(study.id)


def trials(service, study):
    return service.store.study(study).trials


def ends(service, study, state=StudyState.COMPLETED, seconds=300):
    wait(lambda: service.store.study(study).state is state, seconds)


def grows(service, study, by=1):
    """Wait until the study has some trials more, or is complete."""
    target = min(trials(service, study) + by, PLANNED)
    wait(lambda: trials(service, study) >= target, 180)


class Listener:
    """Hears a study's events over HTTP, comes back after every break, and keeps what it hears."""

    def __init__(self, service, study):
        self.heard, self._client, self._study = [], Client(service.url), study
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        with contextlib.suppress(ServiceError):  # the service has stopped for good: the test is over
            for event in self._client.events(self._study, after=0):
                self.heard.append(event)

    def heard_all(self, service):
        last = service.store.study(self._study).last_event
        wait(lambda: len(self.heard) >= last, 60)
        time.sleep(1)  # for what would be one too many
        assert [event.number for event in self.heard] == list(range(1, last + 1))
        return Counter(event.kind for event in self.heard)


def driver_of(service, study):
    (driver,) = [
        p
        for p in service.ray_processes("service.worker")
        if "--fence" in p.cmdline() and study in p.cmdline()
    ]
    return driver


def is_dead(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def kill_service(service, study):
    service.kill()
    grows(service, study)  # it needs no service
    driver = driver_of(service, study)
    driver.suspend()  # or the study is over before the service is there again
    service.start()
    driver.resume()


def kill_driver(service, study):
    driver = driver_of(service, study)
    driver.kill()
    wait(lambda: not driver.is_running())


def workers_of(service):
    """Once there are some: between two calls a worker has another name."""
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
        worker.suspend()  # or the study goes on, to its end maybe, until the service sees that the head is dead
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


def test_whatever_is_killed_or_stopped_the_study_is_the_same(service, untouched):
    wait(lambda: httpx.get(f"{service.url}/readyz").json()["ray"] == "ok", 60)
    study = service.submit()
    listener = Listener(service, study)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    kills = [kill_service, kill_driver, kill_worker, kill_head, stop_service]
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
    with writing(service.store.engine) as connection:  # of a head that is no more
        connection.execute(update(studies).values(job=f"{study}-0"))
    wait(lambda: f"{study}: completed" in "\n".join(Client(service.url).logs(study)), 30)
    states = [event.data["to"] for event in listener.heard if event.kind == "state"]
    assert states.count("running") >= 4  # at first, and after the driver's, the head's and the service's end


def test_a_paused_study_frees_the_cluster_and_goes_on_the_same(service, untouched):
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
    ends(service, study)
    assert numbers(service.store.trials(study, with_epochs=True)) == untouched.trials()


def test_prometheus_finds_what_the_service_and_a_studys_driver_count(service, tmp_path):
    """By the configuration in the docs, at another port."""
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip("Prometheus is not installed")
    config = tmp_path / "prometheus.yml"
    documented = Path("docs/prometheus.yml").read_text()
    for there, here in (("127.0.0.1:8000", f"127.0.0.1:{service.port}"), ("15s", "1s")):
        assert there in documented
        documented = documented.replace(there, here)
    (tmp_path / "tunebench-token").write_text("no token is needed here")
    config.write_text("global: {scrape_interval: 1s}\n" + documented)
    subprocess.run(["promtool", "check", "config", config], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as found:
        at = f"127.0.0.1:{found.getsockname()[1]}"
    study = service.submit(
        name="counted", runs=1, searcher="sobol", trials=500
    )  # more than there is time for
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
        answer = httpx.get(f"http://{at}/api/v1/query", params={"query": query}).json()
    except (httpx.HTTPError, ValueError):  # it is not ready yet
        return []
    return [float(found["value"][1]) for found in answer["data"]["result"]]


def test_a_frozen_driver_is_stopped_with_its_workers_and_the_study_goes_on(service, untouched):
    study = service.submit()
    grows(service, study, 2)
    sleeper, workers = driver_of(service, study), workers_of(service)
    sleeper.suspend()
    seen = service.store.study(study)
    with writing(service.store.engine) as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(studies).values(lease_expires_at=past))
    wait(lambda: service.store.study(study).state is not StudyState.RUNNING, 60)
    wait(lambda: all(is_dead(process) for process in [sleeper, *workers]), 10)
    told = [event.data for event in service.store.events(study, seen.last_event) if event.kind == "state"]
    assert told[0]["reason"] == "its driver is gone, its Ray job was stopped"
    assert f"{study}: gradient-filter, latent-sgd on proxy of" in service.store.log(study)
    ends(service, study)
    assert numbers(service.store.trials(study, with_epochs=True)) == untouched.trials()


@pytest.mark.postgres
def test_two_services_run_each_study_once(tmp_path, postgresql, data):
    both = [Service(tmp_path / "service", postgresql, data) for _ in range(2)]
    small = {"searcher": "sobol", "runs": 1, "trials": 2, "resources": {"cpus": 2}}  # a worker each
    try:
        for one in both:
            one.start()
        names = [one.submit(name=f"s{i}", **small) for i, one in enumerate(both)]
        for study in names:
            ends(both[0], study)
        for study in names:
            told = [e.data for e in both[0].store.events(study) if e.kind == "state"]
            went = [one["to"] for one in told if one["to"] in ("running", "completed")]
            assert went == ["running", "completed"]
            again = [one["reason"] for one in told[1:] if one["to"] == "queued"]
            # refused, as its agent was not up
            assert all(reason.startswith("Ray at ") for reason in again), told
    finally:
        for one in both:
            one.stop()


def test_a_full_disk_is_told_and_the_study_goes_on(small_disk, tmp_path, data, untouched):
    service = Service(tmp_path / "service", f"sqlite:///{small_disk}/tunebench.db", data)
    service.start()
    try:
        study = service.submit()
        told = f"database sqlite:///{small_disk}/tunebench.db has no disk space left"
        wait(lambda: told in service.log() or told in (service.store.study(study).error or ""))
        before = service.store.study(study)
        assert before.trials < PLANNED
        assert httpx.get(f"{service.url}/v1/studies/{study}").status_code == 200
        enlarge(small_disk)
        if before.state is StudyState.FAILED:
            Client(service.url).resume(study)
        ends(service, study)
        assert numbers(service.store.trials(study, with_epochs=True)) == untouched.trials()
    finally:
        service.stop()


class Server:
    """A PostgreSQL server of this test's own, to be restarted."""

    def __init__(self, folder, port):
        self._folder, self._port = folder, port
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self._run("initdb", "-A", "trust", "-U", "postgres", "--no-sync")
        self.control("start")

    def control(self, what):
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        self._run("pg_ctl", "-w", "-m", "immediate", "-l", f"{self._folder}/log", "-o", options, what)

    def _run(self, program, *arguments):
        (found,) = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))[-1:]
        command = ["runuser", "-u", "postgres", "--", str(found), "-D", f"{self._folder}/data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder)


@pytest.fixture
def server():
    if os.getuid() or not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        pytest.skip("a PostgreSQL server of one's own needs root and Debian's postgresql")
    folder = tempfile.mkdtemp(prefix="tunebench-test-", dir="/tmp")
    shutil.chown(folder, "postgres")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    one = Server(folder, port)
    yield one
    one.control("stop")
    shutil.rmtree(folder)


@pytest.mark.postgres
def test_a_restart_of_postgresql_loses_nothing(server, tmp_path, data, untouched):
    service = Service(tmp_path / "service", server.url, data)
    service.start()
    try:
        study = service.submit()
        listener = Listener(service, study)
        for _ in range(2):
            grows(service, study, 2)
            server.control("stop")  # as kill -9: it recovers from its log
            time.sleep(2)
            answer = httpx.get(f"{service.url}/v1/studies", timeout=60)
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-unavailable")
            assert httpx.get(f"{service.url}/readyz").status_code == 503
            server.control("start")
        ends(service, study)
        assert numbers(service.store.trials(study, with_epochs=True)) == untouched.trials()
        assert listener.heard_all(service)["trial"] == PLANNED
    finally:
        service.stop()
