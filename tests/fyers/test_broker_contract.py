"""What services may rely on, held by the broker in memory and by the real client before the simulator alike."""

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
        "candles": {"symbol": SBIN, "resolution": FIVE, "start": now - timedelta(hours=1), "end": now},
    }
    return await getattr(world.broker, name)(credential, **more.get(name, {}))


@pytest.mark.parametrize("name", SERVICES)
async def test_a_valid_session_is_answered(world, name):
    """Every call of a live session brings an answer."""
    asha = await world.credential("asha", "XA00001")

    assert isinstance(await call(world, name, asha), Answered)
    assert await world.received("XA00001") == 1


async def test_answers_are_in_the_domains_words(world):
    """Ids, quotes and candles come as domain values."""
    asha = await world.credential("asha", "XA00001")

    quotes = (await call(world, "quotes", asha)).value
    candles = (await call(world, "candles", asha)).value.candles

    assert await world.broker.profile_id(asha) == Answered("XA00001")
    assert [quote.symbol for quote in quotes] == [SBIN]
    assert quotes[0].ltp > 0
    assert len(candles) > 1
    assert [candle.opened_at for candle in candles] == sorted({candle.opened_at for candle in candles})


@pytest.mark.parametrize("state", [AccountState.EXPIRED, AccountState.REVOKED])
@pytest.mark.parametrize("name", SERVICES)
async def test_every_service_refuses_an_invalid_session(world, name, state):
    """Each service refuses in its own code; ``/profile`` alone tells old age from the rest."""
    asha = await world.credential("asha", "XA00001")
    await world.make("XA00001", state)

    answer = await call(world, name, asha)

    assert isinstance(answer, LoginRefused)
    assert answer.service is SERVICES[name]
    assert answer.http_status == 401
    assert answer.says_expired is (name == "profile_id" and state is AccountState.EXPIRED)


@pytest.mark.parametrize(
    ("state", "failure"), [(AccountState.UNAVAILABLE, Unavailable), (AccountState.RATE_LIMITED, RateLimited)]
)
async def test_a_failure_concerns_its_account_alone(world, state, failure):
    """Trouble and limits of one account are no verdict about its login and nothing to another one."""
    asha, bela = await world.credential("asha", "XA00001"), await world.credential("bela", "XB00002")
    await world.make("XA00001", state)

    answer = await world.broker.check_data(asha)

    assert type(answer) is failure
    assert answer.service is BrokerService.DATA
    assert await world.broker.check_data(bela) == Answered(None)


async def test_a_closed_lease_sends_no_call(world):
    """With the lease closed nothing reaches the broker; in doubt only the second look does."""
    asha = await world.credential("asha", "XA00001")
    asha.lease.is_under_verification = True

    assert await world.broker.check_data(asha) == SessionDisconnected(BrokerService.DATA)
    assert await world.received("XA00001") == 0
    assert await world.broker.check_data(asha.for_verification()) == Answered(None)

    asha.lease.is_over = True

    assert await world.broker.check_data(asha.for_verification()) == SessionDisconnected(BrokerService.DATA)
    assert await world.received("XA00001") == 1


async def test_calls_stop_at_expiry(world):
    """At the known end itself calls stop, without a call to find out."""
    asha = await world.credential("asha", "XA00001")
    await world.clock.advance_to(asha.expires_at)

    assert await world.broker.check_trading(asha) == SessionDisconnected(BrokerService.TRADING)
    assert await world.received("XA00001") == 0


async def test_a_login_brings_a_token_once(world):
    """An auth code becomes a token of the one who logged in; a second time, or made up, it is refused."""
    code = await world.auth_code("XA00001")

    answer = await world.broker.exchange_auth_code(APP, code)

    assert isinstance(answer, Answered)
    assert read_claims(answer.value.access_token, now=world.clock.now()).fyers_id == "XA00001"
    for stale in (code, AuthCode("made-up")):
        refused = await world.broker.exchange_auth_code(APP, stale)
        assert isinstance(refused, RequestRefused)
        assert refused.service is BrokerService.LOGIN


