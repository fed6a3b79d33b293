"""The kind of notices about a user's own account. No row is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

NOTIFICATION_KINDS = (
    "session_expiring", "session_disconnected", "login_renewed", "not_ready", "now_ready", "signal",
    "signals_corrected", "symbols_unmonitored", "symbols_monitored", "permission_missing", "permission_granted",
    "daily_summary", "broker_outage", "broker_recovered", "job_restarting", "job_recovered", "storage_unavailable",
    "storage_recovered", "account_changed", "calendar_ending", "calendar_known", "delivery_failed", "channel_failing",
    "channel_recovered", "test",
)  # fmt: skip


def upgrade() -> None:
    """Allow the new kind."""
    for table in ("notifications", "channel_kinds"):
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint("kind", type_="check")
            batch.create_check_constraint("kind", sa.column("kind", sa.Text).in_(NOTIFICATION_KINDS))
