"""Requests and answers of the HTTP API, in the same terms as study files, the database and the page.

Numbers that are not finite are the strings "inf", "-inf" and "nan". A missing value is null. Times are UTC. Ids are
readable: `<name>-<8 hexadecimal digits>` for a study, and within it `<arm>-r<run>-t<trial>` for a trial.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from service.records import EventKind, EventRecord, as_json
from studies.analysis.compared import Comparison
from studies.design.spec import split_seed
from studies.design.whole_numbers import AS_WHOLE
from studies.records import (
    ConfirmationRecord,
    EpochRecord,
    RepeatRecord,
    Request,
    Series,
    StudyRecord,
    StudyState,
    TrialRecord,
    TrialState,
)
from trainers.hyperparameters import Value
from trainers.tasks import TASKS

Item = TypeVar("Item")
Number = Annotated[
    float,
    PlainSerializer(as_json, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}),
]
TRIAL_ID = re.compile(r"([a-z0-9][a-z0-9-]{0,62})-r0*([1-9][0-9]{0,5})-t0*([1-9][0-9]{0,5})")
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,62}$", examples=["paper", "team:edge"])]
Labels = Annotated[tuple[Label, ...], Field(max_length=20)]
Priority = Annotated[
    int, Field(ge=-100, le=100, description="Higher first; equal priorities in order of submission.")
]
StudyName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", examples=["figure8-spoken-digits"])
]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def _copied(cls, record: object, **values: Any) -> Self:
        """Build the model from the record's attributes with the same names and these `values`."""
        found = {name: getattr(record, name) for name in cls.model_fields if name not in values}
        return cls(**found, **values)


class Edit(_Schema):
    """Changes to a study. A key that is missing or null changes nothing."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"examples": [{"labels": ["paper"], "priority": 5}]}
    )

    name: StudyName | None = None
    labels: Annotated[Labels | None, Field(strict=False)] = None
    priority: Annotated[Priority | None, AS_WHOLE] = None


class TrialCounts(_Schema):
    """The number of finished trials by state, out of `planned` ones."""

    completed: int
    diverged: int
    failed: int
    planned: int
    taken_over: int = Field(description="How many of the finished trials another study trained.")


class StudySummary(_Schema):
    """A study as the list shows it."""

    id: str = Field(examples=["figure8-spoken-digits-0a1b2c3d"])
    name: str = Field(examples=["figure8-spoken-digits"])
    state: StudyState
    requested: Request | None = Field(description="The request that its driver has not carried out yet.")
    task: str = Field(examples=["spoken-digits"])
    proxy: Mapping[str, int | float | str] = Field(
        description="How the task is scaled down; empty where it is not.", examples=[{"epochs": 5}]
    )
    start: str | None = Field(
        description="The network in the server's data folder that every training starts from.",
        examples=["first"],
    )
    task_label: str = Field(
        description="The task in words, with its proxy, the start of its trainings, and the arms that have a task or "
        "proxy of their own.",
        examples=["proxy of spoken-digits: 5 epochs"],
    )
    arms: tuple[str, ...] = Field(
        description="The arms' names; the study's `spec` defines them.",
        examples=[["gradient-filter", "latent-sgd", "published"]],
    )
    searcher: str = Field(examples=["ax"])
    runs: int = Field(examples=[20])
    budget: int = Field(description="Trials per run.", examples=[25])
    trials: TrialCounts
    labels: tuple[str, ...]
    priority: int
    submitted_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    not_before: datetime | None = Field(
        description="The earliest time of its next start: after its driver was lost, or while the `tunebench run` that "
        "stored it may claim it."
    )
    attempts: int = Field(description="Starts since its last finished trial.")
    error: str | None
    job: str | None = Field(description="Its last Ray job, as on the Ray dashboard.")
    trouble: str | None = Field(description="Why the study does not continue; null while it does.")
    last_event: int

    @classmethod
    def of(cls, study: StudyRecord) -> Self:
        return cls(**_summary(study))


class Repeat(_Schema):
    """One of the trainings of a trial that has several."""

    state: TrialState
    seed: int
    objective: Number
    test_metric: Number

    @classmethod
    def of(cls, repeat: RepeatRecord) -> Self:
        return cls._copied(repeat)


class Trial(_Schema):
    """One finished trial."""

    id: str = Field(examples=["gradient-filter-r01-t03"])
    arm: str
    run: int
    trial: int
    state: TrialState
    hyperparameters: Mapping[str, Value] = Field(examples=[{"alpha": 1e-3, "gamma": 0.1}])
    source: str = Field(description="What chose the hyperparameters: sobol, model, random or grid.")
    seed: int
    objective: Number | None
    test_metric: Number | None
    repeats: tuple[Repeat, ...] = Field(
        description="The trial's trainings in a study with `repeats`, else empty. The trial's metrics are their means."
    )
    suggest_seconds: float
    train_seconds: float
    attempts: int
    error: str | None
    started_at: datetime
    finished_at: datetime
    taken_from: str | None = Field(
        description="STUDY/TRIAL if another study trained it; times and seconds are those of that training."
    )

    @classmethod
    def of(cls, trial: TrialRecord) -> Self:
        return cls._copied(trial, repeats=tuple(map(Repeat.of, trial.repeats)))


class Study(StudySummary):
    """A study with its resolved spec, what it ran on, and the best trial of each arm."""

    direction: Literal["maximize", "minimize"]
    metric: str
    spec: Mapping[str, Any]
    split_seeds: tuple[int, ...] = Field(
        description="The seed of each run's data split. With its seed and hyperparameters, it determines a trial."
    )
    provenance: Mapping[str, Any] = Field(description="What the study ran on; empty before it has started.")
    incumbents: Mapping[str, Trial] = Field(description="The best trial of each arm that has one.")
    dashboard: str | None = Field(
        description="The URL of the study's job on the Ray dashboard; null if Ray does not know the job."
    )

    @classmethod
    def of(
        cls,
        study: StudyRecord,
        incumbents: Mapping[str, TrialRecord] | None = None,
        dashboard: str | None = None,
    ) -> Self:
        task = TASKS[study.task]
        return cls(
            **_summary(study),
            direction=task.direction,
            metric=task.metric,
            spec=study.spec,
            split_seeds=tuple(split_seed(study.spec["seed"], run) for run in range(1, study.runs + 1)),
            provenance=study.provenance,
            incumbents={name: Trial.of(trial) for name, trial in (incumbents or {}).items()},
            dashboard=dashboard,
        )


class Epoch(_Schema):
    """One epoch of a trial's training."""

    epoch: int
    train_loss: Number
    validation_metric: Number
    test_metric: Number
    flip_ratio: Number
    train_seconds: float
    evaluate_seconds: float
    diverged: bool
    validation_top5: Number | None = Field(description="Null where the task does not count it.")
    test_top5: Number | None
    train_metric: Number | None = Field(description="On training samples; null where that is not recorded.")
    latent_validation_metric: Number | None = Field(
        description="With latent weights; null where that is not recorded."
    )
    latent_test_metric: Number | None

    @classmethod
    def of(cls, epoch: EpochRecord) -> Self:
        return cls._copied(epoch)


