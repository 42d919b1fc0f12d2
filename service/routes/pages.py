"""The page: HTML for people. What it shows and does goes through the API."""

import re
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from service import web
from service.auth import LOCAL, SAFE, Caller, identify, log_in, log_out
from service.problems import Refused, refusal
from service.routes import Shared, StudyId
from service.web.assets import PLOTLY, Assets
from studies.records import StudyState, TrialState
from trainers.tasks import TASKS

# plotly.js makes style elements that are empty, hence the digest of nothing, and fills them by script
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types plotly"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",  # with none, browsers would not say where a form comes from either
}
FOR_EVER = "public, max-age=31536000, immutable"
LOCAL_ADDRESS = re.compile(r"/(?![/\\])[\x21-\x7e]*")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _Page(APIRoute):
    """A route whose refusals are pages too, or the way to the login."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                refused = refusal(error)
                if refused.kind == "unexpected":
                    raise
                if refused.kind == "not-authenticated":
                    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                    return RedirectResponse(f"/login?next={quote(here, safe='')}", 303)
                return refused_page(refused)

        return handle


router = APIRouter(include_in_schema=False, route_class=_Page)


def _caller(request: Request) -> Caller:
    found = identify(request)
    if found is None:
        raise Refused("not-authenticated")
    return found


async def _fields(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode(errors="replace")))


Known = Annotated[Caller, Depends(_caller)]
Fields = Annotated[dict[str, str], Depends(_fields)]


def install(app: FastAPI) -> None:
    """Add the pages to the app, and let browsers see a page where there is none."""
    app.include_router(router)
    answer = app.exception_handlers[HTTPException]

    async def answer_browsers(request: Request, error: Exception) -> Response:
        wanted = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
        if wanted and request.method in SAFE:
            return refused_page(refusal(error))
        found: Response = await answer(request, error)  # type: ignore[misc]
        return found

    app.add_exception_handler(HTTPException, answer_browsers)


@router.get("/")
def studies_page(request: Request, caller: Known) -> Response:
    origin = str(request.base_url).rstrip("/")
    return _page("studies.html", caller, states=list(StudyState), tasks=list(TASKS), origin=origin)


@router.get("/studies/{study}")
def study_page(study: StudyId, shared: Shared, caller: Known) -> Response:
    record = shared.store.study_by_id(study)
    return _page(
        "study.html",
        caller,
        id=record.id,
        name=record.name,
        metric=TASKS[record.task].metric,
        api=f"/v1/studies/{quote(record.id, safe='')}",
        states=list(TrialState),
        plotly=_assets().url(PLOTLY),
    )


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:
    if identify(request) is not None:
        return RedirectResponse(_local(next), 303)
    return _page("login.html", next=_local(next), error=None)


@router.post("/login")
def login(request: Request, fields: Fields) -> Response:
    back = _local(fields.get("next", "/"))
    response = RedirectResponse(back, 303)
    if log_in(request, response, fields.get("token", "").strip()) is None:
        return _page("login.html", status=401, next=back, error="This token is unknown or revoked.")
    return response


@router.post("/logout")
def logout(request: Request) -> Response:
    response = RedirectResponse("/login", 303)
    log_out(request, response)
    return response


@router.get("/static/{path:path}")
def static(path: str, request: Request) -> Response:
    asset = _assets().get(path)
    if asset is None:
        raise Refused("unknown-route", "there is no such file")
    headers = {"Cache-Control": FOR_EVER, "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(asset.content, headers=headers, media_type=asset.media_type)
    headers["Content-Encoding"] = "gzip"
    return Response(asset.compressed, headers=headers, media_type=asset.media_type)


def refused_page(refused: Refused) -> Response:
    return _page("problem.html", status=refused.status, problem=refused)


@cache
def _assets() -> Assets:
    return Assets()


@cache
def _templates() -> Environment:
    folder = Path(web.__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)


def _page(template: str, caller: Caller | None = None, status: int = 200, **values: Any) -> Response:
    """`caller` is somebody who may read, None on pages that anybody may."""
    known = {
        "static": _assets().url,
        "scripts": _assets().scripts,
        "caller": caller,
        "local": caller is LOCAL,
    }
    return HTMLResponse(_templates().get_template(template).render(known | values), status, HEADERS)


def _local(address: str) -> str:
    """An address of this site, whatever was asked for."""
    return address if LOCAL_ADDRESS.fullmatch(address) else "/"
