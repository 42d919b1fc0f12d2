"""What each kind of caller may do: every route, tokens, cookies, other sites."""

import hashlib
import logging
from dataclasses import replace
from itertools import product

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from serving import ADDRESS, client_of, token_of
from sqlalchemy import Engine, event, inspect, select
from starlette.testclient import TestClient
from writers import spec

from service.database import tokens
from service.database.engine import reading
from service.database.store import Store
from service.database.tables import metadata
from service.database.tokens import Scope
from service.errors import StoreError

READ, SUBMIT, ADMIN = Scope
OPEN, PAGE = "open", "page"  # for everybody; for callers that may read, while others are sent to the login

ROUTES = {
    ("POST", "/v1/studies"): SUBMIT,
    ("GET", "/v1/studies"): READ,
    ("POST", "/v1/studies:validate"): SUBMIT,
    ("GET", "/v1/studies/{study}"): READ,
    ("PATCH", "/v1/studies/{study}"): SUBMIT,
    ("DELETE", "/v1/studies/{study}"): ADMIN,
    ("POST", "/v1/studies/{study}/pause"): SUBMIT,
    ("POST", "/v1/studies/{study}/resume"): SUBMIT,
    ("POST", "/v1/studies/{study}/cancel"): SUBMIT,
    ("GET", "/v1/studies/{study}/runs"): READ,
    ("GET", "/v1/studies/{study}/trials"): READ,
    ("GET", "/v1/studies/{study}/trials/{trial}"): READ,
    ("GET", "/v1/studies/{study}/trials/{trial}/epochs"): READ,
    ("GET", "/v1/studies/{study}/trials/{trial}/series"): READ,
    ("GET", "/v1/studies/{study}/trials/{trial}/confirmations"): READ,
    ("GET", "/v1/studies/{study}/curves"): READ,
    ("GET", "/v1/studies/{study}/comparison"): READ,
    ("GET", "/v1/studies/{study}/differing-signs"): READ,
    ("GET", "/v1/studies/{study}/figure8.{kind}"): READ,
    ("GET", "/v1/studies/{study}/export.zip"): READ,
    ("GET", "/v1/studies/{study}/export/{table}.{form}"): READ,
    ("GET", "/v1/studies/{study}/events"): READ,
    ("GET", "/v1/studies/{study}/logs"): READ,
    ("GET", "/v1/methods"): READ,
    ("GET", "/v1/tasks"): READ,
    ("GET", "/v1/searchers"): READ,
    ("GET", "/metrics"): READ,
    ("GET", "/metrics/targets"): READ,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/openapi.json"): OPEN,
    ("HEAD", "/openapi.json"): OPEN,
    ("GET", "/"): PAGE,
    ("GET", "/studies/{study}"): PAGE,
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("POST", "/logout"): OPEN,
    ("GET", "/static/{path}"): OPEN,
}
PARAMETERS = {
    "study": "no-such-study",
    "trial": "m-r01-t01",
    "kind": "svg",
    "table": "trials",
    "form": "csv",
    "path": "x",
}
CALLERS = ("nobody", "revoked", *Scope)


def verdict(answer: httpx.Response) -> str:
    """Return what the answer says about the sender's rights."""
    if "/login?next=" in answer.headers.get("location", ""):
        return "sent to the login"
    if "json" not in answer.headers.get("content-type", "") or answer.is_success:
        return "let in"
    return {"/problems/not-authenticated": "unknown", "/problems/not-allowed": "refused"}.get(
        answer.json().get("type"), "let in"
    )


def expected(needed: str, caller: str) -> str:
    known = caller in list(Scope)
    if needed == OPEN:
        return "let in"
    if not known:
        return "sent to the login" if needed == PAGE else "unknown"
    least = READ if needed == PAGE else Scope(needed)
    return "let in" if list(Scope).index(Scope(caller)) >= list(Scope).index(least) else "refused"


def test_every_route_has_a_row(app: FastAPI) -> None:
    routes = {
        (method, route.path_format)
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
    }
    assert routes == ROUTES.keys()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # a route's rights do not depend on it
