"""What every route has in common: problems, headers, limits; health, metrics; a database that fails."""

import asyncio
import logging
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from serving import client_of, location, serving
from sqlalchemy import Engine, delete, event, update
from starlette.testclient import TestClient
from writers import spec, stored, trial

import service.database.engine
from service.api.problems import KINDS
from service.database.engine import connect, now, reading, writing
from service.database.owner import Owner
from service.database.store import LOG_CHARACTERS, LOGS, Store
from service.database.tables import events, logs, studies
from service.schemas import Problem, Readiness
from studies.records import StudyState, TrialState

ROOT = Path(__file__).parents[3]
FILE = {"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"]}


def problem(answer: httpx.Response, kind: str) -> Problem:
    """Return the problem in the answer, after checking that it is of this kind."""
    found = Problem.model_validate_json(answer.content)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, found.status) == (KINDS[kind][0], KINDS[kind][0])
    assert (found.type, found.title) == (f"/problems/{kind}", KINDS[kind][1])
    assert found.request_id == answer.headers["x-request-id"]
    return found


# problems


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v1/", "/v1/studies/", "/v1/studies/s/", "/v1/studies/s/x", "/v1/docs"]
)
def test_an_unknown_address(client: TestClient, path: str) -> None:
    problem(client.get(path), "unknown-route")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/studies", "GET, HEAD, POST"),
        ("POST", "/v1/studies/s", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/v1/studies/s/pause", "POST"),
        ("DELETE", "/v1/methods", "GET, HEAD"),
        ("TRACE", "/healthz", "GET, HEAD"),
        ("BREW", "/metrics", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_taken(client: TestClient, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    problem(answer, "method-not-allowed")
    assert answer.headers["allow"] == allowed


def test_the_unexpected_is_told_to_the_log_only(
    client: TestClient, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    where = location(client.post("/v1/studies", json=FILE))
    with writing(engine) as connection:
        connection.execute(update(studies).values(spec={"secret": "of the inside"}))
    answer = client.get(where)
    found = problem(answer, "unexpected")
    assert "secret" not in answer.text
    assert "KeyError" not in answer.text
    (told,) = [record for record in caplog.records if record.exc_info]
    assert str(found.request_id) in told.getMessage()
    assert "/v1/studies/{study}" in told.getMessage()
    assert "KeyError: 'arms'" in caplog.text
    assert client.get("/v1/methods").status_code == 200


def test_ray_that_is_away_is_told(app: FastAPI, client: TestClient, engine: Engine) -> None:
    where = location(client.post("/v1/studies", json=FILE))
    with writing(engine) as connection:
        connection.execute(update(studies).values(job="a-job"))
    answer = client.get(f"{where}/logs")
    problem(answer, "ray-unavailable")
    assert answer.headers["retry-after"] == "5"
    assert app.state.services.jobs.dashboard_url not in answer.text


def test_a_log_that_ray_has_forgotten_is_the_one_that_is_kept(
    app: FastAPI, client: TestClient, store: Store, engine: Engine
) -> None:
    where = location(client.post("/v1/studies", json=FILE))
    study = where.rpartition("/")[2]
    with writing(engine) as connection:
        connection.execute(update(studies).values(job="job-12"))
    for number in range(1, 13):
        store.keep_log(study, f"job-{number}", f"first of {number}\n")
        store.keep_log(study, f"job-{number}", f"start {number}\nmiddle\nend of {number}\n")
    assert stored(engine, logs) == LOGS
    jobs = app.state.services.jobs
    for knows in (jobs.logs, lambda job, lines: None):  # Ray is away; Ray does not know the job
        jobs.logs = knows
        for follow in ("false", "true"):
            answer = client.get(f"{where}/logs?tail=2&follow={follow}")
            assert (answer.status_code, answer.text) == (200, "middle\nend of 12\n")
    with writing(engine) as connection:
        connection.execute(delete(logs))
    problem(answer := client.get(f"{where}/logs"), "unknown-log")
    assert answer.json()["detail"] == "Ray no longer knows job job-12, and its log was not stored"
    store.keep_log(study, "job-12", LOG_CHARACTERS * "x" + "end")
    assert store.log(study) == (LOG_CHARACTERS - 3) * "x" + "end"
    store.keep_log("no-study", "job", "text")  # the study was just deleted


def test_more_streams_than_may_be_are_told_to_come_back(store: Store, tmp_path: Path) -> None:
    study = store.create_study(spec(), {}).id
    with serving(store, tmp_path, max_streams=0) as app:
        answer = client_of(app).get(f"/v1/studies/{study}/events")
        problem(answer, "too-busy")
        assert answer.headers["retry-after"] == "5"


def test_requests_have_ids_of_their_own(client: TestClient) -> None:
    ids = {client.get("/healthz").headers["x-request-id"] for _ in range(100)}
    assert len(ids) == 100


# headers


@pytest.mark.parametrize(
    "path", ["/", "/login", "/v1/studies", "/v1/studies/no", "/nope", "/healthz", "/metrics", "/openapi.json"]
)
def test_every_answer_is_hardened(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert (policy["frame-ancestors"], policy["base-uri"], policy["form-action"]) == (
        "'none'",
        "'none'",
        "'self'",
    )
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert all(len(headers.get_list(name)) == 1 for name in headers)


# health and metrics


def test_the_process_lives(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok")


def test_the_service_is_ready_without_ray(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert Readiness.model_validate_json(answer.content).ray == "does not answer"


def test_the_service_is_not_ready_without_its_tables(client: TestClient, engine: Engine) -> None:
    with writing(engine) as connection:
        connection.exec_driver_sql("UPDATE tunebench_version SET version_num = '0001'")
    answer = client.get("/readyz")
    assert "has the older schema 0001" in problem(answer, "database-unavailable").detail
    assert answer.headers["retry-after"] == "5"
    assert client.get("/healthz").status_code == 200


def test_the_service_is_not_ready_on_a_full_disk(
    client: TestClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.database.reads.FULL_BYTES", 2**60)
    answer = client.get("/readyz")
    if engine.dialect.name == "sqlite":
        assert "no disk space left" in problem(answer, "database-unavailable").detail
    else:  # the database's disk may be another machine's
        assert answer.status_code == 200


def test_whoever_asks_whether_it_is_ready_shares_one_look(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look(engine: Engine) -> None:
        looks.append(engine)
        time.sleep(0.2)

    monkeypatch.setattr("service.database.reads.require_schema", look)

    async def main() -> None:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
            answers = await asyncio.gather(*(http.get("/readyz") for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}

    asyncio.run(main())
    assert len(looks) == 1


def scraped(client: TestClient) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels, ordered by the labels' names."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {
        (s.name, *(s.labels[name] for name in sorted(s.labels))): s.value
        for family in families
        for s in family.samples
    }


def test_metrics_of_studies(client: TestClient, store: Store, engine: Engine) -> None:
    found = scraped(client)
    assert found["tunebench_database_up",] == 1
    assert (
        found["tunebench_queue_depth",]
        == found["tunebench_queue_lag_seconds",]
        == found["tunebench_studies", "queued"]
        == 0
    )
    assert found["tunebench_event_streams",] == 0
    lease = store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)
    states = [TrialState.COMPLETED, TrialState.COMPLETED, TrialState.DIVERGED, TrialState.FAILED]
    for number, state in enumerate(states, start=1):
        objective = None if state is TrialState.FAILED else 0.5
        more: dict[str, Any] = {
            "state": state,
            "objective": objective,
            "suggest_seconds": 0.25,
            "train_seconds": 2.0,
        }
        store.record(lease, trial(lease.study, number=number, **more))
    waiting = store.create_study(spec("waiting"), {}).id
    paused = store.create_study(spec("paused"), {}).id
    store.resume(paused, actor="a")
    with writing(
        engine
    ) as connection:  # both are old, but one has been queued again just now, and edited since
        connection.execute(update(studies).values(created_at=now(connection) - timedelta(days=9)))
        ago = now(connection) - timedelta(seconds=100)
        connection.execute(
            update(events).where(events.c.study == paused).values(time=ago - timedelta(days=9))
        )
        connection.execute(update(events).where(events.c.study == waiting).values(time=ago))
        connection.execute(update(studies).where(studies.c.id == paused).values(state=StudyState.PAUSED))
    store.resume(paused, actor="a")
    store.edit(paused, actor="a", priority=1)
    found = scraped(client)
    assert [found["tunebench_studies", state] for state in ("queued", "running", "paused")] == [2, 1, 0]
    assert found["tunebench_queue_depth",] == 2
    assert 100 <= found["tunebench_queue_lag_seconds",] < 130
    assert [found["tunebench_trials", state] for state in ("completed", "diverged", "failed")] == [2, 1, 1]
    assert (found["tunebench_suggest_seconds",], found["tunebench_train_seconds",]) == (1.0, 8.0)


def test_metrics_of_requests(client: TestClient) -> None:
    for study in ("a", "b"):
        client.get(f"/v1/studies/{study}")
    client.post("/v1/studies")
    for path in ("/nope", "/nope2"):
        client.request("BREW", path)
    client.put("/v1/studies")
    found = scraped(client)
    assert found["tunebench_http_requests_total", "GET", "/v1/studies/{study}", "404"] == 2
    assert found["tunebench_http_request_seconds_count", "GET", "/v1/studies/{study}"] == 2
    assert 0 < found["tunebench_http_request_seconds_sum", "GET", "/v1/studies/{study}"] < 5
    assert found["tunebench_http_requests_total", "POST", "/v1/studies", "415"] == 1
    assert found["tunebench_http_requests_total", "PUT", "/v1/studies", "405"] == 1
    assert found["tunebench_http_requests_total", "other", "other", "404"] == 2


def test_metrics_of_apps_do_not_mix(client: TestClient, store: Store, tmp_path: Path) -> None:
    client.get("/healthz")
    with serving(store, tmp_path) as other:
        assert ("tunebench_http_requests_total", "GET", "/healthz", "200") not in scraped(client_of(other))


# a database that fails


def test_a_locked_database_is_told_and_survived(
    url: str, store: Store, spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.database.engine, "LOCK_SECONDS", 0.1)
    impatient = Store(connect(url))
    with serving(impatient, spoken_digits) as app:
        client = client_of(app)
        study = location(client.post("/v1/studies", json=FILE))
        with writing(store.engine) as connection:
            connection.execute(update(studies).values(priority=3))
            for answer in (
                client.post(f"{study}/pause"),
                client.patch(study, json={"priority": 1}),
                client.delete(study),
            ):
                assert "locked by another process" in problem(answer, "database-unavailable").detail
                assert answer.headers["retry-after"] == "5"
            assert client.get(study).json()["state"] == "queued"  # readers do not wait
            assert client.get("/readyz").status_code == 200
        assert client.post(f"{study}/pause").json()["state"] == "paused"
    impatient.engine.dispose()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_who_reads_does_not_wait_for_many_who_write(store: Store, app: FastAPI) -> None:
    async def main() -> None:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            with writing(store.engine):
                sending = [
                    asyncio.create_task(http.post("/v1/studies", json=FILE | {"seed": seed}))
                    for seed in range(60)
                ]
                async with asyncio.timeout(20):  # they wait for thirty
                    for _ in range(20):
                        assert (await http.get("/v1/studies")).json()["items"] == []
                        await asyncio.sleep(0.02)
                assert not any(task.done() for task in sending)
            assert {(await task).status_code for task in sending} == {202}

    asyncio.run(main())


def test_a_full_disk_is_told_and_recovered_from(tmp_path: Path, spoken_digits: Path) -> None:
    path = tmp_path / "study.db"
    engine = connect(f"sqlite:///{path}")
    service.database.engine.upgrade(engine)
    with reading(engine) as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    engine.dispose()

    def fill(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(engine, "connect", fill)
    with serving(Store(engine), spoken_digits) as app:
        client = client_of(app)
        stored = []
        for seed in range(1000):
            answer = client.post("/v1/studies", json=FILE | {"seed": seed})
            if answer.status_code != 202:
                break
            stored.append(answer.json()["id"])
        detail = problem(answer, "database-unavailable").detail
        assert detail == "the database has no disk space left"
        assert str(path) not in answer.text
        assert {
            study["id"] for study in client.get("/v1/studies", params={"limit": 200}).json()["items"]
        } == set(stored)
        assert scraped(client)["tunebench_database_up",] == 1
        event.remove(engine, "connect", fill)
        engine.dispose()
        assert client.post("/v1/studies", json=FILE | {"seed": 5000}).status_code == 202
    engine.dispose()


def test_a_database_that_is_away_is_told(
    tmp_path: Path, spoken_digits: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "study.db"
    engine = connect(f"sqlite:///{path}")
    service.database.engine.upgrade(engine)
    with serving(Store(engine), spoken_digits) as app:
        client = client_of(app)
        engine.dispose()
        path.rename(tmp_path / "elsewhere.db")
        path.mkdir()
        for address in ("/v1/studies", "/v1/studies/s", "/readyz"):
            answer = client.get(address)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert str(tmp_path) not in answer.text
            problem(answer, "database-unavailable")
        assert client.get("/").status_code == 503
        assert str(path) in caplog.text  # for whoever runs the service
        assert client.get("/healthz").status_code == 200
        path.rmdir()
        lost = client.post("/v1/studies", json=FILE)
        assert problem(lost, "database-unavailable").detail == (
            "the database was deleted or moved while it was in use"
        )
        assert not path.exists()
        (tmp_path / "elsewhere.db").rename(path)
        assert client.post("/v1/studies", json=FILE).status_code == 202
        assert client.get("/v1/studies").status_code == 200
    engine.dispose()


def test_writers_that_wait_do_not_keep_readers_from_reading(
    url: str, store: Store, spoken_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.database.engine, "LOCK_SECONDS", 20)
    other = Store(connect(url))
    study = store.create_study(spec(), {}).id
    with serving(other, spoken_digits) as app, ThreadPoolExecutor(30) as pool:
        client = client_of(app)
        with writing(store.engine) as connection:
            connection.execute(update(studies).values(priority=3))
            began = time.monotonic()
            waiting = [pool.submit(client.post, f"/v1/studies/{study}/pause") for _ in range(30)]
            time.sleep(1)
            assert client.get(f"/v1/studies/{study}").json()["state"] == "queued"
            assert time.monotonic() - began < 15
            assert not any(answer.done() for answer in waiting)
        assert {answer.result().status_code for answer in waiting} == {202}
    other.engine.dispose()


def test_more_requests_than_connections_wait_for_their_turn(
    client: TestClient, store: Store, engine: Engine
) -> None:
    study = store.create_study(spec(), {}).id
    paths = ["/v1/studies", f"/v1/studies/{study}", f"/v1/studies/{study}/trials", "/metrics"] * 15
    with ThreadPoolExecutor(60) as pool:
        assert {answer.status_code for answer in pool.map(client.get, paths)} == {200}


# the process


def test_the_app_loads_nothing_heavy() -> None:
    heavy = {"torch", "ray", "ax", "matplotlib", "scipy", "pandas", "pyarrow", "plotly"}
    code = f"import sys, service.api.app; print(*({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_nothing_is_logged_of_what_goes_well(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tunebench"):
        client.get("/v1/studies")
        client.get("/v1/studies/no")
    assert not [record for record in caplog.records if record.name.startswith("tunebench")]
