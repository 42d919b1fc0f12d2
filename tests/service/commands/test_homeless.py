"""A user without a home folder, like those of containers whose users are only numbers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = "LOGNAME", "USER", "HOME", "TUNEBENCH_DATA_DIR"
UNKNOWN = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]


def run(*arguments, folder, **more):
    command = [*UNKNOWN, sys.executable, *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    env = kept | {"PYTHONPATH": str(Path.cwd())} | more
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    return done.returncode, done.stderr.strip().rpartition("\n")[2]


@pytest.fixture(autouse=True)
def namespaces():
    if shutil.which("unshare") is None or subprocess.run([*UNKNOWN, "true"], capture_output=True).returncode:
        pytest.skip("this system makes no user that it does not know")


@pytest.mark.slow
def test_what_a_user_without_a_home_lacks_is_named(tmp_path):
    told = "error: this user has no home folder; set TUNEBENCH_DATA_DIR to a folder for data sets"
    (tmp_path / "s.yaml").write_text("name: s\ntask: spoken-digits\nmethods: [gradient-filter]\n")
    for command in (["data", "list"], ["serve"], ["run", "s.yaml"], ["plan", "s.yaml"]):
        assert run("-m", "service.cli", *command, folder=tmp_path) == (2, told)
    assert [file.name for file in tmp_path.iterdir()] == ["s.yaml"]
    code, told = run("-m", "trainers", "spoken-digits", "gradient-filter", folder=tmp_path)
    assert (code, told.endswith("there is no home folder; name another, or set TUNEBENCH_DATA_DIR")) == (
        2,
        True,
    )


@pytest.mark.slow
def test_who_only_asks_a_database_needs_no_home(tmp_path):
    named = ["--db", "sqlite:///tunebench.db"]
    for command in (["db", "upgrade"], ["list"], ["list", *named], ["token", "list", *named]):
        assert run("-m", "service.cli", *command, folder=tmp_path) == (0, "")


@pytest.mark.slow
def test_a_user_with_folders_needs_no_home(tmp_path):
    """Not even Ray needs one, which asks for it on import."""
    folders = {"TUNEBENCH_DATA_DIR": str(tmp_path), "RAY_AUTH_TOKEN_PATH": str(tmp_path / "ray" / "token")}
    imported = "import studies.running.experiment, studies.running.ray_token as found; found.make_ray_token()"
    assert run("-c", imported, folder=tmp_path, **folders) == (0, "")
    assert len((tmp_path / "ray" / "token").read_text()) == 64
