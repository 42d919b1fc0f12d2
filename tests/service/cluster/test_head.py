"""Real Ray heads: started, killed, taken over."""

import json
import logging
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from apart import python_in
from heads import answers, command, elsewhere, is_dead, of, running, title, within

from service.cluster import head as head_module
from service.cluster import ray_start
from service.cluster.head import Head, ray_jobs
from service.cluster.jobs import Jobs
from service.errors import RayUnavailable, ServiceError
from service.settings import Settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def token_file(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "ray" / "token"))
    return tmp_path / "ray" / "token"


def listens(process):
    """Return the process's name and the address of each of its open ports; none if it has ended."""
    try:
        connections = process.net_connections("inet")
        return [
            (process.name(), connection.laddr.ip.removeprefix("::ffff:"))
            for connection in connections
            if connection.status == psutil.CONN_LISTEN
        ]
    except psutil.NoSuchProcess:
        return []


def mode(path):
    return oct(stat.S_IMODE(Path(path).stat().st_mode))


def is_closed(head, jobs, data_dir, token_file):
    assert mode(token_file) == "0o600"
    assert mode(head.running.folder) == "0o700"
    assert {mode(file) for file in data_dir.glob("ray-head.*")} == {"0o600"}
    assert httpx.get(f"{jobs.dashboard_url}/api/jobs/").status_code == 401
    started = of(head)
    assert {"gcs_server", "raylet", "sleep"} <= {title(process) for process in started}
    listening = [found for process in started for found in listens(process)]
    assert {"gcs_server", "raylet"} <= {name for name, _ in listening}
    assert {ip for _, ip in listening} == {"127.0.0.1"}
    assert "s3cret" not in json.dumps(jobs._ask("GET", "/api/jobs/").json())
    assert not any("s3cret" in " ".join(command(process)) for process in started)
    assert "s3cret" not in (data_dir / "ray-head.json").read_text()
    return True


def sleeps(head, jobs):
    """Start a job that sleeps, and return its process once it runs."""
    jobs.submit("sleeps", "sleep 1000", {})
    return within(30, lambda: [p for p in of(head) if title(p) == "sleep"])


def leader(head):
    return psutil.Process(int(head.running.process.split(":")[1]))


def part(head, name):
    """Return a part of the head, waiting for it: the head may answer before all parts are up."""
    (found,) = within(30, lambda: [child for child in leader(head).children() if title(child) == name])
    return found


def test_a_head_is_closed_to_all_others_is_started_again_where_it_dies_and_ends_with_all_it_started(
    tmp_path, token_file, monkeypatch
):
    """This holds also for a service that has joined it at RAY_ADDRESS, and neither starts nor ends it."""
    monkeypatch.setattr(sys, "executable", python_in(tmp_path / "My 'Project'" / "venv"))
    with running(tmp_path / "head", SECRET="s3cret") as (head, jobs):
        settings = Settings("sqlite://", tmp_path / "own", ray_dashboard=head.running.dashboard_url)
        with ExitStack() as stack:
            with monkeypatch.context() as patch:
                patch.setenv("RAY_ADDRESS", head.running.address)
                joined = stack.enter_context(ray_jobs(settings, {}))
            for victim, kill in (
                ("gcs_server", signal.SIGKILL),
                ("raylet", signal.SIGTERM),  # `ray start` takes this for a clean exit
                ("ray start", signal.SIGKILL),
            ):
                assert sleeps(head, jobs)
                assert is_closed(head, jobs, tmp_path / "head", token_file)
                assert set(joined.states()) == {"sleeps"}
                first, before = of(head), head.running
                process = leader(head) if victim == "ray start" else part(head, victim)
                process.send_signal(kill)
                assert within(10, lambda: is_dead(process))  # noqa: B023
                assert within(10, lambda: not answers(joined))
                with pytest.raises(RayUnavailable, match="does not answer"):
                    joined.states()
                assert within(60, lambda: head.running.process != before.process and answers(joined))  # noqa: B023
                assert not [process for process in first if process in of(head)], (
                    f"{victim}: all that was left is gone"
                )
                assert (head.running.address, head.running.dashboard_url) == (
                    before.address,
                    before.dashboard_url,
                )
                assert jobs.states() == {}
        assert of(head), "left as it is"
        assert sleeps(head, jobs)
        started, folder, start = of(head), head.running.folder, time.monotonic()
    assert time.monotonic() - start < 5
    assert all(is_dead(process) for process in started)
    assert not Path(folder).exists()
    assert not (tmp_path / "own").exists()


