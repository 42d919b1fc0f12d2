"""What lists show of a study, apart from its whole spec; why one does not go on; tokens that expire."""

import sqlalchemy as sa
from alembic import op

from service.columns import Message, Name, Time

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("studies", sa.Column("outline", sa.JSON))
    op.add_column("studies", sa.Column("trouble", Message))
    op.add_column("tokens", sa.Column("expires_at", Time))
    _outline()


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
