"""Impossible input is refused with a problem that names the field, and nothing is stored."""

import base64
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from serving import client_of, serving
from starlette.testclient import TestClient
from writers import spec, stored

from service.api.json_body import MAX_DEPTH, MAX_VALUES, read
from service.api.middleware import MAX_BODY_BYTES
from service.api.problems import MAX_FAULTS, Refused
from service.database.engine import connect, upgrade
from service.database.store import Store
from service.database.tables import events, labels, studies, submissions
from service.schemas import Problem

FILE = {"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"]}
JSON = {"Content-Type": "application/json"}
OTHER = base64.urlsafe_b64encode(b'["newest first", 1, 2]').decode()
HUGE = 10**390  # no float holds it
NASTY = [
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows",
    "..%2f",
    "a/b",
    ".",
    "'; DROP TABLE studies; --",
    '" OR 1=1 --',
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "$(reboot)",
    "a b",
    "a\nb",
    "a\r\nSet-Cookie: x=y",
    "\u202ea",
    "ａ",
    "é",
    "A",
    "-a",
    "",
    "a" * 64,
    "a" * 100_000,
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, spoken_digits: Path) -> Iterator[FastAPI]:
    """The app over one empty database for all tests: no request gets as far as the database."""
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('empty') / 'study.db'}")
    upgrade(engine)
    with serving(Store(engine), spoken_digits) as app:
        yield app
    engine.dispose()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client whose requests leave the database empty."""
    yield client_of(app)
    engine = app.state.services.store.engine
    assert [stored(engine, table) for table in (studies, events, labels, submissions)] == [0, 0, 0, 0]
    assert app.state.woken == []


def fields(answer: httpx.Response, status: int = 422) -> set[str]:
    """Return the fields that the problem names."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
        answer.text
    )
    assert len(answer.content) < 150_000
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == status
    assert problem.request_id == answer.headers["x-request-id"]
    return {fault.field for fault in problem.faults}


