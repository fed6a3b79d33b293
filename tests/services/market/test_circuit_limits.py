"""Circuit limits from the market depth, which decide whether a quote can be true."""

from datetime import timedelta

import pytest

from hullwatch.domain.failures import BrokerService, Unavailable
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Implausibility, Quote
from hullwatch.services.market.circuit_limits import AGAIN_S, MOST_AT_ONCE, RETRY_S
from services.environment import ALICE, BOB, SBIN, Environment

OPTION, NIFTY = Symbol("NSE:NIFTY26DEC27000CE"), Symbol("NSE:NIFTY50-INDEX")
FAILED = Unavailable(BrokerService.DATA, cause="http_500", http_status=500)


@pytest.fixture
async def env() -> Environment:
    """Alice and Bob have sessions."""
    return await Environment().with_sessions(ALICE, BOB)


async def shown(env: Environment, *quotes: Quote, user_id: str = ALICE) -> list[Implausibility | None]:
    """Fetch these quotes, read limits as monitoring does, and return why the next ones are doubtful."""
    env.broker.serve_quotes(quotes)
    symbols = [quote.symbol for quote in quotes]
    first = await env.market.fresh_quotes(user_id, symbols)
    await env.market.read_circuit_limits(user_id, first.quotes)
    again = await env.market.fresh_quotes(user_id, symbols)
    return [quote.implausibility for quote in again.quotes]


def limit_calls(env: Environment) -> list[Symbol]:
    """Return the symbols whose limits were read."""
    return [call.symbols[0] for call in env.broker.calls if call.name == "circuit_limits"]


@pytest.mark.parametrize(
    ("quote", "limits", "reason"),
    [
        (Quote(SBIN, 880.1, previous_close=800.0), (720.0, 880.0), Implausibility.OUTSIDE_LIMITS),
        (Quote(SBIN, 879.9, previous_close=800.0), (720.0, 880.0), None),
        # The day of a 1:2 split, where the previous close is the old one.
        (Quote(SBIN, 399.0, previous_close=800.0), (360.0, 440.0), None),
        (Quote(OPTION, 50.0, previous_close=5.0), (0.05, 20.0), Implausibility.OUTSIDE_LIMITS),
        (Quote(OPTION, 50.0, previous_close=5.0), (0.05, 90.0), None),
    ],
)
async def test_the_limits_of_the_depth_decide(env: Environment, quote, limits, reason) -> None:
    """Half and double of the previous close count only where Fyers gives no limits."""
    env.broker.limits_by_symbol[quote.symbol] = CircuitLimits(*limits)

    assert await shown(env, quote) == [reason]


async def test_one_call_a_day_serves_all_accounts(env: Environment) -> None:
    """Also before it is answered: 2,000 accounts see the same share jump at the market open."""
    env.broker.limits_by_symbol[SBIN] = CircuitLimits(720.0, 880.0)
    quotes = [Quote(SBIN, 850.0, previous_close=800.0)]

    assert await shown(env, *quotes) == await shown(env, *quotes, user_id=BOB) == [None]
    await env.clock.advance(3600)
    await shown(env, *quotes)
    assert limit_calls(env) == [SBIN]

    await env.clock.advance(timedelta(days=1).total_seconds())
    await env.log_in(BOB)
    await shown(env, *quotes, user_id=BOB)
    assert limit_calls(env) == [SBIN, SBIN]


async def test_most_quotes_need_no_limits(env: Environment) -> None:
    """No band is narrower than two percent, an index has none, and a quote may have its own."""
    own = Quote(Symbol("NSE:OWN-EQ"), 90.0, previous_close=80.0, lower_limit=72.0, upper_limit=88.0)

    await shown(env, Quote(SBIN, 815.0, previous_close=800.0), Quote(NIFTY, 99.0, previous_close=1.0), own)

    assert limit_calls(env) == []


async def test_a_widened_band_is_read_again(env: Environment) -> None:
    """NSE widens the band of a share with derivatives in the day; the quote is doubtful for a minute at most."""
    env.broker.limits_by_symbol[SBIN] = CircuitLimits(720.0, 880.0)
    assert await shown(env, Quote(SBIN, 879.0, previous_close=800.0)) == [None]
    env.broker.limits_by_symbol[SBIN] = CircuitLimits(680.0, 920.0)
    quote = Quote(SBIN, 885.0, previous_close=800.0)
    assert await shown(env, quote) == [Implausibility.OUTSIDE_LIMITS]

    await env.clock.advance(AGAIN_S)

    assert await shown(env, quote) == [None]
    assert limit_calls(env) == [SBIN, SBIN]


@pytest.mark.parametrize("failure", [FAILED, None])
async def test_without_limits_the_previous_close_decides(env: Environment, failure) -> None:
    """A depth that fails, or has no limits, is read again after a quarter of an hour, and harms nothing else."""
    if failure is not None:
        env.broker.symbol_failures[SBIN] = failure
    quotes = (Quote(SBIN, 399.0, previous_close=800.0),)
    await env.market.read_circuit_limits(ALICE, quotes)
    await env.market.read_circuit_limits(BOB, quotes)
    await env.clock.advance(RETRY_S - 1)
    await env.market.read_circuit_limits(ALICE, quotes)
    assert limit_calls(env) == [SBIN]

    env.broker.symbol_failures.clear()
    await env.clock.advance(1)

    assert await shown(env, *quotes) == [Implausibility.FAR_FROM_CLOSE]
    assert limit_calls(env) == [SBIN, SBIN]
    assert env.connections.connection(ALICE).is_usable


async def test_a_long_watchlist_is_read_in_parts(env: Environment) -> None:
    """Limits never use up the calls of an account."""
    quotes = [Quote(Symbol(f"NSE:S{number}-EQ"), 90.0, previous_close=80.0) for number in range(10)]

    await shown(env, *quotes)

    assert len(limit_calls(env)) == MOST_AT_ONCE
