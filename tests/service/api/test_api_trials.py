"""Trials over HTTP: pages, filters, orders, one trial, its epochs, the runs."""

import dataclasses
import math
from datetime import timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from writers import START, spec, trial

from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.errors import StoreError
from service.schemas import Epoch, Run, Trial, trial_id
from studies.records import ConfirmationRecord, RepeatRecord, Series, TrialRecord, TrialState

METRICS = (0.1, 0.2, math.inf, -math.inf, math.nan)
KEYS = ("objective", "test_metric", "train_seconds", "suggest_seconds", "finished_at")


def made_up(study: str, method: str, run: int, number: int, rng: np.random.Generator) -> TrialRecord:
    """Return a trial with values from few, so that some are equal; some trials diverged, some failed."""
    state = TrialState(rng.choice(["completed", "completed", "completed", "diverged", "failed"]))
    objective = {"completed": float(rng.integers(1, 5)) / 5, "diverged": 0.0, "failed": None}[state]
    return trial(
        study,
        method,
        run,
        number,
        state=state,
        objective=objective,
        test_metric=None
        if state is TrialState.FAILED
        else float(rng.choice([0.1, 0.2, math.inf, -math.inf, math.nan])),
        train_seconds=float(rng.integers(1, 4)),
        suggest_seconds=float(rng.integers(1, 4)),
        error="boom" if state is TrialState.FAILED else None,
        finished_at=START + timedelta(seconds=int(rng.integers(0, 5))),
    )


@pytest.fixture
def lease(store: Store) -> Lease:
    return store.claim(store.create_study(spec(runs=3, trials=20), {}).id, Owner.current(), 3600)


@pytest.fixture
def recorded(store: Store, lease: Lease) -> list[TrialRecord]:
    """The trials of three runs of two methods, in the order in which they were stored."""
    rng = np.random.default_rng(0)
    records = [
        made_up(lease.study, method, run, number, rng)
        for number in range(1, 6)
        for run in (1, 2, 3)
        for method in ("latent-sgd", "gradient-filter")
    ]
    for record in records:
        store.record(lease, record)
    return records


def listed(client: TestClient, study: str, **parameters: Any) -> list[Trial]:
    """Return all pages of the list."""
    found: list[Trial] = []
    while True:
        answer = client.get(f"/v1/studies/{study}/trials", params=parameters)
        assert answer.status_code == 200, answer.text
        found += map(Trial.model_validate, answer.json()["items"])
        if answer.json()["next"] is None:
            return found
        assert len(answer.json()["items"]) == parameters["limit"]
        parameters["cursor"] = answer.json()["next"]


def shown(record: TrialRecord) -> Trial:
    return Trial.of(dataclasses.replace(record, epochs=()))


def in_order(records: list[TrialRecord], sort: str, descending: bool) -> list[TrialRecord]:
    """Sort as documented: by number, or by a value, equals as they were stored, and missing values always last."""
    if sort == "number":
        return sorted(records, key=lambda record: (record.arm, record.run, record.trial), reverse=descending)
    stored = records[::-1] if descending else records
    values = [(getattr(record, sort), record) for record in stored]
    absent = [record for value, record in values if value is None or value != value]
    present = [record for value, record in values if record not in absent]
    return sorted(present, key=lambda record: getattr(record, sort), reverse=descending) + absent


@pytest.mark.parametrize("sort", ["number", *KEYS])
def test_lists_are_in_order_and_whole(
    client: TestClient, recorded: list[TrialRecord], lease: Lease, sort: str
) -> None:
    for order, limit in product(("asc", "desc"), (1, 7, 30, 1000)):
        found = listed(client, lease.study, sort=sort, order=order, limit=limit)
        wanted = [shown(record) for record in in_order(recorded, sort, order == "desc")]
        assert [trial.id for trial in found] == [trial.id for trial in wanted], (order, limit)
        assert [trial.model_dump_json() for trial in found] == [trial.model_dump_json() for trial in wanted]


