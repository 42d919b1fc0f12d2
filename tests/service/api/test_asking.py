"""The command asks before what cannot be undone, and replaces nothing that is not its own."""

import os
import pty
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from writers import finish, spec

from studies.records import Request


@contextmanager
def typing(monkeypatch, text):
    """Make standard input a terminal at which this text is typed."""
    screen, keyboard = pty.openpty()
    os.write(screen, text.encode())
    with os.fdopen(keyboard) as stdin, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        yield
    os.close(screen)


@pytest.mark.parametrize(("typed", "gone"), [("y\n", True), ("n\n", False), ("\n", False), ("\x04", False)])
def test_a_study_is_deleted_once_it_is_agreed_to(tunebench, service, monkeypatch, typed, gone):
    served, store = service
    study = store.create_study(spec("asked-for"), {})
    finish(store, study)
    with typing(monkeypatch, typed):
        code, out, err = tunebench("delete", "asked-for", "--url", served.url)
    assert f"{study.id} at {served.url} and its 12 trials will be deleted for good. Continue?" in err
    removed = f"{study.id} and its 12 trials are deleted from {served.url}\n"
    assert (code, out) == ((0, removed) if gone else (1, ""))
    assert (study.id not in {study.id for study in store.studies()}) is gone
    if not gone:
        store.delete(study.id)


def test_without_a_terminal_nothing_is_deleted_unasked(tunebench, service):
    served, store = service
    study = store.create_study(spec("scripted"), {})
    finish(store, study)
    code, out, err = tunebench("delete", "scripted", "--url", served.url)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {study.id} at {served.url} and its 12 trials will be deleted for good. "
        "There is no terminal to confirm this; to go ahead, add --yes\n"
    )
    assert store.study(study.id).trials == 12
    assert tunebench("delete", "scripted", "--yes", "--url", served.url)[0] == 0
    assert study.id not in {study.id for study in store.studies()}


@pytest.mark.parametrize("command", [["delete", "--yes"], ["cancel"]])
def test_what_is_stopped_or_removed_is_named_in_full(tunebench, service, command):
    served, store = service
    study = store.create_study(spec("in-full"), {})
    for part in (study.id[:-1], study.id[-8:], "in"):
        code, out, err = tunebench(*command, part, "--url", served.url)
        assert (code, out) == (2, "")
        assert err == f"error: give the study's full id or name, got {part!r}, which matches {study.id}\n"
    assert store.study(study.id).state == "queued"
    store.ask(study.id, Request.CANCEL, actor="test")
    store.delete(study.id)


def test_a_token_is_revoked_once_it_is_agreed_to(tunebench, monkeypatch):
    tunebench("db", "upgrade")
    tunebench("token", "create", "anna")
    code, _, err = tunebench("token", "revoke", "anna")
    assert (code, "The token anna (submit, created on" in err, "add --yes" in err) == (2, True, True)
    with typing(monkeypatch, "n\n"):
        assert tunebench("token", "revoke", "anna")[0] == 1
    assert '"revoked": null' in tunebench("token", "list", "--json")[1]
    with typing(monkeypatch, "y\n"):
        assert tunebench("token", "revoke", "anna")[:2] == (0, "anna is revoked.\n")
    assert tunebench("token", "revoke", "anna")[:2] == (0, "anna is revoked.\n")  # it was revoked already


def test_data_that_are_here_are_replaced_once_it_is_agreed_to(
    tunebench, monkeypatch, tmp_path, spoken_digits
):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(spoken_digits / "spoken-digits" / "digits.npz", source)
    file = tmp_path / "data" / "spoken-digits" / "digits.npz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    monkeypatch.setenv("TUNEBENCH_DATA_DIR", str(tmp_path / "data"))
    fetch = ("data", "fetch", "spoken-digits", "--from", source)
    code, _, err = tunebench(*fetch)
    assert (code, f"spoken-digits is already at {file}, which will be replaced" in err) == (2, True)
    assert file.read_bytes() == b"mine"
    assert tunebench(*fetch, "--yes")[0] == 0
    assert file.read_bytes() != b"mine"


@pytest.mark.slow
def test_an_export_replaces_nothing_but_an_earlier_one_of_the_same_study(tunebench, service, spoken_digits):
    served, store = service
    studies = [store.create_study(spec(name), {}) for name in ("first", "second")]
    for study in studies:
        finish(store, study)
    for place in (("--db", str(store.engine.url)), ("--url", served.url)):
        folder = Path(place[0].strip("-"))
        for _ in range(2):
            assert tunebench("export", "first", *place, "--out", folder)[0] == 0
        (folder / "notes.md").write_text("mine")
        before = {path: path.read_bytes() for path in folder.iterdir()}
        assert tunebench("export", "first", *place, "--out", folder)[0] == 0
        code, _, err = tunebench("export", "second", *place, "--out", folder)
        said = f"error: --out: {folder} has the export of {studies[0].id} in it; name another folder\n"
        assert (code, err) == (2, said)
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    Path("s.yaml").write_text(
        "name: s\ntask: spoken-digits\nmethods: [gradient-filter]\nruns: 1\ntrials: 1\n"
    )
    for folder, said in ((".", "has other files in it (db)"), ("db", f"has the export of {studies[0].id}")):
        code, _, err = tunebench("run", "s.yaml", "--out", folder)
        assert (code, f"error: --out: {folder} {said}" in err) == (2, True)
    assert not Path("tunebench.db").exists()
