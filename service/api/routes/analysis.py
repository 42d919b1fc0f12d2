"""Analyses of a study: curves, comparison, figure, exports."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from starlette.responses import Response

from service.api.problems import problem_responses
from service.api.routes import Shared, StudyId
from service.api.services import Services
from service.schemas import ComparisonAnswer, Curves, DifferingSigns
from studies.results.table_names import Form, TableName

router = APIRouter(prefix="/v1/studies/{study}", tags=["analysis"])
IfNoneMatch = Annotated[
    str | None,
    Header(description="The ETag of content that the client has; if it is current, the answer is 304."),
]
JSON = "application/json"
IMAGES = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
FORMS = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "json": JSON}
# what an SVG needs when it is opened by itself
DRAWING = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
HEADERS = {
    "ETag": {"description": "Identifies the content.", "schema": {"type": "string"}},
    "Tunebench-Last-Event": {
        "description": "The study's last event that the content includes. While the study runs, the content may be two "
        "seconds old.",
        "schema": {"type": "integer"},
    },
}
FILE = {"schema": {"type": "string", "format": "binary"}}
ROWS = {"schema": {"type": "array", "items": {"type": "object"}}}


def _responses(content: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Return the documented responses. `content` describes 200, except for its headers."""
    known: dict[int | str, dict[str, Any]] = {
        200: {"headers": HEADERS, **content},
        304: {"description": "The content has not changed."},
    }
    return known | problem_responses(401, 403, 404, 409, 422, 503)


def _files(media_types: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    content = {media_type: ROWS if media_type == JSON else FILE for media_type in media_types}
    return _responses({"description": "The file.", "content": content})


@router.get("/curves", responses=_responses({"model": Curves}))
async def curves(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """Return every run's best so far after each of its trials, and each arm's median and mean with intervals."""
    return await _answer(shared, study, "curves", JSON, if_none_match)


@router.get("/comparison", responses=_responses({"model": ComparisonAnswer}))
async def comparison(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """Compare the arms in words and numbers: how good each got, in how many trials, and what was equal between them."""
    return await _answer(shared, study, "comparison", JSON, if_none_match)


@router.get("/differing-signs", responses=_responses({"model": DifferingSigns}))
async def differing_signs(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """Count the signs that differ between two arms by step, for each run and on average, if the study records signs."""
    return await _answer(shared, study, "differing-signs", JSON, if_none_match)


@router.get("/figure8.{kind}", response_class=Response, responses=_files(IMAGES.values()))
async def figure8(
    shared: Shared,
    study: StudyId,
    kind: Literal["png", "svg", "pdf"],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Draw every run's best so far and each arm's mean and median; empty axes if no trial has finished."""
    headers = {"Content-Disposition": f'inline; filename="{study}-figure8.{kind}"'} | DRAWING
    return await _answer(shared, study, f"figure8.{kind}", IMAGES[kind], if_none_match, headers)


@router.get("/export.zip", response_class=Response, responses=_files(["application/zip"]))
async def export(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """Return figures, tables, comparison, provenance and report in one archive, as `tunebench export` writes them."""
    headers = {"Content-Disposition": f'attachment; filename="{study}.zip"'}
    return await _answer(shared, study, "export.zip", "application/zip", if_none_match, headers)


@router.get("/export/{table}.{form}", response_class=Response, responses=_files(FORMS.values()))
async def table(
    shared: Shared,
    study: StudyId,
    table: TableName,
    form: Form,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return a table: every finished trial, the median and mean of each arm's runs after each trial, every
    confirmation, every epoch of every trial, the trials' repeats, the series recorded by step, the number of signs
    that differ between two arms, or published results beside ours."""
    headers = {"Content-Disposition": f'attachment; filename="{study}-{table}.{form}"'}
    return await _answer(shared, study, f"{table}.{form}", FORMS[form], if_none_match, headers)


async def _answer(
    shared: Services,
    study: str,
    what: str,
    media_type: str,
    known: str | None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    found = await shared.analysis.get(study, what)
    about = {
        "ETag": found.etag,
        "Cache-Control": "private, no-cache",
        "Tunebench-Last-Event": str(found.last_event),
    }
    tags = [tag.strip().removeprefix("W/") for tag in (known or "").split(",")]
    if found.etag.removeprefix("W/") in tags or "*" in tags:
        return Response(status_code=304, headers=about)
    return Response(found.content, headers=about | dict(headers or {}), media_type=media_type)
