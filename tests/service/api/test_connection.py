"""Limits on what a client may send and how long it may take, over real sockets. None of them needs a token."""

import json
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from serving import serving
from sqlalchemy import Engine
from writers import spec

from service.api import connection, server
from service.api.connection import MAX_HEAD_BYTES, MAX_HEADERS, ConnectionLimits
from service.api.connection_limits import SPARE, connection_limit
from service.api.middleware import MAX_BODY_BYTES
from service.api.problems import Refused
from service.api.server import Server
from service.database.engine import connect, upgrade
from service.database.store import Store

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/studies:validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('connection') / 'study.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


class CallerStreams:
    """A server in a thread of this process."""

    def __init__(self, port: int, server: Server) -> None:
        self.port, self.server = port, server

    def open(self, sent: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), 10)
        client.sendall(sent)
        return client

    def ask(self, *pieces: bytes) -> bytes:
        """Return all that the server sends until it closes the connection."""
        with self.open() as client:
            with suppress(ConnectionError):  # the server closed it before all was sent
                for piece in pieces:
                    client.sendall(piece)
            return heard(client)

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def until(self, connections: int) -> None:
        end = time.monotonic() + 20
        while self.connections != connections:
            assert time.monotonic() < end, self.connections
            time.sleep(0.01)


def heard(client: socket.socket) -> bytes:
    said = b""
    with suppress(ConnectionResetError):
        while content := client.recv(65536):
            said += content
    return said


def problem(said: bytes) -> tuple[int, str]:
    head, _, content = said.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    found = json.loads(content)
    assert found["status"] == int(status.split()[1])
    return found["status"], found["type"].removeprefix("/problems/")


