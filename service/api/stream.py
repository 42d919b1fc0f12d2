"""Event streams: one reader of the database per process, any number of listeners."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

from fastapi.sse import format_sse_event

from service.database import tokens
from service.database.store import Store
from service.errors import DatabaseError, StreamsFull
from service.records import EventRecord
from service.schemas import Event
from studies.records import StudyRecord

POLL_SECONDS = 0.25
ALLOWED_SECONDS = 1.0  # how soon a stream ends after its token is revoked or expires
AWAY_SECONDS = 5.0  # the longest pause between two attempts to reach the database
HEARTBEAT_SECONDS = 15.0
RECONNECT_MILLISECONDS = 1000  # how long a browser waits before it reconnects
KEPT = 256  # events of a study in memory; listeners further behind read the database
HEARTBEAT = format_sse_event(comment="still here")

log = logging.getLogger("tunebench.stream")
Numbered = tuple[int, bytes]


class _Topic:
    """A study with listeners. It keeps the most recent events up to `last`, encoded as they are sent."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.over = False
        self.listeners = 0
        self.news = asyncio.Event()
        self._kept: deque[Numbered] = deque(maxlen=KEPT)

    def add(self, events: list[Numbered]) -> None:
        events = [event for event in events if event[0] > self.last]
        if not events or events[0][0] != self.last + 1:
            return  # they were read for an earlier topic of the study, now closed: the next ones will fit
        self._kept.extend(events)
        self.last = events[-1][0]
        self.wake()

    def end(self) -> None:
        self.over = True
        self.wake()

    def wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def changes(self, seconds: float) -> bool:
        """Wait for news, at most `seconds`. Return whether there are any."""
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            return False
        return True

    def after(self, number: int) -> list[Numbered] | None:
        """Return the events after `number`, or None if some of them are no longer kept."""
        missing = max(0, self.last - number)
        if missing > len(self._kept):
            return None
        return list(islice(self._kept, len(self._kept) - missing, None))


class CallerStreams:
    """The open streams of one caller, which all end at once."""

    def __init__(self, name: str) -> None:
        self.name = name  # of a token, or "local"
        self.open = 0
        self.over = asyncio.Event()


