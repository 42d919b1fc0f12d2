"""The `tunebench` command, in process where nothing is trained."""

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from service.cli import main
from service.database import connect, upgrade

GOOD = "name: s\ntask: spoken-digits\nmethods: [gradient-filter]\nruns: 1\ntrials: 1\n"


@pytest.fixture
def tunebench(monkeypatch, capfd, tmp_path):
    """Call the command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNEBENCH_DATABASE_URL", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tunebench", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def write(text, name="s.yaml"):
    Path(name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("gradient-filter", "sgd"), "s.yaml: methods.0: unknown method 'sgd'; known are"),
        (
            GOOD.replace("spoken-digits", "digits"),
            "s.yaml: task: unknown task; known are spoken-digits, got 'digits'",
        ),
        (
            GOOD + "searcher: grid\n",
            "s.yaml: searcher.name: unknown searcher; known are ax, sobol, random, got 'grid'",
        ),
        (GOOD + "budget: 3\n", "s.yaml: budget: unknown key; allowed are"),
        (
            GOOD.replace("runs: 1", "runs: 0"),
            "s.yaml: runs: input should be greater than or equal to 1, got 0",
        ),
        (
            GOOD.replace("runs: 1", "runs: -1"),
            "s.yaml: runs: input should be greater than or equal to 1, got -1",
        ),
        (
            GOOD.replace("[gradient-filter]", "[latent-sgd, latent-sgd]"),
            "latent-sgd is listed more than once",
        ),
        (
            GOOD.replace("[gradient-filter]", "[{name: latent-sgd, space: {gamma: {low: 1, high: 0.1}}}]"),
            "s.yaml: methods.0.space.gamma: low must be less than high, got low 1.0 and high 0.1",
        ),
        (
            GOOD.replace("[gradient-filter]", "[{name: latent-sgd, space: {gamma: {high: 7}}}]"),
            "s.yaml: methods.0.space.gamma: 7.0 is out of range; gamma must be in (0, 1]",
        ),
        ("name: [", "s.yaml: is not YAML"),
    ],
)
def test_a_bad_study_file_is_one_message_and_nothing_is_written(tunebench, text, message):
    code, out, err = tunebench("run", write(text))
    assert code == 2
    assert message in err
    assert err.startswith("error: ")
    assert (err.count("\n"), out) == (1, "") or "is not YAML" in message
    assert list(Path().iterdir()) == [Path("s.yaml")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.yaml"], "none.yaml: cannot be read"),
        (["run", "s.yaml", "--runs", "0"], "runs: input should be greater than or equal to 1, got 0"),
        (["run", "s.yaml", "--trials", "-2"], "trials: input should be greater than or equal to 1, got -2"),
        (["run", "s.yaml", "--db", "mysql://x/y"], "mysql"),
        (["run", "s.yaml", "--db", "postgresql://root@127.0.0.1:1/test"], "127.0.0.1:1"),
        (["run", "s.yaml", "--db", "sqlite:///no/such/folder/x.db"], "no/such/folder"),
        (["run", "s.yaml", "--out", "s.yaml"], "--out: s.yaml is a file"),
        (["list"], "there is no database sqlite:///tunebench.db yet; run: tunebench db upgrade"),
        (["show", "x"], "there is no database"),
        (["data", "fetch", "cifar"], "unknown data set 'cifar'; known are spoken-digits"),
        (["data", "fetch", "spoken-digits", "--from", "nowhere"], "nowhere"),
    ],
)
def test_bad_arguments_are_one_message_and_nothing_is_written(tunebench, spoken_digits, arguments, message):
    write(GOOD)
    code, _, err = tunebench(*arguments)
    assert (code, err.count("error: ")) == (2, 1)
    assert message in err.splitlines()[-1]
    assert list(Path().iterdir()) == [Path("s.yaml")]


def test_missing_data_are_told_with_the_command_that_fetches_them(tunebench, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    code, _, err = tunebench("run", write(GOOD))
    assert code == 2
    assert "digits.npz: missing; run: tunebench data fetch spoken-digits" in err
    assert list(Path().iterdir()) == [Path("s.yaml")]


def test_damaged_data_are_told(tunebench, monkeypatch, tmp_path, spoken_digits):
    file = tmp_path / "data" / "spoken-digits" / "digits.npz"
    file.parent.mkdir(parents=True)
    good = (spoken_digits / "spoken-digits" / "digits.npz").read_bytes()
    file.write_bytes(good[:-100])
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    code, _, err = tunebench("run", write(GOOD))
    assert code == 2
    assert f"{file}: damaged (its checksum is wrong)" in err


def test_a_database_of_a_newer_version_is_refused(tunebench, spoken_digits):
    upgrade(connect("sqlite:///new.db"))
    with sqlite3.connect("new.db") as connection:
        connection.execute("update tunebench_version set version_num = '9999'")
    connection.close()
    for arguments in (["run", write(GOOD)], ["list"], ["db", "upgrade"]):
        code, _, err = tunebench(*arguments, "--db", "sqlite:///new.db")
        assert code == 2
        assert "9999" in err
        assert "newer" in err


def test_what_lists_prints_a_table_or_json(tunebench, spoken_digits):
    assert tunebench("db", "upgrade")[0] == 0
    assert "no studies yet" in tunebench("list")[1]
    assert json.loads(tunebench("list", "--json")[1]) == []
    for command, key, names in (
        ("methods", "method", {"gradient-filter", "latent-sgd"}),
        ("tasks", "task", {"spoken-digits"}),
        ("searchers", "searcher", {"ax", "sobol", "random"}),
    ):
        assert {row[key] for row in json.loads(tunebench(command, "--json")[1])} == names
        assert all(name[:9] in tunebench(command)[1] for name in names)
    (row,) = json.loads(tunebench("data", "list", "--json")[1])
    assert (row["data"], row["here"]) == ("spoken-digits", True)


def test_methods_json_gives_whole_spaces(tunebench):
    rows = {row["method"]: row for row in json.loads(tunebench("methods", "--json")[1])}
    assert rows["latent-sgd"]["dimensions"] == 6
    assert rows["latent-sgd"]["space"]["clipping"] == [False, True]
    assert rows["gradient-filter"]["space"]["alpha"] == {"low": 1e-6, "high": 1.0, "log": True}


def test_data_come_from_a_folder_too(tunebench, monkeypatch, tmp_path, spoken_digits):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(spoken_digits / "spoken-digits" / "digits.npz", source)
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    code, out, _ = tunebench("data", "fetch", "spoken-digits", "--from", source)
    assert code == 0
    assert str(tmp_path / "data" / "spoken-digits" / "digits.npz") in out
    assert "checked" in out