def test_the_matrix(app: FastAPI) -> None:
    given: dict[str, str | None] = {"nobody": None} | {scope: token_of(app, scope) for scope in Scope}
    given["revoked"] = token_of(app, ADMIN, "revoked")
    tokens.revoke(app.state.services.store.engine, "revoked")
    found, wanted = {}, {}
    for caller in CALLERS:
        client = client_of(app, given[caller])
        for (method, path), needed in ROUTES.items():
            answer = client.request(method, path.format(**PARAMETERS))
            found[caller, method, path] = verdict(answer)
            wanted[caller, method, path] = expected(needed, caller)
            if found[caller, method, path] == "let in" and path.startswith("/v1/studies/{study}"):
                assert answer.status_code in (404, 415), (method, path)  # neither served nor broken
            if found[caller, method, path] == "unknown":
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Bearer")
            if found[caller, method, path] == "refused":
                assert answer.status_code == 403
                assert f"a token with scope {needed}" in answer.json()["detail"]
    assert found == wanted
    assert set(found.values()) == {"let in", "unknown", "refused", "sent to the login"}


# tokens


def test_the_database_holds_a_tokens_digest_and_not_the_token(engine: Engine, store: Store) -> None:
    token = tokens.create(engine, "alice", SUBMIT)
    assert token.startswith("tb_")
    assert len(token) >= 3 + 43  # 32 bytes
    assert token != tokens.create(engine, "bob", SUBMIT)
    with reading(engine) as connection:
        stored = [
            str(row) for table in metadata.tables.values() if inspect(connection).has_table(table.name)
            for row in connection.execute(select(table)).all()
        ]  # fmt: skip
    assert not any(token in row for row in stored)
    assert any(hashlib.sha256(token.encode()).hexdigest() in row for row in stored)


def test_tokens_are_listed_and_revoked(engine: Engine, store: Store) -> None:
    assert not tokens.any_created(engine)
    token = tokens.create(engine, "alice", SUBMIT)
    assert tokens.create(engine, "Bob.2", READ)
    assert [(t.name, t.scope, t.revoked_at) for t in tokens.created(engine)] == [
        ("Bob.2", READ, None),
        ("alice", SUBMIT, None),
    ]
    found = tokens.find(engine, token)
    assert found == tokens.created(engine)[1]
    tokens.revoke(engine, "alice")
    revoked = tokens.created(engine)[1].revoked_at
    tokens.revoke(engine, "alice")
    assert revoked is not None
    assert tokens.created(engine)[1].revoked_at == revoked
    assert tokens.find(engine, token) is None
    assert tokens.any_created(engine)


def test_a_name_is_for_one_token_for_ever(engine: Engine, store: Store) -> None:
    tokens.create(engine, "alice", READ)
    tokens.revoke(engine, "alice")
    with pytest.raises(StoreError, match="a token 'alice' exists already"):
        tokens.create(engine, "alice", ADMIN)


def test_what_cannot_name_a_token_is_refused(engine: Engine, store: Store) -> None:
    for name in ("", "local", "service", "a b", "a\0", "-a", "ü", "a\n", "x" * 64, "a/b", "\udcff"):
        with pytest.raises(StoreError, match="is not a valid token name"):
            tokens.create(engine, name, READ)
        with pytest.raises(StoreError, match="no token"):
            tokens.revoke(engine, name)
    assert tokens.created(engine) == []


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("needed", Scope)
def test_scopes_include_the_lesser_ones(scope: Scope, needed: Scope) -> None:
    order = ["read", "submit", "admin"]
    assert scope.allows(needed) is (order.index(scope) >= order.index(needed))


NO_TOKENS = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Basic {token}",
    "{token}",
    "Bearer {token}x",
    "Bearer Bearer {token}",
    "Bearer \xff",
    "Bearer {digest}",
]


def test_what_is_no_token_of_ours_is_unknown(app: FastAPI) -> None:
    token = token_of(app, ADMIN)
    digest = hashlib.sha256(token.encode()).hexdigest()
    client = client_of(app)
    for header in NO_TOKENS:
        sent = header.format(token=token, digest=digest).encode("latin-1")
        assert client.get("/v1/studies", headers=[(b"authorization", sent)]).status_code == 401, header
    assert client.get("/v1/studies", headers={"Authorization": f"bearer  {token} "}).status_code == 200


