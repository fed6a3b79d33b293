"""When an attempt to renew a session may be made; `hullwatch.domain.renewal`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.failures import (
    BrokerService,
    LoginRefused,
    NotPermitted,
    RateLimited,
    RequestRefused,
    SessionDisconnected,
    Unavailable,
    UnreadableReply,
)
from hullwatch.domain.renewal.outcomes import FAILED, NEEDS_PIN, REFUSALS, RenewalOutcome, outcome_of
from hullwatch.domain.renewal.rules import (
    LEAD,
    SPREAD,
    Occasion,
    Renewal,
    due_at,
    failure_in,
    may_try,
    occasion_of,
)
from hullwatch.domain.secrets import RefreshToken
from hullwatch.domain.sessions.connection import Connection, LoginState, LoginTrigger
from hullwatch.domain.sessions.tokens import refresh_token_expiry

LOGIN = BrokerService.LOGIN
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
END = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
APP_ID = "ABCD1234XY-100"
ALIVE = Connection(
    "asha", LoginState.CONNECTED, generation=3, app_id=APP_ID, expires_at=END, connected_at=NOW
)
READY = Renewal(
    "asha",
    NOW,
    has_refresh_token=True,
    app_id=APP_ID,
    login_generation=3,
    refresh_token_expires_at=END + timedelta(days=14),
)


@given(st.floats(0, 1), st.integers(1, 40 * 3600))
def test_an_attempt_is_due_in_the_second_half_of_a_session(part, lifetime_s):
    """For a session of a day it is due ten to twenty-five minutes before the expiry."""
    lifetime = timedelta(seconds=lifetime_s)
    session = replace(ALIVE, expires_at=NOW + lifetime)

    due = due_at(session, part)

    assert NOW + lifetime / 2 <= due < NOW + lifetime
    if lifetime > 2 * (LEAD + SPREAD):
        assert LEAD <= NOW + lifetime - due <= LEAD + SPREAD


def test_without_a_session_nothing_is_due():
    """Neither before the first login nor after a disconnect."""
    assert due_at(Connection("asha"), 0.5) is None
    assert due_at(replace(ALIVE, state=LoginState.DISCONNECTED), 0.5) is None


@pytest.mark.parametrize("occasion", Occasion)
@pytest.mark.parametrize(
    "change",
    [
        {"has_refresh_token": False},
        {"app_id": "OTHER-100"},
        {"app_id": None},
        {"refresh_token_expires_at": NOW},
        *({"last_outcome": outcome, "tried_generation": 1} for outcome in NEEDS_PIN),
        {"tried_generation": 3, "last_outcome": RenewalOutcome.REFUSED_BY_FYERS},
        {"tried_generation": 3, "last_outcome": None},
    ],
)
def test_what_forbids_every_attempt(occasion, change):
    """No valid refresh token of this app, a PIN in question, or an earlier attempt for this session."""
    assert may_try(READY, ALIVE, occasion, now=NOW)
    assert not may_try(replace(READY, **change), ALIVE, occasion, now=NOW)


def test_a_refresh_token_without_an_expiry_is_used():
    """Only Fyers knows whether it is still valid."""
    assert may_try(replace(READY, refresh_token_expires_at=None), ALIVE, Occasion.BEFORE_EXPIRY, now=NOW)


def test_a_second_attempt_is_made_only_at_the_expiry():
    """It follows an attempt whose session would have expired at the same time."""
    tried = replace(READY, tried_generation=3, last_outcome=RenewalOutcome.EXPIRES_NO_LATER)

    allowed = {occasion for occasion in Occasion if may_try(tried, ALIVE, occasion, now=NOW)}

    assert allowed == {Occasion.AT_EXPIRY}


def test_a_renewed_session_that_is_refused_is_not_renewed():
    """Fyers accepted it until its expiry, so an attempt is made before the expiry and at it."""
    renewed = replace(ALIVE, generation=4)

    allowed = {occasion for occasion in Occasion if may_try(READY, renewed, occasion, now=NOW)}

    assert allowed == {Occasion.BEFORE_EXPIRY, Occasion.AT_EXPIRY}


def test_disconnects_by_a_person_are_no_occasion():
    """Each trigger has its row."""
    occasions = {trigger: occasion_of(trigger) for trigger in LoginTrigger}

    assert {trigger: occasion for trigger, occasion in occasions.items() if occasion} == {
        LoginTrigger.REACHED_EXPIRY: Occasion.AT_EXPIRY,
        LoginTrigger.REFUSAL_CONFIRMED: Occasion.AT_REFUSAL,
    }


@pytest.mark.parametrize("outcome", RenewalOutcome)
def test_a_failure_belongs_to_its_session(outcome):
    """An outcome of another session, or a success, is not reported for this one."""
    tried = replace(READY, tried_generation=3, last_outcome=outcome)

    assert failure_in(tried, 3) is (outcome if outcome in FAILED else None)
    assert failure_in(tried, 4) is None
    assert failure_in(READY, 3) is None


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (RequestRefused(LOGIN, -16, 400, "disabled"), RenewalOutcome.REFUSED_BY_FYERS),
        (RequestRefused(LOGIN, -501, 400, "token"), RenewalOutcome.BAD_REFRESH_TOKEN),
        (RequestRefused(LOGIN, -1049, 400, "PIN"), RenewalOutcome.WRONG_PIN),
        (RequestRefused(LOGIN, -4711, 400, "new"), RenewalOutcome.UNKNOWN_REFUSAL),
        (NotPermitted(LOGIN, -403, 403, "no"), RenewalOutcome.REFUSED_BY_FYERS),
        (RateLimited(LOGIN, 3), RenewalOutcome.UNAVAILABLE),
        (Unavailable(LOGIN, "http_502", 502), RenewalOutcome.UNAVAILABLE),
        (UnreadableReply(LOGIN, "unreadable", 200), RenewalOutcome.UNAVAILABLE),
        (SessionDisconnected(LOGIN), RenewalOutcome.UNAVAILABLE),
        (LoginRefused(LOGIN, -16, 401, "/x"), RenewalOutcome.UNAVAILABLE),
    ],
)
def test_every_failure_is_an_outcome(failure, outcome):
    """Refusals by Fyers are distinguished; every other failure is an outage."""
    assert outcome_of(failure) is outcome
    assert set(REFUSALS.values()) < FAILED


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.e30.c", "a.eyJleHAiOiJub3cifQ.c"])
def test_an_unreadable_refresh_token_has_no_expiry(text):
    """No text raises an error."""
    assert refresh_token_expiry(RefreshToken(text)) is None
