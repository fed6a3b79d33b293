"""A watchlist of which some symbols cannot be monitored."""

from datetime import timedelta

from hullwatch.domain.failures import BrokerService, FailureScope, NotPermitted, Unavailable
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.lines import LineStatus
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.readiness.readiness import ReadinessResult
from services.environment import ALICE, INFY, SBIN, Environment, fyers_id
from services.monitoring.monitoring_environment import status, watching

TATA = Symbol("NSE:TATAMOTORS-EQ")
FAILED = Unavailable(BrokerService.HISTORY, cause="http_500", http_status=500)


async def test_a_partial_watchlist_is_shown_as_partial(env: Environment) -> None:
    """State, rows and readiness name the symbol, the reason and the time."""
    await watching(env, ALICE)
    env.broker.symbol_failures[TATA] = FAILED
    watch = await env.watch(ALICE, symbol=TATA)

    await env.clock.advance(timedelta(minutes=10).total_seconds())

    state, row = env.monitoring.state(ALICE), env.monitoring.line_states(ALICE)[watch.id]
    total = state.monitored.total
    assert (state.status, state.is_running) == (WatchStatus.WATCHING, True)
    assert state.reason_text.startswith(
        f"{total - 1} of {total} symbols are monitored; TATAMOTORS: Fyers gives"
    )
    assert row.status is LineStatus.SYMBOL_UNAVAILABLE
    assert row.reason is not None
    assert row.reason.startswith("Fyers gives no usable answer for it since ")
    assert env.readiness.of(ALICE).line.line == state.reason_text

    env.broker.symbol_failures.clear()
    await env.clock.advance(timedelta(minutes=10).total_seconds())

    assert env.monitoring.state(ALICE).reason_text == "Your watchlist is being watched."
    assert env.monitoring.line_states(ALICE)[watch.id].status is LineStatus.TOO_YOUNG


async def test_an_account_without_a_monitored_symbol_does_not_run(env: Environment) -> None:
    """The account is not blind, but nobody may read that all is well."""
    await watching(env, ALICE)
    env.broker.symbol_failures = dict.fromkeys(
        (watch.symbol for watch in await env.monitoring.watches(ALICE)), FAILED
    )

    await env.clock.advance(timedelta(minutes=10).total_seconds())

    state = env.monitoring.state(ALICE)
    assert not state.is_running
    assert state.monitored.count == 0
    assert "0 of 1 symbol is monitored" in state.reason_text


async def test_a_missing_permission_has_its_own_status_everywhere(env: Environment) -> None:
    """The sentence says which permission is missing and where it is granted."""
    await watching(env, ALICE)
    for service in (BrokerService.HISTORY, BrokerService.DATA):
        env.broker.always(fyers_id(ALICE), service, NotPermitted(service, -403, 403, ""))

    await env.clock.advance(timedelta(minutes=6).total_seconds())

    state = env.monitoring.state(ALICE)
    assert status(env) is WatchStatus.NOT_PERMITTED
    assert "Historical Data" in state.reason_text
    assert "myapi.fyers.in" in state.reason_text
    [row] = env.monitoring.line_states(ALICE).values()
    assert (row.status, row.reason) == (LineStatus.NOT_PERMITTED, state.reason_text)
    assert env.readiness.of(ALICE).line.do_this in state.reason_text
    [symbol] = {watch.symbol for watch in await env.monitoring.watches(ALICE)}
    quotes = await env.market.quotes(ALICE, [symbol])
    assert (quotes.outcome.value, quotes.scope) == ("not_permitted", FailureScope.ACCOUNT)
    reading = await env.hma.hma(
        ALICE,
        symbol,
        period=4,
        resolution=next(iter(env.monitoring._scheduler.account(ALICE).watcher.watches.values())).resolution,
    )
    assert reading.reason == state.reason_text


async def test_several_symbols_without_any_candle_lack_their_history(env: Environment) -> None:
    """One of them may be new; all of them are not. No quote is needed to see that."""
    env.broker.candles_by_key.clear()
    await watching(env, ALICE)
    await env.clock.advance(60)
    assert env.monitoring.state(ALICE).reason_text == "Your watchlist is being watched."

    watch = await env.watch(ALICE, symbol=TATA)
    await env.clock.advance(60)

    state = env.monitoring.state(ALICE)
    assert state.reason_text.startswith("0 of 2 symbols are monitored; SBIN: Fyers has no history for it.")
    assert not state.is_running
    assert env.monitoring.line_states(ALICE)[watch.id].status is LineStatus.NO_HISTORY
    assert env.readiness.of(ALICE).readiness.result is ReadinessResult.NOT_WATCHING


async def test_missing_history_of_a_trading_symbol_is_an_incident(env: Environment) -> None:
    """The quote has volume in a closed slot; there were candles before and are none today."""
    await watching(env, ALICE)
    await env.watch(ALICE, symbol=INFY)
    await env.clock.advance(60)
    env.broker.candles_by_key.clear()
    for minute in range(12 * 6):
        env.broker.serve_quotes([Quote(SBIN, 100.0, volume=1000 + minute), Quote(INFY, 100.0, volume=5)])
        await env.clock.advance(10)

    states = {
        watch.symbol: env.monitoring.line_states(ALICE)[watch.id]
        for watch in await env.monitoring.watches(ALICE)
    }
    assert states[SBIN].status is LineStatus.NO_HISTORY
    assert states[INFY].status is not LineStatus.NO_HISTORY
    await env.symbol_outages.check()
    assert [one.symbol for one in env.store.tables.symbol_outages.values()] == [SBIN]
