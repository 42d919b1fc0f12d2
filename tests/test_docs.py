"""The pages say what the code does, their links lead somewhere and their samples run."""

import re
import shlex
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest
import typer
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pages import PAGES, ROOT, blocks, without_code

from service.cli import app
from service.settings import DEFAULT_URL, Settings
from studies.design.methods import METHODS
from studies.design.searchers import SEARCHERS
from studies.design.space import searched
from studies.design.spec import ARMS_ALIAS, StudySpec, from_json, load
from trainers.__main__ import _parser
from trainers.data import DATASETS
from trainers.optimizers import OPTIMIZERS, NoBinaryWeights
from trainers.tasks import TASKS

README, STUDIES, COMMANDS = (PAGES[name] for name in ("README.md", "docs/studies.md", "docs/commands.md"))
CATALOG = PAGES["docs/methods-and-tasks.md"]


def table(page, header):
    """The rows of the page's table whose first column is `header`, each a list of cells without back-quotes."""
    lines = page.split(f"\n| {header} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def test_methods():
    assert {row[0]: row[1] for row in table(CATALOG, "method")} == {
        name: ", ".join(searched(method.space)) for name, method in METHODS.items()
    }


def test_every_method_gives_its_optimizer_what_it_takes():
    for method in METHODS.values():
        kind = OPTIMIZERS[method.optimizer] if method.optimizer else NoBinaryWeights
        assert set(method.space) == set(kind.hyperparameters)
        assert set(method.extra) == set(kind.optional)
    assert {method.optimizer for method in METHODS.values()} == {*OPTIMIZERS, None}


def test_what_a_study_may_add_to_a_methods_space():
    methods = {}
    for name, method in METHODS.items():
        for key in method.known.keys() - method.space.keys():
            methods.setdefault(key, []).append(name)
    every = {
        tuple(METHODS): ["every method"],
        tuple(n for n, m in METHODS.items() if m.optimizer): ["every method of binary weights"],
    }
    assert {row[0]: row[1].split(", ") for row in table(CATALOG, "hyperparameter")} == {
        key: every.get(tuple(names), names) for key, names in methods.items()
    }


def test_tasks():
    assert {row[0] for row in table(CATALOG, "task")} == TASKS.keys()
    assert {task.dataset for task in TASKS.values()} <= DATASETS.keys()


def test_data_sets():
    sentence = CATALOG.split("`tunebench data list` has the data sets: ")[1].split(", any folder")[0]
    assert set(re.findall(r"`([^`]+)`", sentence)) == DATASETS.keys()


def test_searchers():
    assert {row[0] for row in table(CATALOG, "searcher")} == SEARCHERS.keys()
    for name in SEARCHERS:
        arm = {"name": "gradient-filter", "space": {"alpha": [1e-3, 1e-2], "gamma": 0.1}}  # lists, for a grid
        from_json({"name": "s", "task": "spoken-digits", "arms": [arm], "searcher": name})


def commands():
    """Every command by its name, the group's before it."""
    click = typer.main.get_command(app)
    return {
        f"{name} {inner}".strip(): command if not inner else command.commands[inner]
        for name, command in click.commands.items()
        for inner in getattr(command, "commands", {"": None})
    }


def test_commands_and_their_options():
    known = {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for name, command in commands().items()
    }
    problem_responses = {}
    for usage, _ in table(COMMANDS, "command"):
        name = re.match(r"tunebench ([a-z ]*[a-z])", usage)[1]
        problem_responses[name] = set(re.findall(r"--[a-z]+", usage))
    everywhere = {"--db", "--url", "--json"}
    assert problem_responses == {name: options - everywhere for name, options in known.items()}
    assert all(option in COMMANDS for option in everywhere)


def test_keys_of_a_study_file():
    assert sorted(row[0] for row in table(STUDIES, "key")) == sorted([*StudySpec.model_fields, ARMS_ALIAS])


INTERNAL = {"TUNEBENCH_NICENESS", "TUNEBENCH_RAY_FOLDER"}  # from one process of a service to another


def test_settings():
    source = "".join(
        path.read_text() for layer in ("service", "studies") for path in (ROOT / layer).rglob("*.py")
    )
    problem_responses = {row[0] for row in table(COMMANDS, "variable")}
    of_ray = {"RAY_ADDRESS", "RAY_AUTH_TOKEN"}
    assert set(re.findall(r"TUNEBENCH_[A-Z_]+", source)) - INTERNAL | of_ray == problem_responses


def test_the_defaults_of_settings():
    defaults = {row[0]: row[2] for row in table(COMMANDS, "variable")}
    settings = Settings.from_environment({})
    assert defaults["TUNEBENCH_DATABASE_URL"] == settings.database_url
    assert Path(defaults["TUNEBENCH_DATA_DIR"]).expanduser() == settings.data_dir
    assert defaults["TUNEBENCH_MAX_RUNNING_STUDIES"] == str(settings.max_running_studies)
    assert defaults["TUNEBENCH_MAX_TRIALS"] == str(settings.max_trials)
    assert defaults["TUNEBENCH_MAX_STREAMS"] == str(settings.max_streams)
    assert defaults["TUNEBENCH_RAY_DASHBOARD"] == settings.ray_dashboard


def test_where_studies_are():
    assert f"else `TUNEBENCH_URL`, else {DEFAULT_URL}" in COMMANDS


def test_make_targets():
    targets = re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in targets:
        assert f"make {target}" in README or target in ("help", "clean", "data", "install", "lint")


def test_what_is_pinned_installs_on_the_oldest_python_that_the_readme_names():
    oldest = re.search(r"It needs Python (3\.\d+) or newer", README)[1]
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    wanted = {
        canonicalize_name(each.name): each.metadata["Requires-Python"] or "" for each in distributions()
    }
    here = {name: wanted[name] for name in map(canonicalize_name, pinned) if name in wanted}
    assert len(here) > 100
    assert {name: want for name, want in here.items() if f"{oldest}.0" not in SpecifierSet(want)} == {}


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def anchors(page):
    """The names that a page's headings can be linked to by."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKS = [
    (page, link)
    for page, text in PAGES.items()
    for link in re.findall(r"\]\((?!\w+:)([^)]+)\)", without_code(text))
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links(page, link):
    name, _, anchor = link.partition("#")
    goal = (ROOT / page).parent / name if name else ROOT / page
    assert goal.exists()
    assert not anchor or anchor in anchors(goal.read_text())


def samples(language):
    return [
        pytest.param(code, id=f"{page}-{i}")
        for page, text in PAGES.items()
        for i, code in enumerate(blocks(text, language))
    ]


@pytest.mark.parametrize("code", samples("yaml"))
def test_studies_in_pages_are_valid(code, tmp_path):
    (tmp_path / "study.yaml").write_text(code)
    assert load(tmp_path / "study.yaml").name


@pytest.mark.parametrize("code", samples("python"))
def test_python_in_pages(code, monkeypatch, tmp_path, spoken_digits):
    """It runs; of a service, a test of the client runs it, and files that a recipe makes have its tests."""
    program = compile(code, "sample", "exec")
    if "service.client" not in code and not re.match(r"# \w+(/\w+)*\.py", code):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache" / "tunebench").symlink_to(spoken_digits)
        exec(program, {})


def shell_lines():
    """Every command of ours in a page's code, in a sentence or in lines of its own; usage is without brackets."""
    ours = r"(tunebench|python -m trainers|python tests/benchmarks/\w+\.py|make)(?= |$)"
    for page, text in PAGES.items():
        lines = [line for block in blocks(text, "(?:sh)?") for line in block.splitlines()]
        bare = without_code(text)
        lines += re.findall(r"^    (.+)$", bare, re.MULTILINE) + re.findall(r"`([^`\n]+)`", bare)
        for line in lines:
            for found in re.finditer(ours, line):
                before = line[: found.start()].rstrip()
                if not before or before.endswith(("&&", "|", "do", ";")) or "=" in before.split()[-1]:
                    words = re.split(r" #| \||;| &&| >", line[found.start() :])[0]
                    yield pytest.param(found[1], re.sub(r"[\[\]]", "", words), id=f"{page}: {words}")


@pytest.mark.parametrize(("program", "line"), [*shell_lines()])
def test_commands_in_pages_exist(program, line):
    words = shlex.split(line.removeprefix(program))
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    if program == "tunebench":
        known = commands()
        named = [name for name in known if words[: len(name.split())] == name.split()]
        known_options = {"-h", "--help", "--version", "--install-completion"}
        for name in named:
            known_options |= {option for parameter in known[name].params for option in parameter.opts}
        assert options <= known_options
        groups = {name.split()[0] for name in known}
        assert named or not words or words[0] in groups | known_options
    elif program == "python -m trainers":
        assert options <= _parser()._option_string_actions.keys()
    elif program == "make":
        targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words if re.fullmatch(r"[a-z0-9-]+", word)} <= set(targets)
    else:
        source = (ROOT / program.removeprefix("python ")).read_text()
        assert all(f'"{option}"' in source for option in options)


def test_every_decision_is_listed():
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\((\d{4}[^)]+)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_every_wing_is_described():
    houses = ("trainers", "studies", "service")
    wings = {
        f"{house}/{init.parent.name}" for house in houses for init in (ROOT / house).glob("*/__init__.py")
    }
    assert {row[0] for row in table(PAGES["docs/decisions/0021-the-house.md"], "wing")} == wings


def test_papers_are_cited_by_author_and_year():
    """Never by a number of ours, such as `000`: docs/papers.md."""
    number = re.compile(r"(?<![\w.,:-])00[0-3](?:'s\b|,? (?:eqs?|sections?|Tables?|Figures?)\b)")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    named = (ROOT / "docs/papers.md").read_text()
    for name in ("Quist 2023", "Nayak 2020", "Paren & Poudel 2021"):
        assert f"**{name}**" in named
    for file in files.split():
        if file.endswith((".py", ".md", ".yaml")) and (ROOT / file).exists():
            assert not number.search((ROOT / file).read_text()), file
