"""Totality of the web's tables: refusals, sentences and events each have their row."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest

from hullwatch.domain import failures
from hullwatch.domain.events import Event
from hullwatch.domain.sessions.connection import Connection, DisconnectReason, LoginState, VerificationState
from hullwatch.services.texts.connection import connection_message
from hullwatch.web.errors import KINDS
from hullwatch.web.event_payloads import KINDS as EVENT_KINDS

ENDS_AT = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)


def all_refusals(of: type = failures.Refusal) -> set[type]:
    """Return the whole family."""
    return {of}.union(*(all_refusals(child) for child in of.__subclasses__()))


def test_every_refusal_has_a_status():
    """Each class of refusal has its own row, and each row its own slug."""
    ours = {refusal for refusal in all_refusals() if refusal.__module__.startswith("hullwatch.")}

    assert ours == set(KINDS)
    assert len({kind.slug for kind in KINDS.values()}) == len(KINDS)
    assert all(400 <= kind.status < 600 for kind in KINDS.values())


def test_every_event_has_a_shape():
    """Each event of the domain is rendered, each under a name of its own."""
    assert set(EVENT_KINDS) == set(get_args(Event))
    assert len({kind for kind, _ in EVENT_KINDS.values()}) == len(EVENT_KINDS)


def connection(
    state: LoginState, reason: DisconnectReason | None, verification: VerificationState
) -> Connection:
    """Return a connection in this state."""
    return Connection(
        "asha",
        state=state,
        reason=reason,
        verification_state=verification,
        expires_at=ENDS_AT,
        last_disconnect_at=ENDS_AT,
    )


@pytest.mark.parametrize("state", LoginState)
@pytest.mark.parametrize("verification", VerificationState)
@pytest.mark.parametrize("reason", [None, *DisconnectReason])
def test_every_connection_has_a_message(state, verification, reason):
    """Whatever the state, the person gets whole sentences, and every time is said to be IST."""
    message = connection_message(connection(state, reason, verification))

    assert message[0].isupper()
    assert message.endswith(".")
    assert "None" not in message
    assert message.count("06:00") == message.count("24 Nov 2026, 06:00 IST")
    if state in (LoginState.DISCONNECTED, LoginState.NEVER_CONNECTED):
        assert "Log in to Fyers" in message


def test_expiry_noticed_late_has_its_real_time():
    """After a night in which the server was down, the sentence has the time of the expiry."""
    noticed = replace(
        connection(LoginState.DISCONNECTED, DisconnectReason.EXPIRED, VerificationState.ASSUMED),
        last_disconnect_at=datetime(2026, 11, 24, 5, 0, tzinfo=UTC),
    )

    assert "expired on 24 Nov 2026, 06:00 IST" in connection_message(noticed)


def test_missing_times_are_not_made_up():
    """A connection without known times still has a sentence."""
    for state in LoginState:
        assert "None" not in connection_message(Connection("asha", state=state, reason=None))