class TrialSeries(_Schema):
    """A series that one of a trial's trainings recorded under a name, with one row per step."""

    repeat: int = Field(description="Which of the trial's trainings, from 1.")
    name: str = Field(examples=["flip_ratio", "3[84,32].gradient"])
    steps: tuple[int, ...] = Field(description="How many steps the training had taken at each row.")
    values: tuple[Number, ...] | None = Field(description="One number per row; null for signs and images.")
    shape: tuple[int, ...] = Field(
        description="The shape of a row of bytes: its length for signs, eight per byte, or an image's shape."
    )
    rows: tuple[str, ...] | None = Field(description="Each row's bytes in hexadecimal; null for numbers.")

    @classmethod
    def of(cls, repeat: int, series: Series) -> Self:
        values, numbers = series.values, series.values.ndim == 1
        return cls(
            repeat=repeat,
            name=series.name,
            steps=tuple(series.steps.tolist()),
            values=tuple(values.tolist()) if numbers else None,
            shape=values.shape[1:],
            rows=None if numbers else tuple(row.tobytes().hex() for row in values),
        )


class Confirmation(_Schema):
    """A fresh training of an incumbent's hyperparameters, with a seed that no searcher saw."""

    number: int = Field(description="Which of the study's confirming seeds, from 1.")
    state: TrialState
    seed: int
    objective: Number | None
    test_metric: Number | None
    train_seconds: float
    attempts: int
    error: str | None
    started_at: datetime
    finished_at: datetime
    taken_from: str | None = Field(description="As for a trial.")

    @classmethod
    def of(cls, confirmation: ConfirmationRecord) -> Self:
        return cls._copied(confirmation)


