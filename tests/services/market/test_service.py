"""Tests quotes, candles and market hours of one account."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.failures import (
    BrokerFailure,
    BrokerService,
    NotPermitted,
    Outcome,
    RateLimited,
    RequestRefused,
    UnreadableReply,
)
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Instrument, Resolution, Segment, Symbol
from hullwatch.domain.sessions.connection import VerificationState
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
from services.environment import (
    ALICE,
    BOB,
    FIVE,
    INFY,
    OPENING,
    SBIN,
    Environment,
    candles_of,
    fyers_id,
    quote,
)

DATA, HISTORY = BrokerService.DATA, BrokerService.HISTORY
DAY = Resolution("1D")


@pytest.fixture
async def env() -> Environment:
    """Alice has a session; Fyers quotes two symbols and has three days of candles."""
    env = await Environment().start(with_monitoring=False)
    env.broker.serve_quotes([quote(SBIN, 812.5), quote(INFY, 1500.0)])
    env.broker.serve_candles(SBIN, FIVE, candles_of())
    return await env.with_sessions(ALICE)


def symbols(count: int) -> list[Symbol]:
    """Return this many symbols."""
    return [Symbol(f"NSE:STOCK{number}-EQ") for number in range(count)]


async def candles(env: Environment, user_id: str = ALICE, *, days: int = 1, resolution: Resolution = FIVE):
    """Fetch the candles of the last days."""
    now = env.clock.now()
    return await env.market.candles(user_id, SBIN, resolution, start=now - timedelta(days=days), end=now)


# ---- quotes


async def test_quotes_come_in_batches_of_fyers_limit(env: Environment) -> None:
    """120 symbols are three calls, and each symbol is in exactly one of them."""
    wanted = symbols(120)
    env.broker.serve_quotes([quote(symbol) for symbol in wanted])

    answer = await env.market.quotes(ALICE, wanted)

    assert answer.outcome is Outcome.OK
    assert [found.symbol for found in answer.quotes] == wanted
    assert [len(call.symbols) for call in env.broker.calls] == [50, 50, 20]
    assert sorted(symbol for call in env.broker.calls for symbol in call.symbols) == sorted(wanted)


async def test_a_repeated_symbol_is_quoted_once(env: Environment) -> None:
    """A repetition costs no further call."""
    answer = await env.market.quotes(ALICE, [SBIN, SBIN])

    assert [found.symbol for found in answer.quotes] == [SBIN]
    assert [call.symbols for call in env.broker.calls] == [(SBIN,)]


async def test_a_symbol_without_a_quote_is_absent(env: Environment) -> None:
    """Without any quote the outcome is *no data*."""
    unknown = Symbol("NSE:NOSUCH-EQ")

    some = await env.market.quotes(ALICE, [SBIN, unknown])
    none = await env.market.quotes(ALICE, [unknown])

    assert (some.outcome, [found.symbol for found in some.quotes]) == (Outcome.OK, [SBIN])
    assert (none.outcome, none.quotes) == (Outcome.NO_DATA, ())


async def test_a_quote_is_cached_for_a_second(env: Environment) -> None:
    """Only the missing symbols are fetched."""
    await env.market.quotes(ALICE, [SBIN])
    await env.clock.advance(0.9)
    answer = await env.market.quotes(ALICE, [INFY, SBIN])

    assert [call.symbols for call in env.broker.calls] == [(SBIN,), (INFY,)]
    assert [found.symbol for found in answer.quotes] == [INFY, SBIN]
    await env.clock.advance(1)
    await env.market.quotes(ALICE, [SBIN])
    assert env.broker.calls[-1].symbols == (SBIN,)


async def test_quotes_are_not_shared_between_accounts(env: Environment) -> None:
    """Each account fetches with its own session."""
    await env.with_sessions(BOB)

    for user_id in (ALICE, BOB):
        await env.market.quotes(user_id, [SBIN])

    assert [call.user_id for call in env.broker.calls] == [ALICE, BOB]


async def test_quotes_are_not_cached_across_sessions(env: Environment) -> None:
    """A new session fetches its own, and after a disconnect there are none."""
    await env.market.quotes(ALICE, [SBIN])
    await env.log_in(ALICE)
    await env.market.quotes(ALICE, [SBIN])
    await env.connections.sign_out(ALICE, actor=ALICE)

    answer = await env.market.quotes(ALICE, [SBIN])

    assert [call.generation for call in env.broker.calls] == [1, 2]
    assert (answer.outcome, answer.quotes) == (Outcome.DISCONNECTED, ())
    assert not answer.connection.has_session


FAILURES: list[tuple[BrokerFailure, Outcome, int]] = [
    (RateLimited(DATA, retry_after_s=60), Outcome.RATE_LIMITED, 1),
    (UnreadableReply(DATA, cause="not_fyers"), Outcome.UNAVAILABLE, 2),
    (RequestRefused(DATA, code=-300, http_status=422, message="bad"), Outcome.BAD_REQUEST, 3),
    (NotPermitted(DATA, code=-403, http_status=403, message="no"), Outcome.NOT_PERMITTED, 2),
    (refusal(DATA), Outcome.UNAVAILABLE, 1),
]
"""With the calls that fail: for some, an index is checked or each symbol is tried alone."""


@pytest.mark.parametrize(("failure", "outcome", "times"), FAILURES)
async def test_a_failure_is_a_typed_outcome_with_an_empty_list(
    env: Environment, failure: BrokerFailure, outcome: Outcome, times: int
) -> None:
    """Nothing is raised or cached, and the next call succeeds."""
    env.broker.queue(fyers_id(ALICE), failure, times=times)

    answer = await env.market.quotes(ALICE, [SBIN, INFY])

    assert (answer.outcome, answer.quotes) == (outcome, ())
    await env.clock.advance(7)
    assert (await env.market.quotes(ALICE, [SBIN])).outcome is Outcome.OK


async def test_a_failure_in_a_later_batch_fails_the_answer(env: Environment) -> None:
    """An incomplete list is never returned."""
    wanted = symbols(100)
    env.broker.serve_quotes([quote(symbol) for symbol in wanted])

    async def fail_second(call: Call) -> None:
        env.broker.queue(fyers_id(ALICE), RateLimited(DATA, retry_after_s=5))
        env.broker.before_answer = None

    await env.market.quotes(ALICE, wanted[:50])
    env.broker.before_answer = fail_second
    answer = await env.market.quotes(ALICE, wanted)

    assert (answer.outcome, answer.quotes) == (Outcome.RATE_LIMITED, ())


async def test_results_are_reported_to_the_connection(env: Environment) -> None:
    """A quote verifies the session. A refusal starts verification and stops further calls."""
    await env.market.quotes(ALICE, [SBIN])
    assert env.connections.connection(ALICE).is_verified
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    await env.market.fresh_quotes(ALICE, [SBIN])

    assert env.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    await env.clock.advance(CONFIRM_AGAIN_S)
    reached = len(env.broker.calls)
    answer = await env.market.fresh_quotes(ALICE, [SBIN])
    assert (answer.outcome, len(env.broker.calls)) == (Outcome.DISCONNECTED, reached)


async def test_waiting_batches_are_dropped_at_a_disconnect(env: Environment) -> None:
    """A session that is disconnected during the first of three batches sends no second one."""

    async def sign_out(call: Call) -> None:
        await env.connections.sign_out(ALICE, actor=ALICE)

    env.broker.before_answer = sign_out
    answer = await env.market.quotes(ALICE, symbols(150))

    assert (answer.outcome, answer.quotes, len(env.broker.calls)) == (Outcome.DISCONNECTED, (), 1)


async def test_a_session_under_verification_is_unavailable(env: Environment) -> None:
    """The user is not asked to log in before verification has decided."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    for _ in range(2):
        answer = await env.market.fresh_quotes(ALICE, [SBIN])
        assert answer.outcome is Outcome.UNAVAILABLE
    assert len(env.broker.calls_of(ALICE)) == 1


