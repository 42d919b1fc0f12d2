"""The `tunebench` command."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from service.commands import catalog, data, plan, retrain, run, server, show, submit
from service.commands.printing import printing
from service.commands.terminal import plain
from service.errors import ServiceError
from studies.errors import StudyError
from trainers.errors import DataError


class Commands(TyperGroup):
    """The group of all commands, whose messages about wrong options lack pydantic's prefix."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(
                "Value error, "
            )  # added by pydantic, which parses Typer's values
            raise


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(version("tunebench"))
        raise typer.Exit


@app.callback()
def tunebench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What a hyperparameter costs: tuning studies of binary neural networks."""  # noqa: D401  (the help text)


GROUPS = {
    "data": typer.Typer(help="Data sets.", no_args_is_help=True),
    "db": typer.Typer(help="The database.", no_args_is_help=True),
    "token": typer.Typer(help="Who may use the service.", no_args_is_help=True),
}
for name, group in GROUPS.items():
    app.add_typer(group, name=name)

COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "resume": run.resume,
    "list": show.list_studies,
    "show": show.show,
    "export": show.export,
    "plan": plan.plan,
    "serve": server.serve,
    "submit": submit.submit,
    "retrain": retrain.retrain,
    "watch": submit.watch,
    "edit": submit.edit,
    "pause": submit.pause,
    "cancel": submit.cancel,
    "delete": submit.delete,
    "logs": submit.logs,
    "token create": server.create_token,
    "token list": server.list_tokens,
    "token revoke": server.revoke_token,
    "methods": catalog.methods,
    "tasks": catalog.tasks,
    "searchers": catalog.searchers,
    "data list": data.list_data,
    "data fetch": data.fetch,
    "db upgrade": server.upgrade,
}
for name, command in COMMANDS.items():
    of, _, own = name.rpartition(" ")
    (GROUPS[of] if of else app).command(own)(command)


def main() -> None:
    """Run the command. Report an error that the user can fix as one message and exit with code 2."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns if it cannot write its cache
    try:
        with printing():
            app()
    except (StudyError, ServiceError, DataError) as error:
        with suppress(OSError):  # stderr may be closed
            for line in plain(error).splitlines():
                print(f"error: {line}", file=sys.stderr, flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
