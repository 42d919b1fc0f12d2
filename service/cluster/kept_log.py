"""A job's output, stored with its study: Ray forgets its jobs and their logs when its head starts again."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from service.cluster.periodic import Periodic
from service.database.store import LOG_CHARACTERS, Store
from service.errors import DatabaseError

EVERY_SECONDS = 20.0  # a killed job loses the output of at most this time


class KeptLog(Periodic):
    """Stores the end of the file that this process prints into, regularly while the context is open and at its end."""

    def __init__(self, store: Store, study: str, job: str) -> None:
        self._store, self._study, self._job = store, study, job
        self._kept = ""
        super().__init__(EVERY_SECONDS, self._keep, name="log")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._keep()

    def _keep(self) -> None:
        text = printed()
        if text and text != self._kept:
            with suppress(DatabaseError):  # the driver reports it where it matters
                self._store.keep_log(self._study, self._job, text)
                self._kept = text


def printed() -> str:
    """Return the end of what this process has printed if that goes into a file, else an empty text."""
    with suppress(OSError):
        if stat.S_ISREG(os.fstat(2).st_mode):
            with Path("/proc/self/fd/2").open("rb") as file:  # opened again: the writer keeps its place
                file.seek(max(0, os.fstat(2).st_size - LOG_CHARACTERS))
                return file.read().decode(errors="replace")
    return ""
