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
    """Return the condition's value once it is true, or its last value after so many seconds."""
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
    """Return the living processes that a head has started, including those of jobs."""
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
    """Return its name, empty if it has ended since it was found. A job's watchdog runs one `sleep` after another."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def command(process):
    """Return its arguments, the program first; none if it has ended since it was found."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def is_dead(process):
    """Return whether the process has ended, or waits for its parent to reap it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def elsewhere(data_dir):
    """Make a head start on free ports, not on Ray's own, which others may take in the meantime."""
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
    """Yield a head that answers, and its jobs."""
    if not (data_dir / "ray-head.json").exists():
        elsewhere(data_dir)
    with Head(data_dir, environment) as head:
        jobs = Jobs(lambda: head.running.dashboard_url, head.token)
        assert within(60, lambda: answers(jobs)), (data_dir / "ray-head.log").read_text()
        yield head, jobs
        jobs.close()
