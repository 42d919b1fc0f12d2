"""The command prints in any locale and encoding, even to streams that are closed, full or no longer read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from killable import environment
from writers import finish, spec

from service.database.engine import connect, upgrade
from service.database.store import Store
from studies.records import StudyState

ERROR = "between −0.10 and ∞, café, \udcff"
COMMAND = [sys.executable, "-m", "service.cli"]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """The URL of a database with a study that failed for a reason with characters that ASCII lacks."""
    url = f"sqlite:///{tmp_path_factory.mktemp('printing') / 'study.db'}"
    upgrade(connect(url))
    store = Store(connect(url))
    finish(store, store.create_study(spec("failed"), {}), StudyState.FAILED, ERROR)
    return url


@pytest.fixture(scope="module")
def latin(tmp_path_factory):
    """The environment of a user whose locale is ISO-8859-1."""
    folder = tmp_path_factory.mktemp("locales")
    make = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / "en_US.ISO-8859-1")]
    if shutil.which("localedef") is None or subprocess.run(make, capture_output=True).returncode > 1:
        pytest.skip("making a locale needs Debian's package locales")
    return {"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": str(folder), "PYTHONUTF8": "0"}


def shown(*arguments, env, shell="", **options):
    """Run the command, followed by shell code; return (exit code, standard output, standard error)."""
    command = ["bash", "-c", f'"$@" {shell}; exit ${{PIPESTATUS[0]}}', "-", *COMMAND, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, env=environment(**env), timeout=60, **options)
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    assert b"Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_what_an_encoding_lacks_is_replaced(database, latin):
    show = ("show", "failed", "--db", database)
    for env, encoding, expected in (
        (latin, "latin-1", "between -0.10 and inf, café, ?"),
        ({"PYTHONIOENCODING": "ascii"}, "ascii", "between -0.10 and inf, caf?, ?"),
        ({"PYTHONIOENCODING": "utf-8"}, "utf-8", "between −0.10 and ∞, café, ?"),
    ):
        code, out, _ = shown(*show, env=env)
        assert (code, f"stopped: {expected}\n" in out.decode(encoding)) == (0, True), (env, out)


def test_json_is_whole_in_any_encoding(database):
    code, out, _ = shown("list", "--db", database, "--json", env={"PYTHONIOENCODING": "ascii"})
    assert (code, json.loads(out)[0]["error"]) == (0, ERROR.replace("\udcff", "?"))


@pytest.mark.slow
def test_files_are_utf8_in_any_locale(database, latin, tmp_path, tunebench):
    folder = tmp_path / "café"
    (tmp_path / "s.yaml").write_text("name: s # −\ntask: spoken-digits\nmethods: [sgd]\n", encoding="utf-8")
    name = os.fsencode(folder).decode("utf-8").encode("latin-1")  # as a user with that locale names it
    export = [*COMMAND, "export", "failed", "--db", database, "--out", name]
    subprocess.run(export, check=True, env=environment(**latin), capture_output=True)
    assert tunebench("export", "failed", "--db", database, "--out", "here")[0] == 0
    there = {path.name: path.read_bytes() for path in Path(os.fsdecode(name)).iterdir()}
    assert there == {path.name: path.read_bytes() for path in Path("here").iterdir()}
    assert not there["report.md"].isascii()
    code, _, err = shown("run", "s.yaml", env=latin, cwd=tmp_path)
    assert (code, b"unknown method 'sgd'" in err) == (2, True)


@pytest.mark.parametrize(
    ("shell", "code", "told"),
    [
        (">&-", 0, b""),
        ("<&- >&- 2>&-", 0, b""),
        ("2>&-", 0, b""),
        ("| true", 1, b""),
        (">/dev/full", 2, b"error: the output cannot be written: No space left on device\n"),
    ],
)
@pytest.mark.parametrize("arguments", [["methods"], ["methods", "--json"]])
def test_streams_that_take_nothing(shell, code, told, arguments):
    ended, _, err = shown(*arguments, env={}, shell=shell)
    assert (ended or code % 2, err) == (code, told)  # it ends well if it is done before the reader leaves


@pytest.mark.slow
def test_an_error_is_exit_code_2_where_nobody_can_be_told():
    for shell in ("2>&-", "2>/dev/full", ">&- 2>&-"):
        assert shown("show", "x", "--db", "nowhere", env={}, shell=shell)[0] == 2
