"""The addresses of trainings, and the studies that they were taken over from."""

import sqlalchemy as sa
from alembic import op

from service.database.columns import Name

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for table in ("trials", "confirmations"):
        op.add_column(table, sa.Column("address", Name))
        op.add_column(table, sa.Column("taken_from", Name))
        op.create_index(f"ix_{table}_address", table, ["address"])
    op.add_column("studies", sa.Column("taken_over", sa.Integer, nullable=False, server_default="0"))
