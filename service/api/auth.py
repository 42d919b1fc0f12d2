"""Authentication: a request's caller and scope, by a token, or by being on this machine while there are no tokens."""

import ipaddress
from dataclasses import dataclass

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.responses import Response

from service.api.problems import Refused
from service.api.services import Services
from service.database import tokens
from service.database.tokens import Scope

COOKIE = "tunebench"  # without a path, it applies to the login's folder, under any prefix
SAFE = ("GET", "HEAD", "OPTIONS")
REQUIRED_SCOPE = dict.fromkeys(SAFE, Scope.READ) | {"POST": Scope.SUBMIT, "PATCH": Scope.SUBMIT}  # else admin


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request: a token's name, as in the events, and its scope."""

    name: str
    scope: Scope


LOCAL = Caller("local", Scope.ADMIN)


class Authenticated(SecurityBase):
    """A dependency that returns the caller, and refuses one who is unknown or whose scope does not allow the method."""

    def __init__(self) -> None:
        self.model = HTTPBearer(
            description="A token from `tunebench token create`; not needed while there are no tokens."
        )
        self.scheme_name = "token"

    def __call__(self, request: Request) -> Caller:
        found = identify(request)
        if found is None:
            given = request.headers.get("authorization") or request.cookies.get(COOKIE)
            challenge = 'Bearer error="invalid_token"' if given else "Bearer"
            detail = (
                "the token is unknown, revoked or expired"
                if given
                else "send a token: Authorization: Bearer TOKEN"
            )
            raise Refused("not-authenticated", detail, headers={"WWW-Authenticate": challenge})
        needed = REQUIRED_SCOPE.get(request.method, Scope.ADMIN)
        if not found.scope.allows(needed):
            challenge = f'Bearer error="insufficient_scope", scope="{needed}"'
            detail = (
                f"{request.method} needs a token with scope {needed} here; "
                f"token {found.name} has scope {found.scope}"
            )
            raise Refused("not-allowed", detail, headers={"WWW-Authenticate": challenge})
        return found


authenticated = Authenticated()


def identify(request: Request) -> Caller | None:
    """Return the request's caller, None if unknown. Queries the database, so it must not run on the event loop.

    Raises Refused for a cross-site request, and, while there are no tokens, for one from another machine.
    """
    services: Services = request.app.state.services
    engine = services.store.engine
    header, cookie = request.headers.get("authorization"), request.cookies.get(COOKIE)
    if header is not None:
        kind, _, token = header.partition(" ")
        found = tokens.find(engine, token.strip()) if kind.lower() == "bearer" else None
    else:
        found = tokens.find(engine, cookie) if cookie else None
        if found is not None and request.method not in SAFE:
            _require_same_origin(request, unless_absent=False)
    if found is not None:
        return Caller(found.name, found.scope)
    if tokens.any_created(engine):
        return None
    _require_this_machine(request)
    if request.method not in SAFE:
        _require_same_origin(request, unless_absent=True)
    return LOCAL


def log_in(request: Request, response: Response, token: str) -> Caller | None:
    """Set a valid token as the browser's cookie and return its caller; None if the token is not valid."""
    _require_same_origin(request, unless_absent=True)
    services: Services = request.app.state.services
    found = tokens.find(services.store.engine, token)
    if found is None:
        return None
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, path=None, secure=secure, httponly=True, samesite="strict")
    return Caller(found.name, found.scope)


def log_out(request: Request, response: Response) -> None:
    _require_same_origin(request, unless_absent=True)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, max_age=0, path=None, secure=secure, httponly=True, samesite="strict")


def _require_same_origin(request: Request, *, unless_absent: bool) -> None:
    """Refuse requests that a page of another site makes a browser send.

    Browsers send Origin with every unsafe request, and Sec-Fetch-Site over connections that they trust.
    `unless_absent` accepts requests with neither, which come from no browser. The origin's scheme is not compared,
    because a proxy in front of the service may have changed it.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None and unless_absent:
        return
    if site is not None:
        same = site == "same-origin"
    else:
        same = origin is not None and origin.partition("://")[2] == request.headers.get("host")
    if not same:
        raise Refused("not-allowed", "the request comes from a page of another site")


def _require_this_machine(request: Request) -> None:
    """Refuse requests from other machines, or to a name that another site gave this machine (DNS rebinding)."""
    if request.client is not None and not _is_loopback(request.client.host):
        raise Refused(
            "not-allowed",
            "no token exists yet, so only requests from this machine are answered; "
            "create a token: tunebench token create NAME",
        )
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name != "localhost" and not _is_loopback(name.strip("[]")):
        raise Refused(
            "not-allowed",
            f"no token exists yet, so only requests to http://localhost are answered, got one to {host!r}",
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
