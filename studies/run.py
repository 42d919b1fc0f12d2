"""Run a study as one Ray Tune experiment: the only file that knows Ray."""

import faulthandler
import logging
import os
import pickle
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Read by Ray when it is imported: no tables on the terminal, no trial files, no state snapshots (the database is
# the only state), no phoning home, and Ctrl-C is an ordinary KeyboardInterrupt.
os.environ.update(
    RAY_AIR_NEW_OUTPUT="0",
    RAY_USAGE_STATS_ENABLED="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    TUNE_DISABLE_SIGINT_HANDLER="1",
    TUNE_GLOBAL_CHECKPOINT_S="1000000",
    TUNE_PRINT_ALL_TRIAL_ERRORS="0",
    TUNE_WARN_THRESHOLD_S="10",
)

if not os.environ.get("RAY_ADDRESS"):
    # Ray takes the machine's outward address even for a local cluster, except where it expects no cluster at all;
    # this makes it expect none, and every port of a local cluster is on loopback.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray
from ray import tune
from ray.exceptions import RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from studies.errors import StudyError
from studies.records import EpochRecord, Sink, TrialRecord, TrialState
from studies.schedule import Schedule
from studies.searchers import Suggestion
from studies.spec import StudySpec
from studies.trial import Assignment, assign, choose, train
from trainers.errors import DataError
from trainers.tasks import TASKS

WORKER_BYTES = 700 * 2**20  # what a worker with Ray, torch and Ax holds before it trains anything
REPORT_SECONDS = 10.0  # a long training reports its epochs to Ray this often, a short one once


class Training(tune.Trainable):  # type: ignore[misc]
    """A worker process: carries out one trial after another.

    The worker also computes the suggestion, so there are exactly as many suggestions at a time as there are trial
    slots, and the driver's loop only hands out work. The suggestion is reported before the training starts: a
    crash cannot lose it. A trial past `max_seconds` ends its process, even one that hangs inside C code; Tune
    starts another.
    """

    def setup(self, config: dict[str, Any]) -> None:
        import trainers.loop  # noqa: F401  (seconds the first time, and not the trial's)

        self._assignment: Assignment = config["assignment"]
        self._training: Iterator[EpochRecord] | None = None
        self._epochs: list[EpochRecord] = []

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        if self._training is None:
            faulthandler.dump_traceback_later(self._assignment.max_seconds, exit=True)
            suggestion, seconds = choose(self._assignment)
            self._training = train(self._assignment, suggestion)
            return {"suggestion": suggestion, "suggest_seconds": seconds}
        report_at = time.monotonic() + REPORT_SECONDS
        for epoch in self._training:
            self._epochs.append(epoch)
            if time.monotonic() > report_at:
                return {"epoch": epoch.epoch, "validation_metric": epoch.validation_metric}
        faulthandler.cancel_dump_traceback_later()
        return {"done": True, "epochs": tuple(self._epochs)}

    def cleanup(self) -> None:
        faulthandler.cancel_dump_traceback_later()


class _Conductor(Searcher):  # type: ignore[misc]
    """Gives Tune the schedule's trials and the sink what comes back; the first fault in the sink stops the study."""

    def __init__(self, spec: StudySpec, schedule: Schedule, sink: Sink, data_dir: Path) -> None:
        super().__init__()
        self.fault: BaseException | None = None
        self.schedule = schedule
        self._spec, self._sink, self._data_dir = spec, sink, data_dir

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self.fault is not None or self.schedule.remaining == 0:
            return str(Searcher.FINISHED)
        turn = self.schedule.next()
        if turn is None:
            return None
        assignment = assign(self._spec, turn.method, turn.run, turn.history, data_dir=self._data_dir)
        return {"assignment": assignment, "slot": turn.slot}

    def finished(self, record: TrialRecord) -> None:
        try:
            self._sink.record(record)
        except Exception as fault:
            self.fault = self.fault or fault
            return
        self.schedule.finished(record)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the recorder below is told the same with the trial itself."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the sink holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the sink holds the state."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, for the copy that Tune keeps and nobody reads: a sink need not be picklable."""
        return {}


class _Recorder(Callback):  # type: ignore[misc]
    """Turns what Tune says of its trials into records."""

    def __init__(self, spec: StudySpec, study: str, conductor: _Conductor) -> None:
        self._study, self._conductor = study, conductor
        self._worst, self._resources = TASKS[spec.task].worst, spec.resources
        self._failures: Counter[str] = Counter()
        self._started: dict[str, datetime] = {}
        self._suggested: dict[str, tuple[Suggestion, float]] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        # not told of a trial whose worker dies while it is being made or handed over
        self._started[trial.trial_id] = datetime.now(UTC)
        self._conductor.schedule.started(trial.config["slot"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if "suggestion" in result:
            self._suggested[trial.trial_id] = result["suggestion"], result["suggest_seconds"]

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        epochs: tuple[EpochRecord, ...] = trial.last_result["epochs"]
        last = epochs[-1]
        self._finish(
            trial,
            state=TrialState.DIVERGED if last.diverged else TrialState.COMPLETED,
            objective=self._worst if last.diverged else last.validation_metric,
            test_metric=self._worst if last.diverged else last.test_metric,
            attempts=self._failures[trial.config["assignment"].name] + trial.num_failures + 1,
            error=f"the loss became non-finite in epoch {last.epoch}" if last.diverged else None,
            epochs=epochs,
        )

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        error = _error_of(trial)
        if isinstance(error, RayTaskError) and isinstance(error.cause, DataError):
            self._conductor.fault = StudyError(f"a worker cannot read the data: {error.cause}")
            return
        assignment: Assignment = trial.config["assignment"]
        self._failures[assignment.name] += trial.num_failures
        if self._failures[assignment.name] <= self._resources.max_retries:
            # Tune gives up at once on a trial whose worker dies while it is handed over
            self._conductor.schedule.put_back(assignment.method, assignment.run)
            return
        self._finish(
            trial,
            state=TrialState.FAILED,
            objective=None,
            test_metric=None,
            attempts=self._failures[assignment.name],
            error=self._reason(trial, error),
            epochs=(),
        )

    def _reason(self, trial: Trial, error: Exception | str) -> str:
        if isinstance(error, RayTaskError):
            return f"{type(error.cause).__name__}: {error.cause}\n\n{error}"
        started = self._started.get(trial.trial_id)
        if (
            started is not None
            and (datetime.now(UTC) - started).total_seconds() >= self._resources.max_seconds
        ):
            return f"stopped: still running after max_seconds = {self._resources.max_seconds:g}"
        return f"the worker process died: {error}"

    def _finish(
        self,
        trial: Trial,
        *,
        state: TrialState,
        objective: float | None,
        test_metric: float | None,
        attempts: int,
        error: str | None,
        epochs: tuple[EpochRecord, ...],
    ) -> None:
        assignment: Assignment = trial.config["assignment"]
        now = datetime.now(UTC)
        suggestion, suggest_seconds = self._suggested.pop(trial.trial_id, (Suggestion({}, "none"), 0.0))
        self._conductor.finished(
            TrialRecord(
                study=self._study,
                method=assignment.method,
                run=assignment.run,
                trial=assignment.trial,
                state=state,
                hyperparameters=suggestion.hyperparameters,
                source=suggestion.source,
                seed=assignment.seed,
                objective=objective,
                test_metric=test_metric,
                suggest_seconds=suggest_seconds,
                train_seconds=sum(epoch.train_seconds for epoch in epochs),
                attempts=attempts,
                error=error,
                started_at=self._started.pop(trial.trial_id, now),
                finished_at=now,
                epochs=epochs,
            )
        )


def _error_of(trial: Trial) -> Exception | str:
    """The last error of the trial, or its text where it is none of Ray's."""
    if trial.pickled_error_file:
        error: Exception = pickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error
    return Path(trial.error_file).read_text()


class _StopOnFault(Stopper):  # type: ignore[misc]
    def __init__(self, conductor: _Conductor) -> None:
        self._conductor = conductor

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._conductor.fault is not None


@contextmanager
def cluster() -> Iterator[None]:
    """Connected to the cluster at RAY_ADDRESS or, where that is not set, to a local one on loopback.

    The local one has its dashboard on loopback too, and ends with this process. Raises StudyError where the
    address does not answer.
    """
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {"dashboard_host": "127.0.0.1", "object_store_memory": 128 * 2**20}
    try:
        if address:
            _knock(address)
        ray.init(
            address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else local)
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise StudyError(
            f"RAY_ADDRESS {address!r} does not answer: {error}" if address else str(error)
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError at once where nobody listens at host:port: Ray itself tries for minutes."""
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def run_study(
    spec: StudySpec, study: str, sink: Sink, history: Sequence[TrialRecord], *, data_dir: Path
) -> None:
    """Run what is left of a study after `history`, the trials that are already recorded.

    Needs `cluster()`. Every trial goes to `sink` when it has finished; the trials are the same, number for number,
    whether the study runs in one go or is continued. Raises what the sink raises, and StudyError where a trial
    needs more than the cluster has.
    """
    slots = _slots(spec)
    schedule = Schedule(spec, study, history, slots)
    if schedule.remaining == 0:
        return
    conductor = _Conductor(spec, schedule, sink, data_dir)

    def request(config: dict[str, Any]) -> tune.PlacementGroupFactory:
        # Tune gives a worker that has become free to any trial that asks for the same resources, even one whose own
        # worker is about to be up, and then stops that one: trials shorter than a worker's start would keep a
        # single worker alive. A byte of memory more or less keeps each slot's trials to themselves.
        resources = {**_needs(spec), "memory": WORKER_BYTES + config["slot"]}
        return tune.PlacementGroupFactory([resources])

    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(2 * slots)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failed trials are recorded, with their reason
    with tempfile.TemporaryDirectory(prefix="tunebench-") as scratch:
        tune.Tuner(
            tune.with_resources(Training, request),
            tune_config=tune.TuneConfig(
                search_alg=conductor,
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
                stop=_StopOnFault(conductor),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[_Recorder(spec, study, conductor)],
            ),
        ).fit()
    if conductor.fault is not None:
        raise conductor.fault
    if schedule.remaining:
        raise StudyError(f"{study}: stopped with {schedule.remaining} trials left to run")


def _needs(spec: StudySpec) -> dict[str, float]:
    """What one trial takes of a machine."""
    needs = {"CPU": float(spec.resources.cpus), "GPU": spec.resources.gpus, "memory": float(WORKER_BYTES)}
    return {kind: amount for kind, amount in needs.items() if amount}


def _slots(spec: StudySpec) -> int:
    """How many trials the cluster can carry at a time, and no more than there are runs. Raises StudyError."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    needs = _needs(spec)
    room = sum(min(_times(amount, node.get(kind, 0.0)) for kind, amount in needs.items()) for node in nodes)
    if room == 0:
        there = "; ".join(_told({kind: node.get(kind, 0.0) for kind in needs}) for node in nodes)
        raise StudyError(f"a trial needs {_told(needs)} on one machine; the cluster's have {there}")
    return min(room, spec.runs * len(spec.methods))


def _told(resources: dict[str, float]) -> str:
    return ", ".join(
        f"{amount / 1e9:.1f} GB memory" if kind == "memory" else f"{amount:g} {kind}"
        for kind, amount in resources.items()
    )


def _times(amount: float, available: float) -> int:
    """How often `amount` fits; a share of a GPU must come from one device."""
    return int(available) * int(1 / amount) if amount < 1 else int(available / amount)
