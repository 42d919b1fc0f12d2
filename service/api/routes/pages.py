"""The page: HTML for people. What it shows and does goes through the API.

Every address in it is relative, so that it works under whatever path something in front of the service puts it.
"""

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
from service.api.auth import COOKIE, LOCAL, SAFE, Caller, identify, log_in, log_out
from service.api.problems import Refused, refusal
from service.api.routes import Shared, StudyId
from service.errors import StudyUnknown
from service.web.assets import PLOTLY, Assets
from studies.records import StudyState, TrialState
from studies.results.table_names import FORM_NAMES, TABLE_NAMES
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
                    here = _path(request) + (f"?{request.url.query}" if request.url.query else "")
                    return RedirectResponse(f"{_root(request)}login?next={quote(here, safe='')}", 303)
                return refused_page(request, refused)

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
            return refused_page(request, refusal(error))
        found: Response = await answer(request, error)  # type: ignore[misc]
        return found

    app.add_exception_handler(HTTPException, answer_browsers)


@router.get("/")
def studies_page(request: Request, caller: Known) -> Response:
    return _page(request, "studies.html", caller, states=list(StudyState), tasks=list(TASKS))


@router.get("/studies/{study}")
def study_page(study: StudyId, request: Request, shared: Shared, caller: Known) -> Response:
    """The page of the study with this id; the way to it from its name, the start of its id or the end."""
    try:
        record = shared.store.study_by_id(study)
    except StudyUnknown as error:
        try:
            return RedirectResponse(f"./{shared.store.study(study).id}", 307)
        except StudyUnknown:
            raise error from None
    return _page(
        request,
        "study.html",
        caller,
        id=record.id,
        name=record.name,
        metric=TASKS[record.task].metric,
        api=f"{_root(request)}v1/studies/{quote(record.id, safe='')}",
        states=list(TrialState),
        plotly=PLOTLY,
        tables=TABLE_NAMES,
        forms=FORM_NAMES,
    )


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:
    if identify(request) is not None:
        return RedirectResponse(_local(request, next), 303)
    ended = "This token is unknown, revoked or expired." if COOKIE in request.cookies else None
    return _page(request, "login.html", next=next, error=ended)


@router.post("/login")
def login(request: Request, fields: Fields) -> Response:
    back = fields.get("next", "/")
    response = RedirectResponse(_local(request, back), 303)
    if log_in(request, response, fields.get("token", "").strip()) is None:
        error = "This token is unknown, revoked or expired."
        return _page(request, "login.html", status=401, next=back, error=error)
    return response


@router.post("/logout")
def logout(request: Request) -> Response:
    response = RedirectResponse("./login", 303)
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


def refused_page(request: Request, refused: Refused) -> Response:
    return _page(request, "problem.html", status=refused.status, problem=refused)


@cache
def _assets() -> Assets:
    return Assets()


@cache
def _templates() -> Environment:
    folder = Path(web.__file__).parent / "templates"
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)


def _page(
    request: Request, template: str, caller: Caller | None = None, status: int = 200, **values: Any
) -> Response:
    """`caller` is somebody who may read, None on pages that anybody may."""
    root = _root(request)
    known = {
        "root": root,
        "static": lambda name: root + _assets().url(name),
        "scripts": lambda name: [root + url for url in _assets().scripts(name)],
        "caller": caller,
        "local": caller is LOCAL,
    }
    return HTMLResponse(_templates().get_template(template).render(known | values), status, HEADERS)


def _local(request: Request, address: str) -> str:
    """The way to an address of this site, whatever was asked for."""
    return _root(request) + (address[1:] if LOCAL_ADDRESS.fullmatch(address) else "")


def _path(request: Request) -> str:
    """The path within the service, as it was sent."""
    sent: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return "/" + sent.decode("latin-1").removeprefix(request.scope.get("root_path", "")).lstrip("/")


def _root(request: Request) -> str:
    """The way from the page that is asked for to the service's own root."""
    return "../" * (_path(request).count("/") - 1) or "./"
