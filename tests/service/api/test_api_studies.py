"""Studies over HTTP: submitted, listed, edited, moved between their states."""

import itertools
import os
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import client_of, location, serving, token_of
from sqlalchemy import Engine, update
from starlette.testclient import TestClient
from writers import created, spec, stored, trial

from service.api.validation import validation
from service.database.engine import writing
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import studies
from service.database.tokens import Scope
from service.errors import StoreError
from service.schemas import Study, StudySummary, Validation
from studies.design.spec import from_json
from studies.records import StudyState, TrialState
from studies.running.reuse import PACKAGES, address, conditions
from studies.running.schedule import Schedule
from studies.running.trial import assigned

START = datetime(2024, 1, 1, tzinfo=UTC)
FILE = {
    "name": "a-study",
    "task": "spoken-digits",
    "methods": ["gradient-filter", "latent-sgd"],
    "runs": 2,
    "trials": 3,
}

RAN_ON: dict[str, Any] = {
    "protocol": 4,
    "hardware": {"cpu": "a processor", "instructions": "AVX2", "blas": "mkl"},
    "versions": dict.fromkeys(PACKAGES, "1"),
    "data": {"set": "cifar10", "sha256": "0" * 64},
}


def bring(engine: Engine, study: str, state: StudyState, **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(update(studies).where(studies.c.id == study).values(state=state, **values))


# submitting


def test_a_study_file_is_queued(client: TestClient, app: FastAPI, store: Store) -> None:
    answer = client.post("/v1/studies", json=FILE, params={"labels": ["paper", "a:b"], "priority": -3})
    assert answer.status_code == 202
    study = Study.model_validate_json(answer.content)
    assert answer.headers["location"] == f"studies/{study.id}"  # correct under any prefix
    assert study.id == from_json(FILE).study_id
    assert (study.state, study.labels, study.priority) == (StudyState.QUEUED, ("a:b", "paper"), -3)
    assert (study.submitted_by, study.last_event, study.provenance) == ("local", 1, {})
    assert study.trials.planned == 12
    assert study.spec == from_json(FILE).to_json()  # with every default
    assert study.incumbents == {}
    assert client.get(location(answer)).json() == answer.json()
    assert store.study_by_id(study.id).spec == study.spec
    assert len(app.state.woken) == 1


def test_a_whole_number_may_be_written_as_a_real_one(client: TestClient) -> None:
    """JSON Schema allows it."""
    file = FILE | {"runs": 2.0, "trials": 3.0}
    sent = client.post("/v1/studies", json=file, params={"priority": "32.0"})
    assert (sent.status_code, sent.json()["priority"]) == (202, 32), sent.text
    assert sent.json()["id"] == from_json(FILE | {"runs": 2, "trials": 3}).study_id
    edited = client.patch(location(sent), json={"priority": -7.0})
    assert (edited.status_code, edited.json()["priority"]) == (200, -7), edited.text


def test_the_same_study_again_is_the_one_that_is_there(client: TestClient, engine: Engine) -> None:
    first = client.post("/v1/studies", json=FILE)
    client.patch(location(first), json={"name": "renamed"})
    again = client.post("/v1/studies", json=FILE, params={"labels": "other"})
    assert (again.status_code, location(again)) == (200, location(first))
    assert (again.json()["name"], again.json()["labels"]) == ("renamed", [])
    assert stored(engine, studies) == 1


def test_a_key_makes_a_submission_one(client: TestClient, app: FastAPI, engine: Engine) -> None:
    key = {"Idempotency-Key": "k 1"}
    first = client.post("/v1/studies", json=FILE, headers=key, params={"priority": 1})
    assert first.status_code == 202
    assert client.post("/v1/studies", json=FILE, headers=key, params={"priority": 1}).status_code == 200
    for changes, parameters in (
        ({"seed": 1}, {"priority": 1}),
        ({}, {"priority": 2}),
        ({}, {"priority": 1, "labels": "x"}),
    ):
        other = client.post("/v1/studies", json=FILE | changes, headers=key, params=parameters)
        assert (other.status_code, other.json()["type"]) == (409, "/problems/conflict")
        assert "Idempotency-Key 'k 1' was used before for another submission" in other.json()["detail"]
    assert stored(engine, studies) == 1
    one, two = (client_of(app, token_of(app, Scope.SUBMIT, name)) for name in ("one", "two"))
    assert (
        one.post("/v1/studies", json=FILE | {"seed": 2}, headers=key).status_code == 202
    )  # a key is its sender's
    assert two.post("/v1/studies", json=FILE | {"seed": 3}, headers=key).status_code == 202


def test_of_many_at_once_under_one_key_one_is_accepted(store: Store) -> None:
    """Its repetition gets the same answer, whichever came first."""
    for number in range(4):
        together = threading.Barrier(16)

        def submit(seed: int, number: int = number, together: threading.Barrier = together) -> str:
            together.wait(30)
            try:
                given = spec(f"round-{number}", seed=seed)
                study, new = store.submit(given, {}, actor="ada", key=f"key-{number}")
            except StoreError as error:
                return "refused" if "was used before for another submission" in str(error) else str(error)
            assert study.id == given.study_id
            return "new" if new else "known"

        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(submit, [seed // 2 for seed in range(16)]))  # each is sent twice
        first = found.index("new")
        assert sorted(found) == ["known", "new"] + ["refused"] * 14
        assert found[first ^ 1] == "known"
    assert len(store.studies()) == 4


def test_a_key_is_forgotten_with_its_study(client: TestClient, engine: Engine) -> None:
    key = {"Idempotency-Key": "k"}
    where = location(client.post("/v1/studies", json=FILE, headers=key))
    bring(engine, from_json(FILE).study_id, StudyState.CANCELLED)
    assert client.delete(where).status_code == 204
    assert client.post("/v1/studies", json=FILE, headers=key).status_code == 202


def test_too_many_trials_are_refused(store: Store, spoken_digits: Path) -> None:
    with serving(store, spoken_digits, max_trials=11) as app:
        answer = client_of(app).post("/v1/studies", json=FILE)
        assert answer.status_code == 422
        assert answer.json()["faults"] == [
            {"field": "trials", "message": "must be at most 11 in all runs of all arms, got 12"}
        ]
        assert client_of(app).post("/v1/studies", json=FILE | {"trials": 2}).status_code == 202


def test_a_proxy_that_its_network_cannot_take_is_refused(client: TestClient) -> None:
    file = FILE | {"task": "cifar10-denoise", "proxy": {"width": 2, "image_size": 12}}
    for path in ("/v1/studies", "/v1/studies:validate"):
        answer = client.post(path, json=file)
        assert answer.status_code == 422
        assert answer.json()["faults"] == [
            {
                "field": "proxy.width",
                "message": "width must be at least 4 for cifar10-denoise's network, got 2",
            },
            {
                "field": "proxy.image_size",
                "message": "image_size must be a multiple of 8 for cifar10-denoise's network, got 12",
            },
        ]


def test_what_this_machine_cannot_run_is_refused_unless_another_runs_it(store: Store, tmp_path: Path) -> None:
    file = FILE | {"resources": {"cpus": 1024}, "trials": 1000, "runs": 1000}
    with serving(store, tmp_path) as app:
        for path in ("/v1/studies", "/v1/studies:validate"):
            answer = client_of(app).post(path, json=file)
            assert answer.status_code == 422
            assert [fault["field"] for fault in answer.json()["faults"]] == [
                "trials",
                "task",
                "resources.cpus",
            ]
            assert "run: tunebench data fetch spoken-digits" in answer.json()["detail"]
    assert store.studies() == []
    with serving(store, tmp_path, ray_address="ray.example:6379", max_trials=2_000_000) as app:
        assert client_of(app).post("/v1/studies", json=file).status_code == 202


def test_a_decoder_that_is_not_on_this_machine_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    file = FILE | {"task": "imagenet-birealnet18", "resources": {"decoder": "dali"}}
    with serving(store, tmp_path) as app:
        answer = client_of(app).post("/v1/studies", json=file)
    assert answer.status_code == 422
    assert answer.json()["faults"][-1] == {
        "field": "resources.decoder",
        "message": "on this server: NVIDIA DALI is not installed here: pip install 'tunebench[dali]'",
    }


def test_a_study_is_validated_without_being_stored(client: TestClient, store: Store, engine: Engine) -> None:
    answer = client.post("/v1/studies:validate", json=FILE)
    validation = Validation.model_validate_json(answer.content)
    assert (validation.id, validation.exists, validation.planned) == (from_json(FILE).study_id, None, 12)
    assert validation.estimate is None
    assert stored(engine, studies) == 0
    lease = store.claim(store.create_study(spec("other"), {}).id, Owner.current(), 60)
    store.record(lease, trial(lease.study, suggest_seconds=0.5, train_seconds=2.0))
    store.record(lease, trial(lease.study, number=2, suggest_seconds=1.5, train_seconds=3.0))
    validation = Validation.model_validate_json(client.post("/v1/studies:validate", json=FILE).content)
    assert validation.estimate is not None
    assert validation.estimate.recorded_trials == 2
    assert validation.estimate.seconds == pytest.approx(12 * (1.0 + 2.5))
    client.post("/v1/studies", json=FILE)
    assert client.post("/v1/studies:validate", json=FILE).json()["exists"] == "queued"


def test_a_proxy_is_estimated_by_its_own_kind(client: TestClient, store: Store) -> None:
    def estimate(**changes: Any) -> float | None:
        answer = client.post("/v1/studies:validate", json=FILE | changes)
        found = Validation.model_validate_json(answer.content).estimate
        return found and found.seconds / 12

    short: dict[str, Any] = {"epochs": 5, "train_fraction": 0.1}
    for seconds, proxy in ((1.0, short), (20.0, {}), (3.0, {"epochs": 5})):
        lease = store.claim(
            store.create_study(spec(f"p{seconds:g}", proxy=proxy), {}).id, Owner.current(), 60
        )
        store.record(lease, trial(lease.study, suggest_seconds=0.0, train_seconds=seconds))
    assert estimate(proxy=short) == pytest.approx(1.0)
    assert estimate() == pytest.approx(20.0)
    assert estimate(proxy={"epochs": 5}) == pytest.approx(3.0)
    assert estimate(proxy={"epochs": 4}) is None
    arms = ["latent-sgd", {"name": "gradient-filter", "proxy": {"epochs": 5}}]
    assert estimate(methods=arms) == pytest.approx((20.0 + 3.0) / 2)
    own = [arms[0], {"name": "gradient-filter", "proxy": {"epochs": 4}}]
    assert estimate(methods=own) is None
    lease = store.claim(store.create_study(spec("mixed", arms=own), {}).id, Owner.current(), 60)
    store.record(lease, trial(lease.study, suggest_seconds=1.0, train_seconds=6.0))
    assert estimate(methods=own) == pytest.approx((20.0 + 7.0) / 2)
    assert estimate() == pytest.approx(20.0), "of the whole task alone"
    (listed,) = (each for each in client.get("/v1/studies").json()["items"] if each["name"] == "mixed")
    assert listed["task_label"] == "spoken-digits (gradient-filter: 4 epochs)"


def test_an_arm_of_one_batch_size_is_estimated_by_its_kind(client: TestClient, store: Store) -> None:
    def of(size: object) -> list[dict[str, Any]]:
        return [{"name": "gradient-filter", "space": {"batch_size": size}}]

    def estimate(size: object) -> float | None:
        answer = client.post("/v1/studies:validate", json=FILE | {"methods": of(size)})
        found = Validation.model_validate_json(answer.content).estimate
        return found and found.seconds / 6

    for seconds, size in ((20.0, None), (3.0, 25)):
        arms = {"methods": of(size)} if size else {}
        lease = store.claim(store.create_study(spec(f"b{seconds:g}", **arms), {}).id, Owner.current(), 60)
        store.record(lease, trial(lease.study, suggest_seconds=0.0, train_seconds=seconds))
    assert estimate(25) == pytest.approx(3.0)
    assert estimate(50) == pytest.approx(20.0), "as the task has it"
    assert estimate(100) is None
    assert estimate([25, 50]) is None


def test_what_is_there_of_arms_with_tasks_of_their_own(store: Store) -> None:
    """Each arm counts what a study of its task has trained, with that study's teacher."""
    plain, distilled = "cifar10-reactnet20", "cifar10-reactnet20-distilled"
    arm = {"name": "a", "method": "bop", "space": {"gamma": 1e-2, "tau": 1e-8}}
    shared = {"arms": [arm], "runs": 1, "trials": 1}
    for task, teacher in ((distilled, {"file": "t.pt", "sha256": "1"}), (plain, None)):
        study, ran_on = spec(task, **shared, task=task), RAN_ON | {"teacher": teacher}
        (turn,) = Schedule(study, study.study_id, (), slots=0).open()
        at = address(assigned(study, turn, data_dir=Path()), conditions(study, ran_on))
        lease = store.claim(store.create_study(study, {}).id, Owner.current(), 60)
        store.ran_on(lease, ran_on)
        store.record(lease, trial(lease.study, "a", address=at))
    both = spec("both", **shared | {"arms": [arm, arm | {"name": "b", "task": distilled}]}, task=plain)
    found = validation(both, store)
    assert (found.planned, found.there) == (2, 2)


@pytest.mark.parametrize("address", ["/v1/studies", "/v1/studies:validate"])
def test_a_share_of_next_to_nothing_is_refused_at_once(client: TestClient, address: str) -> None:
    answer = client.post(address, json=FILE | {"proxy": {"train_fraction": 1e-320}})
    assert answer.status_code == 422
    (fault,) = answer.json()["faults"]
    assert fault == {
        "field": "proxy.train_fraction",
        "message": "train_fraction must be at least 0.0001, got 1e-320",
    }


def test_a_proxy_is_found_under_its_task_and_named_as_a_proxy(client: TestClient) -> None:
    study = client.post("/v1/studies", json=FILE | {"proxy": {"epochs": 5}}).json()
    assert (study["task"], study["proxy"]) == ("spoken-digits", {"epochs": 5})
    assert study["task_label"] == "proxy of spoken-digits: 5 epochs"
    whole = client.post("/v1/studies", json=FILE).json()
    assert (whole["proxy"], whole["task_label"]) == ({}, "spoken-digits")
    assert whole["id"] != study["id"]
    found = client.get("/v1/studies", params={"task": "spoken-digits"}).json()["items"]
    assert {item["task_label"] for item in found} == {study["task_label"], "spoken-digits"}


def test_what_a_study_starts_from_is_on_the_server(store: Store, spoken_digits: Path, tmp_path: Path) -> None:
    (tmp_path / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    sent, file = FILE | {"start": "first", "proxy": {"epochs": 5}}, tmp_path / "starts" / "first.pt"
    with serving(store, tmp_path) as app:
        client = client_of(app)
        for path in ("/v1/studies", "/v1/studies:validate"):
            answer = client.post(path, json=sent)
            assert answer.status_code == 422
            (fault,) = answer.json()["faults"]
            assert fault["field"] == "start"
            assert fault["message"].startswith(f"on this server: {file}: missing; train a network, ")
            (fault,) = client.post(path, json=sent | {"start": "../x"}).json()["faults"]
            assert fault["field"] == "start"
            assert fault["message"].endswith("lower-case letters, digits and inner hyphens, got '../x'")
        file.parent.mkdir()
        file.touch()
        study = client.post("/v1/studies", json=sent).json()
        assert (study["start"], study["proxy"]) == ("first", {"epochs": 5})
        assert study["task_label"] == "proxy of spoken-digits: 5 epochs, from first"
        assert client.post("/v1/studies:validate", json=sent).json()["spec"]["start"] == "first"
        (listed,) = client.get("/v1/studies", params={"task": "spoken-digits"}).json()["items"]
        assert (listed["start"], listed["task_label"]) == ("first", study["task_label"])
        assert client.post("/v1/studies", json=FILE).json()["start"] is None
        curves = client.get(f"/v1/studies/{study['id']}/curves").json()
        assert curves["task_label"] == study["task_label"]
    with serving(store, tmp_path, ray_address="ray.example:6379") as app:
        assert client_of(app).post("/v1/studies", json=sent | {"start": "elsewhere"}).status_code == 202


# reading


def test_a_study_says_what_has_become_of_it(
    client: TestClient, app: FastAPI, store: Store, engine: Engine
) -> None:
    study = store.create_study(spec(), {"commit": "0f3c"}).id
    lease = store.claim(study, Owner.current(), 60)
    for number, (objective, state) in enumerate(
        [(0.4, "completed"), (0.9, "completed"), (0.9, "completed"), (0.0, "diverged"), (None, "failed")],
        start=1,
    ):
        store.record(lease, trial(study, number=number, objective=objective, state=TrialState(state)))
    bring(engine, study, StudyState.RUNNING, job="a job/1")
    found = Study.model_validate_json(client.get(f"/v1/studies/{study}").content)
    assert found.trials.model_dump() == {
        "completed": 3,
        "diverged": 1,
        "failed": 1,
        "planned": 12,
        "taken_over": 0,
    }
    assert {name: best.id for name, best in found.incumbents.items()} == {
        "gradient-filter": "gradient-filter-r01-t02"  # of equals, the first
    }
    assert (found.direction, found.metric, found.provenance) == ("maximize", "accuracy", {"commit": "0f3c"})
    assert found.dashboard is None  # Ray does not know the job
    jobs = app.state.services.jobs
    jobs.known = frozenset({"a job/1"})
    found = Study.model_validate_json(client.get(f"/v1/studies/{study}").content)
    assert found.dashboard == f"{jobs.dashboard_url}/#/jobs/a%20job/1"
    assert (found.arms, found.searcher, found.runs, found.budget) == (
        ("gradient-filter", "latent-sgd"), "botorch", 2, 3,
    )  # fmt: skip


# lists


@pytest.fixture
def listed(store: Store, engine: Engine) -> list[StudySummary]:
    """Studies of each state and label, newest first, some created at the same moment."""
    for i, state in enumerate([*StudyState, *StudyState]):
        chosen = [label for label, every in (("a", 2), ("b", 3)) if i % every == 0]
        made = START + timedelta(minutes=i // 2)
        study = created(store, spec(f"s{i:02d}"), made, labels=chosen).id
        bring(engine, study, state)
    found = [StudySummary.of(study) for study in store.studies()]
    assert found == sorted(found, key=lambda study: (study.created_at, study.id), reverse=True)
    assert len(found) == 14
    return found


def pages(client: TestClient, path: str, **parameters: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield each page of the list."""
    cursor = None
    while True:
        answer = client.get(path, params=parameters | ({} if cursor is None else {"cursor": cursor}))
        assert answer.status_code == 200, answer.text
        yield answer.json()["items"]
        if (cursor := answer.json()["next"]) is None:
            return


@pytest.mark.parametrize("limit", [1, 5, 14, 200])
def test_lists_are_what_python_would_choose(
    client: TestClient, listed: list[StudySummary], limit: int
) -> None:
    choices: list[list[str]] = [[], ["queued"], ["running", "failed"]]
    for states, label in itertools.product(choices, (None, "a", "b", "none")):
        parameters = {"limit": limit, "state": states} | ({} if label is None else {"label": label})
        parts = list(pages(client, "/v1/studies", **parameters))
        wanted = [
            study
            for study in listed
            if (not states or study.state in states) and (label is None or label in study.labels)
        ]
        assert [StudySummary.model_validate(item) for part in parts for item in part] == wanted
        assert [len(part) for part in parts[:-1]] == [limit] * (len(parts) - 1)
        assert bool(parts[-1]) is bool(wanted)


def test_a_list_is_of_one_task(client: TestClient, listed: list[StudySummary]) -> None:
    assert len(client.get("/v1/studies", params={"task": "spoken-digits"}).json()["items"]) == 14
    assert client.get("/v1/studies", params={"task": "cifar"}).json() == {"items": [], "next": None}


@given(added=st.lists(st.integers(0, 20), max_size=6), limit=st.integers(1, 4))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_read_while_others_are_added_lacks_nothing_and_repeats_nothing(
    client: TestClient, store: Store, added: list[int], limit: int
) -> None:
    seeds = itertools.count(len(store.studies()))
    for i in range(5):
        created(store, spec("before", seed=next(seeds)), START + timedelta(minutes=i))
    before = [study.id for study in store.studies()]
    seen: list[str] = []
    for part in pages(client, "/v1/studies", limit=limit):
        seen += [study["id"] for study in part]
        if added:  # older than, between and newer than what has been read
            created(store, spec("since", seed=next(seeds)), START + timedelta(minutes=added.pop()))
    assert len(seen) == len(set(seen))
    assert [study for study in seen if study in before] == before


def test_a_cursor_survives_the_study_it_names(
    client: TestClient, listed: list[StudySummary], store: Store, engine: Engine
) -> None:
    first = client.get("/v1/studies", params={"limit": 5}).json()
    bring(engine, listed[4].id, StudyState.CANCELLED)
    store.delete(listed[4].id)
    rest = client.get("/v1/studies", params={"limit": 200, "cursor": first["next"]}).json()
    assert [study["id"] for study in rest["items"]] == [study.id for study in listed[5:]]


# editing


def test_editing_changes_what_it_names(client: TestClient, app: FastAPI, store: Store) -> None:
    where = location(client.post("/v1/studies", json=FILE, params={"labels": "x"}))
    answer = client.patch(where, json={"labels": ["b", "a", "a"], "priority": 7})
    assert (answer.status_code, answer.json()["labels"], answer.json()["priority"]) == (200, ["a", "b"], 7)
    answer = client.patch(where, json={"name": "renamed", "priority": None})
    assert (answer.json()["name"], answer.json()["labels"], answer.json()["priority"]) == (
        "renamed",
        ["a", "b"],
        7,
    )
    assert client.patch(where, json={"labels": []}).json()["labels"] == []
    assert client.patch(where, json={}).json()["last_event"] == 4
    assert [dict(event.data) for event in store.events(from_json(FILE).study_id)][1:] == [
        {"labels": ["a", "b"], "priority": 7},
        {"name": "renamed"},
        {"labels": []},
    ]


# states


S = StudyState
AFTER = {  # by action, the state that it leads to from each state; None if it is refused
    "pause": {S.QUEUED: S.PAUSED, S.STARTING: S.STARTING, S.RUNNING: S.RUNNING, S.PAUSED: S.PAUSED,
              S.COMPLETED: None, S.FAILED: None, S.CANCELLED: None},
    "resume": {S.QUEUED: S.QUEUED, S.STARTING: S.STARTING, S.RUNNING: S.RUNNING, S.PAUSED: S.QUEUED,
               S.COMPLETED: None, S.FAILED: S.QUEUED, S.CANCELLED: S.QUEUED},
    "cancel": {S.QUEUED: S.CANCELLED, S.STARTING: S.STARTING, S.RUNNING: S.RUNNING, S.PAUSED: S.CANCELLED,
               S.COMPLETED: None, S.FAILED: S.CANCELLED, S.CANCELLED: S.CANCELLED},
}  # fmt: skip


@pytest.mark.parametrize("state", StudyState)
@pytest.mark.parametrize("action", AFTER)
def test_actions(
    client: TestClient, app: FastAPI, store: Store, engine: Engine, action: str, state: StudyState
) -> None:
    where = location(client.post("/v1/studies", json=FILE))
    bring(engine, from_json(FILE).study_id, state)
    answer = client.post(f"{where}/{action}")
    if (after := AFTER[action][state]) is None:
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/wrong-state")
        assert state in answer.json()["detail"]
        assert client.get(where).json()["state"] == state
        return
    assert (answer.status_code, answer.json()["state"]) == (202, after)
    asked = {"pause": "pause", "cancel": "cancel"}.get(action) if state in (S.STARTING, S.RUNNING) else None
    assert answer.json()["requested"] == asked
    assert client.get(where).json() == answer.json()
    assert len(app.state.woken) == 2  # once for the submission


def test_pausing_now_gives_up_what_is_in_flight(client: TestClient, engine: Engine) -> None:
    where = location(client.post("/v1/studies", json=FILE))
    bring(engine, from_json(FILE).study_id, StudyState.RUNNING)
    assert client.post(f"{where}/pause", params={"now": True}).json()["requested"] == "pause-now"
    assert client.post(f"{where}/resume").json()["requested"] is None


@pytest.mark.parametrize("state", StudyState)
def test_only_what_has_finished_is_deleted(client: TestClient, engine: Engine, state: StudyState) -> None:
    where = location(client.post("/v1/studies", json=FILE))
    bring(engine, from_json(FILE).study_id, state)
    answer = client.delete(where)
    if state in (StudyState.COMPLETED, StudyState.FAILED, StudyState.CANCELLED):
        assert (answer.status_code, answer.content) == (204, b"")
        assert client.get(where).status_code == 404
        assert client.delete(where).status_code == 404
    else:
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/wrong-state")
        assert client.get(where).json()["state"] == state


def test_a_list_reads_no_whole_specs(app: FastAPI, store: Store, engine: Engine) -> None:
    client = client_of(app)
    large = {"learning_rate": {"choices": list(range(50_000))}}  # old studies may have so many
    for i in range(10):
        study = store.create_study(spec(f"s{i}"), {})
        arms = [{**arm, "space": large} for arm in study.spec["arms"]]
        with writing(engine) as connection:
            changed = update(studies).where(studies.c.id == study.id)
            connection.execute(changed.values(spec={**study.spec, "arms": arms}))
    for path in ("/v1/studies?limit=200", "/", "/metrics"):
        tracemalloc.start()
        try:
            answer = client.get(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert answer.status_code == 200
        assert peak < 3e6  # some 60 MB with the specs
    whole = Study.model_validate(client.get(f"/v1/studies/{study.id}").json())
    assert whole.spec["arms"][0]["space"] == large
    shown = client.get("/v1/studies").json()["items"][0]
    assert StudySummary.model_validate(shown) == StudySummary.model_validate(
        {name: getattr(whole, name) for name in shown}
    )
    assert store.study("s9").spec == whole.spec
    assert store.seconds_per_trial("spoken-digits") is None


def test_a_trial_that_no_machine_can_carry_is_refused(client: TestClient, app: FastAPI) -> None:
    """The machines are the cluster's once Ray tells their resources, until then the service's own."""
    jobs = app.state.services.jobs
    study = {"name": "s", "task": "spoken-digits", "methods": ["bop"]}

    def faults(**resources: float) -> list[str]:
        answer = client.post("/v1/studies:validate", json=study | {"resources": resources})
        return [fault["field"] for fault in answer.json().get("faults", [])]

    assert (faults(cpus=500), faults(gpus=1)) == (["resources.cpus"], [])
    jobs.nodes = lambda: [{"CPU": 4.0, "memory": 4e9}, {"CPU": 8.0, "GPU": 1.0, "memory": 1e8}]
    assert (faults(cpus=4), faults(cpus=5), faults(cpus=9)) == ([], ["resources"], ["resources.cpus"])
    assert faults(gpus=0.5) == ["resources"]  # there is a GPU, on a machine with too little memory
    jobs.nodes = lambda: [{"CPU": 4.0, "memory": 4e9}]
    assert faults(gpus=1) == ["resources.gpus"]
    jobs.nodes = lambda: [{"CPU": 0.0, "memory": 4e9}]  # its workers have not joined yet
    assert faults(cpus=5) == [] or (os.cpu_count() or 1) < 5
