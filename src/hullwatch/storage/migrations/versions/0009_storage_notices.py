"""The kinds of notices about a database that cannot be used. No row is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NOTIFICATION_KINDS = (
    "session_expiring", "session_disconnected", "login_renewed", "not_ready", "now_ready", "signal",
    "signals_corrected", "symbols_unmonitored", "symbols_monitored", "permission_missing", "permission_granted",
    "daily_summary", "broker_outage", "broker_recovered", "job_restarting", "job_recovered", "storage_unavailable",
    "storage_recovered", "calendar_ending", "calendar_known", "delivery_failed", "channel_failing",
    "channel_recovered", "test",
)  # fmt: skip


def upgrade() -> None:
    """Allow the new kinds."""
    for table in ("notifications", "channel_kinds"):
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint("kind", type_="check")
            batch.create_check_constraint("kind", sa.column("kind", sa.Text).in_(NOTIFICATION_KINDS))
