"""The Ray cluster that a study runs on. Import this before Ray, because it sets what Ray reads when it is imported."""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

from studies.design.spec import StudySpec
from studies.errors import StudyError
from studies.imports import without_garbage_collection
from studies.running.capacity import WORKER_BYTES, fault, needs, room
from studies.running.ray_folder import homeless, of_ray, ray_folder
from studies.running.ray_logs import why
from studies.running.ray_token import make_ray_token

# No tables on the terminal, no trial files, no state snapshots (the database is the only state), no phoning home, and
# Ctrl-C is an ordinary KeyboardInterrupt.
os.environ.update(
    RAY_AIR_NEW_OUTPUT="0",
    RAY_USAGE_STATS_ENABLED="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_GLOBAL_CHECKPOINT_S="1000000",
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    TUNE_WARN_THRESHOLD_S="10",
    **homeless(),
)

if not os.environ.get("RAY_ADDRESS"):
    # Ray takes the machine's outward address even for a local cluster, unless it expects no cluster at all. This
    # makes it expect none, so that every port of a local cluster is on loopback.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

with without_garbage_collection():
    import ray
    from ray._private import parameter
    from ray.tune import PlacementGroupFactory
    from ray.util.placement_group import PlacementGroup, remove_placement_group

# The agent gets any free port: if another cluster's agent has Ray's own port, ours serves nobody, and the dashboard has
# no logs. The two monitors are processes that show workers' logs on the terminal and add machines; neither is needed
# here. `ray.init` has no arguments for these.
vars(parameter)["RayParams"] = partial(
    parameter.RayParams, dashboard_agent_listen_port=0, include_log_monitor=False, no_monitor=True
)

SLOW_SECONDS = 45.0  # Ray is up sooner, or something is wrong

log = logging.getLogger("tunebench.ray")


@contextmanager
def cluster() -> Iterator[None]:
    """Connect to the cluster at RAY_ADDRESS or, if that is not set, start a local one on loopback.

    The local one has its dashboard on loopback too, and ends with this process. Raises StudyError if the address does
    not answer or Ray does not start.
    """
    address = os.environ.get("RAY_ADDRESS")
    with nullcontext() if address else ray_folder() as folder:
        try:
            if folder is None:
                assert address is not None
                _check_reachable(address)
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            else:
                _start(folder)
        except StudyError:
            raise
        except Exception as error:  # nothing narrower: Ray raises Exception if a node is not up in time
            fault = f"RAY_ADDRESS {address!r} does not answer" if address else "Ray does not start here"
            reasons = [
                " ".join(str(error).split()),
                why(_logs(folder)) if folder else "",
            ]
            raise StudyError(f"{fault}: {'; '.join(filter(None, reasons))}") from error
        try:
            yield
        finally:
            ray.shutdown()


def why_no_worker() -> str:
    """Return what a local cluster's logs say of workers that do not start; empty if they say nothing."""
    if os.environ.get("RAY_ADDRESS"):
        return ""  # its logs are those of many studies
    return why(Path(ray._private.worker.global_worker.node.get_logs_dir_path()))


def _start(folder: Path) -> None:
    """Start this process's own cluster. Raises StudyError, and whatever Ray raises."""
    if found := set(ray.__file__) & set("'\\"):
        raise StudyError(
            f"Ray cannot start from a path with {' or '.join(sorted(found))} in it: {Path(ray.__file__).parent}; "
            "create the environment in another folder"
        )
    make_ray_token()
    slow = threading.Timer(SLOW_SECONDS, _tell_slow, [_logs(folder)])
    slow.daemon = True
    slow.start()
    try:
        ray.init(
            "local",
            _temp_dir=str(of_ray(folder)),
            dashboard_host="127.0.0.1",
            object_store_memory=128 * 2**20,
            log_to_driver=False,
            logging_level=logging.ERROR,
            # else this waits for workers, forever if none can start
            _system_config={"prestart_worker_first_driver": False},
        )
    finally:
        slow.cancel()


def _tell_slow(logs: Path) -> None:
    """Warn that Ray is slow to start: for some of its parts it waits without end."""
    log.warning("Ray has not started after %.0f s: %s", SLOW_SECONDS, why(logs) or "its logs say nothing")


def _logs(folder: Path) -> Path:
    return of_ray(folder) / "session_latest" / "logs"


def _check_reachable(address: str) -> None:
    """Raise OSError at once if nobody listens at host:port: Ray itself tries for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def own(spec: StudySpec, slot: int) -> dict[str, float]:
    """Return what a trial in that slot requests: almost what trials in other slots do, but not the same.

    Tune gives a freed worker to any trial that requests the same resources, even if that trial's own worker is about to
    be up, and then stops that one: trials shorter than a worker's start would keep a single worker alive. A byte of
    memory more or less keeps each slot's trials on the slot's own worker.
    """
    return {**needs(spec), "memory": float(WORKER_BYTES + slot)}


def slots(spec: StudySpec) -> int:
    """Return how many trials the cluster can run at a time, at most one per run. Raises StudyError."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if (lack := fault(spec, nodes)) is not None:
        raise StudyError(": ".join(lack))
    return min(int(room(spec, nodes)), spec.runs * len(spec.arms))


class Slot(PlacementGroupFactory):  # type: ignore[misc]
    """A trial's request to the cluster. It remembers all that was taken, to give back what Tune does not."""

    taken: ClassVar[WeakSet[PlacementGroup]] = WeakSet()

    def to_placement_group(self) -> PlacementGroup:
        group = super().to_placement_group()
        self.taken.add(group)
        return group

    @classmethod
    def give_back(cls) -> None:
        """End the workers of this process, busy or not."""
        for group in list(cls.taken):
            remove_placement_group(group)
