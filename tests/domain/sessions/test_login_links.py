"""The states of a login link; `hullwatch.domain.sessions.login_links`."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.sessions.login_links import (
    BY_HULLWATCH,
    LinkState,
    LoginLink,
    masked_email,
    masked_fyers_id,
    request_incident,
    requester_of,
    state_of,
)

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def link(browser_hash: str | None = None) -> LoginLink:
    """Return a link of generation 3 that ends in a minute."""
    return LoginLink("asha", 3, BY_HULLWATCH, NOW, NOW + MINUTE, browser_hash=browser_hash)


@pytest.mark.parametrize(
    ("taken_by", "generation", "browser", "after", "state"),
    [
        (None, 3, None, 0 * MINUTE, LinkState.GOOD),
        (None, 3, "phone", 0 * MINUTE, LinkState.GOOD),
        ("phone", 3, "phone", 0 * MINUTE, LinkState.GOOD),
        ("phone", 3, "desk", 0 * MINUTE, LinkState.USED),
        ("phone", 3, None, 0 * MINUTE, LinkState.USED),
        (None, 3, "phone", MINUTE - timedelta(microseconds=1), LinkState.GOOD),
        (None, 3, "phone", MINUTE, LinkState.EXPIRED),
        ("phone", 3, "desk", MINUTE, LinkState.EXPIRED),
        (None, 4, "phone", 0 * MINUTE, LinkState.VOID),
        ("phone", 4, "phone", MINUTE, LinkState.VOID),
        (None, 2, "phone", 0 * MINUTE, LinkState.VOID),
    ],
)
def test_a_link_has_one_of_four_states(taken_by, generation, browser, after, state):
    """It can be used for its generation, until its expiry, in the first browser that opened it."""
    assert state_of(link(taken_by), generation=generation, browser_hash=browser, now=NOW + after) is state


@pytest.mark.parametrize(
    ("email", "masked"), [("asha@b.in", "a•••@b.in"), ("a@b.in", "a•••@b.in"), ("x+y@b@c.in", "x•••@c.in")]
)
def test_an_address_shows_its_first_letter_and_host(email, masked):
    """However short it is."""
    assert masked_email(email) == masked


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", max_size=12))
def test_a_fyers_id_is_never_shown_whole(fyers_id):
    """Four characters at most, and none of a short one."""
    masked = masked_fyers_id(fyers_id)

    shown = masked.replace("•", "")
    assert len(shown) <= 4
    assert len(shown) < len(fyers_id) or not fyers_id
    assert not fyers_id or fyers_id not in masked


def notice(incident_id: str | None) -> Notification:
    """Return a notice of an incident."""
    return Notification("n1", "asha", NotificationKind.NOT_READY, "t", "t", NOW, incident_id)


def test_a_notice_names_its_requester():
    """Notices that no person requested belong to hullwatch."""
    assert requester_of(notice(request_incident("ask_0a1b", "usr_9"))) == "usr_9"
    for other in (None, "", "inc_1", "ask", "ask.", "ask.x", "ask.x.", "day-2026-11-23", "readiness.2026.x"):
        assert requester_of(notice(other)) == BY_HULLWATCH


def test_the_incident_of_a_requested_notice_fits_its_column():
    """Ids have a prefix and twenty hexadecimal digits; the column takes 64 characters."""
    assert len(request_incident("ask_" + "0" * 20, "usr_" + "0" * 20)) <= 64
