"""One row of every kind as 0.1.0 stored it, and each value after the upgrade."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import MetaData, Table
from sqlalchemy.engine import Connection

from hullwatch.storage.cipher import Cipher
from hullwatch.storage.failures import Undecryptable
from storage.samples import NOW, after

RENAMED_COLUMNS = {
    ("broker_connections", "standing"): "verification_state",
    ("incidents", "told_at"): "notified_at",
    ("login_links", "asked_by"): "requested_by",
    ("login_links", "taken_at"): "used_at",
    ("renewals", "refresh_token_ends_at"): "refresh_token_expires_at",
}
NEW_COLUMNS = {
    "channels": {"proof": None},
    "signals": {"revision": 1, "withdrawn_at": None, "withdrawn_reason": None, "history_changed_at": None},
    "watches": {"signals_from": after(5)},
}
"""Values that the upgrade gives to the rows of 0.1.0."""
RENAMED_TABLES = {"signs_of_life": "heartbeats"}


@dataclass(frozen=True)
class Was:
    """A value that the upgrade rewrites."""

    old: Any
    new: Any


@dataclass(frozen=True)
class Secret:
    """A secret, and the text that 0.1.0 bound it to."""

    text: str
    row_identity: str


NOTIFICATION_KINDS = (
    "session_expiring", Was("session_ended", "session_disconnected"), "login_renewed", "not_ready", "now_ready", "signal", "daily_summary",
    Was("broker_trouble", "broker_outage"), "broker_recovered", "job_restarting", "job_recovered", "calendar_ending", "calendar_known",
    Was("delivery_set_aside", "delivery_failed"), "channel_failing", "channel_recovered", "test",
)  # fmt: skip
RENEWAL_OUTCOMES = (
    "under_way", "renewed", Was("ends_no_later", "expires_no_later"), "refused_by_fyers", "wrong_pin", "bad_refresh_token",
    "unknown_refusal", "not_accepted", "unavailable",
)  # fmt: skip
VERIFICATION_STATES = ("assumed", "verified", "unverified", Was("suspected", "under_verification"), "held")
USERS = ("asha", *(f"user{number}" for number in range(len(RENEWAL_OUTCOMES))))


def _connection(user_id: str, **values: Any) -> dict[str, Any]:
    whole = {
        "user_id": user_id, "state": "disconnected", "standing": "assumed", "generation": 1, "reason": "rejected", "fyers_id": "XA00001",
        "app_id": "ABCD1234XY-100", "expires_at": after(600), "connected_at": NOW, "last_validated_at": after(1),
        "last_disconnect_at": after(2), "incident_id": "inc-1", "access_token": None, "token_generation": None,
    }  # fmt: skip
    return whole | values


def _line(minutes: float, kind: Any, evidence: dict[Any, Any] | None = None, **values: Any) -> dict[str, Any]:
    whole = {
        "at": after(minutes), "user_id": "asha", "kind": kind, "actor": "hullwatch", "from_state": None, "to_state": None, "reason": None,
        "generation": 3, "incident_id": None, "evidence": evidence or {},
    }  # fmt: skip
    return whole | values


OUR_WORDS_IN_A_NAME = 'a "kind": "known_end" token'

AUDIT_LINES = (
    _line(0, "connection.logged_in", {"kind": "login", "expiresAt": None, "refusals": []}),
    _line(1, Was("connection.neared_end", "connection.neared_expiry"), {"kind": Was("known_end", "expiry")}, to_state="expiring"),
    _line(2, Was("connection.reached_end", "connection.reached_expiry"),
          {"kind": Was("known_end", "expiry"), "renewal": Was("ends_no_later", "expires_no_later")}, reason="expired"),
    _line(3, "connection.signed_out", {"kind": Was("stored_end", "stored_disconnect")}, reason="signed_out"),
    _line(4, "monitoring.status", {"since": after(3).isoformat()}, from_state="watching",
          to_state=Was("fyers_trouble", "fyers_unavailable")),
    _line(6, "monitoring.status", from_state=Was("fyers_trouble", "fyers_unavailable"), to_state="watching"),
    _line(7, "monitoring.status", {"blindSince": after(6).isoformat()}, from_state="watching", to_state="slow_cycle"),
    _line(8, "monitoring.status", from_state="slow_cycle", to_state="watching"),
    _line(9, "readiness.not_ready", reason=Was("fyers_trouble", "fyers_unavailable"), to_state="not_ready"),
    _line(10, "readiness.not_ready", reason=Was("ends_before_open", "expires_before_open"), to_state="not_ready"),
    _line(11, "readiness.ready", reason=Was("ends_early", "expires_before_close"), to_state="ready"),
    _line(12, "readiness.ready", reason=Was("unasked", "not_verified"), to_state="ready"),
    _line(13, Was("broker.not_answering", "broker.unavailable"), reason=Was("no_answer", "no_response"), user_id=None),
    _line(14, Was("broker.not_answering", "broker.unavailable"), reason=Was("must_wait", "rate_limited"), user_id=None),
    _line(15, Was("broker.not_answering", "broker.unavailable"), reason=Was("turned_away", "address_blocked"), user_id=None),
    _line(16, Was("broker.answers", "broker.available"), user_id=None),
    _line(17, Was("login_link.made", "login_link.created"), {Was("askedBy", "requestedBy"): "hullwatch"}),
    _line(18, Was("login_link.taken", "login_link.used"), {Was("askedBy", "requestedBy"): "old_link"}),
    _line(19, Was("login_link.asked", "login_link.requested"), {Was("askedBy", "requestedBy"): "user1"}),
    _line(20, "login_link.refused", {Was("askedBy", "requestedBy"): "user1"}, reason=Was("taken", "used")),
    _line(21, "renewal.tried", {"occasion": Was("before_end", "before_expiry"), "renewal": Was("ends_no_later", "expires_no_later")},
          reason=Was("ends_no_later", "expires_no_later")),
    _line(22, "renewal.tried", {"occasion": Was("at_end", "at_expiry"), "renewal": "renewed"}, reason="renewed"),
    _line(23, "user.api_token_added", {"name": OUR_WORDS_IN_A_NAME}, reason="taken"),
    _line(24, "connection.signed_out", {"kind": "user", "note": OUR_WORDS_IN_A_NAME}, reason="signed_out"),
    _line(25, "server.started", {"since": after(20).isoformat()}, user_id=None),
)  # fmt: skip

ROWS: dict[str, tuple[dict[str, Any], ...]] = {
    "users": tuple(
        {"id": user_id, "email": f"{user_id}@example.com", "full_name": user_id.title(), "role": "admin" if user_id == "asha" else "trader",
         "password_hash": "argon2-hash", "created_at": NOW}
        for user_id in USERS
    ),
    "browser_logins": ({"value_hash": "b1", "user_id": "asha", "created_at": NOW, "expires_at": after(90)},),
    "api_tokens": (
        {"id": "t1", "user_id": "asha", "name": "laptop", "value_hash": "v1", "created_at": NOW, "last_used_at": after(1)},
    ),
    "invites": ({"value_hash": "i1", "created_by": "asha", "expires_at": after(90)},),
    "broker_connections": (
        _connection("asha", state="connected", standing="verified", generation=3, reason=None, token_generation=3,
                    access_token=Secret("access canary", "broker_connections.access_token:asha:3")),
        *(_connection(f"user{number}", standing=state) for number, state in enumerate(VERIFICATION_STATES)),
    ),
    "fyers_apps": (
        {"user_id": "asha", "app_id": "ABCD1234XY-100", "secret": Secret("app canary", "fyers_apps.secret:asha:ABCD1234XY-100"),
         "redirect_uri": "http://127.0.0.1:8000/api/fyers/callback"},
    ),
    "pending_logins": (
        {"state_hash": "s1", "user_id": "asha", "app_id": "ABCD1234XY-100", "expires_at": after(10), "browser_hash": "nonce",
         "may_switch_account": False, "link_generation": 3},
    ),
    "login_links": (
        {"value_hash": "l1", "user_id": "asha", "generation": 3, "asked_by": "old_link", "created_at": NOW, "expires_at": after(60),
         "taken_at": after(5), "browser_hash": "nonce"},
        {"value_hash": "l2", "user_id": "asha", "generation": 3, "asked_by": "hullwatch", "created_at": NOW, "expires_at": after(60),
         "taken_at": None, "browser_hash": None},
    ),
    "renewals": tuple(
        {"user_id": f"user{number}", "pin": Secret(f"pin {number}", f"renewals.pin:user{number}"), "opted_in_at": NOW,
         "app_id": "ABCD1234XY-100", "login_generation": 1,
         "refresh_token": Secret(f"refresh {number}", f"renewals.refresh_token:user{number}"), "refresh_token_ends_at": after(9000),
         "tried_generation": 1, "last_tried_at": after(5), "last_outcome": outcome}
        for number, outcome in enumerate(RENEWAL_OUTCOMES)
    ),
    "watches": (
        {"id": "w1", "user_id": "asha", "symbol": "NSE:SBIN-EQ", "resolution": "5", "period": 55, "rule": "turn", "created_at": NOW,
         "evaluated_through": after(5)},
    ),
    "monitoring_wishes": ({"user_id": "asha", "is_wanted": True, "changed_at": NOW},),
    "signals": (
        {"watch_id": "w1", "candle_opened_at": NOW, "rule": "turn", "resolution": "5", "user_id": "asha", "symbol": "NSE:SBIN-EQ",
         "period": 55, "direction": "up", "candle_closed_at": after(5), "close": 812.35, "hma": 811.9000000000001,
         "detected_at": after(6), "is_late": True},
    ),
    "notifications": tuple(
        {"id": f"n{number:02}", "user_id": "asha", "kind": kind, "title": "Title", "text": "Text", "created_at": after(number),
         "incident_id": f"i{number}", "read_at": after(50) if number else None}
        for number, kind in enumerate(NOTIFICATION_KINDS)
    ),
    "channels": (
        {"id": "c1", "user_id": "asha", "kind": "webhook", "label": "my hook", "hint": "https://x.in/…",
         "address": Secret("https://x.in/hook?key=canary", "channels.address:c1"),
         "signing_secret": Secret("signing canary", "channels.signing_secret:c1"), "is_on": True, "created_at": NOW, "last_sent_at": NOW,
         "failures": 2, "failing_since": after(1), "last_error": "It refused.", "paused_until": after(9)},
    ),
    "channel_kinds": tuple({"channel_id": "c1", "kind": kind} for kind in NOTIFICATION_KINDS),
    "deliveries": tuple(
        {"id": f"n{number:02}.c1", "notification_id": f"n{number:02}", "channel_id": "c1", "user_id": "asha", "state": state,
         "created_at": NOW, "due_at": NOW, "attempts": 2, "claimed_until": None, "ended_at": after(3), "last_error": "It refused."}
        for number, state in enumerate(("waiting", "sent", Was("set_aside", "failed")))
    ),
    "audit_events": AUDIT_LINES,
    "signs_of_life": ({"name": "server", "at": after(26)},),
    "incidents": tuple(
        {"subject": subject, "id": f"inc-{number}", "began_at": NOW, "bad_at": after(1), "told_at": after(2) if number else None}
        for number, subject in enumerate(
            ("calendar", "job outbox", Was("job dead-mans-switch", "job heartbeat-ping"), Was("broker silence", "broker unavailable"), Was("broker refusals", "mass refusal"))
        )
    ),
    "installation": (
        {"name": "key_check", "value": Secret("these are the keys of this database", "installation.value:key_check")},
        {"name": "sharing_salt", "value": Secret("salt canary", "installation.value:sharing_salt")},
    ),
}  # fmt: skip
"""By table, in an order in which foreign keys hold."""


SECRET_COLUMNS = {
    (name, column)
    for name, rows in ROWS.items()
    for row in rows
    for column, value in row.items()
    if isinstance(value, Secret)
}


def secrets() -> list[Secret]:
    """Return all secrets in the rows."""
    return [
        value for rows in ROWS.values() for row in rows for value in row.values() if isinstance(value, Secret)
    ]


def fill(connection: Connection, cipher: Cipher) -> None:
    """Store the rows as 0.1.0 did."""
    for name, rows in ROWS.items():
        table = Table(name, MetaData(), autoload_with=connection)
        made_by_the_database = {"id"} if name == "audit_events" else set()
        for row in rows:
            assert row.keys() | made_by_the_database == {*table.columns.keys()}
            connection.execute(
                table.insert().values(
                    {column: _as_stored(value, connection, cipher) for column, value in row.items()}
                )
            )


def rows_in(connection: Connection, cipher: Cipher) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of a database by table, with moments in UTC and secrets opened."""
    names = (RENAMED_TABLES.get(name, name) for name in ROWS)
    return {
        name: _rows_of(Table(name, MetaData(), autoload_with=connection), connection, cipher)
        for name in names
    }


