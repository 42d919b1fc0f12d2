"""What a running study waits for, told by the thread that runs it to those that watch it."""

import time
from datetime import UTC, datetime

IDLE_SECONDS = 60.0  # a worker starts in ten


class Pulse:
    """One thread says what is done and how many trials are under way, any other asks."""

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self._idle_since: tuple[float, datetime] | None = (time.monotonic(), datetime.now(UTC))

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
