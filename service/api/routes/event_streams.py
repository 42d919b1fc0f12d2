"""Live updates of a study: its events and the log of its job."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from service.api.problems import problem_responses
from service.api.routes import AuthenticatedCaller, Shared, StudyId
from service.api.services import Services
from service.api.stream import CallerStreams
from service.errors import LogMissing, RayUnavailable, ServiceError
from studies.records import StudyRecord

router = APIRouter(prefix="/v1/studies/{study}", tags=["events"])
Number = Annotated[
    int | None, Query(ge=0, le=2**53, description="The number of the last event that the client has.")
]
LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID", ge=0, le=2**53, description="Like `after`, over which it takes precedence."
    ),
]
UNBUFFERED = {"X-Accel-Buffering": "no"}
EXAMPLE = """retry: 1000
id: 41

event: trial
data: {"number":42,"time":"2026-01-02T03:04:05Z","actor":"host:1234","kind":"trial","data":{"arm":"latent-sgd",\
"run":1,"trial":3,"state":"completed","objective":0.93}}
id: 42

: still here
"""
EVENT = {"contentMediaType": "application/json", "contentSchema": {"$ref": "#/components/schemas/Event"}}
SENT: dict[str, Any] = {  # one event of the stream, described as before OpenAPI 3.2
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"type": "string"},
        "data": {"type": "string", **EVENT},
    },
    "required": ["data"],
}
STREAM: dict[str, Any] = {
    "description": "Server-sent events: `id` is the event's number, `event` its kind, `data` the event as JSON. "
    "Comments show that the stream is alive. It opens with an `id` without an event, to reconnect with.",
    "content": {"text/event-stream": {"schema": SENT, "example": EXAMPLE}},
}


async def _slot(shared: Shared, caller: AuthenticatedCaller) -> AsyncIterator[CallerStreams]:
    with shared.streams.slot(caller.name) as mine:
        yield mine


async def _following(
    shared: Shared,
    caller: AuthenticatedCaller,
    follow: Annotated[bool, Query(description="Keep sending new lines until the job ends.")] = False,
) -> AsyncIterator[CallerStreams | None]:
    if not follow:
        yield None
        return
    with shared.streams.slot(caller.name) as mine:
        yield mine


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: STREAM, **problem_responses(401, 403, 404, 422, 503)},
)
async def events(
    shared: Shared,
    study: StudyId,
    mine: Annotated[CallerStreams, Depends(_slot)],
    last_event_id: LastEventId = None,
    after: Number = None,
) -> Response:
    """Stream every event after the given one, or from now on, once and in order.

    A stream ends when its study is deleted, its token is revoked or expires, or the service stops. It may be cut off at
    any moment: reconnect with the number of the last event.
    """
    known = after if last_event_id is None else last_event_id
    record = await run_in_threadpool(shared.store.study_by_id, study)
    return StreamingResponse(
        shared.streams.listen(record, known, mine), media_type="text/event-stream", headers=UNBUFFERED
    )


@router.get(
    "/logs",
    response_class=PlainTextResponse,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def logs(
    shared: Shared,
    study: StudyId,
    mine: Annotated[CallerStreams | None, Depends(_following)],
    tail: Annotated[int, Query(ge=1, le=10_000, description="How many lines from the end.")] = 200,
) -> Response:
    """Return the log of the study's last Ray job as text. If Ray no longer has it, return the end that was stored."""
    record = await run_in_threadpool(shared.store.study_by_id, study)
    text, is_live = await run_in_threadpool(_log, shared, record, tail)
    if record.job is None or mine is None or not is_live:
        return PlainTextResponse(text)
    lines = shared.streams.until_closed(shared.jobs.follow(record.job, tail), mine)
    return StreamingResponse(lines, media_type=PlainTextResponse.media_type, headers=UNBUFFERED)


def _log(shared: Services, study: StudyRecord, tail: int) -> tuple[str, bool]:
    """Return the end of the log, and whether it comes from Ray. Raises LogMissing, RayUnavailable."""
    missing: ServiceError = LogMissing(f"study {study.id} has no log, because no service has started it")
    if study.job is not None:
        missing = LogMissing(f"Ray no longer knows job {study.job}, and its log was not stored")
        try:
            if (text := shared.jobs.logs(study.job, tail)) is not None:
                return text, True
        except RayUnavailable as error:
            missing = error
    if (kept := shared.store.log(study.id)) is None:
        raise missing
    return "".join(kept.splitlines(keepends=True)[-tail:]), False
