"""Whether a login is needed before the next bell; `hullwatch.domain.readiness.outlook`."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.readiness.outlook import outlook
from hullwatch.domain.sessions.connection import Connection, LoginState
from hullwatch.domain.sessions.tokens import next_daily_expiry

BELL = datetime(2026, 11, 24, 3, 45, tzinfo=UTC)
"""09:15 IST."""
SIX = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)


def session(ends_at: datetime | None, state: LoginState = LoginState.CONNECTED) -> Connection:
    """Return a connection that began in the morning before."""
    return Connection(
        "usr",
        state=state,
        generation=1,
        expires_at=ends_at,
        connected_at=BELL - timedelta(days=1),
    )


@pytest.mark.parametrize(
    ("ends_at", "needs_login"),
    [(SIX, True), (BELL, True), (BELL + timedelta(seconds=1), False), (None, True)],
    ids=["the daily end", "at the bell", "after it", "not known"],
)
def test_a_session_has_to_live_at_the_bell(ends_at: datetime | None, *, needs_login: bool) -> None:
    """One whose end is not known ends as all do."""
    assert outlook(session(ends_at), opens_at=BELL).needs_login is needs_login


def test_without_a_session_no_expiry_is_described() -> None:
    """Whatever was consented to; the login is needed."""
    found = outlook(session(BELL, LoginState.DISCONNECTED), opens_at=BELL, expiry_note="A sentence.")

    assert (found.expires_at, found.needs_login, found.expiry_note) == (None, True, "")


@given(opens_at=st.integers(0, 3 * 365 * 86_400).map(lambda seconds: BELL + timedelta(seconds=seconds)))
def test_a_login_from_the_named_moment_on_lasts_beyond_the_bell(opens_at: datetime) -> None:
    """And one a moment earlier does not, at whatever hour a session opens."""
    found = outlook(session(None, LoginState.DISCONNECTED), opens_at=opens_at)

    assert found.log_in_from <= opens_at
    assert next_daily_expiry(found.log_in_from) > opens_at
    assert next_daily_expiry(found.log_in_from - timedelta(microseconds=1)) <= opens_at
