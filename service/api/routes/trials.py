"""Trials of a study, their epochs and series, and its runs."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from service.api.cursor import Cursor, Large, Moment, Small
from service.api.problems import Refused
from service.api.routes import Shared, StudyId, json
from service.api.services import Services
from service.database.trial_order import TrialOrder
from service.schemas import (
    Confirmation,
    Epoch,
    Items,
    Page,
    Run,
    StudyName,
    Trial,
    TrialSeries,
    trial_id,
    trial_of,
)
from studies.records import TrialRecord, TrialState
from trainers.tasks import TASKS

router = APIRouter(prefix="/v1/studies/{study}", tags=["trials"])
TrialId = Annotated[str, Path(description="The trial's id.", examples=["gradient-filter-r01-t03"])]
Sort = Literal["number", "objective", "test_metric", "train_seconds", "suggest_seconds", "finished_at"]


class Filter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: StudyName | None = None
    run: int | None = Field(default=None, ge=1, le=1000)
    state: list[TrialState] = Field(
        default=[], description="May be given several times; trials in any of these states."
    )
    sort: Sort = Field(default="number", description="`number` is by arm, run and trial. Nulls come last.")
    order: Literal["asc", "desc"] = "asc"
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=500, description="`next` of the previous page.")


@router.get("/runs", response_model=Items[Run])
def list_runs(shared: Shared, study: StudyId) -> Response:
    """List every run of every arm with its best so far, including runs without a trial."""
    record = shared.store.study_by_id(study)
    found = shared.store.runs(study, maximize=TASKS[record.task].direction == "maximize")
    runs = []
    for arm in record.arms:
        for run in range(1, record.runs + 1):
            trials, best, holder = found.get((arm, run), (0, None, None))
            incumbent = None if holder is None else trial_id(arm, run, holder)
            runs.append(Run(arm=arm, run=run, trials=trials, best_so_far=best, incumbent=incumbent))
    return json(Items[Run](items=tuple(runs)))


@router.get("/trials", response_model=Page[Trial])
def list_trials(shared: Shared, study: StudyId, wanted: Annotated[Filter, Query()]) -> Response:
    """List the finished trials of a study."""
    cursor = _cursor(wanted)
    found = shared.store.trials_page(
        study,
        arm=wanted.arm,
        run=wanted.run,
        states=wanted.state,
        order=TrialOrder(None if wanted.sort == "number" else wanted.sort, descending=wanted.order == "desc"),
        after=None if wanted.cursor is None else cursor.read(wanted.cursor),
        limit=wanted.limit + 1,
    )
    if not found:
        shared.store.study_by_id(study)  # raises if there is no such study
    shown, rest = found[: wanted.limit], found[wanted.limit :]
    following = cursor.write(*shown[-1][1]) if rest else None
    return json(Page[Trial](items=tuple(Trial.of(trial) for trial, _ in shown), next=following))


@router.get("/trials/{trial}", response_model=Trial)
def read_trial(shared: Shared, study: StudyId, trial: TrialId) -> Response:
    """Return one finished trial."""
    return json(Trial.of(_trial(shared, study, trial)))


@router.get("/trials/{trial}/epochs", response_model=Items[Epoch])
def list_epochs(shared: Shared, study: StudyId, trial: TrialId) -> Response:
    """List the epochs of a trial's training; of a trial with repeats, those of the first training."""
    return json(Items[Epoch](items=tuple(map(Epoch.of, _trial(shared, study, trial).epochs))))


@router.get("/trials/{trial}/series", response_model=Items[TrialSeries])
def list_series(
    shared: Shared,
    study: StudyId,
    trial: TrialId,
    signs: Annotated[
        bool, Query(description="Whether to include all signs, at most 32 MiB per training.")
    ] = False,
) -> Response:
    """List the series that a trial's trainings recorded by step."""
    record = _trial(shared, study, trial)
    found = shared.store.series(study, record.arm, record.run, record.trial, signs=signs)
    items = (
        TrialSeries.of(repeat, series)
        for repeat, training in enumerate(found, start=1)
        for series in training
    )
    return json(Items[TrialSeries](items=tuple(items)))


@router.get("/trials/{trial}/confirmations", response_model=Items[Confirmation])
def list_confirmations(shared: Shared, study: StudyId, trial: TrialId) -> Response:
    """List a trial's confirmations. Only incumbents have any, if the study confirms them and their run is over."""
    record = _trial(shared, study, trial)
    found = shared.store.confirmations(study, of=(record.arm, record.run, record.trial))
    return json(Items[Confirmation](items=tuple(map(Confirmation.of, found))))


def _cursor(wanted: Filter) -> Cursor:
    kinds: dict[str, list[Any]] = {"number": [StudyName, Small, Small], "finished_at": [Moment, Large]}
    return Cursor(f"{wanted.sort} {wanted.order}", *kinds.get(wanted.sort, [Small, float, Large]))


def _trial(shared: Services, study: str, text: str) -> TrialRecord:
    named = trial_of(text)
    found = None if named is None else shared.store.trial(study, *named)
    if found is None:
        shared.store.study_by_id(study)
        raise Refused("unknown-trial", f"study {study} has no finished trial {text!r:.100}")
    return found
