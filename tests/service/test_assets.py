"""The files beside the pages, and where the login leads to."""

import re
from pathlib import Path

import pytest
from serving import client_of, serving

from service.routes.pages import LOCAL_ADDRESS
from service.store import Store
from service.web.assets import PLOTLY, STATIC, Assets


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("/", True),
        ("/studies/a-1?x=1#y", True),
        ("//elsewhere.example", False),
        ("/\\elsewhere.example", False),
        ("/\t/elsewhere.example", False),
        ("https://elsewhere.example", False),
        ("", False),
    ],
)
def test_the_login_leads_to_this_site_only(address: str, stays: bool) -> None:
    assert bool(LOCAL_ADDRESS.fullmatch(address)) is stays


def test_files_are_kept_by_browsers_until_they_change(store: Store, tmp_path: Path) -> None:
    assets = Assets()
    with serving(store, tmp_path) as app:
        client = client_of(app)
        for name in [path.name for path in STATIC.iterdir()] + [PLOTLY]:
            answer = client.get(assets.url(name))
            assert answer.status_code == 200
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-encoding"] == "gzip"
            plain = client.get(assets.url(name), headers={"Accept-Encoding": "identity"})
            assert plain.content == answer.content
        policy = client.get("/").headers["content-security-policy"]
        assert "unsafe" not in policy
        assert client.get("/static/../pyproject.toml").status_code == 404
        assert client.get("/static/%2e%2e/%2e%2e/app.py").status_code == 404
    for path in STATIC.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", path.read_text()
        ), path
