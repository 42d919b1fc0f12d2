"""What goes in and out over HTTP, the same words as in study files, the database and the page.

Numbers that are not finite are the texts "inf", "-inf" and "nan", a value that is not there is null. Times are UTC. Ids
are readable: a study's is `<name>-<8 hexadecimal digits>`, a trial's within its study `<arm>-r<run>-t<trial>`.
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
    int, Field(ge=-100, le=100, description="Higher first; equals first come, first served.")
]
StudyName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", examples=["figure8-spoken-digits"])
]


class _Schema(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def _copied(cls, record: object, **values: Any) -> Self:
        """What the record has under the same names, and these `values`."""
        found = {name: getattr(record, name) for name in cls.model_fields if name not in values}
        return cls(**found, **values)


class Edit(_Schema):
    """What may change of a study; a key that is left out, or null, stays."""

    model_config = ConfigDict(
        strict=True, json_schema_extra={"examples": [{"labels": ["paper"], "priority": 5}]}
    )

    name: StudyName | None = None
    labels: Annotated[Labels | None, Field(strict=False)] = None
    priority: Annotated[Priority | None, AS_WHOLE] = None


class TrialCounts(_Schema):
    """Finished trials by state, of `planned`."""

    completed: int
    diverged: int
    failed: int
    planned: int
    taken_over: int = Field(description="Of the finished ones, those that another study has trained.")


class StudySummary(_Schema):
    """A study as the list shows it."""

    id: str = Field(examples=["figure8-spoken-digits-0a1b2c3d"])
    name: str = Field(examples=["figure8-spoken-digits"])
    state: StudyState
    requested: Request | None = Field(description="What its driver has been asked for and has not done yet.")
    task: str = Field(examples=["spoken-digits"])
    proxy: Mapping[str, int | float | str] = Field(
        description="How the task is scaled down; empty where it is not.", examples=[{"epochs": 5}]
    )
    start: str | None = Field(
        description="The network in the server's data folder that every training starts from.",
        examples=["first"],
    )
    task_label: str = Field(
        description="The task in words, as a proxy where it is one, what its trainings start from, and which arms have "
        "a task or proxy of their own.",
        examples=["proxy of spoken-digits: 5 epochs"],
    )
    arms: tuple[str, ...] = Field(
        description="By name; the study's `spec` has what they are.",
        examples=[["gradient-filter", "latent-sgd", "published"]],
    )
    searcher: str = Field(examples=["ax"])
    runs: int = Field(examples=[20])
    budget: int = Field(description="Trials a run.", examples=[25])
    trials: TrialCounts
    labels: tuple[str, ...]
    priority: int
    submitted_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    not_before: datetime | None = Field(description="When it is started again after a driver was lost.")
    attempts: int = Field(description="Starts since its last finished trial.")
    error: str | None
    job: str | None = Field(description="Its last Ray job, as on the Ray dashboard.")
    trouble: str | None = Field(description="Why it does not go on, while it does not.")
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
    source: str = Field(description="Who chose the hyperparameters: sobol, model, random.")
    seed: int
    objective: Number | None
    test_metric: Number | None
    repeats: tuple[Repeat, ...] = Field(
        description="Of a study with `repeats` its trainings, whose means the metrics are; else empty."
    )
    suggest_seconds: float
    train_seconds: float
    attempts: int
    error: str | None
    started_at: datetime
    finished_at: datetime
    taken_from: str | None = Field(
        description="STUDY/TRIAL, where another study has trained it: times and seconds are of then."
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
        description="By run, what splits its data: with a trial's own seed and hyperparameters all that decides it."
    )
    provenance: Mapping[str, Any] = Field(description="What it ran on; empty before it has started.")
    incumbents: Mapping[str, Trial] = Field(description="The best trial of each arm that has one.")
    dashboard: str | None = Field(
        description="This study's job on the Ray dashboard; null where Ray does not know it."
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
    latent_validation_metric: Number | None = Field(description="With latent weights; likewise.")
    latent_test_metric: Number | None

    @classmethod
    def of(cls, epoch: EpochRecord) -> Self:
        return cls._copied(epoch)


class TrialSeries(_Schema):
    """What was recorded of one of a trial's trainings under a name: a row a step."""

    repeat: int = Field(description="Which of its trainings, from 1.")
    name: str = Field(examples=["flip_ratio", "3[84,32].gradient"])
    steps: tuple[int, ...] = Field(description="Of the training, taken until then.")
    values: tuple[Number, ...] | None = Field(description="A number a row; null of signs and images.")
    shape: tuple[int, ...] = Field(
        description="Of a row of bytes: (bytes), eight signs in each, or as images."
    )
    rows: tuple[str, ...] | None = Field(description="Bytes in hexadecimal digits; null of numbers.")

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

    number: int = Field(description="Of the study's confirming seeds, from 1.")
    state: TrialState
    seed: int
    objective: Number | None
    test_metric: Number | None
    train_seconds: float
    attempts: int
    error: str | None
    started_at: datetime
    finished_at: datetime
    taken_from: str | None = Field(description="As of a trial.")

    @classmethod
    def of(cls, confirmation: ConfirmationRecord) -> Self:
        return cls._copied(confirmation)