@contextmanager
def listening(engine: Engine, data_dir: Path, limit: int | None = None) -> Iterator[CallerStreams]:
    with serving(Store(engine), data_dir) as app, socket.create_server(("127.0.0.1", 0)) as socket_:
        one = Server(app, app.state.services.streams)
        if limit is not None:
            one.server_state = ConnectionLimits(limit)
            one._limits = one.server_state
        thread = threading.Thread(target=one.run, kwargs={"sockets": [socket_]})
        thread.start()
        try:
            yield CallerStreams(socket_.getsockname()[1], one)
        finally:
            app.state.services.streams.close()
            one.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def one(engine: Engine, spoken_digits: Path) -> Iterator[CallerStreams]:
    with listening(engine, spoken_digits) as found:
        yield found


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the server check its connections often and wait only briefly."""
    monkeypatch.setattr(server, "TICKS", 1)
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "UNREAD_SECONDS"):
        monkeypatch.setattr(connection, name, 0.2)


LARGE = {
    "many headers": (HEAD, b"".join(b"a%07d: b\r\n" % n for n in range(5000))),
    "one header": (HEAD + b"a: ", b"b" * 60_000),
    "one header's name": (HEAD, b"b" * 60_000),
    "an address": (b"GET /", b"b" * 60_000),
    "lines before the first": (b"", b"\r\n" * 30_000),
    "headers after a body": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n",
        b"a: bbbb\r\n" * 8000,
    ),
}


@pytest.mark.parametrize(("begin", "more"), LARGE.values(), ids=LARGE.keys())
def test_a_head_without_an_end_takes_no_memory(one: CallerStreams, begin: bytes, more: bytes) -> None:
    process, peak, sent = psutil.Process(), 0, 0
    before = process.memory_info().rss
    with one.open(begin) as client:
        with suppress(ConnectionError):
            while sent < 60 * 2**20:
                client.sendall(more)
                sent += len(more)
                peak = max(peak, process.memory_info().rss)
        said = heard(client)
    assert sent < 20 * 2**20
    assert peak - before < 20e6  # 700 MB without a limit
    assert not said or problem(said) == (431, "head-too-large")


@pytest.mark.parametrize(
    "head", [HEAD + b"a: " + b"b" * MAX_HEAD_BYTES, HEAD + b"a: b\r\n" * MAX_HEADERS, b"GET /" + b"b" * MAX_HEAD_BYTES]
)  # fmt: skip
def test_a_head_that_is_too_large_is_told(one: CallerStreams, head: bytes) -> None:
    assert problem(one.ask(head, b"\r\n\r\n")) == (431, "head-too-large")


def test_what_is_not_http_is_told(one: CallerStreams) -> None:
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\na\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
        assert problem(one.ask(sent)) == (400, "not-http")


def test_a_request_in_pieces_and_requests_in_one(one: CallerStreams) -> None:
    last = HEAD + b"Connection: close\r\n\r\n"
    assert one.ask(*(last[n : n + 1] for n in range(len(last)))).startswith(b"HTTP/1.1 200 OK")
    headers = b"".join(b"a%d: %b\r\n" % (n, b"b" * 250) for n in range(90))
    assert one.ask(HEAD + headers + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
    assert one.ask((HEAD + b"\r\n") * 5 + last).count(b"HTTP/1.1 200 OK") == 6
    body = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES + b" " * MAX_BODY_BYTES
    assert one.ask(*(body[n : n + 50_000] for n in range(0, len(body), 50_000))).startswith(b"HTTP/1.1 422")
    assert one.ask((HEAD + b"\r\n") * 500 + last).count(b"HTTP/1.1 200 OK") < 500  # more than may wait


def test_a_body_without_an_end_is_cut_off(one: CallerStreams) -> None:
    with one.open(POST + b"Transfer-Encoding: chunked\r\n\r\n") as client:
        sent, piece = 0, b"10000\r\n" + b" " * 65536 + b"\r\n"
        with suppress(ConnectionError):
            while sent < 100 * 2**20:
                client.sendall(piece)
                sent += len(piece)
    assert sent < 40 * 2**20


LATE = {
    "silence": (b"", None),
    "half a head": (HEAD, (408, "too-slow")),
    "half a body": (POST + b"Content-Length: 10\r\n\r\n{", (408, "too-slow")),
    "empty lines": (b"\r\n", None),
}


@pytest.mark.parametrize(("sent", "told"), LATE.values(), ids=LATE.keys())
@pytest.mark.usefixtures("hurried")
def test_who_is_too_slow_is_told_and_left(
    one: CallerStreams, sent: bytes, told: tuple[int, str] | None
) -> None:
    for before in (b"", HEAD + b"\r\n"):
        said = one.ask(before + sent)
        if before:
            said = said.removeprefix(said[: said.index(b"ok") + 2])
        assert (problem(said) if said else None) == told


@pytest.mark.usefixtures("hurried")
def test_who_does_not_read_is_left(one: CallerStreams) -> None:
    with one.open() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plotly = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with suppress(OSError):
            for _ in range(400):
                client.sendall(plotly)
                time.sleep(0.005)
        one.until(0)


def test_who_waits_gives_way_and_who_asks_stays(engine: Engine, spoken_digits: Path) -> None:
    store = Store(engine)
    study = store.create_study(spec("crowd"), {}).id
    stream = b"GET /v1/studies/%b/events HTTP/1.1\r\nHost: localhost\r\n\r\n" % study.encode()
    with listening(engine, spoken_digits, limit=6) as one, ExitStack() as stack:
        busy = [stack.enter_context(one.open(stream)) for _ in range(3)]
        assert all(client.recv(100).startswith(b"HTTP/1.1 200 OK") for client in busy)
        silent = [stack.enter_context(one.open()) for _ in range(50)]
        assert one.ask(HEAD + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
        assert all(heard(client) == b"" for client in silent[:40])  # closed, and no other connection was
        one.until(5)
        busy += [stack.enter_context(one.open(stream)) for _ in range(3)]
        assert all(client.recv(100).startswith(b"HTTP/1.1 200 OK") for client in busy[3:])
        one.until(6)
        refused = one.ask(HEAD + b"\r\n")
        assert problem(refused) == (503, "too-busy")
        assert b"retry-after" in refused


def test_one_client_does_not_take_all_connections(
    engine: Engine, spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")  # else this machine would be a proxy
    with listening(engine, spoken_digits, limit=40) as one, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(one.open())
        assert one.ask(HEAD + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
        one.until(9)


def test_there_is_a_descriptor_for_every_connection() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] >= 4000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
        assert connection_limit(2000, 1000) == 2000
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 3000 + SPARE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_nothing_is_done_for_who_has_left(one: CallerStreams, monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads are busy. Requests that wait for one are dropped if their clients leave."""
    reached, go_on, entered = [], threading.Event(), threading.Semaphore(0)

    def slow(content: bytes) -> None:
        reached.append(json.loads(content)["name"])
        entered.release()
        assert go_on.wait(20)
        raise Refused("invalid-request", "no")

    monkeypatch.setattr("service.api.routes.studies.read", slow)

    def post(name: str) -> socket.socket:
        content = json.dumps({"name": name}).encode()
        return one.open(POST + b"Content-Length: %d\r\n\r\n%b" % (len(content), content))

    with ExitStack() as stack:
        busy = [stack.enter_context(post("busy")) for _ in range(40)]
        for _ in busy:
            assert entered.acquire(timeout=20)
        impatient = [post("impatient") for _ in range(20)]
        one.until(60)
        stays = stack.enter_context(post("stays"))
        one.until(61)
        for client in impatient:
            client.close()
        one.until(41)
        go_on.set()
        assert all(client.recv(12) == b"HTTP/1.1 422" for client in [*busy, stays])
    assert reached == ["busy"] * 40 + ["stays"]


def test_bodies_that_would_fill_the_memory_are_refused(
    one: CallerStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.middleware.MAX_BODIES_BYTES", 100_000)
    half = POST + b"Connection: close\r\nContent-Length: 60000\r\n\r\n" + b" " * 59_999
    with one.open(half) as this, one.open(half) as that:
        (refused,), _, _ = select.select([this, that], [], [], 10)  # the one that was read last
        assert problem(heard(refused))[1] == "too-busy"
        other = this if refused is that else that
        other.sendall(b" ")
        assert heard(other).startswith(b"HTTP/1.1 422")
        assert one.ask(half, b" ").startswith(b"HTTP/1.1 422")
