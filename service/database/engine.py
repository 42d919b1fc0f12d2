"""Connecting to the database: engines, transactions, the schema, and every failure as one clear error."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.database.sqlite_file import SqliteFile
from service.database.tables import metadata
from service.errors import DatabaseError, DatabaseUnavailable, SchemaMissing

LOCK_SECONDS = 30  # a writer waits this long for another writer
CONNECT_SECONDS = 10
SQLITE = "sqlite:///"
# One connection for each thread that answers requests, since a waiting writer keeps its own. Half of them stay open
# once made, since making a connection takes longer than most requests.
CONNECTIONS, KEPT = 40, 20
MIGRATIONS = Path(__file__).parent / "migrations"
# not alembic_version: another program's migrations may live in the same PostgreSQL database
VERSION_TABLE = "tunebench_version"
UPGRADE_LOCK = 0x74756E65  # a PostgreSQL advisory lock, "tune" in ASCII

# The fault and what to do, by prefix of SQLite's error name or PostgreSQL's SQLSTATE; the first match counts
FAULTS = {
    "SQLITE_FULL": "has no disk space left; free some and repeat the command",
    "53100": "has no disk space left; free some and repeat the command",
    "SQLITE_BUSY": "was locked by another process for too long; repeat the command once that process has finished",
    "SQLITE_LOCKED": "was locked by another process for too long; repeat the command once that process has finished",
    "55P03": "was locked by another process for too long; repeat the command once that process has finished",
    "SQLITE_READONLY": "cannot be written; check the permissions of the file and of its folder",
    "25006": "cannot be written; it is read-only",
    "42501": "does not give this user the necessary rights; grant them or connect as another user",
    "SQLITE_CANTOPEN": "cannot be opened; check that it is a file, and its folder's permissions",
    "SQLITE_NOTADB": "is not a SQLite database; choose another file",
    "SQLITE_CORRUPT": "is damaged; restore it from a backup",
    "SQLITE_IOERR": "cannot be read or written; check the disk",
    "40": "was changed by another process at the same time; repeat the command",
    "08": "cannot be reached; check the server and any proxy in front of it",  # PgBouncer's own faults have 08P01
    "53": "is out of resources; repeat the command later",
    "57": "is shutting down or starting; repeat the command once it is up",
}
PASSING = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "55P03",
    "53300",
    "57",
    "40",
    "08",
)  # faults that end by themselves
MISSING = re.compile(r'no such table: (\w+)|relation "(\w+)" does not exist')
SEARCH_PATH = re.compile(r"(?:-c\s*|--)search_path=((?:\\.|\S)+)")  # in libpq's options


def connect(url: str) -> Engine:
    """Open the database at `url`: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST:PORT/NAME`.

    A SQLite file that does not exist yet is not created: `upgrade` does that. Threads may share the engine; a forked
    process must not use it. No transaction on PostgreSQL depends on what another has left on the connection, so that
    PgBouncer may stand in between (docs/decisions/0020). Raises DatabaseError if the URL is wrong, or if the database
    cannot be reached, is not a database, or has a newer schema or another program's tables.
    """
    parsed = _parse(url)
    options: dict[str, Any] = {
        "json_serializer": _to_json,
        "json_deserializer": from_json,  # several times as fast as json.loads
        "pool_size": KEPT,
        "max_overflow": CONNECTIONS - KEPT,
    }
    if parsed.drivername == "sqlite":
        file = SqliteFile(Path(str(parsed.database)), LOCK_SECONDS)
        engine = create_engine(parsed, creator=file.open, execution_options={"file": file}, **options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "checkout", lambda *_: file.require_same_file())
        event.listen(engine, "begin", _begin_sqlite)
    else:
        given = {"connect_timeout": CONNECT_SECONDS, "prepare_threshold": None}
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=given, **options)
        event.listen(engine, "connect", _prepare_postgresql, insert=True)  # before SQLAlchemy's queries
    if exists(engine):
        with reading(engine) as connection:
            _revision(connection)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection for queries that only read. Raises DatabaseError for every failure of the database.

    On SQLite the queries are one transaction and see one state. On PostgreSQL there is no transaction: by default each
    query would see a state of its own in one too, and BEGIN and COMMIT would only add two round trips.
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
    """Yield a connection in a transaction that may write: committed at the end, rolled back if anything is raised.

    On SQLite the transaction holds the write lock from its start, since SQLite may refuse a reader that turns into a
    writer without letting it wait. Raises DatabaseError for every failure of the database but a broken constraint.
    """
    with (
        _translated(engine.url),
        engine.connect().execution_options(sqlite_begin="BEGIN IMMEDIATE") as connection,
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(LOCK_SECONDS * 1000)}")
        yield connection
    if (file := _file(engine)) is not None:
        file.require_same_file()  # what was committed to a file that is gone is lost


def now(connection: Connection) -> datetime:
    """Return the time in UTC, by the one clock that all processes sharing the database see."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    clock: datetime = connection.scalars(select(func.clock_timestamp())).one()
    return clock.astimezone(UTC)


def upgrade(engine: Engine) -> None:
    """Bring the schema up to date, creating it if there is none. Several processes may do this at once.

    All or nothing. Raises DatabaseError if the schema is newer or the tables are another program's.
    """
    file = _file(engine)
    if file is not None:
        file.make()
    with reading(engine) as connection:
        _revision(connection)
    if file is not None:
        with _translated(engine.url):
            file.keep_write_ahead_log()
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        if _revision(connection) == _known(MIGRATIONS)[0]:
            return
        from alembic import command  # takes a tenth of a second, needless if the schema is up to date
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["context"] = _context(connection)
        command.upgrade(config, "head")


def require_schema(engine: Engine) -> None:
    """Raise SchemaMissing unless the schema is the one that this code was written for."""
    advice = "run: tunebench db upgrade"
    if not exists(engine):
        raise SchemaMissing(f"there is no database {_shown(engine.url)} yet; {advice}", "does not exist yet")
    with reading(engine) as connection:
        revision = _revision(connection)
    if revision is None:
        fault = "has no tunebench tables yet"
        raise SchemaMissing(f"database {_shown(engine.url)} {fault}; {advice}", fault)
    if revision != (head := _known(MIGRATIONS)[0]):
        fault = f"has the older schema {revision}, not {head}"
        raise SchemaMissing(f"database {_shown(engine.url)} {fault}; {advice}", fault)


def _context(connection: Connection) -> dict[str, Any]:
    return {"connection": connection, "target_metadata": metadata, "version_table": VERSION_TABLE}


def _revision(connection: Connection) -> str | None:
    """Return the schema's revision, None if there is none. Raises DatabaseError if it is newer or not ours."""
    # the tables before the revision: another process may be creating both just now
    tables = sorted(metadata.tables.keys() & set(inspect(connection).get_table_names()))
    revision: str | None = None
    if inspect(connection).has_table(VERSION_TABLE):
        revision = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    if revision is None and tables:
        raise DatabaseError(
            f"database {_shown(connection.engine.url)} has tables of another program ({', '.join(tables)}); "
            "choose another database"
        )
    known = _known(MIGRATIONS)
    if revision is not None and revision not in known:
        raise DatabaseError(
            f"database {_shown(connection.engine.url)} has schema {revision}, made by a newer tunebench "
            f"(this one knows schemas up to {known[0]}); upgrade tunebench or choose another database"
        )
    return revision


@cache
def _known(migrations: Path) -> list[str]:
    """Return the revisions that this code knows, newest first, from the names of their files."""
    return sorted((file.stem[1:] for file in (migrations / "versions").glob("v*.py")), reverse=True)


def _parse(text: str) -> URL:
    allowed = "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME"
    if text.startswith(SQLITE):
        return _sqlite(text.removeprefix(SQLITE), allowed)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        shown = text if "@" not in text else "***@" + text.rpartition("@")[2]
        raise DatabaseError(f"{shown!r} is not a database URL; {allowed}") from error
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise DatabaseError(f"database {_shown(url)}: {url.drivername!r} is not supported; {allowed}")
    raise DatabaseError(
        f"database {_shown(url)} names no file (an absolute path has four slashes); {allowed}"
    )


def _sqlite(path: str, allowed: str) -> URL:
    """Return the URL of the path, taken literally: SQLAlchemy would end the path at a question mark."""
    if path in ("", ":memory:") or "\0" in path:
        raise DatabaseError(f"database {SQLITE}{path!r} names no file; {allowed}")
    file = Path(path).absolute()
    if "?" in file.name:
        raise DatabaseError(
            f"database {SQLITE}{path}: the file's name must not contain '?', because there are no options; {allowed}"
        )
    if not file.parent.is_dir():
        raise DatabaseError(
            f"database {SQLITE}{path}: the folder {file.parent} does not exist; create it first"
        )
    return URL.create("sqlite", database=str(file))


def url_of(engine: Engine) -> str:
    """Return the URL by which `connect` opens the same database in another process, in any working directory."""
    if engine.dialect.name == "sqlite":
        return f"{SQLITE}{engine.url.database}"
    return engine.url.render_as_string(hide_password=False)


def _file(engine: Engine) -> SqliteFile | None:
    """Return the file of a SQLite database, None for PostgreSQL."""
    found: SqliteFile | None = engine.get_execution_options().get("file")
    return found


def _to_json(value: Any) -> str:
    """Return JSON text. A lone surrogate, as from a file name, becomes a question mark: neither database stores it."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False).encode(errors="replace").decode()


def exists(engine: Engine) -> bool:
    """Return whether the database exists, with or without tables; True for PostgreSQL."""
    return (file := _file(engine)) is None or file.exists()


def _shown(url: URL) -> str:
    if url.drivername == "sqlite":
        return f"{SQLITE}{url.database}"
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
    if asked := SEARCH_PATH.search(connection.info.options):
        (there,) = connection.execute("SHOW search_path").fetchone()
        if _names(asked[1]) != _names(there):
            raise DatabaseError(
                f"database {connection.info.dbname}: search_path={asked[1]} in the URL does not reach the server; "
                f"something in front of it drops it; set it with: ALTER ROLE {connection.info.user} SET search_path",
                "does not receive the URL's search_path",
            )
    connection.rollback()


def _names(search_path: str) -> list[str]:
    return [name.strip(' "') for name in search_path.replace("\\", "").split(",")]


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
        kind = DatabaseUnavailable if code.startswith(PASSING) else DatabaseError
        if fault is None and isinstance(error, DBAPIError) and error.connection_invalidated:
            fault, kind = "broke the connection; check the server and repeat the command", DatabaseUnavailable
        if fault is None and not code and type(origin).__name__ in ("OperationalError", "ConnectionTimeout"):
            fault = "cannot be reached; check that the server runs and that the URL is right"
            kind = DatabaseUnavailable
        missing = MISSING.search(str(origin))
        if fault is None and missing and missing[missing.lastindex or 0] in metadata.tables:
            fault = "has lost its tables; restore it from a backup, or run: tunebench db upgrade"
        if fault is None:
            raise
        detail = " ".join(str(origin).split())
        raise kind(f"database {_shown(url)} {fault} ({detail})", fault.partition(";")[0]) from error
    except PoolTimeout as error:
        fault = "has no free connection; repeat the command later"
        raise DatabaseUnavailable(f"database {_shown(url)} {fault}", fault.partition(";")[0]) from error
