"""Jobs on a real head."""

import asyncio
import shlex
import socket
import sys
import time

import pytest
from heads import running, within

from service.cluster.jobs import ENDED, Jobs
from service.errors import RayUnavailable

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("head")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "token"))
        patch.delenv("RAY_ADDRESS", raising=False)
        with running(folder, MARK="from the head") as (_, jobs):
            yield jobs


def ended(jobs, job):
    return within(60, lambda: (jobs.states().get(job) in ENDED and jobs.states()[job]) or None)


WORKING = """
import os, ray, time
ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
print("nodes", [node["NodeManagerAddress"] for node in ray.nodes()])
print("free", ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"])
print("mark", os.environ["MARK"], "address", os.environ["RAY_ADDRESS"].rpartition(":")[0])

@ray.remote
class Worker:
    def up(self):
        print("up")

workers = [Worker.remote() for _ in range(2)]
ray.get([worker.up.remote() for worker in workers])
print("up", flush=True)
os.kill(os.getpid(), 19)  # frozen
"""


def test_a_job_is_a_driver_of_its_cluster_reserves_nothing_and_is_stopped_with_its_workers_if_frozen(jobs):
    jobs.submit("frozen", shlex.join([sys.executable, "-c", WORKING]), {"study": "s"})
    assert within(60, lambda: "up" in (jobs.logs("frozen", 3) or "").splitlines())
    here = ["nodes ['127.0.0.1']", "free True", "mark from the head address 127.0.0.1", "up"]
    assert jobs.logs("frozen", 4).splitlines() == here
    assert jobs.workers("frozen") == 2
    jobs.stop("frozen")
    assert ended(jobs, "frozen") == "STOPPED"
    assert "frozen" in jobs.known
    assert within(30, lambda: jobs.workers("frozen") == 0) is True
    assert jobs.workers("unknown") == 0


def test_what_the_machines_have(jobs):
    (machine,) = jobs.nodes()
    assert machine["CPU"] >= 1
    assert machine["memory"] > 2**28
    assert "GPU" not in machine or machine["GPU"] > 0


def test_what_a_job_came_to(jobs):
    jobs.submit("fails", "exit 3", {})
    jobs.submit("sleeps", "sleep 1000", {})
    assert ended(jobs, "fails") == "FAILED"
    assert within(30, lambda: jobs.states()["sleeps"] == "RUNNING")
    jobs.stop("sleeps")
    assert ended(jobs, "sleeps") == "STOPPED"


def test_a_submission_id_names_one_job_for_good(jobs):
    jobs.submit("once", "true", {})
    with pytest.raises(RayUnavailable, match=r"answers 500: .*once already exists"):
        jobs.submit("once", "true", {})


def test_an_unknown_job_has_no_state_and_an_empty_log(jobs):
    assert "unknown" not in jobs.states()
    assert jobs.logs("unknown", 10) is None
    jobs.stop("unknown")
    assert asyncio.run(followed(jobs, "unknown")) == []


async def followed(jobs, job, lines=100):
    return [(time.time(), text) async for text in jobs.follow(job, lines)]


def test_a_log_is_followed_until_its_job_has_ended(jobs):
    jobs.submit("counts", "for i in 1 2 3; do date +%s.%N; sleep 1; done; echo ende ü", {})
    chunks = asyncio.run(followed(jobs, "counts"))
    assert jobs.states()["counts"] == "SUCCEEDED"
    assert "".join(text for _, text in chunks) == jobs.logs("counts", 100)
    written = [
        float(line)
        for _, text in chunks
        for line in text.splitlines()
        if line[:1].isdigit() and "-" not in line
    ]
    assert len(written) == 3
    assert chunks[-1][1] == "ende ü\n"
    assert chunks[-1][0] - written[-1] < 3, "as it comes"


def test_a_follower_that_goes_away_leaves_nothing_behind(jobs):
    jobs.submit("chatters", "while true; do echo line; sleep 0.1; done", {})

    async def glance():
        async for _ in jobs.follow("chatters", 10):
            break
        return len(asyncio.all_tasks())

    assert asyncio.run(glance()) <= 2
    jobs.stop("chatters")


def test_a_cluster_of_another_token_is_told_apart_from_one_that_is_away(jobs):
    for token in ("another", None):
        with pytest.raises(RayUnavailable, match="refuses the token"):
            Jobs(jobs.dashboard_url, token).states()
    with pytest.raises(RayUnavailable, match=r"http://127\.0\.0\.1:1 does not answer"):
        Jobs("http://127.0.0.1:1", "token").states()


def test_nothing_waits_long_for_a_head_that_hangs(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr("service.cluster.jobs.SECONDS", 0.5)
        jobs = Jobs(f"http://127.0.0.1:{silent.getsockname()[1]}", "token")
        start = time.monotonic()
        for ask in (jobs.states, lambda: jobs.logs("job", 10), lambda: asyncio.run(followed(jobs, "job"))):
            with pytest.raises(RayUnavailable, match="does not answer: timed out"):
                ask()
        assert time.monotonic() - start < 5
