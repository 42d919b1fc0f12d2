"""Arms, one for each method of an earlier study, and confirmations."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from service.database.columns import Message, Name, Real, Time

revision = "0005"
down_revision = "0004"

EVENTS = {
    "sqlite": "json_set(json_remove(data, '$.method'), '$.arm', json_extract(data, '$.method'))",
    "postgresql": "(data::jsonb - 'method' || jsonb_build_object('arm', data::jsonb -> 'method'))::json",
}


def upgrade() -> None:
    op.execute("DROP VIEW best_so_far")
    op.alter_column("trials", "method", new_column_name="arm")
    op.execute(
        """
        CREATE VIEW best_so_far AS
        SELECT t.study, t.arm, t.run, t.trial,
               CASE s.direction WHEN 'maximize' THEN max(t.objective) OVER so_far
                                ELSE min(t.objective) OVER so_far END AS best_so_far
        FROM trials AS t JOIN studies AS s ON s.id = t.study
        WINDOW so_far AS (PARTITION BY t.study, t.arm, t.run ORDER BY t.trial ROWS UNBOUNDED PRECEDING)
        """
    )
    op.execute(f"UPDATE events SET data = {EVENTS[op.get_bind().dialect.name]} WHERE kind = 'trial'")
    _rewrite_specs()
    op.create_table(
        "confirmations",
        sa.Column("study", Name, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("arm", Name, primary_key=True),
        sa.Column("run", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("trial", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", Name, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("objective", Real),
        sa.Column("test_metric", Real),
        sa.Column("train_seconds", Real, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", Message),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("finished_at", Time, nullable=False),
        sa.CheckConstraint("run >= 1 AND trial >= 1 AND number >= 1", name="ck_confirmations_numbers"),
        sqlite_with_rowid=False,
    )


def _rewrite_specs() -> None:
    """Rewrite the specs one study at a time: a spec may have a megabyte."""
    spec, outline = sa.column("spec", sa.JSON), sa.column("outline", sa.JSON)
    studies = sa.table("studies", sa.column("id", Name), spec, outline)
    connection = op.get_bind()
    for study in connection.scalars(sa.select(studies.c.id)).all():
        this = studies.c.id == study
        row = connection.execute(sa.select(studies.c.spec, studies.c.outline).where(this)).one()
        rewritten = {"spec": _with_arms(row.spec), "outline": _with_arms(row.outline)}
        connection.execute(sa.update(studies).where(this).values(rewritten))


def _with_arms(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the spec with each method as an arm of the same name."""
    arms = [{"name": method["name"], "method": method["name"], **method} for method in spec["methods"]]
    return {("arms" if key == "methods" else key): arms if key == "methods" else spec[key] for key in spec}
