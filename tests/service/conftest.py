"""Both databases, each test in one of its own."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine
from writers import SERVER, spec

from service.database import connect, upgrade
from service.lease import Lease
from service.owner import Owner
from service.store import Store


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a new PostgreSQL schema."""
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


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables: a SQLite file yet to be made, a new PostgreSQL schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    url: str = request.getfixturevalue("postgresql")
    return url


@pytest.fixture
def empty_engine(empty_url: str) -> Iterator[Engine]:
    engine = connect(empty_url)
    yield engine
    engine.dispose()


@pytest.fixture
def url(empty_url: str, empty_engine: Engine) -> str:
    """The URL of a database with the present schema."""
    upgrade(empty_engine)
    return empty_url


@pytest.fixture
def engine(url: str, empty_engine: Engine) -> Engine:
    return empty_engine


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine)


@pytest.fixture
def lease(store: Store) -> Lease:
    """Of a new study, held by this process."""
    return store.claim(store.create_study(spec(), {}).id, Owner.current(), 60)
