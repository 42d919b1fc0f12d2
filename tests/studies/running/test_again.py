"""An export is enough to run its study again: it has the file, the code, and the meaning of every key."""

import csv
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import confirmations_of, figure8_like, repeated, study_of, trials_of

from studies.analysis.comparison import compare
from studies.design.spec import load
from studies.records import Series
from studies.results.data_tables import TABLES
from studies.results.dictionary import FILES
from studies.results.export import export
from studies.results.report import report, study_file
from studies.running.provenance import LARGEST_DIFF, code

SPECS = sorted((Path(__file__).parents[3] / "studies/specs").rglob("*.yaml"))
# below these keys, the content is the user's or the machine's own
OPEN = re.compile(
    r"(^|\.)(proxy|hyperparameters|sources|at_bounds|spec|seeds\.trials|versions|hardware|parity\[\]\.values)$"
)
DIRTY = {"diff": "--- a\n", "bytes": 6, "sha256": "0" * 64}


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_study_file_of_an_export_is_the_same_study(spec: Path, tmp_path: Path) -> None:
    found = load(spec)
    study = replace(study_of(), id=found.study_id, name=found.name, task=found.task, spec=found.to_json())
    (tmp_path / "study.yaml").write_text(study_file(study))
    assert load(tmp_path / "study.yaml").study_id == found.study_id


def test_it_is_in_the_export(tmp_path: Path) -> None:
    study, trials = figure8_like(runs=1, trials=2)
    export(study, trials, tmp_path)
    assert load(tmp_path / "study.yaml").study_id == study.id


def keys_of(content: Any, at: str = "") -> set[str]:
    if OPEN.search(at):
        return set()
    if isinstance(content, dict):
        if at in ("teacher", "teachers", "start"):
            return {at}
        found = {f"{at}.{key}".lstrip("."): value for key, value in content.items()}
        return found.keys() | {key for path, value in found.items() for key in keys_of(value, path)}
    if isinstance(content, list):
        return {each for value in content for each in keys_of(value, f"{at}[]")}
    return set()


def pattern_of(key: str) -> re.Pattern[str]:
    escaped = re.escape(key).replace(r"\*", r"[^.]+").replace("…", ".+")
    return re.compile(escaped)


def with_signs(folder: Path) -> None:
    """Write the table of differing signs of two arms with one network."""
    study, (first, second) = figure8_like(runs=1, trials=1)
    signs = ((Series.of("signs", [5], np.uint8([[7]])),),)
    export(study, [replace(each, series=signs) for each in (first, second)], folder / "signs")
    (folder / "signs" / "differing-signs.csv").rename(folder / "differing-signs.csv")


def test_every_column_and_key_is_in_the_dictionary_and_there_is_no_other(tmp_path: Path) -> None:
    study, trials = figure8_like(runs=6, trials=4)
    ran_on = {"data": {"set": "x", "sha256": None, "published": None}, "teacher": None, "commit": "1+changes"}
    first, second = study.spec["arms"]
    study = replace(
        study,
        task="mnist-fullycon",
        spec={
            **study.spec,
            "task": "mnist-fullycon",
            "arms": [first, second | {"task": "mnist-lenet5", "proxy": {"epochs": 3}}],
            "confirm": {"seeds": 2},
            "stop_when": "decided",
            "published": [{"name": "a", "test": 0.9, "source": "b"}],
        },
        provenance={
            **study.provenance,
            **ran_on,
            "teachers": {"mnist-lenet5": {"file": "t", "sha256": "0"}},
            "start": {"file": "s", "sha256": "0"},
            "changes": DIRTY,
            "continued": [],
        },
    )
    failed = trials_of(study, {"latent-sgd": [[None] * 4] * 6})
    trials = [*[t for t in trials if t.arm == "gradient-filter" or t.run < 4], *failed[12:]]
    confirmations = confirmations_of(
        study, trials, lambda trial, number: 0.9 - number / 100 - 1 / trial.trial
    )
    recorded = replace(repeated(trials[0]), series=((Series.of("flip_ratio", [5], [0.5]),),))
    export(study, [recorded, *trials[1:]], tmp_path, confirmations=confirmations)
    with_signs(tmp_path)
    text = (tmp_path / "dictionary.md").read_text()
    for file, meanings in FILES.items():
        if file in TABLES:
            with (tmp_path / f"{file}.csv").open() as opened:
                found = set(next(csv.reader(opened)))
        else:
            found = keys_of(json.loads((tmp_path / file).read_text()))
        patterns = {key: pattern_of(key) for key in meanings}
        assert [key for key in found if not any(p.fullmatch(key) for p in patterns.values())] == []
        assert [key for key, p in patterns.items() if not any(p.fullmatch(key) for key in found)] == []
        assert f"\n## {file}\n" in text
        assert all(f"\n| `{key}` | " in text for key in meanings)


