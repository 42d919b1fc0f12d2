"""The files besides the pages, and the address that the login leads to."""

import re
from pathlib import Path

import pytest
from serving import client_of, serving

from service.api.routes.pages import LOCAL_ADDRESS
from service.database.store import Store
from service.web.assets import PLOTLY, STATIC, Assets
from studies.results.canvas import LOOKS


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


def test_a_method_looks_on_the_page_as_in_the_figures() -> None:
    sheet, glyphs = ((STATIC / name).read_text() for name in ("style.css", "glyph.js"))
    light, dark = (
        re.findall(r"--m(\d+): (#[0-9a-f]{6});", part) for part in sheet.split("prefers-color-scheme: dark")
    )
    assert [colour for _, colour in light] == [colour.lower() for colour, _ in LOOKS]
    assert (
        [number for number, _ in light]
        == [number for number, _ in dark]
        == [str(i) for i in range(len(LOOKS))]
    )
    assert len({colour for _, colour in dark}) == len(LOOKS)
    assert re.findall(r"\.m(\d+) \{ --arm: var\(--m\1\); \}", sheet) == [number for number, _ in light]
    plotlys = {"o": "circle", "^": "triangle-up", "s": "square", "D": "diamond", "v": "triangle-down", "P": "cross",
               "X": "x", "<": "triangle-left", ">": "triangle-right", "p": "pentagon", "*": "star", "h": "hexagon",
               "d": "diamond-tall"}  # fmt: skip
    assert re.findall(r'\["([a-z-]+)", "M', glyphs) == [plotlys[marker] for _, marker in LOOKS]
