"""The folder in which Ray starts: for this user alone, because Ray lets everybody write to all that it makes there."""

import fcntl
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from studies.errors import StudyError

# The longest folder path with which the paths of Ray's sockets stay within the 107 bytes that the system allows.
LONGEST = 107 - len(
    "/tunebench-12345678/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/dash_MetricsHead"
)
LOCK = "run.lock"  # in a run's folder, locked by the run; a head's folder has none, as another process goes on in it
NOWHERE = "/nonexistent"
PLAIN = re.compile(r"[\w./+:@%,=-]+", re.ASCII)  # characters with no special meaning to Ray or a shell


def make_ray_folder() -> Path:
    """Make a new folder, in RAY_TMPDIR or TMPDIR if Ray can take those, else in /tmp. Raises StudyError.

    What killed runs have left there is removed.
    """
    given = (os.environ.get(name) for name in ("RAY_TMPDIR", "TMPDIR"))
    chosen = next((name for name in given if name and _is_fit(name)), "/tmp")
    _sweep(Path(chosen))
    try:
        folder = Path(tempfile.mkdtemp(prefix="tunebench-", dir=chosen))
        of_ray(folder).mkdir()
    except OSError as error:
        raise StudyError(
            f"Ray cannot be started in {chosen}: {error.strerror}; set TMPDIR to a writable folder whose path has at "
            f"most {LONGEST} characters and no spaces"
        ) from error
    return folder


def is_ray_folder(folder: Path) -> bool:
    """Return whether the folder exists and is this user's alone: after a restart, another user may have made it."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def of_ray(folder: Path) -> Path:
    """Return the folder that Ray is given."""
    return folder / "ray"


def python(folder: Path) -> str:
    """Return a path to this Python that needs no quotes, perhaps by a link in the folder: Ray starts workers by a
    shell."""
    if PLAIN.fullmatch(sys.executable):
        return sys.executable
    executable, link = Path(sys.executable), folder / "python"
    link.unlink(missing_ok=True)
    link.symlink_to(executable.parents[1])
    return str(link / executable.relative_to(executable.parents[1]))


def homeless() -> dict[str, str]:
    """Return variables for a user without a home folder: Ray asks for one when it is imported, and uses none."""
    return {"HOME": NOWHERE} if os.path.expanduser("~") == "~" else {}  # noqa: PTH111


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Make a folder that is removed at the end, and let Ray start this Python by a path it can take. Raises StudyError.

    Ray's processes have their temporary files in the folder too, including the dashboard's sockets.
    """
    folder, executable, given = make_ray_folder(), sys.executable, os.environ.get("TMPDIR")
    with _held(folder):
        try:
            sys.executable, os.environ["TMPDIR"] = python(folder), str(folder)
            yield folder
        finally:
            sys.executable = executable
            if given is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = given
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder, which the system releases however this process ends."""
    new = folder / f"{LOCK}.new"
    with ExitStack() as stack:
        with suppress(OSError):  # no locks on this file system, or no room: the folder is never swept
            lock = stack.enter_context(new.open("wb", buffering=0))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.write(socket.gethostname().encode())
            new.rename(folder / LOCK)  # locked from the moment that it exists
        yield


def _sweep(base: Path) -> None:
    """Remove the folders of this user's runs on this machine whose processes have ended without removing them."""
    for folder in base.glob("tunebench-*"):
        with suppress(OSError):  # it has no lock, or that is held, or another process sweeps
            if is_ray_folder(folder):
                _remove_left(folder)


def _remove_left(folder: Path) -> None:
    """Remove a run's folder unless it may be in use. Raises OSError if its lock is held or missing."""
    with (folder / LOCK).open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock.read() != socket.gethostname().encode():
            return
        for found in folder.iterdir():
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            elif found.name != LOCK:
                found.unlink()
        shutil.rmtree(folder)  # the lock last: what could not be removed now is found again


def _is_fit(folder: str) -> bool:
    path = os.path.abspath(folder)  # noqa: PTH100
    return PLAIN.fullmatch(path) is not None and len(path) <= LONGEST