def test_lists_are_of_what_was_asked_for(
    client: TestClient, recorded: list[TrialRecord], lease: Lease
) -> None:
    some: list[list[str]] = [[], ["failed"], ["completed", "diverged"]]
    for method, run, states, sort in product(
        (None, "latent-sgd", "adam"), (None, 2, 9), some, ("number", "objective")
    ):
        given = {"arm": method, "run": run}
        parameters: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        wanted = [
            record
            for record in in_order(recorded, sort, False)
            if method in (None, record.arm)
            and run in (None, record.run)
            and (not states or record.state in states)
        ]
        found = listed(client, lease.study, state=states, sort=sort, limit=4, **parameters)
        assert [trial.id for trial in found] == [shown(record).id for record in wanted], parameters


@given(
    sort=st.sampled_from(["number", *KEYS]),
    order=st.sampled_from(["asc", "desc"]),
    limit=st.integers(1, 5),
    seed=st.integers(0, 100),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_read_while_trials_finish_lacks_nothing_and_repeats_nothing(
    client: TestClient, store: Store, sort: str, order: str, limit: int, seed: int
) -> None:
    study = store.create_study(spec(seed=seed, runs=3, trials=20), {})
    if study.trials:
        return  # this seed was tried before
    lease = store.claim(study.id, Owner.current(), 3600)
    rng = np.random.default_rng(seed)
    following = iter([(method, n) for n in range(1, 12) for method in ("gradient-filter", "latent-sgd")])

    def record(count: int) -> list[str]:
        chosen = [
            made_up(study.id, method, 1, n, rng)
            for (method, n), _ in zip(following, range(count), strict=False)
        ]
        for each in chosen:
            store.record(lease, each)
        return [shown(each).id for each in chosen]

    before = record(6)
    parameters: dict[str, Any] = {"sort": sort, "order": order, "limit": limit}
    wanted = [trial.id for trial in listed(client, study.id, **parameters)]
    assert sorted(wanted) == sorted(before)
    seen: list[str] = []
    while True:
        answer = client.get(f"/v1/studies/{study.id}/trials", params=parameters).json()
        seen += [item["id"] for item in answer["items"]]
        if answer["next"] is None:
            break
        parameters["cursor"] = answer["next"]
        record(1)
    assert len(seen) == len(set(seen))
    assert [trial for trial in seen if trial in before] == wanted


def test_a_cursor_is_of_one_order(client: TestClient, recorded: list[TrialRecord], lease: Lease) -> None:
    where = f"/v1/studies/{lease.study}/trials"
    cursor = client.get(where, params={"limit": 1, "sort": "objective"}).json()["next"]
    for changes in ({"sort": "number"}, {"sort": "test_metric"}, {"sort": "objective", "order": "desc"}):
        answer = client.get(where, params=changes | {"cursor": cursor})
        assert answer.status_code == 422
        assert [fault["field"] for fault in answer.json()["faults"]] == ["cursor"]


# one trial


def test_what_was_recorded_of_a_trial(client: TestClient, store: Store, lease: Lease) -> None:
    numbers = Series.of("flip_ratio", [5, 10], [0.5, math.nan])
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 1, 2, 3)
    first = (numbers, Series.of("signs", [5], np.uint8([[1, 255]])), Series.of("noisy", [10], image))
    store.record(lease, trial(lease.study, series=(first, (numbers,))))
    store.record(lease, trial(lease.study, number=2))
    where = f"/v1/studies/{lease.study}/trials/gradient-filter-r01-t"
    items = client.get(f"{where}01/series").json()["items"]
    assert [(each["repeat"], each["name"], each["steps"]) for each in items] == [
        (1, "flip_ratio", [5, 10]),
        (1, "noisy", [10]),
        (2, "flip_ratio", [5, 10]),
    ]
    assert (items[0]["values"], items[0]["shape"], items[0]["rows"]) == ([0.5, "nan"], [], None)
    assert (items[1]["values"], items[1]["shape"]) == (None, [2, 1, 2, 3])
    assert bytes.fromhex(items[1]["rows"][0]) == image.tobytes()
    with_signs = client.get(f"{where}01/series", params={"signs": True}).json()["items"]
    assert [each["rows"] for each in with_signs if each["name"] == "signs"] == [["01ff"]]
    assert client.get(f"{where}02/series").json() == {"items": []}
    assert client.get(f"{where}03/series").status_code == 404


