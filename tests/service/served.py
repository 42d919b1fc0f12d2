"""The service as a process that can be killed, always on the same port."""

import socket
import time
from pathlib import Path
from typing import Any

from serving import serving
from writers import processes

from service.api.server import Server
from service.database.engine import connect
from service.database.store import Store


def _serve(url: str, data_dir: Path, listening: socket.socket) -> None:
    with serving(Store(connect(url)), data_dir) as app:
        Server(app, app.state.services.streams).run(sockets=[listening])


class Served:
    """Serves a database once it is started. There is no Ray cluster, so queued studies stay queued."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self._port = found.getsockname()[1]
        self.database_url, self._data_dir = database_url, data_dir
        self._process: Any = None
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "Served":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        pid: int = self._process.pid
        return pid

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", self._port), backlog=100) as listening:
            arguments = (self.database_url, self._data_dir, listening)
            self._process = processes.Process(target=_serve, args=arguments)
            self._process.start()
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while True:
            assert self._process.is_alive()
            assert time.monotonic() < end
            try:
                with socket.create_connection(("127.0.0.1", self._port), 1) as asking:
                    asking.settimeout(30)
                    asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if asking.recv(12) == b"HTTP/1.1 200":
                        return
            except OSError:
                time.sleep(0.05)

    def kill(self) -> None:
        """Kill the service, as kill -9 does."""
        assert self._process.is_alive()
        self._process.kill()
        self._process.join()
