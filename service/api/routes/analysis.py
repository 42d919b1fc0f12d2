"""What is computed of a study: curves, comparison, figure, exports."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from starlette.responses import Response

from service.api.problems import documented
from service.api.routes import Shared, StudyId
from service.api.services import Services
from service.schemas import ComparisonAnswer, Curves, DifferingSigns
from studies.results.table_names import Form, TableName

router = APIRouter(prefix="/v1/studies/{study}", tags=["analysis"])
IfNoneMatch = Annotated[
    str | None, Header(description="The ETag of the content that is known; where it is still the same, 304.")
]
JSON = "application/json"
IMAGES = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}
FORMS = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "json": JSON}
# what an SVG needs that is opened by itself
DRAWING = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
HEADERS = {
    "ETag": {"description": "Names the content.", "schema": {"type": "string"}},
    "Tunebench-Last-Event": {
        "description": "The study's event up to which the content holds everything. While the study runs, that may be "
        "two seconds ago.",
        "schema": {"type": "integer"},
    },
}
FILE = {"schema": {"type": "string", "format": "binary"}}
ROWS = {"schema": {"type": "array", "items": {"type": "object"}}}


def _responses(content: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    """`content` is what 200 is described by, besides its headers."""
    known: dict[int | str, dict[str, Any]] = {
        200: {"headers": HEADERS, **content},
        304: {"description": "The content is still the same."},
    }
    return known | documented(401, 403, 404, 409, 422, 503)


def _files(media_types: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    content = {media_type: ROWS if media_type == JSON else FILE for media_type in media_types}
    return _responses({"description": "The file.", "content": content})


@router.get("/curves", responses=_responses({"model": Curves}))
async def curves(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """Every run's best-so-far after each of its trials, the median and mean of each arm's runs with intervals."""
    return await _answer(shared, study, "curves", JSON, if_none_match)


@router.get("/comparison", responses=_responses({"model": ComparisonAnswer}))
async def comparison(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """How good each arm got and how many trials it took, in words and numbers; what was equal between them."""
    return await _answer(shared, study, "comparison", JSON, if_none_match)


@router.get("/differing-signs", responses=_responses({"model": DifferingSigns}))
async def differing_signs(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """How many signs differ between two arms by step, where the study records them: each run, and their mean."""
    return await _answer(shared, study, "differing-signs", JSON, if_none_match)


@router.get("/figure8.{kind}", response_class=Response, responses=_files(IMAGES.values()))
async def figure8(
    shared: Shared,
    study: StudyId,
    kind: Literal["png", "svg", "pdf"],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The best-so-far of every run, the mean and median of each arm: empty axes where no trial has finished."""
    headers = {"Content-Disposition": f'inline; filename="{study}-figure8.{kind}"'} | DRAWING
    return await _answer(shared, study, f"figure8.{kind}", IMAGES[kind], if_none_match, headers)


@router.get("/export.zip", response_class=Response, responses=_files(["application/zip"]))
async def export(shared: Shared, study: StudyId, if_none_match: IfNoneMatch = None) -> Response:
    """Figures, tables, comparison, provenance and report: what `tunebench export` writes."""
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
    """Every finished trial, median and mean of each arm's runs after each trial, every confirmation, every epoch of
    every trial, trials' repeats, what was recorded by step, how many signs differ between two arms, or what papers
    print beside ours, as a table."""
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
