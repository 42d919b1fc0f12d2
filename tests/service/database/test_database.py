"""Connections, transactions, and faults of a database."""

import os
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event, func, make_url, select, text, update
from writers import SERVER, processes, spec, trial

import service.database.engine
from service.database.engine import connect, now, reading, require_schema, upgrade, url_of, writing
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import epochs, studies
from service.errors import DatabaseError

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
        ("sqlite://folder/name.db", "names no file .an absolute path has four slashes."),
        ("sqlite:///", "names no file"),
        ("sqlite:///name.db?mode=ro", r"the file's name must not contain '\?', because there are no options"),
        ("sqlite:///na\0me.db", "names no file"),
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


@pytest.mark.parametrize("name", ["a ?b", "a#b%20c", "file:x", "é\u2028", "\udcff", "'a\";b&c=d"])
def test_a_path_is_the_path_whatever_is_in_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    engine = connect(f"sqlite:///{name}/t.db")
    upgrade(engine)
    Store(engine).create_study(spec(), {})
    monkeypatch.chdir("/")  # a study's driver is started elsewhere
    assert url_of(engine) == f"sqlite:///{tmp_path}/{name}/t.db"
    assert len(Store(connect(url_of(engine))).studies()) == 1
    engine.dispose()
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.db")] == [f"{name}/t.db"]


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
    with pytest.raises(DatabaseError, match="is damaged; restore it from a backup"):
        Store(connect(f"sqlite:///{file}")).studies()


def _write_as_nobody(url: str, results: object) -> None:
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        engine = connect(url)
        upgrade(engine)  # nothing to do if the tables exist
        Store(engine).create_study(spec(), {})
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
    assert ("cannot be written" if present else "cannot be created") in message
    assert "permissions" in message


def _read_as_nobody(url: str, results: object) -> None:
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        (study,) = Store(connect(url)).studies()
        results.put(study.id)  # type: ignore[attr-defined]
    except DatabaseError as error:
        results.put(str(error))  # type: ignore[attr-defined]


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o555), (0o444, 0o777), (0o666, 0o555)])
@pytest.mark.parametrize("in_use", [True, False])
def test_a_database_that_may_only_be_read_can_be_read(file_mode: int, folder_mode: int, in_use: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = connect(f"sqlite:///{folder / 'study.db'}")
        upgrade(engine)
        study = Store(engine).create_study(spec(), {}).id
        if not in_use:
            engine.dispose()
        for file in folder.iterdir():
            file.chmod(file_mode)
        folder.chmod(folder_mode)
        before = {file.name for file in folder.iterdir()}
        results = processes.Queue()
        process = processes.Process(
            target=_read_as_nobody, args=(f"sqlite:///{folder / 'study.db'}", results)
        )
        process.start()
        assert results.get(timeout=60) == study
        process.join()
        assert {file.name for file in folder.iterdir()} == before
        folder.chmod(0o755)
        engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_a_postgresql_role_that_may_only_read_can_read(url: str, store: Store) -> None:
    store.create_study(spec(), {})
    role = f"reader_{uuid.uuid4().hex}"
    schema = str(make_url(url).query["options"]).partition("=")[2]
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"CREATE ROLE {role} LOGIN")
        try:
            server.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
            server.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
            engine = connect(make_url(url).set(username=role).render_as_string(hide_password=False))
            reader = Store(engine)
            assert len(reader.studies()) == 1
            with pytest.raises(
                DatabaseError, match="does not give this user the necessary rights; grant them"
            ):
                reader.create_study(spec("other"), {})
            engine.dispose()
        finally:
            server.execute(f"DROP OWNED BY {role}")
            server.execute(f"DROP ROLE {role}")


# files that go away while they are open


def _deleted(file: Path) -> None:
    file.unlink()


def _moved(file: Path) -> None:
    file.rename(file.with_suffix(".moved"))


def _restored(file: Path) -> None:
    copy = file.with_suffix(".copy")
    copy.write_bytes(file.read_bytes())
    copy.replace(file)


def _folder_moved(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


def _folder_replaced(file: Path) -> None:
    _folder_moved(file)
    file.parent.mkdir()


def _emptied(file: Path) -> None:
    sqlite3.connect(file).execute("PRAGMA wal_checkpoint(TRUNCATE)").close()  # else the log still has all
    os.truncate(file, 0)


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (_deleted, "was deleted or moved while it was in use"),
        (_moved, "was deleted or moved while it was in use"),
        (_restored, "was replaced by another file while it was in use"),
        (_folder_moved, "was deleted or moved while it was in use"),
        (_folder_replaced, "was deleted or moved while it was in use"),
        (_emptied, "is damaged|is not a SQLite database|has lost its tables"),
    ],
)
def test_a_file_that_is_lost_while_in_use_is_missed(
    tmp_path: Path, lose: Callable[[Path], None], said: str
) -> None:
    file = tmp_path / "folder" / "study.db"
    file.parent.mkdir()
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    store = Store(engine)
    lease = store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)
    lose(file)
    for use in (
        store.studies,
        lambda: store.create_study(spec("lost"), {}),
        lambda: store.record(lease, trial(lease.study)),
        lambda: require_schema(engine),  # what /readyz asks
        lambda: upgrade(engine),
    ):
        with pytest.raises(DatabaseError, match=said):
            use()
    engine.pool.dispose()  # new connections do not get another file either
    with pytest.raises(DatabaseError, match=said):
        store.studies()
    if lose is not _emptied:
        assert file.exists() == (lose is _restored)  # nothing was made in its place
    engine.dispose()


def test_a_file_that_is_put_back_is_as_before(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    store = Store(engine)
    _moved(file)
    with pytest.raises(DatabaseError, match="was deleted or moved"):
        store.create_study(spec(), {})
    file.with_suffix(".moved").rename(file)
    study = store.create_study(spec(), {}).id
    engine.dispose()
    assert [one.id for one in Store(connect(f"sqlite:///{file}")).studies()] == [study]


def test_what_is_committed_to_a_file_that_is_gone_is_not_called_done(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    event.listen(engine, "commit", lambda _: file.unlink(missing_ok=True))
    with pytest.raises(DatabaseError, match="was deleted or moved"):
        Store(engine).create_study(spec(), {})
    engine.dispose()


@pytest.mark.postgres
def test_a_schema_that_is_dropped_while_in_use_is_missed(postgresql: str) -> None:
    engine = connect(postgresql)
    upgrade(engine)
    store = Store(engine)
    with psycopg.connect(SERVER, autocommit=True) as server:
        schema = str(make_url(postgresql).query["options"]).partition("=")[2]
        server.execute("SET client_min_messages = warning")
        server.execute(f"DROP SCHEMA {schema} CASCADE")
        server.execute(f"CREATE SCHEMA {schema}")
    with pytest.raises(DatabaseError, match="has lost its tables; restore it from a backup"):
        store.studies()
    engine.dispose()


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
    monkeypatch.setattr(service.database.engine, "LOCK_SECONDS", 0.1)
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
    """A transaction that reads before it writes is never refused because another one wrote in between."""
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
