"""Times in which single symbols were not monitored are stored, with the kinds of their notices. No row is lost."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NOTIFICATION_KINDS = (
    "session_expiring", "session_disconnected", "login_renewed", "not_ready", "now_ready", "signal",
    "signals_corrected", "symbols_unmonitored", "symbols_monitored", "permission_missing", "permission_granted",
    "daily_summary", "broker_outage", "broker_recovered", "job_restarting", "job_recovered",
    "calendar_ending", "calendar_known", "delivery_failed", "channel_failing", "channel_recovered", "test",
)  # fmt: skip


def upgrade() -> None:
    """Add the table and the new kinds of notices."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "symbol_outages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("obstacle", sa.Text(), nullable=False),
        sa.Column("began_at", moment, nullable=False),
        sa.Column("ended_at", moment, nullable=True),
        sa.Column("notified_at", moment, nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_symbol_outages_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_symbol_outages")),
    )
    op.create_index(op.f("ix_symbol_outages_user_id_began_at"), "symbol_outages", ["user_id", "began_at"])
    for table in ("notifications", "channel_kinds"):
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint("kind", type_="check")
            batch.create_check_constraint("kind", sa.column("kind", sa.Text).in_(NOTIFICATION_KINDS))
