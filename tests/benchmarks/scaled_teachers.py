"""The teachers of studies that are scaled down for two CPU cores: scaled down as well, and kept with the output."""

import subprocess
import sys
from pathlib import Path

from studies.design.spec import StudySpec
from trainers.tasks import TASKS, TEACHERS, Proxy, Task
from trainers.training import teachers

TEACHER_EPOCHS = 20
NOT_LINKED = ("teachers", "checkpoints")  # what the new data folder has of its own


def data_with_teachers(data_dir: Path, out: Path, spec: StudySpec) -> Path:
    """Return a data folder with all of `data_dir` and the teachers that the study's tasks need.

    Teachers that `data_dir` lacks are scaled down as the study is, and trained for TEACHER_EPOCHS unless a folder in
    `out` has them already. `data_dir` itself stays as it is. Raises CalledProcessError.
    """
    needed = _lacking(data_dir, spec)
    if not needed:
        return data_dir
    labels = [
        f"{name}-{'-'.join(f'{k}-{v}' for k, v in proxy.changes.items())}" for name, proxy in needed.items()
    ]
    folder = out.resolve() / "data" / "+".join(labels)
    folder.mkdir(parents=True, exist_ok=True)
    for entry in data_dir.resolve().iterdir():
        link = folder / entry.name
        if entry.name not in NOT_LINKED and not link.exists():
            link.symlink_to(entry)
    for name, proxy in needed.items():
        if not teachers.path(folder, name).exists():
            _train(name, proxy, folder)
    return folder


def _lacking(data_dir: Path, spec: StudySpec) -> dict[str, Proxy]:
    """Return the teachers that are not in `data_dir`, by name, each scaled down as the first arm that needs it."""
    needed: dict[str, Proxy] = {}
    for task, proxy in ((TASKS[spec.task], spec.proxy), *spec.trained):
        name = task.recipe.teacher
        if name and name not in needed and not teachers.path(data_dir, name).exists():
            needed[name] = _scaled(TEACHERS[name], task, proxy)
    return needed


def _scaled(teacher: Task, task: Task, proxy: Proxy) -> Proxy:
    """Return the teacher's proxy: the samples of `proxy`, and the same share of its own width."""
    return Proxy(
        epochs=TEACHER_EPOCHS,
        train_fraction=proxy.train_fraction,
        width=teacher.width * proxy.width // task.width if proxy.width else None,
        image_size=proxy.image_size,
        validation=proxy.validation,
    )


def _train(name: str, proxy: Proxy, folder: Path) -> None:
    options = [f"--{key.replace('_', '-')}={value}" for key, value in proxy.changes.items()]
    kept = ["--save", str(teachers.path(folder, name)), "--checkpoint", f"{folder}/{name}.checkpoint"]
    command = [sys.executable, "-m", "trainers", name, *options, *kept, "--data", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