# ---- candles


async def test_the_forming_candle_is_separate(env: Environment) -> None:
    """At 09:47 the candle of 09:45 is forming."""
    await env.clock.advance_to(OPENING + timedelta(minutes=32))

    answer = await candles(env)

    assert answer.outcome is Outcome.OK
    assert answer.candles[-1].opened_at == OPENING + timedelta(minutes=25)
    assert answer.forming is not None
    assert answer.forming.opened_at == OPENING + timedelta(minutes=30)


async def test_a_candle_that_closed_during_the_call_is_forming(env: Environment) -> None:
    """An answer to an earlier request may lack its last trades."""
    await env.clock.advance_to(OPENING + timedelta(minutes=34, seconds=59))

    async def answer_late(call: Call) -> None:
        await env.clock.sleep(3)

    env.broker.before_answer = answer_late
    query = asyncio.create_task(candles(env))
    await env.clock.advance(5)
    answer = await query

    assert answer.candles[-1].opened_at == OPENING + timedelta(minutes=25)
    assert answer.forming is not None


@pytest.mark.parametrize(
    ("resolution", "days", "calls"), [(FIVE, 99, 1), (FIVE, 100, 2), (FIVE, 250, 3), (DAY, 1000, 3)]
)
async def test_long_ranges_are_paged(env: Environment, resolution: Resolution, days: int, calls: int) -> None:
    """Each call is within Fyers' range limit, and the calls cover the range without gap or overlap."""
    await candles(env, days=days, resolution=resolution)

    spans = [(call.start, call.end) for call in env.broker.calls]
    assert len(spans) == calls
    assert spans[0][0] == env.clock.now() - timedelta(days=days)
    assert spans[-1][1] == env.clock.now()
    for (_, end), (start, _) in pairwise(spans):
        assert start - end == timedelta(microseconds=1)


