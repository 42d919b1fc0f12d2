"""Studies listed, looked at before they run, and changed."""

import io
import json
import shlex
from pathlib import Path

import pytest
from rich.console import Console
from writers import finish, spec

from service.commands import terminal
from service.commands.terminal import fitted
from service.database.engine import connect, upgrade
from studies.records import Request, StudyState
from trainers.optimizers import OPTIMIZERS

GOOD = {"name": "s", "task": "spoken-digits", "methods": ["gradient-filter"], "runs": 1, "trials": 2}


@pytest.fixture
def studies(service):
    """The ids of three studies, by name, the newest last; no other test sees these studies."""
    _, store = service
    made = {
        "plain": store.create_study(spec("plain"), {}, actor="anna"),
        "all-methods": store.create_study(
            spec("all-methods", methods=list(OPTIMIZERS)), {}, labels=["paper", "team:edge"], priority=32
        ),
        "cut-short": store.create_study(spec("cut-short", proxy={"epochs": 5}), {}, labels=["paper"]),
    }
    yield {name: study.id for name, study in made.items()}
    for study in made.values():
        store.ask(study.id, Request.CANCEL, actor="test")
        store.resume(study.id, actor="test")
        store.ask(study.id, Request.CANCEL, actor="test")
        store.delete(study.id)


def listed(out):
    return [line.split() for line in out.splitlines()]


def test_a_list_shows_turns_priorities_labels_and_owners_and_has_filters(tunebench, service, studies):
    served, store = service
    for place in (("--db", str(store.engine.url)), ("--url", served.url)):
        head, *rows = listed(tunebench("list", "--state", "queued", *place)[1])
        assert head[:5] == ["study", "state", "turn", "trials", "priority"]
        assert {"labels", "by"} <= {*head}
        by_id = {row[0]: row for row in rows}
        assert by_id[studies["all-methods"]][1:5] == ["queued", "1", f"0/{len(OPTIMIZERS) * 6}", "32"]
        assert int(by_id[studies["plain"]][2]) < int(by_id[studies["cut-short"]][2])
        assert by_id[studies["plain"]][-1] == "anna"
        assert by_id[studies["all-methods"]][-2:] == ["paper,", "team:edge"]
        for filters, names in (
            (["--label", "paper"], ["cut-short", "all-methods"]),
            (["--label", "team:edge", "--task", "spoken-digits"], ["all-methods"]),
            (["--label", "paper", "--state", "queued", "--state", "failed"], ["cut-short", "all-methods"]),
        ):
            _, *rows = listed(tunebench("list", *filters, *place)[1])
            assert [row[0] for row in rows] == [studies[name] for name in names]
        for none in (["--label", "nobody"], ["--label", "paper", "--state", "failed"]):
            assert tunebench("list", *none, *place)[:2] == (0, "no matching studies\n")
        for half in (["list", "--label", "\udcff"], ["list", "--task", "\udcff"], ["show", "\udcff"]):
            assert tunebench(*half, *place)[0] in (0, 2)


@pytest.mark.parametrize(
    ("arguments", "value", "allowed"),
    [
        (["list", "--state", "done"], "done", list(StudyState)),
        (["token", "create", "ada", "--scope", "all"], "all", ["read", "submit", "admin"]),
    ],
)
def test_a_value_that_an_option_does_not_know_is_told_with_those_it_does(
    tunebench, arguments, value, allowed
):
    code, _, err = tunebench(*arguments)
    told = " ".join(err.replace("│", " ").split())
    assert code == 2
    assert (
        f"Invalid value for '{arguments[-2]}': '{value}' is not one of {', '.join(map(repr, map(str, allowed)))}"
        in told
    )


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_study_is_one_line_of_a_terminal(tunebench, service, studies, monkeypatch, width):
    monkeypatch.setattr(terminal.out, "_force_terminal", True)
    monkeypatch.setattr(terminal.out, "_width", width)
    monkeypatch.setattr(terminal.out, "_height", 50)
    _, out, _ = tunebench("list", "--label", "paper", "--url", service[0].url)
    lines = out.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    assert studies["cut-short"] in lines[1]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (100, {"id": 30, "state": 9, "methods": 40}),
        (63, {"id": 25, "state": 9, "methods": 25}),
        (45, {"id": 20, "state": 9, "methods": 12}),
        (44, {"id": 30, "state": 9}),
        (31, {"id": 20, "state": 9}),
        (12, {"state": 9}),
        (5, {"state": 5}),
    ],
)
def test_columns_are_cut_and_then_left_out(room, expected):
    least = {"methods": 12, "id": 20}
    assert fitted({"id": 30, "state": 9, "methods": 40}, least, room) == expected