def test_a_port_that_was_taken_meanwhile_is_given_up(tmp_path, monkeypatch):
    elsewhere(tmp_path)
    wanted = json.loads((tmp_path / "ray-head.json").read_text())["dashboard_url"]
    looked_free = ray_start._free
    monkeypatch.setattr(ray_start, "_free", lambda url: url if url == wanted else looked_free(url))
    with socket.create_server(("127.0.0.1", int(wanted.rpartition(":")[2]))):
        started = time.monotonic()
        head = Head(tmp_path, {}).__enter__()
        try:
            first = head.running.process
            assert within(40, lambda: head.running.process != first), (
                "it is noticed that there is no dashboard"
            )
            assert time.monotonic() - started < 40
            monkeypatch.setattr(ray_start, "_free", looked_free)
            assert within(60, lambda: answers(Jobs(head.running.dashboard_url, head.token)))
            assert head.running.dashboard_url != wanted
        finally:
            head.__exit__(None, None, None)


SERVICE = """
import sys, time
from pathlib import Path
from service.cluster.head import Head
with Head(Path(sys.argv[1]), {}) as head:
    print(head.running.dashboard_url, flush=True)
    time.sleep(1000)
"""


def test_a_head_outlasts_its_service_and_is_shared_and_kept_up_by_the_next(tmp_path):
    elsewhere(tmp_path)
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    url = service.stdout.readline().strip()
    token = (tmp_path / "ray" / "token").read_text()
    left = json.loads((tmp_path / "ray-head.json").read_text())["process"]
    with Head(tmp_path, {}) as another:  # while it starts
        assert another.running.process == left
    assert within(60, lambda: answers(Jobs(url, token)))
    service.kill()
    service.wait()

    with ExitStack() as next_service:
        first = next_service.enter_context(Head(tmp_path, {}))
        with running(tmp_path) as (second, jobs):
            assert second.running == first.running
            assert first.running.process == left
            assert jobs.dashboard_url == url
            with (
                pytest.raises(ServiceError, match="another service runs a Ray head in"),
                Head(tmp_path, {"A": "1"}),
            ):
                pass
            taken_over = of(first)
            part(first, "raylet").kill()
            assert within(60, lambda: first.running.process != left and answers(jobs))
            again = first.running.process
            assert within(5, lambda: second.running.process == again)
            next_service.close()
            assert not answers(jobs)
            assert within(60, lambda: answers(jobs)), "taken over"
            assert second.running.process not in (left, again)
    assert all(is_dead(process) for process in taken_over)


def test_a_head_left_with_other_settings_is_replaced(tmp_path):
    elsewhere(tmp_path)
    service = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    service.stdout.readline()
    service.kill()
    service.wait()
    left = psutil.Process(int(json.loads((tmp_path / "ray-head.json").read_text())["process"].split(":")[1]))
    assert left.is_running()
    with Head(tmp_path, {"TUNEBENCH_DATABASE_URL": "sqlite:///another.db"}) as head:
        assert is_dead(left)
        assert leader(head).environ()["TUNEBENCH_DATABASE_URL"] == "sqlite:///another.db"


def test_a_head_that_does_not_start_is_tried_again_after_ever_longer_pauses(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(head_module, "LOOK_SECONDS", 0.1)
    caplog.set_level(logging.WARNING, logger="tunebench.ray")
    with Head(tmp_path, {"PYTHONHOME": "/nowhere"}) as head:
        assert within(20, lambda: len(caplog.records) == 3)
        jobs = Jobs("http://127.0.0.1:9", head.token, head.why)
        with pytest.raises(RayUnavailable) as refused:
            jobs.states()
    told = [record.getMessage() for record in caplog.records]
    assert ["again in 1 s" in told[0], "again in 3 s" in told[1], "again in 7 s" in told[2]] == [True] * 3
    end = (tmp_path / "ray-head.log").read_text().strip().rpartition("\n")[2]
    assert end
    assert all(line.endswith(end) for line in told)
    assert str(refused.value).endswith(f"does not answer: its head died: {end}")
