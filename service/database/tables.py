"""The tables, named like the records. The migrations create them; a test compares the two."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    column,
    table,
)

from service.database.columns import Array, Message, Name, Real, RowId, Time

metadata = MetaData()

studies = Table(
    "studies",
    metadata,
    Column("id", Name, primary_key=True),
    Column("name", Name, nullable=False),
    Column("state", Name, nullable=False),
    Column("direction", Name, nullable=False),  # of the task's metric: what "best" means
    Column("spec", JSON, nullable=False),
    Column("outline", JSON),  # the part of the spec that lists show: a spec may have a megabyte
    Column("provenance", JSON, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("started_at", Time),
    Column("finished_at", Time),
    Column("error", Message),
    Column("fence", BigInteger, nullable=False, server_default="0"),  # the number of claims so far
    Column("lease_owner", Name),
    Column("lease_since", Time),
    Column("lease_expires_at", Time),
    Column("task", Name, nullable=False, server_default="unknown"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("submitted_by", Name),
    Column("requested", Name),  # what its driver is asked to do: pause, pause-now or cancel
    Column("attempts", Integer, nullable=False, server_default="0"),  # starts since the last trial
    Column("not_before", Time),  # when a service may start it
    Column("job", Name),  # its last Ray job
    Column("trouble", Message),  # why it does not go on, while it does not
    Column("completed", Integer, nullable=False, server_default="0"),  # trials of each state
    Column("diverged", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("suggest_seconds", Real, nullable=False, server_default="0"),  # of trials that it trained itself
    Column("train_seconds", Real, nullable=False, server_default="0"),
    Column("last_event", BigInteger, nullable=False, server_default="0"),
    Column("taken_over", Integer, nullable=False, server_default="0"),  # trials taken over from other studies
    CheckConstraint("direction IN ('maximize', 'minimize')", name="ck_studies_direction"),
    Index("ix_studies_name", "name"),
    Index("ix_studies_created_at", "created_at", "id"),
    Index("ix_studies_state", "state", "created_at", "id"),
    Index("ix_studies_task", "task", "created_at", "id"),
)

labels = Table(
    "labels",
    metadata,
    Column("study", Name, ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    Column("label", Name, primary_key=True),
    Index("ix_labels_label", "label", "study"),
    sqlite_with_rowid=False,
)

# A study's events, numbered 1, 2, ... within it: a reader that has event n asks for those after n.
events = Table(
    "events",
    metadata,
    Column("study", Name, ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time", Time, nullable=False),
    Column("actor", Name, nullable=False),
    Column("kind", Name, nullable=False),
    Column("data", JSON, nullable=False),
    sqlite_with_rowid=False,
)

# The ends of the logs of a study's last Ray jobs, since Ray forgets them.
logs = Table(
    "logs",
    metadata,
    Column("study", Name, ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    Column("job", Name, primary_key=True),
    Column("time", Time, nullable=False),
    Column("text", Message, nullable=False),
    sqlite_with_rowid=False,
)

tokens = Table(
    "tokens",
    metadata,
    Column("name", Name, primary_key=True),
    Column("digest", Name, nullable=False),  # SHA-256 of the token; the token is stored nowhere
    Column("scope", Name, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("revoked_at", Time),
    Column("expires_at", Time),
    UniqueConstraint("digest", name="uq_tokens_digest"),
    CheckConstraint("scope IN ('read', 'submit', 'admin')", name="ck_tokens_scope"),
)

# Submissions with an Idempotency-Key: sending them again creates nothing.
submissions = Table(
    "submissions",
    metadata,
    Column("actor", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("digest", Name, nullable=False),  # of what was sent
    Column("study", Name, nullable=False),
    Column("created_at", Time, nullable=False),
    Index("ix_submissions_created_at", "created_at"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("study", Name, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("arm", Name, nullable=False),
    Column("run", Integer, nullable=False),
    Column("trial", Integer, nullable=False),
    Column("state", Name, nullable=False),
    Column("hyperparameters", JSON, nullable=False),
    Column("source", Name, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("objective", Real),
    Column("test_metric", Real),
    Column("suggest_seconds", Real, nullable=False),
    Column("train_seconds", Real, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Message),
    Column("started_at", Time, nullable=False),
    Column("finished_at", Time, nullable=False),
    Column("address", Name),  # a digest of all that decides its numbers
    Column("taken_from", Name),  # STUDY/TRIAL, if another study has trained it
    UniqueConstraint("study", "arm", "run", "trial", name="uq_trials_study_method_run_trial"),
    Index("ix_trials_address", "address"),
    CheckConstraint("run >= 1 AND trial >= 1", name="ck_trials_numbers"),
    # NaN would be the best or the worst of a run, depending on what compares it
    CheckConstraint("objective <> 'NaN'", name="ck_trials_objective_number"),
    CheckConstraint("(state = 'failed') = (objective IS NULL)", name="ck_trials_objective_state"),
)

epochs = Table(
    "epochs",
    metadata,
    Column(
        "trial", RowId, ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("train_loss", Real, nullable=False),
    Column("validation_metric", Real, nullable=False),
    Column("test_metric", Real, nullable=False),
    Column("flip_ratio", Real, nullable=False),
    Column("train_seconds", Real, nullable=False),
    Column("evaluate_seconds", Real, nullable=False),
    Column("diverged", Boolean, nullable=False),
    Column("validation_top5", Real),
    Column("test_top5", Real),
    Column("train_metric", Real),
    Column("latent_validation_metric", Real),
    Column("latent_test_metric", Real),
    sqlite_with_rowid=False,
)

# What was recorded in the trainings of trials: a row for each training, numbered from 1, and name.
series = Table(
    "series",
    metadata,
    Column(
        "trial", RowId, ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Name, primary_key=True),
    Column("place", Integer, nullable=False),  # its position among the training's series
    Column("steps", Array, nullable=False),
    Column("values", Array, nullable=False),
)

# The trainings of each trial that has several, numbered from 1.
repeats = Table(
    "repeats",
    metadata,
    Column(
        "trial", RowId, ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", Name, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("objective", Real, nullable=False),
    Column("test_metric", Real, nullable=False),
    sqlite_with_rowid=False,
)

# Fresh trainings of incumbents' hyperparameters, with seeds that no searcher saw.
confirmations = Table(
    "confirmations",
    metadata,
    Column("study", Name, ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    Column("arm", Name, primary_key=True),
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("trial", Integer, primary_key=True, autoincrement=False),  # whose hyperparameters they are
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", Name, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("objective", Real),
    Column("test_metric", Real),
    Column("train_seconds", Real, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Message),
    Column("started_at", Time, nullable=False),
    Column("finished_at", Time, nullable=False),
    Column("address", Name),
    Column("taken_from", Name),
    CheckConstraint("run >= 1 AND trial >= 1 AND number >= 1", name="ck_confirmations_numbers"),
    Index("ix_confirmations_address", "address"),
    sqlite_with_rowid=False,
)

# A view over trials: the best objective of a run up to each of its trials, NULL before the first objective.
best_so_far = table(
    "best_so_far",
    column("study", Name),
    column("arm", Name),
    column("run", Integer),
    column("trial", Integer),
    column("best_so_far", Real),
)
