"""The objects that routes share. `tunebench serve` makes them once, passes them to the app and closes them."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from service.api.analyses import Analysis
from service.api.stream import Streams
from service.cluster.jobs import Jobs
from service.database.store import Store
from service.settings import Settings


@dataclass(frozen=True)
class Services:
    """The objects that routes share. `wake` tells the queue that there is work; any thread may call it."""

    settings: Settings
    store: Store
    jobs: Jobs
    analysis: Analysis
    streams: Streams
    wake: Callable[[], None]


async def services(request: Request) -> Services:  # async: a plain function would take a thread each time
    """Return the app's services; a FastAPI dependency."""
    found: Services = request.app.state.services
    return found
