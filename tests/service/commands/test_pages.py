"""The commands that the pages give in lines of their own: each is run here, or it is said why not."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pages import PAGES, blocks, without_code
from served import Served

from service.database.store import Store
from service.settings import DEFAULT_URL
from studies.design.spec import load

# how a line begins, and why it is not run
NOT_RUN = {
    "make demo": "minutes",
    "make figure8": "hours",
    "make install": "makes the environment that runs this",
    "make test": "runs this",
    "make check": "runs this",
    ". .venv/bin/activate": "this runs in it",
    "pytest ": "tests/test_contributing.py runs it in a copy that is changed before",
    "python -m trainers spoken-digits signum": "tests/test_contributing.py runs it in a copy that is changed before",
    "python -m trainers cifar10-": "needs CIFAR-10, hours",
    "python tests/benchmarks/instrument.py": "needs CIFAR-10 or ImageNet, minutes",
    "tunebench run": "minutes; tests/service/cluster/test_interruption.py runs a smaller study",
    "tunebench serve": "does not end; tests/service/cluster/test_served.py runs it",
    "tunebench submit study.yaml --watch": "ends with the study; tests/service/commands/test_command.py watches one",
    "docker compose": "needs Docker; tests/test_docker.py says what holds without",
    "ssh ": "needs another machine",
}


def lines(page: str) -> Iterator[str]:
    """Yield each line that the page gives to be typed into a shell, without its comment."""
    fenced = [line for block in blocks(PAGES[page], "sh") for line in block.splitlines()]
    indented = re.findall(r"^    (\S.*)$", without_code(PAGES[page]), re.MULTILINE)
    for line in [*fenced, *indented]:
        yield line.split("  #")[0].strip()


def runs(line: str) -> bool:
    return not line.startswith(tuple(NOT_RUN))


GIVEN = {page: [*lines(page)] for page in PAGES if not page.startswith("docs/decisions")}  # which are history


def test_what_is_not_run_is_in_a_page() -> None:
    every = [line for page in GIVEN.values() for line in page]
    assert {start for start in NOT_RUN if not any(line.startswith(start) for line in every)} == set()
    assert len(every) > 30


@pytest.fixture
def folder(tmp_path: Path, spoken_digits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that commands of the pages read, and a home with the spoken digits."""
    for variable in [name for name in os.environ if name.startswith("TUNEBENCH_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    data = tmp_path / "home" / ".cache" / "tunebench"
    data.mkdir(parents=True)
    (data / "spoken-digits").symlink_to(spoken_digits / "spoken-digits")
    for file, page in (("study.yaml", "README.md"), ("first.yaml", "docs/tutorial.md")):
        (sample,) = blocks(PAGES[page], "yaml")
        (tmp_path / file).write_text(sample)
    first = yaml.safe_load((tmp_path / "first.yaml").read_text())
    (tmp_path / "study.json").write_text(json.dumps(first))
    for file in ("first.pt", "resnet34-b627a593.pth"):
        (tmp_path / file).touch()
    return tmp_path


@pytest.mark.parametrize("page", [page for page, given in GIVEN.items() if any(map(runs, given))])
def test_what_a_page_gives_to_be_run_runs(
    page: str, folder: Path, service: tuple[Served, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, store = service
    if page == "README.md":  # where the study that is shown is stored
        monkeypatch.setenv("TUNEBENCH_DATABASE_URL", served.database_url)
        store.create_study(load(folder / "study.yaml"), {})
    for line in filter(runs, GIVEN[page]):
        command = ["bash", "-euc", line.replace(DEFAULT_URL, served.url)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        if line.startswith("curl"):
            assert json.loads(done.stdout)["name"] == "first", done.stdout
