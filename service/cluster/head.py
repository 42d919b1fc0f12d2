"""The head of a Ray cluster on this machine: started by the service, watched, and started again when it dies."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from service.cluster.jobs import Jobs
from service.cluster.periodic import Periodic
from service.cluster.ray_start import LAST, PARTS, RayStart
from service.database.owner import Owner
from service.errors import ServiceError
from service.settings import Settings
from studies.running.ray_token import find_ray_token, make_ray_token

LOOK_SECONDS = 1.0
STEADY_SECONDS = 60.0  # a head that has lived longer is started again at once, another one after a pause
MAX_PAUSE_SECONDS = 60.0
START_SECONDS = 120.0  # a head that still lacks a part after this time hangs

log = logging.getLogger("tunebench.ray")


@contextmanager
def ray_jobs(settings: Settings, environment: Mapping[str, str]) -> Iterator[Jobs]:
    """Yield the jobs of the cluster at RAY_ADDRESS or, if that is not set, of a head on this machine.

    A cluster at RAY_ADDRESS is neither started nor stopped. A head on this machine and its jobs inherit `environment`.
    """
    if os.environ.get("RAY_ADDRESS"):
        with closing(Jobs(settings.ray_dashboard, find_ray_token())) as jobs:
            yield jobs
        return
    with (
        Head(settings.data_dir, environment) as head,
        closing(Jobs(lambda: head.running.dashboard_url, head.token, head.why)) as jobs,
    ):
        yield jobs


class Head(Periodic):
    """A head that runs while the context is open.

    The head is started at once and is up some seconds later, at its last addresses if the ports are free. Several
    services with the same `data_dir` use one head: the service that holds the lock there starts, watches and stops it.
    A service that is killed leaves the head running, and the next service goes on with it. Raises ServiceError if the
    head cannot be started, or if another service runs it with other settings.
    """

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        self.token = make_ray_token()
        self.running = RayStart()
        self._data_dir, self._environment = data_dir, dict(environment)
        told = json.dumps([sys.executable, self.token, sorted(self._environment.items())])
        self._settings = hashlib.sha256(told.encode()).hexdigest()  # not in plain text: it holds passwords
        self._child: subprocess.Popen[bytes] | None = None
        self._since, self._pause, self._came_up = 0.0, 0.0, False
        self._watching = False
        super().__init__(LOOK_SECONDS, self._watch, name="Ray head")

    def __enter__(self) -> Self:
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = _private(self._data_dir / "ray-head.lock").open("a")
            if self._take_lock():
                self._go_on()
            else:
                self.running = self._another()
        except OSError as error:
            raise ServiceError(
                f"Ray cannot be started from {self._data_dir}: {error.strerror}; set TUNEBENCH_DATA_DIR to a folder "
                "that can be written"
            ) from error
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._watching:
            self._clear()
            shutil.rmtree(self.running.folder, ignore_errors=True)
            self._write(replace(self.running, process="", folder=""))
        self._lock.close()

    def _watch(self) -> None:
        if not self._watching:
            if self._take_lock():
                self._go_on()
            else:
                self.running = self._read() or self.running
        elif not self._is_healthy():
            self._start_again()
        elif time.monotonic() - self._since > STEADY_SECONDS:
            self.running.lower_priority()
            if self.running.trouble:
                self._write(replace(self.running, trouble=""))

    def _take_lock(self) -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._watching = True
        return self._watching

    def _another(self) -> RayStart:
        """Return the head that another service watches."""
        give_up = time.monotonic() + 5.0
        while time.monotonic() < give_up:
            running = self._read()
            if running is not None and running.process and running.settings == self._settings:
                return running
            time.sleep(0.1)
        raise ServiceError(
            f"another service runs a Ray head in {self._data_dir} with other settings (database, folders, Python or "
            "token); stop that service, give this one its own TUNEBENCH_DATA_DIR, or set RAY_ADDRESS"
        )

    def _go_on(self) -> None:
        """Go on with the head that another service has left; start one if none with these settings is whole."""
        self.running, self._since = self._read() or self.running, time.monotonic()
        if self.running.settings == self._settings and self.running.is_closed() and self._is_healthy():
            log.info("using the running Ray head at %s, %s", self.running.address, self.running.dashboard_url)
            return
        self._clear()
        self._start()

    def _start_again(self) -> None:
        lived = time.monotonic() - self._since
        self._pause = 0.0 if lived > STEADY_SECONDS else min(2 * self._pause + 1, MAX_PAUSE_SECONDS)
        printed = self._output.read_text(errors="replace").strip().rpartition("\n")[2]
        reason = self.running.why() or printed or "its logs say nothing"
        log.warning(
            "the Ray head died after %.0f s and starts again in %.0f s; %s: %s",
            lived,
            self._pause,
            self._output,
            reason,
        )
        self._clear()
        self._write(replace(self.running, trouble=reason))
        if not self.closing.wait(self._pause):
            self._start()

    def why(self) -> str:
        """Return why the head does not work; empty if nothing is known to be wrong."""
        running = self.running
        return f"its head died: {running.trouble}" if running.trouble else running.why()

    @property
    def _output(self) -> Path:
        return self._data_dir / "ray-head.log"

    def _start(self) -> None:
        self._since, self._came_up = time.monotonic(), False
        self._write(self.running.prepared(self._settings))
        with _private(self._output).open("wb") as output:
            self._child = self.running.spawn(self._environment, output)
        self._write(replace(self.running, process=str(Owner.of(self._child.pid))))
        log.info("starting a Ray head at %s, %s", self.running.address, self.running.dashboard_url)

    def _is_healthy(self) -> bool:
        if self._child is not None:
            self._child.poll()  # so that it does not stay a zombie
        if not self.running.is_alive():
            return False
        parts = self.running.parts()
        if parts == PARTS:
            self._came_up = True
            return True
        if LAST in parts:
            return False
        return not self._came_up and time.monotonic() < self._since + START_SECONDS

    def _clear(self) -> None:
        if left := self.running.kill():
            log.error("processes %s of the Ray head could not be killed", left)
        if self._child is not None:
            self._child.poll()

    def _read(self) -> RayStart | None:
        try:
            return RayStart(**json.loads((self._data_dir / "ray-head.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, running: RayStart) -> None:
        self.running = running
        new = _private(self._data_dir / "ray-head.json.new")
        new.write_text(json.dumps(asdict(running), indent=2))
        new.replace(self._data_dir / "ray-head.json")


def _private(file: Path) -> Path:
    """Create the file if it is missing, give only this user access to it, and return it."""
    file.touch(0o600)
    file.chmod(0o600)
    return file
