"""The schema and its migrations."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from writers import processes, spec, upgrade_at_once

import service.database.engine
from service.database.engine import VERSION_TABLE, connect, reading, upgrade, writing
from service.database.store import Store
from service.database.tables import metadata
from service.errors import DatabaseError
from service.schemas import StudySummary
from studies.records import StudyState


@pytest.fixture
def url(empty_url: str, empty_engine: Engine) -> str:
    """The URL of a database for this test alone, to be changed."""
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
    """Create the file of a SQLite database, which otherwise only `upgrade` does."""
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).touch()


def test_files_are_named_by_their_revisions() -> None:
    migrations = service.database.engine.MIGRATIONS
    revisions = ScriptDirectory(str(migrations)).walk_revisions()
    assert [script.revision for script in revisions] == service.database.engine._known(migrations)


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


INSERT_STUDY = (
    "INSERT INTO studies (id, name, task, state, direction, spec, provenance, created_at, failed) "
    "VALUES (:id, :id, 'spoken-digits', :state, 'maximize', :spec, '{}', '2026-01-02 03:04:05+00:00', :failed)"
)
INSERT_TRIAL = (
    "INSERT INTO trials (study, method, run, trial, state, hyperparameters, source, seed, objective, "
    "suggest_seconds, train_seconds, attempts, error, started_at, finished_at) VALUES (:study, :method, 1, :trial, "
    ":state, '{}', 'sobol', 1, :objective, 0, 0, 1, :error, '2026-01-02 03:04:05+00:00', '2026-01-02 03:04:05+00:00')"
)
INSERT_EVENT = (
    "INSERT INTO events (study, number, time, actor, kind, data) "
    "VALUES (:study, :number, '2026-01-02 03:04:05+00:00', 'service', :kind, :data)"
)


def older_study(study: str, methods: list[str], state: str = "queued", failed: int = 0) -> dict[str, object]:
    """Return a row of the table `studies` from before there were arms."""
    stored = spec(proxy={"epochs": 5}, methods=methods).to_json()
    arms = stored.pop("arms")
    stored["methods"] = [{"name": arm["name"], "space": arm["space"]} for arm in arms]
    return {"id": study, "state": state, "failed": failed, "spec": json.dumps(stored)}


@pytest.fixture
def schema_3(empty_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A database as the third migration leaves it."""
    older = tmp_path / "older"
    shutil.copytree(service.database.engine.MIGRATIONS, older)
    for newer in (older / "versions").glob("v*.py"):
        if newer.stem > "v0003":
            newer.unlink()
    with monkeypatch.context() as changed:
        changed.setattr(service.database.engine, "MIGRATIONS", older)
        upgrade(empty_engine)
    return empty_engine


def test_a_study_of_an_older_schema_has_an_arm_for_each_method(schema_3: Engine) -> None:
    methods, objectives = ["bop", "latent-sgd"], (0.25, 0.5, 0.4)
    with writing(schema_3) as connection:
        connection.execute(text(INSERT_STUDY), older_study("a-study-1", methods))
        for i, objective in enumerate(objectives, start=1):
            row = {
                "study": "a-study-1",
                "method": "bop",
                "trial": i,
                "state": "completed",
                "objective": objective,
            }
            connection.execute(text(INSERT_TRIAL), row | {"error": None})
        for i, (kind, data) in enumerate(
            [
                ("state", {"to": "queued", "method": "kept"}),
                ("trial", {"method": "bop", "run": 1, "trial": 1}),
            ],
            start=1,
        ):
            row = {"study": "a-study-1", "number": i, "kind": kind, "data": json.dumps(data)}
            connection.execute(text(INSERT_EVENT), row)
    upgrade(schema_3)
    store = Store(schema_3)
    (listed,), whole = store.studies(), store.study_by_id("a-study-1")
    assert StudySummary.of(listed) == StudySummary.of(whole)
    assert whole.spec == spec(proxy={"epochs": 5}, methods=methods).to_json()
    assert listed.arms == {"bop": "bop", "latent-sgd": "latent-sgd"}
    assert [(t.arm, t.objective) for t in store.trials("a-study-1")] == [("bop", o) for o in objectives]
    first, second = store.events("a-study-1")
    assert first.data == {"to": "queued", "method": "kept"}
    assert second.data == {"arm": "bop", "run": 1, "trial": 1}
    with reading(schema_3) as connection:
        curve = connection.execute(text("SELECT arm, best_so_far FROM best_so_far ORDER BY trial")).all()
    assert [tuple(row) for row in curve] == [("bop", 0.25), ("bop", 0.5), ("bop", 0.5)]


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
    with empty_engine.connect() as connection:  # the last thing that the first revision creates
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


def test_a_study_that_an_earlier_version_completed_without_a_result_has_failed(schema_3: Engine) -> None:
    lost = {"state": "failed", "objective": None, "error": "ValueError: no\n\nTraceback"}
    with writing(schema_3) as connection:
        for study, failing in (("lost", (1, 2)), ("found", (1,))):
            connection.execute(text(INSERT_STUDY), older_study(study, ["bop"], "completed", len(failing)))
            for i in (1, 2):
                row = {
                    "study": study,
                    "method": "bop",
                    "trial": i,
                    "state": "completed",
                    "objective": 0.5,
                    "error": None,
                }
                connection.execute(text(INSERT_TRIAL), row | (lost if i in failing else {}))
    upgrade(schema_3)
    store = Store(schema_3)
    assert store.study("found").state is StudyState.COMPLETED
    lost_study = store.study("lost")
    assert (lost_study.state, lost_study.error) == (
        StudyState.FAILED,
        "bop has no result: all 2 trials failed: ValueError: no (2 trials)",
    )
