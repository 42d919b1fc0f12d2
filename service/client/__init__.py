"""The Python client of a service: `Client`, and `AsyncClient` with the same methods, asynchronous."""

from service.client.awaiting import AsyncClient
from service.client.blocking import Client

__all__ = ["AsyncClient", "Client"]
