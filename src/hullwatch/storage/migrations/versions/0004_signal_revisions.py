"""Signals can be withdrawn and corrected, and a watch has the moment from which it gives signals. No row is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

HISTORY_CHANGES = ("candle_corrected", "candle_added", "candle_removed", "rescaled", "other")
NOTIFICATION_KINDS = (
    "session_expiring", "session_disconnected", "login_renewed", "not_ready", "now_ready", "signal",
    "signals_corrected", "daily_summary", "broker_outage", "broker_recovered", "job_restarting", "job_recovered",
    "calendar_ending", "calendar_known", "delivery_failed", "channel_failing", "channel_recovered", "test",
)  # fmt: skip


def upgrade() -> None:
    """Add the columns and the new kind of notice."""
    moment = sa.DateTime(timezone=True)
    with op.batch_alter_table("signals") as batch:
        batch.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("withdrawn_at", moment, nullable=True))
        batch.add_column(sa.Column("withdrawn_reason", sa.String(32), nullable=True))
        batch.add_column(sa.Column("history_changed_at", moment, nullable=True))
        batch.create_check_constraint(
            "withdrawn_reason", sa.column("withdrawn_reason", sa.Text).in_(HISTORY_CHANGES)
        )
    with op.batch_alter_table("signals") as batch:
        batch.alter_column("revision", server_default=None)
    with op.batch_alter_table("watches") as batch:
        batch.add_column(sa.Column("signals_from", moment, nullable=True))
    # When a watch was last changed or started is not known, so corrections add signals of later candles only.
    op.execute(sa.text("UPDATE watches SET signals_from = evaluated_through"))
    with op.batch_alter_table("watches") as batch:
        batch.alter_column("signals_from", nullable=False)
    for table in ("notifications", "channel_kinds"):
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint("kind", type_="check")
            batch.create_check_constraint("kind", sa.column("kind", sa.Text).in_(NOTIFICATION_KINDS))
