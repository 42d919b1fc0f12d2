"""The service behind a real nginx that is configured as documented: pages, API, clients, commands, streams."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from nginx import nginx
from served import Served
from serving import location
from showcase import finished
from sqlalchemy import delete
from test_addresses import ADDRESS
from writers import spec

from service.client import Client
from service.database import tables, tokens
from service.database.engine import writing
from service.database.store import Store
from service.database.tokens import Scope

FILE = spec("sent").to_json()


@pytest.fixture(scope="module")
def front(service: tuple[Served, Store], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx(service[0].url, tmp_path_factory.mktemp("nginx")) as url:
        yield url


@pytest.fixture(scope="module")
def store(service: tuple[Served, Store]) -> Store:
    return service[1]


@pytest.fixture(scope="module")
def done(store: Store) -> str:
    return finished(store, spec("done"))


@pytest.fixture
def outside(front: str) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def test_every_address_of_a_page_leads_somewhere(outside: httpx.Client, front: str, done: str) -> None:
    assert outside.get(front, follow_redirects=True).url == f"{front}/"
    named = outside.get(f"{front}/studies/done")
    assert (named.status_code, location(named)) == (307, f"{front}/studies/{done}")
    for page in ("/", f"/studies/{done}", "/no/thing"):
        answer = outside.get(front + page, headers={"Accept": "text/html"})
        found = [address for address in ADDRESS.findall(answer.text) if not address.startswith("#")]
        assert len(found) > 2
        for address in found:
            whole = urljoin(str(answer.url), address)
            assert whole.startswith(f"{front}/")
            drawn = "figure8" in whole or "export" in whole  # drawing takes long
            assert drawn or outside.get(whole).status_code == 200, whole


def test_a_submission_leads_to_its_study(outside: httpx.Client, front: str) -> None:
    for status in (202, 200):
        sent = outside.post(f"{front}/v1/studies", json=FILE)
        found = outside.get(location(sent))
        assert (sent.status_code, found.status_code, found.json()) == (status, 200, sent.json())


def test_the_description_says_where_it_is(outside: httpx.Client, front: str, done: str) -> None:
    answer = outside.get(f"{front}/openapi.json")
    (server,) = answer.json()["servers"]
    base = urljoin(str(answer.url), server["url"])
    assert base == f"{front}/"
    path = "/v1/studies/{study}"
    assert path in answer.json()["paths"]
    assert outside.get(base.rstrip("/") + path.format(study=done)).json()["id"] == done


@pytest.mark.parametrize("prefix", ["tb", "zipped"])  # a compressing nginx waits for more unless told not to
def test_an_event_arrives_while_its_stream_stays_open(
    front: str, store: Store, done: str, prefix: str
) -> None:
    url = urljoin(front, f"/{prefix}/v1/studies/{done}/events")
    with httpx.stream("GET", url, timeout=30) as stream:
        assert ("content-encoding" in stream.headers) is (prefix == "zipped")
        texts = filter(None, stream.iter_text())
        assert "id: " in next(texts)
        store.edit(done, actor="ada", priority=len(prefix))
        assert "event: " in next(texts)


def test_clients_and_commands_take_the_prefix(
    front: str, store: Store, done: str, tunebench: Callable[..., tuple[int, str, str]]
) -> None:
    with Client(front) as client:
        study = client.submit(spec("by-client"), priority=3)
        assert client.edit(study.id, labels=["x"]).labels == ("x",)
        assert study.id in [found.id for found in client.studies()]
        assert len(client.table(done).splitlines()) == len(list(client.trials(done))) + 1 == 13
    Path("study.json").write_text(json.dumps(spec("by-command").to_json()))
    code, out, err = tunebench("submit", "study.json", "--url", front)
    assert (code, out) == (0, f"{spec('by-command').study_id}: queued at {front}\n"), err
    assert tunebench("list", "--url", f"{front}/")[0] == 0
    assert tunebench("watch", done, "--url", front)[0] == 0


def test_who_comes_by_another_name_is_not_on_this_machine(outside: httpx.Client, front: str) -> None:
    """There are no tokens. By default nginx would pass the service's own address as the host."""
    answer = outside.get(f"{front}/v1/studies", headers={"Host": "tunebench.example"})
    assert answer.status_code == 403
    assert (
        "only requests to http://localhost are answered, got one to 'tunebench.example'"
        in answer.json()["detail"]
    )


def test_who_comes_from_elsewhere_is_not_on_this_machine(front: str) -> None:
    """A client's own claim about its address does not count."""
    with httpx.Client(headers={"X-Forwarded-For": "127.0.0.1"}, transport=_from_elsewhere()) as client:
        answer = client.get(f"{front}/v1/studies")
    assert answer.status_code == 403
    assert "only requests from this machine are answered" in answer.json()["detail"]


def _from_elsewhere() -> httpx.HTTPTransport:
    """Return a transport from an address of this machine that is not loopback; skip the test if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no address besides loopback")
        return httpx.HTTPTransport(local_address=asking.getsockname()[0])


def test_the_pages_cookie_is_of_the_prefix(outside: httpx.Client, front: str, store: Store) -> None:
    token = tokens.create(store.engine, "ada", Scope.ADMIN)
    try:
        refused = outside.get(f"{front}/")
        assert (refused.status_code, location(refused)) == (303, f"{front}/login?next=%2F")
        sent = outside.post(location(refused), data={"token": token, "next": "/"})
        assert (sent.status_code, location(sent)) == (303, f"{front}/")
        assert [cookie.path for cookie in outside.cookies.jar] == [
            "/tb"
        ]  # other programs there do not get it
        assert outside.get(f"{front}/").status_code == 200
        away = outside.post(f"{front}/logout")
        assert (location(away), list(outside.cookies.jar)) == (f"{front}/login", [])
    finally:
        with writing(store.engine) as connection:
            connection.execute(delete(tables.tokens))
