"""Refusals as RFC 9457 problem details: which exception becomes which problem, and how it is sent."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.errors import (
    AnalysisStopped,
    DatabaseError,
    LogMissing,
    RayUnavailable,
    StateError,
    StoreError,
    StreamsFull,
    StudyUnknown,
)
from service.schemas import Fault, Problem
from studies.errors import SpecError

log = logging.getLogger("tunebench.http")

# a problem's status and title, by the last part of its `type`
KINDS: dict[str, tuple[int, str]] = {
    "not-http": (400, "The request is not HTTP"),
    "invalid-request": (422, "The request is invalid"),
    "invalid-study": (422, "The study cannot run"),
    "not-authenticated": (401, "A token is needed"),
    "not-allowed": (403, "This is not allowed"),
    "unknown-route": (404, "There is no such address"),
    "unknown-study": (404, "There is no such study"),
    "unknown-trial": (404, "There is no such trial"),
    "unknown-log": (404, "There is no such log"),
    "method-not-allowed": (405, "This address does not allow this method"),
    "too-slow": (408, "The request took too long to arrive"),
    "wrong-state": (409, "The study's state does not allow this"),
    "conflict": (409, "This conflicts with what is stored"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body is not JSON"),
    "head-too-large": (431, "The first line and the headers are too large"),
    "unexpected": (500, "Something went wrong in the service"),
    "database-unavailable": (503, "The database is unavailable"),
    "ray-unavailable": (503, "Ray is unavailable"),
    "too-busy": (503, "The service is too busy"),
}
STATUSES = dict(reversed(KINDS.values()))
RETRY_SECONDS = 5
MAX_FAULTS, MAX_TEXT = 100, 500  # of a problem; a body of 1 MiB can hold 100,000 faults
MEDIA_TYPE = "application/problem+json"
PROBLEM = {"$ref": "#/components/schemas/Problem"}


class Refused(Exception):  # noqa: N818
    """The refusal of a request, answered with a problem of one of `KINDS`."""

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        faults: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Take `faults` as pairs of a field and what is wrong with it. By default, `detail` lists the faults."""
        super().__init__(detail)
        self.faults = [(_cut(field), _cut(message)) for field, message in faults[:MAX_FAULTS]]
        self.more = len(faults) - len(self.faults)
        self.detail = _cut(detail or "; ".join(": ".join(filter(None, fault)) for fault in self.faults))
        self.kind, self.headers = kind, dict(headers or {})
        self.status, self.title = KINDS[kind]

    def response(self, request_id: str) -> Response:
        faults = [Fault(field=field, message=message) for field, message in self.faults]
        if self.more:
            faults.append(Fault(field="", message=f"and {self.more} more faults"))
        problem = Problem(
            type=f"/problems/{self.kind}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            faults=tuple(faults),
            request_id=request_id,
        )
        return Response(problem.model_dump_json(), self.status, self.headers, MEDIA_TYPE)


def refusal(error: Exception) -> Refused:
    """Return the refusal that answers an error. For an unexpected error, it reveals no internals of the service."""
    retry = {"Retry-After": str(RETRY_SECONDS)}
    match error:
        case Refused():
            return error
        case SpecError():
            return Refused("invalid-study", faults=error.faults)
        case RequestValidationError():
            return Refused("invalid-request", faults=[_fault(fault) for fault in error.errors()])
        case StudyUnknown():
            return Refused("unknown-study", str(error))
        case StateError():
            return Refused("wrong-state", str(error))
        case StoreError():
            return Refused("conflict", str(error))
        case LogMissing():
            return Refused("unknown-log", str(error))
        case DatabaseError():
            return Refused("database-unavailable", f"the database {error.fault}", headers=retry)
        case RayUnavailable():
            return Refused("ray-unavailable", "the service's log gives the reason", headers=retry)
        case StreamsFull() | AnalysisStopped():
            return Refused("too-busy", str(error), headers=retry)
        case HTTPException(status_code=404):
            return Refused("unknown-route", "there is nothing at this address")
        case HTTPException(status_code=405):
            return Refused(
                "method-not-allowed", "the header Allow lists the allowed methods", headers=error.headers
            )
        case HTTPException(status_code=413):
            return Refused("too-large", "a body may have at most 1 MiB")
        case HTTPException(status_code=503):
            return Refused("too-busy", "as many bodies are being read as memory allows", headers=retry)
        case _:
            return Refused("unexpected", "the service's log gives the reason, under this request's id")


def install(app: FastAPI) -> None:
    """Let the app answer every error that is known here; `service.api.middleware` answers all others."""
    known = (Refused, SpecError, RequestValidationError, StoreError, LogMissing, DatabaseError)
    for error in (*known, RayUnavailable, StreamsFull, AnalysisStopped, HTTPException):
        app.add_exception_handler(error, _answer)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with problems of these statuses."""
    content = {MEDIA_TYPE: {"schema": PROBLEM}}
    return {status: {"description": STATUSES[status], "content": content} for status in statuses}


async def _answer(request: Request, error: Exception) -> Response:
    answer = refusal(error)
    if answer.status == 405:
        answer.headers["Allow"] = ", ".join(sorted(_allowed(request, answer.headers.get("Allow", ""))))
    if answer.status >= 500:
        log.warning("%s: %s", request.state.request_id, error)
    return answer.response(request.state.request_id)


def _allowed(request: Request, told: str) -> set[str]:
    """Return all methods of the address; FastAPI lists only those of one of the routes with this path."""
    here = getattr(request.scope.get("route"), "path_format", None)  # the OpenAPI document's route has none
    routes = [route for route in iter_route_contexts(request.app.routes) if here is not None]
    found = [route.methods or () for route in routes if route.path_format == here]
    methods = {method for each in found for method in each} | set(filter(None, told.split(", ")))
    return methods | {"HEAD"} if "GET" in methods else methods


def _fault(fault: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of a parameter, and what is wrong with its value."""
    field = ".".join(str(part) for part in fault["loc"][1:])
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return field, message if fault["input"] is None else f"{message}, got {fault['input']!r:.80}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
