"""Stored words, columns and tables get the names that the code and the API use. No row is lost."""

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

VERIFICATION_STATES = ("assumed", "verified", "unverified", "under_verification", "held")
DELIVERY_STATES = ("waiting", "sent", "failed")
NOTIFICATION_KINDS = (
    "session_expiring", "session_disconnected", "login_renewed", "not_ready", "now_ready", "signal",
    "daily_summary", "broker_outage", "broker_recovered", "job_restarting", "job_recovered",
    "calendar_ending", "calendar_known", "delivery_failed", "channel_failing", "channel_recovered", "test",
)  # fmt: skip
RENEWAL_OUTCOMES = (
    "under_way", "renewed", "expires_no_later", "refused_by_fyers", "wrong_pin", "bad_refresh_token",
    "unknown_refusal", "not_accepted", "unavailable",
)  # fmt: skip

NEW_NOTIFICATION_KINDS = {
    "session_ended": "session_disconnected",
    "broker_trouble": "broker_outage",
    "delivery_set_aside": "delivery_failed",
}
NEW_JOBS = {
    "session-ends": "session-expiry",
    "stored-ends": "stored-disconnects",
    "second-look-care": "verification-restart",
    "dead-mans-switch": "heartbeat-ping",
    "operator-notices": "job-alerts",
    "broker-notices": "broker-alerts",
}
NEW_SUBJECTS = {
    "broker silence": "broker unavailable",
    "broker refusals": "mass refusal",
    **{f"job {old}": f"job {new}" for old, new in NEW_JOBS.items()},
}
NEW_AUDIT_KINDS = {
    "connection.neared_end": "connection.neared_expiry",
    "connection.reached_end": "connection.reached_expiry",
    "broker.not_answering": "broker.unavailable",
    "broker.answers": "broker.available",
    "login_link.made": "login_link.created",
    "login_link.taken": "login_link.used",
    "login_link.asked": "login_link.requested",
}
NEW_AUDIT_STATES = {"fyers_trouble": "fyers_unavailable"}
NEW_AUDIT_REASONS = {
    "broker.unavailable": {
        "no_answer": "no_response",
        "must_wait": "rate_limited",
        "turned_away": "address_blocked",
    },
    "login_link.refused": {"taken": "used"},
    "readiness.%": {
        "fyers_trouble": "fyers_unavailable",
        "ends_before_open": "expires_before_open",
        "ends_early": "expires_before_close",
        "unasked": "not_verified",
        "some_refused": "symbol_refused",
        "not_started": "not_wanted",
    },
    "renewal.tried": {"ends_no_later": "expires_no_later"},
}
NEW_EVIDENCE = {
    "connection.%": (
        ('"kind": "known_end"', '"kind": "expiry"'),
        ('"kind": "stored_end"', '"kind": "stored_disconnect"'),
        ('"renewal": "ends_no_later"', '"renewal": "expires_no_later"'),
    ),
    "login_link.%": (('"askedBy": ', '"requestedBy": '),),
    "renewal.tried": (
        ('"occasion": "before_end"', '"occasion": "before_expiry"'),
        ('"occasion": "at_end"', '"occasion": "at_expiry"'),
        ('"renewal": "ends_no_later"', '"renewal": "expires_no_later"'),
    ),
}
"""Kind of audit lines → pieces of their JSON. A quotation mark inside a JSON text is escaped, so no text can hold such a piece."""


def upgrade() -> None:
    """Rename columns, rewrite stored words and hold them to the new ones."""
    op.alter_column("broker_connections", "standing", new_column_name="verification_state")
    _rewrite(
        "broker_connections",
        "verification_state",
        {"suspected": "under_verification"},
        VERIFICATION_STATES,
        old_rule="standing",
    )
    op.alter_column("incidents", "told_at", new_column_name="notified_at")
    _replace("incidents", "subject", NEW_SUBJECTS)
    op.alter_column("login_links", "asked_by", new_column_name="requested_by")
    op.alter_column("login_links", "taken_at", new_column_name="used_at")
    op.alter_column("renewals", "refresh_token_ends_at", new_column_name="refresh_token_expires_at")
    _rewrite("renewals", "last_outcome", {"ends_no_later": "expires_no_later"}, RENEWAL_OUTCOMES)
    _rewrite("notifications", "kind", NEW_NOTIFICATION_KINDS, NOTIFICATION_KINDS)
    _rewrite("channel_kinds", "kind", NEW_NOTIFICATION_KINDS, NOTIFICATION_KINDS)
    _rewrite("deliveries", "state", {"set_aside": "failed"}, DELIVERY_STATES)
    _rename_heartbeats()
    _rewrite_audit_lines()


def _rewrite(
    table: str, column: str, new_words: Mapping[str, str], words: tuple[str, ...], *, old_rule: str | None = None
) -> None:
    """Replace words in a column that a CHECK constraint holds to a list of words."""
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(old_rule or column, type_="check")
    _replace(table, column, new_words)
    with op.batch_alter_table(table) as batch:
        batch.create_check_constraint(column, sa.column(column, sa.Text).in_(words))


def _replace(table: str, column: str, new_words: Mapping[str, str], *, kinds: str | None = None) -> None:
    """Replace whole values of a column; of audit lines, those whose kind fits the pattern."""
    value = sa.column(column, sa.Text)
    change = sa.update(sa.table(table, value)).where(value.in_(list(new_words)))
    if kinds is not None:
        change = change.where(sa.column("kind", sa.Text).like(kinds))
    op.execute(change.values({column: sa.case(dict(new_words), value=value)}))


def _rename_heartbeats() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_heartbeats")),
    )
    op.execute(sa.text("INSERT INTO heartbeats (name, at) SELECT name, at FROM signs_of_life"))
    op.drop_table("signs_of_life")


def _rewrite_audit_lines() -> None:
    _replace("audit_events", "kind", NEW_AUDIT_KINDS)
    for column in ("from_state", "to_state"):
        _replace("audit_events", column, NEW_AUDIT_STATES, kinds="monitoring.status")
    for kinds, new_words in NEW_AUDIT_REASONS.items():
        _replace("audit_events", "reason", new_words, kinds=kinds)
    for kinds, pieces in NEW_EVIDENCE.items():
        _replace_evidence(kinds, pieces)


def _replace_evidence(kinds: str, pieces: tuple[tuple[str, str], ...]) -> None:
    kind, evidence = sa.column("kind", sa.Text), sa.column("evidence", sa.Text)
    changed: sa.ColumnElement[str] = evidence
    for old, new in pieces:
        changed = sa.func.replace(changed, old, new)
    is_old = sa.or_(*(sa.func.replace(evidence, old, "") != evidence for old, _ in pieces))
    rows = sa.table("audit_events", kind, evidence)
    op.execute(sa.update(rows).where(kind.like(kinds), is_old).values(evidence=changed))
