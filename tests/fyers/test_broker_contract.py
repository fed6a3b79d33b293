"""The contract of `BrokerPort`, for the fake broker and for the real client with the simulator."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.broker import AccountState
from fakes.clock import FakeClock

from fyers.worlds import APP, FIVE, SBIN, UNKNOWN, FakeWorld, SimulatedWorld, simulated_world
from hullwatch.domain.failures import (
    Answered,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    RequestRefused,
    SessionDisconnected,
    Unavailable,
)
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.renewal.outcomes import RenewalOutcome, outcome_of
from hullwatch.domain.secrets import AuthCode, Pin, RefreshToken
from hullwatch.domain.sessions.connection import Credential
from hullwatch.domain.sessions.tokens import read_claims

SERVICES = {
    "profile_id": BrokerService.PROFILE,
    "check_trading": BrokerService.TRADING,
    "check_data": BrokerService.DATA,
    "quotes": BrokerService.DATA,
    "circuit_limits": BrokerService.DATA,
    "candles": BrokerService.HISTORY,
}

World = FakeWorld | SimulatedWorld


@pytest.fixture(params=["in memory", "simulated"])
async def world(request, clock: FakeClock) -> AsyncIterator[World]:
    """Return one broker after the other."""
    if request.param == "in memory":
        yield FakeWorld(clock)
        return
    async with simulated_world(clock) as simulated:
        yield simulated


async def call(world: World, name: str, credential: Credential) -> BrokerResult[object]:
    """Make the call of this name."""
    now = world.clock.now()
    more = {
        "quotes": {"symbols": [SBIN]},
        "circuit_limits": {"symbol": SBIN},
        "candles": {"symbol": SBIN, "resolution": FIVE, "start": now - timedelta(hours=1), "end": now},
    }
    return await getattr(world.broker, name)(credential, **more.get(name, {}))


@pytest.mark.parametrize("name", SERVICES)
async def test_a_valid_session_is_answered(world, name):
    """The fake and the simulator agree on every call."""
    asha = await world.credential("asha", "XA00001")

    assert isinstance(await call(world, name, asha), Answered)
    assert await world.received("XA00001") == 1


async def test_answers_are_domain_values(world):
    """Services never see Fyers' field names."""
    asha = await world.credential("asha", "XA00001")

    quotes = (await call(world, "quotes", asha)).value
    candles = (await call(world, "candles", asha)).value.candles

    limits = (await call(world, "circuit_limits", asha)).value
    assert limits.contain(quotes[0].ltp)
    assert await world.broker.profile_id(asha) == Answered("XA00001")
    for service in (BrokerService.HISTORY, BrokerService.DATA):
        assert await world.broker.check_symbol(asha, service, SBIN) == Answered(None)
    assert [quote.symbol for quote in quotes] == [SBIN]
    assert quotes[0].ltp > 0
    assert len(candles) > 1
    assert [candle.opened_at for candle in candles] == sorted({candle.opened_at for candle in candles})


@pytest.mark.parametrize("state", [AccountState.EXPIRED, AccountState.REVOKED])
@pytest.mark.parametrize("name", SERVICES)
async def test_every_service_refuses_an_invalid_session(world, name, state):
    """Each service has its own code; only ``/profile`` has one for an expired token."""
    asha = await world.credential("asha", "XA00001")
    await world.make("XA00001", state)

    answer = await call(world, name, asha)

    assert isinstance(answer, LoginRefused)
    assert answer.service is SERVICES[name]
    assert answer.http_status == 401
    assert answer.is_expired is (name == "profile_id" and state is AccountState.EXPIRED)


@pytest.mark.parametrize(
    ("state", "failure"), [(AccountState.UNAVAILABLE, Unavailable), (AccountState.RATE_LIMITED, RateLimited)]
)
async def test_a_failure_concerns_its_account_alone(world, state, failure):
    """A failure or a rate limit refuses no login and does not affect another account."""
    asha, bela = await world.credential("asha", "XA00001"), await world.credential("bela", "XB00002")
    await world.make("XA00001", state)

    answer = await world.broker.check_data(asha)

    assert type(answer) is failure
    assert answer.service is BrokerService.DATA
    assert await world.broker.check_data(bela) == Answered(None)


async def test_a_closed_lease_sends_no_call(world):
    """During verification only calls for verification are sent."""
    asha = await world.credential("asha", "XA00001")
    asha.lease.is_under_verification = True

    assert await world.broker.check_data(asha) == SessionDisconnected(BrokerService.DATA)
    assert await world.received("XA00001") == 0
    assert await world.broker.check_data(asha.for_verification()) == Answered(None)

    asha.lease.is_closed = True

    assert await world.broker.check_data(asha.for_verification()) == SessionDisconnected(BrokerService.DATA)
    assert await world.received("XA00001") == 1


async def test_calls_stop_at_expiry(world):
    """At the expiry time itself no call is sent to find out."""
    asha = await world.credential("asha", "XA00001")
    await world.clock.advance_to(asha.expires_at)

    assert await world.broker.check_trading(asha) == SessionDisconnected(BrokerService.TRADING)
    assert await world.received("XA00001") == 0