def test_the_report_has_the_lines_that_run_it_again(tmp_path: Path) -> None:
    study, trials = figure8_like(runs=1, trials=2)
    ran_on = {
        "commit": "abc+changes",
        "changes": DIRTY,
        "data": {"set": "spoken-digits", "sha256": "1", "published": None},
        "teacher": None,
        "versions": {"torch": "2", "nvidia-dali-cuda120": None},
    }
    study = replace(study, provenance={**study.provenance, **ran_on, "continued": [ran_on]})
    export(study, trials, tmp_path)
    text = (tmp_path / "report.md").read_text()
    lines = re.search(r"```sh\n(.*?)\n```", text, re.DOTALL)
    assert lines is not None
    assert lines[1].splitlines() == [
        "git clone REPOSITORY tunebench && cd tunebench",
        "git checkout abc",
        "git apply EXPORT/changes.patch",
        "make install",
        ".venv/bin/tunebench data fetch spoken-digits",
        ".venv/bin/tunebench run EXPORT/study.yaml --out again",
    ]
    assert (tmp_path / "changes.patch").read_text() == "--- a\n"
    kept = json.loads((tmp_path / "provenance.json").read_text())
    assert kept["changes"] == {"file": "changes.patch", "bytes": 6, "sha256": "0" * 64}
    assert kept["continued"][0]["changes"]["file"] == "changes-1.patch"
    assert "(ICLR), 2023" in text
    assert "- `latent-sgd`: Quist et al. 2023, eqs 1-5 and Table 1" in text
    for none in ("teacher | unknown", "published | unknown", "dali"):
        assert none not in text
    large = {**ran_on, "changes": {**DIRTY, "diff": None}}
    assert "too large to be kept" in report(replace(study, provenance=large), compare(study, trials), [])


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


def test_changes_to_the_code_are_kept_and_give_it_again(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "trainers").mkdir(parents=True)
    assert code(here) == {"commit": None}
    git(tmp_path, "init", "-q", str(here))
    for name in ("service", "studies", "trainers"):
        (here / name).mkdir(exist_ok=True)
        (here / name / "old.py").write_text("old = 1\n")
    (here / "README.md").write_text("text\n")
    git(here, "add", "-A")
    git(here, "commit", "-qm", "first")
    clean = code(here)
    assert clean.keys() == {"commit"}
    (here / "README.md").write_text("another text\n")
    (here / "notes.txt").write_text("my own\n")
    assert code(here) == clean, "no trial depends on these"
    (here / "trainers/old.py").write_text("old = 2\n")
    (here / "studies/new.py").write_text("new = 3\n")
    dirty = code(here)
    assert dirty["commit"] == f"{clean['commit']}+changes"
    git(tmp_path, "clone", "-q", str(here), str(there))
    (tmp_path / "changes.patch").write_text(dirty["changes"]["diff"])
    git(there, "apply", str(tmp_path / "changes.patch"))
    for name in ("trainers/old.py", "studies/new.py"):
        assert (there / name).read_text() == (here / name).read_text()
    (here / "studies/new.py").write_text("#" * LARGEST_DIFF)
    large = code(here)["changes"]
    assert (large["diff"], large["bytes"] > LARGEST_DIFF) == (None, True)
