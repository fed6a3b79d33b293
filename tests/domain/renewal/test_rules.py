"""When a renewal may be tried, and what its outcomes mean; `hullwatch.domain.renewal.rules` and `renewal_outcomes`."""

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
def test_a_try_is_due_within_the_session_and_never_in_its_first_half(place, lifetime_s):
    """Whatever the lifetime and the place in the spread; for a session of a day it is ten to twenty-five minutes before the end."""
    lifetime = timedelta(seconds=lifetime_s)
    session = replace(ALIVE, expires_at=NOW + lifetime)

    due = due_at(session, place)

    assert NOW + lifetime / 2 <= due < NOW + lifetime
    if lifetime > 2 * (LEAD + SPREAD):
        assert LEAD <= NOW + lifetime - due <= LEAD + SPREAD


def test_without_a_session_nothing_is_due():
    """Neither before the first login nor after an end."""
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
def test_what_forbids_every_try(occasion, change):
    """No good refresh token of this app, a PIN that is in question, or a try that this session has had."""
    assert may_try(READY, ALIVE, occasion, now=NOW)
    assert not may_try(replace(READY, **change), ALIVE, occasion, now=NOW)


def test_a_refresh_token_that_does_not_say_when_it_ends_is_tried():
    """Fyers knows."""
    assert may_try(replace(READY, refresh_token_expires_at=None), ALIVE, Occasion.BEFORE_EXPIRY, now=NOW)


def test_only_at_the_end_a_try_follows_one_that_gained_nothing():
    """At a refusal and before the end it is the only one."""
    tried = replace(READY, tried_generation=3, last_outcome=RenewalOutcome.EXPIRES_NO_LATER)

    allowed = {occasion for occasion in Occasion if may_try(tried, ALIVE, occasion, now=NOW)}

    assert allowed == {Occasion.AT_EXPIRY}


def test_a_renewed_session_that_is_refused_is_not_renewed():
    """Only before and at its known end, since it was accepted until then."""
    renewed = replace(ALIVE, generation=4)

    allowed = {occasion for occasion in Occasion if may_try(READY, renewed, occasion, now=NOW)}

    assert allowed == {Occasion.BEFORE_EXPIRY, Occasion.AT_EXPIRY}


def test_ends_that_a_person_wanted_are_no_occasion():
    """Each trigger has its answer."""
    occasions = {trigger: occasion_of(trigger) for trigger in LoginTrigger}

    assert {trigger: occasion for trigger, occasion in occasions.items() if occasion} == {
        LoginTrigger.REACHED_EXPIRY: Occasion.AT_EXPIRY,
        LoginTrigger.REFUSAL_CONFIRMED: Occasion.AT_REFUSAL,
    }


@pytest.mark.parametrize("outcome", RenewalOutcome)
def test_a_failure_belongs_to_its_session(outcome):
    """Successes and beginnings are none, and another session's is not told of this one."""
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
    """What Fyers says no with is told apart; everything else is trouble."""
    assert outcome_of(failure) is outcome
    assert set(REFUSALS.values()) < FAILED


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.e30.c", "a.eyJleHAiOiJub3cifQ.c"])
def test_a_refresh_token_that_does_not_say_its_end_has_none(text):
    """Whatever it is, nothing is raised."""
    assert refresh_token_expiry(RefreshToken(text)) is None
