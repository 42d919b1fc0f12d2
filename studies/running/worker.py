"""The worker processes of a study, each of which runs one trial after another."""

import faulthandler
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Self

from studies.running.cluster import Slot  # first, because it sets what Ray reads

# isort: split
from ray import tune
from ray._raylet import setproctitle  # type: ignore[attr-defined]

from studies.design.searchers import Suggestion
from studies.imports import without_garbage_collection
from studies.records import EpochRecord
from studies.running.trial import Assignment, choose, kept, repeats, sweep, train
from trainers.errors import CheckpointError, DataError, UnusableError

if TYPE_CHECKING:
    from trainers.training.checkpoints import Checkpoint

REPORT_SECONDS = 10.0  # a long training reports its epochs to Ray this often, a short one once


@dataclass(frozen=True, slots=True)
class TrialFault:
    """What a trial raised, in words; `hopeless` if another attempt would fail in the same way."""

    words: str
    trace: str
    hopeless: bool

    @classmethod
    def of(cls, error: Exception) -> Self:
        hopeless = isinstance(error, DataError | CheckpointError | UnusableError)
        return cls(f"{type(error).__name__}: {error}", "".join(format_exception(error)), hopeless)


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """A worker process that runs one trial after another.

    The worker also computes the suggestion, so there are exactly as many suggestions at a time as there are trial
    slots, and the driver's loop only hands out work. The suggestion is reported before the training starts: a crash
    cannot lose it. What the trial raises is reported too, because on a cluster where others may write, the file in
    which Tune keeps it may be someone else's. A trial past `max_seconds` ends its process, even if it hangs inside C
    code; Tune starts another. A trial with several trainings does one after the other.

    A long training is kept on disk: tried again on the same machine after any crash, it resumes where it was, and the
    time that it has used of `max_seconds` stays used. What is kept is removed once the driver has the result.

    On Ray's dashboard the actor is named after its study and slot, because an actor has its name for life; its log and
    the title of its process name the trial.
    """

    _worker = "TrialWorker"  # the class itself is printed, too
    _fault: Exception | None = None
    _finished: "Sequence[Checkpoint]" = ()

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Slot:
        return Slot([config["resources"]])

    def setup(self, config: dict[str, Any]) -> None:
        # takes seconds the first time, which must not count as the trial's
        with without_garbage_collection():
            import scipy.stats  # noqa: F401

            import trainers.training.loop  # noqa: F401

        self._take(config)
        sweep(self._assignment.machine.data_dir)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._forget()
        self._take(new_config)
        return True

    def _take(self, config: dict[str, Any]) -> None:
        self._worker = config["worker"]
        self._assignment: Assignment = config["assignment"]
        self._training: Iterator[EpochRecord] | None = None
        self._trained: list[list[EpochRecord]] = []  # by training
        self._fault = None

    def __repr__(self) -> str:
        return self._worker

    def step(self) -> dict[str, Any]:
        """Run a part of the trial. Report an error first; raise it when Tune asks for more."""
        if self._fault is not None:
            raise self._fault
        try:
            return self._step()
        except Exception as error:
            self._fault = error
            return {"fault": TrialFault.of(error)}

    def _step(self) -> dict[str, Any]:
        setproctitle(f"ray::{self._assignment.name}")
        if self._training is None:
            faulthandler.dump_traceback_later(self._assignment.max_seconds, exit=True)
            suggestion, seconds = choose(self._assignment)
            print(
                f"{self._assignment.name}: {suggestion.source}, {dict(suggestion.hyperparameters)}",
                flush=True,
            )
            self._checkpoints = [kept(one, suggestion) for one in repeats(self._assignment)]
            before = sum(checkpoint.seconds() for checkpoint in self._checkpoints)
            left = self._assignment.max_seconds - seconds - before
            faulthandler.dump_traceback_later(max(1.0, left), exit=True)
            self._training = self._train(suggestion)
            return {"suggestion": suggestion, "suggest_seconds": seconds, "seconds_before": before}
        report_at = time.monotonic() + REPORT_SECONDS
        for epoch in self._training:
            if time.monotonic() > report_at:
                return {"epoch": epoch.epoch, "validation_metric": epoch.validation_metric}
        faulthandler.cancel_dump_traceback_later()
        self._finished = self._checkpoints
        for epochs in self._trained:
            last = epochs[-1]
            print(f"{self._assignment.name}: {last.validation_metric} after epoch {last.epoch}", flush=True)
        faults = (checkpoint.fault for checkpoint in self._checkpoints)
        trainings = tuple(map(tuple, self._trained))
        return {"done": True, "trainings": trainings, "not_kept": next(filter(None, faults), None)}

    def _train(self, suggestion: Suggestion) -> Iterator[EpochRecord]:
        for one, checkpoint in zip(repeats(self._assignment), self._checkpoints, strict=True):
            self._trained.append([])
            for epoch in train(one, suggestion, checkpoint):
                self._trained[-1].append(epoch)
                yield epoch

    def cleanup(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._forget()

    def _forget(self) -> None:
        """Remove the last trial's checkpoints: once Tune ends or reuses a worker, the driver has recorded that
        trial."""
        for checkpoint in self._finished:
            checkpoint.remove()
        self._finished = ()
