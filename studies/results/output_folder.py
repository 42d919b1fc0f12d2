"""The folder that an export is written into: one study's export and nothing else."""

import json
from pathlib import Path

from studies.errors import StudyError

OWNER = "provenance.json"  # says whose export it is; written first, so that an interrupted export says so too


def check_folder(folder: Path, study: str) -> None:
    """Raise StudyError if an export of the study would be mixed with other files or replace them."""
    try:
        found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise StudyError(f"--out: {folder} is a file; name a folder") from None
    except OSError as error:
        raise StudyError(f"--out: {folder} cannot be read: {error.strerror}") from error
    if not found:
        return
    if OWNER not in found:
        raise StudyError(
            f"--out: {folder} has other files in it ({found[0]}); name a folder that is new or empty"
        )
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))["study"]
    except (OSError, ValueError, KeyError, TypeError):
        owner = "something else"
    if owner != study:
        raise StudyError(f"--out: {folder} has the export of {owner} in it; name another folder")
