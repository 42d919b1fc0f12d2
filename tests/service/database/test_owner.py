"""Processes that have ended, and others that have not."""

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.database import owner
from service.database.owner import Owner


def test_an_owner_is_read_back() -> None:
    here = Owner.current()
    assert Owner.parse(str(here)) == here
    assert here.pid == os.getpid()
    assert here.started != ""
    with_colons = Owner("host", 7, "", "Thu Jan 1 00:00:00 1970")
    assert Owner.parse(str(with_colons)) == with_colons


def test_this_process_lives() -> None:
    assert not Owner.current().is_dead()


def test_a_number_used_again_is_another_process() -> None:
    assert dataclasses.replace(Owner.current(), started="1").is_dead()


@pytest.mark.parametrize("change", [{"host": "another-host"}, {"numbering": "another-boot/1"}])
def test_of_another_host_nothing_is_known(change: dict[str, str]) -> None:
    assert not dataclasses.replace(Owner.current(), started="1", **change).is_dead()


def test_a_process_that_has_ended_is_dead_even_before_it_is_collected() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = Owner.current()
    other = dataclasses.replace(here, pid=child.pid, started=owner._status(child.pid)[1])
    assert not other.is_dead()
    child.kill()
    deadline = time.monotonic() + 10
    while not other.is_dead() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.returncode is None  # nobody has waited for it: a zombie
    assert other.is_dead()
    child.wait()
    assert other.is_dead()


def test_where_there_is_no_proc_ps_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path, *_: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    here = Owner.current()
    assert here.started != ""
    assert here.numbering == ""
    assert not here.is_dead()
    assert dataclasses.replace(here, started="Thu Jan 1 00:00:00 1970").is_dead()
