"""The records of a study: plain frozen values that the runner, the database and the figures share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from statistics import stdev
from typing import Any, Protocol

from trainers.hyperparameters import Value
from trainers.tasks import Proxy
from trainers.training.results import EpochResult as EpochRecord
from trainers.training.results import Series

__all__ = [
    "ConfirmationRecord",
    "EpochRecord",
    "Outcome",
    "RepeatRecord",
    "Request",
    "RunRecord",
    "Series",
    "Sink",
    "StudyRecord",
    "StudyState",
    "TrialRecord",
    "TrialState",
]


class StudyState(StrEnum):
    QUEUED = "queued"
    STARTING = "starting"  # its job is submitted, its driver is not up yet
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Request(StrEnum):
    """A request to a running study."""

    PAUSE = "pause"  # after the trials in flight
    PAUSE_NOW = "pause-now"  # without waiting for them
    CANCEL = "cancel"


class TrialState(StrEnum):
    COMPLETED = "completed"
    DIVERGED = "diverged"  # loss or network became non-finite: a result, with the worst possible objective
    FAILED = "failed"  # crashed more often than it may be retried: no objective, the trial is spent


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study as stored. `spec` is the resolved study file and `provenance` what it ran on, both JSON values.

    `requested` is a request that its driver has not carried out yet. `attempts` counts the starts since its last
    trial; the study is not started again before `not_before`. `job` names its last Ray job; `trouble` says why it does
    not go on. `completed`, `diverged` and `failed` count its trials. `taken_over` counts those of them that another
    study has trained; `suggest_seconds` and `train_seconds` are sums over the others. `last_event` is the number of its
    latest event.
    """

    id: str
    name: str
    task: str
    state: StudyState
    spec: Mapping[str, Any]
    provenance: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 0
    submitted_by: str | None = None
    requested: Request | None = None
    attempts: int = 0
    not_before: datetime | None = None
    job: str | None = None
    trouble: str | None = None
    completed: int = 0
    diverged: int = 0
    failed: int = 0
    taken_over: int = 0
    suggest_seconds: float = 0.0
    train_seconds: float = 0.0
    last_event: int = 0

    @property
    def proxy(self) -> Proxy:
        """The study's proxy: how `task` is scaled down."""
        return Proxy(**self.spec.get("proxy", {}))

    @property
    def start(self) -> str | None:
        """The name of the start of its trainings; None where they start from nothing."""
        return self.spec.get("start")

    @property
    def task_label(self) -> str:
        """What the study trains, in words: see the function `task_label`."""
        return task_label({**self.spec, "task": self.task})

    @property
    def arms(self) -> Mapping[str, str]:
        """The method of each arm, by the arm's name, in the study's order."""
        return {arm["name"]: arm["method"] for arm in self.spec["arms"]}

    @property
    def runs(self) -> int:
        """The number of independent tuning runs of each arm."""
        return int(self.spec["runs"])

    @property
    def budget(self) -> int:
        """The number of trials of each run."""
        return int(self.spec["trials"])

    @property
    def planned(self) -> int:
        """The number of trials in all; of a completed study with `stop_when`, the number that it did."""
        early = self.state is StudyState.COMPLETED and "stop_when" in self.spec
        return self.trials if early else planned(self.spec)

    @property
    def repeats(self) -> int:
        """The number of trainings of each trial."""
        return int(self.spec.get("repeats", 1))

    @property
    def trials(self) -> int:
        """The number of finished trials."""
        return self.completed + self.diverged + self.failed


def task_label(spec: Mapping[str, Any]) -> str:
    """Say in words what a stored spec trains: its task or proxy, its start, and each task or proxy of an arm's own.

    The task is also called a proxy where only the arms' own proxies scale it down, if all of them do.
    """
    task, proxy = spec["task"], spec.get("proxy", {})
    label, less = Proxy(**proxy).label(task, spec.get("start")), Proxy(**proxy).is_less(task)
    if not less and all(
        Proxy(**{**proxy, **a.get("proxy", {})}).is_less(a.get("task", task)) for a in spec["arms"]
    ):
        label = f"proxy of {label}"
    same: dict[str, list[str]] = {}
    for arm in spec["arms"]:
        if has_own(arm):
            same.setdefault(_own(arm), []).append(arm["name"])
    told = "; ".join(f"{', '.join(arms)}: {own}" for own, arms in same.items())
    return f"{label} ({told})" if told else label


def has_own(arm: Mapping[str, Any]) -> bool:
    """Return whether an arm of a stored spec has a task or a proxy of its own."""
    return "task" in arm or "proxy" in arm