def test_a_trial_and_its_epochs(client: TestClient, store: Store, lease: Lease) -> None:
    odd = trial(lease.study, test_metric=math.nan, objective=math.inf, seed=2**63 - 1, error="a <b> 'c'")
    losses = [math.nan, math.inf, -math.inf, 0.25]
    odd = dataclasses.replace(
        odd,
        epochs=tuple(
            dataclasses.replace(odd.epochs[0], epoch=n, train_loss=loss)
            for n, loss in enumerate(losses, start=1)
        ),
    )
    store.record(lease, odd)
    for spelling in ("gradient-filter-r01-t01", "gradient-filter-r1-t1", "gradient-filter-r0001-t01"):
        where = f"/v1/studies/{lease.study}/trials/{spelling}"
        found = client.get(where).json()
        assert found["id"] == "gradient-filter-r01-t01"
        assert (found["objective"], found["test_metric"], found["seed"]) == ("inf", "nan", 2**63 - 1)
        assert found["error"] == "a <b> 'c'"
        assert Trial.model_validate(found).model_dump_json() == shown(odd).model_dump_json()
        epochs = client.get(f"{where}/epochs").json()["items"]
        assert [epoch["train_loss"] for epoch in epochs] == ["nan", "inf", "-inf", 0.25]
        read = [Epoch.model_validate(epoch).model_dump_json() for epoch in epochs]
        assert read == [Epoch.of(epoch).model_dump_json() for epoch in odd.epochs]


NO_TRIALS = [
    "gradient-filter-r01-t02",
    "gradient-filter-r02-t01",
    "adam-r01-t01",
    "gradient-filter",
    "gradient-filter-r00-t00",
    "gradient-filter-r99999999999999999999-t1",
    "r1-t1",
    "%00-r1-t1",
    "..%2fx-r1-t1",
    "'; DROP TABLE trials; ---r1-t1",
]


def test_an_unknown_trial(client: TestClient, store: Store, lease: Lease) -> None:
    store.record(lease, trial(lease.study))
    for name, rest in product(NO_TRIALS, ("", "/epochs", "/series")):
        answer = client.get(f"/v1/studies/{lease.study}/trials/{name}{rest}")
        assert answer.status_code == 404, name
        assert answer.json()["type"] in ("/problems/unknown-trial", "/problems/unknown-route")
    assert len(store.trials(lease.study)) == 1


def test_an_unknown_study(client: TestClient, lease: Lease) -> None:
    names = ["no", "No", "%00", "a%ED%A0%80", "%ff", "a" * 300, "'%20OR%201=1--", "%2e%2e"]
    for study, rest in product(
        names, ("", "/runs", "/trials", "/trials/m-r01-t01", "/trials/m-r01-t01/epochs")
    ):
        answer = client.get(f"/v1/studies/{study}{rest}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/unknown-study"), study


# runs


def test_runs(client: TestClient, recorded: list[TrialRecord], lease: Lease) -> None:
    found = [Run.model_validate(run) for run in client.get(f"/v1/studies/{lease.study}/runs").json()["items"]]
    wanted = []
    for method in ("gradient-filter", "latent-sgd"):  # as in the study file
        for run in (1, 2, 3):
            own = [record for record in recorded if (record.arm, record.run) == (method, run)]
            values = [(record.objective, -record.trial) for record in own if record.objective is not None]
            best, holder = max(values) if values else (None, 0)
            incumbent = trial_id(method, run, -holder) if values else None
            wanted.append(Run(arm=method, run=run, trials=5, best_so_far=best, incumbent=incumbent))
    assert found == wanted


def test_runs_without_a_trial_and_without_a_result_are_listed(
    client: TestClient, store: Store, lease: Lease
) -> None:
    store.record(lease, trial(lease.study, state=TrialState.FAILED, objective=None, epochs=()))
    found = client.get(f"/v1/studies/{lease.study}/runs").json()["items"]
    assert [
        (run["arm"], run["run"], run["trials"], run["best_so_far"], run["incumbent"]) for run in found
    ] == [
        ("gradient-filter", 1, 1, None, None),
        ("gradient-filter", 2, 0, None, None),
        ("gradient-filter", 3, 0, None, None),
        ("latent-sgd", 1, 0, None, None),
        ("latent-sgd", 2, 0, None, None),
        ("latent-sgd", 3, 0, None, None),
    ]


