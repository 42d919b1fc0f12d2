"""The service's liveness, readiness and metrics."""

import asyncio

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from service.api.auth import authenticated
from service.api.problems import problem_responses
from service.api.prometheus import Metrics
from service.api.routes import Shared, json
from service.api.services import Services
from service.errors import RayUnavailable
from service.schemas import Readiness, Targets

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """Confirm that the process is alive."""
    return "ok"


@router.get("/readyz", response_model=Readiness, responses=problem_responses(503))
async def readyz(request: Request, shared: Shared) -> Response:
    """Check that the database answers, has its tables and has free space. Also report whether Ray answers."""
    state = request.app.state
    if state.checking is None or state.checking.done():
        state.checking = asyncio.create_task(_check(shared))
    return json(await asyncio.shield(state.checking))  # concurrent requests share one check


async def _check(shared: Services) -> Readiness:
    await asyncio.to_thread(shared.store.require_ready)
    try:
        await asyncio.to_thread(shared.jobs.require_answer)
    except RayUnavailable:
        return Readiness(database="ok", ray="does not answer")
    return Readiness(database="ok", ray="ok")


@router.get("/metrics", dependencies=[Depends(authenticated)], response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """Return metrics for Prometheus."""
    found: Metrics = request.app.state.metrics
    return Response(found.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/metrics/targets", dependencies=[Depends(authenticated)], response_model=list[Targets])
def metrics_targets(shared: Shared) -> list[Targets]:
    """List the addresses of Ray's metrics, including studies' gauges, for Prometheus' HTTP service discovery."""
    return [Targets(targets=found["targets"], labels=found["labels"]) for found in shared.jobs.metrics()]