def test_a_token_in_the_address_is_not_taken(app: FastAPI) -> None:
    token = token_of(app, ADMIN)
    for parameter in ("token", "access_token", "api_key", "authorization"):
        assert client_of(app).get("/v1/methods", params={parameter: token}).status_code == 401


def test_events_name_the_token(app: FastAPI, store: Store) -> None:
    client = client_of(app, token_of(app, SUBMIT, "alice"))
    study = client.post("/v1/studies", json=spec().to_json()).json()
    assert study["submitted_by"] == "alice"
    client.post(f"/v1/studies/{study['id']}/pause")
    assert [event.actor for event in store.events(study["id"])] == ["alice", "alice"]


def test_a_token_is_looked_up_once_a_request(app: FastAPI, engine: Engine) -> None:
    client = client_of(app, token_of(app, SUBMIT))
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    for method, path in (("GET", "/v1/studies"), ("POST", "/v1/studies/s/pause")):
        asked.clear()
        client.request(method, path)
        assert len([statement for statement in asked if "FROM tokens" in statement]) == 1


def test_no_token_is_ever_told(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token, wrong = token_of(app, READ), "tb_" + "wrong" * 9
    asked = [client_of(app, token), client_of(app, wrong), client_of(app, token + "x")]
    asked += [client_of(app, Cookie=f"tunebench={secret}") for secret in (token, wrong)]
    answers = [
        client.get(path)
        for client in asked
        for path in ("/v1/studies?limit=x", "/v1/nope", "/v1/studies", "/login")
    ]
    answers += [client.post("/v1/studies", json={}) for client in asked]
    answers += [client_of(app).post("/login", data={"token": secret}) for secret in (token, wrong)]
    app.state.services = replace(app.state.services, store=None)  # an unexpected error
    answers.append(asked[0].get("/v1/studies/s/trials"))
    assert answers[-1].status_code == 500
    assert "unexpected" in caplog.text
    for secret in (token, wrong):
        assert secret not in caplog.text
        for answer in answers:
            assert secret not in answer.text
            kept = [value for name, value in answer.headers.items() if name != "set-cookie"]
            assert not any(secret in value for value in kept)


# the page's cookie


def logged_in(app: FastAPI, token: str, address: str = ADDRESS) -> TestClient:
    client = client_of(app)
    client.base_url = httpx.URL(address)
    assert client.post("/login", data={"token": token}).status_code == 303
    return client


@pytest.mark.parametrize("address", [ADDRESS, "https://tunebench.example"])
def test_the_cookie_is_out_of_reach(app: FastAPI, address: str) -> None:
    client = client_of(app)
    client.base_url = httpx.URL(address)
    token = token_of(app, SUBMIT)
    answer = client.post("/login", data={"token": f" {token}\n"})
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name == f"tunebench={token}"
    secure = {"Secure"} if address.startswith("https") else set()
    assert set(attributes) == {"HttpOnly", "SameSite=strict"} | secure
    assert client.get("/v1/studies").status_code == 200


def test_logging_out_forgets_the_cookie(app: FastAPI) -> None:
    client = logged_in(app, token_of(app, READ))
    assert client.get("/v1/studies").status_code == 200
    client.post("/logout")
    assert client.get("/v1/studies").status_code == 401


def test_a_wrong_token_does_not_log_in(app: FastAPI) -> None:
    token = token_of(app, ADMIN)
    client = client_of(app)
    assert client.post("/login", data={"token": "tb_wrong"}).status_code == 401
    tokens.revoke(app.state.services.store.engine, "admin")
    answer = client.post("/login", data={"token": token})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


FROM_OUR_PAGE = [
    {"Origin": ADDRESS},
    {"Origin": "https://127.0.0.1:8000"},  # something in front of the service speaks HTTPS
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": ADDRESS},
]
FROM_ELSEWHERE = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:8001"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1:8000.evil.example"},
    {"Origin": "http://evil.example/://127.0.0.1:8000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": ADDRESS},
]
UNSAFE = [
    ("POST", "/v1/studies/s/pause"),
    ("PATCH", "/v1/studies/s"),
    ("DELETE", "/v1/studies/s"),
    ("POST", "/v1/studies"),
]