@pytest.mark.parametrize(("width", "whole"), [(60, True), (20, False)])
def test_a_table_breaks_between_words_while_it_can(monkeypatch, width, whole):
    shown = io.StringIO()
    monkeypatch.setattr(
        terminal, "out", Console(file=shown, width=width, force_terminal=True, color_system=None)
    )
    told = "97.59 % (97.40 % to 97.80 %)"
    terminal.print_rows([{"arm": "straight-through Adam", "validation": told, "test": told}], as_json=False)
    words = {word for line in shown.getvalue().splitlines() for word in line.split()}
    assert (words == set(f"arm validation test straight-through Adam {told}".split())) is whole
    assert max(map(len, shown.getvalue().splitlines())) <= width


def test_piped_text_is_never_broken(tunebench, service, studies):
    _, store = service
    study = store.create_study(spec("long-reason"), {})
    finish(store, study, StudyState.FAILED, "a reason of many words " * 100)
    for command in (["show", "long-reason"], ["list", "--label", "paper"], ["methods"]):
        _, out, _ = tunebench(*command, *([] if command == ["methods"] else ["--db", str(store.engine.url)]))
        assert all(line == line.rstrip() for line in out.splitlines()) or command[0] == "show"
        assert "a reason of many words " * 100 in out or command[0] != "show"
    assert max(map(len, tunebench("list", "--db", str(store.engine.url))[1].splitlines())) > 200


def test_a_study_is_looked_at_before_it_runs(tunebench, service, spoken_digits):
    served, store = service
    Path("s.json").write_text(json.dumps(GOOD))
    study = store.create_study(spec("measured", runs=1, trials=1), {})
    done = store.create_study(spec("timed"), {})
    finish(store, done)
    for place in (("--db", str(store.engine.url)), ("--url", served.url)):
        code, out, _ = tunebench("plan", "s.json", "--trials", 3, *place)
        assert (code, "3 trials, not stored yet\nIts trials take one worker about 0:00:0" in out) == (0, True)
        found = json.loads(tunebench("plan", "s.json", *place, "--json")[1])
        assert (found["planned"], found["exists"], found["spec"]["searcher"]["name"]) == (2, None, "botorch")
        assert found["design"] == {"runs": 1, "pairs": 0, "runs_needed": 6, "detectable": None}
        two = GOOD | {"methods": ["gradient-filter", "bop"], "runs": 5, "confirm": {"seeds": 2}}
        Path("two.json").write_text(json.dumps(two))
        said = tunebench("plan", "two.json", *place)[1]
        assert "20 trials and at most 40 confirmations, not stored yet\n" in said
        assert (
            "With 5 runs no test can tell two arms apart, whatever the results: that takes at least 6 runs."
            in said
        )
        assert (
            "With 6 runs a test finds a difference of "
            in tunebench("plan", "two.json", "--runs", 6, *place)[1]
        )
        Path("stops.json").write_text(json.dumps(two | {"runs": 20, "stop_when": "decided"}))
        said = tunebench("plan", "stops.json", *place)[1]
        assert "With 20 runs a test finds a difference of 0.93 SD" in said
        assert "stops once it is decided: telling its first two arms apart takes at least 7 runs" in said
        Path("again.json").write_text(json.dumps(study.spec))
        assert f"{study.id}: 2 trials, already stored, queued\n" in tunebench("plan", "again.json", *place)[1]
        code, out, err = tunebench("plan", "s.json", "--runs", 0, "--trials", -1, *place)
        assert (code, out) == (2, "")
        assert ["runs: input" in line or "trials: input" in line for line in err.splitlines()] == [True, True]
    code, out, _ = tunebench("plan", "s.json")
    assert (code, "unknown: no trial of its task is recorded" in out) == (0, True)
    own = {"name": "short", "method": "bop", "proxy": {"epochs": 2}}
    Path("own.json").write_text(json.dumps(GOOD | {"methods": ["bop", own]}))
    code, out, _ = tunebench("plan", "own.json")
    assert (code, "unknown: no trial like those of one of its arms is recorded" in out) == (0, True)
    batches = {"name": "batches", "method": "bop", "space": {"batch_size": [8, 16]}}
    Path("batches.json").write_text(json.dumps(GOOD | {"methods": [batches]}))
    code, out, _ = tunebench("plan", "batches.json")
    assert (code, "unknown: an arm searches its batch size.\n" in out) == (0, True)
    assert not Path("tunebench.db").exists()


