"""Study files: read, checked as a whole and resolved to a frozen `StudySpec`."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from studies.design import size
from studies.design.methods import METHODS, REAL
from studies.design.notation import read
from studies.design.published import MOST_ROWS, TEXT, TEXT_IN_WORDS, Published, PublishedRow, deciding
from studies.design.searchers import SEARCHERS
from studies.design.space import Choice, Space, faulty_ties, numbers, parse, points, searched, to_json
from studies.design.whole_numbers import AS_WHOLE, whole
from studies.errors import SpecError
from studies.records import StudyRecord, task_label
from trainers.feeding import decoders
from trainers.record import NOTHING, Record
from trainers.revisions import revisions
from trainers.seeds import derive
from trainers.tasks import OF_SAMPLES, REAL_TASKS, TASKS, WHOLE, Proxy, Task
from trainers.training_spec import Machine

MOST_ARMS = 24


class DefaultInt(int):
    """A default number, which differs in type from the same number in a study file."""


TRIALS = DefaultInt(25)  # of a run, unless a grid implies another number
ARMS_ALIAS = "methods"  # another name for `arms` in a study file
PROTOCOL = 4  # raised when the same spec would give different trials; if only for one method or task, its revision is


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


class _InnerError(ValueError):
    """Faults of keys below the one that is being checked, each with its key."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__(str(faults))
        self.faults = faults


NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
IN_WORDS = {
    NAME: "must be 1 to 63 lower-case letters, digits and inner hyphens",
    TEXT: TEXT_IN_WORDS,
}
Name = Annotated[str, Field(pattern=NAME)]