def expected_rows() -> dict[str, list[dict[str, Any]]]:
    """Return the same rows as the present version holds them."""
    return {
        RENAMED_TABLES.get(name, name): sorted(
            ({RENAMED_COLUMNS.get((name, column), column): _new(value) for column, value in row.items()}
             | NEW_COLUMNS.get(name, {}) for row in rows),
            key=_order,
        )
        for name, rows in ROWS.items()
    }  # fmt: skip


def _rows_of(table: Table, connection: Connection, cipher: Cipher) -> list[dict[str, Any]]:
    rows = [dict(row) for row in connection.execute(table.select()).mappings()]
    for row in rows:
        if table.name == "audit_events":
            del row["id"]
            row["evidence"] = json.loads(row["evidence"])
        for column, value in row.items():
            if isinstance(value, datetime):
                row[column] = value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
            elif (table.name, column) in SECRET_COLUMNS and value is not None:
                row[column] = _opened(value, cipher)
    return sorted(rows, key=_order)


def _opened(sealed: str, cipher: Cipher) -> Secret | str:
    """Return the secret that the ciphertext holds, with the row it is bound to."""
    for secret in secrets():
        with suppress(Undecryptable):
            return Secret(cipher.open(sealed, secret.row_identity), secret.row_identity)
    return sealed


def _as_stored(value: Any, connection: Connection, cipher: Cipher) -> Any:
    match value:
        case Was():
            return value.old
        case Secret():
            return cipher.seal(value.text, value.row_identity)
        case datetime() if connection.dialect.name == "sqlite":
            return value.replace(tzinfo=None)
        case dict():
            return json.dumps({_old(key): _old(part) for key, part in value.items()}, sort_keys=True)
        case _:
            return value


def _old(value: Any) -> Any:
    return value.old if isinstance(value, Was) else value


def _new(value: Any) -> Any:
    if isinstance(value, dict):
        return {_new(key): _new(part) for key, part in value.items()}
    return value.new if isinstance(value, Was) else value


def _order(row: dict[str, Any]) -> str:
    return repr(sorted(row.items()))
