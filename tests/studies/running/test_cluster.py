"""Local Ray clusters: those that start, those that do not, and who may connect."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import ray
from apart import python_in, without_dashboard, without_ray
from small import Kept, study

from studies.errors import StudyError
from studies.running.cluster import cluster
from studies.running.experiment import run_study

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def test_an_address_where_nothing_answers_is_told(monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(StudyError, match=r"RAY_ADDRESS '127\.0\.0\.1:1' does not answer"), cluster():
        pass


def test_a_local_ray_that_does_not_come_up_is_told(monkeypatch, caplog):
    def timed_out(*args, **options):
        give_up = time.monotonic() + 10
        while not caplog.records and time.monotonic() < give_up:
            time.sleep(0.01)
        raise Exception("The current node timed out during startup.\nThis could happen")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", timed_out)
    monkeypatch.setattr("studies.running.cluster.SLOW_SECONDS", 0.05)
    told = r"^Ray does not start here: The current node timed out during startup\. This could"
    with pytest.raises(StudyError, match=told), cluster():
        pass
    assert [record.getMessage() for record in caplog.records] == [
        "Ray has not started after 0 s: its logs say nothing"
    ]


LOCAL = """
import contextlib, json, os, sys
import psutil
from studies.running.cluster import cluster  # before Ray
import ray
from studies.running.ray_token import find_ray_token
with cluster():
    listening = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile
            listening += [
                (process.name(), socket.laddr.ip.removeprefix("::ffff:"))
                for socket in process.net_connections("inet")
                if socket.status == psutil.CONN_LISTEN
            ]
    executable = ray.remote(num_cpus=0, runtime_env={"env_vars": {"A": "1"}})(lambda: sys.executable)
    found = {
        "listening": listening,
        "worker": os.path.realpath(ray.get(executable.remote(), timeout=60)),
        "session": ray._private.worker.global_worker.node.get_session_dir_path(),
        "token": find_ray_token(),
    }
    found["modes"] = [oct(os.stat(path).st_mode & 0o777) for path in (
        os.path.join(found["session"], "../.."), os.path.expanduser("~/.ray/auth_token"), os.path.expanduser("~/.ray")
    )]
    print(json.dumps(found))
"""


def test_a_local_cluster_is_closed_to_all_others_wherever_it_is_installed(tmp_path):
    """Ray by itself does not quote Python's path in commands, and makes its token readable and its folder writable to
    all; a long TMPDIR, as Slurm sets it, has no room for sockets."""
    python = python_in(tmp_path / 'My $(Project); "é" & more' / "venv")
    long = tmp_path / ("long" * 20)
    long.mkdir()
    done = subprocess.run(
        [python, "-c", LOCAL],
        env=without_ray() | {"HOME": str(tmp_path), "TMPDIR": str(long), "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        umask=0o022,
    )
    assert done.returncode == 0, done.stderr
    assert "dashboard" not in done.stderr, "a minute is waited for one that does not start"
    found = json.loads(done.stdout)
    assert ["raylet", "127.0.0.1"] in found["listening"]
    assert {ip for _, ip in found["listening"]} == {"127.0.0.1"}
    assert found["worker"] == os.path.realpath(python)
    assert found["modes"] == ["0o700", "0o600", "0o700"]
    assert (tmp_path / ".ray" / "auth_token").read_text() == found["token"]
    assert not Path(found["session"]).exists(), "nothing is left"


NO_WORKERS = """
import sys
if sys.orig_argv[1].endswith({script!r}):
    sys.exit("no workers here")
"""


def test_workers_that_do_not_start_end_the_study_with_what_ray_says_of_them(
    spoken_digits, tmp_path, monkeypatch
):
    ray.shutdown()
    without_dashboard(monkeypatch.setattr)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(
        "studies.running.experiment.WORKER_SECONDS", 1.0
    )  # tried again until Ray has logged it
    told = r"Ray's workers do not start: .* \(raylet\.err\)"
    for script in ("setup_worker.py", "default_worker.py"):  # the first process becomes the second
        (tmp_path / "sitecustomize.py").write_text(NO_WORKERS.format(script=script))
        with cluster(), pytest.raises(StudyError, match=told):
            run_study(study(), "s-1", Kept(), [], data_dir=spoken_digits)
