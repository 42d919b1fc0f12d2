"""The size and the estimated cost of a study that could run, and what it could show."""

import math
from contextlib import suppress

from service.database.reads import Reads
from service.errors import StudyUnknown
from service.schemas import Cost, Design, Validation
from studies.analysis import power
from studies.design.spec import StudySpec


def validation(spec: StudySpec, store: Reads | None) -> Validation:
    """The study's size, what so many runs can show, and what it costs by the trials in a store, where there is one."""
    exists = estimate = None
    if store is not None:
        with suppress(StudyUnknown):
            exists = store.study_by_id(spec.study_id).state
        if (known := store.seconds_per_trial(spec.task, spec.proxy)) is not None:
            recorded, suggest_seconds, train_seconds = known
            seconds = spec.planned * (suggest_seconds + spec.repeats * train_seconds)
            estimate = Cost(seconds=seconds, recorded_trials=recorded)
    pairs = math.comb(len(spec.arms), 2)
    design = Design(
        runs=spec.runs,
        pairs=pairs,
        runs_needed=power.runs_needed(max(pairs, 1)),
        detectable=power.detectable(spec.runs, pairs) if pairs else None,
    )
    return Validation(
        id=spec.study_id,
        exists=exists,
        planned=spec.planned,
        confirmations=spec.most_confirmations,
        estimate=estimate,
        design=design,
        spec=spec.to_json(),
    )
