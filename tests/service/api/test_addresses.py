"""The page under a path prefix that a proxy gives it: every address in it is relative."""

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from serving import client_of, serving, token_of
from writers import spec

from service import web
from service.database.store import Store
from service.database.tokens import Scope

ADDRESS = re.compile(r'(?:href|src|action|data-plotly)="([^"]*)"')
STATIC = Path(web.__file__).parent / "static"


@pytest.fixture
def app(store: Store, tmp_path: Path) -> FastAPI:
    with serving(store, tmp_path) as app:
        yield app


@pytest.mark.parametrize(
    "page", ["/", "/login", "/studies/{id}", "/studies/none", "/nothing", "/nothing/at/all", "/a%2Fb/c"]
)
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # what a page links to does not depend on it
def test_every_address_of_a_page_stays_below_its_root(app: FastAPI, store: Store, page: str) -> None:
    page = page.format(id=store.create_study(spec("there"), {}).id)
    answer = client_of(app).get(page, headers={"Accept": "text/html"}, follow_redirects=False)
    found = ADDRESS.findall(answer.text)
    assert answer.status_code == 303 or len(found) > 2
    for address in [*found, answer.headers.get("location", "./")]:
        if not address.startswith("#"):
            assert not address.startswith("/"), address
            assert urljoin(f"http://host/tb{page}", address).startswith("http://host/tb/"), address
            if "static" in address:
                assert client_of(app).get(urljoin(f"http://localhost{page}", address)).status_code == 200


def test_no_script_names_an_address_from_the_hosts_root() -> None:
    for script in STATIC.glob("*.js"):
        assert not re.search(r'(?<!split\()["`](/v1|/studies|/login|/\?|/")', script.read_text()), script.name


def test_the_login_leads_back_to_where_one_was(app: FastAPI, store: Store) -> None:
    token = token_of(app, Scope.READ)
    study = store.create_study(spec("there"), {}).id
    client = client_of(app)
    answer = client.get(f"/studies/{study}?x=1", follow_redirects=False)
    assert answer.headers["location"] == f"../login?next=%2Fstudies%2F{study}%3Fx%3D1"
    fields = {"token": token, "next": f"/studies/{study}?x=1#trial=y"}
    answer = client.post("/login", data=fields, follow_redirects=False)
    assert answer.headers["location"] == f"./studies/{study}?x=1#trial=y"
    for elsewhere in ("//other.example/", "https://other.example/", "\\\\other", "../../x"):
        answer = client.post("/login", data={"token": token, "next": elsewhere}, follow_redirects=False)
        assert answer.headers["location"] == "./"
    client.cookies.set("tunebench", "tb_wrong")
    assert "unknown, revoked or expired" in client.get("/login").text


def test_a_study_is_found_by_its_name_and_the_id_that_the_list_shows(app: FastAPI, store: Store) -> None:
    study = store.create_study(spec("there"), {}).id
    client = client_of(app)
    for key in ("there", study[-8:], study[:-3]):
        answer = client.get(f"/studies/{key}", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, f"./{study}")
        assert client.get(f"/studies/{key}", follow_redirects=True).status_code == 200
    other = store.create_study(spec("there", seed=1), {}).id
    answer = client.get("/studies/there")
    assert answer.status_code == 409
    assert study in answer.text
    assert other in answer.text
    assert client.get("/studies/nowhere").status_code == 404