def test_the_best_of_what_is_minimised(store: Store, lease: Lease) -> None:
    for number, objective in enumerate((0.5, math.inf, 0.2, 0.2), start=1):
        store.record(lease, trial(lease.study, number=number, objective=objective))
    assert store.runs(lease.study, maximize=False) == {("gradient-filter", 1): (4, 0.2, 3)}
    assert store.runs(lease.study, maximize=True) == {("gradient-filter", 1): (4, math.inf, 2)}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_json_is_compressed_for_who_takes_it(client: TestClient, store: Store, lease: Lease) -> None:
    for run in (1, 2):
        for number in (1, 2, 3):
            store.record(lease, trial(lease.study, run=run, number=number))
    path = f"/v1/studies/{lease.study}/trials"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    small = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert small.json() == plain.json()
    assert small.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in small.headers["vary"]
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert "content-encoding" not in client.get("/healthz", headers={"Accept-Encoding": "gzip"}).headers
    path = f"/v1/studies/{lease.study}/comparison"
    found = client.get(path, headers={"Accept-Encoding": "gzip"})
    tag = found.headers["etag"]
    assert tag.startswith("W/")
    again = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": tag})
    assert (again.status_code, again.headers["etag"]) == (304, tag)


def test_a_trial_says_what_its_trainings_came_to(client: TestClient, store: Store, lease: Lease) -> None:
    each = tuple(
        RepeatRecord(state=TrialState.COMPLETED, seed=seed, objective=value, test_metric=-math.inf)
        for seed, value in ((7, 0.25), (8, math.inf))
    )
    store.record(lease, trial(lease.study, objective=math.inf, repeats=each))
    store.record(lease, trial(lease.study, number=2))
    found = [client.get(f"/v1/studies/{lease.study}/trials/gradient-filter-r01-t0{n}").json() for n in (1, 2)]
    expected = [
        {"state": "completed", "seed": 7, "objective": 0.25, "test_metric": "-inf"},
        {"state": "completed", "seed": 8, "objective": "inf", "test_metric": "-inf"},
    ]
    assert [one["repeats"] for one in found] == [expected, []]
    assert [one.repeats for one in listed(client, lease.study, limit=1)] == [
        Trial.model_validate(found[0]).repeats,
        (),
    ]


def test_confirmations_of_a_trial(client: TestClient, store: Store, lease: Lease) -> None:
    store.record(lease, trial(lease.study))
    made = [
        ConfirmationRecord(
            study=lease.study, arm="gradient-filter", run=1, trial=1, number=number, state=TrialState.COMPLETED,
            seed=100 + number, objective=0.5, test_metric=metric, train_seconds=0.1, attempts=1, error=None,
            started_at=START, finished_at=START + timedelta(seconds=1),
        )
        for number, metric in ((2, -math.inf), (1, 0.25))
    ]  # fmt: skip
    path = f"/v1/studies/{lease.study}/trials/gradient-filter-r01-t01/confirmations"
    assert client.get(path).json() == {"items": []}
    for confirmation in made:
        store.confirm(lease, confirmation)
    assert store.confirmations(lease.study) == made[::-1]
    assert store.confirmations(lease.study, of=("gradient-filter", 1, 2)) == []
    found = client.get(path).json()["items"]
    assert [(each["number"], each["seed"], each["test_metric"]) for each in found] == [
        (1, 101, 0.25),
        (2, 102, "-inf"),
    ]
    assert store.events(lease.study)[-1].data == {
        "arm": "gradient-filter", "run": 1, "trial": 1, "number": 1, "state": "completed", "test_metric": 0.25,
    }  # fmt: skip
    with pytest.raises(
        StoreError, match=r"confirmation 1 of trial 1 of gradient-filter run 1 of study .* is refused"
    ):
        store.confirm(lease, made[1])
    with pytest.raises(ValueError, match="cannot be written under the lease"):
        store.confirm(lease, dataclasses.replace(made[0], study="another"))
    problem = client.get(f"/v1/studies/{lease.study}/trials/gradient-filter-r01-t02/confirmations")
    assert problem.status_code == 404
