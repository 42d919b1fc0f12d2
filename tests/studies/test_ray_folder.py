import stat
import sys
import tempfile
from pathlib import Path

import pytest

from studies import ray_folder
from studies.errors import StudyError
from studies.ray_folder import LONGEST, is_ray_folder, make_ray_folder, of_ray, python


@pytest.fixture
def base(monkeypatch):
    """A TMPDIR that is short enough."""
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
    with pytest.raises(StudyError, match=r"Ray cannot be started in /proc/none: .*; set TMPDIR to a folder"):
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
