"""The state tables of a session and its rules; `hullwatch.domain.sessions.connection`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import BrokerService, LoginRefused
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import (
    LOGIN_TABLE,
    VERIFICATION_TABLE,
    Connection,
    Credential,
    DisconnectReason,
    Evidence,
    ImpossibleTransition,
    LoginState,
    LoginTrigger,
    VerificationState,
    VerificationTrigger,
    can_be_continued,
    credential_of,
    move,
)

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
END = datetime(2026, 11, 24, 0, 30, tzinfo=UTC)
ENDINGS = (
    LoginTrigger.REACHED_EXPIRY,
    LoginTrigger.REFUSAL_CONFIRMED,
    LoginTrigger.SIGNED_OUT,
    LoginTrigger.DISCONNECTED_BY_ADMIN,
)
SERVICES = (BrokerService.PROFILE, BrokerService.TRADING, BrokerService.DATA)


def logged_in(connection: Connection | None = None, *, at: datetime = NOW) -> Connection:
    """Return the connection after a login."""
    before = connection or Connection("usr_1")
    return rules.log_in(before, fyers_id="FA1", app_id="APP-100", expires_at=END, now=at, actor="usr_1").after


def disconnected(
    connection: Connection, trigger: LoginTrigger, *refusals: LoginRefused, at: datetime = NOW
) -> Connection:
    """Return the connection after a disconnect."""
    evidence = Evidence("test", refusals=refusals)
    return rules.disconnect(connection, trigger, incident_id="inc_1", now=at, evidence=evidence).after


def refused(code: int, service: BrokerService = BrokerService.DATA) -> LoginRefused:
    """Return a refusal."""
    return LoginRefused(service, code=code, http_status=401, path="/quotes")


@pytest.mark.parametrize(
    ("table", "states", "triggers"),
    [(LOGIN_TABLE, LoginState, LoginTrigger), (VERIFICATION_TABLE, VerificationState, VerificationTrigger)],
)
def test_each_state_and_trigger_is_in_the_table_or_impossible(
    table: dict, states: type[StrEnum], triggers: type[StrEnum]
) -> None:
    """A missing pair raises an error that names both."""
    for state, trigger in product(states, triggers):
        if (state, trigger) in table:
            assert move(table, state, trigger) in set(states)
        else:
            with pytest.raises(ImpossibleTransition, match=f"{state.value}.*{trigger.value}"):
                move(table, state, trigger)


def test_every_state_can_be_reached_and_left() -> None:
    """No state is unreachable, and none is final."""
    for table, states, start in (
        (LOGIN_TABLE, LoginState, LoginState.NEVER_CONNECTED),
        (VERIFICATION_TABLE, VerificationState, VerificationState.ASSUMED),
    ):
        reached = {start}
        while more := {after for (before, _), after in table.items() if before in reached} - reached:
            reached |= more
        assert reached == set(states)
        assert {before for (before, _), after in table.items() if before is not after} == set(states)


def test_only_four_triggers_disconnect_a_session() -> None:
    """An unverified session stays connected."""
    leading = {trigger for (_, trigger), after in LOGIN_TABLE.items() if after is LoginState.DISCONNECTED}
    assert leading == set(ENDINGS)
    for state in (LoginState.CONNECTED, LoginState.EXPIRING):
        assert all(LOGIN_TABLE[state, trigger] is LoginState.DISCONNECTED for trigger in ENDINGS)


@given(st.lists(st.sampled_from(LoginTrigger), max_size=30))
@settings(deadline=None)
def test_a_login_state_follows_its_model(triggers: list[LoginTrigger]) -> None:
    """A session exists from a login to the first disconnect after it; generations only grow."""
    connection, exists, generation = Connection("usr_1"), False, 0
    for trigger in triggers:
        before = connection
        try:
            if trigger is LoginTrigger.LOGGED_IN:
                connection = logged_in(connection)
            elif trigger is LoginTrigger.NEARED_EXPIRY:
                connection = rules.mark_expiring(connection, now=NOW).after
            else:
                connection = disconnected(connection, trigger)
        except ImpossibleTransition:
            assert connection is before
            assert not exists or (
                trigger is LoginTrigger.NEARED_EXPIRY and connection.state is LoginState.EXPIRING
            )
            continue
        if trigger is LoginTrigger.LOGGED_IN:
            exists, generation = True, generation + 1
        elif trigger is not LoginTrigger.NEARED_EXPIRY:
            exists = False
        assert connection.has_session is exists
        assert connection.generation == generation
        assert (connection.reason is None) is exists
        assert connection.is_usable is exists  # a change of the login state ends a verification


@given(st.lists(st.sampled_from([trigger for trigger in VerificationTrigger if trigger.value != "started"])))
@settings(deadline=None)
def test_a_verification_state_follows_its_model(triggers: list[VerificationTrigger]) -> None:
    """A refusal blocks ordinary calls until it is cleared or released, and never disconnects."""
    connection, blocked = logged_in(), False
    for trigger in triggers:
        try:
            connection = rules.update_verification(connection, trigger, now=NOW)
        except ImpossibleTransition:
            continue
        if trigger is VerificationTrigger.REFUSED:
            blocked = True
        elif trigger in (VerificationTrigger.CLEARED, VerificationTrigger.RELEASED):
            blocked = False
        assert connection.is_usable is not blocked
        assert connection.has_session
        assert connection.state is LoginState.CONNECTED


def test_a_late_answer_does_not_clear_a_refusal() -> None:
    """A call that was under way at the refusal changes nothing."""
    under_verification = rules.update_verification(logged_in(), VerificationTrigger.REFUSED, now=NOW)

    for trigger in (
        VerificationTrigger.ANSWERED,
        VerificationTrigger.UNAVAILABLE,
        VerificationTrigger.REFUSED,
    ):
        assert (
            rules.update_verification(under_verification, trigger, now=NOW).verification_state
            is VerificationState.UNDER_VERIFICATION
        )


def test_a_repeated_outage_keeps_the_same_value() -> None:
    """Without a new value no event is published."""
    unverified = rules.update_verification(logged_in(), VerificationTrigger.UNAVAILABLE, now=NOW)

    assert (
        rules.update_verification(unverified, VerificationTrigger.UNAVAILABLE, now=NOW + timedelta(hours=1))
        is unverified
    )


def test_a_login_begins_a_new_generation_and_keeps_the_incident() -> None:
    """The notice of the recovery carries the incident; nothing else of the old session is kept."""
    down = disconnected(
        rules.update_verification(logged_in(), VerificationTrigger.ANSWERED, now=NOW), LoginTrigger.SIGNED_OUT
    )

    again = logged_in(down, at=NOW + timedelta(hours=1))

    assert (again.generation, again.state, again.verification_state) == (
        2,
        LoginState.CONNECTED,
        VerificationState.ASSUMED,
    )
    assert (again.incident_id, again.reason, again.last_validated_at) == ("inc_1", None, None)
    assert again.last_disconnect_at == NOW


@pytest.mark.parametrize(
    ("trigger", "codes", "at", "reason"),
    [
        (LoginTrigger.REACHED_EXPIRY, (), END, DisconnectReason.EXPIRED),
        (LoginTrigger.SIGNED_OUT, (), NOW, DisconnectReason.SIGNED_OUT),
        (LoginTrigger.DISCONNECTED_BY_ADMIN, (), NOW, DisconnectReason.BY_ADMIN),
        (LoginTrigger.REFUSAL_CONFIRMED, (-15, -17), NOW, DisconnectReason.REJECTED),
        (LoginTrigger.REFUSAL_CONFIRMED, (-15, -8), NOW, DisconnectReason.EXPIRED),
        (LoginTrigger.REFUSAL_CONFIRMED, (-15, -16), END, DisconnectReason.EXPIRED),
    ],
)
def test_a_confirmed_refusal_is_expired_or_rejected(
    trigger: LoginTrigger, codes: tuple[int, ...], at: datetime, reason: DisconnectReason
) -> None:
    """It is *expired* if Fyers says so or the expiry has passed."""
    after = disconnected(logged_in(), trigger, *(refused(code) for code in codes), at=at)

    assert (after.state, after.reason) == (LoginState.DISCONNECTED, reason)
    assert (after.last_disconnect_at, after.incident_id) == (at, "inc_1")


def test_every_disconnect_has_a_reason() -> None:
    """This holds for each of the four triggers."""
    assert {disconnected(logged_in(), trigger).reason for trigger in ENDINGS} == {
        DisconnectReason.EXPIRED,
        DisconnectReason.REJECTED,
        DisconnectReason.SIGNED_OUT,
        DisconnectReason.BY_ADMIN,
    }


# ---- leases


def credential() -> Credential:
    """Return the credential of a new session."""
    return credential_of(logged_in(), AccessToken("secret.token.text"))


def test_a_credential_is_valid_until_its_expiry() -> None:
    """From that moment no call may be sent, without asking Fyers."""
    held = credential()

    assert held.may_call(END - timedelta(microseconds=1))
    assert not held.may_call(END)
    assert not held.for_verification().may_call(END)


def test_a_closed_lease_closes_every_copy() -> None:
    """A copy made for the verification is closed too."""
    held = credential()
    copies = (held, held.for_verification(), replace(held))

    held.lease.is_closed = True

    assert not any(copy.may_call(NOW) for copy in copies)


def test_under_verification_only_probes_may_be_sent() -> None:
    """Calls that wait for their turn are stopped too."""
    held = credential()

    held.lease.is_under_verification = True

    assert not held.may_call(NOW)
    assert held.for_verification().may_call(NOW)


def test_a_credential_shows_no_secret() -> None:
    """An accidental log line contains no token."""
    assert "secret" not in repr(credential())


def test_a_session_without_an_expiry_has_no_credential() -> None:
    """The error is raised where the credential is made."""
    with pytest.raises(ValueError, match="an expiry"):
        credential_of(Connection("usr_1"), AccessToken("x"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"generation": 4}, False),
        ({"state": LoginState.DISCONNECTED, "reason": DisconnectReason.EXPIRED}, True),
        ({"state": LoginState.DISCONNECTED, "reason": DisconnectReason.REJECTED}, True),
        ({"state": LoginState.DISCONNECTED, "reason": DisconnectReason.SIGNED_OUT}, False),
        ({"state": LoginState.DISCONNECTED, "reason": DisconnectReason.BY_ADMIN}, False),
    ],
)
def test_only_the_present_session_can_be_continued(change: dict[str, object], expected: bool) -> None:  # noqa: FBT001
    """A newer login or a disconnect by a person rules it out."""
    session = Connection("usr_1", LoginState.CONNECTED, generation=3)

    assert can_be_continued(replace(session, **change), 3) is expected
