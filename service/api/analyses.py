"""Analyses of studies as bytes: computed once for all who ask, kept while they are true."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool

from service import priority
from service.api.analyst import Analyst
from service.database.engine import url_of
from service.database.store import Store
from service.records import ACTIVE
from studies.records import StudyRecord

KEPT_BYTES = 64 * 2**20
# An analysis of a study that runs will do for so many times the seconds it took, and no longer than so many seconds:
# whatever the number of viewers and the pace of the trials, it is not computed more often.
STALE_TIMES, STALE_SECONDS = 4.0, 2.0


@dataclass(frozen=True, slots=True)
class Analysed:
    """`content` holds all that had happened to the study by its event `last_event`; `etag` names the content."""

    content: bytes
    etag: str
    created_at: datetime
    last_event: int
    will_do_until: float

    def will_do(self, study: StudyRecord) -> bool:
        if self.created_at < study.created_at:  # of one that was deleted
            return False
        return self.last_event >= study.last_event or (
            study.state in ACTIVE and time.monotonic() < self.will_do_until
        )


class Analysis:
    """What can be computed of a study (the keys of `service.api.analyst.ANALYSES`), for the event loop of the app.

    Each is computed once for all who ask at the same time, and kept; those that nobody asked for longest go first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        url = url_of(store.engine)
        # curves and numbers do not wait while something is drawn or packed
        self._numbers = Analyst(url, priority.NUMBERS)
        self._drawings = Analyst(url, priority.DRAWINGS)
        self._one_comparison = (
            asyncio.Lock()
        )  # so that curves, which take a tenth of the time, wait for one and no more
        self._kept: OrderedDict[tuple[str, str], Analysed] = OrderedDict()
        self._bytes = 0
        self._computing: dict[tuple[str, str], asyncio.Task[Analysed]] = {}

    async def get(self, study: str, what: str) -> Analysed:
        """Holds all that has happened by now, unless the study is running: then it may be `STALE_SECONDS` old.

        Raises StudyUnknown, AnalysisStopped, DatabaseError.
        """
        record = await run_in_threadpool(self._store.study_by_id, study)
        key = (study, what)
        found = self._kept.get(key)
        while found is None or not found.will_do(record):
            if key not in self._computing:
                self._computing[key] = asyncio.create_task(self._compute(*key), name=f"{what} of {study}")
            found = await asyncio.shield(self._computing[key])  # of all who wait, one may leave
        if key in self._kept:
            self._kept.move_to_end(key)
        return found

    def close(self) -> None:
        """End the processes that compute, whatever they are doing."""
        self._numbers.close()
        self._drawings.close()

    async def _compute(self, study: str, what: str) -> Analysed:
        began = time.monotonic()
        try:
            analyst = self._numbers if what in ("curves", "comparison") else self._drawings
            async with self._one_comparison if what == "comparison" else nullcontext():
                computed = await analyst.ask(study, what)
        finally:
            del self._computing[study, what]
        took = time.monotonic() - began
        etag = hashlib.blake2b(computed.content, digest_size=12).hexdigest()
        analysed = Analysed(
            content=computed.content,
            etag=f'W/"{etag}"',  # also of the same content compressed
            created_at=computed.created_at,
            last_event=computed.last_event,
            will_do_until=began + min(STALE_TIMES * took, STALE_SECONDS),
        )
        self._keep((study, what), analysed)
        return analysed

    def _keep(self, key: tuple[str, str], analysed: Analysed) -> None:
        if (before := self._kept.pop(key, None)) is not None:
            self._bytes -= len(before.content)
        self._kept[key] = analysed
        self._bytes += len(analysed.content)
        while self._bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.content)
