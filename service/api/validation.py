"""The size and the estimated cost of a valid study, and what it could show."""

import math
from collections import Counter
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
from trainers.tasks import Proxy


def validation(spec: StudySpec, store: Reads | None, ran_on: Mapping[str, Any] | None = None) -> Validation:
    """Return the study's size, what its runs can show, and, if there is a store, its cost by the stored trials.

    A planned trial counts as stored if it was trained on a machine like `ran_on`, else like the last one that trained
    the task, with the teachers that arms' own tasks last learned from.
    """
    exists, estimate, there = None, None, 0
    if store is not None:
        from studies.running import reuse  # which needs SciPy

        machine = ran_on or _last_machine(spec, store)
        find = partial(store.at, with_epochs=False)
        others = reuse.found(spec, spec.study_id, (), machine, find)
        left = Counter({arm.name: spec.runs * spec.trials for arm in spec.arms})
        left.subtract(record.arm for record in others if isinstance(record, TrialRecord))
        there = spec.planned - left.total()
        with suppress(StudyUnknown):
            exists = store.study_by_id(spec.study_id).state
        estimate = _cost(spec, left, store)
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


def _last_machine(spec: StudySpec, store: Reads) -> Mapping[str, Any]:
    """Return what the study would run on, by the last provenance of its task; empty if no study of the task has run."""
    ran_on = [on for _, on in store.machines(spec.task)]
    if not ran_on:
        return {}
    teachers = {}
    for task in spec.tasks[1:]:
        learned = [on.get("teachers", {}).get(task.name) for on in ran_on]
        learned += [on.get("teacher") for _, on in store.machines(task.name)]
        if known := next(filter(None, learned), None):
            teachers[task.name] = known
    return {**ran_on[0], "teachers": teachers}


def _cost(spec: StudySpec, left: Mapping[str, int], store: Reads) -> Cost | None:
    """Return the cost of the trials `left` of each arm; None if no trial of some arm's task and proxy is recorded yet,
    or if an arm searches its batch size."""
    trials = Counter[tuple[str, Proxy]]()
    for arm in spec.arms:
        proxy, *others = spec.tried(arm)
        if others:
            return None
        trials[spec.task_of(arm).name, proxy] += left[arm.name]
    costs = []
    for (task, proxy), number in trials.items():
        if (known := store.seconds_per_trial(task, proxy)) is None:
            return None
        recorded, suggest_seconds, train_seconds = known
        costs.append((number * (suggest_seconds + spec.repeats * train_seconds), recorded))
    return Cost(
        seconds=sum(cost for cost, _ in costs), recorded_trials=sum(recorded for _, recorded in costs)
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
