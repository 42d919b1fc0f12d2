"""Analyses of studies as bytes: computed once for all who ask, cached while they are current."""

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
# An analysis of a running study is reused for STALE_TIMES as long as it took to compute, at most for STALE_SECONDS.
# It is not computed more often, however many viewers there are and however fast trials finish.
STALE_TIMES, STALE_SECONDS = 4.0, 2.0


@dataclass(frozen=True, slots=True)
class CachedAnalysis:
    """An analysis whose `content` includes the study's events up to `last_event`; `etag` identifies the content."""

    content: bytes
    etag: str
    created_at: datetime
    last_event: int
    fresh_until: float

    def is_fresh_enough(self, study: StudyRecord) -> bool:
        if self.created_at < study.created_at:  # of a deleted study with the same id
            return False
        return self.last_event >= study.last_event or (
            study.state in ACTIVE and time.monotonic() < self.fresh_until
        )


class Analysis:
    """The analyses of studies (the keys of `service.api.analyst.ANALYSES`), for the app's event loop.

    Each is computed once for all who ask at the same time, and cached; the least recently used is evicted first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        url = url_of(store.engine)
        # curves and numbers do not wait for figures and archives
        self._numbers = Analyst(url, priority.NUMBERS)
        self._drawings = Analyst(url, priority.DRAWINGS)
        self._one_comparison = (
            asyncio.Lock()
        )  # so that curves, which take a tenth of the time, wait for at most one comparison
        self._kept: OrderedDict[tuple[str, str], CachedAnalysis] = OrderedDict()
        self._bytes = 0
        self._computing: dict[tuple[str, str], asyncio.Task[CachedAnalysis]] = {}

    async def get(self, study: str, what: str) -> CachedAnalysis:
        """Return the current analysis; for a running study, it may be up to `STALE_SECONDS` old.

        Raises StudyUnknown, AnalysisStopped, DatabaseError.
        """
        record = await run_in_threadpool(self._store.study_by_id, study)
        key = (study, what)
        found = self._kept.get(key)
        while found is None or not found.is_fresh_enough(record):
            if key not in self._computing:
                self._computing[key] = asyncio.create_task(self._compute(*key), name=f"{what} of {study}")
            found = await asyncio.shield(self._computing[key])  # any one of the waiters may be cancelled
        if key in self._kept:
            self._kept.move_to_end(key)
        return found

    def close(self) -> None:
        """End the processes that compute, whatever they are doing."""
        self._numbers.close()
        self._drawings.close()

    async def _compute(self, study: str, what: str) -> CachedAnalysis:
        began = time.monotonic()
        try:
            analyst = self._numbers if what in ("curves", "comparison") else self._drawings
            async with self._one_comparison if what == "comparison" else nullcontext():
                computed = await analyst.ask(study, what)
        finally:
            del self._computing[study, what]
        took = time.monotonic() - began
        etag = hashlib.blake2b(computed.content, digest_size=12).hexdigest()
        analysed = CachedAnalysis(
            content=computed.content,
            etag=f'W/"{etag}"',  # weak: it also identifies the compressed content
            created_at=computed.created_at,
            last_event=computed.last_event,
            fresh_until=began + min(STALE_TIMES * took, STALE_SECONDS),
        )
        self._keep((study, what), analysed)
        return analysed

    def _keep(self, key: tuple[str, str], analysed: CachedAnalysis) -> None:
        if (before := self._kept.pop(key, None)) is not None:
            self._bytes -= len(before.content)
        self._kept[key] = analysed
        self._bytes += len(analysed.content)
        while self._bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.content)
