"""Trainings that are taken over from other studies, and those that never are."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from studies.design.searchers import Observation
from studies.design.spec import StudySpec, from_json
from studies.records import ConfirmationRecord, TrialRecord, TrialState
from studies.running.reuse import MACHINE, PACKAGES, Record, address, conditions, elsewhere, found, taken
from studies.running.schedule import Confirms, Schedule
from studies.running.trial import Assignment, assign, assign_confirmation, assigned, choose
from trainers.seeds import derive

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PUBLISHED = {"name": "published", "method": "gradient-filter", "space": {"alpha": 1e-3, "gamma": 0.1}}
STUDY: dict[str, Any] = {
    "name": "s",
    "task": "spoken-digits",
    "arms": [
        "gradient-filter",
        {"name": "drawn", "method": "gradient-filter", "searcher": "random"},
        PUBLISHED,
    ],
    "searcher": "sobol",
    "runs": 2,
    "trials": 3,
    "confirm": {"seeds": 2},
}
RAN_ON: dict[str, Any] = {
    "protocol": 4,
    "hardware": {"cpu": "a processor", "instructions": "AVX2", "blas": "mkl", "host": "here", "cores": 2},
    "versions": dict.fromkeys(PACKAGES, "1"),
    "data": {"set": "spoken-digits", "sha256": "0" * 64},
    "teacher": None,
}


class Database:
    """The records that studies have stored, by address."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def find(self, addresses: Sequence[str]) -> dict[str, Record]:
        return {at: self.records[at] for at in addresses if at in self.records}

    def run(self, spec: StudySpec, ran_on: dict[str, Any] = RAN_ON) -> tuple[list[Record], int]:
        """Return all records of the study, and how many of them are taken over."""
        done = list(found(spec, spec.study_id, (), ran_on, self.find))
        schedule = Schedule(spec, spec.study_id, done, 0)
        while turns := list(schedule.open()):
            for turn in turns:
                assignment = assigned(spec, turn, data_dir=Path())
                later = taken(assignment, spec.study_id, conditions(spec, ran_on), self.find)
                record = later or trained(spec, assignment, ran_on)
                schedule.finished(record)
                done.append(record)
        for record in done:
            if record.address is not None and record.state is not TrialState.FAILED:
                self.records.setdefault(record.address, record)
        return sorted(done, key=lambda r: r.id), sum(record.taken_from is not None for record in done)


def trained(spec: StudySpec, assignment: Assignment, ran_on: dict[str, Any]) -> Record:
    """Make a record whose objective depends on hyperparameters and seed."""
    suggestion, _ = choose(assignment)
    number = derive(assignment.training.seed, repr(sorted(suggestion.hyperparameters.items()))) % 1000 / 1000
    record = TrialRecord(
        study=spec.study_id,
        arm=assignment.arm,
        run=assignment.run,
        trial=assignment.trial,
        state=TrialState.COMPLETED,
        hyperparameters=suggestion.hyperparameters,
        source=suggestion.source,
        seed=assignment.training.seed,
        objective=number,
        test_metric=number,
        suggest_seconds=0.0,
        train_seconds=1.0,
        attempts=1,
        error=None,
        started_at=NOW,
        finished_at=NOW,
        address=address(assignment, conditions(spec, ran_on)),
    )
    if assignment.confirms is None:
        return record
    shared = {f.name: getattr(record, f.name) for f in fields(ConfirmationRecord) if f.name != "number"}
    return ConfirmationRecord(number=assignment.confirms.number, **shared)


def same(records: list[Record]) -> list[Record]:
    """Return the records without the study that trained them, for comparison."""
    return [replace(record, study="", taken_from=None) for record in records]


