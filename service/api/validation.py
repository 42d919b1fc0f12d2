"""The size and the estimated cost of a study that could run, and what it could show."""

import math
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from service.database.reads import Reads
from service.errors import StudyUnknown
from service.schemas import Cost, Design, Validation
from studies.analysis import power
from studies.design.spec import StudySpec
from studies.records import TrialRecord


def validation(spec: StudySpec, store: Reads | None, ran_on: Mapping[str, Any] | None = None) -> Validation:
    """The study's size, what so many runs can show, and what it costs by the trials in a store, where there is one.

    Trials that are there are those of a machine that `ran_on` describes, or the last one that the task was trained on.
    """
    exists, estimate, there = None, None, 0
    if store is not None:
        from studies.running import reuse  # which needs SciPy

        machine = ran_on or next((on for _, on in store.machines(spec.task)), {})
        find = partial(store.at, with_epochs=False)
        others = reuse.found(spec, spec.study_id, (), machine, find)
        there = sum(isinstance(record, TrialRecord) for record in others)
        with suppress(StudyUnknown):
            exists = store.study_by_id(spec.study_id).state
        if (known := store.seconds_per_trial(spec.task, spec.proxy)) is not None:
            recorded, suggest_seconds, train_seconds = known
            seconds = (spec.planned - there) * (suggest_seconds + spec.repeats * train_seconds)
            estimate = Cost(seconds=seconds, recorded_trials=recorded)
    return Validation(
        id=spec.study_id,
        exists=exists,
        planned=spec.planned,
        there=there,
        confirmations=spec.most_confirmations,
        estimate=estimate,
        design=_design(spec),
        spec=spec.to_json(),
    )


def _design(spec: StudySpec) -> Design:
    if spec.stop_when is not None:
        detectable = power.decidable(spec.runs)
        return Design(runs=spec.runs, pairs=1, runs_needed=power.DECIDED_FROM, detectable=detectable)
    pairs = math.comb(len(spec.arms), 2)
    return Design(
        runs=spec.runs,
        pairs=pairs,
        runs_needed=power.runs_needed(max(pairs, 1)),
        detectable=power.detectable(spec.runs, pairs) if pairs else None,
    )
