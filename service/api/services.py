"""What the routes share: made once by `tunebench serve`, handed to the app, closed with it."""

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
    """`wake` tells the queue that there is something to do; it may be called from any thread."""

    settings: Settings
    store: Store
    jobs: Jobs
    analysis: Analysis
    streams: Streams
    wake: Callable[[], None]


async def services(request: Request) -> Services:  # async: one that is not would take a thread each time
    """The services of the app that the request came to; a FastAPI dependency."""
    found: Services = request.app.state.services
    return found
