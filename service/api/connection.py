"""A client's connection, with limits on the size and duration of requests and on the number of connections.

The HTTP parser has no such limits. Without them, a client without a token could exhaust memory or file descriptors:
see docs/decisions/0018.
"""

import asyncio
import secrets
from typing import Any, Literal

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.api.connection_limits import ConnectionGroup
from service.api.middleware import HEADERS
from service.api.problems import Refused

MAX_HEAD_BYTES, MAX_HEADERS = 32 * 1024, 100  # of a request's first line and headers, or of its trailers
MAX_MESSAGE_BYTES = 16 * 2**20  # of a body with its framing, even if it is refused and not read
MAX_PIPELINED = 8  # waiting requests of one connection
HEAD_SECONDS, BODY_SECONDS = 10.0, 60.0  # for the whole of each
UNREAD_SECONDS = 60.0  # how long a client may read nothing of its answer


class ConnectionLimits(ServerState):
    """The limit on a server's connections, and on each client's: a quarter of it, except for a trusted proxy."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.all_connections: ConnectionGroup[Connection] = ConnectionGroup(limit)
        self._clients: dict[str, ConnectionGroup[Connection]] = {}

    def of_client(self, client: str) -> ConnectionGroup["Connection"]:
        if len(self._clients) > self.all_connections.limit:
            self._clients = {name: group for name, group in self._clients.items() if len(group)}
        return self._clients.setdefault(client, ConnectionGroup(max(1, self.all_connections.limit // 4)))


class Connection(HttpToolsProtocol):
    """A connection that is refused beyond the limits, and closed if its client is too slow."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(server_state, ConnectionLimits)
        self._state = server_state
        self._groups: list[ConnectionGroup[Connection]] = [server_state.all_connections]
        self._refusal: Refused | None = None
        self._answering: asyncio.Task[Any] | None = None
        self._stage: Literal["head", "body", "answer"] = "head"
        self._begun = False  # part of the request has arrived
        self._received = 0  # bytes of this stage, without the chunk in which it began
        self._head_bytes = self._headers = 0
        self._until = 0.0  # the deadline of this stage
        self._unsent, self._unsent_since = 0, 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None and not self._is_trusted(self.client[0]):
            self._groups.append(self._state.of_client(self.client[0]))
        for group in self._groups:
            if len(group) >= group.limit:
                self._make_room(group)
            group.mark_idle(self)
        self._until = self.loop.time() + HEAD_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        for group in self._groups:
            group.remove(self)
        super().connection_lost(exc)
        if self._answering is not None:
            self._answering.cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Run the app only while its client is connected: skip or cancel it after a disconnect."""

        async def attended(*asked: Any) -> None:
            if cycle.disconnected:
                return
            self._answering = asyncio.current_task()
            try:
                await app(*asked)
            except asyncio.CancelledError:
                if not cycle.disconnected:
                    raise
            finally:
                self._answering = None

        super()._start_asgi_task(cycle, attended)

    def _is_trusted(self, client: str) -> bool:
        return isinstance(self.app, ProxyHeadersMiddleware) and client in self.app.trusted_hosts

    def _make_room(self, group: ConnectionGroup["Connection"]) -> None:
        if (idle := group.longest_idle) is not None:
            idle.end()
        else:  # refused at its first request: earlier, it would not read the answer
            detail = f"{len(group)} connections are open, the most allowed at once"
            self._refusal = Refused("too-busy", detail, headers={"Retry-After": "5"})

    def end(self) -> None:
        """Close the connection and stop counting it."""
        for group in self._groups:
            group.remove(self)
        self.transport.close()

    def look(self, now: float) -> None:
        """Close the connection if its client is too slow at time `now`."""
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > UNREAD_SECONDS:
            self.transport.abort()
            return
        if self.flow.read_paused:  # the client waits for us
            self._until = max(self._until, now + HEAD_SECONDS)
        elif self._stage != "answer" and now > self._until:
            if self._begun:
                self._refuse(Refused("too-slow", f"the {self._stage} of the request did not arrive in time"))
            self.end()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            if self._refusal is not None:
                raise HttpParserError
            self._received += len(data)
            self.parser.feed_data(data)
            self._limit()
        except HttpParserError:
            self._refuse(self._refusal or Refused("not-http"))
            self.end()
        except HttpParserUpgrade:  # to an unsupported protocol: the request itself is answered
            return

    def _limit(self) -> None:
        """Limit bytes that the parser has not reported yet, like half a header. Raises HttpParserError."""
        if self._stage == "head" and self._received > MAX_HEAD_BYTES:
            self._too_large_head()
        if self._received > MAX_MESSAGE_BYTES:
            self._refusal = Refused("too-large", "a body may have at most 1 MiB")
            raise HttpParserError

    def _too_large_head(self) -> None:
        detail = f"the first line and the headers may have at most {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers"
        self._refusal = Refused("head-too-large", detail)
        raise HttpParserError

    def _add_to_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or self._headers > MAX_HEADERS:
            self._too_large_head()

    # the parser's callbacks: it turns what they raise into an HttpParserError

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            raise HttpParserError
        super().on_message_begin()
        self._stage, self._until = "head", self.loop.time() + HEAD_SECONDS
        self._begun, self._received, self._head_bytes, self._headers = True, 0, 0, 0

    def on_url(self, url: bytes) -> None:
        self._add_to_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        self._add_to_head(len(name) + len(value) + 4)
        if self._stage == "head":  # trailers, after the body, are ignored
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._stage, self._until = "body", self.loop.time() + BODY_SECONDS
        self._received = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        for group in self._groups:
            group.mark_busy(self)
        self._stage = "answer"
        if self.cycle.response_complete:
            self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._stage == "answer" and self.cycle.response_complete:
            self._wait()

    def _wait(self) -> None:
        """Wait for the next request."""
        for group in self._groups:
            group.mark_idle(self)
        self._stage, self._until = "head", self.loop.time() + HEAD_SECONDS
        self._begun, self._received = False, 0

    def _refuse(self, refused: Refused) -> None:
        """Answer with a refusal, without the app; do nothing while another answer is being sent."""
        if self.transport.is_closing():
            return
        answered = self.cycle is None or self.cycle.response_complete
        unheard = self._stage == "body" and not (self.cycle.response_started or self.pipeline)
        if not (answered or unheard):
            return
        answer = refused.response(secrets.token_hex(8))
        known = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
        lines = (
            dict(self._state.default_headers) | known | dict(answer.raw_headers) | {b"connection": b"close"}
        )
        head = b"".join(b"%b: %b\r\n" % line for line in lines.items())
        self.transport.write(STATUS_LINE[answer.status_code] + head + b"\r\n" + bytes(answer.body))
