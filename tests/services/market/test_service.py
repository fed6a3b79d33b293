"""Quotes, candles and market hours for one account at a time; `hullwatch.services.market.service`."""

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
    built = await Environment().start(with_monitoring=False)
    built.broker.serve_quotes([quote(SBIN, 812.5), quote(INFY, 1500.0)])
    built.broker.serve_candles(SBIN, FIVE, candles_of())
    return await built.with_sessions(ALICE)


def symbols(count: int) -> list[Symbol]:
    """Return so many symbols."""
    return [Symbol(f"NSE:STOCK{number}-EQ") for number in range(count)]


async def candles(env: Environment, user_id: str = ALICE, *, days: int = 1, resolution: Resolution = FIVE):
    """Ask for the candles of the last days."""
    now = env.clock.now()
    return await env.market.candles(user_id, SBIN, resolution, start=now - timedelta(days=days), end=now)


# ---- quotes


async def test_quotes_come_in_batches_of_fyers_limit(env: Environment) -> None:
    """A hundred and twenty symbols are three calls, and each symbol is in exactly one of them."""
    wanted = symbols(120)
    env.broker.serve_quotes([quote(symbol) for symbol in wanted])

    answer = await env.market.quotes(ALICE, wanted)

    assert answer.outcome is Outcome.OK
    assert [found.symbol for found in answer.quotes] == wanted
    assert [len(call.symbols) for call in env.broker.calls] == [50, 50, 20]
    assert sorted(symbol for call in env.broker.calls for symbol in call.symbols) == sorted(wanted)


async def test_a_symbol_asked_twice_is_quoted_once(env: Environment) -> None:
    """Repetitions cost nothing."""
    answer = await env.market.quotes(ALICE, [SBIN, SBIN])

    assert [found.symbol for found in answer.quotes] == [SBIN]
    assert [call.symbols for call in env.broker.calls] == [(SBIN,)]


async def test_what_cannot_be_quoted_is_absent(env: Environment) -> None:
    """The others are there; if there are no others the outcome says so."""
    unknown = Symbol("NSE:NOSUCH-EQ")

    some = await env.market.quotes(ALICE, [SBIN, unknown])
    none = await env.market.quotes(ALICE, [unknown])

    assert (some.outcome, [found.symbol for found in some.quotes]) == (Outcome.OK, [SBIN])
    assert (none.outcome, none.quotes) == (Outcome.NO_DATA, ())


async def test_a_quote_is_given_again_within_a_second(env: Environment) -> None:
    """Only what is missing is asked for."""
    await env.market.quotes(ALICE, [SBIN])
    await env.clock.advance(0.9)
    answer = await env.market.quotes(ALICE, [INFY, SBIN])

    assert [call.symbols for call in env.broker.calls] == [(SBIN,), (INFY,)]
    assert [found.symbol for found in answer.quotes] == [INFY, SBIN]
    await env.clock.advance(1)
    await env.market.quotes(ALICE, [SBIN])
    assert env.broker.calls[-1].symbols == (SBIN,)


async def test_quotes_are_shared_with_no_other_account(env: Environment) -> None:
    """Each account asks with its own session."""
    await env.with_sessions(BOB)

    for user_id in (ALICE, BOB):
        await env.market.quotes(user_id, [SBIN])

    assert [call.user_id for call in env.broker.calls] == [ALICE, BOB]


async def test_quotes_are_not_shared_across_logins(env: Environment) -> None:
    """A new session fetches its own; after an end nothing is given out."""
    await env.market.quotes(ALICE, [SBIN])
    await env.log_in(ALICE)
    await env.market.quotes(ALICE, [SBIN])
    await env.connections.sign_out(ALICE, actor=ALICE)

    answer = await env.market.quotes(ALICE, [SBIN])

    assert [call.generation for call in env.broker.calls] == [1, 2]
    assert (answer.outcome, answer.quotes) == (Outcome.DISCONNECTED, ())
    assert not answer.connection.has_session


