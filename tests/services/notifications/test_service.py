"""Tests the texts of notices and the list of a user's notices."""

from datetime import UTC, datetime

import pytest

from hullwatch.domain.failures import BrokerService, LoginRefused, NotFound
from hullwatch.domain.notifications.notifications import LEADS_TO_LOGIN, NotificationKind
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    Connection,
    ConnectionChange,
    DisconnectReason,
    Evidence,
    LoginTrigger,
)
from hullwatch.services.texts.notices import (
    compose_broker_outage,
    compose_connected_again,
    compose_login_asked,
    compose_session_disconnected,
)
from hullwatch.services.texts.times import in_ist
from services.environment import ALICE, BOB, Environment

NOW = datetime(2026, 11, 23, 8, 35, tzinfo=UTC)
LATER = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
TRIGGERS = {
    DisconnectReason.EXPIRED: LoginTrigger.REACHED_EXPIRY,
    DisconnectReason.REJECTED: LoginTrigger.REFUSAL_CONFIRMED,
    DisconnectReason.SIGNED_OUT: LoginTrigger.SIGNED_OUT,
    DisconnectReason.BY_ADMIN: LoginTrigger.DISCONNECTED_BY_ADMIN,
}


def new_id(prefix: str) -> str:
    """Return an id."""
    return f"{prefix}_1"


def login() -> ConnectionChange:
    """Return the first login of an account."""
    return rules.log_in(
        Connection(ALICE), fyers_id="FA1", app_id="APP", expires_at=LATER, now=NOW, actor=ALICE
    )


def disconnect(reason: DisconnectReason, kind: str = "test") -> ConnectionChange:
    """Return a disconnect for this reason."""
    refusals = (LoginRefused(BrokerService.DATA, -15, 401, "/quotes"),)
    evidence = Evidence(kind, refusals=refusals if reason is DisconnectReason.REJECTED else ())
    return rules.disconnect(login().after, TRIGGERS[reason], incident_id="inc_1", now=NOW, evidence=evidence)


def test_times_are_shown_in_ist() -> None:
    """IST is 5:30 hours ahead of UTC, and the text names it."""
    assert in_ist(NOW) == "23 Nov 2026, 14:05 IST"


@pytest.mark.parametrize("reason", [DisconnectReason.EXPIRED, DisconnectReason.REJECTED])
def test_an_addition_is_between_cause_and_advice(reason: DisconnectReason) -> None:
    """An optional feature adds one sentence. Title and incident stay the same."""
    plain = compose_session_disconnected(disconnect(reason), new_id=new_id)
    longer = compose_session_disconnected(disconnect(reason), new_id=new_id, addition="It was {tried}.")

    cause, advice = longer.text.split(" It was {tried}. ")
    assert f"{cause} {advice}" == plain.text
    assert (longer.title, longer.incident_id) == (plain.title, plain.incident_id)


def test_each_disconnect_reason_has_its_own_text() -> None:
    """Each text gives the time, the cause and the next action."""
    notices = [compose_session_disconnected(disconnect(reason), new_id=new_id) for reason in DisconnectReason]

    assert len({notice.title for notice in notices}) == len(DisconnectReason)
    for notice in notices:
        assert "14:05 IST" in notice.text
        assert "Log in to Fyers again" in notice.text
        assert "{" not in notice.text
        assert (notice.kind, notice.incident_id) == (NotificationKind.SESSION_DISCONNECTED, "inc_1")


def test_an_unreadable_token_has_its_own_text() -> None:
    """The cause is a lost key, and the user did not sign out."""
    lost = compose_session_disconnected(
        disconnect(DisconnectReason.SIGNED_OUT, "unreadable_token"), new_id=new_id
    )
    signed_out = compose_session_disconnected(disconnect(DisconnectReason.SIGNED_OUT), new_id=new_id)

    assert lost.title != signed_out.title
    assert "key" in lost.text


def test_only_a_disconnect_has_a_disconnect_notice() -> None:
    """A login raises an error instead."""
    with pytest.raises(ValueError, match="a connected session"):
        compose_session_disconnected(login(), new_id=new_id)


def test_a_new_login_notice_has_the_expiry() -> None:
    """The expiry is an upper bound, since Fyers may refuse the token earlier."""
    assert f"until {in_ist(LATER)}." in compose_connected_again(login(), new_id=new_id).text


def test_an_outage_and_its_recovery_have_different_kinds() -> None:
    """One incident can have one notice of each kind."""
    kinds = {
        compose_broker_outage(ALICE, incident_id="inc_1", is_over=is_over, now=NOW, new_id=new_id).kind
        for is_over in (False, True)
    }

    assert kinds == {NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED}


def test_a_requested_login_notice_names_the_requester_and_the_time() -> None:
    """The requester is an admin or the holder of an old link."""
    by_admin, by_link = (
        compose_login_asked(ALICE, incident_id="ask.1.x", is_by_admin=is_by_admin, now=NOW, new_id=new_id)
        for is_by_admin in (True, False)
    )

    assert "administrator" in by_admin.title
    assert "administrator" not in by_link.text
    for notice in (by_admin, by_link):
        assert notice.kind in LEADS_TO_LOGIN
        assert "14:05 IST" in notice.text
        assert notice.incident_id == "ask.1.x"


async def test_notices_are_private_to_their_user() -> None:
    """Another user can neither read nor mark them. A read notice stays in the list."""
    env = await Environment().with_sessions(ALICE, BOB)
    await env.connections.sign_out(ALICE, actor=ALICE)
    [notice] = await env.notifications.of_user(ALICE)
    assert await env.notifications.of_user(BOB) == []
    with pytest.raises(NotFound):
        await env.notifications.mark_read(BOB, notice.id)

    await env.notifications.mark_read(ALICE, notice.id)

    assert await env.notifications.of_user(ALICE, unread_only=True) == []
    assert [found.id for found in await env.notifications.of_user(ALICE)] == [notice.id]
