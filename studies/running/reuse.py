"""Trainings that another study has already done, found by an address: a digest of all that decides their numbers."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from studies.design.space import searched, to_json
from studies.design.spec import StudySpec
from studies.records import ConfirmationRecord, TrialRecord
from studies.running.schedule import Schedule
from studies.running.trial import Assignment, assigned
from trainers.tasks import Task
from trainers.training_spec import fingerprint

Record = TrialRecord | ConfirmationRecord
# looks up which of these addresses have records in a database: results only
Find = Callable[[Sequence[str]], Mapping[str, Record]]

# packages whose versions decide suggestions and the numbers of a training
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "botorch",
    "gpytorch",
    "linear-operator",
    "ax-platform",
    "pillow",
    "nvidia-dali-cuda120",
)
MACHINE = ("cpu", "gpu", "instructions", "blas")
ELSEWHERE = (
    "task",
    "proxy",
    "hyperparameters",
    "start",
    "teacher",
)  # parts of a fingerprint that an address states in other words

R = TypeVar("R", TrialRecord, ConfirmationRecord)


def conditions(spec: StudySpec, ran_on: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what decides a study's numbers besides its file, from the provenance; None if that is not known.

    JSON values: the protocol, the kind of machine, versions, and the checksums of the data, the teacher, the start, the
    code's changes since its commit, and the teacher of each task that an arm has of its own.
    """
    hardware, versions = ran_on.get("hardware", {}), ran_on.get("versions", {})
    learned = ran_on.get("teachers", {})
    files = {name: (ran_on.get(name) or {}).get("sha256") for name in ("data", "teacher", "start", "changes")}
    found = {
        "protocol": ran_on.get("protocol"),
        **{name: hardware.get(name) for name in MACHINE},
        **{name: versions.get(name) for name in PACKAGES},
        **files,
        **({} if spec.start else {"start": None}),  # the provenance may be another study's
        **({} if spec.resources.gpus else {"gpu": None}),
        **{_teacher(task): (learned.get(task.name) or {}).get("sha256") for task in spec.tasks[1:]},
    }
    needed = ["protocol", "cpu", "instructions", "blas", "torch", "data"]
    needed += ["teacher"] * bool(ran_on.get("teacher")) + ["start"] * bool(spec.start)
    needed += ["gpu"] * bool(spec.resources.gpus)
    return found if all(found[name] is not None for name in needed) else None


_TEACHER = "teacher of "


def _teacher(task: Task) -> str:
    """Return the key in conditions of the teacher of a task that an arm has of its own."""
    return f"{_TEACHER}{task.name}"


def address(assignment: Assignment, under: Mapping[str, Any] | None) -> str | None:
    """Return the address of a training, or of a trial of several, under these `conditions`; None if they are not known.

    Two addresses are equal only if all that decides the numbers is equal; names of studies and arms are not part of it.
    """
    if under is None:
        return None
    training, searcher = assignment.training, assignment.searcher
    teacher = under.get(_teacher(training.task), under.get("teacher"))
    if training.task.recipe.teacher and teacher is None:
        return None
    shared = {name: value for name, value in under.items() if not name.startswith(_TEACHER)}
    trained = {
        name: value
        for name, value in fingerprint(training, assignment.machine).items()
        if name not in ELSEWHERE
    }
    asked = (searcher.model_dump(), assignment.searcher_seed) if searched(assignment.space) else None
    decides = {
        "conditions": shared | {"teacher": teacher},
        "task": [training.task.name, training.proxy.changes],
        "training": trained,
        "more_seeds": assignment.more_seeds,
        "space": [[name, to_json(dimension)] for name, dimension in assignment.space.items()],  # in its order
        "searcher": asked,
        "history": [[dict(o.hyperparameters), o.objective, o.sem] for o in assignment.history],
        "confirms": assignment.confirms is not None,
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def found(
    spec: StudySpec,
    study: str,
    history: Sequence[Record],
    ran_on: Mapping[str, Any],
    find: Find,
    *,
    data_dir: Path = Path(),
) -> Iterator[Record]:
    """Yield what the study need not train after `history`: others' records as its own, in the order to store them.

    A searcher with the same history chooses the same, so a run can be followed to where the records end.
    """
    under = conditions(spec, ran_on)
    if under is None:
        return
    schedule, asked_for = Schedule(spec, study, history, slots=0), set[tuple[object, ...]]()
    start_sum = under["start"]
    while True:
        asked: dict[str, list[Assignment]] = {}
        for turn in schedule.open():
            confirms = turn.confirms and (turn.confirms.trial, turn.confirms.number)
            key = (turn.arm, turn.run, len(turn.history), confirms)
            if key in asked_for:
                continue
            asked_for.add(key)
            assignment = assigned(spec, turn, data_dir=data_dir, start_sum=start_sum)
            at = address(assignment, under)
            if at is not None:
                asked.setdefault(at, []).append(assignment)
        there = find(list(asked))
        if not there:
            return
        for at, record in there.items():
            for assignment in asked[at]:
                mine = own(record, study, assignment)
                yield mine
                schedule.finished(mine)


def elsewhere(
    spec: StudySpec, ran_on: Mapping[str, Any], others: Sequence[tuple[str, Mapping[str, Any]]], find: Find
) -> str | None:
    """Say why nothing is taken over if all records that exist were trained under other conditions; else return None.

    `others` are studies of the task, by id, with what they ran on.
    """
    under, empty = conditions(spec, ran_on), Schedule(spec, spec.study_id, (), slots=0)
    if under is None:
        return None
    for study, on in others:
        theirs = conditions(spec, on)
        if theirs in (None, under) or (theirs["start"] is None) != (under["start"] is None):
            continue
        first = [
            address(assigned(spec, turn, data_dir=Path()), theirs) for turn in empty.open() if turn.run == 1
        ]
        if find([at for at in first if at is not None]):
            differs = (
                f"{name} {theirs[name]}, here {under[name]}" for name in under if under[name] != theirs[name]
            )
            return f"nothing is taken over from {study}, because its trials had other conditions: {'; '.join(differs)}"
    return None


def taken(assignment: Assignment, study: str, under: Mapping[str, Any] | None, find: Find) -> Record | None:
    """Return the record of this assignment, as the study's own, if any study has one."""
    at = address(assignment, under)
    record = find([at]).get(at) if at is not None else None
    return None if record is None else own(record, study, assignment)


def own(record: Record, study: str, assignment: Assignment) -> Record:
    """Copy the record, as this study's result for this assignment."""
    if isinstance(record, TrialRecord):
        return _copied(record, study, assignment)
    assert assignment.confirms is not None
    return replace(_copied(record, study, assignment), number=assignment.confirms.number)


def _copied(record: R, study: str, assignment: Assignment) -> R:
    return replace(
        record,
        study=study,
        arm=assignment.arm,
        run=assignment.run,
        trial=assignment.trial,
        taken_from=record.taken_from or f"{record.study}/{record.id}",
    )