class Run(_Schema):
    """One independent tuning run of an arm."""

    arm: str
    run: int
    trials: int = Field(description="Finished ones.")
    best_so_far: Number | None
    incumbent: str | None = Field(description="The trial that holds it.")


class RunCurve(_Schema):
    """The best objective after each finished trial of a run, null before the first with an objective."""

    run: int
    best_so_far: tuple[Number | None, ...]


class ArmCurves(_Schema):
    """The runs of an arm and their middle after each trial that any of them has done; `n` runs have a value there."""

    label: str = Field(examples=["gradient filter"])
    runs: tuple[RunCurve, ...]
    n: tuple[int, ...]
    median: tuple[Number | None, ...]
    median_low: tuple[Number | None, ...]
    median_high: tuple[Number | None, ...]
    median_level: tuple[Number | None, ...] = Field(description="Of the interval.")
    mean: tuple[Number | None, ...]
    mean_low: tuple[Number | None, ...]
    mean_high: tuple[Number | None, ...]
    mean_level: tuple[Number | None, ...]
    held_out: tuple[Number | None, ...] = Field(
        description="After each trial the mean test metric of the incumbents; empty where the study confirms none, "
        "null where a run has no value."
    )
    confirmed: tuple[Number | None, ...] = Field(
        description="The same of their hyperparameters with fresh seeds: null until every run is confirmed."
    )
    confirmed_low: tuple[Number | None, ...]
    confirmed_high: tuple[Number | None, ...]
    confirmed_level: tuple[Number | None, ...]


class Curves(_Schema):
    """Every run's best-so-far."""

    study: str
    task: str
    task_label: str = Field(
        description="The task in words, as a proxy where it is one, what its trainings start from, and which arms have "
        "a task or proxy of their own."
    )
    metric: str = Field(examples=["accuracy"])
    direction: Literal["maximize", "minimize"]
    runs: int
    trials: int
    last_event: int = Field(description="The study's event up to which this holds everything.")
    arms: Mapping[str, ArmCurves]


class RunSigns(_Schema):
    """How many signs differ in a run, the mean over its trainings, at each of the steps; null where it has none."""

    run: int
    differing: tuple[Number | None, ...]


class PairSigns(_Schema):
    """How many signs differ between two arms, run by run and in the mean over the runs."""

    first: str
    second: str
    first_label: str
    second_label: str
    steps: tuple[int, ...] = Field(description="Of a training, taken until then, ascending.")
    runs: tuple[RunSigns, ...]
    mean: tuple[Number | None, ...]


class DifferingSigns(_Schema):
    """The counts of differing signs between arms with the same network: the first two, the next two and so on."""

    study: str
    last_event: int = Field(description="The study's event up to which this holds everything.")
    pairs: tuple[PairSigns, ...] = Field(description="Those of which both have recorded signs.")


class ComparisonTable(_Schema):
    """The best arms by their median run, as texts."""

    columns: tuple[str, ...] = Field(description="Empty where there is nothing to compare yet.")
    rows: tuple[tuple[str, ...], ...]
    note: str = Field(description="What the numbers are.")


