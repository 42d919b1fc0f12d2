"""Event streams: every event once and in order, whatever happens in between."""

import asyncio
import contextlib
import gc
import json
import math
import re
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event, make_url, update
from writers import START, spec, trial

from service.api import stream
from service.api.analyses import Analysis
from service.api.app import create_app
from service.api.server import Server
from service.api.services import Services
from service.api.stream import CallerStreams, Streams
from service.cluster.jobs import Jobs
from service.database import tables, tokens
from service.database.engine import connect, upgrade, writing
from service.database.lease import Lease
from service.database.store import Store
from service.database.tables import studies
from service.database.tokens import Scope
from service.errors import StreamsFull
from service.settings import Settings
from studies.records import Request, StudyState, TrialState

# for tests of what is kept in memory, where the database plays no part
on_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class Listener:
    """A client's reading of the bytes that it is sent."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.chunks, self.text, self.last_id = chunks, "", ""
        self.numbers: list[int] = []
        self.events: list[dict] = []
        self.comments = 0
        self.ended = False

    async def until(self, enough: Callable[[], bool]) -> None:
        """Read on until `enough` is true or the stream ends."""
        while not enough():
            try:
                chunk = await anext(self.chunks)
            except StopAsyncIteration:
                self.ended = True
                return
            self.text += chunk.decode()
            *blocks, self.text = self.text.split("\n\n")
            for block in blocks:
                self.block([line.partition(": ")[::2] for line in block.splitlines()])

    def block(self, lines: list[tuple[str, str]]) -> None:
        fields = dict(lines)
        self.comments += "" in fields
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            seen = json.loads(fields["data"])
            assert fields["id"] == str(seen["number"])
            assert fields["event"] == seen["kind"]
            self.numbers.append(seen["number"])
            self.events.append(seen)

    async def through(self, last: int) -> None:
        await self.until(lambda: bool(self.numbers) and self.numbers[-1] >= last)


def write(store: Store, study: str, events: int) -> int:
    """Give the study so many events. Returns the number of the last one."""
    for number in range(events):
        store.edit(study, actor="writer", priority=number % 100)
    return store.last_events([study])[study]


async def soon(done: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.02)


def listen(streams: Streams, store: Store, study: str, after: int | None = None) -> Listener:
    return Listener(streams.listen(store.study_by_id(study), after, CallerStreams("local")))


@pytest.fixture
def streams(store: Store) -> Streams:
    return Streams(store, limit=2000)


def test_what_happens_to_a_study_is_told(store: Store, lease: Lease, streams: Streams) -> None:
    async def main() -> None:
        listener = listen(streams, store, lease.study, 0)
        await listener.until(lambda: bool(listener.last_id))
        store.record(lease, trial(lease.study, objective=-math.inf, state=TrialState.DIVERGED))
        store.ask(lease.study, Request.PAUSE, actor="ada")
        store.finish(lease, StudyState.PAUSED)
        async with asyncio.timeout(5):
            await listener.through(5)
        assert [e["kind"] for e in listener.events] == ["state", "state", "trial", "request", "state"]
        assert listener.events[0]["data"] == {"from": None, "to": "queued", "reason": None}
        assert listener.events[2]["data"] == {
            "arm": "gradient-filter", "run": 1, "trial": 1, "state": "diverged", "objective": "-inf",
        }  # fmt: skip
        assert listener.events[3]["actor"] == "ada"
        assert [e["number"] for e in listener.events] == [1, 2, 3, 4, 5]

    asyncio.run(main())


def test_a_listener_gets_what_comes_after_its_number(store: Store, lease: Lease) -> None:
    assert write(store, lease.study, 298) == 300
    firsts = {None: 301, 0: 1, 290: 291, 299: 300, 300: 301, 9999: 1}  # by the number to go on after

    async def main() -> None:
        # each alone in its own Streams: what is kept of a study begins with the first listener
        listeners = {after: listen(Streams(store, limit=1), store, lease.study, after) for after in firsts}
        for after, listener in listeners.items():
            await listener.until(lambda listener=listener: bool(listener.last_id))
            # a browser that loses the stream here reconnects with this id
            assert listener.last_id == str(firsts[after] - 1), after
        last = write(store, lease.study, 3)
        async with asyncio.timeout(10):
            for after, listener in listeners.items():
                await listener.through(last)
                assert listener.numbers == list(range(firsts[after], last + 1)), after

    asyncio.run(main())


@on_sqlite
@pytest.mark.slow
def test_600_listeners_get_every_event_once_and_memory_stays_flat(
    store: Store, lease: Lease, streams: Streams
) -> None:
    ahead, half, last = write(store, lease.study, 50), 200, 400
    number = {listener: listener % (ahead + 1) for listener in range(600)}

    async def follow(listener: int, chunks: AsyncIterator[bytes], until: int) -> None:
        while number[listener] < until:
            for found in re.findall(rb"^data: .*\nid: (\d+)$", await anext(chunks), re.MULTILINE):
                assert int(found) == number[listener] + 1
                number[listener] += 1

    async def main() -> None:
        record = store.study_by_id(lease.study)
        all_chunks = {
            listener: streams.listen(record, start, CallerStreams("local"))
            for listener, start in number.items()
        }

        async def go_on(until: int) -> None:
            writing = asyncio.to_thread(write, store, lease.study, until - max(number.values()))
            following = [follow(listener, chunks, until) for listener, chunks in all_chunks.items()]
            async with asyncio.timeout(100):
                await asyncio.gather(writing, *following)

        async def held(until: int) -> int:
            """Return the memory in use once every listener holds only the last event, without garbage."""
            await go_on(until - 1)
            await go_on(until)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await go_on(ahead)
        tracemalloc.start()
        try:
            before, after = await held(half), await held(last)
        finally:
            tracemalloc.stop()
        assert after - before < 300_000  # a reference per event and listener would take 960,000

    asyncio.run(main())
    assert set(number.values()) == {last}


@on_sqlite
@pytest.mark.slow
def test_slow_listeners_cost_no_memory_and_lose_nothing(store: Store, lease: Lease, streams: Streams) -> None:
    async def main() -> None:
        quick, *slow = (listen(streams, store, lease.study, 0) for _ in range(41))
        for listener in slow:
            await listener.until(lambda listener=listener: bool(listener.last_id))
        tracemalloc.start()
        try:
            last = write(store, lease.study, 2 * stream.KEPT)
            async with asyncio.timeout(30):
                await quick.through(last)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (
            grown < 2_000_000
        )  # a queue for each would take 6 MB more; most of the growth is what `quick` keeps
        async with asyncio.timeout(60):
            await asyncio.gather(*(listener.through(last) for listener in slow))
        for listener in (quick, *slow):
            assert listener.numbers == list(range(1, last + 1))

    asyncio.run(main())


def test_listeners_come_and_go_and_nothing_is_asked_without_any(
    store: Store, lease: Lease, streams: Streams
) -> None:
    queries: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *args: queries.append(args[2]))

    async def main() -> None:
        for round_ in range(3):
            number = store.last_events([lease.study])[lease.study]
            listener = listen(streams, store, lease.study)
            await listener.until(lambda listener=listener: bool(listener.last_id))
            last = write(store, lease.study, 5)
            async with asyncio.timeout(5):
                await listener.through(last)
            assert listener.numbers == list(range(number + 1, last + 1))
            await listener.chunks.aclose()
            await asyncio.sleep(0.01 if round_ else 3 * stream.POLL_SECONDS)
        await asyncio.sleep(2 * stream.POLL_SECONDS)
        asked = len(queries)
        await asyncio.sleep(4 * stream.POLL_SECONDS)
        assert len(queries) == asked

    asyncio.run(main())


def test_a_listener_is_told_within_a_second(store: Store, lease: Lease, streams: Streams) -> None:
    async def main() -> None:
        listener = listen(streams, store, lease.study)
        await listener.until(lambda: bool(listener.last_id))
        for _ in range(5):
            last = await asyncio.to_thread(write, store, lease.study, 1)
            async with asyncio.timeout(1):
                await listener.through(last)

    asyncio.run(main())


def test_a_stream_ends_with_its_study(store: Store, streams: Streams) -> None:
    study = store.create_study(spec(), {}).id

    async def main() -> None:
        listener = listen(streams, store, study, 0)
        await listener.through(1)
        store.ask(study, Request.CANCEL, actor="ada")
        await listener.through(2)
        store.delete(study)
        async with asyncio.timeout(5):
            await listener.until(lambda: False)
        assert listener.ended
        # the same study again: an event number of the old study is not one of its own
        store.create_study(spec(), {})
        again = listen(streams, store, study, 2)
        await again.through(1)
        assert again.numbers == [1]

    asyncio.run(main())


def test_a_quiet_stream_has_a_heartbeat(
    store: Store, lease: Lease, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.1)

    async def main() -> None:
        listener = listen(streams, store, lease.study)
        async with asyncio.timeout(5):
            await listener.until(lambda: listener.comments >= 3)
        assert listener.numbers == []

    asyncio.run(main())


def test_only_so_many_may_be_open(store: Store) -> None:
    async def main() -> None:
        streams = Streams(store, limit=8)
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(streams.slot("wall"))
            with pytest.raises(StreamsFull, match="wall has 2 streams open"), streams.slot("wall"):
                pass
            for _ in range(6):  # this machine, without tokens, may have all of them
                stack.enter_context(streams.slot("local"))
            with pytest.raises(StreamsFull, match="8 streams are open"), streams.slot("ada"):
                pass
            assert streams.open == 8
        assert streams.open == 0

    asyncio.run(main())


def test_closing_ends_all_streams_and_opens_no_more(store: Store, lease: Lease, streams: Streams) -> None:
    async def main() -> None:
        with streams.slot("local") as mine:
            record = store.study_by_id(lease.study)
            listeners = [Listener(streams.listen(record, None, mine)) for _ in range(20)]
            waiting = [asyncio.create_task(listener.until(lambda: False)) for listener in listeners]
            await soon(lambda: all(listener.last_id for listener in listeners))
            streams.close()
            async with asyncio.timeout(1):
                await asyncio.gather(*waiting)
        assert all(listener.ended for listener in listeners)
        with pytest.raises(StreamsFull, match="shutting down"), streams.slot("local"):
            pass

    asyncio.run(main())


def test_a_stream_ends_with_its_token(store: Store, lease: Lease, streams: Streams) -> None:
    """The token is revoked or expires, or a first token is created; the streams of others go on."""
    engine = store.engine

    async def silence() -> AsyncIterator[str]:
        yield "a line"
        await asyncio.Event().wait()

    async def main() -> None:
        record = store.study_by_id(lease.study)

        async def heard(name: str) -> None:
            with streams.slot(name) as mine:
                listener = Listener(streams.listen(record, None, mine))
                log = [line async for line in streams.until_closed(silence(), mine)]
                await listener.until(lambda: False)
                assert (listener.ended, log) == (True, ["a line"])

        at_first = asyncio.create_task(heard("local"))
        await asyncio.sleep(0)
        for name in ("goes", "expires", "stays"):
            tokens.create(engine, name, Scope.READ, days=1)
        listening = {name: asyncio.create_task(heard(name)) for name in ("goes", "expires", "stays")}
        async with asyncio.timeout(5):
            await at_first
        tokens.revoke(engine, "goes")
        async with asyncio.timeout(5):
            await listening.pop("goes")
        assert not any(task.done() for task in listening.values())
        with writing(engine) as connection:
            past = tables.tokens.c.name == "expires"
            connection.execute(update(tables.tokens).where(past).values(expires_at=START))
        async with asyncio.timeout(5):
            await listening.pop("expires")
        assert not listening["stays"].done()
        streams.close()
        await listening["stays"]

    asyncio.run(main())


class Wire:
    """A wire to a server. When it is cut, its connections break and new ones are refused, until it is mended."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self.open: list[socket.socket] = []
        self.gate = socket.create_server(("127.0.0.1", self.port))
        self.port = self.gate.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.gate,), daemon=True).start()

    def accept(self, gate: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = gate.accept()
                server = socket.create_connection(self.server)
                self.open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    def copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := one.recv(65536):
                other.sendall(content)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.gate.shutdown(socket.SHUT_RDWR)
        self.gate.close()
        for end in self.open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def wire(postgresql: str) -> Iterator[Wire]:
    url = make_url(postgresql)
    wire = Wire(url.host or "127.0.0.1", url.port or 5432)
    yield wire
    wire.cut()


@pytest.mark.postgres
def test_streams_outlast_the_database(postgresql: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(stream, "AWAY_SECONDS", 0.5)
    direct = connect(postgresql)
    upgrade(direct)
    writer = Store(direct)
    study = writer.create_study(spec(), {}).id
    through = make_url(postgresql).set(host="127.0.0.1", port=wire.port)
    engine = connect(through.render_as_string(hide_password=False))
    store = Store(engine)

    async def main() -> None:
        streams = Streams(store, limit=10)
        record = store.study_by_id(study)
        ready, behind = (Listener(streams.listen(record, 0, CallerStreams("local"))) for _ in range(2))
        await ready.through(1)
        wire.cut()
        last = await asyncio.to_thread(write, writer, study, 2 * stream.KEPT)  # it lives, but only for others
        heard = ready.comments
        async with asyncio.timeout(30):
            await ready.until(lambda: ready.comments >= heard + 3)
            await behind.until(lambda: behind.comments >= 3)  # it would have had to read from the database
            assert ready.numbers == [1]
            assert behind.numbers == []
            wire.mend()
            await asyncio.gather(ready.through(last), behind.through(last))
        assert ready.numbers == behind.numbers == list(range(1, last + 1))

    asyncio.run(main())
    engine.dispose()
    direct.dispose()


@contextlib.contextmanager
def served(store: Store, streams: Streams) -> Iterator[tuple[str, Server]]:
    """Serve the app over HTTP like `tunebench serve`, without a queue and Ray. Yields its address and its server."""
    jobs = Jobs("http://127.0.0.1:1", None)
    settings = Settings(str(store.engine.url), Path("/"))
    services = Services(settings, store, jobs, Analysis(store), streams, lambda: None)
    server = Server(create_app(services), streams, close_seconds=30)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", server
        finally:
            server.should_exit = True
            thread.join()


class Client(Listener):
    """A listener over HTTP."""

    def __init__(self, http: httpx.AsyncClient, path: str, last: int | None = None, **params: int) -> None:
        super().__init__(self.chunks_of(http, path, last, params))
        self.headers = httpx.Headers()

    async def chunks_of(
        self, http: httpx.AsyncClient, path: str, last: int | None, params: dict[str, int]
    ) -> AsyncGenerator[bytes, None]:
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        async with http.stream("GET", path, params=params, headers=headers) as response:
            response.raise_for_status()
            self.headers = response.headers
            async for chunk in response.aiter_bytes():
                yield chunk


def test_over_http_whoever_comes_back_misses_nothing(store: Store, lease: Lease, streams: Streams) -> None:
    path = f"/v1/studies/{lease.study}/events"

    async def main(base: str) -> None:
        async with httpx.AsyncClient(base_url=base, timeout=30) as http:
            last, numbers = None, []
            for _ in range(5):
                client = Client(http, path, last, after=0)  # a browser requests the same address again
                end = write(store, lease.study, 20)
                await client.through(end - 7)
                last = int(client.last_id)
                numbers += client.numbers
                await client.chunks.aclose()
            await soon(lambda: streams.open == 0)  # the disconnects were noticed
            assert numbers == list(range(1, len(numbers) + 1))
            assert len(numbers) >= 90
            assert client.headers["content-type"].startswith("text/event-stream")
            assert client.headers["cache-control"] == "no-store"

    with served(store, streams) as (base, _):
        asyncio.run(main(base))


def test_over_http_refusals_are_problems(store: Store, lease: Lease) -> None:
    streams = Streams(store, limit=1)
    path = f"/v1/studies/{lease.study}"

    async def main(base: str) -> None:
        async with httpx.AsyncClient(base_url=base, timeout=30) as http:

            async def refused(path: str, status: int, kind: str, **headers: str) -> httpx.Response:
                response = await http.get(path, headers=headers)
                assert (response.status_code, response.json()["type"]) == (status, f"/problems/{kind}"), path
                return response

            await refused("/v1/studies/nothing-00000000/events", 404, "unknown-study")
            await refused(f"{path}/events?after=-1", 422, "invalid-request")
            await refused(f"{path}/events", 422, "invalid-request", **{"Last-Event-ID": "one"})
            await refused("/v1/studies/nothing-00000000/logs", 404, "unknown-study")
            missing = await refused(f"{path}/logs", 404, "unknown-log")
            assert "no service has started it" in missing.json()["detail"]
            with writing(store.engine) as connection:
                connection.execute(update(studies).where(studies.c.id == lease.study).values(job="a-job"))
            await refused(f"{path}/logs", 503, "ray-unavailable")  # there is no Ray at port 1
            await refused(f"{path}/logs?follow=true", 503, "ray-unavailable")
            await refused(f"{path}/logs?tail=0", 422, "invalid-request")
            assert streams.open == 0
            client = Client(http, f"{path}/events", after=0)
            await client.through(1)
            for what in ("events", "logs?follow=true"):
                full = await refused(f"{path}/{what}", 503, "too-busy")
                assert int(full.headers["retry-after"]) > 0
            await client.chunks.aclose()

    with served(store, streams) as (base, _):
        asyncio.run(main(base))


def test_a_server_that_stops_waits_for_no_stream(store: Store, lease: Lease, streams: Streams) -> None:
    async def main(base: str, server: Server) -> float:
        async with httpx.AsyncClient(base_url=base, timeout=30, limits=httpx.Limits()) as http:
            clients = [Client(http, f"/v1/studies/{lease.study}/events", after=0) for _ in range(100)]
            await asyncio.gather(*(client.through(2) for client in clients))
            assert streams.open == 100
            server.handle_exit(signal.SIGTERM, None)
            began = time.monotonic()
            await asyncio.gather(*(client.until(lambda: False) for client in clients))
            assert all(client.ended for client in clients)  # each stream was ended properly, none broken off
            return began

    with served(store, streams) as (base, server):
        began = asyncio.run(main(base, server))
    assert time.monotonic() - began < 10
    assert streams.open == 0
