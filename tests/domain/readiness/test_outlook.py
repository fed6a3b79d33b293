"""Tests whether a login is needed before the next market open."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.readiness.outlook import outlook
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.sessions.tokens import next_daily_expiry

OPENS_AT = datetime(2026, 11, 24, 3, 45, tzinfo=UTC)
"""09:15 IST."""
SIX = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)


def session(expires_at: datetime | None, state: LoginState = LoginState.CONNECTED) -> Connection:
    """Return a connection that was made one day before the market open."""
    return Connection(
        "usr",
        state=state,
        generation=1,
        expires_at=expires_at,
        connected_at=OPENS_AT - timedelta(days=1),
    )


@pytest.mark.parametrize(
    ("expires_at", "needs_login"),
    [(SIX, True), (OPENS_AT, True), (OPENS_AT + timedelta(seconds=1), False), (None, True)],
    ids=["the daily expiry", "at the market open", "after it", "without an expiry"],
)
def test_a_session_must_expire_after_the_market_open(
    expires_at: datetime | None, *, needs_login: bool
) -> None:
    """A session without an expiry time gets the daily expiry."""
    assert outlook(session(expires_at), opens_at=OPENS_AT).needs_login is needs_login


def test_without_a_session_no_expiry_is_described() -> None:
    """The note about an optional feature is left out as well."""
    found = outlook(session(OPENS_AT, LoginState.DISCONNECTED), opens_at=OPENS_AT, expiry_note="A sentence.")

    assert (found.expires_at, found.needs_login, found.expiry_note) == (None, True, "")


@given(opens_at=st.integers(0, 3 * 365 * 86_400).map(lambda seconds: OPENS_AT + timedelta(seconds=seconds)))
def test_a_login_at_log_in_from_lasts_beyond_the_market_open(opens_at: datetime) -> None:
    """A login one microsecond earlier does not, at any opening time."""
    found = outlook(session(None, LoginState.DISCONNECTED), opens_at=opens_at)

    assert found.log_in_from <= opens_at
    assert next_daily_expiry(found.log_in_from) > opens_at
    assert next_daily_expiry(found.log_in_from - timedelta(microseconds=1)) <= opens_at
