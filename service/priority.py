"""CPU priorities on a machine that also trains: first the service, then its analyses, then the study."""

import os
import time
from contextlib import suppress
from pathlib import Path

# Where Linux groups processes by session, it divides a core among the sessions first, then within each session. So the
# niceness 15 that Ray gives its workers does not help the service, which is in another session, and an analysis in
# the service's session would take CPU time from the service. Hence each has a session of its own, with a niceness. The
# study's is below 15, because its session includes Ray's own processes, which must answer each other in time. Numbers
# precede drawings, which take longer.
NUMBERS, DRAWINGS, STUDY = 2, 4, 12
RAY_NICENESS, NICENESS = "RAY_worker_niceness", "TUNEBENCH_NICENESS"  # variables: Ray's, and ours for drivers
TRIES, WAIT_SECONDS = 20, 0.1


def study_niceness() -> int:
    """Return the niceness of a study on this machine."""
    return min(int(os.environ.get(RAY_NICENESS) or STUDY), STUDY)


def lower_priority(pid: int, niceness: int) -> None:
    """Set the niceness of the whole session of `pid`. Do nothing where Linux does not group by session."""
    with suppress(OSError):
        for _ in range(TRIES):
            with suppress(BlockingIOError):  # Linux accepts one write per 0.1 s, from all users together
                Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
                return
            time.sleep(WAIT_SECONDS)


def lower_own_priority(niceness: int) -> None:
    """Set the niceness of this process, which leads a session, and of the session where Linux groups by session."""
    os.nice(niceness)
    lower_priority(os.getpid(), niceness)


def lower_driver_priority() -> None:
    """Give this driver a lower priority than the service if the service's own Ray started it."""
    lower_own_priority(int(os.environ.get(NICENESS, 0)))
