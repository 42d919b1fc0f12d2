"""Data sets."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from service.commands.options import AsJson, Yes
from service.commands.terminal import confirm_or_exit, notes, print_rows, say
from service.settings import Settings
from studies.errors import StudyError


def list_data(as_json: AsJson = False) -> None:
    """List the data sets and whether they are here."""
    from trainers.data import DATASETS
    from trainers.tasks import TASKS

    folder = Settings.from_environment().data_dir
    rows = [
        {
            "data": name,
            "here": data.path(folder).exists(),
            "path": str(data.path(folder)),
            "summary": data.summary,
            "tasks": [task.name for task in TASKS.values() if task.dataset == name],
        }
        for name, data in DATASETS.items()
    ]
    print_rows(rows, as_json)


def fetch(
    name: Annotated[str, typer.Argument(help="A data set from `tunebench data list`.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Take the data from this file or folder instead of the network."),
    ] = None,
    yes: Yes = False,
) -> None:
    """Fetch a data set and check all of it."""
    from trainers.data import DATASETS

    if name not in DATASETS:
        raise StudyError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    folder = Settings.from_environment().data_dir
    file = DATASETS[name].path(folder)
    if source is not None and source.exists() and file.exists():
        confirm_or_exit(
            f"{name} is already at {file}, which will be replaced. Studies cannot continue with other data.",
            yes,
        )
    if source is not None or not file.exists():
        say(f"Fetching {name}", notes)
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always", UserWarning)
        file = DATASETS[name].fetch(folder, source)
    for doubt in doubts:
        say(doubt.message, notes)
    say(f"{name} is checked and ready: {file}")
