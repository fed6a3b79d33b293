"""Refusals where too few other accounts respond to show a short outage of Fyers' login check."""

from datetime import timedelta

import pytest
from fakes.broker import AccountState

from hullwatch.domain.sessions.connection import DisconnectReason, VerificationState
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
from services.environment import ALICE, BOB, CAROL, DAVE, Environment, fyers_id

CYCLE_S = 5


async def run(env: Environment, users: tuple[str, ...], seconds: float) -> None:
    """Let each user make an ordinary call per cycle, when one may be made."""
    for _ in range(round(seconds / CYCLE_S)):
        for user_id in users:
            if (credential := env.connections.credential(user_id)) is not None:
                env.connections.record_result(credential, await env.broker.check_data(credential))
        await env.clock.advance(CYCLE_S)


def set_all(env: Environment, users: tuple[str, ...], state: AccountState) -> None:
    """Let Fyers treat all these accounts alike."""
    for user_id in users:
        env.broker.set_state(fyers_id(user_id), state)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("hiccup_s", [1, 6, 14])
async def test_a_hiccup_of_the_login_check_disconnects_nobody(count: int, hiccup_s: int) -> None:
    """Fyers refused everybody for 6 s in the review; one and two accounts were logged out."""
    users = (ALICE, BOB, CAROL, DAVE)[:count]
    env = await (await Environment().start(with_monitoring=False)).with_sessions(*users)
    await run(env, users, CYCLE_S)

    set_all(env, users, AccountState.REVOKED)
    for user_id in users:
        credential = env.credential(user_id)
        env.connections.record_result(credential, await env.broker.check_data(credential))
    await env.clock.advance(hiccup_s)
    calls = [call for call in env.broker.calls if not call.is_for_verification]
    assert all(env.connections.credential(user_id) is None for user_id in users)
    set_all(env, users, AccountState.ACTIVE)
    await env.clock.advance(120)

    assert {env.connections.connection(user_id).verification_state for user_id in users} <= {
        VerificationState.VERIFIED,
        VerificationState.UNVERIFIED,
    }
    assert len([call for call in env.broker.calls if not call.is_for_verification]) == len(calls)
    assert env.audit(prefix="connection.refusal") == []


@pytest.mark.parametrize("users", [(ALICE,), (ALICE, BOB)])
async def test_the_deciding_refusals_are_fifteen_seconds_apart(users: tuple[str, ...]) -> None:
    """In between the session makes no ordinary call, and the first refusals are not repeated faster."""
    env = await (await Environment().start(with_monitoring=False)).with_sessions(*users)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    began_at = env.clock.now()

    await run(env, users, 60)

    connection = env.connections.connection(ALICE)
    assert connection.reason is DisconnectReason.REJECTED
    passed = connection.last_disconnect_at - began_at
    assert timedelta(seconds=CONFIRM_AGAIN_S) <= passed <= timedelta(seconds=CONFIRM_AGAIN_S + 1)
    probes = {call.at - began_at for call in env.broker.calls_of(ALICE)}
    assert probes == {timedelta(), timedelta(seconds=CONFIRM_AGAIN_S)}
    assert sum(not call.is_for_verification for call in env.broker.calls_of(ALICE)) == 1


async def test_three_accounts_are_decided_at_once() -> None:
    """Two others respond, so the comparison shows that Fyers works."""
    env = await (await Environment().start(with_monitoring=False)).with_sessions(ALICE, BOB, CAROL)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    await run(env, (ALICE,), CYCLE_S)

    assert env.connections.connection(ALICE).reason is DisconnectReason.REJECTED


async def test_the_expiry_needs_no_second_confirmation() -> None:
    """Between the two confirmations the session expires."""
    env = await Environment().start(with_monitoring=False)
    await env.add_user(ALICE)
    await env.log_in(ALICE, lifetime=timedelta(seconds=CYCLE_S))
    env.broker.set_state(fyers_id(ALICE), AccountState.EXPIRED)

    await run(env, (ALICE,), CYCLE_S)

    assert env.connections.connection(ALICE).reason is DisconnectReason.EXPIRED