def spec(**changes: Any) -> StudySpec:
    return from_json(STUDY | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"runs": 4},
        {"trials": 5},
        {"confirm": {"seeds": 3}},
        {"arms": [*STUDY["arms"], "bop"]},
        {"name": "other", "arms": [PUBLISHED | {"name": "another-name"}, "bop"], "runs": 1},
        {"resources": {"max_retries": 0, "max_seconds": 60}},
    ],
    ids=["runs", "trials", "seeds", "arms", "another", "limits"],
)
def test_a_study_that_takes_over_what_is_there_is_the_one_that_trained_it_all(
    changes: dict[str, Any],
) -> None:
    database, grown = Database(), spec(**changes)
    first, none = database.run(spec())
    assert (none, {record.taken_from for record in first}) == (0, {None})
    got, number = database.run(grown)
    whole, none = Database().run(grown)
    assert none == 0 < number
    assert same(got) == same(whole)
    names = {f"{spec().study_id}/{record.id}" for record in first}
    assert {record.taken_from for record in got} - {None} <= names
    shared = {r.address for r in first} & {r.address for r in whole}
    assert number == sum(record.address in shared for record in whole), "all that is there"
    again, all_of_it = database.run(replace_name(grown))
    assert (len(again), {r.taken_from for r in again} >= {r.taken_from for r in got} - {None}) == (
        all_of_it,
        True,
    )


def replace_name(study: StudySpec) -> StudySpec:
    return from_json(study.to_json() | {"name": "again"})


def test_what_was_published_is_no_part_of_an_address() -> None:
    arms = [{"name": "filter", "method": "gradient-filter"}]
    stated = [arms[0] | {"published": {"test": 0.9, "source": "x"}}]
    rows = [{"name": "a", "test": 0.8, "source": "x"}]
    found = {
        address(assign(study, study.arms[0], 1, (), data_dir=Path()), conditions(study, RAN_ON))
        for study in (spec(arms=arms), spec(arms=stated, published=rows))
    }
    assert len(found) == 1
    assert None not in found


def test_what_has_failed_or_has_no_address_is_trained_again_and_a_run_goes_on_from_it() -> None:
    database = Database()
    first, _ = database.run(spec(confirm=None, arms=["gradient-filter"], runs=1))
    del database.records[first[1].address or ""]  # as if it had failed
    got, number = database.run(spec(confirm=None, arms=["gradient-filter"], runs=1, name="t"))
    assert (number, same(got)) == (2, same(first))
    of_another = RAN_ON | {
        "start": {"file": "s.pt", "sha256": "1"},
        "hardware": RAN_ON["hardware"] | {"gpu": "one"},
    }
    assert conditions(spec(), of_another) == conditions(spec(), RAN_ON), "it uses neither"
    unknown = RAN_ON | {"data": {"set": "spoken-digits", "sha256": None}}
    got, number = Database().run(spec(), unknown)
    assert (number, {record.address for record in got}) == (0, {None})


def addresses() -> Iterator[tuple[str, str | None]]:
    """Yield addresses, each by the name of what differs from the usual study."""

    def at(
        ran_on: dict[str, Any] = RAN_ON, seen: float = 0.5, sem: float | None = None, **changes: Any
    ) -> str | None:
        study = spec(**changes)
        history = (Observation({"alpha": 0.1, "gamma": 0.2}, seen, sem),)
        return address(assign(study, study.arms[0], 1, history, data_dir=Path()), conditions(study, ran_on))

    yield "usual", at()
    yield "objective", at(seen=0.5000000000000001)
    yield "sem", at(sem=0.0)
    yield "seed", at(seed=1)
    yield "repeats", at(repeats=2)
    yield "proxy", at(proxy={"epochs": 3})
    yield "record", at(record={"flips": True})
    yield "more recorded", at(record={"flips": True, "every": 2})
    yield "method", at(arms=["bop"])
    yield "space", at(arms=[{"name": "gradient-filter", "space": {"alpha": {"low": 1e-3, "high": 1e-2}}}])
    yield "searcher", at(searcher="ax")
    yield "initial trials", at(searcher={"name": "sobol", "initial_trials": 6})
    yield "threads", at(resources={"cpus": 2})
    yield "compiled", at(resources={"compile": True})
    yield "start", at(RAN_ON | {"start": {"file": "s.pt", "sha256": "1"}}, start="s")
    yield "other start", at(RAN_ON | {"start": {"file": "s.pt", "sha256": "2"}}, start="s")
    yield "protocol", at(RAN_ON | {"protocol": 3})
    yield "data", at(RAN_ON | {"data": {"sha256": "1"}})
    yield "teacher", at(RAN_ON | {"teacher": {"file": "t", "sha256": "1"}})
    yield "changes", at(RAN_ON | {"changes": {"sha256": "1"}})
    for name in MACHINE:
        on_gpus = {"resources": {"gpus": 1}} if name == "gpu" else {}
        yield name, at(RAN_ON | {"hardware": RAN_ON["hardware"] | {name: "another"}}, **on_gpus)
    for name in PACKAGES:
        yield name, at(RAN_ON | {"versions": RAN_ON["versions"] | {name: "2"}})
    study = spec()
    usual = assign(study, study.arms[0], 1, (), data_dir=Path())
    yield "first", address(usual, conditions(study, RAN_ON))
    turned = replace(usual, space=dict(reversed(usual.space.items())))
    yield "order", address(turned, conditions(study, RAN_ON))
    fresh = assign_confirmation(study, study.arms[0], 1, Confirms(1, 1, {"alpha": 0.1}), data_dir=Path())
    yield "confirmation", address(fresh, conditions(study, RAN_ON))


