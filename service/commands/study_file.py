"""A study file with what the command line changes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def changed(file: Path, runs: int | None, trials: int | None) -> Any:
    """What the file holds, with these runs and trials where they are given."""
    from studies.design.notation import read

    study = read(file)
    changes = {key: value for key, value in (("runs", runs), ("trials", trials)) if value is not None}
    return {**study, **changes} if isinstance(study, Mapping) else study
