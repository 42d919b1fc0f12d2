"""Run by Alembic for every command, with the connection and the transaction that the caller holds."""

from alembic import context

context.configure(**context.config.attributes["context"])
context.run_migrations()