class Streams:
    """Server-sent events of studies. All methods run on the app's event loop.

    A listener holds only the number of the last event it has sent, so a slow one costs no memory. While there are
    listeners, the database is polled every `POLL_SECONDS` for news of all their studies. While the database is
    unavailable, streams stay open, and later continue where they were.
    """

    def __init__(self, store: Store, limit: int) -> None:
        self.open = 0  # streams and followed logs
        self.limit = limit
        self._closing = False
        self._store = store
        self._topics: dict[str, _Topic] = {}
        self._listening: dict[str, CallerStreams] = {}
        self._poller: asyncio.Task[None] | None = None
        self._token_watcher: asyncio.Task[None] | None = None
        self._catching_up = asyncio.Semaphore(4)  # not all connections of the pool

    @contextmanager
    def slot(self, name: str) -> Iterator[CallerStreams]:
        """Take one of the streams that may be open at once; a token may take a quarter of them. Raises StreamsFull."""
        if self._closing:
            raise StreamsFull("the service is shutting down; try again in a moment")
        if self.open >= self.limit:
            raise StreamsFull(f"{self.limit} streams are open, the most allowed at once; try again later")
        mine = self._listening.get(name) or CallerStreams(name)
        if name not in tokens.RESERVED and mine.open >= max(1, self.limit // 4):
            raise StreamsFull(
                f"{name} has {mine.open} streams open, the most allowed for one token; close some"
            )
        self._listening[name] = mine
        if self._token_watcher is None or self._token_watcher.done():
            self._token_watcher = asyncio.create_task(self._watch(), name="open streams")
        self.open, mine.open = self.open + 1, mine.open + 1
        try:
            yield mine
        finally:
            self.open, mine.open = self.open - 1, mine.open - 1
            if not mine.open and self._listening.get(name) is mine:
                del self._listening[name]

    def close(self) -> None:
        """End all streams. To be called before the server waits for its connections to close."""
        self._closing = True
        self._end(self._listening)

    def _end(self, names: Iterable[str]) -> None:
        for name in list(names):
            self._listening.pop(name).over.set()
        for topic in self._topics.values():
            topic.wake()

    async def _watch(self) -> None:
        """End the streams of callers whose token is revoked or expired, or who now need a token."""
        while self._listening:
            await asyncio.sleep(ALLOWED_SECONDS)
            try:
                allowed = await asyncio.to_thread(tokens.allowed, self._store.engine, list(self._listening))
            except DatabaseError:
                continue  # then there are no new events to send either
            self._end(self._listening.keys() - allowed)

    async def until_closed(self, chunks: AsyncIterator[str], mine: CallerStreams) -> AsyncIterator[str]:
        """Yield the chunks as they arrive, until they end or `mine` is over."""
        over = asyncio.ensure_future(mine.over.wait())
        waited: set[asyncio.Future[Any]] = {over}
        try:
            while not over.done():
                arriving = asyncio.ensure_future(anext(chunks, None))
                waited.add(arriving)
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if not arriving.done() or (chunk := arriving.result()) is None:
                    return
                waited.remove(arriving)
                yield chunk
        finally:
            for future in waited:
                future.cancel()

    async def listen(
        self, study: StudyRecord, after: int | None, mine: CallerStreams
    ) -> AsyncIterator[bytes]:
        """Yield every event of the study after `after` (None: from now on), once and in order, until it is deleted.

        If the study has no event `after` yet, the number is from a deleted study with the same id: all events are sent.
        The stream opens with a number without an event, so that a client that is cut off before the first event can
        reconnect with that number.
        """
        number = study.last_event if after is None else after if after <= study.last_event else 0
        topic = self._topics.setdefault(study.id, _Topic(study.last_event))
        topic.listeners += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="events")
        try:
            yield format_sse_event(id=str(number), retry=RECONNECT_MILLISECONDS)
            while not mine.over.is_set():
                events, patience = await self._after(study.id, topic, number)
                if events:
                    number = events[-1][0]
                    yield b"".join(content for _, content in events)
                elif topic.over:
                    return
                elif not await topic.changes(patience):
                    yield HEARTBEAT
        finally:
            topic.listeners -= 1
            if not topic.listeners and self._topics.get(study.id) is topic:
                del self._topics[study.id]

    async def _after(self, study: str, topic: _Topic, number: int) -> tuple[list[Numbered], float]:
        """Return the events to send after `number`, and how long to wait for news if there are none."""
        events = topic.after(number)
        if events is not None:
            return events, HEARTBEAT_SECONDS
        async with self._catching_up:
            try:
                return await asyncio.to_thread(self._read, study, number), POLL_SECONDS
            except DatabaseError:
                return [], AWAY_SECONDS

    async def _poll(self) -> None:
        pause = POLL_SECONDS
        try:
            while self._topics and not self._closing:
                await asyncio.sleep(pause)
                pause = await self._look(pause)
        except Exception:
            log.exception("the event streams end after an unexpected error; their clients will reconnect")
            for topic in self._topics.values():
                topic.end()
            self._topics.clear()

    async def _look(self, pause: float) -> float:
        """Send new events to the listeners, after a `pause` since the last poll. Return the pause before the next."""
        seen = {study: topic.last for study, topic in self._topics.items()}
        try:
            found = await asyncio.to_thread(self._news, seen)
        except DatabaseError as error:
            if pause == POLL_SECONDS:  # logged once
                log.warning("event streams wait for the database: %s", error)
            return min(2 * pause, AWAY_SECONDS)
        self._tell(found, everybody=pause != POLL_SECONDS)
        return POLL_SECONDS

    def _tell(self, found: Mapping[str, list[Numbered] | None], everybody: bool) -> None:
        for study, topic in list(self._topics.items()):
            events = found.get(study, [])
            if events is None:
                topic.end()
                del self._topics[study]
            elif events:
                topic.add(events)
            elif everybody:
                topic.wake()

    def _news(self, seen: Mapping[str, int]) -> dict[str, list[Numbered] | None]:
        """Return the events after the number `seen` of each study that has any; None for a study that was deleted."""
        last = self._store.last_events(list(seen))
        news: dict[str, list[Numbered] | None] = {}
        for study, number in seen.items():
            if last.get(study, -1) < number:
                news[study] = None
            elif last[study] > number:
                news[study] = self._read(study, number)
        return news

    def _read(self, study: str, number: int) -> list[Numbered]:
        return [(event.number, _encoded(event)) for event in self._store.events(study, number, limit=KEPT)]


def _encoded(event: EventRecord) -> bytes:
    shown = Event(
        number=event.number, time=event.time, actor=event.actor, kind=event.kind, data=dict(event.data)
    )
    return format_sse_event(data_str=shown.model_dump_json(), event=event.kind, id=str(event.number))