def test_priority_labels_and_name_are_changed(tunebench, service, studies):
    served, store = service
    edit = ("edit", "all-methods", "--url", served.url)
    code, out, _ = tunebench(*edit, "--priority", 5, "--label", "b", "--label", "a", "--unlabel", "team:edge")
    said = f"{studies['all-methods']}: queued, priority 5, labels a, b, paper, name all-methods\n"
    assert (code, out) == (0, said)
    tunebench(*edit, "--name", "renamed")
    found = store.study(studies["all-methods"])
    assert (found.name, found.priority, found.labels) == ("renamed", 5, ("a", "b", "paper"))
    code, _, err = tunebench("edit", "renamed", "--url", served.url, "--priority", 500)
    assert (code, "priority: " in err) == (2, True)
    code, _, err = tunebench(
        "edit", "renamed", "--url", served.url, "--label", "no label", "--label", "\udcff"
    )
    assert (code, err.startswith("error: labels.")) == (2, True)


def test_a_command_that_a_message_names_works_when_it_is_pasted(tunebench, service, monkeypatch, tmp_path):
    url = f"sqlite:///{tmp_path / 'a place' / 'x.db'}"
    (tmp_path / "a place").mkdir()

    def pasted(message):
        return tunebench(*shlex.split(message.rpartition("tunebench ")[2]))

    code, _, err = tunebench("list", "--db", url)
    assert (code, pasted(err)[:2]) == (2, (0, "The database is up to date.\n"))
    assert tunebench("list", "--db", url)[1] == f"no studies yet; run one: tunebench run SPEC --db '{url}'\n"
    monkeypatch.setenv("TUNEBENCH_URL", "http://127.0.0.1:1")  # without --db it would be asked first
    monkeypatch.setenv("TUNEBENCH_DATABASE_URL", url)
    assert f"--db '{url}'\n" in tunebench("list", "--db", url)[1]
    code, _, err = tunebench("serve", "--host", "0.0.0.0", "--port", "0", "--db", url)
    assert (code, pasted(err.replace("NAME", "anna"))[0]) == (2, 0)
    shown = tunebench("list", "--db", "postgresql://me:secret@127.0.0.1:1/x")[2]
    assert "secret" not in shown
    upgrade(connect("sqlite:///empty.db"))
    none = service[0].url
    assert tunebench("list", "--label", "nobody", "--url", none)[1] == "no matching studies\n"


def test_the_version_and_the_help_are_told(tunebench, monkeypatch):
    code, out, _ = tunebench("--version")
    assert (code, out[0].isdigit()) == (0, True)
    assert tunebench("-h")[1] == tunebench("--help")[1]
    assert "--label" in tunebench("list", "-h")[1]
    # else the shell is looked for among the parent processes, which may have none
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    assert "tunebench" in tunebench("--show-completion")[1]
