"""Connecting to the database: engines, transactions, the schema, and every failure as one clear error."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import DatabaseAway, DatabaseError
from service.tables import metadata

LOCK_SECONDS = 30  # a writer waits this long for another one
CONNECT_SECONDS = 10
# One for each thread that answers requests, as writers may wait long and keep theirs. Half of them stay open once made:
# making one takes longer than most requests.
CONNECTIONS, KEPT = 40, 20
MIGRATIONS = Path(__file__).parent / "migrations"
# not alembic_version: another program's migrations may live in the same PostgreSQL database
VERSION_TABLE = "tunebench_version"
UPGRADE_LOCK = 0x74756E65  # a PostgreSQL advisory lock, "tune" in ASCII

# SQLite's error names and PostgreSQL's SQLSTATEs by prefix, the first that fits: the fault and what to do
FAULTS = {
    "SQLITE_FULL": "has no disk space left; free some and repeat the command",
    "53100": "has no disk space left; free some and repeat the command",
    "SQLITE_BUSY": "was locked by another process for too long; repeat the command once that has finished",
    "SQLITE_LOCKED": "was locked by another process for too long; repeat the command once that has finished",
    "55P03": "was locked by another process for too long; repeat the command once that has finished",
    "SQLITE_READONLY": "cannot be written; check the permissions of the file and of its folder",
    "25006": "cannot be written; it accepts only reads",
    "42501": "cannot be written by this user; grant the rights or connect as another",
    "SQLITE_CANTOPEN": "cannot be opened; check that it is a file and its folder's permissions",
    "SQLITE_NOTADB": "is not a SQLite database; choose another file",
    "SQLITE_CORRUPT": "is damaged; restore it from a copy",
    "SQLITE_IOERR": "cannot be read or written; check the disk",
    "53": "is out of resources; repeat the command later",
    "57": "is shutting down or starting; repeat the command once it is up",
}
PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03", "53300", "57")  # faults that end by themselves


def connect(url: str) -> Engine:
    """Open the database at `url`: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`.

    A SQLite file that does not exist yet is not created: `upgrade` does that. The engine may be shared by
    threads, not carried over a fork. Raises DatabaseError where the URL is wrong, the database cannot be
    reached, is not one, has a newer schema or another program's tables.
    """
    parsed = _parse(url)
    options: dict[str, Any] = {
        "json_serializer": partial(json.dumps, allow_nan=False, ensure_ascii=False),
        "json_deserializer": from_json,  # several times as fast as json.loads
        "pool_size": KEPT,
        "max_overflow": CONNECTIONS - KEPT,
    }
    if parsed.drivername == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": LOCK_SECONDS}, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        waiting = {"connect_timeout": CONNECT_SECONDS}
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=waiting, **options)
        event.listen(engine, "connect", _prepare_postgresql, insert=True)  # before SQLAlchemy asks anything
    if _exists(engine):
        with reading(engine) as connection:
            _revision(connection)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """For queries that only read. Raises DatabaseError for every failure of the database.

    A transaction on SQLite, where all of it sees one state. PostgreSQL, as it is set by default, gives each query in
    a transaction a state of its own: there BEGIN and COMMIT would only be two round trips more.
    """
    options: dict[str, Any] = {} if engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    with (
        _translated(engine.url),
        engine.connect().execution_options(**options) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write: committed at the end, rolled back whole when anything is raised.

    On SQLite it holds the write lock from its start, since a reader that turns into a writer can be refused
    without being let wait. Raises DatabaseError for every failure of the database but a broken constraint.
    """
    with (
        _translated(engine.url),
        engine.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE") as connection,
        connection.begin(),
    ):
        yield connection


def now(connection: Connection) -> datetime:
    """The time in UTC by the one clock that all who share the database see."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    clock: datetime = connection.scalars(select(func.clock_timestamp())).one()
    return clock.astimezone(UTC)


def upgrade(engine: Engine) -> None:
    """Bring the schema up to date, creating it where there is none; several processes may at once.

    All or nothing. Raises DatabaseError where the schema is newer or the tables are another program's.
    """
    with reading(engine) as connection:
        _revision(connection)
    if engine.dialect.name == "sqlite":
        with _translated(engine.url):
            _keep_write_ahead_log(engine)
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        _revision(connection)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["context"] = _context(connection)
        command.upgrade(config, "head")


def require_schema(engine: Engine) -> None:
    """Raise DatabaseError unless the schema is the one that this code was written for."""
    advice = "run: tunebench db upgrade"
    if not _exists(engine):
        raise DatabaseError(f"there is no database {_shown(engine.url)} yet; {advice}", "is not there yet")
    with reading(engine) as connection:
        revision = _revision(connection)
    if revision is None:
        fault = "has no tunebench tables yet"
        raise DatabaseError(f"database {_shown(engine.url)} {fault}; {advice}", fault)
    if revision != (head := ScriptDirectory(str(MIGRATIONS)).get_current_head()):
        fault = f"has the older schema {revision}, not {head}"
        raise DatabaseError(f"database {_shown(engine.url)} {fault}; {advice}", fault)


def _context(connection: Connection) -> dict[str, Any]:
    return {"connection": connection, "target_metadata": metadata, "version_table": VERSION_TABLE}


def _revision(connection: Connection) -> str | None:
    """The schema's revision, None where there is none. Raises DatabaseError where it is newer or not ours."""
    # looked at first: another process may be making them, with the revision, just now
    tables = sorted(metadata.tables.keys() & set(inspect(connection).get_table_names()))
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    revision = context.get_current_revision()
    if revision is None and tables:
        raise DatabaseError(
            f"database {_shown(connection.engine.url)} has tables of another program ({', '.join(tables)}); "
            "choose another database"
        )
    known = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    if revision is not None and revision not in known:
        raise DatabaseError(
            f"database {_shown(connection.engine.url)} has schema {revision}, made by a newer tunebench "
            f"(this one knows schemas up to {known[0]}); upgrade tunebench or choose another database"
        )
    return revision


def _parse(text: str) -> URL:
    allowed = "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        shown = text if "@" not in text else "***@" + text.rpartition("@")[2]
        raise DatabaseError(f"{shown!r} is not a database URL; {allowed}") from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise DatabaseError(f"database {_shown(url)}: {url.drivername!r} is not supported; {allowed}")
    if url.host or url.query or not url.database or url.database == ":memory:":
        raise DatabaseError(
            f"database {_shown(url)} names no file (a path from / has four slashes); {allowed}"
        )
    if not (folder := Path(url.database).parent).is_dir():
        raise DatabaseError(f"database {_shown(url)}: the folder {folder} does not exist; create it first")
    return url


def _exists(engine: Engine) -> bool:
    return engine.dialect.name != "sqlite" or Path(str(engine.url.database)).exists()


def _shown(url: URL) -> str:
    query = {key: "***" if "password" in key else value for key, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions late; _begin_sqlite does it
    connection.execute("PRAGMA foreign_keys = ON")
    # With the write-ahead log a crash of the machine may undo the last commits but breaks nothing, and a
    # resumed study trains the same trials again.
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _prepare_postgresql(connection: Any, _record: object) -> None:
    if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
        raise DatabaseError(
            f"database {connection.info.dbname} has the encoding {encoding}, which cannot hold all text; "
            "create one with: CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE template0",
            f"has the encoding {encoding}",
        )
    connection.execute(f"SET lock_timeout = {round(LOCK_SECONDS * 1000)}")
    connection.commit()


def _keep_write_ahead_log(engine: Engine) -> None:
    """Let readers and a writer work at once from now on; kept in the file. Not possible in a transaction."""
    connection = engine.raw_connection()
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself here when two processes make the change at once
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
    finally:
        connection.close()


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, sqlite3.Error) as error:
        origin = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(origin, "sqlite_errorname", None) or getattr(origin, "sqlstate", None) or ""
        fault = next((text for prefix, text in FAULTS.items() if code.startswith(prefix)), None)
        kind = DatabaseAway if code.startswith(PASSING) else DatabaseError
        if fault is None and isinstance(error, DBAPIError) and error.connection_invalidated:
            fault, kind = "broke the connection; check the server and repeat the command", DatabaseAway
        if fault is None and not code and type(origin).__name__ in ("OperationalError", "ConnectionTimeout"):
            fault = "cannot be reached; check that the server runs and that the URL is right"
            kind = DatabaseAway
        if fault is None:
            raise
        detail = " ".join(str(origin).split())
        raise kind(f"database {_shown(url)} {fault} ({detail})", fault.partition(";")[0]) from error
    except PoolTimeout as error:
        fault = "has no connection left for this; repeat the command later"
        raise DatabaseAway(f"database {_shown(url)} {fault}", fault.partition(";")[0]) from error