def test_whatever_decides_a_trials_numbers_is_in_its_address() -> None:
    found = dict(addresses())
    assert None not in found.values()
    assert len(set(found.values())) == len(found)


def test_the_address_stays_what_it_is() -> None:
    """Otherwise no stored trial would be taken over any more."""
    assert dict(addresses())["usual"] == "587edcc957f0724976438972db85b3380fd17cf8926676c7de7b0e7052c3da90"


@pytest.mark.parametrize("own", ["cifar10-reactnet20-distilled", "cifar10-reactnet20"])
def test_what_an_arm_trains_is_found_in_a_study_that_trains_it_as_its_own(own: str) -> None:
    """In both directions: the arm's task has a teacher or has none."""
    tasks = {"cifar10-reactnet20-distilled", "cifar10-reactnet20"}
    study: dict[str, Any] = STUDY | {"task": own, "proxy": {"epochs": 3, "width": 8}, "arms": ["bop"]}
    arm = {"name": "b", "method": "bop", "task": own, "proxy": {"epochs": 3}}
    other = study | {"name": "t", "task": (tasks - {own}).pop(), "proxy": {"width": 8}, "arms": [arm, "bnew"]}
    teacher = {"file": "t.pt", "sha256": "1"}
    by_itself = RAN_ON | {"teacher": teacher if own.endswith("distilled") else None}
    beside = RAN_ON | ({"teachers": {own: teacher}} if own.endswith("distilled") else {"teacher": teacher})
    database = Database()
    first, _ = database.run(from_json(study), by_itself)
    got, number = database.run(from_json(other), beside)
    assert number == len(first) > 0
    mine = [replace(record, arm="bop") for record in got if record.arm == "b"]
    assert same(mine) == same(first)
    if own.endswith("distilled"):
        of_another = {"teachers": {own: teacher | {"sha256": "2"}}}
        assert database.run(from_json(other), RAN_ON | of_another)[1] == len(got) - number, "bnew alone"
        got, _ = Database().run(from_json(other))
        assert {record.arm for record in got if record.address is None} == {"b"}, "its teacher is unknown"


@pytest.mark.parametrize("unknown", ["protocol", "hardware", "versions", "data"])
def test_under_conditions_that_are_not_known_nothing_has_an_address(unknown: str) -> None:
    study = spec()
    assert conditions(study, {key: value for key, value in RAN_ON.items() if key != unknown}) is None
    on_gpus = from_json(STUDY | {"resources": {"gpus": 1}})
    assert conditions(on_gpus, RAN_ON) is None
    assert conditions(on_gpus, RAN_ON | {"hardware": RAN_ON["hardware"] | {"gpu": "a GPU"}}) is not None
    assert conditions(spec(start="s"), RAN_ON) is None


def test_it_is_said_where_nothing_is_taken_over_for_other_conditions() -> None:
    database, other = Database(), RAN_ON | {"protocol": 3}
    other["hardware"] = RAN_ON["hardware"] | {"instructions": "AVX512"}
    database.run(spec(), other)
    assert database.run(spec(name="t"))[1] == 0
    known = [("of-another-task", {}), ("like-this", RAN_ON), ("s-1", other)]
    assert elsewhere(spec(runs=5), RAN_ON, known, database.find) == (
        "nothing is taken over from s-1, because its trials had other conditions: "
        "protocol 3, here 4; instructions AVX512, here AVX2"
    )
    assert elsewhere(spec(seed=1), RAN_ON, known, database.find) is None
    assert elsewhere(spec(), RAN_ON, known[:2], database.find) is None
