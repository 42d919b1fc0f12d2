"""The outermost middleware: request ids, limits on bodies, security headers, metrics, and an answer to any error."""

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import refusal
from service.api.prometheus import Metrics

MAX_BODY_BYTES = 2**20
MAX_BODIES_BYTES = 64 * 2**20  # of all requests that are being answered
SAFE = ("GET", "HEAD", "OPTIONS")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = logging.getLogger("tunebench.http")


class RequestMiddleware:
    """The outermost middleware, around the whole app. A route's own headers win over those of `HEADERS`."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self._bodies = _Bodies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, started = time.perf_counter(), False
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        only_head, method = scope["method"] == "HEAD", _method(scope)
        if only_head:
            scope = {**scope, "method": "GET"}  # HEAD works wherever GET does

        async def answer(message: Message) -> None:
            nonlocal started
            if started and only_head:
                return
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-ID"] = request_id
                seconds = time.perf_counter() - began
                self._metrics.answered(_route(scope), method, message["status"], seconds)
            await send(message)
            if only_head:
                await send({"type": "http.response.body"})  # so that a stream need not begin

        try:
            if _announced(scope) > MAX_BODY_BYTES:  # before any of it is read
                raise HTTPException(413)
            with self._bodies.limited(scope, receive) as limited:
                await self._app(scope, limited, answer)
        except HTTPException as error:
            await refusal(error).response(request_id)(scope, receive, answer)
        except ClientDisconnect:
            return
        except Exception as error:
            log.exception("%s: unexpected, in %s %s", request_id, method, _route(scope))
            if started:
                raise  # the server drops the connection, so that the client knows that the answer is incomplete
            await refusal(error).response(request_id)(scope, receive, answer)


class _Bodies:
    """The total size of the bodies of all requests that are being answered, in bytes."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def limited(self, scope: Scope, receive: Receive) -> Iterator[Receive]:
        """Wrap `receive` to raise HTTPException, which FastAPI passes on, if this body or all together are too large.

        A request with a safe method, which needs no body, may be answered already: it gets a disconnect instead.
        """
        needed, size = scope["method"] not in SAFE, 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            if message["type"] != "http.request":
                return message
            size += len(message.get("body", b""))
            self._held += len(message.get("body", b""))
            if size <= MAX_BODY_BYTES and self._held <= MAX_BODIES_BYTES:
                return message
            if not needed:
                return {"type": "http.disconnect"}
            raise HTTPException(413 if size > MAX_BODY_BYTES else 503)

        try:
            yield limited
        finally:
            self._held -= size


def _announced(scope: Scope) -> int:
    """Return the Content-Length, reading at most 20 digits; 0 if there is none."""
    text = Headers(scope=scope).get("content-length", "")[:20]
    return int(text) if text.isdecimal() else 0


def _route(scope: Scope) -> str:
    """Return the template of the matched route, like /v1/studies/{study}."""
    return getattr(scope.get("route"), "path_format", "other")


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"