def _own(arm: Mapping[str, Any]) -> str:
    """Return an arm's own task and proxy in words: "cifar10-bvgg-layer, 2 epochs"."""
    return ", ".join(filter(None, [arm.get("task"), str(Proxy(**arm.get("proxy", {})))]))


def trial_id(arm: str, run: int, trial: int) -> str:
    """Return a trial's name within its study."""
    return f"{arm}-r{run:02d}-t{trial:02d}"


def planned(spec: Mapping[str, Any]) -> int:
    """Return how many trials a stored spec asks for."""
    return len(spec["arms"]) * int(spec["runs"]) * int(spec["trials"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatRecord:
    """One of the trainings of a trial that has several: the same hyperparameters with a seed of its own.

    `state` is completed or diverged, and the metrics are as in a `TrialRecord`.
    """

    state: TrialState
    seed: int
    objective: float
    test_metric: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One finished trial. `run` and `trial` count from 1; times are UTC; seconds are wall time.

    `objective` is the validation metric after the last epoch; the worst value that the metric can give if the
    training diverged; None if the trial failed. `source` says how the hyperparameters were chosen ("sobol", "model",
    "random", "grid"). `attempts` counts how often the trial was tried: 1 if nothing crashed.

    If a trial has several trainings, `repeats` holds them in order. `objective` and `test_metric` are then their means,
    the state is diverged if any training diverged, `seed` and `epochs` are from the first, and `train_seconds` is the
    sum. `repeats` is empty if there is one training, and if the trial failed.

    `series` holds what was recorded of each training, in order; it is empty if the study asked for no recording.
    `epochs` hold no series of their own.

    `address` identifies the training (`studies.running.reuse`); None if it is not known. A trial that another study has
    trained is a copy of that study's trial, except for where it belongs; `taken_from` names the original: STUDY/TRIAL.
    """

    study: str
    arm: str
    run: int
    trial: int
    state: TrialState
    hyperparameters: Mapping[str, Value]
    source: str
    seed: int
    objective: float | None
    test_metric: float | None
    suggest_seconds: float
    train_seconds: float
    attempts: int
    error: str | None
    started_at: datetime
    finished_at: datetime
    epochs: tuple[EpochRecord, ...] = ()
    repeats: tuple[RepeatRecord, ...] = ()
    series: tuple[tuple[Series, ...], ...] = ()
    address: str | None = None
    taken_from: str | None = None

    @property
    def id(self) -> str:
        """Its name within its study."""
        return trial_id(self.arm, self.run, self.trial)

    @property
    def sem(self) -> float | None:
        """The objective's standard error, from the spread of the repeats; None if there are fewer than two or one
        diverged, since these say nothing about noise."""
        if len(self.repeats) < 2 or self.state is not TrialState.COMPLETED:
            return None
        error = stdev(repeat.objective for repeat in self.repeats) / math.sqrt(len(self.repeats))
        return error if math.isfinite(error) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRecord:
    """One fresh training of an incumbent's hyperparameters, whose result no searcher saw.

    The hyperparameters are those of the run's trial number `trial`. `number` counts the study's confirming seeds from
    1: the same number has the same `seed` in all arms and for all incumbents of a run. The other fields are as in a
    `TrialRecord`.
    """

    study: str
    arm: str
    run: int
    trial: int
    number: int
    state: TrialState
    seed: int
    objective: float | None
    test_metric: float | None
    train_seconds: float
    attempts: int
    error: str | None
    started_at: datetime
    finished_at: datetime
    address: str | None = None
    taken_from: str | None = None

    @property
    def id(self) -> str:
        """Its name within its study."""
        return f"{trial_id(self.arm, self.run, self.trial)}-c{self.number:02d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One independent tuning run: its trials in order, numbered 1, 2, ... without a gap."""

    arm: str
    run: int
    trials: tuple[TrialRecord, ...]


class Outcome(Protocol):
    """What curves and progress need of a finished trial: a TrialRecord, an event, or a row with these columns."""

    @property
    def arm(self) -> str: ...
    @property
    def run(self) -> int: ...
    @property
    def trial(self) -> int: ...
    @property
    def objective(self) -> float | None: ...


class Sink(Protocol):
    """The place where a running study stores finished trials and confirmations.

    `record` is called once per trial, from one thread, in order within each run. When it returns, the trial is
    durable; when it raises, the study stops and the trial counts as never run.
    """

    def record(self, trial: TrialRecord) -> None: ...

    def confirm(self, confirmation: ConfirmationRecord) -> None:
        """Like `record`, once for each arm, run, trial and number, in no particular order."""
        ...

    def at(self, addresses: Sequence[str]) -> Mapping[str, TrialRecord | ConfirmationRecord]:
        """Return the results that any study has at these addresses. Called only if records have addresses."""
        ...
