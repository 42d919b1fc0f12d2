"""The app over a store, with all the parts that `tunebench serve` gives it, and a client for it."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.analyses import Analysis
from service.api.app import create_app
from service.api.services import Services
from service.api.stream import Streams
from service.cluster.jobs import Jobs
from service.database import tokens
from service.database.store import Store
from service.database.tokens import Scope
from service.settings import Settings

ADDRESS = "http://127.0.0.1:8000"


@contextmanager
def serving(store: Store, data_dir: Path, **settings: Any) -> Iterator[FastAPI]:
    """Yield the app. No Ray cluster answers, so queued studies stay queued. `app.state.woken` counts calls of `wake`.

    One event loop answers all clients, as in a server: a loop for each request takes a third longer.
    """
    configured: dict[str, Any] = {"database_url": str(store.engine.url), "data_dir": data_dir} | settings
    woken: list[None] = []
    jobs = Jobs(f"http://127.0.0.1:{_closed_port()}", token=None)
    analysis = Analysis(store)
    chosen = Settings(**configured)
    streams = Streams(store, chosen.max_streams)
    app = create_app(Services(chosen, store, jobs, analysis, streams, lambda: woken.append(None)))
    app.state.woken = woken
    try:
        with start_blocking_portal() as app.state.portal:
            yield app
    finally:
        jobs.close()
        analysis.close()


def client_of(app: FastAPI, token: str | None = None, **headers: str) -> TestClient:
    """Return a client on this machine, with or without a token. The app's errors are answers, as over the network."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    client = TestClient(
        app,
        base_url=ADDRESS,
        headers=headers,
        client=("127.0.0.1", 50000),
        raise_server_exceptions=False,
        follow_redirects=False,
    )
    client.portal = app.state.portal
    return client


def location(answer: httpx.Response) -> str:
    """Return the address that an answer leads to."""
    return str(answer.url.join(answer.headers["location"]))


def token_of(app: FastAPI, scope: Scope, name: str | None = None) -> str:
    """Create a token and return it."""
    return tokens.create(app.state.services.store.engine, name or str(scope), scope)


def await_port(port: int, process: "subprocess.Popen[bytes]", said: Callable[[], object]) -> None:
    """Wait until the process listens at the port; fail with what it `said` if it has ended."""
    end = time.monotonic() + 20
    while True:
        assert process.poll() is None, said()
        assert time.monotonic() < end
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


def _closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
