"""The expiry of sessions while this machine's clock was set, or is far off Fyers' clock."""

from datetime import UTC, datetime, time, timedelta

import pytest
from fakes.broker import AccountState

from hullwatch.domain.failures import BrokerService, Unavailable
from hullwatch.domain.market.calendar import IST
from hullwatch.domain.market.clock_offset import ClockOffset
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState
from hullwatch.services.sessions.expiry import PROBED_AT_ONCE
from hullwatch.services.sessions.validation import ValidationResult
from services.environment import ALICE, MONDAY, Environment, fyers_id

USERS = [ALICE, "usr_bob", "usr_carol", "usr_dave", "usr_erin"]
EXPIRY = datetime.combine(MONDAY + timedelta(days=1), time(6), IST).astimezone(UTC)
PAST_EXPIRY_S = 22 * 3600
"""From the morning to after the next 06:00 IST."""


async def connected() -> Environment:
    """Return an environment with five sessions, in the morning; Fyers' time is unknown."""
    env = await Environment().start(with_clock_monitor=True, with_monitoring=False)
    return await env.with_sessions(*USERS)


def still_connected(env: Environment) -> list[str]:
    """Return the users that have a session."""
    return [user_id for user_id in USERS if env.connections.connection(user_id).has_session]


async def test_a_clock_set_past_the_expiry_logs_nobody_out() -> None:
    """Probes show that Fyers accepts the sessions, and ordinary calls go on meanwhile."""
    env = await connected()

    env.clock.step(PAST_EXPIRY_S)
    await env.clock.advance(10)

    assert still_connected(env) == USERS
    assert all(env.connections.connection(user_id).is_verified for user_id in USERS)
    assert {call.name for call in env.broker.calls} == {"check_data", "check_trading"}
    assert len(env.broker.calls) == 2 * len(USERS)
    validation = await env.validation.validate_fyers_token(ALICE, fresh=True)
    assert validation.result is ValidationResult.VALID
    assert env.broker.unsent == []


async def test_an_expiry_after_a_step_is_confirmed_by_a_probe() -> None:
    """The step was right: all sessions have expired, which is no mass refusal."""
    env = await connected()
    for user_id in USERS:
        env.broker.set_state(fyers_id(user_id), AccountState.EXPIRED)

    env.clock.step(PAST_EXPIRY_S)
    await env.clock.advance(10)

    for user_id in USERS:
        connection = env.connections.connection(user_id)
        assert (connection.state, connection.reason) == (LoginState.DISCONNECTED, DisconnectReason.EXPIRED)
        assert connection.last_disconnect_at == connection.expires_at == EXPIRY
        assert len(env.notices(user_id, NotificationKind.SESSION_DISCONNECTED)) == 1
    assert env.audit(prefix="broker.") == []
    calls = len(env.broker.calls)
    await env.clock.advance(600)
    assert len(env.broker.calls) == calls


@pytest.mark.parametrize(
    "state",
    [AccountState.UNAVAILABLE, AccountState.RATE_LIMITED, AccountState.HANGING],
    ids=lambda one: one.value,
)
async def test_a_probe_without_an_answer_logs_nobody_out(state: AccountState) -> None:
    """It is repeated, until Fyers answers."""
    env = await connected()
    for user_id in USERS:
        env.broker.set_state(fyers_id(user_id), state)

    env.clock.step(PAST_EXPIRY_S)
    await env.clock.advance(100)

    assert still_connected(env) == USERS
    assert len(env.broker.calls) <= 2 * 6 * len(USERS)
    assert env.connections.connection(ALICE).verification_state is VerificationState.UNVERIFIED
    for user_id in USERS:
        env.broker.set_state(fyers_id(user_id), AccountState.EXPIRED)
    await env.clock.advance(100)
    assert still_connected(env) == []


async def test_one_refusing_service_logs_nobody_out_after_a_step() -> None:
    """Fyers' services refuse falsely now and then; two have to agree."""
    env = await connected()
    env.broker.always(fyers_id(ALICE), BrokerService.TRADING, Unavailable(BrokerService.TRADING, "http_502"))
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    env.clock.step(PAST_EXPIRY_S)
    await env.clock.advance(10)

    assert still_connected(env) == USERS


async def test_a_clock_far_off_fyers_expires_nothing() -> None:
    """The clock is a day ahead since the start; by Fyers' clock no session is due, so there are no probes."""
    env = await connected()
    env.broker.offset = ClockOffset(-86_401, -86_399)

    await env.clock.advance_to(EXPIRY + timedelta(hours=1))

    assert still_connected(env) == USERS
    assert env.broker.calls == []
    assert env.credential(ALICE).may_call(env.clock.now())


