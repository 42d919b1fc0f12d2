"""The schema and the way to it."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from writers import processes, spec, trial, upgrade_at_once

import service.database.engine
from service.database.engine import VERSION_TABLE, connect, reading, upgrade, writing
from service.database.migrations.versions import v0004
from service.database.owner import Owner
from service.database.store import Store
from service.database.tables import metadata
from service.errors import DatabaseError
from service.schemas import StudySummary
from studies.records import StudyState, TrialState


@pytest.fixture
def url(empty_url: str, empty_engine: Engine) -> str:
    """Of a database of its own, to be changed."""
    upgrade(empty_engine)
    return empty_url


def test_the_migrations_make_the_tables(engine: Engine) -> None:
    with reading(engine) as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    found = inspect(engine)
    assert set(found.get_table_names()) == {*metadata.tables, VERSION_TABLE}
    assert found.get_view_names() == ["best_so_far"]
    for name, table in metadata.tables.items():
        declared = {c.name for c in table.constraints if type(c).__name__ == "CheckConstraint"}
        assert {check["name"] for check in found.get_check_constraints(name)} == declared
        deletes = [key["options"].get("ondelete") for key in found.get_foreign_keys(name)]
        assert deletes == ["CASCADE"] * len(table.foreign_keys)


def test_a_database_without_the_schema_says_how_to_make_it(empty_engine: Engine) -> None:
    with pytest.raises(DatabaseError, match="run: tunebench db upgrade"):
        Store(empty_engine)
    upgrade(empty_engine)
    assert Store(empty_engine).studies() == []


def test_upgrading_again_changes_nothing(engine: Engine) -> None:
    Store(engine).create_study(spec(), {})
    upgrade(engine)
    assert len(Store(engine).studies()) == 1


def test_a_newer_schema_is_refused(url: str, engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    said = (
        r"has schema 9999, made by a newer tunebench .this one knows schemas up to \d{4}.; upgrade tunebench"
    )
    for use in (lambda: connect(url), lambda: upgrade(engine), lambda: Store(engine)):
        with pytest.raises(DatabaseError, match=said):
            use()


def make(engine: Engine) -> None:
    """The file of a database on SQLite; only `upgrade` would."""
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).touch()


def test_an_older_schema_is_refused_until_upgraded(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(engine).create_study(spec(), {})
    newer = tmp_path / "with a space and 100%"
    shutil.copytree(service.database.engine.MIGRATIONS, newer)
    head = ScriptDirectory(str(newer)).get_current_head()
    (newer / "versions" / "v9999.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '9999', '{head}'\n"
        "def upgrade():\n"
        "    op.add_column('studies', sa.Column('colour', sa.Text))\n"
    )
    monkeypatch.setattr(service.database.engine, "MIGRATIONS", newer)
    with pytest.raises(
        DatabaseError, match=f"has the older schema {head}, not 9999; run: tunebench db upgrade"
    ):
        Store(engine)
    upgrade(engine)
    assert "colour" in {column["name"] for column in inspect(engine).get_columns("studies")}
    assert [study.name for study in Store(engine).studies()] == ["a-study"]


def test_a_study_of_the_schema_before_is_listed_as_before(
    empty_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older"
    shutil.copytree(service.database.engine.MIGRATIONS, older)
    for newer in (older / "versions").glob("v*.py"):
        if newer.stem > "v0003":
            newer.unlink()
    with monkeypatch.context() as changed:
        changed.setattr(service.database.engine, "MIGRATIONS", older)
        upgrade(empty_engine)
        stored = spec(proxy={"epochs": 5}).to_json()
        insert = (
            "INSERT INTO studies (id, name, task, state, direction, spec, provenance, created_at) "
            "VALUES ('a-study-1', 'a-study', 'spoken-digits', 'queued', 'maximize', :spec, '{}', "
            "'2026-01-02 03:04:05+00:00')"
        )
        with writing(empty_engine) as connection:
            connection.execute(text(insert), {"spec": json.dumps(stored)})
    upgrade(empty_engine)
    store = Store(empty_engine)
    (listed,), whole = store.studies(), store.study_by_id("a-study-1")
    assert StudySummary.of(listed) == StudySummary.of(whole)
    assert whole.spec == stored


def test_another_programs_tables_are_left_alone(empty_url: str, empty_engine: Engine) -> None:
    make(empty_engine)
    with empty_engine.connect() as connection:
        connection.execute(text("CREATE TABLE trials (number INTEGER)"))
        connection.commit()
    for use in (lambda: upgrade(empty_engine), lambda: connect(empty_url)):
        with pytest.raises(DatabaseError, match=r"has tables of another program \(trials\); choose another"):
            use()
    assert inspect(empty_engine).get_table_names() == ["trials"]
    if empty_engine.dialect.name == "sqlite":
        with reading(empty_engine) as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"


def test_an_upgrade_that_fails_leaves_nothing(empty_engine: Engine) -> None:
    make(empty_engine)
    with empty_engine.connect() as connection:  # the last thing that the first revision makes
        connection.execute(text("CREATE VIEW best_so_far AS SELECT 1 AS one"))
        connection.commit()
    with pytest.raises(Exception, match="best_so_far"):
        upgrade(empty_engine)
    assert inspect(empty_engine).get_table_names() == []


def test_processes_may_upgrade_at_once(empty_url: str, empty_engine: Engine) -> None:
    together = processes.Barrier(4)
    upgraders = [processes.Process(target=upgrade_at_once, args=(empty_url, together)) for _ in range(4)]
    for process in upgraders:
        process.start()
    for process in upgraders:
        process.join()
    assert [process.exitcode for process in upgraders] == [0] * 4
    assert Store(empty_engine).studies() == []


def test_the_sqlite_file_keeps_a_write_ahead_log_and_its_foreign_keys(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'study.db'}")
    upgrade(engine)
    with reading(engine) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1  # NORMAL
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    engine.dispose()
    assert sqlite3.connect(tmp_path / "study.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_study_that_an_earlier_version_completed_without_a_result_has_failed(engine: Engine) -> None:
    store = Store(engine)
    for name, failing in (("lost", (1, 2)), ("found", (1,))):
        study = store.create_study(spec(name, methods=["bop"], runs=1, trials=2), {}).id
        lease = store.claim(study, Owner.current(), 60)
        for number in (1, 2):
            lost = {"state": TrialState.FAILED, "objective": None, "error": "ValueError: no\n\nTraceback"}
            store.record(lease, trial(study, "bop", number=number, **(lost if number in failing else {})))
        store.finish(lease, StudyState.COMPLETED)
    with writing(engine) as connection:
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            v0004._fail_those_without_a_result()
    assert store.study("found").state is StudyState.COMPLETED
    lost_study = store.study("lost")
    assert (lost_study.state, lost_study.error) == (
        StudyState.FAILED,
        "bop has no result: all 2 trials failed: ValueError: no (2 trials)",
    )