async def test_pages_are_joined_in_order_without_repetition(env: Environment) -> None:
    """A candle on the boundary of two pages appears once."""
    now = env.clock.now()
    old = [Candle(now - timedelta(days=number), 10, 10, 10, 10, 1) for number in range(1, 240)]
    env.broker.candles_by_key[SBIN, FIVE] = old

    answer = await candles(env, days=240)

    opened = [candle.opened_at for candle in answer.candles]
    assert opened == sorted(set(opened))
    assert len(opened) == 239


async def test_a_failing_page_fails_the_answer(env: Environment) -> None:
    """Candles with a gap are never returned."""
    env.broker.queue(fyers_id(ALICE), RateLimited(HISTORY, retry_after_s=5))

    answer = await candles(env, days=250)

    assert (answer.outcome, answer.candles, answer.forming) == (Outcome.RATE_LIMITED, (), None)
    assert len(env.broker.calls) == 1


async def test_a_symbol_without_trades_has_no_data(env: Environment) -> None:
    """That differs from a failure and from an unknown symbol."""
    env.broker.candles_by_key[SBIN, FIVE] = []
    assert (await candles(env)).outcome is Outcome.NO_DATA
    env.broker.unknown_symbols.add(SBIN)
    assert (await candles(env)).outcome is Outcome.BAD_REQUEST
    await env.connections.sign_out(ALICE, actor=ALICE)
    assert (await candles(env)).outcome is Outcome.DISCONNECTED


@pytest.mark.parametrize("close", [float("nan"), 0.0, -5.0, float("inf"), 1e12])
async def test_a_close_that_is_no_price_is_left_out(env: Environment, close: float) -> None:
    """NaN or zero from an adapter never reaches an average."""
    bad = Candle(OPENING + timedelta(minutes=5), 1, 1, 1, close, 1)
    env.broker.candles_by_key[SBIN, FIVE] = [bad, *candles_of(days_before=1, days=0)]

    answer = await candles(env, days=5)

    assert answer.outcome is Outcome.OK
    assert bad not in answer.candles
    assert len(answer.candles) == 75


async def test_without_a_session_no_call_is_made(env: Environment) -> None:
    """A user who never linked Fyers gets an outcome for every query."""
    assert (await env.market.quotes(BOB, [SBIN])).outcome is Outcome.DISCONNECTED
    assert (await env.market.fresh_quotes(BOB, [SBIN])).outcome is Outcome.DISCONNECTED
    assert (await candles(env, BOB)).outcome is Outcome.DISCONNECTED
    assert env.broker.calls == []


# ---- hours and instruments


async def test_market_hours_come_from_the_calendar(env: Environment) -> None:
    """No call to Fyers is made."""
    assert env.market.market_status().is_open
    await env.clock.advance_to(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
    status = env.market.market_status()

    assert (status.is_open, status.next_open_at) == (False, OPENING + timedelta(days=1))
    assert env.broker.calls == []


async def test_instruments_are_fetched_once_and_failures_retried(env: Environment) -> None:
    """Concurrent searches share one download."""
    env.broker.is_down = True
    assert (await env.market.search_instruments("sbi")).outcome is Outcome.UNAVAILABLE
    env.broker.is_down = False
    env.broker.listed = [_listed(SBIN, "STATE BANK OF INDIA"), _listed(INFY, "INFOSYS")]

    answers = await asyncio.gather(*(env.market.search_instruments("SBIN") for _ in range(5)))

    assert {answer.outcome for answer in answers} == {Outcome.OK}
    assert [found.symbol for found in answers[0].instruments] == [SBIN]
    assert (await env.market.search_instruments("zzzz")).outcome is Outcome.NO_DATA
    assert [call.name for call in env.broker.calls] == ["instruments", "instruments"]


def _listed(symbol: Symbol, name: str) -> Instrument:
    return Instrument(symbol, "10100000003045", name, symbol.exchange, Segment.CASH)
