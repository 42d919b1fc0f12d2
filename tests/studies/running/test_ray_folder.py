import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from studies.errors import StudyError
from studies.running import ray_folder
from studies.running.ray_folder import LOCK, LONGEST, is_ray_folder, make_ray_folder, of_ray, python


@pytest.fixture
def base(monkeypatch):
    """Yield a TMPDIR that is short enough."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        assert len(folder) <= LONGEST
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_it_is_for_this_user_alone(base):
    folder = make_ray_folder()
    assert folder.parent == base
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert is_ray_folder(folder)
    of_ray(folder).chmod(0o777)  # as Ray does
    assert is_ray_folder(folder)
    folder.chmod(0o777)
    assert not is_ray_folder(folder)
    assert not is_ray_folder(folder / "gone")


def test_a_folder_without_room_for_sockets_is_passed_over(base, monkeypatch):
    for unfit in (base / ("x" * LONGEST), base / "a b"):
        unfit.mkdir()
        monkeypatch.setenv("TMPDIR", str(unfit))
        folder = make_ray_folder()
        assert folder.parent == Path("/tmp")
        of_ray(folder).rmdir()
        folder.rmdir()


def test_a_folder_that_cannot_be_written_is_told(base, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/proc/none")
    with pytest.raises(
        StudyError, match=r"Ray cannot be started in /proc/none: .*; set TMPDIR to a writable folder"
    ):
        make_ray_folder()


def test_python_is_reached_by_a_path_that_needs_no_quotes(base, monkeypatch):
    assert python(base) == sys.executable
    prefix = base / "o'brien\\'s $HOME; `é`"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python3").touch()
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python3"))
    for _ in range(2):
        assert python(base) == f"{base}/python/bin/python3"
        assert (base / "python").readlink() == prefix
    assert ray_folder.PLAIN.fullmatch(python(base))


RUN = """
from studies.running.ray_folder import of_ray, ray_folder
with ray_folder() as folder:
    (of_ray(folder) / "session" / "logs").mkdir(parents=True)
    (of_ray(folder) / "session_latest").symlink_to("session")
    print(folder, flush=True)
    input()
"""


@pytest.fixture
def left(base):
    """Return the folder that a killed process left, and one made while it lived, which left its folder alone."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        folder = Path(run.stdout.readline().strip())
        assert folder.parent == base
        head = make_ray_folder()
        assert (of_ray(folder) / "session_latest" / "logs").is_dir()
        run.send_signal(signal.SIGKILL)
    assert is_ray_folder(folder)
    assert is_ray_folder(head)
    return folder, head


def test_what_a_killed_run_has_left_is_removed_by_the_next(left):
    folder, head = left
    with ray_folder.ray_folder() as own:
        assert not folder.exists()
        assert is_ray_folder(head)  # no process has to use it
        make_ray_folder()
        assert is_ray_folder(own)
    assert not own.exists()


@pytest.mark.parametrize("whose", ["another user", "another machine", "anybody"])
def test_what_another_may_use_is_left(left, monkeypatch, whose):
    folder, _ = left
    match whose:
        case "another user":
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        case "another machine":
            monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        case _:
            folder.chmod(0o755)
    make_ray_folder()
    assert (of_ray(folder) / "session" / "logs").is_dir()
    assert (folder / LOCK).exists()


def test_no_link_is_followed(left, tmp_path):
    folder, _ = left
    (kept := tmp_path / "kept").mkdir()
    (kept / "data").touch()
    (folder / "link").symlink_to(kept)
    (folder.parent / "tunebench-link").symlink_to(kept)
    make_ray_folder()
    assert not folder.exists()
    assert (kept / "data").exists()
