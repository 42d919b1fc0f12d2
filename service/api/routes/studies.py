"""Studies: submitted, listed, edited, paused, resumed, cancelled, deleted."""

import os
from math import inf
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from service.api.cursor import Cursor, Moment
from service.api.json_body import body, read
from service.api.problems import problem_responses
from service.api.routes import AuthenticatedCaller, Shared, StudyId, json, writes
from service.api.services import Services
from service.api.validation import validation
from service.errors import RayUnavailable
from service.schemas import (
    Edit,
    Label,
    Page,
    Priority,
    Study,
    StudyName,
    StudySummary,
    Validation,
)
from studies.design.spec import StudySpec, from_json
from studies.errors import SpecError
from studies.records import Request, StudyRecord, StudyState
from studies.running import ready
from trainers.tasks import TASKS

router = APIRouter(prefix="/v1/studies", tags=["studies"])
Body = Annotated[bytes, Depends(body)]
NEWEST_FIRST = Cursor("newest first", Moment, Annotated[str, Field(pattern=r"^[a-z0-9-]{1,80}$")])
STUDY_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A study file as JSON; missing keys have their defaults.",
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/StudyFile"},
                "examples": {
                    "figure8": {
                        "summary": "Figure 8: two methods, 20 runs of 25 trials each",
                        "value": {
                            "name": "figure8-spoken-digits",
                            "task": "spoken-digits",
                            "methods": ["gradient-filter", "latent-sgd"],
                        },
                    },
                    "narrowed": {
                        "summary": "One method, its space narrowed, by random search",
                        "value": {
                            "name": "narrow",
                            "task": "spoken-digits",
                            "methods": [
                                {"name": "gradient-filter", "space": {"alpha": {"low": 1e-4}, "gamma": 0.1}}
                            ],
                            "searcher": "random",
                            "runs": 5,
                            "trials": 10,
                        },
                    },
                    "arms": {
                        "summary": "A tuned method beside the same one with nothing searched: a control",
                        "value": {
                            "name": "tuned-or-not",
                            "task": "spoken-digits",
                            "arms": [
                                "gradient-filter",
                                {
                                    "name": "published",
                                    "method": "gradient-filter",
                                    "space": {"alpha": 1e-3, "gamma": 0.1},
                                },
                            ],
                            "runs": 5,
                            "trials": 10,
                        },
                    },
                    "networks": {
                        "summary": "One method on two networks: arms with a proxy or a task of their own",
                        "value": {
                            "name": "normalisations",
                            "task": "cifar10-bvgg",
                            "proxy": {"epochs": 20, "width": 32},
                            "arms": [
                                "bop",
                                {"name": "layer", "method": "bop", "task": "cifar10-bvgg-layer"},
                                {"name": "narrow", "method": "bop", "proxy": {"width": 16}},
                            ],
                            "runs": 5,
                            "trials": 10,
                        },
                    },
                    "proxy": {
                        "summary": "A task scaled down, shown as a proxy of it",
                        "value": {
                            "name": "short-digits",
                            "task": "spoken-digits",
                            "proxy": {"epochs": 5, "train_fraction": 0.5},
                            "methods": ["gradient-filter", "latent-sgd"],
                            "runs": 5,
                            "trials": 10,
                        },
                    },
                },
            }
        },
    }
}
EDIT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Edit"}}},
    }
}
LOCATION = {
    "headers": {
        "Location": {
            "description": "The study's address, relative to the request's.",
            "schema": {"type": "string"},
        }
    }
}


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Submission(_Query):
    labels: list[Label] = Field(default=[], max_length=20, description="May be given several times.")
    priority: Priority = 0


class Filter(_Query):
    state: list[StudyState] = Field(
        default=[], description="May be given several times; studies in any of these states."
    )
    task: StudyName | None = Field(default=None, description="Includes studies of its proxies.")
    label: Label | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=500, description="`next` of the previous page.")


class Pause(_Query):
    now: bool = Field(default=False, description="Give up the trials in flight, which are run again later.")


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?$",
        description="Chosen by the client. The same submission, sent again within a week, creates nothing new.",
        examples=["6f1c2a0e"],
    ),
]


@router.post(
    "",
    status_code=202,
    response_model=Study,
    responses={
        200: {
            "model": Study,
            "description": "The study exists already. Only its published results are replaced by the file's.",
            **LOCATION,
        },
        202: {"description": "The study is queued.", **LOCATION},
        **problem_responses(409),
    },
    openapi_extra=STUDY_FILE,
)
@writes
def submit_study(
    shared: Shared,
    caller: AuthenticatedCaller,
    content: Body,
    wanted: Annotated[Submission, Query()],
    key: IdempotencyKey = None,
) -> Response:
    """Queue a study. One that cannot run is refused with all its faults. One that exists already is returned."""
    spec = _runnable(shared, content)
    more: dict[str, Any] = {"labels": wanted.labels, "priority": wanted.priority, "key": key}
    # no provenance yet: the study may run on another machine
    study, new = shared.store.submit(spec, {}, actor=caller.name, **more)
    shared.wake()
    return json(_study(shared, study), 202 if new else 200, {"Location": f"studies/{study.id}"})


