"""Commands for the service, its database and its tokens."""

from typing import Annotated, Literal

import typer

from service.commands.backends import local_database
from service.commands.options import AsJson, Database, Yes
from service.commands.terminal import confirm_or_exit, notes, print_rows, say

TokenName = Annotated[str, typer.Argument(help="The token's holder, shown as the actor in events.")]


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but loopback needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")] = 8000,
    db: Database = None,
) -> None:
    """Serve studies over HTTP: bring the database up to date, start or join Ray, run what is queued."""
    from service.serve import serve

    here = local_database(db)
    serve(here.settings, host, port, here.option)


def upgrade(db: Database = None) -> None:
    """Create the database's tables or bring them up to date."""
    from service.database import engine

    engine.upgrade(engine.connect(local_database(db).database_url))
    say("The database is up to date.")


def create_token(
    name: TokenName,
    scope: Annotated[
        Literal["read", "submit", "admin"],
        typer.Option(help="submit: also edit, pause, resume and cancel; admin: also delete."),
    ] = "submit",
    expires: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, metavar="DAYS", help="Days until the token expires; else never."),
    ] = None,
    db: Database = None,
) -> None:
    """Create a token and print it; it is stored nowhere else. Once there is one, the service requires a token."""
    from service.database.tokens import Scope, create

    say(create(local_database(db).store.engine, name, Scope(scope), expires))
    say(f"This token has scope {scope}. Set TUNEBENCH_TOKEN to it, or paste it into the login page.", notes)


def list_tokens(db: Database = None, as_json: AsJson = False) -> None:
    """List the names of the tokens, with scope and dates, not the tokens themselves."""
    from service.database.tokens import created

    rows = [
        {
            "token": token.name,
            "scope": token.scope,
            "created": token.created_at.isoformat(timespec="seconds"),
            "expires": token.expires_at and token.expires_at.isoformat(timespec="seconds"),
            "revoked": token.revoked_at and token.revoked_at.isoformat(timespec="seconds"),
        }
        for token in created(local_database(db).store.engine)
    ]
    print_rows(rows, as_json, empty="no tokens yet; everybody on this machine may do everything")


def revoke_token(name: TokenName, db: Database = None, yes: Yes = False) -> None:
    """Revoke a token for good."""
    from service.database.tokens import named, revoke

    engine = local_database(db).store.engine
    token = named(engine, name)
    if token.revoked_at is None:
        since = f"{token.created_at:%Y-%m-%d}"
        confirm_or_exit(
            f"The token {name} ({token.scope}, created on {since}) will be revoked for good.", yes
        )
        revoke(engine, name)
    say(f"{name} is revoked.")
