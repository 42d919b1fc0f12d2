"""Work that is done every few seconds, in the background."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

log = logging.getLogger("tunebench")


class Periodic:
    """Calls `work` every `seconds`, in a daemon thread of this name, while the context is open.

    An error that `work` raises is logged, and the calls go on. Leaving the context sets `closing` and waits for a call
    that is under way. `work` may set `closing` itself to end the calls.
    """

    def __init__(self, seconds: float, work: Callable[[], None], *, name: str) -> None:
        self._seconds, self._work = seconds, work
        self._woken, self.closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.wake()
        self._thread.join()

    def wake(self) -> None:
        """Make the thread call `work` now."""
        self._woken.set()

    def _repeat(self) -> None:
        while not self.closing.is_set():
            self._woken.wait(self._seconds)
            self._woken.clear()
            if self.closing.is_set():
                return
            try:
                self._work()
            except Exception:
                log.exception("%s: continues after an unexpected error", self._thread.name)
