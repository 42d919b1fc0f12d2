"""Series recorded in trainings, and more metrics of epochs."""

import sqlalchemy as sa
from alembic import op

from service.database.columns import Array, Name, Real, RowId

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for name in ("train_metric", "latent_validation_metric", "latent_test_metric"):
        op.add_column("epochs", sa.Column(name, Real))
    trial = sa.ForeignKey("trials.id", ondelete="CASCADE")
    op.create_table(
        "series",
        sa.Column("trial", RowId, trial, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", Name, primary_key=True),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("steps", Array, nullable=False),
        sa.Column("values", Array, nullable=False),
    )
