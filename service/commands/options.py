"""Arguments and options that several commands share."""

from typing import Annotated

import typer

Study = Annotated[
    str, typer.Argument(help="Study id or name, or the start of the id or of its last 8 digits.")
]
WholeStudy = Annotated[str, typer.Argument(help="Study id or name, in full.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Database = Annotated[
    str | None, typer.Option("--db", help="Database URL; else TUNEBENCH_DATABASE_URL, else ./tunebench.db.")
]
OptionalService = Annotated[
    str | None, typer.Option("--url", help="Use this service; else TUNEBENCH_URL, if set.")
]
Service = Annotated[
    str | None, typer.Option("--url", help="The service; else TUNEBENCH_URL, else http://127.0.0.1:8000.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Runs = Annotated[int | None, typer.Option("--runs", help="Runs per arm, instead of the file's.")]
Trials = Annotated[int | None, typer.Option("--trials", help="Trials per run, instead of the file's.")]
