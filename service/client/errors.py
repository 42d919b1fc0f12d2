"""A service's refusals as exceptions."""

import httpx
from pydantic import ValidationError

from service.errors import ServiceError
from service.schemas import Fault, Problem


class ApiError(ServiceError):
    """A request was refused. `problem` is the service's own description."""

    def __init__(self, problem: Problem, message: str = "") -> None:
        super().__init__(message or "\n".join(_line(fault) for fault in problem.faults) or problem.detail)
        self.problem = problem

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self.problem.faults


class Unauthorized(ApiError):  # noqa: N818
    """The service requires a token, or does not accept the one that it was given."""


class Forbidden(ApiError):  # noqa: N818
    """The token does not allow this."""


class NotFound(ApiError):  # noqa: N818
    """There is no such study or trial."""


class Conflict(ApiError):  # noqa: N818
    """The study's state, or something stored, does not allow this."""


class Invalid(ApiError):  # noqa: N818
    """The request is wrong; `faults` lists everything that is wrong with it."""


class Unavailable(ApiError):  # noqa: N818
    """The service cannot be reached, or cannot answer now. A retry may succeed.

    `retry_after` is the number of seconds after which the service asks for a retry.
    """

    retry_after: float | None = None


TOKEN_ADVICE = (
    "set TUNEBENCH_TOKEN to a token, which whoever runs the service creates with: tunebench token create NAME"
)
KINDS: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def refused(response: httpx.Response) -> ApiError:
    """Return the error for an unsuccessful response, whose body has been read."""
    try:
        problem = Problem.model_validate_json(response.content, extra="ignore")
    except ValidationError:  # not from the service, but from something in front of it or in its place
        what = f"{response.status_code} {response.reason_phrase}".strip()
        problem = _problem(response.status_code, f"{_origin(response.url)} answered {what}")
    kind = KINDS.get(response.status_code, ApiError)
    error = kind(problem, f"{problem.detail}; {TOKEN_ADVICE}" if kind is Unauthorized else "")
    if isinstance(error, Unavailable) and (asked := response.headers.get("Retry-After", "")).isdecimal():
        error.retry_after = float(asked)
    return error


def unreachable(url: httpx.URL, reason: object, by: str = "") -> Unavailable:
    said = " ".join(str(reason).split()) or type(reason).__name__
    return Unavailable(
        _problem(503, f"{_origin(url)} cannot be reached{by} ({said}); check that a service runs there")
    )


def not_a_service(url: httpx.URL) -> ApiError:
    """Return the error for a successful response that this version of the client cannot read."""
    return ApiError(_problem(200, f"{url} did not answer like a tunebench service of this version"))


def unknown(what: str) -> NotFound:
    return NotFound(_problem(404, what))


def _problem(status: int, detail: str) -> Problem:
    title = httpx.codes.get_reason_phrase(status)
    return Problem(type="about:blank", title=title, status=status, detail=detail)


def _line(fault: Fault) -> str:
    return f"{fault.field}: {fault.message}" if fault.field else fault.message


def _origin(url: httpx.URL) -> str:
    return str(url.copy_with(raw_path=b"/")).rstrip("/")
