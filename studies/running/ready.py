"""Faults that keep a study from running: in a data folder, in what is installed here, in the machines."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studies.design.methods import METHODS
from studies.design.spec import StudySpec
from studies.imports import without_garbage_collection
from studies.running import capacity
from trainers.data import DATASETS
from trainers.errors import CheckpointError, DataError, UnusableError
from trainers.feeding import decoders, sample_counts
from trainers.tasks import TASKS, Proxy
from trainers.training import teachers
from trainers.training.start import check_start, missing, start_file
from trainers.training_spec import TrainingSpec

Fault = tuple[str, str]  # a key of the study file and what is wrong with it, as in SpecError


def faults(
    spec: StudySpec,
    data_dir: Path | None,
    machines: Sequence[Mapping[str, float]] | None,
    *,
    deep: bool = True,
    elsewhere: bool = False,
) -> list[Fault]:
    """Return everything that keeps the study from running; empty if it can run.

    `machines` are the resources of each machine that trials may run on, by Ray's names; None if they are not known yet.
    `data_dir` is None if another machine has it. Unless `deep`, torch is not imported and no file is read: only missing
    files are found. With `elsewhere`, trials may run on machines with data, a teacher or a decoder that this one lacks,
    so lacking them is no fault; the network to start from must be here, because its checksum is kept.
    """
    found: list[Fault] = []
    if data_dir is not None:
        found += _missing(spec, data_dir, elsewhere)
        if deep and DATASETS[TASKS[spec.task].dataset].path(data_dir).exists():
            found += _unusable(spec, data_dir)
    if machines is not None and (lack := capacity.fault(spec, machines)):
        found.append(lack)
    return found


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Fault]:
    """Return how the files here now differ from those that a study's trials have used, by the provenance of each."""
    found = []
    for key, field, did in (
        ("teacher", "task", "learned from another teacher"),
        ("teachers", "task", "learned from another teacher"),
        ("start", "start", "started from another network"),
    ):
        if before.get(key) != now.get(key):
            put_back = (
                f"put the earlier one back ({_named(before.get(key))}), or run the study under another name"
            )
            found.append((field, f"its trials {did} than the one here now; {put_back}"))
    first, second = before.get("data", {}).get("sha256"), now["data"]["sha256"]
    if first and second and first != second:
        put_back = (
            f"put the earlier data back ({now['data']['set']}, sha256 {first}), "
            "or run the study under another name"
        )
        found.append(("task", f"its trials were trained on other data than the data here now; {put_back}"))
    return found


def _named(found: Mapping[str, Any] | None) -> str:
    """Describe a file of a provenance, or several by the tasks that use them: `first.pt, sha256 7692c3ad...`."""
    if not found:
        return "none"
    if "file" in found:
        return f"{found['file']}, sha256 {found['sha256']}"
    return "; ".join(f"for {task}: {_named(file)}" for task, file in found.items())


def _missing(spec: StudySpec, data_dir: Path, elsewhere: bool) -> list[Fault]:
    dataset, found = spec.task_definition().dataset, list[Fault]()
    if not elsewhere:
        data = DATASETS[dataset].path(data_dir)
        if not data.exists():
            found.append(("task", f"{data}: missing; run: tunebench data fetch {dataset}"))
        for task in spec.tasks:
            with _noted(found, "task", DataError):
                teachers.check_file(task, data_dir)
    if spec.start and not (start := start_file(data_dir, spec.start)).exists():
        widths = sorted({proxy.of(task).width for task, proxy in spec.trained})
        several = f"the arms' networks have widths {', '.join(map(str, widths))}: no start fits them all"
        found.append(("start", several if len(widths) > 1 else missing(start, *spec.trained[0])))
    if not elsewhere:
        with _noted(found, "resources.decoder", UnusableError):
            decoders.version(spec.resources.decoder)
    return found


def _unusable(spec: StudySpec, data_dir: Path) -> list[Fault]:
    """Return what is wrong with the files that are here. Reads the data set, for seconds, and what goes with it."""
    with without_garbage_collection():
        import torch  # noqa: F401  all of it is read with torch

    data, found = DATASETS[TASKS[spec.task].dataset], list[Fault]()
    with _noted(found, "task", DataError):
        data.check_data(data_dir)
    for i, arm in () if found else enumerate(spec.arms):
        task, proxy, field = spec.task_of(arm), spec.tried(arm)[-1], _batches(spec, i)
        if proxy.train_fraction or proxy.batch_size or data.any_number:
            with (
                _noted(found, field or "proxy.train_fraction", ValueError),
                _noted(found, field or "task", UnusableError),
            ):
                sample_counts.check_enough(proxy.of(task), proxy.train_fraction or 1, data_dir)
    if found:  # the rest is compared with the data
        return list(dict.fromkeys(found))
    if spec.record.steps:
        found += _not_recorded(spec, data_dir)
    start = start_file(data_dir, spec.start) if spec.start else None
    for task, proxy in spec.trained:  # every network that arms have must fit
        with _noted(found, "task", DataError, ValueError):
            teachers.check_weights(task, proxy, data_dir)
        if start and start.exists():
            with _noted(found, "task", DataError, ValueError), _noted(found, "start", CheckpointError):
                check_start(start, task, proxy, data_dir)
    return list(dict.fromkeys(found))


def _not_recorded(spec: StudySpec, data_dir: Path) -> Iterator[Fault]:
    """Yield a fault for each arm that would record too much in its smallest batches, which take the most steps."""
    from trainers.training.recorder import check_room

    seen = set[tuple[str, Proxy]]()
    for i, arm in enumerate(spec.arms):
        task, proxy, field = spec.task_of(arm), spec.tried(arm)[0], _batches(spec, i)
        if (task.name, proxy) in seen:
            continue
        seen.add((task.name, proxy))
        training = TrainingSpec(
            task=task, proxy=proxy, method=METHODS[arm.method].optimizer, record=spec.record
        )
        try:
            check_room(training, data_dir)
        except UnusableError as error:
            size = training.scaled.recipe.batch_size
            yield (field, f"with batches of {size}, {error}") if field else ("record.every", str(error))
        except (DataError, ValueError) as error:
            yield "task", str(error)


def _batches(spec: StudySpec, i: int) -> str | None:
    """Return the key of the arm's batch sizes; None if it has none."""
    return f"arms.{i}.space.batch_size" if "batch_size" in spec.arms[i].space else None


@contextmanager
def _noted(found: list[Fault], field: str, *errors: type[Exception]) -> Iterator[None]:
    """Note errors of these kinds as faults of `field`."""
    try:
        yield
    except errors as error:
        found.append((field, str(error)))
