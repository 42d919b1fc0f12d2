"""`ray start --head` as a process, with everything that it starts."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Self

from service import priority
from service.database.owner import Owner
from studies.running.ray_folder import homeless, is_ray_folder, make_ray_folder, of_ray, python
from studies.running.ray_logs import why

PARTS = {"gcs_server", "dashboard.py", "raylet"}  # in the order in which they start
LAST = "raylet"
KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RayStart:
    """A head's addresses and folder. `process` is empty while no head runs; `settings` is a digest of its settings.

    Everything listens on loopback, with Ray's token authentication. `folder` is this user's alone, and each head has
    its own, since Ray tells a job its cluster by a file there. `trouble` is why the last head died, until one lives on.
    """

    process: str = ""
    address: str = "127.0.0.1:6379"
    dashboard_url: str = "http://127.0.0.1:8265"
    folder: str = ""
    settings: str = ""
    trouble: str = ""

    def prepared(self, settings: str) -> Self:
        """Return the next head, at this one's addresses where the ports are free. Raises OSError and StudyError."""
        address, dashboard_url, folder = _free(self.address), _free(self.dashboard_url), self.folder
        if not self.is_closed():
            folder = str(make_ray_folder())
        _logs(folder).parent.unlink(missing_ok=True)  # the last session's logs say nothing about this one
        (of_ray(Path(folder)) / "ray_current_cluster").write_text(address)
        return replace(
            self,
            process="",
            address=address,
            dashboard_url=dashboard_url,
            folder=folder,
            settings=settings,
        )

    def spawn(self, environment: Mapping[str, str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start the head in its own session, so that it outlives this process. It is up some seconds later."""
        options = {
            "node-ip-address": "127.0.0.1",
            "port": _port(self.address),
            "dashboard-host": "127.0.0.1",
            "dashboard-port": _port(self.dashboard_url),
            "include-dashboard": "true",
            "dashboard-agent-listen-port": 0,
            "ray-client-server-port": _port(_free(":0")),  # it cannot be turned off
            "min-worker-port": 0,
            "max-worker-port": 0,
            "temp-dir": of_ray(Path(self.folder)),
            "object-store-memory": 128 * 2**20,
            "include-log-monitor": "false",  # which shows workers' logs on drivers' terminals
        }
        command = [python(Path(self.folder)), "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += ["--no-monitor", "--disable-usage-stats"]  # a monitor adds and removes machines
        return subprocess.Popen(
            command + [f"--{name}={value}" for name, value in options.items()],
            env={
                **os.environ,
                **homeless(),
                **environment,
                "RAY_AUTH_MODE": "token",
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all on loopback: docs/decisions/0007
                "TUNEBENCH_RAY_FOLDER": self.folder,
                "TMPDIR": self.folder,  # what a killed job leaves is removed with the folder
                priority.NICENESS: str(priority.study_niceness()),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def lower_priority(self) -> None:
        """Give the service priority over the head and its workers. Not while it starts: Ray gives up on slow parts."""
        priority.lower_priority(Owner.parse(self.process).pid, priority.study_niceness())

    def is_alive(self) -> bool:
        if not self.process:
            return False
        process = Owner.parse(self.process)
        return process.numbering == Owner.current().numbering and not process.is_dead()

    def parts(self) -> set[str]:
        """Return the `PARTS` that are up. A head lives on without one that exited cleanly or never got its port."""
        pid = Owner.parse(self.process).pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:  # not Linux
            return PARTS
        return {Path(word).name for child in children for word in _command(child)} & PARTS

    def why(self) -> str:
        """Return what the head's logs say is wrong; empty if they say nothing."""
        return why(_logs(self.folder)) if self.folder else ""

    def is_closed(self) -> bool:
        """Return whether the head's folder exists and is this user's alone."""
        return self.folder != "" and is_ray_folder(Path(self.folder))

    def kill(self) -> list[int]:
        """Kill the head and all that it started; only trials in flight are lost. Returns the pids that do not end."""
        if session := self._session():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(session, signal.SIGKILL)
        give_up = time.monotonic() + KILL_SECONDS
        while (left := self._left()) and time.monotonic() < give_up:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        return left

    def _session(self) -> int:
        """Return the number of the head's session and process group; 0 if another process has that number now."""
        if not self.process:
            return 0
        process = Owner.parse(self.process)
        here = Owner.of(process.pid)
        return (
            process.pid
            if process.numbering == here.numbering and here.started in ("", process.started)
            else 0
        )

    def _left(self) -> list[int]:
        """Return the living processes of the head's session, and of its jobs' sessions by the folder they inherited."""
        session = str(self._session() or None)
        mark = f"TUNEBENCH_RAY_FOLDER={self.folder}\0".encode()
        left = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, its_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
                its_own = its_session == session or mark in (process / "environ").read_bytes()
            except OSError:  # ended, or of another user
                continue
            if its_own and state not in "ZX" and int(process.name) != os.getpid():
                left.append(int(process.name))
        return left


def _logs(folder: str) -> Path:
    return of_ray(Path(folder)) / "session_latest" / "logs"


def _command(pid: str) -> list[str]:
    """Return a process's name and the words of its command."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        return [Path(f"/proc/{pid}/comm").read_text().strip(), *words]
    except OSError:
        return []


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _free(url: str) -> str:
    """Return the URL if its port is free, else the URL with a free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _port(url)))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return f"{url.rpartition(':')[0]}:{probe.getsockname()[1]}"
