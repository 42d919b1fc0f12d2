"""The queue, its events, labels, tokens; each study counts its own trials."""

import sqlalchemy as sa
from alembic import op

from service.database.columns import Name, Real, Time

revision = "0002"
down_revision = "0001"

COUNTED = """
    UPDATE studies SET
        task = {task},
        completed = (SELECT count(*) FROM trials WHERE study = studies.id AND state = 'completed'),
        diverged = (SELECT count(*) FROM trials WHERE study = studies.id AND state = 'diverged'),
        failed = (SELECT count(*) FROM trials WHERE study = studies.id AND state = 'failed'),
        suggest_seconds = (SELECT coalesce(sum(suggest_seconds), 0) FROM trials WHERE study = studies.id),
        train_seconds = (SELECT coalesce(sum(train_seconds), 0) FROM trials WHERE study = studies.id)
"""


def upgrade() -> None:
    for column in (
        sa.Column("task", Name, nullable=False, server_default="unknown"),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("submitted_by", Name),
        sa.Column("requested", Name),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("not_before", Time),
        sa.Column("job", Name),
        sa.Column("completed", sa.Integer, nullable=False, server_default="0"),
        sa.Column("diverged", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
        sa.Column("suggest_seconds", Real, nullable=False, server_default="0"),
        sa.Column("train_seconds", Real, nullable=False, server_default="0"),
        sa.Column("last_event", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("studies", column)
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(COUNTED.format(task="json_extract(spec, '$.task')" if sqlite else "spec ->> 'task'"))
    op.create_index("ix_studies_state", "studies", ["state", "created_at", "id"])
    op.create_index("ix_studies_task", "studies", ["task", "created_at", "id"])
    op.create_table(
        "labels",
        sa.Column("study", Name, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("label", Name, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_labels_label", "labels", ["label", "study"])
    op.create_table(
        "events",
        sa.Column("study", Name, sa.ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", Time, nullable=False),
        sa.Column("actor", Name, nullable=False),
        sa.Column("kind", Name, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tokens",
        sa.Column("name", Name, primary_key=True),
        sa.Column("digest", Name, nullable=False),
        sa.Column("scope", Name, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("revoked_at", Time),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
        sa.CheckConstraint("scope IN ('read', 'submit', 'admin')", name="ck_tokens_scope"),
    )
    op.create_table(
        "submissions",
        sa.Column("actor", Name, primary_key=True),
        sa.Column("key", Name, primary_key=True),
        sa.Column("digest", Name, nullable=False),
        sa.Column("study", Name, nullable=False),
        sa.Column("created_at", Time, nullable=False),
    )
    op.create_index("ix_submissions_created_at", "submissions", ["created_at"])
