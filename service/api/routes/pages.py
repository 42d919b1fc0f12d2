"""The web pages, which read and change studies only through the API.

Every address in them is relative, so that they work under any path that a proxy in front of the service adds.
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

# plotly.js adds empty style elements and fills them by script, hence the digest of the empty string
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types plotly"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers would also hide a form's origin
}
FOR_EVER = "public, max-age=31536000, immutable"
LOCAL_ADDRESS = re.compile(r"/(?![/\\])[\x21-\x7e]*")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _Page(APIRoute):
    """A route that answers refusals with a page or a redirect to the login."""

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


AuthenticatedCaller = Annotated[Caller, Depends(_caller)]
Fields = Annotated[dict[str, str], Depends(_fields)]


def install(app: FastAPI) -> None:
    """Add the pages to the app, and answer browsers with a page where there is no such address."""
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
def studies_page(request: Request, caller: AuthenticatedCaller) -> Response:
    return _page(request, "studies.html", caller, states=list(StudyState), tasks=list(TASKS))


@router.get("/studies/{study}")
def study_page(study: StudyId, request: Request, shared: Shared, caller: AuthenticatedCaller) -> Response:
    """Return the page of the study with this id. From its name, or a part of the id, redirect to it."""
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
    ended = "The token is unknown, revoked or expired." if COOKIE in request.cookies else None
    return _page(request, "login.html", next=next, error=ended)


@router.post("/login")
def login(request: Request, fields: Fields) -> Response:
    back = fields.get("next", "/")
    response = RedirectResponse(_local(request, back), 303)
    if log_in(request, response, fields.get("token", "").strip()) is None:
        error = "The token is unknown, revoked or expired."
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
    """Render the template. `caller` is the reader, None on public pages."""
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
    """Return the relative path to an address of this site, or to its root if `address` is anything else."""
    return _root(request) + (address[1:] if LOCAL_ADDRESS.fullmatch(address) else "")


def _path(request: Request) -> str:
    """Return the path within the service, as the client sent it."""
    sent: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return "/" + sent.decode("latin-1").removeprefix(request.scope.get("root_path", "")).lstrip("/")


def _root(request: Request) -> str:
    """Return the relative path from the requested page to the service's root."""
    return "../" * (_path(request).count("/") - 1) or "./"
