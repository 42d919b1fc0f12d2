"""What the thread that runs a study and the threads that watch it tell each other."""

import time
from datetime import UTC, datetime

IDLE_SECONDS = 60.0  # a worker starts in ten


class Control:
    """Given to `run_study` and kept by whoever may want it to stop, or asks what it waits for.

    Any thread may ask for a stop, and nothing takes it back. Only the thread that runs the study says what it is
    `doing` and how many trials are under way; any other may ask.
    """

    def __init__(self, doing: str = "") -> None:
        self.doing = doing
        self.draining = False
        self.aborting = False
        self._idle_since: tuple[float, datetime] | None = (time.monotonic(), datetime.now(UTC))

    def drain(self) -> None:
        """No further trial starts; those in flight finish and are recorded."""
        self.draining = True

    def abort(self) -> None:
        """Trials in flight are given up; nothing of them is recorded."""
        self.draining = self.aborting = True

    def beat(self, under_way: int) -> None:
        """So many trials are being trained."""
        if under_way:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic(), datetime.now(UTC)

    def waits(self) -> str | None:
        """What for and since when, where no trial has been under way for long."""
        if (idle := self._idle_since) is None or time.monotonic() < idle[0] + IDLE_SECONDS:
            return None
        return f"no trial under way since {idle[1]:%H:%M:%S} UTC: {self.doing}"
