"""Both databases, one of its own for each test; a study to compare others with."""

import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from apart import processors, without_dashboard
from fastapi import FastAPI
from filelock import FileLock
from killable import PLANNED, SPEC, Study
from served import Served
from serving import client_of, serving
from sqlalchemy import Engine
from starlette.testclient import TestClient
from writers import SERVER, spec

from service.cli import main
from service.database.engine import VERSION_TABLE, connect, reading, upgrade, writing
from service.database.lease import Lease
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import metadata
from service.records import COMPLETED
from studies.design.spec import from_json


@contextmanager
def new_schema() -> Iterator[str]:
    """Yield the URL of a new PostgreSQL schema."""
    try:
        server = psycopg.connect(SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL answers at TUNEBENCH_TEST_POSTGRES: {error}")
    schema = f"test_{uuid.uuid4().hex}"
    with server:
        server.execute(f"CREATE SCHEMA {schema}")
        try:
            yield SERVER + ("&" if "?" in SERVER else "?") + f"options=-csearch_path%3D{schema}"
        finally:
            server.execute("SET client_min_messages = warning")
            server.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def postgresql() -> Iterator[str]:
    with new_schema() as url:
        yield url


@pytest.fixture(scope="session")
def migrated() -> Iterator[Engine]:
    with new_schema() as url:
        engine = connect(url)
        upgrade(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def emptied(migrated: Engine) -> Iterator[str]:
    """A schema with the current tables, made once for all tests and emptied after each: making them takes long."""
    with reading(migrated) as connection:
        version = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    yield migrated.url.render_as_string(hide_password=False)
    with writing(migrated) as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '20s'")  # a killed process may hold locks
        connection.exec_driver_sql(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE")
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'")


DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables: a SQLite file yet to be made, or a new PostgreSQL schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    url: str = request.getfixturevalue("postgresql")
    return url


@pytest.fixture
def empty_engine(empty_url: str) -> Iterator[Engine]:
    engine = connect(empty_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the current tables, all empty. Tests copy it, as making the tables takes long."""
    file = tmp_path_factory.mktemp("tables") / "study.db"
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    engine.dispose()
    return file


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with the current tables, all empty."""
    if request.param != "sqlite":
        url: str = request.getfixturevalue("emptied")
        return url
    shutil.copy(request.getfixturevalue("tables"), tmp_path)
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = connect(url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine)


@pytest.fixture
def app(store: Store, spoken_digits: Path) -> Iterator[FastAPI]:
    with serving(store, spoken_digits) as app:
        yield app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return client_of(app)


@pytest.fixture
def lease(store: Store) -> Lease:
    """The lease of a new study, held by this process."""
    return store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)


@pytest.fixture(scope="session")
def untouched(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str, tables: Path, spoken_digits: Path
) -> Study:
    """A study that one process trained without Ray or interruptions and then stored, for others to be compared with.

    All test processes share it.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "untouched"
    with FileLock(f"{folder}.lock"):
        study = Study(folder)
        if not study.count():
            from studies.running.provenance import provenance  # torch

            shutil.copy(tables, folder / "tunebench.db")
            spec = from_json(SPEC)
            held = study.train_alone(spec, provenance(spec, spoken_digits), spoken_digits)
            study.store.finish(held, COMPLETED)
            study.store.engine.dispose()  # removes the log beside the file
        assert study.count() == PLANNED
    return study


@pytest.fixture
def tunebench(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """A function that calls the command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    for variable in ("TUNEBENCH_DATABASE_URL", "TUNEBENCH_URL", "TUNEBENCH_TOKEN", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tunebench", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def here(
    tunebench: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """`tunebench` for commands that train: on a local Ray without a dashboard, one trial at a time."""
    for name, value in processors(1).items():
        monkeypatch.setenv(name, value)
    without_dashboard(monkeypatch.setattr)
    return tunebench


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, spoken_digits: Path) -> Iterator[tuple[Served, Store]]:
    """A service, and its database as opened by another process."""
    url = f"sqlite:///{tmp_path_factory.mktemp('service') / 'study.db'}"
    upgrade(connect(url))
    with Served(url, spoken_digits) as served:
        yield served, Store(connect(url))
