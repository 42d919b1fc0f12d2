"""Which process gets a core that several want."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from service import priority
from service.cluster import ray_start
from service.cluster.ray_start import RayStart
from service.database.owner import Owner

SPIN = """
import os, sys
from service.priority import lower_driver_priority
lower_driver_priority()
os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
while True: pass
"""


@contextmanager
def spinning(niceness: int, *before: str) -> Iterator[psutil.Process]:
    """Yield a process that uses one core as much as it can, in its own session."""
    core = str(min(os.sched_getaffinity(0)))
    with subprocess.Popen(
        [*before, sys.executable, "-c", SPIN, core],
        env=os.environ | {priority.NICENESS: str(niceness)},
        start_new_session=True,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield psutil.Process(process.pid)
        finally:
            process.kill()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux alone")
def test_a_studys_session_leaves_a_core_to_the_service() -> None:
    """Niceness alone is not enough where Linux shares a core among sessions."""
    with ExitStack() as stack:
        service, study = (stack.enter_context(spinning(nice)) for nice in (0, priority.STUDY))
        used = dict.fromkeys((service, study), 0.0)
        before = {one: one.cpu_times().user for one in used}
        while sum(used.values()) < 0.4:
            time.sleep(0.05)
            used = {one: one.cpu_times().user - before[one] for one in used}
    assert used[service] > 5 * used[study]  # fourteen times, by the weights of niceness 0 and 12


@pytest.mark.skipif(
    not os.getuid() and not shutil.which("setpriv"), reason="an administrator without setpriv"
)
def test_two_that_give_way_at_once_both_do() -> None:
    """Linux takes one change per tenth of a second, from all users together except administrators."""
    plain = () if os.getuid() else ("setpriv", "--bounding-set=-sys_admin")
    with ExitStack() as stack:
        two = [stack.enter_context(spinning(priority.DRAWINGS, *plain)) for _ in range(2)]
        told = [Path(f"/proc/{one.pid}/autogroup") for one in two]
        ends = [one.read_text().split()[-1] for one in told if one.exists()]
    assert ends in ([], [str(priority.DRAWINGS)] * 2)


def test_rays_head_gives_way_with_all_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(priority.RAY_NICENESS, raising=False)
    head = tmp_path / "python"  # a stand-in: the real head would be slow beside other tests
    head.write_text(f'#!/bin/sh\necho "${priority.NICENESS}"\nexec sleep 100\n')
    head.chmod(0o700)
    monkeypatch.setattr(ray_start, "python", lambda _: str(head))
    start = RayStart(folder=str(tmp_path))
    printed = tmp_path / "log"
    with printed.open("wb") as log, start.spawn({}, log) as process:
        replace(start, process=str(Owner.of(process.pid))).lower_priority()
        session = Path(f"/proc/{process.pid}/autogroup")
        told = session.read_text() if session.exists() else None
        while process.poll() is None and not printed.read_text().endswith("\n"):
            time.sleep(0.01)
        process.kill()
    assert told is None or told.endswith(f"nice {priority.STUDY}\n")
    assert printed.read_text() == f"{priority.STUDY}\n"  # the niceness that its drivers read


def test_a_study_is_no_nicer_than_rays_workers_are_told_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for told, niceness in ((None, priority.STUDY), ("15", priority.STUDY), ("3", 3), ("0", 0)):
        if told is None:
            monkeypatch.delenv(priority.RAY_NICENESS, raising=False)
        else:
            monkeypatch.setenv(priority.RAY_NICENESS, told)
        assert priority.study_niceness() == niceness