async def test_a_clock_far_behind_fyers_expires_at_fyers_time() -> None:
    """By this server's clock the sessions would live two hours longer."""
    env = await connected()
    env.broker.offset = ClockOffset(7199, 7201)
    for user_id in USERS:
        env.broker.set_state(fyers_id(user_id), AccountState.EXPIRED)

    await env.clock.advance_to(EXPIRY - timedelta(hours=2, seconds=-30))

    assert still_connected(env) == []
    assert env.connections.connection(ALICE).reason is DisconnectReason.EXPIRED


async def test_sessions_expire_by_time_again_when_fyers_confirms_the_clock() -> None:
    """Then no call is necessary."""
    env = await connected()
    env.clock.step(3600)
    await env.clock.advance(10)
    env.broker.offset = ClockOffset(-0.5, 0.5)

    await env.clock.advance_to(EXPIRY + timedelta(seconds=1))

    assert still_connected(env) == []
    assert env.broker.calls == []


@pytest.mark.parametrize("seconds", [-7200, 7200])
async def test_a_step_does_not_change_the_age_of_a_confirmation(seconds: float) -> None:
    """The cache counts on a scale that no setting changes, and times that were observed move with the clock."""
    env = await connected()
    await env.validation.validate_fyers_token(ALICE, fresh=True)
    calls = len(env.broker.calls)

    env.clock.step(seconds)
    await env.clock.advance(100)

    cached = await env.validation.validate_fyers_token(ALICE)
    confirmed_at = env.connections.connection(ALICE).last_validated_at
    assert cached.from_cache
    assert len(env.broker.calls) == calls
    assert timedelta(seconds=95) < env.clock.now() - confirmed_at < timedelta(seconds=105)
    await env.clock.advance(250)
    assert not (await env.validation.validate_fyers_token(ALICE)).from_cache


async def test_a_confirmation_in_the_future_does_not_count() -> None:
    """Another process with a wrong clock stored it; the first failed call makes the session unverified."""
    env = await connected()
    env.connections.record_confirmation(ALICE, 1, at=env.clock.now() + timedelta(hours=1))

    env.connections.record_result(env.credential(ALICE), Unavailable(BrokerService.DATA, "http_502"))

    assert env.connections.connection(ALICE).verification_state is VerificationState.UNVERIFIED


async def test_a_verification_takes_as_long_as_ever_after_a_step() -> None:
    """A clock that is set back must not hold a refused session for hours."""
    env = await connected()
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    env.clock.step(-7200)
    await env.clock.advance(10)

    await env.validation.validate_fyers_token(ALICE, fresh=True)
    await env.clock.advance(60)

    assert env.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert still_connected(env) == USERS[1:]


async def restarted_late(state: AccountState) -> Environment:
    """Return a server that was stopped over the expiry, or starts with a clock that is a day ahead."""
    env = await connected()
    killed = await env.kill()
    for user_id in USERS:
        killed.broker.set_state(fyers_id(user_id), state)
    killed.clock.step(PAST_EXPIRY_S)
    killed.clock.accept_step()
    return await killed.start(with_clock_monitor=True, with_monitoring=False, is_clock_confirmed=False)


async def test_a_start_with_a_wrong_clock_logs_nobody_out() -> None:
    """A hardware clock in another zone is read before time synchronisation sets it right."""
    env = await restarted_late(AccountState.ACTIVE)
    await env.clock.advance(10)

    assert still_connected(env) == USERS
    assert len(env.broker.calls) == 2 * len(USERS)


async def test_sessions_that_expired_while_stopped_are_found_at_the_start() -> None:
    """As of their expiry, although no call has shown Fyers' time yet."""
    env = await restarted_late(AccountState.EXPIRED)
    await env.clock.advance(1)

    assert still_connected(env) == []
    assert {env.connections.connection(user_id).last_disconnect_at for user_id in USERS} == {EXPIRY}


async def test_the_first_answers_save_the_other_probes() -> None:
    """Hundreds of sessions can have expired while the server was stopped."""
    env = await connected()
    many = [f"usr_{number}" for number in range(40)]
    await env.with_sessions(*many)
    killed = await env.kill()
    killed.clock.step(PAST_EXPIRY_S)
    killed.clock.accept_step()
    for user_id in (*USERS, *many):
        killed.broker.set_state(fyers_id(user_id), AccountState.EXPIRED)

    async def show_time(call) -> None:
        killed.broker.offset = ClockOffset(-0.5, 0.5)

    killed.broker.before_answer = show_time
    env = await killed.start(with_clock_monitor=True, with_monitoring=False, is_clock_confirmed=False)
    await env.clock.advance(10)

    assert not any(connection.has_session for connection in env.connections.connections())
    assert len(env.broker.calls) <= 2 * PROBED_AT_ONCE
