"""The walls of the house: who may import whom, and what only some may know."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSES = ("trainers", "studies", "service")  # each may import those before it, never back
FILES = [f.relative_to(ROOT) for house in HOUSES for f in sorted((ROOT / house).rglob("*.py"))]
THIRD_PARTY_OF_TRAINERS = {"torch", "numpy", "PIL"}
TRAINERS = {"data", "feeding", "layers", "models", "optimizers", "tasks", "training"}

# What a wing must not import. What is not in one, such as `studies.records`, is for all
WALLS = {
    "trainers.data": {f"trainers.{wing}" for wing in TRAINERS - {"data"}},
    "trainers.tasks": {f"trainers.{wing}" for wing in TRAINERS - {"tasks"}},
    "trainers.layers": {f"trainers.{wing}" for wing in TRAINERS - {"layers"}},
    "trainers.models": {f"trainers.{wing}" for wing in TRAINERS - {"models", "layers"}},
    "trainers.optimizers": {f"trainers.{wing}" for wing in TRAINERS - {"optimizers", "layers", "tasks"}},
    "trainers.feeding": {f"trainers.{wing}" for wing in TRAINERS - {"feeding", "data", "tasks"}},
    "studies.design": {"studies.running", "studies.analysis", "studies.results"},
    "studies.analysis": {"studies.running", "studies.results"},
    "studies.results": {"studies.running"},
    "studies.running": {"studies.results"},
    "service.database": {"service.api", "service.client", "service.cluster", "service.commands"},
    "service.client": {"service.api", "service.cluster", "service.commands", "service.database"},
    "service.cluster": {"service.api", "service.client", "service.commands"},
    "service.api": {"service.client", "service.commands"},
    "service.web": {"service", "studies", "trainers"},
}
# What only these may know: a file, or a folder with all in it
ONLY = {
    "ray": ["studies/running"],
    "nvidia": ["trainers/feeding/dali.py", "trainers/feeding/decoders.py"],
    "sqlalchemy": ["service/database"],
    "alembic": ["service/database"],
    "psycopg": ["service/database"],
    "fastapi": ["service/api"],
    "typer": ["service/commands", "service/cli.py"],
    "matplotlib": ["studies/results"],
    "ax": ["studies/design/searchers.py"],
    "torch": ["trainers", "studies/running", "studies/design/bayesian.py", "studies/design/searchers.py"],
    "botorch": ["studies/design/bayesian.py"],
}


def imported(file: Path) -> set[str]:
    """The modules that the file imports, also those within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_walls(file: Path) -> None:
    names = imported(file)
    later = HOUSES[HOUSES.index(file.parts[0]) + 1 :]
    wing = ".".join(file.parts[:2])
    for name in names:
        assert not any(within(name, house) for house in later), f"{name} stands above {file.parts[0]}"
        for other in WALLS.get(wing, ()):
            assert within(name, wing) or not within(name, other), f"between {wing} and {other} is a wall"
        for package, homes in ONLY.items():
            if within(name, package):
                assert any(file.is_relative_to(home) for home in homes), f"{package} is known to {homes}"
    if file.parts[0] == "trainers":
        roots = {name.partition(".")[0] for name in names} - {"nvidia"}
        assert roots - sys.stdlib_module_names - {"trainers"} <= THIRD_PARTY_OF_TRAINERS


def test_every_wing_stands() -> None:
    for wing in WALLS:
        assert (ROOT / wing.replace(".", "/") / "__init__.py").exists()
    for homes in ONLY.values():
        assert all((ROOT / home).exists() for home in homes)


HEAVY = ("torch", "ray", "ax", "botorch", "matplotlib")


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("studies.design.spec", HEAVY),
        ("studies.records", HEAVY),
        ("studies.design.searchers", HEAVY),
        ("service.cli", (*HEAVY, "sqlalchemy", "fastapi")),
        ("service.cluster.head", HEAVY),
        ("service.client", (*HEAVY, "sqlalchemy", "fastapi")),
    ],
)
def test_what_is_light_stays_so(module: str, without: tuple[str, ...]) -> None:
    code = f"import sys, {module}; sys.exit(', '.join({set(without)} & sys.modules.keys()) or 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
