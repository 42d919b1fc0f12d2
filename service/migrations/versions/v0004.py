"""Why a study does not go on."""

import sqlalchemy as sa
from alembic import op

from service.columns import Message

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("studies", sa.Column("trouble", Message))