class Run(_Schema):
    """One independent tuning run of an arm."""

    arm: str
    run: int
    trials: int = Field(description="How many trials have finished.")
    best_so_far: Number | None
    incumbent: str | None = Field(description="The trial that has the best so far.")


class RunCurve(_Schema):
    """The best objective after each finished trial of a run; null before the first trial with an objective."""

    run: int
    best_so_far: tuple[Number | None, ...]


class ArmCurves(_Schema):
    """An arm's runs, and the median and mean of the `n` runs that have a value after each trial that any has done."""

    label: str = Field(examples=["gradient filter"])
    runs: tuple[RunCurve, ...]
    n: tuple[int, ...]
    median: tuple[Number | None, ...]
    median_low: tuple[Number | None, ...]
    median_high: tuple[Number | None, ...]
    median_level: tuple[Number | None, ...] = Field(description="The interval's level.")
    mean: tuple[Number | None, ...]
    mean_low: tuple[Number | None, ...]
    mean_high: tuple[Number | None, ...]
    mean_level: tuple[Number | None, ...]
    held_out: tuple[Number | None, ...] = Field(
        description="The incumbents' mean test metric after each trial; empty where the study confirms none, null "
        "where a run has no value."
    )
    confirmed: tuple[Number | None, ...] = Field(
        description="The mean test metric of the incumbents' confirmations; null until every run has them."
    )
    confirmed_low: tuple[Number | None, ...]
    confirmed_high: tuple[Number | None, ...]
    confirmed_level: tuple[Number | None, ...]


class Curves(_Schema):
    """Every run's best-so-far."""

    study: str
    task: str
    task_label: str = Field(
        description="The task in words, with its proxy, the start of its trainings, and the arms that have a task or "
        "proxy of their own."
    )
    metric: str = Field(examples=["accuracy"])
    direction: Literal["maximize", "minimize"]
    runs: int
    trials: int
    last_event: int = Field(description="The study's last event that this includes.")
    arms: Mapping[str, ArmCurves]


class RunSigns(_Schema):
    """The number of differing signs at each step of a run, as the mean over its trainings; null where it has none."""

    run: int
    differing: tuple[Number | None, ...]


class PairSigns(_Schema):
    """The number of differing signs between two arms, for each run and as the mean over the runs."""

    first: str
    second: str
    first_label: str
    second_label: str
    steps: tuple[int, ...] = Field(description="Steps that a training has taken, ascending.")
    runs: tuple[RunSigns, ...]
    mean: tuple[Number | None, ...]


class DifferingSigns(_Schema):
    """The counts of differing signs between arms with the same network: the first two arms, the next two and so on."""

    study: str
    last_event: int = Field(description="The study's last event that this includes.")
    pairs: tuple[PairSigns, ...] = Field(description="The pairs in which both arms recorded signs.")


class ComparisonTable(_Schema):
    """The best arms by their median run, as strings."""

    columns: tuple[str, ...] = Field(description="Empty where there is nothing to compare yet.")
    rows: tuple[tuple[str, ...], ...]
    note: str = Field(description="What the numbers are.")


class ComparisonAnswer(_Schema):
    """The comparison of a study's arms, in words and numbers."""

    last_event: int = Field(description="The study's last event that this includes.")
    verdict: str = Field(description="What the tests tell apart, in one sentence.")
    table: ComparisonTable
    summary: str = Field(description="The comparison in words: paragraphs separated by empty lines.")
    comparison: Annotated[
        Comparison, PlainSerializer(lambda comparison: comparison.to_json(), when_used="json")
    ] = Field(description="The comparison in numbers, as in comparison.json of the export.")

    @classmethod
    def of(cls, last_event: int, comparison: Comparison) -> Self:
        from studies.results.verdict import answer  # which needs SciPy

        said = answer(comparison)
        table = ComparisonTable(columns=said.table.columns, rows=said.table.rows, note=said.table.note)
        return cls(
            last_event=last_event,
            verdict=said.verdict,
            table=table,
            summary=said.summary,
            comparison=comparison,
        )


class Method(_Schema):
    """A training method and its search space."""

    name: str
    summary: str
    source: str
    dimensions: int = Field(description="Hyperparameters that are searched unless a study fixes them.")
    defaults: Mapping[str, Any] = Field(
        description="The search space of a study that does not define its own."
    )
    space: Mapping[str, Any] = Field(description="JSON Schema of `space` in a study file.")


