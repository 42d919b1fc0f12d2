"""Hand-made requests: every address with every method, and with one odd thing at a time. None is answered by 500."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from serving import client_of
from writers import spec, trial

from service.database.lease import Lease
from service.database.store import Store
from studies.records import StudyState

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO", "get", "")
NUMBERS = [
    "",
    "0",
    "-1",
    "1.5",
    "1e400",
    "nan",
    "9" * 400,
    "2147483648",
    "9223372036854775807",
    "٣",
    " 1",
    "1_0",
]
TEXTS = [
    "",
    "x",
    "\0",
    "\ud800",
    "\ufffd",
    "é",
    "a" * 5000,
    "'; --",
    "../..",
    "[]",
    "{{7*7}}",
    "\r\nX: y",
    "%00",
]
TIMES = [
    *(
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
    ),
    *("2026-01-01T00:00:00+23:59", "2026-01-01", "infinity", 1e18, -62135596800, 253402300800, "nan", None),
]
WHOLES = [0, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**400, -1, 1e308, 1.0, True, "1", None]
FLOATS = [0, -0.0, 5e-324, 1e308, "inf", "-inf", "nan", "1", 10**400, None]
NAMES = ["a", "", "A", "\0", "a" * 64, "a-", "'", None, 1]
SORTS = ("objective", "test_metric", "train_seconds", "suggest_seconds")
HEADERS: dict[str, list[bytes]] = {
    "authorization": [b"", b"Bearer", b"Bearer \xff", b"Basic Og==", b"bearer  x", b"Bearer " + b"a" * 9000],
    "cookie": [b"tunebench", b"tunebench=\xff", b'tunebench="\\777"', b"tunebench=" + b"a" * 9000, b"=;=;;"],
    "host": [
        b"",
        b"\xff",
        b"[",
        b"]",
        b"[::1",
        b"a:b:c",
        b"localhost:99999999",
        b"localhost:x",
        b"a b",
        b"a/b?c#d",
    ],
    "origin": [b"", b"null", b"\xff", b"http://[", b"http://localhost"],
    "sec-fetch-site": [b"", b"cross-site", b"\xff"],
    "accept": [b"text/html", b"", b"\xff", b"*/*;q=x"],
    "accept-encoding": [b"gzip", b"gzip;q=0", b"\xff", b"br"],
    "content-type": [b"", b"\xff", b"application/json; charset=\xff", b"multipart/form-data", b"a" * 5000],
    "content-length": [b"", b"-1", b"\xb2", b"9" * 5000, b"1, 1", b"0x1"],
    "if-none-match": [b"*", b"", b"\xff", b'W/"', b"," * 5000],
    "last-event-id": [b"", b"-1", b"x", b"9" * 400, b"9007199254740992", b"\xb2"],
    "idempotency-key": [b"", b"\xff", b"a" * 500, b"k"],
    "x-forwarded-prefix": [b"/tb", b"\xff", b"//x", b"/%00", b"javascript:", b"/" + b"a" * 9000],
    "range": [b"bytes=0-0", b"bytes=5-1", b"\xff"],
    "transfer-encoding": [b"chunked", b"\xff"],
}
BODIES = [
    b"",
    b"{}",
    b"null",
    b"[]",
    b"\xff",
    b"{",
    json.dumps({"priority": 10**400}).encode(),
    b"token=%ff&next=%00",
]


class Request(NamedTuple):
    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()
    body: bytes = b""


async def answer(app: FastAPI, request: Request) -> tuple[int, bytes]:
    """Return the status and the body, of a stream only the beginning."""
    headers = {"host": b"127.0.0.1:8000", "content-type": b"application/json"} | dict(request.headers)
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "scheme": "http",
        "method": request.method, "path": request.path, "raw_path": quote(request.path, errors="replace").encode(),
        "query_string": request.query, "headers": [(name.encode(), value) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 8000), "root_path": "",
    }  # fmt: skip
    sent: list[dict[str, Any]] = []
    coming = [{"type": "http.request", "body": request.body, "more_body": False}]
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            answered.set()

    async with asyncio.timeout(30):
        await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def study(store: Store, lease: Lease) -> str:
    store.record(lease, trial(lease.study))
    store.create_study(spec("waiting"), {}, labels=["x"])
    return lease.study


def addresses(app: FastAPI, study: str) -> list[tuple[str, list[str]]]:
    """Return each address with its methods."""
    values = {
        "study": study,
        "trial": "gradient-filter-r01-t01",
        "kind": "svg",
        "table": "trials",
        "form": "csv",
    }
    found: dict[str, list[str]] = {}
    for route in iter_route_contexts(app.routes):
        path = route.path_format.replace("{path}", "x").format_map(values)
        found.setdefault(path, []).extend(route.methods or ())
    return sorted(found.items())


def cursors() -> Iterator[tuple[str, bytes]]:
    """Yield cursors of lists, each with one odd value."""

    def forged(order: str, *kinds: list[Any]) -> Iterator[bytes]:
        for place, odd in enumerate(kinds):
            for value in odd:
                values = [kind[0] for kind in kinds]
                values[place] = value
                content = json.dumps([order, *values]).encode()
                yield base64.urlsafe_b64encode(content).rstrip(b"=")
        yield base64.urlsafe_b64encode(json.dumps([order]).encode())

    times = ["2026-01-01T00:00:00Z", *TIMES]
    yield from (("studies", b"cursor=" + c) for c in forged("newest first", times, NAMES))
    for order in ("asc", "desc"):
        kinds: dict[str, list[list[Any]]] = {
            "number": [NAMES, WHOLES, WHOLES],
            "finished_at": [times, WHOLES],
        }
        for sort, places in (kinds | {key: [WHOLES, FLOATS, WHOLES] for key in SORTS}).items():
            query = f"sort={sort}&order={order}&cursor=".encode()
            yield from (("trials", query + c) for c in forged(f"{sort} {order}", *places))
    for text in (b"", b"=", b"====", b"a", b"%00", b"%ff", b"bnVsbA", b"W10", b"W1tdXQ", b"-_-_", b"A" * 500):
        yield from ((where, b"cursor=" + text) for where in ("studies", "trials"))


def of_the_database(app: FastAPI, study: str) -> Iterator[Request]:
    """Yield requests that lead to a query of the database."""
    document = client_of(app).get("/openapi.json").json()
    odd = [quote(text.encode(errors="surrogatepass")).encode() for text in [*NUMBERS, *TEXTS]]
    for path in ("/v1/studies", "/v1/studies/{study}/trials", "/v1/studies/{study}/events"):
        parameters = {found["name"] for found in document["paths"][path]["get"]["parameters"]}
        for name in sorted(parameters | {"x", "\0"}):
            yield from (
                Request("GET", path.format(study=study), quote(name).encode() + b"=" + value) for value in odd
            )
    lists = {"studies": "/v1/studies", "trials": f"/v1/studies/{study}/trials"}
    yield from (Request("GET", lists[where], query) for where, query in cursors())
    for path, _ in addresses(app, study):
        if study in path:
            yield from (
                Request("GET", path.replace(study, text)) for text in [*TEXTS, "a" * 80, "nothing-00000000"]
            )
        if "-r01-t01" in path:
            for text in ("r1-t1", "gradient-filter-r999999-t999999", "gradient-filter-r0-t0", *TEXTS):
                yield Request("GET", path.replace("gradient-filter-r01-t01", text))


def of_the_service(app: FastAPI, study: str) -> Iterator[Request]:
    """Yield requests with odd methods, headers, bodies and addresses, which are checked before the database."""
    headers = [(name, value) for name, values in HEADERS.items() for value in values]
    for path, methods in addresses(app, study):
        yield from (Request(method, path) for method in METHODS if method != "DELETE" or study not in path)
        yield from (Request(method, path, b"", (header,)) for method in methods[:1] for header in headers)
        yield from (
            Request(m, path, b"", (), body) for m in methods if m in ("POST", "PATCH") for body in BODIES
        )
    for path in (
        "/",
        "//",
        "/v1",
        "/v1/",
        "/static/",
        "/static/..%2f",
        "/static/\0",
        "/studies/",
        "*",
        "",
        "/\ud800",
    ):
        yield from (Request(method, path) for method in ("GET", "POST", "OPTIONS"))


@pytest.mark.slow
def test_no_request_gives_500(app: FastAPI, store: Store, study: str) -> None:
    made = list(of_the_database(app, study))
    if store.engine.dialect.name == "sqlite":
        made += of_the_service(app, study)
    assert len(made) > 1000

    async def main() -> None:
        together = asyncio.Semaphore(8)

        async def ask(request: Request) -> None:
            async with together:
                status, content = await answer(app, request)
            if status >= 500:  # there is no Ray
                assert status == 503, (request, content)
                assert request.method == "HEAD" or b"/problems/ray-unavailable" in content, (request, content)
            elif status >= 400 and request.path.startswith("/v1/") and content:
                assert json.loads(content)["status"] == status, request

        await asyncio.gather(*map(ask, made))

    asyncio.run(main())
    assert store.study_by_id(study).state is StudyState.RUNNING


def test_every_address_that_has_an_answer_has_its_head(app: FastAPI) -> None:
    client = client_of(app)
    study = app.state.services.store.create_study(spec(), {}).id
    pages = ["/", "/healthz", "/readyz", "/openapi.json", "/metrics", "/login", "/none", f"/studies/{study}"]
    lists = [
        "/v1/studies",
        f"/v1/studies/{study}",
        f"/v1/studies/{study}/trials",
        "/v1/studies/none-00000000",
    ]
    for path in pages + lists:
        head, get = client.head(path), client.get(path)
        assert head.content == b""
        assert (head.status_code, head.headers.get("content-type")) == (
            get.status_code,
            get.headers.get("content-type"),
        )
    stream = client.head(f"/v1/studies/{study}/events")  # a stream without an end
    assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert client.head(f"/v1/studies/{study}/pause").headers["allow"] == "POST"
    for method in ("POST", "DELETE", "FOO"):
        refused = client.request(method, "/openapi.json")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
