"""The routes, one file per resource, and what they share."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Annotated, ParamSpec

from anyio.lowlevel import RunVar
from fastapi import Depends, Path
from pydantic import AfterValidator, BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api.auth import Caller, authenticated
from service.api.services import Services, services
from service.database.engine import LOCK_SECONDS
from service.errors import DatabaseUnavailable, StudyUnknown

# Concurrent requests that write: there are 40 threads, and SQLite takes one writer at a time. The others wait without
# a thread or a connection, so that readers never wait for them.
WRITERS = 8
_writers = RunVar[asyncio.Semaphore]("writers")  # one per event loop

Given = ParamSpec("Given")

STUDY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


def _is_an_id(text: str) -> str:
    if not STUDY_ID.fullmatch(text):  # a URL can hold text that no database accepts
        raise StudyUnknown(f"no study {text!r:.100}")
    return text


Shared = Annotated[Services, Depends(services)]
AuthenticatedCaller = Annotated[Caller, Depends(authenticated)]
StudyId = Annotated[
    str,
    Path(description="The study's id.", examples=["figure8-spoken-digits-0a1b2c3d"]),
    AfterValidator(_is_an_id),
]


def writes(route: Callable[Given, Response]) -> Callable[Given, Awaitable[Response]]:
    """Run the route in a thread when its turn comes. It raises DatabaseUnavailable after `LOCK_SECONDS` of waiting."""

    @wraps(route)
    async def in_turn(*args: Given.args, **kwargs: Given.kwargs) -> Response:
        writers = _writers.get(None) or asyncio.Semaphore(WRITERS)
        _writers.set(writers)
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await writers.acquire()
        except TimeoutError as error:
            fault = "was locked by other requests for too long; try again later"
            raise DatabaseUnavailable(f"the database {fault}", fault) from error
        try:
            return await run_in_threadpool(route, *args, **kwargs)
        finally:
            writers.release()

    return in_turn


def json(content: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `content` as a response, serialized in the route's thread, not the event loop, and not validated twice."""
    return Response(content.model_dump_json(), status, headers, "application/json")
