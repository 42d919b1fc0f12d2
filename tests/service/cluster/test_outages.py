"""A study under two real services, on real Ray, while its database fails."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from killable import PLANNED, Listener, Service, ends, grows
from twins import numbers

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def data(tmp_path, spoken_digits):
    """A data folder, and so a Ray head, for this test alone."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    return folder


class Server:
    """A PostgreSQL server for this test alone, to be restarted."""

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
def test_two_services_run_a_study_once_and_a_restart_of_postgresql_loses_nothing(
    server, tmp_path, data, untouched
):
    both = [Service(tmp_path / "service", server.url, data) for _ in range(2)]
    try:
        for one in both:
            one.start()
        service = both[0]  # both use its Ray
        study = both[1].submit()
        listener = Listener(service, study)
        for _ in range(2):
            grows(service, study, 2)
            server.control("stop")  # as kill -9: it recovers from its log
            time.sleep(2)
            for one in both:
                answer = httpx.get(f"{one.url}/v1/studies", timeout=60)
                assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-unavailable")
                assert httpx.get(f"{one.url}/readyz").status_code == 503
            server.control("start")
        ends(service, study)
        assert numbers(service.store.trials(study, with_epochs=True)) == untouched.trials()
        assert listener.heard_all(service)["trial"] == PLANNED
        # a driver that finds no database when it asks for what is trained already gives the study back
        told = [event.data for event in listener.heard if event.kind == "state"]
        starts = {one["from"] for one in told if one["to"] == "starting" != one["from"]}
        assert (starts, told[-1]["to"]) == ({"queued"}, "completed"), told
    finally:
        for one in both:
            one.stop()
