"""The app: its routes, authentication, errors as problem details, and the OpenAPI document."""

import gzip
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from pydantic.json_schema import models_json_schema
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.api import problems
from service.api.auth import authenticated
from service.api.middleware import RequestMiddleware
from service.api.problems import problem_responses
from service.api.prometheus import Metrics
from service.api.routes import analysis, catalog, event_streams, health, pages, studies, trials
from service.api.services import Services
from service.schemas import Edit, Event, Problem
from studies.design.json_schema import study_schema

# besides Starlette's defaults: compressed files, and followed logs, whose lines compression would hold back
NOT_COMPRESSED = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES, "text/plain", "application/pdf", "application/vnd.apache.parquet"
)  # fmt: skip
GUARDED = (studies, trials, analysis, event_streams, catalog)
SUMMARY = "Tuning studies of binary neural networks: what a hyperparameter costs."


def create_app(services: Services) -> FastAPI:
    """Return the app over these services, which outlive it."""
    app = _App(
        title="tunebench",
        summary=SUMMARY,
        version=version("tunebench"),
        openapi_url=None,  # FastAPI's own route writes the JSON again for every request
        docs_url=None,  # FastAPI's page loads scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": "."}],  # relative to the document's own address, whatever prefix that has
        generate_unique_id_function=lambda route: route.name,
    )
    app.add_route("/openapi.json", _document, include_in_schema=False)
    app.state.services = services
    app.state.checking = None
    app.state.metrics = Metrics(services.store, services.streams)
    app.add_middleware(
        GZipMiddleware, minimum_size=1_000, compresslevel=4, exclude_content_types=NOT_COMPRESSED
    )
    app.add_middleware(RequestMiddleware, metrics=app.state.metrics)
    problems.install(app)
    for guarded in GUARDED:
        app.include_router(guarded.router, dependencies=[Depends(authenticated)])
    app.include_router(health.router)
    pages.install(app)
    return app


class _App(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return FastAPI's document, with what FastAPI does not know: problems, and bodies that routes parse."""
        if self.openapi_schema is None:
            document = super().openapi()
            _, models = models_json_schema(
                [(Problem, "serialization"), (Event, "serialization"), (Edit, "validation")],
                ref_template="#/components/schemas/{model}",
            )
            schemas = document["components"]["schemas"]
            schemas |= models["$defs"] | {"StudyFile": study_schema()}
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for path, operation in _operations(document):
                answers = operation["responses"]
                if answers.get("422", {}).get("content", {}).keys() == {"application/json"}:
                    del answers["422"]  # FastAPI's own, which no route sends
                answers |= {
                    str(status): text
                    for status, text in problem_responses(*_statuses(path, operation)).items()
                }
            self.openapi_schema = document
        return self.openapi_schema

    @cached_property
    def document(self) -> tuple[bytes, bytes]:
        """The OpenAPI document as JSON, plain and gzipped; made once, because anyone may request it."""
        plain = bytes(JSONResponse(self.openapi()).body)
        return plain, gzip.compress(plain, 6, mtime=0)


async def _document(request: Request) -> Response:
    plain, compressed = request.app.document
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(plain, media_type="application/json")
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(compressed, headers=headers, media_type="application/json")


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation


def _statuses(path: str, operation: dict[str, Any]) -> Iterator[int]:
    """Yield the statuses of the problems that follow from an operation's path and inputs."""
    yield 500
    if "security" in operation:
        yield from (401, 403, 503)
    if "{study}" in path:
        yield 404
    if "requestBody" in operation:
        yield from (413, 415)
    if "requestBody" in operation or any(found["in"] != "path" for found in operation.get("parameters", ())):
        yield 422
