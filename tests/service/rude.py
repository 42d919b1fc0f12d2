"""A server on raw sockets that answers as it is told: badly, in part, late or not at all."""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Answer = Callable[[socket.socket], None]
TIME = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).isoformat()


@dataclass(frozen=True)
class Asked:
    """A request as it was received."""

    line: str
    headers: dict[str, str]
    body: bytes


class Rude:
    """A server that gives the first request the first answer, and so on, each on its own connection."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[Asked] = []
        self._answers = list(answers)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> "Rude":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # all answers are given
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        for answer in self._answers:
            self._socket.settimeout(20)
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(20)
                self.asked.append(_request(connection))
                answer(connection)
        self._socket.close()  # from now on nobody answers


def _request(connection: socket.socket) -> Asked:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Asked(line, headers, body)


def answer(status: int, content: Any = b"", **headers: str) -> Answer:
    """Return a whole answer, after which the connection is closed."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in ({"Content-Length": str(len(body))} | named).items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "Connection: close", "", ""])
    return lambda connection: connection.sendall(head.encode() + body)


def problem(status: int, detail: str = "no", faults: Any = (), **headers: str) -> Answer:
    content = {"type": "/problems/x", "title": "X", "status": status, "detail": detail, "faults": faults}
    return answer(status, content, Content_Type="application/problem+json", **headers)


def drop(connection: socket.socket) -> None:
    """Give no answer."""


def hang(seconds: float) -> Answer:
    """Return an answer that sends nothing: it waits for some seconds, or until the client leaves."""

    def wait(connection: socket.socket) -> None:
        connection.settimeout(seconds)
        try:
            connection.recv(1)
        except TimeoutError:
            return

    return wait


def stream(*pieces: bytes, then: Answer = drop) -> Answer:
    """Return an event stream in these pieces, which then breaks off, perhaps in the middle of an event."""

    def send(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for piece in pieces:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        then(connection)

    return send


def event(number: int, kind: str = "edit", end: str = "\n", **data: Any) -> bytes:
    """Return an event as the service sends it."""
    content = {"number": number, "time": TIME, "actor": "local", "kind": kind, "data": data}
    lines = [f"id: {number}", f"event: {kind}", f"data: {json.dumps(content, ensure_ascii=False)}", "", ""]
    return end.join(lines).encode()


def study(state: str = "queued", **changes: Any) -> dict[str, Any]:
    """Return a study as the service shows it."""
    return {
        "id": "s-00000000",
        "name": "s",
        "state": state,
        "requested": None,
        "task": "spoken-digits",
        "proxy": {},
        "start": None,
        "task_label": "spoken-digits",
        "arms": ["gradient-filter"],
        "searcher": "ax",
        "runs": 1,
        "budget": 3,
        "trials": {"completed": 0, "diverged": 0, "failed": 0, "planned": 3, "taken_over": 0},
        "labels": [],
        "priority": 0,
        "submitted_by": "local",
        "created_at": TIME,
        "started_at": None,
        "finished_at": None,
        "not_before": None,
        "attempts": 0,
        "error": None,
        "trouble": None,
        "job": None,
        "last_event": 1,
        "direction": "maximize",
        "metric": "accuracy",
        "spec": {},
        "provenance": {},
        "incumbents": {},
        "split_seeds": [],
        "dashboard": None,
    } | changes
