"""The command and the service as separate processes, to be interrupted and killed."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import cached_property
from pathlib import Path

import httpx
import psutil
import undashed
from apart import processors, without_ray
from heads import elsewhere, title
from twins import alone, numbers

from service.client import Client
from service.database.engine import connect
from service.database.owner import Owner
from service.database.store import Store
from service.errors import ServiceError
from studies.records import StudyState

REAL = {"scaling": False, "clipping": False}  # the model is searched once, not once for each of four choices
SPEC = {
    "name": "twin",
    "task": "spoken-digits",
    "proxy": {"width": 64},
    "methods": ["gradient-filter", {"name": "latent-sgd", "space": REAL}],
    "searcher": {"name": "botorch", "initial_trials": 4},  # the last trial of each run comes from its model
    "runs": 2,
    "trials": 5,
}
PLANNED = 20


def environment(**more):
    """Return the environment of a new process: this checkout, and none of this process's Ray."""
    tests = Path(__file__).parents[1]  # after this checkout: folders in it have the names of our packages
    return without_ray() | {"PYTHONPATH": os.pathsep.join(map(str, (tests.parent, tests)))} | more


class Study:
    """The command in its own folder, as a user starts it except that Ray has no dashboard."""

    def __init__(self, folder, url=None):
        self.folder, self.url = folder, url or f"sqlite:///{folder}/tunebench.db"
        folder.mkdir(exist_ok=True)
        (folder / "spec.json").write_text(json.dumps(SPEC))

    def start(self, *arguments, at_a_time=1):
        """Start the command, with so many trials `at_a_time`."""
        command = [
            sys.executable,
            undashed.__file__,
            *(arguments or ("run", "spec.json")),
            "--db",
            self.url,
        ]
        with (self.folder / "log").open("a") as log:
            # as in a terminal, whatever the tests run under: a background job's children ignore an interrupt
            heeding = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment(**processors(at_a_time)),
                stdout=log,
                stderr=log,
                preexec_fn=heeding,
            )

    def train_alone(self, spec, ran_on, data_dir):
        """Store a new study whose trials this process trains without Ray. Returns its lease."""
        trained, confirmed = alone(spec, ran_on, data_dir)
        lease = self.store.claim(self.store.create_study(spec, ran_on).id, Owner.current(), 60)
        for trial in trained:
            self.store.record(lease, trial)
        for confirmation in confirmed:
            self.store.confirm(lease, confirmation)
        return lease

    def log(self):
        return (self.folder / "log").read_text()

    def trials(self):
        """Return all of the trials that must not depend on when and how often the study was started."""
        return numbers(self.store.trials(self.id(), with_epochs=True))

    @cached_property
    def store(self):
        return Store(connect(self.url))

    def id(self):
        (study,) = self.store.studies()
        return study.id

    def state(self):
        return self.store.studies()[0].state

    def count(self):
        try:
            return sum(study.trials for study in self.store.studies())
        except Exception:
            return 0  # the database is being made


def wait(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def ask(url, **more):
    """Ask over plain HTTP again and again: to read the certificates each time takes longer than an answer."""
    return httpx.get(url, verify=False, **more)


class Disk:
    """A folder on a small disk of its own, which can be filled. It is not `small` where only root may mount one."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
        self.small = (
            shutil.which("mount") is not None and not subprocess.run(mount, capture_output=True).returncode
        )

    @contextlib.contextmanager
    def full(self):
        """Leave no room on the disk until the end of the context."""
        filler = self.folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        try:
            yield
        finally:
            filler.unlink()

    def close(self):
        if self.small:
            # this process may still have it open
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def workers_of(driver):
    children = psutil.Process(driver.pid).children(recursive=True)
    return [child for child in children if title(child).startswith("ray::twin")]


def kill_worker(driver):
    workers = []
    wait(lambda: workers.extend(workers_of(driver)) or workers)  # a worker has another name between two calls
    workers[0].kill()


class Service:
    """`tunebench serve` with its own Ray head and data folder, where so many trials run `at_a_time`.

    Studies run with its database.
    """

    def __init__(self, folder, url, data, at_a_time=1):
        self.folder, self.database_url, self.data = folder, url, data
        self._at_a_time = at_a_time
        folder.mkdir(exist_ok=True)
        if not (data / "ray-head.json").exists():
            elsewhere(data)
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = [
            sys.executable,
            "-m",
            "service.cli",
            "serve",
            "--db",
            self.database_url,
            "--port",
            str(self.port),
        ]
        with (self.folder / f"serve-{self.port}.log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment(
                    **processors(self._at_a_time),
                    TUNEBENCH_DATA_DIR=str(self.data),
                    RAY_metrics_report_interval_ms="500",  # a study here ends before Ray's first report by default
                ),
                stdout=log,
                stderr=log,
            )
        wait(self.answers)

    def answers(self):
        with contextlib.suppress(httpx.HTTPError):
            return ask(f"{self.url}/healthz").status_code == 200

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(60) == 0, self.log()

    def log(self):
        return "".join(path.read_text() for path in self.folder.glob("serve-*.log"))

    @cached_property
    def store(self):
        return Store(connect(self.database_url))

    def submit(self, **changes):
        answer = httpx.post(f"{self.url}/v1/studies", json=SPEC | changes, timeout=60)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def ray_processes(self, name):
        """Return the processes of this service's Ray head whose command or name contains `name`."""
        running = json.loads((self.data / "ray-head.json").read_text())
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TUNEBENCH_RAY_FOLDER") == running["folder"] and name in " ".join(
                    [process.name(), *process.cmdline()[:4]]
                ):
                    found.append(process)
        return found


def trials(service, study):
    return service.store.study(study).trials


def ends(service, study, state=StudyState.COMPLETED, seconds=300):
    wait(lambda: service.store.study(study).state is state, seconds)


def grows(service, study, by=1):
    """Wait until the study has `by` more trials, or is complete."""
    target = min(trials(service, study) + by, PLANNED)
    wait(lambda: trials(service, study) >= target, 180)


class Listener:
    """Listens to a study's events over HTTP, reconnects after every break, and keeps what it hears."""

    def __init__(self, service, study):
        self.heard, self._client, self._study = [], Client(service.url), study
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        with contextlib.suppress(ServiceError):  # the service has stopped for good: the test is over
            for event in self._client.events(self._study, after=0):
                self.heard.append(event)

    def heard_all(self, service):
        last = service.store.study(self._study).last_event
        wait(lambda: len(self.heard) >= last, 60)
        time.sleep(1)  # for an event too many
        assert [event.number for event in self.heard] == list(range(1, last + 1))
        return Counter(event.kind for event in self.heard)
