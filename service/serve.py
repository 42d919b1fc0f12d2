"""`tunebench serve`: upgrades the database, starts or joins Ray, runs the queue and answers HTTP."""

import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from service.api.analyses import Analysis
from service.api.app import create_app
from service.api.server import Server
from service.api.services import Services
from service.api.stream import Streams
from service.cluster.head import ray_jobs
from service.cluster.queue import Queue
from service.database import tokens
from service.database.engine import connect, upgrade, url_of
from service.database.store import Store
from service.errors import SettingError
from service.settings import Settings

log = logging.getLogger("tunebench")


def serve(settings: Settings, host: str, port: int, option: str = "") -> None:
    """Serve until SIGINT or SIGTERM. Running studies continue on an external Ray; on our own they are queued again.

    Raises SettingError if `host` is not loopback and no API token was ever made, or if the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    engine = connect(settings.database_url)
    upgrade(engine)
    if not _is_loopback(host) and not tokens.any_created(engine):
        raise SettingError(
            f"--host {host} can be reached from other machines, which requires an API token; create one: "
            f"tunebench token create NAME --scope admin{option}"
        )
    store = Store(engine)
    with (
        _until_told_to_stop(),
        _listening(host, port) as listening,
        ray_jobs(settings, _for_jobs(settings, url_of(engine))) as jobs,
        Queue(store, jobs, settings.max_running_studies) as queue,
        closing(Analysis(store)) as analysis,
    ):
        streams = Streams(store, settings.max_streams)
        services = Services(settings, store, jobs, analysis, streams, queue.wake)
        log.info("serving %s", _address(listening))
        Server(create_app(services), streams).run(sockets=[listening])
    engine.dispose()


class _StopSignal(BaseException):
    """A signal to stop."""


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """Let SIGTERM and SIGINT unwind the stack, which stops our Ray. Uvicorn raises them again after its shutdown."""

    def unwind(signum: int, frame: FrameType | None) -> None:
        raise _StopSignal

    before = {kind: signal.signal(kind, unwind) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _StopSignal:
        log.info("stopped")
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _for_jobs(settings: Settings, database_url: str) -> dict[str, str]:
    """Return the environment of studies' drivers: where the database, the data and this package are."""
    return {
        "TUNEBENCH_DATABASE_URL": database_url,
        "TUNEBENCH_DATA_DIR": str(settings.data_dir),
        # so that drivers find this package even if it is not installed
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")])
        ),
    }


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listen before Ray starts, so that a taken port is reported at once and early clients wait."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # without the protocol's number asyncio leaves Nagle's algorithm on, and an answer takes 40 ms more
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"cannot listen on {host} port {port}: {reason}") from error
    with listening:
        yield listening
