"""Run a study as one Ray Tune experiment."""

import logging
import os
import re
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from studies.running.cluster import Slot, own, slots, why_no_worker  # first, because it sets what Ray reads

# isort: split
from ray import tune
from ray.tune import Callback
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from studies.analysis.failures import FailureTracker
from studies.design.searchers import Suggestion
from studies.design.spec import StudySpec
from studies.errors import NoResultError, StudyError
from studies.records import (
    ConfirmationRecord,
    EpochRecord,
    RepeatRecord,
    Series,
    Sink,
    TrialRecord,
    TrialState,
)
from studies.running.capacity import needs, told
from studies.running.control import Control
from studies.running.gauges import Gauges
from studies.running.idle_workers import IdleWorkers
from studies.running.reuse import address, conditions, taken
from studies.running.schedule import Schedule
from studies.running.trial import Assignment, assigned, folder
from studies.running.worker import TrialFault, TrialWorker
from trainers.tasks import TASKS
from trainers.training.results import joined

WORKER_SECONDS = 45.0  # how often to look for a fault while there is no worker
FAILURE = re.compile(r"^Failure # \d+ \(occurred at .*\)\n", re.MULTILINE)

log = logging.getLogger("tunebench.study")

R = TypeVar("R")


class _StopLoop(BaseException):
    """The exit from Tune's loop at once, with its reason as cause, if any: Tune's own way out waits for busy
    workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """The outcome of a trial, as in its record."""

    state: TrialState
    objective: float | None
    test_metric: float | None
    error: str | None
    train_seconds: float = 0.0
    epochs: tuple[EpochRecord, ...] = ()
    repeats: tuple[RepeatRecord, ...] = ()
    series: tuple[tuple[Series, ...], ...] = ()


class _Conductor(Searcher):  # type: ignore[misc]
    """The searcher that gives Tune the schedule's trials, until a stop is wanted."""

    def __init__(
        self,
        spec: StudySpec,
        study: str,
        schedule: Schedule,
        control: Control,
        data_dir: Path,
        recorder: "_Recorder",
    ) -> None:
        super().__init__()
        self._spec, self._study, self._schedule = spec, study, schedule
        self._control, self._data_dir, self._recorder = control, data_dir, recorder

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._control.draining or self._schedule.remaining == 0:
            return str(Searcher.FINISHED)
        start_sum = self._recorder.start_sum
        while (turn := self._schedule.next()) is not None:
            assignment = assigned(self._spec, turn, data_dir=self._data_dir, start_sum=start_sum)
            if self._recorder.take_over(assignment):
                continue
            return {
                "assignment": assignment,
                "slot": turn.slot,
                "worker": f"{self._study}-slot{turn.slot + 1:02d}",
                "resources": own(self._spec, turn.slot),
            }
        return None if self._schedule.remaining else str(Searcher.FINISHED)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the recorder below is told the same, with the trial itself."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the sink holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the sink holds the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing, because nobody reads the copy that Tune keeps."""
        return {}


