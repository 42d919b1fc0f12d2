"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the tree."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from pages import PAGES, ROOT, blocks

RECIPES = {
    section.partition("\n")[0]: section
    for section in re.split(r"^##+ ", PAGES["CONTRIBUTING.md"], flags=re.MULTILINE)
    if "```" in section
}


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


def git(*words, cwd):
    done = subprocess.run(["git", *words], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what git has, a repository of its own."""
    copy = tmp_path_factory.mktemp("tree")
    for name in git("ls-files", cwd=ROOT).split():
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    for folder in ROOT.glob("[st]*/**/__pycache__"):  # else a recipe would compile it all anew
        shutil.copytree(folder, copy / folder.relative_to(ROOT), ignore=shutil.ignore_patterns("*.pyc.*"))
    git("init", "--quiet", cwd=copy)
    git("add", "--all", cwd=copy)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=all", cwd=copy)
    return copy


@pytest.fixture
def tree(copy):
    """The copy to be changed; what Python has compiled of it stays for the next recipe."""
    yield copy
    git("reset", "--quiet", "--hard", cwd=copy)
    git("clean", "--quiet", "--force", "-d", cwd=copy)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(recipe, tree, spoken_digits):
    for block in blocks(RECIPES[recipe], "diff"):
        change(tree, block)
    for block in blocks(RECIPES[recipe], "python"):
        file = tree / re.match(r"# (\S+)\n", block)[1]
        assert not file.exists()
        file.write_text(block.partition("\n")[2])
    git("add", "--all", cwd=tree)
    names = [name for name in ("trainers", "studies", "service") if (tree / name).exists()]
    lint = [[sys.executable, "-m", "ruff", *how, *names] for how in (["check"], ["format", "--check"])]
    lines = [line for block in blocks(RECIPES[recipe], "sh") for line in block.splitlines()]
    environment = os.environ | {"TUNEBENCH_DATA_DIR": str(spoken_digits)}
    for words in [*lint, *map(shlex.split, lines)]:
        words = [sys.executable, "-m", *words] if words[0] == "pytest" else words
        words = [sys.executable, *words[1:]] if words[0] == "python" else words
        done = subprocess.run(words, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