FAILURES: list[tuple[BrokerFailure, Outcome]] = [
    (RateLimited(DATA, retry_after_s=60), Outcome.RATE_LIMITED),
    (UnreadableReply(DATA, cause="not_fyers"), Outcome.UNAVAILABLE),
    (RequestRefused(DATA, code=-300, http_status=422, message="bad"), Outcome.BAD_REQUEST),
    (NotPermitted(DATA, code=-403, http_status=403, message="no"), Outcome.NOT_PERMITTED),
    (refusal(DATA), Outcome.UNAVAILABLE),
]


@pytest.mark.parametrize(("failure", "outcome"), FAILURES)
async def test_a_failure_is_a_typed_outcome_with_an_empty_list(
    env: Environment, failure: BrokerFailure, outcome: Outcome
) -> None:
    """Nothing raises, nothing is kept, and the next call succeeds."""
    env.broker.queue(fyers_id(ALICE), failure)

    answer = await env.market.quotes(ALICE, [SBIN, INFY])

    assert (answer.outcome, answer.quotes) == (outcome, ())
    await env.clock.settle()
    assert (await env.market.quotes(ALICE, [SBIN])).outcome is Outcome.OK


async def test_a_failure_in_a_later_batch_is_the_whole_answer_s(env: Environment) -> None:
    """Half a list does not pass for a whole one."""
    wanted = symbols(100)
    env.broker.serve_quotes([quote(symbol) for symbol in wanted])

    async def fail_second(call: Call) -> None:
        env.broker.queue(fyers_id(ALICE), RateLimited(DATA, retry_after_s=5))
        env.broker.before_answer = None

    await env.market.quotes(ALICE, wanted[:50])
    env.broker.before_answer = fail_second
    answer = await env.market.quotes(ALICE, wanted)

    assert (answer.outcome, answer.quotes) == (Outcome.RATE_LIMITED, ())


async def test_what_is_learned_is_told_to_the_connection(env: Environment) -> None:
    """A quote confirms the session; a refusal puts it in doubt and stops the calls that follow."""
    await env.market.quotes(ALICE, [SBIN])
    assert env.connections.connection(ALICE).is_verified
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    await env.market.fresh_quotes(ALICE, [SBIN])

    assert env.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    await env.clock.settle()
    reached = len(env.broker.calls)
    answer = await env.market.fresh_quotes(ALICE, [SBIN])
    assert (answer.outcome, len(env.broker.calls)) == (Outcome.DISCONNECTED, reached)


async def test_batches_that_wait_are_not_sent_after_the_end(env: Environment) -> None:
    """A session that ends while the first of three batches is answered sends no second one."""

    async def sign_out(call: Call) -> None:
        await env.connections.sign_out(ALICE, actor=ALICE)

    env.broker.before_answer = sign_out
    answer = await env.market.quotes(ALICE, symbols(150))

    assert (answer.outcome, answer.quotes, len(env.broker.calls)) == (Outcome.DISCONNECTED, (), 1)


async def test_a_session_in_doubt_is_unavailable_not_disconnected(env: Environment) -> None:
    """Nobody is told to log in before the second look has decided."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    for _ in range(2):
        answer = await env.market.fresh_quotes(ALICE, [SBIN])
        assert answer.outcome is Outcome.UNAVAILABLE
    assert len(env.broker.calls_of(ALICE)) == 1


# ---- candles


async def test_candles_are_closed_ones_and_the_forming_one_apart(env: Environment) -> None:
    """At 09:47 the candle of 09:45 is still forming."""
    await env.clock.advance_to(OPENING + timedelta(minutes=32))

    answer = await candles(env)

    assert answer.outcome is Outcome.OK
    assert answer.candles[-1].opened_at == OPENING + timedelta(minutes=25)
    assert answer.forming is not None
    assert answer.forming.opened_at == OPENING + timedelta(minutes=30)


async def test_a_candle_that_closed_while_it_was_fetched_is_not_closed_yet(env: Environment) -> None:
    """What was asked for before the close may lack the last trades, however late the answer comes."""
    await env.clock.advance_to(OPENING + timedelta(minutes=34, seconds=59))

    async def answer_late(call: Call) -> None:
        await env.clock.sleep(3)

    env.broker.before_answer = answer_late
    asking = asyncio.create_task(candles(env))
    await env.clock.advance(5)
    answer = await asking

    assert answer.candles[-1].opened_at == OPENING + timedelta(minutes=25)
    assert answer.forming is not None


@pytest.mark.parametrize(
    ("resolution", "days", "calls"), [(FIVE, 99, 1), (FIVE, 100, 2), (FIVE, 250, 3), (DAY, 1000, 3)]
)
async def test_long_ranges_are_paged(env: Environment, resolution: Resolution, days: int, calls: int) -> None:
    """Each call keeps Fyers' range limit; together they cover the range without gap or overlap."""
    await candles(env, days=days, resolution=resolution)

    spans = [(call.start, call.end) for call in env.broker.calls]
    assert len(spans) == calls
    assert spans[0][0] == env.clock.now() - timedelta(days=days)
    assert spans[-1][1] == env.clock.now()
    for (_, end), (start, _) in pairwise(spans):
        assert start - end == timedelta(microseconds=1)


