"""Outlines of specs, troubles, kept logs, tokens that expire; a completed study fails if an arm has no result."""

import sqlalchemy as sa
from alembic import op

from service.database.columns import Message, Name, Time
from service.database.reads import Ended
from studies.analysis.failures import nothing
from studies.records import TrialState

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("studies", sa.Column("outline", sa.JSON))
    op.add_column("studies", sa.Column("trouble", Message))
    op.add_column("tokens", sa.Column("expires_at", Time))
    op.create_table(
        "logs",
        sa.Column("study", Name, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("job", Name, primary_key=True),
        sa.Column("time", Time, nullable=False),
        sa.Column("text", Message, nullable=False),
        sqlite_with_rowid=False,
    )
    _outline()
    _fail_those_without_a_result()


def _outline() -> None:
    studies = sa.table(
        "studies", sa.column("id", Name), sa.column("spec", sa.JSON), sa.column("outline", sa.JSON)
    )
    connection = op.get_bind()
    for study in connection.scalars(sa.select(studies.c.id)).all():
        this = studies.c.id == study
        spec = connection.scalars(sa.select(studies.c.spec).where(this)).one()
        outline = {key: spec[key] for key in ("proxy", "start", "runs", "trials") if key in spec}
        outline["methods"] = [{"name": method["name"]} for method in spec["methods"]]
        outline["searcher"] = {"name": spec["searcher"]["name"]}
        connection.execute(sa.update(studies).where(this).values(outline=outline))


def _fail_those_without_a_result() -> None:
    studies = sa.table(
        "studies", *map(sa.column, ("id", "state", "failed", "error")), sa.column("spec", sa.JSON)
    )
    trials = sa.table("trials", *map(sa.column, ("study", "method", "trial", "state", "error")))
    connection = op.get_bind()
    suspects = sa.select(studies.c.id, studies.c.spec).where(
        studies.c.state == "completed", studies.c.failed > 0
    )
    for study, spec in connection.execute(suspects).all():
        mine = sa.select(trials).where(trials.c.study == study)
        ended = [
            Ended(row.method, row.trial, TrialState(row.state), row.error) for row in connection.execute(mine)
        ]
        if reason := nothing(spec | {"arms": spec["methods"]}, ended):
            failed = sa.update(studies).where(studies.c.id == study)
            connection.execute(failed.values(state="failed", error=reason))
