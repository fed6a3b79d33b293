"""All tables, as hullwatch 0.1.0 left them."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from hullwatch.storage.models import Base

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None

NOTIFICATION_KINDS = (
    "session_expiring", "session_ended", "login_renewed", "not_ready", "now_ready", "signal",
    "daily_summary", "broker_trouble", "broker_recovered", "job_restarting", "job_recovered",
    "calendar_ending", "calendar_known", "delivery_set_aside", "channel_failing", "channel_recovered",
    "test",
)  # fmt: skip

RENEWAL_OUTCOMES = (
    "under_way", "renewed", "ends_no_later", "refused_by_fyers", "wrong_pin", "bad_refresh_token",
    "unknown_refusal", "not_accepted", "unavailable",
)  # fmt: skip


_TABLES = sa.MetaData(naming_convention=Base.metadata.naming_convention)


def upgrade() -> None:
    """Create all tables."""
    _TABLES.create_all(op.get_bind(), checkfirst=False)


def _table(name: str, key: str, *parts: sa.schema.SchemaItem) -> None:
    """Describe a table; `key` names the columns of the primary key."""
    sa.Table(name, _TABLES, *parts, sa.PrimaryKeyConstraint(*key.split()))


def _texts(*names: str, null: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=null) for name in names]


def _moments(*names: str, null: bool = False) -> list[sa.Column[datetime]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=null) for name in names]


def _numbers(*names: str, null: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=null) for name in names]


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _word(name: str, *words: str, null: bool = False) -> sa.Column[str]:
    kind = sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=32)
    return sa.Column(name, kind, nullable=null)


def _belongs_to(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], ondelete="CASCADE")


_table(
    "audit_events",
    "id",
    sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
    *_moments("at"),
    *_texts("user_id", null=True),
    *_texts("kind", "actor"),
    *_texts("from_state", "to_state", "reason", null=True),
    *_numbers("generation", null=True),
    *_texts("incident_id", null=True),
    *_texts("evidence"),
    sa.Index(None, "at"),
    sa.Index(None, "user_id", "at"),
)
_table("installation", "name", *_texts("name", "value"))
_table(
    "users",
    "id",
    *_texts("id", "email", "full_name"),
    _word("role", "trader", "admin"),
    *_texts("password_hash"),
    *_moments("created_at"),
    sa.UniqueConstraint("email"),
)
_table(
    "api_tokens",
    "id",
    *_texts("id", "user_id", "name", "value_hash"),
    *_moments("created_at"),
    *_moments("last_used_at", null=True),
    _belongs_to("users", "user_id"),
    sa.UniqueConstraint("value_hash"),
    sa.Index(None, "user_id"),
)
_table(
    "invites",
    "value_hash",
    *_texts("value_hash", "created_by"),
    *_moments("expires_at"),
    _belongs_to("users", "created_by"),
    sa.Index(None, "created_by"),
    sa.Index(None, "expires_at"),
)
_table(
    "broker_connections",
    "user_id",
    *_texts("user_id"),
    _word("state", "never_connected", "connected", "expiring", "disconnected"),
    _word("standing", "assumed", "verified", "unverified", "suspected", "held"),
    *_numbers("generation"),
    _word("reason", "expired", "rejected", "signed_out", "by_admin", null=True),
    *_texts("fyers_id", "app_id", null=True),
    *_moments("expires_at", "connected_at", "last_validated_at", "last_disconnect_at", null=True),
    *_texts("incident_id", "access_token", null=True),
    *_numbers("token_generation", null=True),
    sa.CheckConstraint(
        "access_token IS NULL OR (state IN ('connected', 'expiring') AND token_generation = generation)",
        name="token_of_this_session",
    ),
    sa.CheckConstraint("generation >= 0", name="generation"),
    _belongs_to("users", "user_id"),
)
_table(
    "browser_logins",
    "value_hash",
    *_texts("value_hash", "user_id"),
    *_moments("created_at", "expires_at"),
    _belongs_to("users", "user_id"),
    sa.Index(None, "expires_at"),
    sa.Index(None, "user_id"),
)
_table(
    "fyers_apps",
    "user_id",
    *_texts("user_id", "app_id", "secret", "redirect_uri"),
    _belongs_to("users", "user_id"),
)
_table(
    "monitoring_wishes",
    "user_id",
    *_texts("user_id"),
    _flag("is_wanted"),
    *_moments("changed_at"),
    _belongs_to("users", "user_id"),
)
_table(
    "notifications",
    "id",
    *_texts("id", "user_id"),
    _word("kind", *NOTIFICATION_KINDS),
    *_texts("title", "text"),
    *_moments("created_at"),
    *_texts("incident_id", null=True),
    *_moments("read_at", null=True),
    _belongs_to("users", "user_id"),
    sa.Index(None, "user_id", "created_at"),
    sa.Index(
        "uq_notifications_user_id_kind_incident_id",
        "user_id",
        "kind",
        "incident_id",
        unique=True,
        sqlite_where=sa.text("incident_id IS NOT NULL"),
        postgresql_where=sa.text("incident_id IS NOT NULL"),
    ),
)
_table(
    "pending_logins",
    "state_hash",
    *_texts("state_hash", "user_id", "app_id"),
    *_moments("expires_at"),
    *_texts("browser_hash"),
    _flag("may_switch_account"),
    *_numbers("link_generation", null=True),
    _belongs_to("users", "user_id"),
    sa.Index(None, "expires_at"),
    sa.Index(None, "user_id"),
)
_table(
    "signals",
    "watch_id candle_opened_at rule resolution",
    *_texts("watch_id"),
    *_moments("candle_opened_at"),
    _word("rule", "cross", "turn"),
    *_texts("user_id", "symbol", "resolution"),
    *_numbers("period"),
    _word("direction", "up", "down"),
    *_moments("candle_closed_at"),
    sa.Column("close", sa.Double(), nullable=False),
    sa.Column("hma", sa.Double(), nullable=False),
    *_moments("detected_at"),
    _flag("is_late"),
    sa.CheckConstraint("candle_closed_at > candle_opened_at", name="candle"),
    _belongs_to("users", "user_id"),
    sa.Index(None, "user_id", "candle_opened_at"),
)
_table(
    "watches",
    "id",
    *_texts("id", "user_id", "symbol", "resolution"),
    *_numbers("period"),
    _word("rule", "cross", "turn"),
    *_moments("created_at", "evaluated_through"),
    sa.CheckConstraint("period BETWEEN 2 AND 1000", name="period"),
    _belongs_to("users", "user_id"),
    sa.UniqueConstraint("user_id", "symbol", "resolution", "period", "rule"),
)
_table(
    "login_links",
    "value_hash",
    *_texts("value_hash", "user_id"),
    *_numbers("generation"),
    *_texts("asked_by"),
    *_moments("created_at", "expires_at"),
    *_moments("taken_at", null=True),
    *_texts("browser_hash", null=True),
    _belongs_to("users", "user_id"),
    sa.Index(None, "expires_at"),
    sa.Index(None, "user_id"),
)
_table(
    "renewals",
    "user_id",
    *_texts("user_id", "pin"),
    *_moments("opted_in_at"),
    *_texts("app_id", null=True),
    *_numbers("login_generation", null=True),
    *_texts("refresh_token", null=True),
    *_moments("refresh_token_ends_at", null=True),
    *_numbers("tried_generation", null=True),
    *_moments("last_tried_at", null=True),
    _word("last_outcome", *RENEWAL_OUTCOMES, null=True),
    _belongs_to("users", "user_id"),
)
_table(
    "channels",
    "id",
    *_texts("id", "user_id"),
    _word("kind", "email", "webhook", "telegram", "slack", "apprise"),
    *_texts("label", "address", "hint"),
    *_texts("signing_secret", null=True),
    _flag("is_on"),
    *_moments("created_at"),
    *_moments("last_sent_at", null=True),
    *_numbers("failures"),
    *_moments("failing_since", null=True),
    *_texts("last_error", null=True),
    *_moments("paused_until", null=True),
    _belongs_to("users", "user_id"),
    sa.Index(None, "user_id"),
)
_table(
    "channel_kinds",
    "channel_id kind",
    *_texts("channel_id"),
    _word("kind", *NOTIFICATION_KINDS),
    _belongs_to("channels", "channel_id"),
)
_table(
    "deliveries",
    "id",
    *_texts("id", "notification_id", "channel_id", "user_id"),
    _word("state", "waiting", "sent", "set_aside"),
    *_moments("created_at", "due_at"),
    *_numbers("attempts"),
    *_moments("claimed_until", "ended_at", null=True),
    *_texts("last_error", null=True),
    _belongs_to("channels", "channel_id"),
    _belongs_to("notifications", "notification_id"),
    _belongs_to("users", "user_id"),
    sa.Index(None, "channel_id", "state", "due_at"),
    sa.Index(None, "notification_id"),
    sa.Index(None, "state", "due_at"),
    sa.Index(None, "user_id"),
)
_table("signs_of_life", "name", *_texts("name"), *_moments("at"))
_table(
    "incidents",
    "subject",
    *_texts("subject", "id"),
    *_moments("began_at", "bad_at"),
    *_moments("told_at", null=True),
    sa.UniqueConstraint("id"),
)
