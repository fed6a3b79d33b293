"""What a failed call about a symbol concerns."""

import asyncio
from datetime import timedelta

import pytest

from hullwatch.domain.failures import (
    BrokerService,
    FailureScope,
    NotPermitted,
    Outcome,
    RateLimited,
    RequestRefused,
    Unavailable,
    UnreadableReply,
)
from hullwatch.services.market.failure_scope import ANSWER_COUNTS_S, DECISION_COUNTS_S, INDICES
from services.environment import ALICE, BOB, FIVE, INFY, SBIN, Environment, fyers_id

HISTORY = BrokerService.HISTORY
FAILED = Unavailable(HISTORY, "http_500", 500)
ONE_SYMBOL = [FAILED, NotPermitted(HISTORY, -403, 403, ""), UnreadableReply(HISTORY, "unreadable", 200)]


@pytest.fixture
async def env():
    """Two users have sessions."""
    environment = await Environment().start(with_monitoring=False)
    return await environment.with_sessions(ALICE, BOB)


async def scope(env, symbol=SBIN, user_id=ALICE):
    """Fetch candles and return what the failure concerns."""
    now = env.clock.now()
    answer = await env.market.candles(user_id, symbol, FIVE, start=now - timedelta(hours=1), end=now)
    return answer.scope


def checks(env, user_id=ALICE):
    """Return the symbols of the index calls."""
    return [call.symbols[0] for call in env.broker.calls_of(user_id) if call.name == "check_symbol"]


@pytest.mark.parametrize("failure", ONE_SYMBOL)
async def test_an_answer_for_another_symbol_decides(env, failure):
    """No further call is made: the service answered within a minute."""
    env.broker.symbol_failures[SBIN] = failure
    await scope(env, INFY)

    assert await scope(env) is FailureScope.SYMBOL
    assert checks(env) == []


@pytest.mark.parametrize("failure", ONE_SYMBOL)
async def test_an_index_decides_without_such_an_answer(env, failure):
    """Its answer then counts for a minute."""
    env.broker.symbol_failures[SBIN] = failure

    assert await scope(env) is FailureScope.SYMBOL
    assert await scope(env) is FailureScope.SYMBOL
    assert checks(env) == [INDICES[0]]

    await env.clock.advance(ANSWER_COUNTS_S + 1)

    assert await scope(env) is FailureScope.SYMBOL
    assert len(checks(env)) == 2


async def test_an_answer_of_another_service_decides_nothing(env):
    """Quotes may work while history is down."""
    env.broker.always(fyers_id(ALICE), HISTORY, FAILED)
    await env.market.quotes(ALICE, [INFY])

    assert await scope(env) is FailureScope.SERVICE


async def test_a_symbol_that_failed_since_decides_nothing(env):
    """During an outage the answers before it are no evidence."""
    await scope(env)
    env.broker.always(fyers_id(ALICE), HISTORY, FAILED)

    assert await scope(env) is FailureScope.SERVICE


async def test_a_failing_index_is_no_failure_of_the_service(env):
    """Another index is checked when the first one is the symbol that fails."""
    env.broker.symbol_failures[INDICES[0]] = FAILED

    assert await scope(env, INDICES[0]) is FailureScope.SYMBOL
    assert checks(env) == [INDICES[1]]


async def test_a_service_that_answers_others_fails_for_the_account(env):
    """Other accounts are served."""
    await scope(env, user_id=BOB)
    env.broker.always(fyers_id(ALICE), HISTORY, FAILED)

    assert await scope(env) is FailureScope.ACCOUNT


async def test_a_service_that_answers_nobody_is_down(env):
    """The answers before the outage stop counting as each account fails."""
    for user_id in (ALICE, BOB):
        await scope(env, user_id=user_id)
        env.broker.always(fyers_id(user_id), HISTORY, FAILED)
    await scope(env)

    assert await scope(env, user_id=BOB) is FailureScope.SERVICE
    await env.clock.advance(DECISION_COUNTS_S)
    assert await scope(env) is FailureScope.SERVICE


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (NotPermitted(HISTORY, -403, 403, ""), FailureScope.ACCOUNT),
        (RateLimited(HISTORY, 5.0), FailureScope.ACCOUNT),
        (RequestRefused(HISTORY, -300, 422, ""), FailureScope.SYMBOL),
        (Unavailable(HISTORY, "circuit_open", retry_after_s=5.0), FailureScope.SERVICE),
        (Unavailable(HISTORY, "too_many_in_flight"), FailureScope.ACCOUNT),
    ],
)
async def test_some_failures_have_one_scope(env, failure, expected):
    """A missing permission, a limit or a stopped call is known for what it is."""
    env.broker.always(fyers_id(ALICE), HISTORY, failure)

    assert await scope(env) is expected


async def test_callers_share_one_index_call(env):
    """A watchlist of failing symbols asks once, and again after ten seconds."""
    env.broker.always(fyers_id(ALICE), HISTORY, FAILED)
    symbols = [SBIN, INFY, *INDICES[1:]]

    found = await asyncio.gather(*(scope(env, symbol) for symbol in symbols))

    assert set(found) == {FailureScope.SERVICE}
    assert len(checks(env)) == 1
    await env.clock.advance(DECISION_COUNTS_S - 1)
    await scope(env)
    assert len(checks(env)) == 1
    await env.clock.advance(1)
    await scope(env)
    assert len(checks(env)) == 2


async def test_a_disconnected_account_makes_no_index_call(env):
    """Its failure concerns the account."""
    await env.connections.sign_out(ALICE, actor=ALICE)

    assert await scope(env) is FailureScope.ACCOUNT
    assert await env.market._scopes.scope_of(ALICE, FAILED, SBIN) is FailureScope.ACCOUNT
    assert env.broker.calls_of(ALICE) == []


async def test_an_answer_has_no_scope(env):
    """Only a failure concerns something."""
    assert await scope(env) is None
    assert (await env.market.quotes(ALICE, [SBIN])).outcome is Outcome.NO_DATA
