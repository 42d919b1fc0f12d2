"""What several commands take."""

from typing import Annotated

import typer

Study = Annotated[str, typer.Argument(help="Study id, its name, or the start of its id.")]
Database = Annotated[
    str | None, typer.Option("--db", help="Database URL; else TUNEBENCH_DATABASE_URL, else ./tunebench.db.")
]
Place = Annotated[str | None, typer.Option("--url", help="A service instead; else TUNEBENCH_URL, if set.")]
Service = Annotated[
    str | None, typer.Option("--url", help="The service; else TUNEBENCH_URL, else http://127.0.0.1:8000.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
