"""What a study that could run would be and cost."""

from contextlib import suppress

from service.database.reads import Reads
from service.errors import StudyUnknown
from service.schemas import Estimate, Validation
from studies.design.spec import StudySpec


def validation(spec: StudySpec, store: Reads | None) -> Validation:
    """By what is in the store; without one there is nothing to know it from."""
    exists = estimate = None
    if store is not None:
        with suppress(StudyUnknown):
            exists = store.study_by_id(spec.study_id).state
        if (known := store.seconds_per_trial(spec.task, spec.proxy)) is not None:
            recorded, suggest_seconds, train_seconds = known
            seconds = spec.planned * (suggest_seconds + train_seconds)
            estimate = Estimate(seconds=seconds, recorded_trials=recorded)
    return Validation(
        id=spec.study_id, exists=exists, planned=spec.planned, estimate=estimate, spec=spec.to_json()
    )