async def refresh_token(world: World, fyers_id: str) -> RefreshToken:
    """Log in through the login page and return the refresh token that this brings."""
    answer = await world.broker.exchange_auth_code(APP, await world.auth_code(fyers_id))
    assert answer.value.refresh_token is not None
    return answer.value.refresh_token


async def test_refresh_tokens_are_issued_and_refused(world):
    """Unless told otherwise a broker refuses them as Fyers does, and that is no verdict about a login."""
    token = await refresh_token(world, "XA00001")

    answer = await world.broker.renew_access_token(APP, token, Pin("1234"))

    assert isinstance(answer, RequestRefused)
    assert (answer.service, answer.code) == (BrokerService.LOGIN, -16)


async def test_where_refresh_tokens_are_taken_one_brings_a_session(world):
    """With its owner's PIN it brings a token of the same person that works, until 06:00 like every other, and the one before lives on."""
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
    """A made-up token, another app's, and a wrong PIN have codes of their own."""
    token = await refresh_token(world, "XA00001")
    await world.offer_renewals()

    made_up = await world.broker.renew_access_token(APP, RefreshToken("made.up.token"), Pin("1234"))
    wrong_pin = await world.broker.renew_access_token(APP, token, Pin("4321"))

    assert outcome_of(made_up) is RenewalOutcome.BAD_REFRESH_TOKEN
    assert outcome_of(wrong_pin) is RenewalOutcome.WRONG_PIN


async def test_a_renewed_session_may_be_refused_by_every_service(world):
    """A token can look well and be dead from the beginning."""
    old = await world.credential("asha", "XA00001")
    token = await refresh_token(world, "XA00001")
    await world.offer_renewals(refused_tokens=True)

    answer = await world.broker.renew_access_token(APP, token, Pin("1234"))

    fresh = replace(old, token=answer.value, generation=2)
    assert isinstance(await world.broker.check_data(fresh), LoginRefused)
    assert isinstance(await world.broker.check_trading(fresh), LoginRefused)


async def test_a_new_login_works_and_the_old_token_does_not(world):
    """After the end of a session the next login works, and calls with the old token are refused on."""
    old = await world.credential("asha", "XA00001")
    await world.make("XA00001", AccountState.EXPIRED)
    await world.broker.check_data(old)

    fresh = await world.credential("asha", "XA00001")

    assert await world.broker.check_data(fresh) == Answered(None)
    assert isinstance(await world.broker.check_data(old), LoginRefused)


async def test_signing_out_ends_the_token(world):
    """After signing out the token is refused."""
    asha = await world.credential("asha", "XA00001")

    assert await world.broker.sign_out(asha) == Answered(None)
    assert isinstance(await world.broker.check_data(asha), LoginRefused)


async def test_a_symbol_that_does_not_exist_is_a_bad_request(world):
    """History of an unknown symbol is refused as a request; among quotes it is absent."""
    asha = await world.credential("asha", "XA00001")
    now = world.clock.now()

    history = await world.broker.candles(asha, UNKNOWN, FIVE, start=now - timedelta(hours=1), end=now)
    quotes = await world.broker.quotes(asha, [UNKNOWN, SBIN])

    assert isinstance(history, RequestRefused)
    assert (history.code, history.service) == (-300, BrokerService.HISTORY)
    assert [quote.symbol for quote in quotes.value] == [SBIN]


async def test_both_name_the_same_bounds(clock, client):
    """The broker in memory promises no more than the real one."""
    fake = FakeWorld(clock).broker

    assert fake.quotes_per_call == client.quotes_per_call == 50
    for code in ("1", "240", "1D"):
        assert fake.history_span(Resolution(code)) == client.history_span(Resolution(code))
