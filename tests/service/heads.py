"""Ray heads in tests."""

import json
import os
import socket
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil

from service.cluster.head import Head
from service.cluster.jobs import Jobs
from service.cluster.ray_start import RayStart
from service.errors import RayUnavailable


def within(seconds, condition):
    """What the condition comes to be, looked at until it is true."""
    give_up = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < give_up:
        time.sleep(0.05)
    return found


def answers(jobs):
    try:
        jobs.states()
    except RayUnavailable:
        return False
    return True


def of(head):
    """The living processes that a head has started, jobs' among them."""
    leader = int(head.running.process.split(":")[1]) if head.running.process else 0
    mark = f"TUNEBENCH_RAY_FOLDER={head.running.folder}"
    return [process for process in psutil.process_iter() if _is_of(process, leader, mark)]


def _is_of(process, leader, mark):
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            return False
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return os.getsid(process.pid) == leader or mark in environment
    except (psutil.NoSuchProcess, OSError):
        return False


def title(process):
    """Its name; none where it has ended since it was found, as many do: a job's watchdog sleeps a second in each."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def command(process):
    """Its arguments, the program first; none where it has ended since it was found."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def is_dead(process):
    """Ended, or waiting for its parent to hear of it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def elsewhere(data_dir):
    """Have a head start on ports that nobody else takes meanwhile: not on Ray's own."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    at = RayStart(address=f"127.0.0.1:{ports[0]}", dashboard_url=f"http://127.0.0.1:{ports[1]}")
    (data_dir / "ray-head.json").write_text(json.dumps(asdict(at)))


@contextmanager
def running(data_dir, **environment):
    """A head that answers, and its jobs."""
    if not (data_dir / "ray-head.json").exists():
        elsewhere(data_dir)
    with Head(data_dir, environment) as head:
        jobs = Jobs(lambda: head.running.dashboard_url, head.token)
        assert within(60, lambda: answers(jobs)), (data_dir / "ray-head.log").read_text()
        yield head, jobs
        jobs.close()