async def test_a_login_brings_a_token_once(world):
    """A used or invented auth code is refused."""
    code = await world.auth_code("XA00001")

    answer = await world.broker.exchange_auth_code(APP, code)

    assert isinstance(answer, Answered)
    assert read_claims(answer.value.access_token, now=world.clock.now()).fyers_id == "XA00001"
    for stale in (code, AuthCode("made-up")):
        refused = await world.broker.exchange_auth_code(APP, stale)
        assert isinstance(refused, RequestRefused)
        assert refused.service is BrokerService.LOGIN


async def refresh_token(world: World, fyers_id: str) -> RefreshToken:
    """Log in through the login page and return its refresh token."""
    answer = await world.broker.exchange_auth_code(APP, await world.auth_code(fyers_id))
    assert answer.value.refresh_token is not None
    return answer.value.refresh_token


async def test_refresh_tokens_are_issued_and_refused(world):
    """By default a broker refuses them as Fyers does, which refuses no login."""
    token = await refresh_token(world, "XA00001")

    answer = await world.broker.renew_access_token(APP, token, Pin("1234"))

    assert isinstance(answer, RequestRefused)
    assert (answer.service, answer.code) == (BrokerService.LOGIN, -16)


async def test_an_accepted_refresh_token_brings_a_session(world):
    """The token works until 06:00 like every other, and the earlier token stays valid."""
    old = await world.credential("asha", "XA00001")
    token = await refresh_token(world, "XA00001")
    await world.offer_renewals()

    answer = await world.broker.renew_access_token(APP, token, Pin("1234"))

    claims = read_claims(answer.value, now=world.clock.now())
    assert (claims.fyers_id, claims.expires_at) == ("XA00001", old.expires_at)
    fresh = replace(old, token=answer.value, generation=2)
    assert await world.broker.check_data(fresh) == Answered(None)
    assert await world.broker.check_data(old) == Answered(None)


async def test_each_wrong_renewal_has_its_code(world):
    """An invented token, another app's token and a wrong PIN differ."""
    token = await refresh_token(world, "XA00001")
    await world.offer_renewals()

    made_up = await world.broker.renew_access_token(APP, RefreshToken("made.up.token"), Pin("1234"))
    wrong_pin = await world.broker.renew_access_token(APP, token, Pin("4321"))

    assert outcome_of(made_up) is RenewalOutcome.BAD_REFRESH_TOKEN
    assert outcome_of(wrong_pin) is RenewalOutcome.WRONG_PIN


async def test_every_service_may_refuse_a_renewed_session(world):
    """This was reported of the real broker."""
    old = await world.credential("asha", "XA00001")
    token = await refresh_token(world, "XA00001")
    await world.offer_renewals(refused_tokens=True)

    answer = await world.broker.renew_access_token(APP, token, Pin("1234"))

    fresh = replace(old, token=answer.value, generation=2)
    assert isinstance(await world.broker.check_data(fresh), LoginRefused)
    assert isinstance(await world.broker.check_trading(fresh), LoginRefused)


async def test_a_new_login_works_and_the_old_token_does_not(world):
    """Calls with the old token are still refused."""
    old = await world.credential("asha", "XA00001")
    await world.make("XA00001", AccountState.EXPIRED)
    await world.broker.check_data(old)

    fresh = await world.credential("asha", "XA00001")

    assert await world.broker.check_data(fresh) == Answered(None)
    assert isinstance(await world.broker.check_data(old), LoginRefused)


async def test_signing_out_revokes_the_token(world):
    """Other sessions of the account stay valid."""
    asha = await world.credential("asha", "XA00001")

    assert await world.broker.sign_out(asha) == Answered(None)
    assert isinstance(await world.broker.check_data(asha), LoginRefused)


async def test_an_unknown_symbol_is_a_bad_request(world):
    """This holds for history; among quotes it is absent."""
    asha = await world.credential("asha", "XA00001")
    now = world.clock.now()

    history = await world.broker.candles(asha, UNKNOWN, FIVE, start=now - timedelta(hours=1), end=now)
    quotes = await world.broker.quotes(asha, [UNKNOWN, SBIN])

    assert isinstance(history, RequestRefused)
    assert (history.code, history.service) == (-300, BrokerService.HISTORY)
    assert [quote.symbol for quote in quotes.value] == [SBIN]


async def test_both_have_the_same_bounds(clock, client):
    """The fake must not allow more than the real client."""
    fake = FakeWorld(clock).broker

    assert fake.quotes_per_call == client.quotes_per_call == 50
    for code in ("1", "240", "1D"):
        assert fake.history_span(Resolution(code)) == client.history_span(Resolution(code))


async def test_the_calls_of_a_day_are_counted_over_a_restart(world):
    """A process that goes on from the stored count adds its own calls."""
    asha = await world.credential("asha", "XA00001")
    await call(world, "check_data", asha)
    await call(world, "profile_id", asha)
    [before] = [pace for pace in world.broker.call_paces() if pace.fyers_id == "XA00001"]

    world.broker.restore_call_paces([replace(before, calls=100)], is_clean=True)
    await call(world, "check_data", asha)

    [after] = [pace for pace in world.broker.call_paces() if pace.fyers_id == "XA00001"]
    assert (before.calls, after.calls) == (2, 101)
    assert (after.app_id, after.day) == (asha.app_id, before.day)
