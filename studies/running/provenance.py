"""What a study ran on: code, versions, hardware, protocol."""

import hashlib
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from studies.design.spec import PROTOCOL, StudySpec
from trainers.data import DATASETS
from trainers.files import checksum
from trainers.training import teachers
from trainers.training.start import start_file

PACKAGES = (
    "tunebench",
    "torch",
    "ray",
    "ax-platform",
    "botorch",
    "gpytorch",
    "linear-operator",
    "pillow",
    "numpy",
    "scipy",
    "sqlalchemy",
    "nvidia-dali-cuda120",
)
CODE = ("service", "studies", "trainers", "pyproject.toml", "constraints.txt")
LARGEST_DIFF = 64 * 2**10  # bytes that are kept of changes to the code


def provenance(spec: StudySpec, data_dir: Path) -> dict[str, Any]:
    """Return JSON values for the stored study, including its data, its teacher and what it starts from in `data_dir`.

    Unknown values are None, never left out. Only `start` and `teachers`, the teachers of arms' own tasks by task, are
    left out if there are none.
    """
    task = spec.task_definition()
    teacher = teachers.file_of(task, data_dir)
    others = {
        each.name: _file(file)
        for each in spec.tasks[1:]
        if (file := teachers.file_of(each, data_dir)) is not None
    }
    return {
        "protocol": PROTOCOL,
        **code(Path(__file__).resolve().parents[2]),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "hardware": {
            "host": platform.node(),
            "system": platform.platform(),
            "cpu": _cpu_model(),
            **_arithmetic(),
            **_gpu(spec),
            "cores": os.cpu_count(),
            "memory_bytes": _memory_bytes(),
        },
        "data": {"set": task.dataset, **DATASETS[task.dataset].origin(data_dir)},
        "teacher": teacher and _file(teacher),
        **({"teachers": others} if others else {}),
        **({"start": _file(start_file(data_dir, spec.start))} if spec.start else {}),
    }


def _file(file: Path) -> dict[str, str | None]:
    return {"file": file.name, "sha256": checksum(file)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def code(top: Path) -> dict[str, Any]:
    """Return the commit of the checkout at `top`, `+changes` if its code differs from it, and that difference. The
    commit is None for an installed package, which has no checkout."""
    try:
        if Path(_git(top, "rev-parse", "--show-toplevel").decode().strip()) != top:
            return {"commit": None}
        commit, diff = _git(top, "rev-parse", "HEAD").decode().strip(), _diff(top)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None}
    if not diff:
        return {"commit": commit}
    text = diff.decode(errors="replace") if len(diff) <= LARGEST_DIFF else None
    changes = {"diff": text, "bytes": len(diff), "sha256": hashlib.sha256(diff).hexdigest()}
    return {"commit": f"{commit}+changes", "changes": changes}


def _diff(top: Path) -> bytes:
    """Return what git would apply to the commit to get the code that runs, including new files."""
    new = _git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", *CODE).decode().split("\0")
    parts = [_git(top, "diff", "--binary", "--no-ext-diff", "HEAD", "--", *CODE)]
    parts += [
        _git(top, "diff", "--binary", "--no-index", "--", "/dev/null", name, ok=1) for name in new if name
    ]
    return b"".join(parts)


def _git(folder: Path, *arguments: str, ok: int = 0) -> bytes:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in (0, ok):
        done.check_returncode()
    return done.stdout


def _arithmetic() -> dict[str, str]:
    """Return what decides how sums are rounded: torch's instructions and the library of its matrix products."""
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "blas": blas[1] if blas else "unknown",
    }


def _gpu(spec: StudySpec) -> dict[str, str]:
    """Return the kind of GPU here, if the study trains on one."""
    if not spec.resources.gpus:
        return {}
    return {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}


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
