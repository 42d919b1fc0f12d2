"""The OpenAPI document: what it promises, and whether the service keeps it."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance
from serving import client_of, serving, token_of
from starlette.responses import JSONResponse
from writers import spec, trial

from service.database.owner import Owner
from service.database.store import Store
from service.database.tokens import Scope
from studies.design.methods import METHODS
from studies.design.spec import from_json
from studies.records import StudyState, TrialState

# the document does not depend on the database, and test_requests tries what PostgreSQL refuses
pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

EXAMPLES, EDGES = 4, 20  # for each operation, of valid and of invalid input
TARGETS = (
    "GET /metrics/targets"  # 503 without Ray, as here: then Prometheus keeps the targets that it has already
)
SERVED = [not_a_server_error, positive_data_acceptance]
CONFIG = {
    "max-stream-events": 1,
    "request-timeout": 60,
    # a running study may have no events: a listener then hears no more than that the stream is open
    "operations": [{"include-path": "/v1/studies/{study}/events", "request-timeout": 3}],
    "checks": {
        # JSON Schema cannot express low < high, or that a study does not exist
        "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422"]},
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx"]},
    },
}


@pytest.fixture
def app(store: Store, spoken_digits: Path) -> Iterator[FastAPI]:
    """The app with a study that runs, one that waits and one that is complete."""
    running = store.claim(store.create_study(spec("running"), {}, labels=["x"]).id, Owner.current(), 3600)
    store.create_study(spec("waiting"), {})
    complete = store.claim(store.create_study(spec("complete"), {}).id, Owner.current(), 3600)
    for lease in (running, complete):
        for method in ("gradient-filter", "latent-sgd"):
            for run in (1, 2):
                for number in (1, 2, 3):
                    failed = (run, number) == (2, 2)
                    outcome: dict[str, Any] = (
                        {"state": TrialState.FAILED, "objective": None} if failed else {}
                    )
                    store.record(lease, trial(lease.study, method, run, number, **outcome))
    store.finish(complete, StudyState.COMPLETED)
    with serving(store, spoken_digits) as app:
        yield app


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    found: dict[str, Any] = client_of(app).get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (path, operation) for path, methods in document["paths"].items() for operation in methods.values()
    ]


# what it promises


def test_it_is_written_once_for_all_who_ask(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(app)
    first = client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    monkeypatch.setattr(gzip, "compress", None)
    monkeypatch.setattr(JSONResponse, "render", None)
    again = client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
    assert first.json() == again.json() == plain.json() == app.openapi()
    assert [answer.headers.get("content-encoding") for answer in (first, again, plain)] == [
        "gzip",
        "gzip",
        None,
    ]
    assert {answer.headers["vary"] for answer in (first, again, plain)} == {"Accept-Encoding"}
    assert int(again.headers["content-length"]) < int(plain.headers["content-length"]) / 4


@pytest.mark.slow
def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "tunebench"
    references = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            references.update([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                walk(item)

    walk(document)
    schemas = document["components"]["schemas"]
    assert {f"#/components/schemas/{name}" for name in schemas} >= references
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_every_operation_is_named_and_described(document: dict[str, Any]) -> None:
    found = operations(document)
    names = [operation["operationId"] for _, operation in found]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    for path, operation in found:
        assert operation["description"], path
        assert operation["tags"], path
        for parameter in operation.get("parameters", ()):
            assert "schema" in parameter, path


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path, operation in operations(document):
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert "500" in errors, path
        assert ({"401", "403", "503"} <= errors.keys()) is ("security" in operation), path
        assert ("security" in operation) is (path not in ("/healthz", "/readyz")), path
        assert ("404" in errors) is ("{study}" in path), path
        assert ({"413", "415", "422"} <= errors.keys()) or "requestBody" not in operation, path
        for answer in errors.values():
            content = {"schema": {"$ref": "#/components/schemas/Problem"}}
            assert answer["content"] == {"application/problem+json": content}, path


def test_the_examples_are_what_they_are_examples_of(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/studies"]["post"]["requestBody"]["content"]["application/json"]
    schema = Draft202012Validator(document["components"]["schemas"]["StudyFile"])
    for example in body["examples"].values():
        assert schema.is_valid(example["value"])
        assert from_json(example["value"])
    edits = document["components"]["schemas"]["Edit"]
    for example in edits["examples"]:
        Draft202012Validator(edits).validate(example)


# whether it is kept


@pytest.fixture
def promised(app: FastAPI) -> Any:
    """The document for schemathesis, which then asks for existing studies three times out of four.

    It keeps the arms of two methods, and short grids: for 13 similar methods schemathesis lists 60,000 edge cases,
    which takes half a minute.
    """
    document = json.loads(json.dumps(app.openapi()).replace('"maxItems": 1000,', '"maxItems": 20,'))
    properties = document["components"]["schemas"]["StudyFile"]["properties"]
    for arms in (properties["arms"], properties["methods"]):
        assert len(arms["items"]["anyOf"]) == 1 + len(METHODS)  # the names alone, then each method
        del arms["items"]["anyOf"][3:]
    schema: Any = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(CONFIG))
    schema.app = app
    there = [study.id for study in app.state.services.store.studies()]

    @schema.hook
    def map_path_parameters(_context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        chosen = sum(map(ord, str(path_parameters)))
        if path_parameters and "study" in path_parameters and chosen % 4:
            path_parameters["study"] = there[chosen % len(there)]
            if "trial" in path_parameters:  # a trial of this study: some studies have none
                path_parameters |= {"study": there[0], "trial": "latent-sgd-r01-t02"}
        return path_parameters

    return schema


@pytest.mark.slow
def test_the_service_keeps_it(app: FastAPI, promised: Any) -> None:
    token = token_of(app, Scope.ADMIN)
    answered: dict[str, set[int]] = {}

    def ask(case: Any) -> None:
        answer = case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"},
            excluded_checks=SERVED if case.operation.label == TARGETS else None,
        )
        answered.setdefault(case.operation.label, set()).add(answer.status_code)

    many = settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
    found = [each.ok() for each in promised.get_all_operations()]
    last = [each for each in found if each.method == "delete"]  # the other operations need what it deletes
    for operation in [each for each in found if each not in last] + last:
        config = promised.config.generation_for(operation=operation)
        for mode in GenerationMode:
            edges = list(
                promised.iter_coverage_cases(operation, generation_modes=[mode], generation_config=config)
            )
            for case in edges[:: len(edges) // EDGES + 1]:
                ask(case)
            try:
                many(given(operation.as_strategy(generation_mode=mode))(ask))()
            except (SkipTest, Unsatisfiable):
                assert mode is GenerationMode.NEGATIVE  # none of its input can be wrong
    served = {label for label, statuses in answered.items() if min(statuses) < 300}
    assert answered.pop(TARGETS) == {401, 405, 503}
    assert answered.keys() - served == {"GET /v1/studies/{study}/logs"}  # there is no Ray that has them
    assert set.union(*answered.values()) == {200, 202, 204, 401, 404, 405, 409, 415, 422}
