"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the tree."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPES = {
    section.partition("\n")[0]: section
    for section in re.split(r"^##+ ", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    if "```" in section
}


def blocks(recipe, language):
    return re.findall(rf"^```{language}\n(.*?)^```", RECIPES[recipe], re.DOTALL | re.MULTILINE)


def change(tree, block):
    """Change a file as a diff without line numbers says: what it keeps or removes is in the file exactly once."""
    name, text = re.match(r"\+\+\+ (\S+)\n(.*)", block, re.DOTALL).groups()
    content = (tree / name).read_text()
    for hunk in text.split("@@\n"):
        lines = [(line[:1], line[1:]) for line in hunk.splitlines(keepends=True)]
        old = "".join(line for sign, line in lines if sign != "+")
        assert content.count(old) == 1, f"{name} has {content.count(old)} times:\n{old}"
        content = content.replace(old, "".join(line for sign, line in lines if sign != "-"))
    (tree / name).write_text(content)


@pytest.fixture
def tree(tmp_path):
    """A copy of what git has, a repository of its own."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in listed.split():
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(recipe, tree, spoken_digits):
    for block in blocks(recipe, "diff"):
        change(tree, block)
    for block in blocks(recipe, "python"):
        file = tree / re.match(r"# (\S+)\n", block)[1]
        assert not file.exists()
        file.write_text(block.partition("\n")[2])
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    subprocess.run(["git", "add", "--all"], cwd=tree, check=True)
    names = [name for name in ("trainers", "studies", "service") if (tree / name).exists()]
    lint = [[sys.executable, "-m", "ruff", *how, *names] for how in (["check"], ["format", "--check"])]
    lines = [line for block in blocks(recipe, "sh") for line in block.splitlines()]
    environment = os.environ | {"TUNEBENCH_DATA_DIR": str(spoken_digits)}
    for words in [*lint, *map(shlex.split, lines)]:
        words = [sys.executable, "-m", *words] if words[0] == "pytest" else words
        words = [sys.executable, *words[1:]] if words[0] == "python" else words
        done = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