def method(**space: Any) -> dict[str, Any]:
    return {"methods": [{"name": "latent-sgd", "space": space}]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(({"name": name}, "name") for name in (None, 1, True, [], {}, *NASTY)),
        *(({"task": task}, "task") for task in (None, 1, [], "spoken-digit", *NASTY)),
        *(({"methods": [name]}, "methods.0") for name in (None, 1, [], {}, *NASTY)),
        *(({"methods": methods}, "methods") for methods in (None, 1, "gradient-filter", {}, [])),
        ({"methods": ["gradient-filter", "gradient-filter"]}, "methods"),
        ({"methods": [{"name": "gradient-filter", "module": "os"}]}, "methods.0.module"),
        ({"methods": [{"name": "os.system"}]}, "methods.0"),
        *(
            (method(gamma=value), "methods.0.space.gamma")
            for value in (0, 2, -1, "0.1", None, True, [], [[]], HUGE)
        ),
        (method(gamma={"low": 0.5, "high": 0.1}), "methods.0.space.gamma"),
        (method(gamma={"low": HUGE // 10}), "methods.0.space.gamma"),
        (method(gamma={"step": 1}), "methods.0.space.gamma"),
        (method(scaling=1), "methods.0.space.scaling"),
        *(
            (method(**{name: 1}), f"methods.0.space.{name}")
            for name in ("alpha", "__class__", "<b>", "a.b", "")
        ),
        *(({"searcher": value}, "searcher.name") for value in NASTY),
        *(({"searcher": value}, "searcher") for value in (None, 1, [])),
        *(
            ({"searcher": {"initial_trials": n}}, "searcher.initial_trials")
            for n in (0, 1001, 1.5, "5", True, HUGE)
        ),
        *(
            ({key: n}, key)
            for key in ("runs", "trials")
            for n in (0, -1, 1001, 1.5, "5", True, None, [], HUGE)
        ),
        *(({"seed": n}, "seed") for n in (-1, 2**63, HUGE, 0.5, "0", None)),
        *(({"resources": {"cpus": n}}, "resources.cpus") for n in (0, 1025, 1.5, "1", True)),
        *(({"resources": {"gpus": n}}, "resources.gpus") for n in (-1, 2, 1.5, "1", True, HUGE)),
        *(({"resources": {"max_seconds": n}}, "resources.max_seconds") for n in (0, -1, 10**9, "1", HUGE)),
        *(({"resources": {key: 1e-300}}, f"resources.{key}") for key in ("gpus", "max_seconds")),
        ({"methods": ["bop"] * 21_000}, "methods"),
        ({"methods": ["bop"] * 1_000}, "methods"),
        (method(learning_rate=list(range(1, 1_100))), "methods.0.space.learning_rate"),
        (method(**{f"k{i}": 1 for i in range(101)}), "methods.0.space"),
        ({"resources": {"working_dir": "/"}}, "resources.working_dir"),
        ({"runtime_env": {"pip": ["x"]}}, "runtime_env"),
        ({"data_dir": "/etc"}, "data_dir"),
        ({"id": "x"}, "id"),
    ],
    ids=lambda value: repr(value)[:60].encode("ascii", "backslashreplace").decode(),
)
def test_a_study_that_cannot_be(client: TestClient, changes: dict[str, Any], field: str) -> None:
    for path in ("/v1/studies", "/v1/studies:validate"):
        answer = client.post(
            path, content=json.dumps(FILE | changes), headers=JSON | {"Idempotency-Key": "k"}
        )
        assert field in fields(answer)
        assert answer.json()["type"] == "/problems/invalid-study"


def test_every_fault_is_told_at_once(client: TestClient) -> None:
    wrong = {"runs": 0, "x": 1, "methods": ["sgd", {"name": "latent-sgd", "space": {"gamma": 0, "y": 1}}]}
    answer = client.post("/v1/studies", json=wrong)
    wanted = {"name", "task", "runs", "x", "methods.0", "methods.1.space.gamma", "methods.1.space.y"}
    assert fields(answer) == wanted


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", ""),
        (b"{", ""),
        (b"{'name': 1}", ""),
        (b'{"name": 1} {}', ""),
        (b'\xef\xbb\xbf{"name": 1}', ""),
        (b'{"name": "\xff"}', ""),
        (b'{"name": "\xed\xa0\x80"}', ""),
        ('{"name": "s"}'.encode("utf-16"), ""),
        (b"null", ""),
        (b"[]", ""),
        (b'"s"', ""),
        (b'{"runs": NaN}', "runs"),
        (b'{"runs": Infinity}', "runs"),
        (b'{"resources": {"max_seconds": -Infinity}}', "resources.max_seconds"),
        (b'{"resources": {"max_seconds": 1e999}}', "resources.max_seconds"),
        (b'{"methods": [{"space": {"gamma": [0.1, NaN]}}]}', "methods.0.space.gamma.1"),
        (b'{"seed": 1' + b"0" * 5000 + b"}", "seed"),
        (b'{"name": "a\\u0000"}', "name"),
        (b'{"name": "\\ud800"}', "name"),
        (b'{"a\\u0000": 1}', ""),
        (b'{"\\udfff": 1}', ""),
        (b'{"name": "a", "name": "b"}', "name"),
        (b'{"methods": [{"space": {"gamma": 1, "gamma": 1}}]}', "methods.0.space.gamma"),
        (b'{"x": ' + b"[" * 60 + b"]" * 60 + b"}", "x" + ".0" * (MAX_DEPTH - 1)),
        (b'{"a":' * 60 + b"1" + b"}" * 60, ".".join("a" * MAX_DEPTH)),
        (b"[" * 100_000, ""),
        (b'{"a":' * 100_000, ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_is_no_json_of_ours(client: TestClient, content: bytes, field: str) -> None:
    for method, path in (("POST", "/v1/studies"), ("POST", "/v1/studies:validate")):
        assert field in fields(client.request(method, path, content=content, headers=JSON))


@pytest.mark.parametrize(
    "media_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                   "application/yaml", "application/problem+json", "application/json; charset=latin-1", "json"]
)  # fmt: skip
def test_a_body_that_does_not_come_as_json(client: TestClient, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = client.post("/v1/studies", content=json.dumps(FILE).encode(), headers=headers)
    assert fields(answer, 415) == set()


@pytest.mark.parametrize(
    "media_type", ["application/json", 'Application/JSON; Charset="UTF-8"', "application/json;charset=utf-8"]
)
def test_a_body_that_does(client: TestClient, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    assert client.post("/v1/studies:validate", content=json.dumps(FILE), headers=headers).status_code == 200


def too_large(announced: bool) -> Any:
    content = b" " * (MAX_BODY_BYTES + 1)
    return content if announced else (content[i : i + 65536] for i in range(0, len(content), 65536))


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large(client: TestClient, announced: bool) -> None:
    for method, path in (
        ("POST", "/v1/studies"),
        ("POST", "/v1/studies:validate"),
        ("PATCH", "/v1/studies/s"),
    ):
        answer = client.request(method, path, content=too_large(announced), headers=JSON)
        assert fields(answer, 413) == set()
    content = json.dumps(FILE).encode()
    just = content + b" " * (MAX_BODY_BYTES - len(content))
    assert client.post("/v1/studies:validate", content=just, headers=JSON).status_code == 200


def test_many_faults_are_told_in_part(client: TestClient) -> None:
    answer = client.post(
        "/v1/studies", json={key: {f"k{i}": i for i in range(60)} for key in ("resources", "searcher")}
    )
    assert len(fields(answer)) == MAX_FAULTS + 1
    assert answer.json()["faults"][-1]["message"] == f"and {2 * 60 + 3 - MAX_FAULTS} more faults"
    answer = client.post("/v1/studies", json={"k" * 500_000: 1})
    assert len(answer.content) < 10_000


LONG = "k" * 500_000
EDIT = "/v1/studies/s"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (EDIT, '{"' + LONG + '":[1' + ",1" * 250_000 + "]}"),
        (EDIT, json.dumps({LONG: [1] * (MAX_VALUES - 2)})),
        (EDIT, json.dumps({LONG: [math.nan] * (MAX_VALUES - 2)})),
        (EDIT, '{"' + '":{"'.join(["k" * 20_000] * 49) + '":[NaN' + ",NaN" * 900 + "]" + "}" * 49),
        (EDIT, "{" + '"a":1,' * 40_000 + '"a":1}'),
        (EDIT, "{" + ",".join(f'"{n // 2}":1' for n in range(MAX_VALUES)) + "}"),
        (EDIT, json.dumps({"labels": ["<"] * 40_000})),
        (EDIT, json.dumps({"name": dict.fromkeys(map(str, range(40_000)))})),
        ("/v1/studies", json.dumps({"seed": [int("1" * 400)] * 2500})),
        ("/v1/studies", '{"seed": 1.' + "1" * 1_000_000 + "}"),
    ],
    ids=lambda value: value[:30],
)
def test_no_body_takes_long(client: TestClient, path: str, content: str) -> None:
    """Measured in processor time, so whatever else runs. It was 3.2 s when each of 250,000 values got a path."""
    method = "PATCH" if path == EDIT else "POST"
    began = time.process_time()
    answer = client.request(method, path, content=content, headers=JSON)
    assert time.process_time() - began < 1.5
    fields(answer)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *((f"/v1/studies?limit={n}", "limit") for n in ("0", "-1", "201", "x", "1.5", "", "1e2", "9" * 400, "NaN")),
        *((f"/v1/studies?state={s}", "state.0") for s in ("x", "", "QUEUED", "queued%00")),
        *((f"/v1/studies?cursor={c}", "cursor") for c in ("x", "", "%00", "AAAA", OTHER, "a" * 501, "%ff")),
        *((f"/v1/studies?label={text}", "label") for text in ("", "%00", "a%20b", "%3Cb%3E", "'", "a" * 64)),
        *((f"/v1/studies?task={text}", "task") for text in ("", "%00", "..%2f", "A", "'--", "%ed%a0%80")),
        ("/v1/studies?stat=queued", "stat"),
        ("/v1/studies?limit=5&limit=6&x=1", "x"),
        *((f"/v1/studies/s/trials?sort={s}", "sort") for s in ("x", "seed", "error", "objective;--", "")),
        *((f"/v1/studies/s/trials?run={n}", "run") for n in ("0", "x", "99999999999999999999")),
        ("/v1/studies/s/trials?order=up", "order"),
        ("/v1/studies/s/trials?limit=1001", "limit"),
        ("/v1/studies/s/trials?state=running", "state.0"),
        ("/v1/studies/s/trials?arm=%00", "arm"),
        (f"/v1/studies/s/trials?cursor={OTHER}", "cursor"),
        ("/v1/studies/s/trials?objective=1", "objective"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be(client: TestClient, path: str, field: str) -> None:
    answer = client.get(path)
    assert field in fields(answer)
    assert answer.json()["type"] == "/problems/invalid-request"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        *(
            ({"labels": label}, "labels.0")
            for label in ("", "<b>", "a b", "a\0", "../x", "'; --", "é", "a" * 64)
        ),
        ({"labels": [f"l{i}" for i in range(21)]}, "labels"),
        *(({"priority": n}, "priority") for n in ("101", "-101", "1.5", "x", "9" * 30)),
        ({"label": "x"}, "label"),
        ({"token": "x"}, "token"),
    ],
)
def test_a_submission_with_what_cannot_be(client: TestClient, parameters: dict[str, Any], field: str) -> None:
    assert field in fields(client.post("/v1/studies", json=FILE, params=parameters))


@pytest.mark.parametrize("key", [b"", b" ", b"\t", b"\xe9", b"x" * 129, b"\x7f"])
def test_an_idempotency_key_that_is_none(client: TestClient, key: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"idempotency-key", key)]
    assert fields(client.post("/v1/studies", content=json.dumps(FILE), headers=headers)) == {
        "Idempotency-Key"
    }


EDITS = [
    *((json.dumps({"name": name}), "name") for name in NASTY),
    *((json.dumps({"labels": [label]}), "labels.0") for label in NASTY[5:20] if label != "A"),
    ('{"labels": "x"}', "labels"),
    ('{"labels": [1]}', "labels.0"),
    ('{"labels": {"a": 1}}', "labels"),
    (json.dumps({"labels": [f"l{i}" for i in range(21)]}), "labels"),
    *((json.dumps({"priority": n}), "priority") for n in (101, -101, 1.5, "1", True, HUGE)),
    ('{"priority": 1, "priority": 2}', "priority"),
    ('{"priority": NaN}', "priority"),
    ('{"state": "completed"}', "state"),
    ('{"spec": {}}', "spec"),
    ("[]", ""),
    ("null", ""),
    ("{", ""),
]


def test_an_edit_that_cannot_be(store: Store, spoken_digits: Path) -> None:
    study = store.create_study(spec(), {})
    with serving(store, spoken_digits) as app:
        for content, field in EDITS:
            answer = client_of(app).patch(f"/v1/studies/{study.id}", content=content, headers=JSON)
            assert field in fields(answer), content
    assert store.study_by_id(study.id) == study


# the reader of JSON


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=3),
)  # fmt: skip


@given(values)
def test_any_json_is_read_as_python_reads_it(value: Any) -> None:
    assert read(json.dumps(value).encode()) == value
    assert read(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]",:\\ \0ud8NaInfity019e+-.').map(lambda text: text.encode())
)
def test_anything_else_is_refused(content: bytes) -> None:
    value, faults = None, None
    try:
        value = read(content)
    except Refused as refused:
        faults = refused.faults
    assert faults or json.loads(content) == value
