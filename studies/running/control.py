"""What the thread that runs a study and the threads that watch it tell each other."""

import time
from datetime import UTC, datetime

IDLE_SECONDS = 60.0  # a worker starts in ten


class Control:
    """Requests to a running study and what it is doing: given to `run_study`, kept by whoever may stop it or watch it.

    Any thread may ask for a stop, and nothing takes it back. Only the thread that runs the study sets what it is
    `doing` and how many trials are under way; any other may read that.
    """

    def __init__(self, doing: str = "") -> None:
        self.doing = doing
        self.draining = False
        self.aborting = False
        self._idle_since: tuple[float, datetime] | None = (time.monotonic(), datetime.now(UTC))

    def drain(self) -> None:
        """Start no further trial; those in flight finish and are recorded."""
        self.draining = True

    def abort(self) -> None:
        """Give up the trials in flight; nothing of them is recorded."""
        self.draining = self.aborting = True

    def beat(self, under_way: int) -> None:
        """Note how many trials are being trained."""
        if under_way:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic(), datetime.now(UTC)

    def waits(self) -> str | None:
        """Return what the study waits for and since when, if no trial has been under way for long."""
        if (idle := self._idle_since) is None or time.monotonic() < idle[0] + IDLE_SECONDS:
            return None
        return f"no trial under way since {idle[1]:%H:%M:%S} UTC: {self.doing}"
