"""Requests to a service with retries, over httpx, blocking or asynchronous."""

import random
import time
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol, TypeVar

import anyio
import httpx
from pydantic import BaseModel, ValidationError

from service.client.errors import NotFound, Unavailable, not_a_service, refused, unreachable

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Params = Mapping[str, str | int | bool | Sequence[str] | None]
JSON = {"Content-Type": "application/json"}
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts, doubling
CONNECT_SECONDS = 5.0
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


class Transport(Protocol):
    """One interface for blocking and asynchronous httpx."""

    @property
    def http(self) -> httpx.Client | httpx.AsyncClient: ...

    async def send(self, request: httpx.Request) -> httpx.Response: ...  # the response's body is not read yet

    async def read(self, response: httpx.Response) -> None: ...

    def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]: ...

    async def close(self, response: httpx.Response | None = None) -> None: ...  # None: everything

    async def sleep(self, seconds: float) -> None: ...


class AsyncTransport:
    def __init__(self, **options: Any) -> None:
        self.http = httpx.AsyncClient(**options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self.http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> None:
        await response.aread()

    async def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        async for chunk in response.aiter_bytes():
            yield chunk

    async def close(self, response: httpx.Response | None = None) -> None:
        await (self.http.aclose() if response is None else response.aclose())

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class BlockingTransport:
    """`AsyncTransport` for blocking code. Its coroutines never suspend: `result` and `items` run them."""

    def __init__(self, **options: Any) -> None:
        self.http = httpx.Client(**options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return self.http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> None:
        response.read()

    async def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        for chunk in response.iter_bytes():
            yield chunk

    async def close(self, response: httpx.Response | None = None) -> None:
        (self.http if response is None else response).close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine over a `BlockingTransport` transport and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    coroutine.close()
    raise RuntimeError("a coroutine over a blocking transport has waited for something else")


def items(generator: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Run an asynchronous generator over a `BlockingTransport` transport and yield its items."""
    try:
        while True:
            try:
                item = result(generator.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        result(generator.aclose())


class RetrySchedule:
    """A schedule of retries over `seconds`: pauses that double, with jitter, after any that the service asks for."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._pause = FIRST_PAUSE

    @property
    def left(self) -> float:
        return max(self._end - time.monotonic(), 0.0)

    def pause(self, error: Unavailable) -> float:
        """Return the seconds until the next attempt; the last one is at the end. Raises the error if it is too late."""
        left, asked_for = self.left, error.retry_after or 0.0
        if asked_for >= left:
            raise error
        pause = asked_for + random.uniform(self._pause / 2, self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return min(pause, left)


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a service: an HTTP method, a path below its URL, and what goes with them."""

    method: str
    path: str
    _: KW_ONLY
    params: Params = field(default_factory=dict)  # None values are left out
    content: bytes | None = None  # JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Caller:
    """The sender of a client's calls. Each may be sent twice: calls that change anything are idempotent or keyed."""

    def __init__(
        self, url: httpx.URL, transport: Transport, seconds: float, proxy: httpx.Proxy | None = None
    ) -> None:
        self.url, self.transport, self.seconds = url, transport, seconds
        self._by = f" through the proxy {proxy.url}" if proxy else ""  # without its password

    async def ask(self, call: Call) -> bytes:
        """Return the content of the answer. Raises ApiError: for a transient failure, after `seconds` of retries."""
        patience, perhaps_done = RetrySchedule(self.seconds), False
        while True:
            try:
                async with aclosing(self.stream(call, silence=max(patience.left, 1.0))) as chunks:
                    return b"".join([chunk async for chunk in chunks])
            except NotFound:
                if call.method == "DELETE" and perhaps_done:
                    return b""
                raise
            except Unavailable as error:
                perhaps_done |= not isinstance(error.__cause__, NOT_SENT)
                pause = patience.pause(error)
            await self.transport.sleep(pause)

    async def stream(self, call: Call, *, silence: float | None) -> AsyncGenerator[bytes, None]:
        """Yield the content as it arrives, without retries. Raises ApiError, also after `silence` silent seconds."""
        request = self.transport.http.build_request(
            call.method,
            call.path,
            params={name: _sendable(value) for name, value in call.params.items() if value is not None},
            content=call.content,
            headers={**call.headers, **({} if call.content is None else JSON)},
            timeout=httpx.Timeout(silence, connect=CONNECT_SECONDS),
        )
        try:
            response = await self.transport.send(request)
            async with aclosing(self._content(response)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except httpx.RequestError as error:
            raise unreachable(request.url, error, self._by) from error

    async def _content(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """Yield a response's content, then close the response. Raises ApiError if it is not a success."""
        try:
            if not response.is_success:
                await self.transport.read(response)
                raise refused(response)
            async with aclosing(self.transport.chunks(response)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await self.transport.close(response)

    def read(self, kind: type[M], content: bytes | str) -> M:
        """Return the model in an answer, without keys that only a newer service sends. Raises ApiError."""
        try:
            return kind.model_validate_json(content, extra="ignore")
        except ValidationError as error:
            raise not_a_service(self.url) from error


def _sendable(value: str | int | bool | Sequence[str]) -> Any:
    """Return the value for a URL. Half a surrogate pair, possible in a file's name, becomes "?", which is refused."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case int():
            return value
        case _:
            return [_sendable(text) for text in value]
