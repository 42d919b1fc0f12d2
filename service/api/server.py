"""The HTTP server: uvicorn, with the limits that it lacks."""

import asyncio
import gc
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.api.connection import Connection, ConnectionLimits
from service.api.connection_limits import connection_limit
from service.api.stream import Streams

CLOSE_SECONDS = 5  # how long requests that are being answered may take to end
OTHERS = 1_000  # connections besides streams
TICKS = 10  # of uvicorn between two checks of the connections: one second


class Server(uvicorn.Server):
    """A server of the app. It ends open event streams when it is told to stop; uvicorn would wait for them."""

    def __init__(self, app: FastAPI, streams: Streams, close_seconds: int = CLOSE_SECONDS) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=close_seconds,
        )
        super().__init__(config)
        # a followed log also takes a connection to Ray
        self._limits = ConnectionLimits(connection_limit(streams.limit + OTHERS, streams.limit))
        self.server_state = self._limits
        self._streams = streams

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        gc.collect()
        gc.freeze()  # these objects stay: scanning them again would stop all requests for 70 ms
        super().run(sockets)

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self._limits.connections):
                if isinstance(connection, Connection):
                    connection.look(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._streams.close()
        super().handle_exit(sig, frame)
