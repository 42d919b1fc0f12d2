"""Who goes first on cores that a study trains on too: the service, then what computes for it, then the study."""

import os
import time
from contextlib import suppress
from pathlib import Path

# Linux shares a core among sessions first and among the processes of each next, where it groups by session. So Ray's
# niceness of its workers, 15, counts for nothing beside the service, whose session another is; and what computes in the
# service's session takes the turns of the service itself. Hence sessions of their own, each of them nice; a study's
# by less than 15: Ray's own processes are among them and must answer each other in time. Numbers go before drawings,
# which take longer.
NUMBERS, DRAWINGS, STUDY = 2, 4, 12
RAYS, KEY = "RAY_worker_niceness", "TUNEBENCH_NICENESS"  # variables; the second is for drivers
TRIES, WAIT_SECONDS = 20, 0.1


def of_study() -> int:
    """How nice a study on this machine is to be."""
    return min(int(os.environ.get(RAYS) or STUDY), STUDY)


def give_way(pid: int, niceness: int) -> None:
    """Let the whole session of `pid` wait for less nice ones; nothing where Linux does not group by session."""
    with suppress(OSError):
        for _ in range(TRIES):
            with suppress(BlockingIOError):  # Linux takes one each tenth of a second, of all users together
                Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
                return
            time.sleep(WAIT_SECONDS)


def i_give_way(niceness: int) -> None:
    """The same of this process, which leads a session, and by itself where Linux does not group."""
    os.nice(niceness)
    give_way(os.getpid(), niceness)


def driver_gives_way() -> None:
    """Let this process, the driver of a study that the service's own Ray has started, go after the service."""
    i_give_way(int(os.environ.get(KEY, 0)))
