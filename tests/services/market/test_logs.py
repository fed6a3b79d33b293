"""Tests the log lines of MarketService and HMAService."""

from datetime import timedelta

import pytest
from fakes.broker import AccountState, refusal
from structlog.testing import capture_logs

from hullwatch.domain.failures import BrokerService, Outcome
from hullwatch.services.market.failure_log import FailureLog
from services.environment import ALICE, BOB, FIVE, OPENING, SBIN, Environment, candles_of, fyers_id, quote

HISTORY = BrokerService.HISTORY


@pytest.fixture
async def env() -> Environment:
    """Alice and Bob have sessions, and Fyers has five days of candles."""
    env = await Environment(now=OPENING + timedelta(minutes=32)).start(with_monitoring=False)
    env.broker.serve_candles(SBIN, FIVE, candles_of(days_before=4))
    env.broker.serve_quotes([quote(SBIN)])
    return await env.with_sessions(ALICE, BOB)


async def fetch_candles(env: Environment, user_id: str = ALICE) -> Outcome:
    """Fetch today's candles."""
    now = env.clock.now()
    answer = await env.market.candles(user_id, SBIN, FIVE, start=now - timedelta(hours=1), end=now)
    return answer.outcome


async def read_average(env: Environment, user_id: str = ALICE, *, period: int = 55) -> None:
    """Read the average and wait until an incomplete cached reading has expired."""
    await env.hma.hma(user_id, SBIN, period=period, resolution=FIVE)


def lines(logs: list[dict], component: str) -> list[dict]:
    """Return the lines of a component, oldest first."""
    return [line for line in logs if line["component"] == component]


def events(logs: list[dict], component: str) -> list[tuple[str, str]]:
    """Return event and user of each line of a component."""
    return [(line["event"], line["user_id"]) for line in lines(logs, component)]


async def test_an_unavailable_average_is_logged_at_each_change(env: Environment) -> None:
    """Three failures in a row are one line, and so are two readings after the recovery."""
    with capture_logs() as logs:
        env.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
        for _ in range(3):
            await read_average(env)
        env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
        for _ in range(2):
            await read_average(env)

    assert events(logs, "HMAService") == [("average.unavailable", ALICE), ("average.available", ALICE)]
    failed = lines(logs, "HMAService")[0]
    assert (failed["symbol"], failed["resolution"], failed["period"]) == (SBIN.text, "5", 55)
    assert (failed["cause"], failed["log_level"]) == ("unavailable", "warning")


async def test_an_average_that_was_never_unavailable_is_not_logged(env: Environment) -> None:
    """Only a change adds a line."""
    with capture_logs() as logs:
        await read_average(env)

    assert lines(logs, "HMAService") == []


async def test_averages_of_users_and_periods_are_logged_apart(env: Environment) -> None:
    """The recovery of one average is not that of another."""
    env.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    with capture_logs() as logs:
        await read_average(env, period=55)
        await read_average(env, period=21)
        await read_average(env, BOB, period=55)

    found = [(line["user_id"], line["period"]) for line in lines(logs, "HMAService")]
    assert found == [(ALICE, 55), (ALICE, 21)]


async def test_another_cause_of_an_unavailable_average_is_logged(env: Environment) -> None:
    """A disconnect during an outage needs another action, so it is a change."""
    env.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    with capture_logs() as logs:
        await read_average(env)
        await env.connections.sign_out(ALICE, actor=ALICE)
        await read_average(env)
        await read_average(env)

    assert [line["cause"] for line in lines(logs, "HMAService")] == ["unavailable", "disconnected"]


async def test_a_refused_symbol_is_logged_at_each_change(env: Environment) -> None:
    """Monitoring calls for a refused symbol again at every candle."""
    env.broker.unknown_symbols = {SBIN}
    with capture_logs() as logs:
        assert [await fetch_candles(env) for _ in range(3)] == [Outcome.BAD_REQUEST] * 3
        env.broker.unknown_symbols = set()
        assert [await fetch_candles(env) for _ in range(2)] == [Outcome.OK] * 2

    assert events(logs, "MarketService") == [("symbol.refused", ALICE), ("symbol.accepted", ALICE)]
    assert {line["symbol"] for line in lines(logs, "MarketService")} == {SBIN.text}


async def test_a_refused_token_is_logged_at_each_change(env: Environment) -> None:
    """The line has the call and Fyers' code. The first result after the login is the recovery."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    token = env.credential(ALICE).token.reveal()
    with capture_logs() as logs:
        await fetch_candles(env)
        await env.clock.advance(30)
        for _ in range(2):
            await fetch_candles(env)
        env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
        await env.log_in(ALICE)
        for _ in range(2):
            await fetch_candles(env)

    found = lines(logs, "MarketService")
    assert [line["event"] for line in found] == ["access_token.refused", "access_token.accepted"]
    assert {line["user_id"] for line in found} == {ALICE}
    assert (found[0]["symbol"], found[0]["path"], found[0]["code"]) == (SBIN.text, "/history", -16)
    assert token not in repr(logs)


async def test_an_outage_is_no_refusal_of_the_token(env: Environment) -> None:
    """During an outage Fyers neither accepts nor refuses a token or a symbol."""
    env.broker.set_state(fyers_id(ALICE), AccountState.UNAVAILABLE)
    with capture_logs() as logs:
        await fetch_candles(env)

    assert lines(logs, "MarketService") == []


async def test_an_answer_to_an_older_token_is_not_logged(env: Environment) -> None:
    """A refusal that arrives after the next login belongs to the old token."""

    async def log_in_again(call: object) -> None:
        env.broker.before_answer = None
        env.broker.queue(fyers_id(ALICE), refusal(HISTORY))
        await env.log_in(ALICE)

    env.broker.before_answer = log_in_again
    with capture_logs() as logs:
        await fetch_candles(env)

    assert lines(logs, "MarketService") == []


def test_the_memory_of_failures_is_bounded() -> None:
    """The oldest failure is dropped, and is logged again when it occurs again."""
    with capture_logs() as logs:
        failures = FailureLog(
            "MarketService", failed="symbol.refused", recovered="symbol.accepted", max_failures=3
        )
        for number in range(5):
            failures.record_failure(number, "code", number=number)
        failures.record_success(0)
        failures.record_failure(4, "code", number=4)
        failures.record_failure(0, "code", number=0)

    assert len(failures) == 3
    assert [line["number"] for line in logs] == [0, 1, 2, 3, 4, 0]