@router.get("", response_model=Page[StudySummary])
def list_studies(shared: Shared, wanted: Annotated[Filter, Query()]) -> Response:
    """List the studies, newest first."""
    before = None if wanted.cursor is None else NEWEST_FIRST.read(wanted.cursor)
    found = shared.store.studies(
        states=wanted.state,
        task=wanted.task,
        label=wanted.label,
        before=None if before is None else (before[0], before[1]),
        limit=wanted.limit + 1,
    )
    shown, rest = found[: wanted.limit], found[wanted.limit :]
    cursor = NEWEST_FIRST.write(shown[-1].created_at, shown[-1].id) if rest else None
    return json(Page[StudySummary](items=tuple(map(StudySummary.of, shown)), next=cursor))


@router.post(":validate", response_model=Validation, openapi_extra=STUDY_FILE)
def validate_study(shared: Shared, content: Body) -> Response:
    """Check a study and estimate what it would cost; nothing is stored."""
    spec = _runnable(shared, content)
    return json(validation(spec, shared.store))


@router.get("/{study}", response_model=Study)
def read_study(shared: Shared, study: StudyId) -> Response:
    """Return one study: its state, spec, provenance and the best trial of each arm."""
    return json(_study(shared, shared.store.study_by_id(study)))


@router.patch("/{study}", response_model=Study, openapi_extra=EDIT)
@writes
def edit_study(shared: Shared, caller: AuthenticatedCaller, study: StudyId, content: Body) -> Response:
    """Change a study's name, labels or priority."""
    try:
        edit = Edit.model_validate(read(content))
    except ValidationError as error:
        faults = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors()]
        raise RequestValidationError(faults) from error
    changed = shared.store.edit(
        study, actor=caller.name, name=edit.name, labels=edit.labels, priority=edit.priority
    )
    return json(_study(shared, changed))


@router.delete("/{study}", status_code=204, responses=problem_responses(409))
@writes
def delete_study(shared: Shared, study: StudyId) -> Response:
    """Remove a finished study with its trials and events."""
    shared.store.delete(study)
    return Response(status_code=204)


@router.post("/{study}/pause", status_code=202, response_model=Study, responses=problem_responses(409))
@writes
def pause_study(
    shared: Shared, caller: AuthenticatedCaller, study: StudyId, wanted: Annotated[Pause, Query()]
) -> Response:
    """Stop a study once the trials in flight have finished. Resumed, it has the same trials as without the pause."""
    return _asked(shared, caller, study, Request.PAUSE_NOW if wanted.now else Request.PAUSE)


@router.post("/{study}/resume", status_code=202, response_model=Study, responses=problem_responses(409))
@writes
def resume_study(shared: Shared, caller: AuthenticatedCaller, study: StudyId) -> Response:
    """Queue a paused, failed or cancelled study again."""
    found = shared.store.resume(study, actor=caller.name)
    shared.wake()
    return json(_study(shared, found), 202)


@router.post("/{study}/cancel", status_code=202, response_model=Study, responses=problem_responses(409))
@writes
def cancel_study(shared: Shared, caller: AuthenticatedCaller, study: StudyId) -> Response:
    """Stop a study now and count it as finished. Its trials are kept, and it may be deleted or resumed."""
    return _asked(shared, caller, study, Request.CANCEL)


def _asked(shared: Services, caller: AuthenticatedCaller, study: str, request: Request) -> Response:
    found = shared.store.ask(study, request, actor=caller.name)
    shared.wake()
    return json(_study(shared, found), 202)


def _study(shared: Services, study: StudyRecord) -> Study:
    maximize = TASKS[study.task].direction == "maximize"
    incumbents = shared.store.incumbents(study.id, maximize=maximize) if study.trials else {}
    known = study.job in shared.jobs.known
    dashboard = f"{shared.jobs.dashboard_url}/#/jobs/{quote(study.job)}" if study.job and known else None
    return Study.of(study, incumbents, dashboard)


def _machines(shared: Services) -> list[dict[str, float]]:
    """Return the resources of the machines for trials.

    While Ray reports no CPUs (it is away, or its workers are not up yet), all are unlimited but our own Ray's CPUs.
    """
    try:
        machines = shared.jobs.nodes()
    except RayUnavailable:
        machines = []
    if any(machine.get("CPU") for machine in machines):
        return machines
    cpus = (os.cpu_count() or 1) if shared.settings.ray_address is None else inf
    return [{"CPU": cpus, "GPU": inf, "memory": inf}]


def _runnable(shared: Services, content: bytes) -> StudySpec:
    """Return the study in the body. Raises SpecError with every fault that keeps it from running here."""
    spec = from_json(read(content))
    limit, found = shared.settings.max_trials, list[ready.Fault]()
    if (trainings := spec.planned * spec.repeats) > limit:
        repeats = ", with their repeats" if spec.repeats > 1 else ""
        found.append(("trials", f"must be at most {limit} in all runs of all arms{repeats}, got {trainings}"))
    own = shared.settings.ray_address is None  # the trials run on this machine
    data_dir = shared.settings.data_dir if own else None
    faults = ready.faults(spec, data_dir, _machines(shared), deep=False)
    found += [(field, f"on this server: {message}" if own else message) for field, message in faults]
    if found:
        raise SpecError("study", found)
    return spec
