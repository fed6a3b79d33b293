"""Refusals in a house where many accounts are heard of all the time: witnesses come by themselves; `hullwatch.services.sessions.second_look`."""

import asyncio

import pytest
from fakes.broker import AccountState

from hullwatch.domain.failures import Answered
from hullwatch.domain.sessions.connection import VerificationState
from hullwatch.services.sessions.second_look import BUSY_HOUSE, LISTEN_S, SETTLE_S
from services.building import ALICE, House, fyers_id

OTHERS = [f"usr_{number:03d}" for number in range(BUSY_HOUSE)]


@pytest.fixture
async def house() -> House:
    """Many have sessions, and one of them has been revoked."""
    built = await House().start(with_monitoring=False)
    built = await built.with_sessions(ALICE, *OTHERS)
    built.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    return built


async def be_refused(house: House) -> None:
    """Make a call of the one whose session was revoked, and let the second look begin to listen."""
    credential = house.credential(ALICE)
    house.connections.record_result(credential, await house.broker.check_data(credential))
    await house.clock.settle()


async def test_fresh_answers_spare_the_others_from_being_asked(house: House) -> None:
    """Who is answered in that moment anyway shows that Fyers is well; nobody is asked, and the session ends."""
    await be_refused(house)
    asked = len(house.broker.calls)
    await house.clock.advance(LISTEN_S / 2)
    for user_id in OTHERS:
        house.connections.record_result(house.credential(user_id), Answered(None))

    await house.clock.advance(LISTEN_S)

    assert len(house.broker.calls) == asked
    assert not house.connections.connection(ALICE).has_session


async def test_in_silence_others_are_asked(house: House) -> None:
    """Where nobody is heard of, what Fyers said before proves nothing: others are asked, and they are refused too."""
    for user_id in OTHERS:
        house.connections.record_result(house.credential(user_id), Answered(None))
        house.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    await house.clock.advance(1)
    await be_refused(house)

    await house.clock.advance(LISTEN_S)
    await asyncio.sleep(0)
    await house.clock.advance(SETTLE_S)

    doubted = [user_id for user_id in OTHERS if not house.connections.connection(user_id).is_usable]
    assert doubted
    assert house.connections.connection(ALICE).verification_state in (
        VerificationState.UNDER_VERIFICATION,
        VerificationState.HELD,
    )