def test_another_site_cannot_use_the_cookie(app: FastAPI) -> None:
    client = logged_in(app, token_of(app, ADMIN))
    for headers, (method, path) in product([*FROM_ELSEWHERE, {}], UNSAFE):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403, headers
        assert "another site" in answer.json()["detail"]
    for headers in FROM_ELSEWHERE:  # reading changes nothing, and no other site sees the answer
        assert client.get("/v1/studies", headers=headers).status_code == 200


def test_our_page_can_use_the_cookie(app: FastAPI) -> None:
    client = logged_in(app, token_of(app, ADMIN))
    for headers, (method, path) in product(FROM_OUR_PAGE, UNSAFE):
        assert client.request(method, path, headers=headers).status_code in (404, 415), headers


def test_a_token_in_the_header_is_no_other_sites_doing(app: FastAPI) -> None:
    client = client_of(app, token_of(app, ADMIN))
    for headers, (method, path) in product([*FROM_OUR_PAGE, *FROM_ELSEWHERE], UNSAFE):
        assert client.request(method, path, headers=headers).status_code in (404, 415), headers


def test_another_site_can_neither_log_in_nor_out(app: FastAPI) -> None:
    client = logged_in(app, token := token_of(app, ADMIN))
    for headers in FROM_ELSEWHERE:
        assert client.post("/login", data={"token": token}, headers=headers).status_code == 403, headers
        assert client.post("/logout", headers=headers).status_code == 403, headers
    assert client.get("/v1/studies").status_code == 200


# without tokens


def test_without_tokens_this_machine_may_do_everything(app: FastAPI, store: Store) -> None:
    client = client_of(app)
    study = client.post("/v1/studies", json=spec().to_json()).json()
    assert study["submitted_by"] == "local"
    assert client.post(f"/v1/studies/{study['id']}/cancel").status_code == 202
    assert client.delete(f"/v1/studies/{study['id']}").status_code == 204
    assert client.get("/").status_code == 200


def test_from_the_first_token_on_one_is_needed(app: FastAPI, engine: Engine) -> None:
    client = client_of(app)
    assert client.get("/v1/studies").status_code == 200
    token_of(app, READ, "first")
    assert client.get("/v1/studies").status_code == 401
    tokens.revoke(engine, "first")
    assert client.get("/v1/studies").status_code == 401


def test_this_machines_own_names_are_served(app: FastAPI) -> None:
    for host in ("localhost", "localhost:8000", "127.0.0.1", "127.3.2.1:80", "[::1]", "[::1]:8000"):
        assert client_of(app).get("/v1/studies", headers={"Host": host}).status_code == 200, host


OTHER_NAMES = [
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8000",
    "10.0.0.1",
    "",
    ":",
    "localhost@evil.example",
    "[::2]:8000",
    "0.0.0.0:8000",
    "evil.example:localhost",
]


def test_a_name_that_another_site_gave_this_machine_is_not_served(app: FastAPI) -> None:
    for host, path in product(OTHER_NAMES, ("/v1/studies", "/metrics", "/")):
        assert client_of(app).get(path, headers={"Host": host}).status_code == 403, host
    client = client_of(app, token_of(app, READ))
    for host in OTHER_NAMES:
        assert client.get("/v1/studies", headers={"Host": host}).status_code == 200


def test_without_tokens_other_machines_are_not_served(app: FastAPI) -> None:
    elsewhere = TestClient(app, base_url=ADDRESS, client=("10.1.2.3", 5))
    answer = elsewhere.get("/v1/studies")
    assert answer.status_code == 403
    assert "tunebench token create" in answer.json()["detail"]
    token = token_of(app, READ)
    assert elsewhere.get("/v1/studies", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_without_tokens_other_sites_can_do_nothing(app: FastAPI, store: Store) -> None:
    client = client_of(app)
    for headers, (method, path) in product(FROM_ELSEWHERE, UNSAFE):
        answer = client.request(method, path, json=spec().to_json(), headers=headers)
        assert answer.status_code == 403, headers
    assert store.studies() == []


def test_a_cookie_left_over_from_another_database_does_no_harm(app: FastAPI) -> None:
    assert client_of(app, Cookie="tunebench=tb_old").get("/v1/studies").status_code == 200
