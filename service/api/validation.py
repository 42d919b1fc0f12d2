"""The size and the estimated cost of a study that could run."""

from contextlib import suppress

from service.database.reads import Reads
from service.errors import StudyUnknown
from service.schemas import Cost, Validation
from studies.design.spec import StudySpec


def validation(spec: StudySpec, store: Reads | None) -> Validation:
    """The study's size, and an estimate of its cost from the trials in the store, where there is one."""
    exists = estimate = None
    if store is not None:
        with suppress(StudyUnknown):
            exists = store.study_by_id(spec.study_id).state
        if (known := store.seconds_per_trial(spec.task, spec.proxy)) is not None:
            recorded, suggest_seconds, train_seconds = known
            seconds = spec.planned * (suggest_seconds + train_seconds)
            estimate = Cost(seconds=seconds, recorded_trials=recorded)
    return Validation(
        id=spec.study_id, exists=exists, planned=spec.planned, estimate=estimate, spec=spec.to_json()
    )
