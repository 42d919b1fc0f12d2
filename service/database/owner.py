"""Processes as owners of studies: naming them, and finding out whether they have ended."""

import os
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. Its pid alone does not identify it: pids are reused, and each container counts from 1.

    `numbering` names the kernel's boot and the namespace of `pid`, and `started` the process's start; both are empty
    if the system does not tell.
    """

    host: str
    pid: int
    numbering: str
    started: str

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the process on this machine that has this pid now."""
        _, started = _status(pid)
        return cls(socket.gethostname().replace(":", "-"), pid, _numbering(), started)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the owner that `str` turned into this text."""
        host, pid, numbering, started = text.split(":", 3)
        return cls(host, int(pid), numbering, started)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.numbering}:{self.started}"

    def is_dead(self) -> bool:
        """Return whether the process has certainly ended; False for a process on another host."""
        here = Owner.current()
        if (self.host, self.numbering) != (here.host, here.numbering) or os.name != "posix":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is alive, under another user
        state, started = _status(self.pid)
        return state in ("Z", "X") or (started != "" and self.started != "" and started != self.started)


def _numbering() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux: the host's name must do
        return ""


def _status(pid: int) -> tuple[str, str]:
    """Return the process's state letter (Z: ended, not yet reaped) and its start; empty if unknown."""
    try:
        # proc(5): the name, in parentheses, may hold anything; state and start are fields 3 and 22
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        pass
    try:
        command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
        state, _, started = subprocess.check_output(command, text=True, timeout=5).strip().partition(" ")
    except (OSError, subprocess.SubprocessError):
        return "", ""
    return state[:1], " ".join(started.split())
