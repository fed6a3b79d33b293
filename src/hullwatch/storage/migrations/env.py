"""Runs the pending migrations on the connection and in the transaction of the caller."""

from alembic import context
from sqlalchemy import Connection

from hullwatch.storage.models import Base


def run(connection: Connection) -> None:
    """Run the migrations. On SQLite a changed table is copied, since constraints cannot be changed."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
