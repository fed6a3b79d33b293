"""Symbols whose quotes fail while Fyers answers for others."""

import pytest

from hullwatch.domain.failures import (
    BrokerService,
    FailureScope,
    NotPermitted,
    Outcome,
    RequestRefused,
    Unavailable,
)
from hullwatch.domain.market.instruments import Symbol
from hullwatch.services.market.failing_quotes import MAX_ISOLATION_CALLS
from hullwatch.services.market.service import MissingQuote
from services.environment import ALICE, Environment, quote

DATA = BrokerService.DATA
SYMBOLS = [Symbol(f"NSE:STOCK{number}-EQ") for number in range(50)]
BAD = SYMBOLS[17]
FAILURES = [
    (Unavailable(DATA, "http_500", 500), Outcome.UNAVAILABLE),
    (NotPermitted(DATA, -403, 403, ""), Outcome.NOT_PERMITTED),
    (RequestRefused(DATA, -50, 400, ""), Outcome.BAD_REQUEST),
]


@pytest.fixture
async def env() -> Environment:
    """Alice has a session, and Fyers quotes fifty symbols."""
    env = await Environment().start(with_monitoring=False)
    env.broker.serve_quotes([quote(symbol) for symbol in SYMBOLS])
    return await env.with_sessions(ALICE)


@pytest.mark.parametrize(("failure", "outcome"), FAILURES)
async def test_a_failing_symbol_is_found_and_the_others_are_quoted(env, failure, outcome) -> None:
    """Fyers fails the whole call; later calls name the others alone."""
    env.broker.symbol_failures[BAD] = failure

    answer = await env.market.fresh_quotes(ALICE, SYMBOLS)

    assert (answer.outcome, answer.scope) == (Outcome.OK, None)
    assert {one.symbol for one in answer.quotes} == set(SYMBOLS) - {BAD}
    assert answer.missing == (MissingQuote(BAD, outcome),)
    assert len(env.broker.calls) <= 1 + 1 + MAX_ISOLATION_CALLS

    reached = len(env.broker.calls)
    again = await env.market.fresh_quotes(ALICE, SYMBOLS)

    assert again.missing == answer.missing
    assert [len(call.symbols) for call in env.broker.calls[reached:]] == [49]


async def test_a_failing_symbol_is_tried_alone_until_it_works(env) -> None:
    """Its first good answer brings it back into the common call."""
    env.broker.symbol_failures[BAD] = FAILURES[0][0]
    await env.market.fresh_quotes(ALICE, SYMBOLS)
    env.broker.symbol_failures.clear()
    await env.clock.advance(10)

    back = await env.market.fresh_quotes(ALICE, SYMBOLS)
    reached = len(env.broker.calls)
    await env.market.fresh_quotes(ALICE, SYMBOLS)

    assert back.missing == ()
    assert [len(call.symbols) for call in env.broker.calls[reached:]] == [50]


async def test_many_failing_symbols_cost_a_bounded_number_of_calls(env) -> None:
    """A list that Fyers refuses as a whole must not use up the account's calls."""
    env.broker.symbol_failures = dict.fromkeys(SYMBOLS, FAILURES[2][0])

    for _ in range(11):
        answer = await env.market.fresh_quotes(ALICE, SYMBOLS)
        assert (answer.outcome, answer.scope) == (Outcome.BAD_REQUEST, FailureScope.SYMBOL)
        await env.clock.advance(5)

    assert len(env.broker.calls) <= 100
