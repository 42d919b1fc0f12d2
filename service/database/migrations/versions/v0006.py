"""Repeats: the trainings of trials that have several."""

import sqlalchemy as sa
from alembic import op

from service.database.columns import Name, Real, RowId

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    trial = sa.ForeignKey("trials.id", ondelete="CASCADE")
    op.create_table(
        "repeats",
        sa.Column("trial", RowId, trial, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", Name, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("objective", Real, nullable=False),
        sa.Column("test_metric", Real, nullable=False),
        sqlite_with_rowid=False,
    )
