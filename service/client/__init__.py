"""The Python client of a service: `Client`, and `AsyncClient` with the same methods to be awaited."""

from service.client.awaiting import AsyncClient
from service.client.blocking import Client

__all__ = ["AsyncClient", "Client"]
