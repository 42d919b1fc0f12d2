"""The routes, one noun a file, and what they share."""

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
from service.errors import DatabaseAway, StudyUnknown

# Requests that write, at once: of 40 threads, and SQLite lets one at a time. The others wait and hold neither a thread
# nor a connection, so that whoever reads never waits for them.
WRITERS = 8
_writers = RunVar[asyncio.Semaphore]("writers")  # of an event loop

Given = ParamSpec("Given")

STUDY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


def _is_an_id(text: str) -> str:
    if not STUDY_ID.fullmatch(text):  # some of what a URL can hold, no database can be asked for
        raise StudyUnknown(f"no study {text!r:.100}")
    return text


Shared = Annotated[Services, Depends(services)]
Known = Annotated[Caller, Depends(authenticated)]
StudyId = Annotated[
    str,
    Path(description="The study's id.", examples=["figure8-spoken-digits-0a1b2c3d"]),
    AfterValidator(_is_an_id),
]


def writes(route: Callable[Given, Response]) -> Callable[Given, Awaitable[Response]]:
    """The route in a thread, once it is its turn. Raises DatabaseAway where that does not come."""

    @wraps(route)
    async def in_turn(*args: Given.args, **kwargs: Given.kwargs) -> Response:
        writers = _writers.get(None) or asyncio.Semaphore(WRITERS)
        _writers.set(writers)
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                await writers.acquire()
        except TimeoutError as error:
            fault = "was locked by others for too long; try again later"
            raise DatabaseAway(f"the database {fault}", fault) from error
        try:
            return await run_in_threadpool(route, *args, **kwargs)
        finally:
            writers.release()

    return in_turn


def json(content: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as an answer, written in the thread of the route instead of the event loop, and not checked twice."""
    return Response(content.model_dump_json(), status, headers, "application/json")