class ComparisonAnswer(_Schema):
    """The comparison of a study's arms, in words and numbers."""

    last_event: int = Field(description="The study's event up to which this holds everything.")
    verdict: str = Field(description="What the tests tell apart, in one sentence.")
    table: ComparisonTable
    summary: str = Field(description="In words, paragraphs with an empty line between them.")
    comparison: Annotated[
        Comparison, PlainSerializer(lambda comparison: comparison.to_json(), when_used="json")
    ] = Field(description="In numbers: what comparison.json of the export holds.")

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
    defaults: Mapping[str, Any] = Field(description="The space of a study that says nothing else.")
    space: Mapping[str, Any] = Field(description="JSON Schema of what a study may say under `space`.")


class Task(_Schema):
    """Data, model, recipe and metric."""

    name: str
    summary: str
    data: str
    model: str
    metric: str
    direction: Literal["maximize", "minimize"]
    first_step: int = Field(description="Epochs before those below, with real-valued weights.")
    epochs: int
    width: int = Field(description="Of the network, in the model's own units; a proxy may have less.")
    image_size: int | None = Field(description="The side of its images; null where it has none.")


class Searcher(_Schema):
    """A way to choose the next hyperparameters."""

    name: str
    summary: str
    space: Mapping[str, Any] = Field(description="JSON Schema of what a study may say under `searcher`.")


class Items(_Schema, Generic[Item]):
    """A whole list."""

    items: tuple[Item, ...]


class Page(_Schema, Generic[Item]):
    """Part of a list; `next` is given as `cursor` for the part after it and null in the last one."""

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
    """What a study would cost, from the recorded trials of the same task, scaled down in the same way."""

    seconds: float = Field(description="Of one worker: suggestions and trainings, one after another.")
    recorded_trials: int


class Design(_Schema):
    """What so many runs can show of two arms, by the signed-rank test adjusted for all pairs.

    Of a study that stops when it is decided: of its first two arms, by the test that is made after every run.
    """

    runs: int
    pairs: int = Field(description="Of arms that are tested; 1 where a study stops when it is decided.")
    runs_needed: int = Field(description="With fewer no two arms can be told apart.")
    detectable: float | None = Field(
        description="The mean difference between two arms that is found in four of five such studies, in standard "
        "deviations of their difference from run to run; null where none can be told."
    )


class Validation(_Schema):
    """A study that could run."""

    id: str
    exists: StudyState | None = Field(description="The state of the same study where it is stored already.")
    planned: int
    there: int = Field(
        description="Of the planned trials, those that the database has, of this or another study: they are not "
        "trained again on the kind of machine where the last study of the task ran."
    )
    confirmations: int = Field(description="At most: as many as if every trial were an incumbent.")
    estimate: Cost | None = Field(
        description="Of the trials that are not there; null where no trial of this task, or this proxy of it, is "
        "recorded yet, or of one that an arm has of its own."
    )
    design: Design
    spec: Mapping[str, Any]


class Readiness(_Schema):
    """A service that can serve. Ray's absence delays studies; it does not make the service unready."""

    database: Literal["ok"]
    ray: Literal["ok", "does not answer"]


class Targets(_Schema):
    """Places that have metrics, with labels for what is found there."""

    targets: tuple[str, ...] = Field(examples=[["127.0.0.1:44217"]])
    labels: Mapping[str, str]


class Fault(_Schema):
    field: str = Field(
        description="Where, as a path of keys; empty for the whole.", examples=["arms.0.space.alpha"]
    )
    message: str


class Problem(_Schema):
    """An RFC 9457 problem detail, sent as application/problem+json."""

    type: str = Field(examples=["/problems/unknown-study"])
    title: str = Field(examples=["There is no such study"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no study 'figure8-spoken-digits-0a1b2c3d'"])
    faults: tuple[Fault, ...] = Field(
        default=(), description="What is wrong with each field of what was sent."
    )
    request_id: str | None = Field(default=None, description="As in the service's log and in X-Request-ID.")


def trial_of(text: str) -> tuple[str, int, int] | None:
    """The arm, run and number in a trial's id; None where it is none."""
    match = TRIAL_ID.fullmatch(text)
    return None if match is None else (match[1], int(match[2]), int(match[3]))


def trial_id(arm: str, run: int, trial: int) -> str:
    """The trial's name within its study, as on the Ray dashboard."""
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
