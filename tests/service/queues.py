"""A queue, and what it sees of Ray."""

from collections.abc import Mapping

from service.cluster.queue import Queue
from service.database.store import Store
from service.errors import RayUnavailable


class Ray:
    """Ray as the queue sees it, failing when told to. Tests with a real Ray: tests/service/cluster/test_served.py."""

    def __init__(self) -> None:
        self.submitted: dict[str, tuple[str, Mapping[str, str]]] = {}
        self.states_: dict[str, str] = {}
        self.logs_: dict[str, str] = {}
        self.busy = 0  # how many workers a job has
        self.stopped: list[str] = []
        self.away = self.refuses = self.stubborn = False
        self.asked = 0
        self.cause = ""

    def why(self) -> str:
        return self.cause

    def submit(self, submission_id: str, entrypoint: str, metadata: Mapping[str, str]) -> None:
        self.asked += 1
        if self.refuses:
            raise RayUnavailable("Ray answers 500: no space left on device")
        assert submission_id not in self.submitted
        self.submitted[submission_id] = entrypoint, metadata
        self.states_[submission_id] = "PENDING"

    def states(self) -> dict[str, str]:
        if self.away:
            raise RayUnavailable("Ray does not answer")
        return self.states_

    def stop(self, submission_id: str) -> None:
        self.stopped.append(submission_id)
        if not self.stubborn:
            self.states_[submission_id] = "STOPPED"

    def workers(self, submission_id: str) -> int:
        return self.busy

    def logs(self, submission_id: str, lines: int) -> str | None:
        return self.logs_.get(submission_id)


def queue(store: Store, ray: Ray, at_once: int = 1) -> Queue:
    return Queue(store, ray, at_once)  # type: ignore[arg-type]
