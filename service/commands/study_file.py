"""A study file with the command line's changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def changed(file: Path, runs: int | None, trials: int | None) -> Any:
    """Return the file's content, with `runs` and `trials` replaced if they are given."""
    from studies.design.notation import read

    study = read(file)
    changes = {key: value for key, value in (("runs", runs), ("trials", trials)) if value is not None}
    return {**study, **changes} if isinstance(study, Mapping) else study
