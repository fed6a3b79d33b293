"""What Alembic runs: the pending steps, over the connection and in the transaction that the caller opened."""

from alembic import context
from sqlalchemy import Connection

from hullwatch.storage.models import Base


def run(connection: Connection) -> None:
    """Run the steps; on SQLite, which cannot alter most things in place, a changed table is copied."""
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])