class Task(_Schema):
    """Data, model, recipe and metric."""

    name: str
    summary: str
    data: str
    model: str
    metric: str
    direction: Literal["maximize", "minimize"]
    first_step: int = Field(description="Epochs with real-valued weights, before `epochs`.")
    epochs: int
    width: int = Field(description="The network's width in the model's own units; a proxy may be narrower.")
    image_size: int | None = Field(description="The side of its images; null where it has none.")


class Searcher(_Schema):
    """A way to choose the next hyperparameters."""

    name: str
    summary: str
    space: Mapping[str, Any] = Field(description="JSON Schema of `searcher` in a study file.")


class Items(_Schema, Generic[Item]):
    """A complete list."""

    items: tuple[Item, ...]


class Page(_Schema, Generic[Item]):
    """One page of a list. `next` is the `cursor` of the next page; null on the last page."""

    items: tuple[Item, ...]
    next: str | None


class Event(_Schema):
    """Something that happened to a study. Its number is the id of the server-sent event."""

    number: int
    time: datetime
    actor: str
    kind: EventKind
    data: Mapping[str, Any]

    @classmethod
    def of(cls, event: EventRecord) -> Self:
        return cls._copied(event)


class Cost(_Schema):
    """A study's estimated cost, from recorded trials of the same task and proxy."""

    seconds: float = Field(description="The time that one worker takes for all suggestions and trainings.")
    recorded_trials: int


class Design(_Schema):
    """The difference between two arms that so many runs can show, by the signed-rank test adjusted for all pairs.

    For a study that stops when it is decided: between its first two arms, by the test made after every run.
    """

    runs: int
    pairs: int = Field(
        description="How many pairs of arms are tested; 1 for a study that stops when it is decided."
    )
    runs_needed: int = Field(description="The fewest runs that can tell two arms apart.")
    detectable: float | None = Field(
        description="The mean difference between two arms that four of five such studies find, in standard deviations "
        "of the difference over runs; null if no difference can be found."
    )


class Validation(_Schema):
    """A study that could run."""

    id: str
    exists: StudyState | None = Field(description="The study's state if it is stored already, else null.")
    planned: int
    there: int = Field(
        description="How many planned trials the database already has, from this or another study. They are not "
        "trained again on a machine like the one on which the task's last study ran."
    )
    confirmations: int = Field(
        description="The largest possible number, if every trial becomes an incumbent."
    )
    estimate: Cost | None = Field(
        description="The cost of the remaining trials. Null where no trial of some arm's task and proxy is recorded "
        "yet, or where an arm searches its batch size."
    )
    design: Design
    spec: Mapping[str, Any]


class Readiness(_Schema):
    """A service that is ready. Without Ray, studies wait, but the service is still ready."""

    database: Literal["ok"]
    ray: Literal["ok", "does not answer"]


class Targets(_Schema):
    """Addresses that serve metrics, and labels for those metrics."""

    targets: tuple[str, ...] = Field(examples=[["127.0.0.1:44217"]])
    labels: Mapping[str, str]


class Fault(_Schema):
    field: str = Field(
        description="The path of keys to the fault; empty if the whole request is at fault.",
        examples=["arms.0.space.alpha"],
    )
    message: str


class Problem(_Schema):
    """An RFC 9457 problem detail, sent as application/problem+json."""

    type: str = Field(examples=["/problems/unknown-study"])
    title: str = Field(examples=["There is no such study"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no study 'figure8-spoken-digits-0a1b2c3d'"])
    faults: tuple[Fault, ...] = Field(default=(), description="What is wrong with each field of the request.")
    request_id: str | None = Field(default=None, description="As in the service's log and in X-Request-ID.")


def trial_of(text: str) -> tuple[str, int, int] | None:
    """Return the arm, run and number in a trial's id, or None if `text` is not one."""
    match = TRIAL_ID.fullmatch(text)
    return None if match is None else (match[1], int(match[2]), int(match[3]))


def trial_id(arm: str, run: int, trial: int) -> str:
    """Return the trial's id within its study, as on the Ray dashboard."""
    return f"{arm}-r{run:02d}-t{trial:02d}"


def _summary(study: StudyRecord) -> dict[str, Any]:
    values = {name: getattr(study, name) for name in StudySummary.model_fields if hasattr(study, name)}
    counts = TrialCounts(
        completed=study.completed,
        diverged=study.diverged,
        failed=study.failed,
        planned=study.planned,
        taken_over=study.taken_over,
    )
    searcher = study.spec["searcher"]["name"]
    arms = tuple(study.arms)
    return values | {"arms": arms, "proxy": study.proxy.changes, "searcher": searcher, "trials": counts}
