"""What a study ran on: code, versions, hardware, protocol."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from studies.spec import PROTOCOL, StudySpec
from trainers import teachers
from trainers.data import DATASETS
from trainers.files import checksum
from trainers.start import start_file

PACKAGES = (
    "tunebench",
    "torch",
    "ray",
    "ax-platform",
    "botorch",
    "gpytorch",
    "numpy",
    "scipy",
    "sqlalchemy",
    "nvidia-dali-cuda120",
)


def provenance(spec: StudySpec, data_dir: Path) -> dict[str, Any]:
    """JSON values for the stored study, with its data, its teacher and what it starts from in `data_dir`; unknown
    ones are None, never left out, but `start` where there is none."""
    task = spec.task_definition()
    teacher = teachers.file_of(task, data_dir)
    return {
        "protocol": PROTOCOL,
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "hardware": {
            "host": platform.node(),
            "system": platform.platform(),
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "memory_bytes": _memory_bytes(),
        },
        "data": {"set": task.dataset, **DATASETS[task.dataset].origin(data_dir)},
        "teacher": teacher and _file(teacher),
        **({"start": _file(start_file(data_dir, spec.start))} if spec.start else {}),
    }


def _file(file: Path) -> dict[str, str | None]:
    return {"file": file.name, "sha256": checksum(file)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, `+changes` where files differ from it; None for an installed package."""
    here = Path(__file__).resolve().parent
    try:
        top = _git(here, "rev-parse", "--show-toplevel")
        if Path(top) != here.parent:
            return None
        return _git(here, "rev-parse", "HEAD") + (
            "+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
