"""The top-5 metrics of an epoch."""

import sqlalchemy as sa
from alembic import op

from service.database.columns import Real

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("epochs", sa.Column("validation_top5", Real))
    op.add_column("epochs", sa.Column("test_top5", Real))
