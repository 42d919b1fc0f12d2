"""Studies, trials, epochs and the view of best-so-far curves."""

import sqlalchemy as sa
from alembic import op

from service.database.columns import Message, Name, Real, RowId, Time

revision = "0001"
down_revision = None


# longer than any other function: it creates the tables as they were, one after the other
def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", Name, primary_key=True),
        sa.Column("name", Name, nullable=False),
        sa.Column("state", Name, nullable=False),
        sa.Column("direction", Name, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("finished_at", Time),
        sa.Column("error", Message),
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lease_owner", Name),
        sa.Column("lease_since", Time),
        sa.Column("lease_expires_at", Time),
        sa.CheckConstraint("direction IN ('maximize', 'minimize')", name="ck_studies_direction"),
    )
    op.create_index("ix_studies_name", "studies", ["name"])
    op.create_index("ix_studies_created_at", "studies", ["created_at", "id"])
    op.create_table(
        "trials",
        sa.Column("id", RowId, primary_key=True),
        sa.Column("study", Name, sa.ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
        sa.Column("method", Name, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("state", Name, nullable=False),
        sa.Column("hyperparameters", sa.JSON, nullable=False),
        sa.Column("source", Name, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("objective", Real),
        sa.Column("test_metric", Real),
        sa.Column("suggest_seconds", Real, nullable=False),
        sa.Column("train_seconds", Real, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", Message),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("finished_at", Time, nullable=False),
        sa.UniqueConstraint("study", "method", "run", "trial", name="uq_trials_study_method_run_trial"),
        sa.CheckConstraint("run >= 1 AND trial >= 1", name="ck_trials_numbers"),
        sa.CheckConstraint("objective <> 'NaN'", name="ck_trials_objective_number"),
        sa.CheckConstraint("(state = 'failed') = (objective IS NULL)", name="ck_trials_objective_state"),
    )
    op.create_table(
        "epochs",
        sa.Column("trial", RowId, sa.ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("train_loss", Real, nullable=False),
        sa.Column("validation_metric", Real, nullable=False),
        sa.Column("test_metric", Real, nullable=False),
        sa.Column("flip_ratio", Real, nullable=False),
        sa.Column("train_seconds", Real, nullable=False),
        sa.Column("evaluate_seconds", Real, nullable=False),
        sa.Column("diverged", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        """
        CREATE VIEW best_so_far AS
        SELECT t.study, t.method, t.run, t.trial,
               CASE s.direction WHEN 'maximize' THEN max(t.objective) OVER so_far
                                ELSE min(t.objective) OVER so_far END AS best_so_far
        FROM trials AS t JOIN studies AS s ON s.id = t.study
        WINDOW so_far AS (PARTITION BY t.study, t.method, t.run ORDER BY t.trial ROWS UNBOUNDED PRECEDING)
        """
    )
