"""The real client with the simulator: each fault becomes its own failure."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fakes.clock import FakeClock

from fyers.worlds import FIVE, SBIN, SimulatedWorld, simulated_world
from hullwatch.domain.failures import (
    Answered,
    BrokerService,
    LoginRefused,
    NotPermitted,
    RateLimited,
    Unavailable,
    UnreadableReply,
)
from hullwatch.domain.market.instruments import Symbol
from hullwatch.fyers.rate_limit import PacingLimits


@pytest.fixture
async def world(clock: FakeClock) -> AsyncIterator[SimulatedWorld]:
    """Return a simulator with a client."""
    async with simulated_world(clock) as simulated:
        yield simulated


@pytest.mark.parametrize(("kind", "order"), [("hang", {}), ("latency", {"latencyMs": 60_000})])
async def test_a_hanging_call_times_out(clock, kind, order):
    """It is `Unavailable` and refuses no login."""
    async with simulated_world(clock, timeout_s=0.2) as world:
        asha = await world.credential("asha", "XA00001")
        await world.fault(kind, path="/data/quotes", **order)

        assert await world.broker.quotes(asha, [SBIN]) == Unavailable(BrokerService.DATA, "timeout")


@pytest.mark.parametrize(
    ("kind", "order", "failure", "cause"),
    [
        ("reset", {}, Unavailable, "connection"),
        ("drop_after_bytes", {}, Unavailable, "half_body"),
        ("html_page", {}, Unavailable, "http_502"),
        ("html_page", {"status": 520}, Unavailable, "http_520"),
        ("html_page", {"status": 403}, Unavailable, "cloudflare_blocked"),
        ("http_error", {"status": 500}, Unavailable, None),
        ("http_error", {"status": 401}, Unavailable, "http_401"),
        ("http_error", {"status": 401, "body": "token expired"}, Unavailable, "http_401"),
        ("http_error", {"status": 503, "body": {"s": "error", "code": -15}}, Unavailable, "contradictory"),
        ("http_error", {"status": 401, "body": {"s": "error", "code": -15}}, LoginRefused, None),
        ("http_error", {"status": 403, "body": {"s": "error", "code": -403}}, NotPermitted, None),
        ("rate_limit", {}, RateLimited, None),
        ("rate_limit", {"contentType": "text/html"}, RateLimited, None),
        ("address_ban", {}, RateLimited, None),
        ("address_ban", {"status": 403}, Unavailable, "cloudflare_blocked"),
        ("malformed_json", {}, Unavailable, "not_fyers"),
        ("wrong_types", {}, UnreadableReply, "unreadable"),
        ("empty_body", {}, Unavailable, "empty_body"),
        ("empty_body", {"status": 401}, Unavailable, "http_401"),
        ("auth_error", {}, LoginRefused, None),
        ("auth_error_all", {}, LoginRefused, None),
    ],
)
async def test_each_fault_has_its_failure(world, kind, order, failure, cause):
    """Only Fyers' own refusal is a refused login."""
    asha = await world.credential("asha", "XA00001")
    if kind != "auth_error_all":
        order = {**order, "path": "/data/quotes"}
    await world.fault(kind, **order)

    answer = await world.broker.quotes(asha, [SBIN])

    assert type(answer) is failure
    if cause is not None:
        assert answer.cause == cause


@pytest.mark.parametrize("name", ["profile_id", "check_trading", "check_data"])
async def test_wrong_types_are_never_an_answer(world, name):
    """An ok with other types is unreadable on every call."""
    asha = await world.credential("asha", "XA00001")
    await world.fault("wrong_types")

    answer = await getattr(world.broker, name)(asha)

    assert isinstance(answer, UnreadableReply)


async def test_wrong_types_are_no_empty_history(world):
    """An empty history would look like a market without trades."""
    asha = await world.credential("asha", "XA00001")
    await world.fault("wrong_types")
    now = world.clock.now()

    answer = await world.broker.candles(asha, SBIN, FIVE, start=now - timedelta(hours=1), end=now)

    assert isinstance(answer, UnreadableReply)


async def test_short_faults_are_retried(world):
    """A reset, a half answer and a page each cost one retry."""
    asha = await world.credential("asha", "XA00001")
    for kind in ("reset", "malformed_json", "drop_after_bytes", "html_page", "empty_body"):
        await world.fault(kind, count=2, path="/data/marketStatus")
        assert await world.broker.check_data(asha) == Answered(None)
        await world.clock.advance(1)


async def test_pacing_keeps_an_account_within_fyers_limits(world):
    """Calls that would wait too long return at once."""
    asha = await world.credential("asha", "XA00001")
    calls = []
    for _ in range(8):
        calls += [asyncio.create_task(world.broker.check_data(asha)) for _ in range(30)]
        await world.clock.advance(4)
    while not all(task.done() for task in calls):
        await world.clock.advance(0.25)
    answers = await asyncio.gather(*calls)

    counted = await world.calls("XA00001")
    assert set(counted["byStatus"]) == {"200"}
    assert 100 < answers.count(Answered(None)) == counted["total"] < len(calls)


async def test_instruments_are_read_from_the_simulated_masters(world):
    """No listed row is lost."""
    answer = await world.broker.instruments()

    symbols = [instrument.symbol for instrument in answer.value]
    assert SBIN in symbols
    assert len(symbols) == await world.listed()


async def test_fifty_symbols_come_in_one_call(world):
    """Fyers allows fifty symbols."""
    asha = await world.credential("asha", "XA00001")
    listed = (await world.broker.instruments()).value
    symbols = [instrument.symbol for instrument in listed if instrument.symbol.exchange == "NSE"][:50]

    answer = await world.broker.quotes(asha, symbols)

    assert [quote.symbol for quote in answer.value] == symbols
    assert await world.received("XA00001") == 1


async def test_an_ampersand_reaches_the_right_instrument(world):
    """M&M is quoted and its history is read."""
    asha = await world.credential("asha", "XA00001")
    listed = {instrument.symbol for instrument in (await world.broker.instruments()).value}
    symbol = Symbol("NSE:M&M-EQ")
    if symbol not in listed:
        pytest.skip("the simulated market lists no symbol with an ampersand")
    now = world.clock.now()

    (quote,) = (await world.broker.quotes(asha, [symbol])).value
    history = await world.broker.candles(asha, symbol, FIVE, start=now - timedelta(hours=1), end=now)

    assert quote.symbol == symbol
    assert history.value.candles


async def test_pacing_of_one_account_costs_another_nothing(world):
    """While one account has a long queue, another's call is answered at once."""
    asha, bela = await world.credential("asha", "XA00001"), await world.credential("bela", "XB00002")
    queue = [asyncio.create_task(world.broker.check_data(asha)) for _ in range(40)]
    await world.clock.settle()

    assert await world.broker.check_data(bela) == Answered(None)

    for task in queue:
        task.cancel()
    await asyncio.gather(*queue, return_exceptions=True)


def test_the_default_pace_is_below_what_fyers_allows():
    """The network bunches what was sent apart, so there is room to each documented limit."""
    pacing = PacingLimits()

    assert (pacing.per_second, pacing.per_minute, pacing.per_day) < (10, 200, 100_000)
    assert pacing.per_second < 10
    assert pacing.per_minute < 200
    assert pacing.per_day < 100_000
