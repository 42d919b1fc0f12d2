"""The README says what the code does."""

import re
from pathlib import Path

import pytest
import typer

from service.cli import app
from studies.methods import METHODS
from studies.searchers import SEARCHERS
from studies.space import searched
from studies.spec import StudySpec, from_json
from trainers.data import DATASETS
from trainers.optimizers import OPTIMIZERS
from trainers.tasks import TASKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def table(header):
    """The rows of the README's table whose first column is `header`, each a list of cells without back-quotes."""
    lines = README.split(f"\n| {header} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def test_methods():
    assert {row[0]: row[1] for row in table("method")} == {
        name: ", ".join(searched(method.space)) for name, method in METHODS.items()
    }
    assert {method.optimizer for method in METHODS.values()} <= OPTIMIZERS.keys()


def test_every_method_gives_its_optimizer_what_it_takes():
    for method in METHODS.values():
        assert set(method.space) == set(OPTIMIZERS[method.optimizer].hyperparameters)


def test_tasks():
    assert {row[0] for row in table("task")} == TASKS.keys()
    assert {task.dataset for task in TASKS.values()} <= DATASETS.keys()


def test_searchers():
    assert {row[0] for row in table("searcher")} == SEARCHERS.keys()
    for name in SEARCHERS:
        from_json({"name": "s", "task": "spoken-digits", "methods": ["latent-sgd"], "searcher": name})


def test_commands():
    click = typer.main.get_command(app)
    commands = {
        name if not hasattr(command, "commands") else f"{name} {inner}"
        for name, command in click.commands.items()
        for inner in getattr(command, "commands", {"": None})
    }
    assert {
        row[0].split(" ", 1)[1].split(" [")[0].split(" S")[0].split(" N")[0].strip()
        for row in table("command")
    } == commands


def test_keys_of_a_study_file():
    assert [row[0] for row in table("key")] == list(StudySpec.model_fields)


def test_settings():
    source = "".join(
        path.read_text() for layer in ("service", "studies") for path in (ROOT / layer).rglob("*.py")
    )
    documented = {row[0] for row in table("variable")}
    assert set(re.findall(r"TUNEBENCH_[A-Z_]+", source)) | {"RAY_ADDRESS"} == documented


def test_make_targets():
    targets = re.findall(r"^([a-z0-9]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in targets:
        assert f"make {target}" in README or target in ("help", "clean", "data", "install", "lint")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links(link):
    assert (ROOT / link).exists()


def test_every_decision_is_listed():
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\((\d{4}[^)]+)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}
