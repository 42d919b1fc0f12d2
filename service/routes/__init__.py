"""The routes, one noun a file, and what they share."""

import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Path
from pydantic import AfterValidator, BaseModel
from starlette.responses import Response

from service.auth import Caller, authenticated
from service.errors import StudyUnknown
from service.services import Services, services

STUDY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


def _is_an_id(text: str) -> str:
    if not STUDY_ID.fullmatch(text):  # some of what a URL can hold, no database can be asked for
        raise StudyUnknown(f"no study {text!r:.100}")
    return text


Shared = Annotated[Services, Depends(services)]
Known = Annotated[Caller, Depends(authenticated)]
StudyId = Annotated[
    str,
    Path(description="The study's id.", examples=["figure8-spoken-digits-0a1b2c3d"]),
    AfterValidator(_is_an_id),
]


def json(content: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`content` as an answer, written in the thread of the route instead of the event loop, and not checked twice."""
    return Response(content.model_dump_json(), status, headers, "application/json")
