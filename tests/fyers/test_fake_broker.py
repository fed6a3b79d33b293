import asyncio
from datetime import timedelta

from fakes.broker import AccountState, FakeBroker, refusal
from fakes.clock import FakeClock

from hullwatch.domain.failures import (
    Answered,
    BrokerService,
    LoginRefused,
    RateLimited,
    RequestRefused,
    SessionDisconnected,
    Unavailable,
)
from hullwatch.domain.secrets import AppSecret, AuthCode
from hullwatch.domain.sessions.tokens import read_claims
from hullwatch.domain.users.accounts import FyersApp

APP = FyersApp("HULLWATCH-100", AppSecret("simulator"), "http://127.0.0.1:8000/back")


async def test_a_refused_token_stays_refused_after_a_login():
    """The login brings a token that works."""
    clock = FakeClock()
    broker = FakeBroker(clock)
    old = broker.credential("asha", "XA00001")
    broker.set_state("XA00001", AccountState.EXPIRED)

    assert await broker.profile_id(old) == refusal(BrokerService.PROFILE, is_expired=True)
    answer = await broker.exchange_auth_code(APP, broker.issue_auth_code("XA00001"))
    assert isinstance(answer, Answered)
    assert read_claims(answer.value.access_token, now=clock.now()).fyers_id == "XA00001"
    fresh = broker.credential("asha", "XA00001", generation=2)

    assert await broker.check_data(fresh) == Answered(None)
    assert isinstance(await broker.check_data(old), LoginRefused)


async def test_an_auth_code_is_valid_once():
    """A used or unknown code is refused as a request, not as a login."""
    broker = FakeBroker(FakeClock())
    code = broker.issue_auth_code("XA00001")
    await broker.exchange_auth_code(APP, code)

    assert isinstance(await broker.exchange_auth_code(APP, code), RequestRefused)
    assert isinstance(await broker.exchange_auth_code(APP, AuthCode("never-issued")), RequestRefused)


async def test_a_closed_lease_sends_nothing():
    """The call is recorded as unsent, as in the real client."""
    clock = FakeClock()
    broker = FakeBroker(clock)
    closed, old = broker.credential("asha", "XA00001"), broker.credential("bela", "XB00002")
    closed.lease.is_closed = True
    await clock.advance_to(old.expires_at)

    assert await broker.check_trading(closed) == SessionDisconnected(BrokerService.TRADING)
    assert await broker.check_trading(old) == SessionDisconnected(BrokerService.TRADING)
    assert broker.calls == []
    assert [call.user_id for call in broker.unsent] == ["asha", "bela"]


async def test_each_account_has_its_own_state():
    """One account hangs, one is limited, and a third is served."""
    clock = FakeClock()
    broker = FakeBroker(clock)
    hanging, limited, well = (broker.credential(name, name.upper()) for name in ("asha", "bela", "chand"))
    broker.set_state("ASHA", AccountState.HANGING)
    broker.set_state("BELA", AccountState.RATE_LIMITED)

    slow = asyncio.create_task(broker.check_data(hanging))
    assert await broker.check_data(limited) == RateLimited(BrokerService.DATA, retry_after_s=60.0)
    assert await broker.check_data(well) == Answered(None)
    await clock.advance(10)

    assert await slow == Unavailable(BrokerService.DATA, cause="timeout")


async def test_a_queued_failure_is_used_once():
    """It affects one call to its service."""
    broker = FakeBroker(FakeClock())
    asha = broker.credential("asha", "XA00001")
    broker.queue("XA00001", refusal(BrokerService.DATA))

    assert await broker.check_trading(asha) == Answered(None)
    assert isinstance(await broker.check_data(asha), LoginRefused)
    assert await broker.check_data(asha) == Answered(None)


def test_a_token_can_have_a_short_lifetime():
    """The expiry in the token follows the requested lifetime."""
    clock = FakeClock()
    token = FakeBroker(clock).issue_token("XA00001", lifetime=timedelta(minutes=5))

    assert read_claims(token, now=clock.now()).expires_at == clock.now() + timedelta(minutes=5)
