"""One symbol that Fyers cannot serve leaves the others of its account monitored."""

from datetime import timedelta
from itertools import pairwise

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.failures import BrokerFailure, BrokerService, NotPermitted, Unavailable
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.problems import SymbolProblem
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.signals import Rule
from services.environment import ALICE, CLOSING, FIVE, OPENING, Environment, expected_signals, found, fyers_id
from services.monitoring.monitoring_environment import MARKET, names, status, stretches, watching

BROKEN = [Symbol(f"NSE:BROKEN{number}-EQ") for number in range(4)]
FAILURES = [
    Unavailable(BrokerService.HISTORY, cause="http_500", http_status=500),
    NotPermitted(BrokerService.HISTORY, code=-403, http_status=403, message="no permission"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=["unavailable", "not_permitted"])
async def test_failing_symbols_delay_no_other(env: Environment, failure: BrokerFailure) -> None:
    """Four of them are first on the list (review of November 2026, case 4)."""
    env.broker.symbol_failures = dict.fromkeys(BROKEN, failure)
    for symbol in BROKEN:
        await env.watch(ALICE, symbol=symbol)
    await watching(env, ALICE, rule=Rule.TURN)
    began = env.clock.now()

    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=10))

    through = env.clock.now()
    assert found(env.signals(ALICE)) == expected_signals(MARKET, Rule.TURN, after=began, through=through)
    assert not any(signal.is_late for signal in env.signals(ALICE))
    assert status(env) is WatchStatus.WATCHING
    assert await stretches(env) == []
    problems = env.monitoring._scheduler.account(ALICE).watcher.problems()
    assert [problem.symbol for problem in problems] == BROKEN


@pytest.mark.parametrize("service", [BrokerService.HISTORY, BrokerService.DATA])
async def test_a_symbol_refused_with_http_401_has_the_session_verified_once(
    env: Environment, service: BrokerService
) -> None:
    """The first refusal may mean the session, the next ones are compared with an index call; a real end is found."""
    await watching(env, ALICE, rule=Rule.TURN)
    env.broker.symbol_failures = dict.fromkeys(BROKEN, refusal(service))
    for symbol in BROKEN:
        await env.watch(ALICE, symbol=symbol)
    began = env.clock.now()

    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=10))

    expected = expected_signals(MARKET, Rule.TURN, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected
    assert not any(signal.is_late for signal in env.signals(ALICE))
    assert all(ended - since < timedelta(seconds=12) for _, since, ended in await stretches(env))
    assert len(await stretches(env)) <= 1
    assert len([call for call in env.broker.calls if call.is_for_verification]) <= 3
    made = [call for call in env.broker.calls if call.service is service and set(call.symbols) <= set(BROKEN)]
    assert len(made) <= 30 * len(BROKEN)

    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await env.clock.advance(60)

    assert status(env) is WatchStatus.NO_SESSION


async def test_a_failing_symbol_is_called_less_and_less_often(env: Environment) -> None:
    """The wait grows to five minutes, and the first answer ends the problem."""
    await watching(env, ALICE)
    env.broker.symbol_failures[BROKEN[0]] = FAILURES[0]
    await env.watch(ALICE, symbol=BROKEN[0])
    await env.clock.advance_to(CLOSING - timedelta(hours=2))
    watcher = env.monitoring._scheduler.account(ALICE).watcher
    [problem] = watcher.problems()
    assert problem == SymbolProblem(BROKEN[0], FIVE, Obstacle.SYMBOL_UNAVAILABLE, problem.since)
    reached = len(env.broker.calls)

    await env.clock.advance(3600)

    calls = [
        call for call in env.broker.calls[reached:] if BROKEN[0] in call.symbols and call.name == "candles"
    ]
    assert 12 <= len(calls) <= 25
    env.broker.symbol_failures.clear()
    await env.clock.advance(300)
    assert watcher.problems() == ()


async def test_quotes_are_fetched_while_history_fails(env: Environment) -> None:
    """The account counts as blind all the same, because no candle is read."""
    await watching(env, ALICE)
    env.broker.always(fyers_id(ALICE), BrokerService.HISTORY, FAILURES[0])
    await env.clock.advance_to(OPENING + timedelta(minutes=35, seconds=10))
    reached = len(names(env))

    await env.clock.advance(60)

    assert status(env) is WatchStatus.FYERS_UNAVAILABLE
    assert names(env)[reached:].count("quotes") == 12


async def test_a_hanging_symbol_delays_neither_quotes_nor_others(env: Environment) -> None:
    """Its calls take ten seconds, twice as long as a cycle, and no minute counts as blind."""
    await watching(env, ALICE, rule=Rule.TURN)
    await env.watch(ALICE, symbol=BROKEN[0])
    began = env.clock.now()

    async def hang(call: Call) -> None:
        if call.name == "candles" and BROKEN[0] in call.symbols:
            await env.clock.sleep(10)

    env.broker.before_answer = hang
    env.broker.symbol_failures[BROKEN[0]] = FAILURES[0]
    await env.clock.advance_to(OPENING + timedelta(minutes=34, seconds=50))
    reached = len(env.broker.calls)
    await env.clock.advance(300)

    quotes = [call.at for call in env.broker.calls[reached:] if call.name == "quotes"]
    assert max(later - earlier for earlier, later in pairwise(quotes)) < timedelta(seconds=8)
    expected = expected_signals(MARKET, Rule.TURN, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected
    assert not any(signal.is_late for signal in env.signals(ALICE))
    assert await stretches(env) == []
