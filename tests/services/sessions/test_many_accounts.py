"""A refusal while many accounts have sessions; `hullwatch.services.sessions.verification`."""

import asyncio

import pytest
from fakes.broker import AccountState

from hullwatch.domain.failures import Answered
from hullwatch.domain.sessions.connection import VerificationState
from hullwatch.services.sessions.verification import (
    LISTEN_S,
    SETTLE_S,
    SKIP_PROBES_FROM_SESSIONS,
)
from services.environment import ALICE, Environment, fyers_id

OTHERS = [f"usr_{number:03d}" for number in range(SKIP_PROBES_FROM_SESSIONS)]


@pytest.fixture
async def env() -> Environment:
    """Many have sessions, and one of them has been revoked."""
    built = await Environment().start(with_monitoring=False)
    built = await built.with_sessions(ALICE, *OTHERS)
    built.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    return built


async def call_and_be_refused(env: Environment) -> None:
    """Make a call with the revoked session, and let its verification begin."""
    credential = env.credential(ALICE)
    env.connections.record_result(credential, await env.broker.check_data(credential))
    await env.clock.settle()


async def test_recent_answers_replace_the_probe_accounts(env: Environment) -> None:
    """Ordinary calls that are answered show that Fyers works, so the session is disconnected."""
    await call_and_be_refused(env)
    asked = len(env.broker.calls)
    await env.clock.advance(LISTEN_S / 2)
    for user_id in OTHERS:
        env.connections.record_result(env.credential(user_id), Answered(None))

    await env.clock.advance(LISTEN_S)

    assert len(env.broker.calls) == asked
    assert not env.connections.connection(ALICE).has_session


async def test_without_recent_answers_other_accounts_are_probed(env: Environment) -> None:
    """Earlier answers prove nothing, and the probe accounts are refused too."""
    for user_id in OTHERS:
        env.connections.record_result(env.credential(user_id), Answered(None))
        env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    await env.clock.advance(1)
    await call_and_be_refused(env)

    await env.clock.advance(LISTEN_S)
    await asyncio.sleep(0)
    await env.clock.advance(SETTLE_S)

    unusable = [user_id for user_id in OTHERS if not env.connections.connection(user_id).is_usable]
    assert unusable
    assert env.connections.connection(ALICE).verification_state in (
        VerificationState.UNDER_VERIFICATION,
        VerificationState.HELD,
    )
