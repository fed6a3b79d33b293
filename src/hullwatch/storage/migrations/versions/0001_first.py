"""Everything that hullwatch keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column("incident_id", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"], unique=False)
    op.create_index(op.f("ix_audit_events_user_id_at"), "audit_events", ["user_id", "at"], unique=False)
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column(
            "role",
            sa.Enum("trader", "admin", name="role", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("value_hash", name=op.f("uq_api_tokens_value_hash")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"], unique=False)
    op.create_table(
        "invites",
        sa.Column("value_hash", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["created_by"], ["users.id"], name=op.f("fk_invites_created_by_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("value_hash", name=op.f("pk_invites")),
    )
    op.create_index(op.f("ix_invites_created_by"), "invites", ["created_by"], unique=False)
    op.create_index(op.f("ix_invites_expires_at"), "invites", ["expires_at"], unique=False)
    op.create_table(
        "broker_connections",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "never_connected",
                "connected",
                "expiring",
                "disconnected",
                name="state",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "standing",
            sa.Enum(
                "assumed",
                "verified",
                "unverified",
                "suspected",
                "held",
                name="standing",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                "expired",
                "rejected",
                "signed_out",
                "by_admin",
                name="reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("fyers_id", sa.Text(), nullable=True),
        sa.Column("app_id", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("connected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_validated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_disconnect_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("incident_id", sa.Text(), nullable=True),
        sa.Column("access_token", sa.Text(), nullable=True),
        sa.Column("token_generation", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "access_token IS NULL OR (state IN ('connected', 'expiring') AND token_generation = generation)",
            name=op.f("ck_broker_connections_token_of_this_session"),
        ),
        sa.CheckConstraint("generation >= 0", name=op.f("ck_broker_connections_generation")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_broker_connections_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_broker_connections")),
    )
    op.create_table(
        "browser_logins",
        sa.Column("value_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_browser_logins_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("value_hash", name=op.f("pk_browser_logins")),
    )
    op.create_index(op.f("ix_browser_logins_expires_at"), "browser_logins", ["expires_at"], unique=False)
    op.create_index(op.f("ix_browser_logins_user_id"), "browser_logins", ["user_id"], unique=False)
    op.create_table(
        "fyers_apps",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_fyers_apps_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_fyers_apps")),
    )
    op.create_table(
        "monitoring_wishes",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("is_wanted", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_monitoring_wishes_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_monitoring_wishes")),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "session_ended",
                "login_renewed",
                "signal",
                "broker_trouble",
                "broker_recovered",
                name="kind",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_notifications_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(
        op.f("ix_notifications_user_id_created_at"), "notifications", ["user_id", "created_at"], unique=False
    )
    op.create_index(
        op.f("uq_notifications_user_id_kind_incident_id"),
        "notifications",
        ["user_id", "kind", "incident_id"],
        unique=True,
        sqlite_where=sa.text("incident_id IS NOT NULL"),
        postgresql_where=sa.text("incident_id IS NOT NULL"),
    )
    op.create_table(
        "pending_logins",
        sa.Column("state_hash", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("browser_hash", sa.Text(), nullable=False),
        sa.Column("may_switch_account", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_pending_logins_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("pk_pending_logins")),
    )
    op.create_index(op.f("ix_pending_logins_expires_at"), "pending_logins", ["expires_at"], unique=False)
    op.create_index(op.f("ix_pending_logins_user_id"), "pending_logins", ["user_id"], unique=False)
    op.create_table(
        "signals",
        sa.Column("watch_id", sa.Text(), nullable=False),
        sa.Column("candle_opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "rule",
            sa.Enum("cross", "turn", name="rule", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column(
            "direction",
            sa.Enum("up", "down", name="direction", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("candle_closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        sa.Column("hma", sa.Double(), nullable=False),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_late", sa.Boolean(), nullable=False),
        sa.CheckConstraint("candle_closed_at > candle_opened_at", name=op.f("ck_signals_candle")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_signals_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("watch_id", "candle_opened_at", "rule", "resolution", name=op.f("pk_signals")),
    )
    op.create_index(
        op.f("ix_signals_user_id_candle_opened_at"), "signals", ["user_id", "candle_opened_at"], unique=False
    )
    op.create_table(
        "watches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column(
            "rule",
            sa.Enum("cross", "turn", name="rule", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evaluated_through", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("period BETWEEN 2 AND 1000", name=op.f("ck_watches_period")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_watches_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watches")),
        sa.UniqueConstraint(
            "user_id",
            "symbol",
            "resolution",
            "period",
            "rule",
            name=op.f("uq_watches_user_id_symbol_resolution_period_rule"),
        ),
    )


def downgrade() -> None:
    """Remove all tables, and with them the indices."""
    op.drop_table("watches")
    op.drop_table("signals")
    op.drop_table("pending_logins")
    op.drop_table("notifications")
    op.drop_table("monitoring_wishes")
    op.drop_table("invites")
    op.drop_table("fyers_apps")
    op.drop_table("browser_logins")
    op.drop_table("broker_connections")
    op.drop_table("api_tokens")
    op.drop_table("users")
    op.drop_table("installation")
    op.drop_table("audit_events")