async def test_pages_are_joined_in_order_without_repetition(env: Environment) -> None:
    """A candle on a seam is there once."""
    now = env.clock.now()
    old = [Candle(now - timedelta(days=number), 10, 10, 10, 10, 1) for number in range(1, 240)]
    env.broker.candles_by_key[SBIN, FIVE] = old

    answer = await candles(env, days=240)

    opened = [candle.opened_at for candle in answer.candles]
    assert opened == sorted(set(opened))
    assert len(opened) == 239


async def test_a_failing_page_fails_the_whole(env: Environment) -> None:
    """Candles with a hole in them are not given out."""
    env.broker.queue(fyers_id(ALICE), RateLimited(HISTORY, retry_after_s=5))

    answer = await candles(env, days=250)

    assert (answer.outcome, answer.candles, answer.forming) == (Outcome.RATE_LIMITED, (), None)
    assert len(env.broker.calls) == 1


async def test_nothing_there_is_no_data(env: Environment) -> None:
    """A symbol without trades is told from one that failed, and from one that Fyers does not know."""
    env.broker.candles_by_key[SBIN, FIVE] = []
    assert (await candles(env)).outcome is Outcome.NO_DATA
    env.broker.unknown_symbols.add(SBIN)
    assert (await candles(env)).outcome is Outcome.BAD_REQUEST
    await env.connections.sign_out(ALICE, actor=ALICE)
    assert (await candles(env)).outcome is Outcome.DISCONNECTED


@pytest.mark.parametrize("close", [float("nan"), 0.0, -5.0, float("inf"), 1e12])
async def test_a_close_that_is_no_price_is_left_out(env: Environment, close: float) -> None:
    """Whatever an adapter lets through never gets further."""
    bad = Candle(OPENING + timedelta(minutes=5), 1, 1, 1, close, 1)
    env.broker.candles_by_key[SBIN, FIVE] = [bad, *candles_of(days_before=1, days=0)]

    answer = await candles(env, days=5)

    assert answer.outcome is Outcome.OK
    assert bad not in answer.candles
    assert len(answer.candles) == 75


async def test_no_session_makes_no_call(env: Environment) -> None:
    """Somebody who never linked Fyers gets an outcome for everything."""
    assert (await env.market.quotes(BOB, [SBIN])).outcome is Outcome.DISCONNECTED
    assert (await env.market.fresh_quotes(BOB, [SBIN])).outcome is Outcome.DISCONNECTED
    assert (await candles(env, BOB)).outcome is Outcome.DISCONNECTED
    assert env.broker.calls == []


# ---- hours and instruments


async def test_the_market_s_hours_come_from_the_calendar(env: Environment) -> None:
    """Open in the morning, closed in the evening, and nobody is asked."""
    assert env.market.market_status().is_open
    await env.clock.advance_to(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
    status = env.market.market_status()

    assert (status.is_open, status.next_open_at) == (False, OPENING + timedelta(days=1))
    assert env.broker.calls == []


async def test_instruments_are_fetched_once_and_failures_not_kept(env: Environment) -> None:
    """Searches at once share one download; an outage is tried again by the next search."""
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
