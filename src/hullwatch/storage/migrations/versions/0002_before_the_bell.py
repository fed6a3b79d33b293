"""Channels and their outbox, login links, and what renews a session."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OLD_KINDS = ("session_ended", "login_renewed", "signal", "broker_trouble", "broker_recovered")
NEW_KINDS = (
    "session_expiring",
    "session_ended",
    "login_renewed",
    "not_ready",
    "now_ready",
    "signal",
    "daily_summary",
    "broker_trouble",
    "broker_recovered",
    "job_restarting",
    "job_recovered",
    "calendar_ending",
    "calendar_known",
    "delivery_set_aside",
    "channel_failing",
    "channel_recovered",
    "test",
)

RENEWAL_OUTCOMES = (
    "under_way",
    "renewed",
    "ends_no_later",
    "refused_by_fyers",
    "wrong_pin",
    "bad_refresh_token",
    "unknown_refusal",
    "not_accepted",
    "unavailable",
)


def _words(name: str, *words: str) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=32)


def _owner(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=op.f(f"fk_{table}_user_id_users"), ondelete="CASCADE"
    )


def _allow_kinds(words: tuple[str, ...]) -> None:
    """Hold the kinds of notices to these words."""
    with op.batch_alter_table("notifications") as batch:
        batch.drop_constraint("kind", type_="check")
        batch.create_check_constraint("kind", sa.column("kind", sa.Text).in_(words))


def upgrade() -> None:
    """Make room for what happens before the bell."""
    _allow_kinds(NEW_KINDS)
    with op.batch_alter_table("pending_logins") as batch:
        batch.add_column(sa.Column("link_generation", sa.Integer(), nullable=True))
    op.create_table(
        "login_links",
        sa.Column("value_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("browser_hash", sa.Text(), nullable=True),
        _owner("login_links"),
        sa.PrimaryKeyConstraint("value_hash", name=op.f("pk_login_links")),
    )
    op.create_index(op.f("ix_login_links_expires_at"), "login_links", ["expires_at"], unique=False)
    op.create_index(op.f("ix_login_links_user_id"), "login_links", ["user_id"], unique=False)
    op.create_table(
        "renewals",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("pin", sa.Text(), nullable=False),
        sa.Column("opted_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=True),
        sa.Column("login_generation", sa.Integer(), nullable=True),
        sa.Column("refresh_token", sa.Text(), nullable=True),
        sa.Column("refresh_token_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_generation", sa.Integer(), nullable=True),
        sa.Column("last_tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_outcome", _words("last_outcome", *RENEWAL_OUTCOMES), nullable=True),
        _owner("renewals"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_renewals")),
    )
    op.create_table(
        "channels",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("kind", _words("kind", "email", "webhook", "telegram", "slack", "apprise"), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("signing_secret", sa.Text(), nullable=True),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        _owner("channels"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
    )
    op.create_index(op.f("ix_channels_user_id"), "channels", ["user_id"], unique=False)
    op.create_table(
        "channel_kinds",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("kind", _words("kind", *NEW_KINDS), nullable=False),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["channels.id"],
            name=op.f("fk_channel_kinds_channel_id_channels"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("channel_id", "kind", name=op.f("pk_channel_kinds")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("notification_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("state", _words("state", "waiting", "sent", "set_aside"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["channels.id"], name=op.f("fk_deliveries_channel_id_channels"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["notifications.id"],
            name=op.f("fk_deliveries_notification_id_notifications"),
            ondelete="CASCADE",
        ),
        _owner("deliveries"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(
        op.f("ix_deliveries_channel_id_state_due_at"),
        "deliveries",
        ["channel_id", "state", "due_at"],
        unique=False,
    )
    op.create_index(op.f("ix_deliveries_notification_id"), "deliveries", ["notification_id"], unique=False)
    op.create_index(op.f("ix_deliveries_state_due_at"), "deliveries", ["state", "due_at"], unique=False)
    op.create_index(op.f("ix_deliveries_user_id"), "deliveries", ["user_id"], unique=False)
    op.create_table(
        "signs_of_life",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_signs_of_life")),
    )
    op.create_table(
        "incidents",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bad_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_incidents")),
        sa.UniqueConstraint("id", name=op.f("uq_incidents_id")),
    )


def downgrade() -> None:
    """Forget it again; notices of the new kinds go too."""
    for table in ("incidents", "signs_of_life", "deliveries", "channel_kinds", "channels", "renewals", "login_links"):
        op.drop_table(table)
    with op.batch_alter_table("pending_logins") as batch:
        batch.drop_column("link_generation")
    op.execute(
        sa.delete(sa.table("notifications", sa.column("kind"))).where(sa.column("kind").not_in(OLD_KINDS))
    )
    _allow_kinds(OLD_KINDS)
