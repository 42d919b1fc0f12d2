"""Alembic's environment, run for every command in the connection and transaction that the caller holds."""

from alembic import context

context.configure(**context.config.attributes["context"])
context.run_migrations()
