"""Which trial comes next, and on which worker."""

from collections.abc import Sequence
from dataclasses import dataclass

from studies.design.searchers import Observation
from studies.design.spec import StudySpec
from studies.errors import StudyError
from studies.records import TrialRecord


@dataclass(frozen=True, slots=True)
class Turn:
    """The next trial of a run, after `history`, on the worker numbered `slot`."""

    method: str
    run: int
    history: tuple[Observation, ...]
    slot: int


class Schedule:
    """Hands out the trials that are left of a study, the shortest run first, so that all runs end together.

    Trials of one run follow each other; runs do not wait for one another. A slot gets one trial and, once its worker
    has `started`, the one after it in advance, so that a worker is never without one while there are any.
    """

    def __init__(self, spec: StudySpec, study: str, history: Sequence[TrialRecord], slots: int) -> None:
        self._trials = spec.trials
        self._done: dict[tuple[int, str], list[Observation]] = {
            (run, method.name): [] for run in range(1, spec.runs + 1) for method in spec.methods
        }
        self._under_way: dict[tuple[int, str], int] = {}
        self._slots = range(slots)
        self._warm: set[int] = set()
        for record in sorted(history, key=lambda r: (r.method, r.run, r.trial)):
            seen = self._done[record.run, record.method]
            if record.trial != len(seen) + 1:
                raise StudyError(
                    f"{study}: {record.method} run {record.run} has trial {record.trial} but not {len(seen) + 1}"
                )
            seen.append(_observed(record))

    @property
    def remaining(self) -> int:
        """Trials that have not finished, those under way among them."""
        return sum(self._trials - len(seen) for seen in self._done.values())

    def next(self) -> Turn | None:
        """Hand out a trial; None where every slot has enough, or every run waits for a trial of its own."""
        slot = self._open_slot()
        waiting = [
            key for key, seen in self._done.items() if key not in self._under_way and len(seen) < self._trials
        ]
        if slot is None or not waiting:
            return None
        run, method = key = min(waiting, key=lambda k: (len(self._done[k]), k))
        self._under_way[key] = slot
        return Turn(method, run, tuple(self._done[key]), slot)

    def started(self, slot: int) -> None:
        """The slot's worker is up."""
        self._warm.add(slot)

    def put_back(self, method: str, run: int) -> None:
        """The trial handed out last of this run has come to nothing: it is handed out again."""
        del self._under_way[run, method]

    def finished(self, record: TrialRecord) -> None:
        """The trial has ended, in whatever state; its run goes on."""
        key = (record.run, record.method)
        del self._under_way[key]
        self._done[key].append(_observed(record))

    def _open_slot(self) -> int | None:
        load = list(self._under_way.values())
        free = (slot for slot in self._slots if slot not in load)
        ahead = (slot for slot in self._slots if slot in self._warm and load.count(slot) == 1)
        return next(free, next(ahead, None))


def _observed(record: TrialRecord) -> Observation:
    return Observation(dict(record.hyperparameters), record.objective)
