"""Sessions that Fyers really ended, several in a short time, and services that refuse everybody."""

from datetime import timedelta
from random import Random

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.failures import BrokerService
from hullwatch.domain.sessions.connection import DisconnectReason, VerificationState
from hullwatch.domain.users.accounts import Role
from services.environment import Environment, fyers_id

USERS = tuple(f"usr_{letter}" for letter in "abcdefgh")
CYCLE_S = 5.0
FOUND_WITHIN = timedelta(seconds=5)
ADMIN = "usr_admin"


async def environment(users: tuple[str, ...] = USERS, seed: int = 7) -> Environment:
    """Return accounts with sessions that have been answered, and an admin without one."""
    env = await Environment(seed=seed).start(with_monitoring=False)
    await env.add_user(ADMIN, role=Role.ADMIN)
    await env.with_sessions(*users)
    for user_id in users:
        await call(env, user_id)
    return env


async def call(env: Environment, user_id: str) -> None:
    """Make an ordinary call, if one may be made."""
    if (credential := env.connections.credential(user_id)) is not None:
        env.connections.record_result(credential, await env.broker.check_data(credential))
        await env.clock.settle()


async def play(env: Environment, events: dict[str, float], seconds: float) -> None:
    """Revoke sessions at their moments, while each account makes a call per cycle at its own phase."""
    began_s = env.clock.monotonic()
    phases = {user_id: CYCLE_S * number / len(USERS) for number, user_id in enumerate(USERS)}
    steps = [(at_s, 0, user_id) for user_id, at_s in events.items()]
    for cycle in range(round(seconds / CYCLE_S)):
        steps += [(cycle * CYCLE_S + phase_s, 1, user_id) for user_id, phase_s in phases.items()]
    for at_s, kind, user_id in sorted(steps):
        await env.clock.advance(max(0.0, began_s + at_s - env.clock.monotonic()))
        if kind == 0:
            env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
        else:
            await call(env, user_id)


@pytest.mark.parametrize("seed", range(12))
async def test_four_real_ends_within_a_minute_are_each_found(seed: int) -> None:
    """At any moments of the minute, the same one included; operators get no alarm."""
    random = Random(seed)
    spread_s = random.choice([0, 2, 12, 55])
    events = {user_id: random.uniform(0, spread_s) for user_id in random.sample(USERS, 4)}
    env = await environment(seed=seed)
    began_at = env.clock.now()

    await play(env, events, 70)

    for user_id in USERS:
        connection = env.connections.connection(user_id)
        assert connection.has_session is (user_id not in events)
        if user_id in events:
            assert connection.reason is DisconnectReason.REJECTED
            revoked_at = began_at + timedelta(seconds=events[user_id])
            assert connection.last_disconnect_at - revoked_at <= FOUND_WITHIN
    assert env.notices(ADMIN) == []
    assert env.audit(prefix="broker.") == []


@pytest.mark.parametrize("services", [{BrokerService.DATA}, {BrokerService.DATA, BrokerService.HISTORY}])
@pytest.mark.parametrize("misfiring", [BrokerService.PROFILE, BrokerService.TRADING])
@pytest.mark.parametrize("position", [0, 3])
async def test_a_service_that_refuses_everybody_ends_no_session(
    services: set[BrokerService], misfiring: BrokerService, position: int
) -> None:
    """Beside it another service misfires once for one account, the first one or a later one."""
    users = USERS[:6]
    env = await environment(users)
    for user_id in users:
        for service in services:
            env.broker.always(fyers_id(user_id), service, refusal(service))
    env.broker.queue(fyers_id(users[position]), refusal(misfiring))

    for _ in range(4):
        for user_id in users:
            await call(env, user_id)
        await env.clock.advance(CYCLE_S)
    for user_id in users:
        for service in services:
            env.broker.always(fyers_id(user_id), service, None)
    await env.clock.advance(300)

    assert env.connections.session_count() == len(users)
    assert env.audit(prefix="connection.refusal") == []


async def test_a_mass_refusal_of_eight_accounts_still_disconnects_nobody() -> None:
    """The counterpart of the real ends: nobody is answered."""
    env = await environment()
    for user_id in USERS:
        env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)

    await play(env, {}, 60)

    assert {env.connections.connection(user_id).verification_state for user_id in USERS} == {
        VerificationState.HELD
    }


async def test_the_others_are_probed_before_the_first_hold() -> None:
    """Three pending refusals look like a mass refusal until the five others are asked."""
    env = await environment()
    await env.clock.advance(61)  # earlier answers are out of the window
    ended = USERS[:3]
    for user_id in ended:
        env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    waiting = [env.credential(user_id) for user_id in ended]
    results = [await env.broker.check_data(credential) for credential in waiting]
    probed: list[Call] = []

    async def record(one: Call) -> None:
        probed.append(one)

    env.broker.before_answer = record
    for credential, result in zip(waiting, results, strict=True):
        env.connections.record_result(credential, result)
    await env.clock.advance(3)

    assert {one.user_id for one in probed} >= set(USERS)
    assert env.connections.session_count() == len(USERS) - len(ended)
    assert env.connections.broker_outage is None