class _Recorder(Callback):  # type: ignore[misc]
    """The callback that turns Tune's reports into records for the sink, whose first error ends the study."""

    def __init__(
        self,
        spec: StudySpec,
        study: str,
        history: Sequence[TrialRecord],
        schedule: Schedule,
        sink: Sink,
        control: Control,
        ran_on: Mapping[str, Any],
    ) -> None:
        self.start_sum: str | None = ran_on.get("start", {}).get("sha256")
        self._conditions = conditions(spec, ran_on)
        self._study, self._schedule, self._sink, self._control = study, schedule, sink, control
        self._gauges, self._losses = Gauges(spec, study, history), FailureTracker(spec.to_json(), history)
        self._worst, self._resources = TASKS[spec.task].worst, spec.resources
        self._failures: Counter[str] = Counter()
        self._warned = False
        self._under_way: dict[str, datetime] = {}  # since when
        self._awaited: set[str] | None = None  # those that were under way when a stop was first wanted
        self._suggested: dict[str, tuple[Suggestion, float]] = {}
        self._faults: dict[str, TrialFault] = {}
        self._awaits_workers, self._look_at, self._slow = True, time.monotonic() + WORKER_SECONDS, False

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._awaits_workers and time.monotonic() > self._look_at:
            self._look_for_workers()
        if self._control.draining and self._awaited is None:
            self._awaited = set(self._under_way)
        if self._control.aborting or (
            self._awaited is not None and not self._awaited & self._under_way.keys()
        ):
            raise _StopLoop

    def _look_for_workers(self) -> None:
        """End the study if Ray says why no worker starts; otherwise workers may be slow, or the cluster busy."""
        if reason := why_no_worker():
            raise _StopLoop from StudyError(f"Ray's workers do not start: {reason}")
        if not self._slow:
            log.warning(
                "no trial has started for %.0f s: the cluster is busy, or workers are slow to start",
                WORKER_SECONDS,
            )
        self._slow, self._look_at = True, time.monotonic() + WORKER_SECONDS

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing, as above: a sink need not be picklable."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        # not called for a trial whose worker dies while it is being started or handed over
        self._awaits_workers = False
        if trial.trial_id not in self._under_way:
            self._gauges.running(trial.config["assignment"].arm, +1)
        self._under_way[trial.trial_id] = datetime.now(UTC)
        self._control.beat(len(self._under_way))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "suggestion" in result:
            self._suggested[trial.trial_id] = result["suggestion"], result["suggest_seconds"]
            if trial.trial_id in self._under_way:  # as if this worker had trained all that it resumes from
                self._under_way[trial.trial_id] -= timedelta(seconds=result["seconds_before"])
        if "fault" in result:
            fault: TrialFault = result["fault"]
            if fault.hopeless:
                raise _StopLoop from StudyError(f"a worker cannot train: {fault.words.partition(': ')[2]}")
            self._faults[trial.trial_id] = fault

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        assignment: Assignment = trial.config["assignment"]
        if (fault := trial.last_result["not_kept"]) and not self._warned:
            self._warned = True
            kept_in = folder(assignment.machine.data_dir)
            warnings.warn(
                f"trainings cannot be saved in {kept_in}: {fault}; a training whose worker is lost starts again",
                stacklevel=1,
            )
        attempts = self._failures[assignment.name] + trial.num_failures + 1
        self._finish(trial, _ending(assignment.seeds, trial.last_result["trainings"], self._worst), attempts)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Forget the trial's error: Tune will try the trial again."""
        self._faults.pop(trial.trial_id, None)
        _drop_pickled_error(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        fault = self._faults.pop(trial.trial_id, None)
        _drop_pickled_error(trial)
        assignment: Assignment = trial.config["assignment"]
        self._failures[assignment.name] += trial.num_failures
        if self._failures[assignment.name] <= self._resources.max_retries:
            # Tune gives up at once on a trial whose worker dies while it is handed over
            self._ended(trial)
            self._schedule.put_back(assignment.arm, assignment.run, assignment.confirms)
            return
        reason = self._reason(trial, fault)
        ending = _Ending(state=TrialState.FAILED, objective=None, test_metric=None, error=reason)
        self._finish(trial, ending, self._failures[assignment.name])

    def _reason(self, trial: Trial, fault: TrialFault | None) -> str:
        if fault is not None:
            return f"{fault.words}\n\n{fault.trace}"
        started, assignment = self._under_way.get(trial.trial_id), trial.config["assignment"]
        if started is not None and (datetime.now(UTC) - started).total_seconds() >= assignment.max_seconds:
            each = f" for each of {len(assignment.seeds)} trainings" if assignment.more_seeds else ""
            return f"stopped: still running after max_seconds = {self._resources.max_seconds:g}{each}"
        return f"the worker process died: {_last_error(trial)}"

    def _finish(self, trial: Trial, ending: _Ending, attempts: int) -> None:
        assignment: Assignment = trial.config["assignment"]
        suggestion, suggest_seconds = self._suggested.pop(trial.trial_id, (Suggestion({}, "none"), 0.0))
        ended: dict[str, Any] = {
            "study": self._study,
            "arm": assignment.arm,
            "run": assignment.run,
            "trial": assignment.trial,
            "state": ending.state,
            "seed": assignment.training.seed,
            "objective": ending.objective,
            "test_metric": ending.test_metric,
            "train_seconds": ending.train_seconds,
            "attempts": attempts,
            "error": ending.error,
            "started_at": self._ended(trial),
            "finished_at": datetime.now(UTC),
            "address": address(assignment, self._conditions),
        }
        if assignment.confirms is not None:
            self._keep(ConfirmationRecord(number=assignment.confirms.number, **ended))
            return
        record = TrialRecord(
            hyperparameters=suggestion.hyperparameters,
            source=suggestion.source,
            suggest_seconds=suggest_seconds,
            epochs=ending.epochs,
            repeats=ending.repeats,
            series=ending.series,
            **ended,
        )
        self._keep(record)

    def take_over(self, assignment: Assignment) -> bool:
        """Record another study's result of the same assignment. Return False if there is none."""
        try:
            record = taken(assignment, self._study, self._conditions, self._sink.at)
        except Exception as fault:
            raise _StopLoop from fault
        if record is None:
            return False
        self._keep(record)
        return True

    def _keep(self, record: TrialRecord | ConfirmationRecord) -> None:
        if isinstance(record, ConfirmationRecord):
            self._store(self._sink.confirm, record)
            self._schedule.finished(record)
            return
        self._store(self._sink.record, record)
        self._schedule.finished(record)
        self._gauges.finished(record)
        if (reason := self._losses.add(record)) and self._schedule.remaining:
            raise _StopLoop from NoResultError(reason)

    def _store(self, write: Callable[[R], None], record: R) -> None:
        try:
            write(record)
        except Exception as fault:
            raise _StopLoop from fault

    def _ended(self, trial: Trial) -> datetime:
        """Note that the trial is no longer under way. Return when it started."""
        started_at = self._under_way.pop(trial.trial_id, None)
        if started_at is not None:
            self._gauges.running(trial.config["assignment"].arm, -1)
        self._control.beat(len(self._under_way))
        return started_at or datetime.now(UTC)


def _ending(seeds: Sequence[int], trainings: Sequence[tuple[EpochRecord, ...]], worst: float) -> _Ending:
    """Return the joint outcome of trainings, given their seeds and epochs; one that diverged counts as the worst."""
    lasts = [epochs[-1] for epochs in trainings]
    repeats = tuple(
        RepeatRecord(
            state=TrialState.DIVERGED if last.diverged else TrialState.COMPLETED,
            seed=seed,
            objective=worst if last.diverged else last.validation_metric,
            test_metric=worst if last.diverged else last.test_metric,
        )
        for seed, last in zip(seeds, lasts, strict=True)
    )
    series = tuple(joined([each for epoch in epochs for each in epoch.series]) for epochs in trainings)
    diverged = [last.epoch for last in lasts if last.diverged]
    which = "the training" if len(lasts) == 1 else f"{len(diverged)} of {len(lasts)} trainings"
    return _Ending(
        state=TrialState.DIVERGED if diverged else TrialState.COMPLETED,
        objective=fmean(repeat.objective for repeat in repeats),
        test_metric=fmean(repeat.test_metric for repeat in repeats),
        error=f"{which} became non-finite in epoch {diverged[0]}" if diverged else None,
        train_seconds=sum(epoch.train_seconds for epochs in trainings for epoch in epochs),
        epochs=tuple(replace(epoch, series=()) for epoch in trainings[0]),
        repeats=repeats if len(repeats) > 1 else (),
        series=series if any(series) else (),
    )


def _drop_pickled_error(trial: Trial) -> None:
    """Keep Tune from reading the error's pickle at the end: on a shared cluster it may be someone else's by then."""
    trial.run_metadata.pickled_error_filename = None


def _last_error(trial: Trial) -> str:
    """Return what Tune has written of the trial's last error."""
    try:
        return FAILURE.split(Path(trial.error_file).read_text(errors="replace"))[-1].strip()
    except OSError:
        return "no reason is known"


def _configure_tune(most_pending: int, waiting: Callable[[], int]) -> None:
    """Set what Tune has no arguments for."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(most_pending)
    vars(tune_controller)["_ObjectCache"] = partial(IdleWorkers, waiting)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failed trials are recorded, with their reason


def run_study(
    spec: StudySpec,
    study: str,
    sink: Sink,
    history: Sequence[TrialRecord | ConfirmationRecord],
    *,
    data_dir: Path,
    ran_on: Mapping[str, Any] | None = None,
    control: Control | None = None,
) -> bool:
    """Run what is left of a study after `history`, its recorded trials and confirmations.

    Needs `cluster()`. Every finished training goes to `sink`; the trainings are the same, number for number, whether
    the study runs in one go or is stopped and continued. Returns whether all have finished: False only if `control`
    asked for a stop first. Raises what the sink raises. Raises StudyError if a trial needs more than the cluster has,
    or a worker lacks what trials need, for example the start that `ran_on` names; NoResultError if an arm's trials all
    fail of one error. With `ran_on`, the provenance of this machine, records have addresses.
    """
    control = control or Control()
    control.doing = f"Ray has given the study no worker; a worker takes {told(needs(spec))}"
    room = slots(spec)
    schedule = Schedule(spec, study, history, room)
    trials = [record for record in history if isinstance(record, TrialRecord)]
    if schedule.remaining == 0 or control.draining:
        return schedule.remaining == 0

    _configure_tune(room, lambda: 0 if control.draining else schedule.waiting)
    fault: BaseException | None = None
    recorder = _Recorder(spec, study, trials, schedule, sink, control, ran_on or {})
    with tempfile.TemporaryDirectory(prefix="tunebench-", ignore_cleanup_errors=True) as scratch:
        try:
            tune.Tuner(
                TrialWorker,
                tune_config=tune.TuneConfig(
                    search_alg=_Conductor(spec, study, schedule, control, data_dir, recorder),
                    num_samples=-1,  # until the conductor says that it has finished
                    reuse_actors=True,
                    trial_name_creator=lambda trial: trial.config["assignment"].name,
                    trial_dirname_creator=lambda trial: trial.config["assignment"].name,
                ),
                run_config=tune.RunConfig(
                    name=study,
                    storage_path=scratch,
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=spec.resources.max_retries),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    callbacks=[recorder],
                ),
            ).fit()
        except _StopLoop as over:
            fault = over.__cause__
            Slot.give_back()
    if fault is not None:
        raise fault
    if schedule.remaining and not control.draining:
        raise StudyError(f"{study}: stopped with {schedule.remaining} trainings left to run")
    return schedule.remaining == 0
