"""service -> studies -> trainers, never back; and each layer imports only what it may."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "trainers": {"trainers"},
    "studies": {"studies", "trainers"},
    "service": {"service", "studies", "trainers"},
}
KNOW_RAY = [f"studies/{name}.py" for name in ("cluster", "gauges", "run", "training")]
THIRD_PARTY_OF_TRAINERS = {"torch", "numpy", "PIL"}
KNOW_DALI = ["trainers/data/dali.py", "trainers/decoders.py"]


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize(
    "file", [f for layer in MAY_IMPORT for f in sorted((ROOT / layer).rglob("*.py"))], ids=str
)
def test_no_import_points_back(file: Path) -> None:
    layer = file.relative_to(ROOT).parts[0]
    assert imported(file) & MAY_IMPORT.keys() <= MAY_IMPORT[layer]
    if layer == "trainers":
        optional = {"nvidia"} if str(file.relative_to(ROOT)) in KNOW_DALI else set()
        assert imported(file) - sys.stdlib_module_names - {"trainers"} <= THIRD_PARTY_OF_TRAINERS | optional
    if str(file.relative_to(ROOT)) not in KNOW_RAY:
        assert "ray" not in imported(file), f"only {KNOW_RAY} know Ray"


@pytest.mark.parametrize(
    "module", ["studies.spec", "studies.records", "studies.searchers", "service.cli", "service.head"]
)
def test_what_only_reads_does_not_import_torch(module: str) -> None:
    code = (
        f"import sys, {module}; sys.exit(bool({{'torch', 'ray', 'ax', 'matplotlib'}} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
