"""Connecting, transactions, and what goes wrong with a database."""

import os
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event, func, make_url, select, text, update
from writers import SERVER, processes, spec, trial

import service.database
from service.database import connect, now, reading, upgrade, writing
from service.errors import DatabaseError
from service.owner import Owner
from service.store import Store
from service.tables import epochs, studies

# URLs


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("tunebench.db", "'tunebench.db' is not a database URL; use sqlite:///PATH or postgresql://"),
        ("", "'' is not a database URL"),
        ("postgresql://me:secret@host:port/name", "is not a database URL"),
        ("mysql://me:secret@host/name", r"mysql://me:\*\*\*@host/name: 'mysql' is not supported; use sqlite"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite://folder/name.db", "names no file .a path from / has four slashes."),
        ("sqlite:///name.db?mode=ro", "names no file"),
        ("sqlite:////nowhere/at/all.db", "the folder /nowhere/at does not exist; create it first"),
        (
            "postgresql://me:secret@127.0.0.1:1/name?sslpassword=secret",
            r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/name\S* cannot be reached; check that the server",
        ),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_keeps_its_secrets(url: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_scheme_of_postgresql_connects(scheme: str) -> None:
    try:
        psycopg.connect(SERVER, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers at TUNEBENCH_TEST_POSTGRES: {error}")
    engine = connect(scheme + "://" + SERVER.partition("://")[2])
    assert engine.driver == "psycopg"
    engine.dispose()
    with pytest.raises(DatabaseError, match=r'cannot be reached.*"no_such_database" does not exist'):
        connect(SERVER.rpartition("/")[0] + "/no_such_database")


def test_connecting_makes_no_file(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'study.db'}")
    with pytest.raises(
        DatabaseError, match=r"there is no database sqlite:///.*study.db yet; run: tunebench db upgrade"
    ):
        Store(engine)
    assert list(tmp_path.iterdir()) == []


# files that are no database, or that cannot be written


def test_a_file_that_is_no_database_is_refused_and_left(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database at all, but long enough to be looked at as if it were one. " * 20)
    before = file.read_bytes()
    with pytest.raises(DatabaseError, match=r"notes.txt is not a SQLite database; choose another file"):
        connect(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be opened; check that it is a file"):
        connect(f"sqlite:///{tmp_path}")


def test_a_damaged_database_says_so(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    Store(engine).create_study(spec(), {})
    engine.dispose()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(DatabaseError, match="is damaged; restore it from a copy"):
        Store(connect(f"sqlite:///{file}")).studies()


def _write_as_nobody(url: str, results: object) -> None:
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        upgrade(connect(url))
        results.put("written")  # type: ignore[attr-defined]
    except DatabaseError as error:
        results.put(str(error))  # type: ignore[attr-defined]


@pytest.mark.parametrize("present", [True, False])
def test_a_database_that_cannot_be_written_says_so(present: bool) -> None:
    # not in tmp_path, which another user may not enter
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'study.db'}"
        if present:
            engine = connect(url)
            upgrade(engine)
            engine.dispose()
            (folder / "study.db").chmod(0o444)
        folder.chmod(0o555)
        results = processes.Queue()
        process = processes.Process(target=_write_as_nobody, args=(url, results))
        process.start()
        message = results.get(timeout=60)
        process.join()
        folder.chmod(0o755)
    assert "cannot be written" in message or "cannot be opened" in message
    assert "permissions" in message


# transactions


def test_a_write_that_fails_is_undone_whole(store: Store, engine: Engine) -> None:
    store.create_study(spec(), {})

    def fail_midway() -> None:
        with writing(engine) as connection:
            connection.execute(update(studies).values(name="other"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert [study.name for study in store.studies()] == ["a-study"]


def test_a_database_locked_for_long_is_reported_and_survived(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = store.create_study(spec(), {}).id
    monkeypatch.setattr(service.database, "LOCK_SECONDS", 0.1)
    impatient = Store(connect(url))
    with writing(store.engine) as connection:
        connection.execute(update(studies).values(fence=5))
        with pytest.raises(
            DatabaseError, match="was locked by another process for too long; repeat the command"
        ):
            impatient.claim(study, Owner.current(), 60)
        assert impatient.study(study).id == study  # readers do not wait
    assert impatient.claim(study, Owner.current(), 60).fence == 6
    impatient.engine.dispose()


def test_writers_wait_for_each_other(url: str, store: Store) -> None:
    """A transaction that reads before it writes is never refused because another wrote between."""
    study = store.create_study(spec(), {}).id
    engine = connect(url)

    def add_fifty() -> None:
        for _ in range(50):
            with writing(engine) as connection:
                fence = connection.scalar(select(studies.c.fence).with_for_update())
                connection.execute(update(studies).values(fence=fence + 1))

    threads = [threading.Thread(target=add_fifty) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.scalar(select(studies.c.fence).where(studies.c.id == study)) == 200
    engine.dispose()


def test_the_time_is_in_utc(engine: Engine) -> None:
    with reading(engine) as connection:
        time = now(connection)
    assert time.utcoffset() == timedelta(0)
    assert abs(time - datetime.now(UTC)) < timedelta(seconds=30)


# failures while in use


def test_a_full_disk_is_reported_and_recovered_from(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'study.db'}")
    upgrade(engine)
    store = Store(engine)
    lease = store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)
    with reading(engine) as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    engine.dispose()

    def fill(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")

    event.listen(engine, "connect", fill)
    message, number = "", 0
    while not message and number < 1000:
        number += 1
        try:
            store.record(lease, trial(lease.study, number=number))
        except DatabaseError as error:
            message = str(error)
    assert "study.db has no disk space left; free some and repeat the command" in message
    assert number > 1
    stored = store.trials(lease.study, with_epochs=True)
    assert stored == [
        trial(lease.study, number=n) for n in range(1, number)
    ]  # and the failed one left nothing
    event.remove(engine, "connect", fill)
    engine.dispose()
    store.record(lease, trial(lease.study, number=number))
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.scalar(select(func.count()).select_from(epochs)) == 3 * number
    engine.dispose()


@pytest.fixture
def ascii_only() -> Iterator[str]:
    """The URL of a PostgreSQL database that was created with another encoding."""
    name = f"test_{uuid.uuid4().hex}"
    try:
        server = psycopg.connect(SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers at TUNEBENCH_TEST_POSTGRES: {error}")
    with server:
        server.execute(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        try:
            yield make_url(SERVER).set(database=name).render_as_string(hide_password=False)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.postgres
def test_a_postgresql_database_of_another_encoding_is_refused(ascii_only: str) -> None:
    with pytest.raises(
        DatabaseError, match=r"has the encoding SQL_ASCII, .* create one with: CREATE DATABASE"
    ):
        upgrade(connect(ascii_only))


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_a_lost_connection_is_reported_and_recovered_from(url: str, store: Store, engine: Engine) -> None:
    lease = store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)

    def cut(connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO epochs"):
            pid = connection.connection.dbapi_connection.info.backend_pid  # type: ignore[attr-defined]
            with psycopg.connect(SERVER, autocommit=True) as server:
                server.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    event.listen(engine, "before_cursor_execute", cut)
    with pytest.raises(DatabaseError, match=r"is shutting down|broke the connection|cannot be reached"):
        store.record(lease, trial(lease.study))
    event.remove(engine, "before_cursor_execute", cut)
    assert store.trials(lease.study) == []
    store.record(lease, trial(lease.study))
    assert store.trials(lease.study, with_epochs=True) == [trial(lease.study)]


def test_a_programming_mistake_is_not_called_a_failure_of_the_database(engine: Engine) -> None:
    with pytest.raises(Exception, match="no_such_table") as caught, reading(engine) as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    assert not isinstance(caught.value, DatabaseError)