class SearcherSpec(_Strict):
    """How hyperparameters are chosen. With a model, the first `initial_trials` of every run still come from Sobol."""

    name: str = "botorch"
    initial_trials: Annotated[int, Field(ge=1, le=1000), AS_WHOLE] = 5

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in SEARCHERS:
            raise ValueError(f"unknown searcher; known are {', '.join(SEARCHERS)}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, entry: object) -> object:
        return {"name": entry} if isinstance(entry, str) else entry


class ArmSpec(_Strict):
    """One arm of a study: a method with its whole search space, defaults filled in, under a name.

    An arm without its own `searcher` or `task` has the study's; its `proxy` overrides the study's key by key. An arm
    that leaves nothing to search is a control: its trials differ only in their seeds. `published` is the result that a
    paper reports for it.
    """

    name: Name
    method: str
    space: Space
    searcher: SearcherSpec | None = None
    task: str | None = None
    proxy: Proxy = WHOLE
    published: Published | None = None

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, entry: object) -> object:
        if isinstance(entry, str):
            entry = {"method": entry}
        if not isinstance(entry, Mapping):
            keys = "method, name, space, searcher, task, proxy and published"
            raise ValueError(f"must be a method's name, or a mapping with {keys}")
        method, overrides = entry.get("method", entry.get("name")), entry.get("space", {})
        if not isinstance(method, str) or method not in METHODS:
            raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}")
        if not isinstance(overrides, Mapping):
            raise ValueError(f"space must be a mapping of hyperparameters, got {overrides!r}")
        known = METHODS[method].known
        faults, space = [], dict(METHODS[method].space)
        for key, value in overrides.items():
            if key not in known:
                faults.append((key, f"{method} has no such hyperparameter; it has {', '.join(known)}"))
                continue
            try:
                space[key] = parse(key, value, known[key])
            except (ValueError, OverflowError) as error:
                faults.append((key, str(error)))
        faults = faults or faulty_ties(space)
        if faults:
            raise _InnerError([(f"space.{key}", fault) for key, fault in faults])
        # in a fixed order, whatever the file's: a searcher's points depend on it
        space = {key: space[key] for key in known if key in space}
        return {"name": method, **entry, "method": method, "space": space}

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str | None) -> str:
        return _known(value)

    @field_validator("proxy", mode="before")
    @classmethod
    def _of_the_network(cls, entry: object) -> Proxy:
        """Refuse keys that change the samples, which are the same for all arms."""
        return _proxy(entry, None, known=OF_ARMS)

    def beside(self, task: Task, proxy: Proxy) -> "ArmSpec":
        """Return the arm for a study of `proxy` of `task`, without what equals the study's. Raises ValueError."""
        own = TASKS[self.task or task.name]
        if _samples(own) != _samples(task):
            same = [each.name for each in TASKS.values() if _samples(each) == _samples(task)]
            needed = "must be a task with the study's samples, inputs and metric"
            raise _InnerError([("task", f"{needed}: {', '.join(same)}, got {own.name!r}")])
        given = proxy.without_defaults(own)
        try:
            _proxy(self.proxy.changes, own, over=given)
        except _InnerError as error:
            raise _InnerError([(f"proxy.{key}", fault) for key, fault in error.faults]) from error
        mine = self.proxy.over(given, own)
        try:
            mine.of(own)
        except ValueError as error:
            key = "proxy" if self.proxy.changes else "task"
            raise _InnerError([(key, f"does not fit the study's proxy: {error}")]) from error
        kept: dict[str, Any] = {
            name: value
            for name, value in self.proxy.changes.items()
            if getattr(mine, name) != getattr(given, name)
        }
        return self.model_copy(update={"task": None if own is task else own.name, "proxy": Proxy(**kept)})

    @property
    def is_control(self) -> bool:
        """Whether nothing is searched."""
        return not searched(self.space)

    @property
    def is_binary(self) -> bool:
        """Whether it trains binary weights."""
        return METHODS[self.method].optimizer is not None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, with the whole space spelled out."""
        space = {key: to_json(dimension) for key, dimension in self.space.items()}
        return {
            "name": self.name,
            "method": self.method,
            **({} if self.task is None else {"task": self.task}),
            **({"proxy": self.proxy.changes} if self.proxy.changes else {}),
            "space": space,
            **({} if self.searcher is None else {"searcher": self.searcher.model_dump()}),
            **({} if self.published is None else {"published": self.published.to_json()}),
        }


# Less is practically none: 0.0001 of ImageNet, the largest data set, is not one of the 1,300 images of a class.
LEAST = {"gpus": 0.01, "max_seconds": 1.0, "train_fraction": 0.0001}
LEAST_GPUS: dict[str, Any] = {"anyOf": [{"const": 0}, {"minimum": LEAST["gpus"]}]}
PROXY = tuple(field.name for field in fields(Proxy))
OF_ARMS = tuple(name for name in PROXY if name not in OF_SAMPLES)  # what an arm's own proxy may change
STORED = {"stored": True}  # context for a stored study, accepted by a version that may have allowed more


class Resources(_Strict):
    """What one trial may use, and how often it is retried."""

    cpus: Annotated[int, Field(ge=1, le=1024), AS_WHOLE] = 1
    gpus: Annotated[float, Field(ge=0, le=1, json_schema_extra=LEAST_GPUS)] = 0.0  # share of its one GPU
    # a trial that is still training then is stopped
    max_seconds: Annotated[
        float, Field(le=30 * 86400, json_schema_extra={"minimum": LEAST["max_seconds"]})
    ] = 3600.0
    max_retries: Annotated[int, Field(ge=0, le=10), AS_WHOLE] = (
        2  # after a crash, with the same hyperparameters
    )
    decoder: decoders.Decoder = "pillow"  # of training images on disk
    compile: bool = False  # training steps, with torch

    @field_validator("gpus", "max_seconds", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        small = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
        return float(value) if small else value  # type: ignore[arg-type]

    @field_validator("gpus", "max_seconds")
    @classmethod
    def _worth_having(cls, value: float, info: ValidationInfo) -> float:
        assert info.field_name is not None
        least = LEAST[info.field_name]
        if (
            value >= least
            or (value > 0 and info.context is STORED)
            or (value == 0 and info.field_name == "gpus")
        ):
            return value
        raise ValueError(f"must be {'0 or ' if info.field_name == 'gpus' else ''}at least {least:g}")

    def to_json(self) -> dict[str, Any]:
        """Return JSON values without `Machine`'s defaults, so that a new field there changes no study's id."""
        defaults = {each.name: each.default for each in fields(Machine)}
        mine = self.model_dump()
        return {
            name: value for name, value in mine.items() if name not in defaults or value != defaults[name]
        }

    def machine(self, data_dir: Path) -> Machine:
        """Return the machine that a trial trains on."""
        return Machine(
            data_dir=data_dir,
            device="cuda" if self.gpus > 0 else "cpu",
            threads=self.cpus,
            decoder=self.decoder,
            compile=self.compile,
        )


class Confirm(_Strict):
    """Confirmations: after a run, each incumbent is trained again with `seeds` seeds that no searcher saw."""

    seeds: Annotated[int, Field(ge=1, le=100), AS_WHOLE]


class StudySpec(_Strict):
    """A study: task x arms x (runs, trials). A whole study file, with every default filled in.

    In a file, `methods` is the short form of `arms`: the same list, where each arm is named after its method.
    """

    name: Name
    task: str
    proxy: Proxy = WHOLE
    start: Name | None = None  # the network in the data folder's `starts` that every training starts from
    searcher: SearcherSpec = SearcherSpec()
    arms: Annotated[tuple[ArmSpec, ...], Field(strict=False)]
    runs: Annotated[int, Field(ge=1, le=1000), AS_WHOLE] = 20
    trials: Annotated[int, Field(ge=1, le=1000), AS_WHOLE] = Field(default=TRIALS, validate_default=True)
    seed: Annotated[int, Field(ge=0, lt=2**63), AS_WHOLE] = 0
    repeats: Annotated[int, Field(ge=1, le=100), AS_WHOLE] = 1  # trainings of a trial
    record: Record = NOTHING  # in each trial's trainings, not in confirmations
    confirm: Confirm | None = None
    stop_when: Literal["decided"] | None = None  # `runs` is then the most: see studies.analysis.decision
    resources: Resources = Resources()
    published: Annotated[tuple[PublishedRow, ...], Field(strict=False, max_length=MOST_ROWS)] = ()

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        return _known(value)

    @field_validator("proxy", mode="before")
    @classmethod
    def _of_the_task(cls, entry: object, info: ValidationInfo) -> Proxy:
        """Keep only what differs from the task: a proxy that changes nothing is the task."""
        task = TASKS.get(info.data.get("task", ""))
        proxy = _proxy(entry, task, small=info.context is STORED)
        return proxy if task is None else proxy.without_defaults(task)

    @field_validator("start", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if value is None:
            raise ValueError("needs a name; leave the key out to start from new networks")
        return value

    @field_validator("arms", mode="before")
    @classmethod
    def _at_most_max_arms(cls, value: object) -> object:
        if isinstance(value, list | tuple) and len(value) > MOST_ARMS:
            raise ValueError(f"a study has at most {MOST_ARMS} arms, got {len(value)}")
        return value

    @field_validator("arms")
    @classmethod
    def _on_the_same_samples(cls, value: tuple[ArmSpec, ...], info: ValidationInfo) -> tuple[ArmSpec, ...]:
        """Check that arms differ in networks and recipes only, not in the samples and the metric."""
        task, proxy = TASKS.get(info.data.get("task", "")), info.data.get("proxy")
        if task is None or proxy is None:
            return value
        arms, faults = [], list[tuple[str, str]]()
        for i, arm in enumerate(value):
            try:
                arms.append(arm.beside(task, proxy))
            except _InnerError as error:
                faults += [(f"{i}.{key}", fault) for key, fault in error.faults]
        if faults:
            raise _InnerError(faults)
        return tuple(arms)

    @field_validator("arms")
    @classmethod
    def _different(cls, value: tuple[ArmSpec, ...], info: ValidationInfo) -> tuple[ArmSpec, ...]:
        if not value:
            raise ValueError(f"at least one method is needed; known are {', '.join(METHODS)}")
        times = Counter(arm.name for arm in value)
        if twice := sorted(name for name in times if times[name] > 1):
            raise ValueError(f"{', '.join(twice)} is listed more than once; each arm needs a name of its own")
        first: dict[str, str] = {}
        for arm in value:
            searcher = arm.searcher or info.data.get("searcher")
            same = repr(
                (
                    arm.method,
                    sorted(arm.space.items()),
                    None if arm.is_control else searcher,
                    arm.task,
                    arm.proxy,
                )
            )
            if (other := first.setdefault(same, arm.name)) != arm.name:
                raise ValueError(f"{other} and {arm.name} ask for the same trials: one of them is enough")
        return value

    @field_validator("arms")
    @classmethod
    def _fit_the_task(cls, value: tuple[ArmSpec, ...], info: ValidationInfo) -> tuple[ArmSpec, ...]:
        """Check that each arm's method suits its task's weights and sets only what the recipe's real-valued optimizer
        has, that its batch size is given once, and that nothing is searched without validation."""
        task = TASKS.get(info.data.get("task", ""))
        if task is None:
            return value
        own = [TASKS[arm.task] if arm.task else task for arm in value]
        faults = [
            (str(i), fault)
            for i, (arm, task) in enumerate(zip(value, own, strict=True))
            for fault in _method_faults(arm, task, info.data.get("start"))
        ]
        faults += [
            (
                f"{i}.space.{key}",
                f"{task.name}'s optimizer of real-valued parameters has only {', '.join(task.recipe.real)}",
            )
            for i, (arm, task) in enumerate(zip(value, own, strict=True))
            for key in arm.space
            if key in REAL and key not in task.recipe.real
        ]
        proxy = info.data.get("proxy", WHOLE)
        faults += [
            (
                f"{i}.space.batch_size",
                f"the proxy already sets batch_size to {size}: give only one of the two",
            )
            for i, arm in enumerate(value)
            if "batch_size" in arm.space and (size := arm.proxy.batch_size or proxy.batch_size)
        ]
        if proxy.validation:
            left = "without validation, hyperparameters cannot be chosen: give each one value"
            faults += [
                (f"{i}.space.{key}", left) for i, arm in enumerate(value) for key in searched(arm.space)
            ]
        if faults:
            raise _InnerError(faults)
        return value

    @field_validator("arms")
    @classmethod
    def _list_what_a_grid_combines(
        cls, value: tuple[ArmSpec, ...], info: ValidationInfo
    ) -> tuple[ArmSpec, ...]:
        faults = [
            (f"{i}.space.{key}", f"a grid combines lists of values, got {to_json(dimension)!r}")
            for i, arm in enumerate(value)
            if _is_grid(arm, info)
            for key, dimension in searched(arm.space).items()
            if not isinstance(dimension, Choice)
        ]
        if faults:
            raise _InnerError(faults)
        return value

    @field_validator("arms")
    @classmethod
    def _published_in_its_unit(cls, value: tuple[ArmSpec, ...], info: ValidationInfo) -> tuple[ArmSpec, ...]:
        _check_published({f"{i}.published": arm.published for i, arm in enumerate(value)}, info)
        return value

    @field_validator("trials", mode="before")
    @classmethod
    def _one_a_combination(cls, value: object, info: ValidationInfo) -> object:
        """Derive the trials of a grid's arms from the values that these list."""
        grids = {
            arm.name: int(points(arm.space))
            for arm in info.data.get("arms", ())
            if _is_grid(arm, info) and not arm.is_control
        }
        told = ", ".join(f"{name} has {number}" for name, number in grids.items())
        if len(set(grids.values())) > 1:
            raise ValueError(f"arms of a grid must have equally many combinations: {told}")
        if isinstance(value, DefaultInt):
            return next(iter(grids.values()), int(TRIALS))
        if any(value != number for number in grids.values()):
            raise ValueError(f"must be left out, because it follows from the combinations: {told}")
        return value

    @field_validator("trials")
    @classmethod
    def _one_without_validation(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("proxy", WHOLE).validation:
            raise ValueError(
                "without validation, the best trial would be chosen by its test metric: set trials to 1 and raise runs"
            )
        return value

    @field_validator("record", mode="before")
    @classmethod
    def _can_be_recorded(cls, entry: object, info: ValidationInfo) -> Record:
        def check(key: str, value: Any) -> None:
            Record(**({"flips": True} if key == "every" else {}), **{key: value})

        values = _by_key(entry, [field.name for field in fields(Record)], check)
        try:
            record = Record(**values)
        except ValueError as error:
            raise _InnerError([("every", str(error))]) from error
        without = _without_latent(info)
        found = (
            fault
            for task in _trained(info)
            for fault in record.faults(task, binary=task.name not in REAL_TASKS, latent=not without)
        )
        faults = list(dict.fromkeys(found))
        if faults:
            names = f", which {', '.join(without)} {'does' if len(without) == 1 else 'do'} not have"
            raise _InnerError([(key, fault + names * (key == "latent_metric")) for key, fault in faults])
        return record

    @field_validator("stop_when")
    @classmethod
    def _between_two(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and len(info.data.get("arms", (1, 2))) < 2:
            raise ValueError("decides between the first two arms, but the study has only one")
        return value

    @field_validator("resources")
    @classmethod
    def _decodes_the_task(cls, value: Resources, info: ValidationInfo) -> Resources:
        if task := TASKS.get(info.data.get("task", "")):  # arms' own tasks have the same samples
            try:
                decoders.check_decodes(value.decoder, task)
            except ValueError as error:
                raise _InnerError([("decoder", str(error))]) from error
        return value

    @field_validator("published")
    @classmethod
    def _rows_in_its_unit(
        cls, value: tuple[PublishedRow, ...], info: ValidationInfo
    ) -> tuple[PublishedRow, ...]:
        times = Counter(row.name for row in value)
        if twice := sorted(name for name in times if times[name] > 1):
            raise ValueError(f"{', '.join(twice)} is listed more than once; each row needs a name of its own")
        _check_published({str(i): row for i, row in enumerate(value)}, info)
        return value

    @property
    def states(self) -> bool:
        """Whether it states any published result."""
        return bool(self.published or any(arm.published for arm in self.arms))

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, arms with their whole spaces; `from_json` reads back an equal spec."""
        return {
            "name": self.name,
            "task": self.task,
            **({"proxy": self.proxy.changes} if self.proxy.changes else {}),
            **({"start": self.start} if self.start else {}),
            "arms": [arm.to_json() for arm in self.arms],
            "searcher": self.searcher.model_dump(),
            "runs": self.runs,
            "trials": self.trials,
            "seed": self.seed,
            **({"repeats": self.repeats} if self.repeats > 1 else {}),
            **({"record": self.record.changes} if self.record.changes else {}),
            **({"confirm": self.confirm.model_dump()} if self.confirm else {}),
            **({"stop_when": self.stop_when} if self.stop_when else {}),
            "resources": self.resources.to_json(),
            **({"published": [row.to_json() for row in self.published]} if self.published else {}),
        }

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that two specs share only if they ask for the same trials."""
        methods = [METHODS[arm.method].optimizer for arm in self.arms]
        compiled = self.resources.compile
        changed = {
            name: number
            for task in self.tasks
            for name, number in revisions(task.name, methods, compiled=compiled).items()
        }
        decides = deciding(self.to_json())
        text = json.dumps([PROTOCOL, decides, *([changed] if changed else [])], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def study_id(self) -> str:
        """The study's id: `<name>-<first eight digits of the digest>`."""
        return f"{self.name}-{self.digest[:8]}"

    @property
    def planned(self) -> int:
        """The number of trials in all."""
        return len(self.arms) * self.runs * self.trials

    @property
    def most_confirmations(self) -> int:
        """The number of confirmations if every trial becomes an incumbent; a control has one to confirm per run."""
        seeds = self.confirm.seeds if self.confirm else 0
        return sum(1 if arm.is_control else self.trials for arm in self.arms) * self.runs * seeds

    def split_seed(self, run: int) -> int:
        """Return the seed that splits the data in run number `run`, for all its arms and trials."""
        return split_seed(self.seed, run)

    def arm(self, name: str) -> ArmSpec:
        """Return the arm of this name. Raises StopIteration if there is none."""
        return next(arm for arm in self.arms if arm.name == name)

    def task_of(self, arm: ArmSpec) -> Task:
        """Return the arm's own task, or the study's, without a proxy."""
        return TASKS[arm.task or self.task]

    def proxy_of(self, arm: ArmSpec) -> Proxy:
        """Return the proxy with which the arm trains its task: the study's, overridden by the arm's own."""
        return arm.proxy.over(self.proxy, self.task_of(arm))

    def tried(self, arm: ArmSpec) -> tuple[Proxy, ...]:
        """Return the arm's proxy with the smallest and with the largest batch size that it tries; one proxy if these
        are equal."""
        proxy, task = self.proxy_of(arm), self.task_of(arm)
        sizes = sorted(numbers(arm.space["batch_size"])) if "batch_size" in arm.space else []
        ends = dict.fromkeys(int(size) for size in (*sizes[:1], *sizes[-1:]))
        return tuple(Proxy(batch_size=size).over(proxy, task) for size in ends) or (proxy,)

    def network_of(self, arm: ArmSpec) -> tuple[str, Mapping[str, Any]]:
        """Return the arm's model and its options: arms for which these are equal have the same initial weights."""
        task = self.proxy_of(arm).of(self.task_of(arm))
        return task.model, task.model_options

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The study's task, followed by the arms' own tasks, all with the same samples and metric."""
        names = dict.fromkeys([self.task, *(arm.task for arm in self.arms if arm.task)])
        return tuple(TASKS[name] for name in names)

    @property
    def trained(self) -> tuple[tuple[Task, Proxy], ...]:
        """The pairs of task and proxy that its arms train, each once."""
        pairs = dict.fromkeys((self.task_of(arm).name, self.proxy_of(arm)) for arm in self.arms)
        return tuple((TASKS[name], proxy) for name, proxy in pairs)

    def searcher_of(self, arm: ArmSpec) -> SearcherSpec:
        """Return the arm's own searcher, or the study's."""
        return arm.searcher or self.searcher

    def is_grid(self, arm: ArmSpec) -> bool:
        """Return whether the arm tries every combination of the values that it lists."""
        return not arm.is_control and SEARCHERS[self.searcher_of(arm).name].exhaustive

    @property
    def task_label(self) -> str:
        """What the study trains, in words: see the function `task_label` in studies.records."""
        return task_label(self.to_json())

    def task_definition(self) -> Task:
        """Return the study's task with the study's proxy applied. An arm's own task has the same metric."""
        return self.proxy.of(TASKS[self.task])


def _is_grid(arm: ArmSpec, info: ValidationInfo) -> bool:
    """Return whether the arm's searcher, or else the study's, tries every combination."""
    default: SearcherSpec = info.data.get("searcher", SearcherSpec())
    return SEARCHERS[(arm.searcher or default).name].exhaustive


def _check_published(by_key: Mapping[str, Published | None], info: ValidationInfo) -> None:
    """Raise _InnerError if a number is out of range for the task's metric, which arms' own tasks share."""
    if (task := TASKS.get(info.data.get("task", ""))) is None:
        return
    found = {key: published for key, published in by_key.items() if published is not None}
    if faults := [
        (f"{key}.{name}", fault) for key, its in found.items() for name, fault in its.faults(task.metric)
    ]:
        raise _InnerError(faults)


def _known(task: str | None) -> str:
    if task not in TASKS:
        raise ValueError(f"unknown task; known are {', '.join(TASKS)}")
    return task


def _trained(info: ValidationInfo) -> list[Task]:
    """Return the tasks that the arms train, each once: the study's if no arm is known, none if that is unknown."""
    if (task := info.data.get("task")) is None:
        return []
    names = dict.fromkeys(arm.task or task for arm in info.data.get("arms", ()))
    return [TASKS[name] for name in names or [task]]


def _method_faults(arm: ArmSpec, task: Task, start: str | None) -> Iterator[str]:
    """Yield the reasons why the arm's method cannot train `task`, which is the arm's."""
    real = task.name in REAL_TASKS
    if real and arm.is_binary:
        others = ", ".join(name for name, method in METHODS.items() if method.optimizer is None)
        yield f"{task.name} has no binary weights: its method must be {others}, got {arm.method!r}"
    elif not (real or arm.is_binary):
        yield f"{arm.method} is only for tasks without binary weights: {', '.join(REAL_TASKS)}, got {task.name!r}"
    elif real and start:
        yield f"{task.name} has no binary weights: it cannot start from the study's {start!r}"


def _samples(task: Task) -> tuple[object, ...]:
    """Return what all arms of a study must share: samples, their preparation, and how outputs are scored."""
    recipe = task.recipe
    prepared = task.dataset, task.image_size, recipe.pixels, recipe.augmentation, recipe.noise
    return *prepared, task.metric, task.direction, task.worst


def _by_key(
    entry: object, known: Sequence[str], check: Callable[[str, Any], None], elsewhere: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a mapping's values by key, after `check`, which raises ValueError, has checked each one alone.

    Keys known only `elsewhere` are the study's. Raises _InnerError with the fault of each key, ValueError if `entry` is
    no mapping.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"must be a mapping; allowed keys are {', '.join(known)}")
    values, faults = {key: whole(value) for key, value in entry.items()}, []
    for key, value in values.items():
        if key not in known:
            why = "can be set only for the whole study" if key in elsewhere else "unknown key"
            faults.append((key, f"{why}; allowed are {', '.join(known)}"))
            continue
        try:
            check(key, value)
        except ValueError as error:
            faults.append((key, str(error)))
    if faults:
        raise _InnerError(faults)
    return values


def _proxy(
    entry: object,
    task: Task | None,
    *,
    known: Sequence[str] = PROXY,
    small: bool = False,
    over: Proxy = WHOLE,
) -> Proxy:
    """Read a proxy and check it, also on `task` if that is known. Raises _InnerError and ValueError.

    `small` allows shares of the samples below LEAST. `over` is the proxy that this one overrides: its `first_step`
    applies unless this one has its own.
    """
    own = whole(entry.get("first_step")) if isinstance(entry, Mapping) else None
    first_step = over.first_step if own is None else own

    def check(key: str, value: Any) -> None:
        if value is None:
            whose = "task" if known is PROXY else "study"
            raise ValueError(f"needs a value; leave the key out to keep the {whose}'s value")
        of_step = {"first_step": first_step} if key.startswith("first_step_") else {}
        proxy = Proxy(**{**of_step, key: value})
        if key in LEAST and value < LEAST[key] and not small:
            raise ValueError(f"{key} must be at least {LEAST[key]:g}, got {value!r}")
        if task is not None:
            proxy.of(task)

    return Proxy(**_by_key(entry, known, check, PROXY))


def _without_latent(info: ValidationInfo) -> list[str]:
    """Return the methods of the study's arms that keep no latent weights."""
    methods = dict.fromkeys(arm.method for arm in info.data.get("arms", ()))
    return [method for method in methods if not METHODS[method].latent]


def split_seed(seed: int, run: int) -> int:
    """Return the seed that splits the data in run number `run` of a study with this seed."""
    return derive(seed, "run", run, "split")


def from_json(data: object, source: str = "study") -> StudySpec:
    """Check a study given as JSON values. Raises SpecError with one line per fault: key, fault, value."""
    if fault := size.fault(data):
        raise SpecError(source, [fault])
    spec = _checked(data, source)
    if fault := size.fault(
        spec.to_json()
    ):  # with its defaults too: what is stored and exported is read again
        raise SpecError(source, [fault])
    return spec


def stored(study: StudyRecord) -> StudySpec:
    """Return the spec of a study that was accepted before. Raises SpecError."""
    return _checked(study.spec, study.id, STORED)


def _checked(data: object, source: str, context: dict[str, bool] | None = None) -> StudySpec:
    if not isinstance(data, Mapping):
        raise SpecError(source, [("", f"a study must be a mapping of keys to values, got {_show(data)}")])
    data, given = dict(data), "arms"
    if ARMS_ALIAS in data:
        if "arms" in data:
            raise SpecError(source, [(ARMS_ALIAS, "is another name for arms: give only one of the two")])
        data["arms"], given = data.pop(ARMS_ALIAS), ARMS_ALIAS
    try:
        return StudySpec.model_validate(data, context=context)
    except ValidationError as error:
        raise SpecError(source, _faults(error, given)) from error


def load(path: Path) -> StudySpec:
    """Read and check a YAML or JSON study file. Raises StudyError naming the file, the key and the value."""
    return from_json(read(path), source=str(path))


def _faults(error: ValidationError, arms: str) -> list[tuple[str, str]]:
    """Return the invalid keys and their faults; `arms` is the key under which the file lists the arms."""
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(arms if part == "arms" else part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        match fault["type"]:
            case "extra_forbidden":
                faults.append((key, f"unknown key; allowed are {', '.join(_allowed(fault['loc']))}"))
            case "missing":
                faults.append((key, "is required"))
            case "value_error" if isinstance(inner := fault["ctx"]["error"], _InnerError):
                faults += [(f"{key}.{name}", message) for name, message in inner.faults]
            case "string_pattern_mismatch":
                allowed = IN_WORDS[fault["ctx"]["pattern"]]
                faults.append((key, f"{allowed}, got {_show(fault['input'])}"))
            case _:
                message = message[0].lower() + message[1:].replace("tuple", "list")
                faults.append((key, f"{message}, got {_show(fault['input'])}"))
    return faults


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed in place of the unknown one at `location`."""
    match location:
        case ("arms", int(), _):
            model: type[BaseModel] = ArmSpec
        case ("searcher", _) | ("arms", int(), "searcher", _):
            model = SearcherSpec
        case ("resources", _):
            model = Resources
        case ("confirm", _):
            model = Confirm
        case ("published", int(), _):
            model = PublishedRow
        case ("arms", int(), "published", _):
            model = Published
        case _:
            model = StudySpec
    return list(model.model_fields)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
