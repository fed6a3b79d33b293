from datetime import timedelta

import pytest
from fakes.broker import AccountState, Call

from hullwatch.domain.events import SignalFired
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.signals.signals import Rule
from services.environment import (
    ALICE,
    BOB,
    CLOSING,
    FIVE,
    INFY,
    OPENING,
    SBIN,
    Environment,
    expected_signals,
    found,
    fyers_id,
)
from services.monitoring.monitoring_environment import MARKET, watching


async def test_signals_equal_a_replay_of_the_closed_candles(env: Environment) -> None:
    """Each signal of both rules is found when its close has settled, three seconds after it."""
    await watching(env, ALICE, rule=Rule.CROSS)
    await watching_also(env, BOB, rule=Rule.TURN)
    began = env.clock.now()

    await env.clock.advance_to(CLOSING + timedelta(seconds=5))

    for user_id, rule in ((ALICE, Rule.CROSS), (BOB, Rule.TURN)):
        expected = expected_signals(MARKET, rule, after=began, through=CLOSING)
        assert len(expected) > 5
        assert found(env.signals(user_id)) == expected
        for signal in env.signals(user_id):
            delay = signal.detected_at - signal.candle_closed_at
            assert timedelta(seconds=3) <= delay <= timedelta(seconds=4)
            assert not signal.is_late
    assert env.metrics.signals == len(env.signals(ALICE)) + len(env.signals(BOB))


async def watching_also(env: Environment, user_id: str, *, rule: Rule) -> None:
    """Add a user who watches too."""
    await env.watch(user_id, rule=rule)
    await env.monitoring.start(user_id)


async def test_a_forming_candle_gives_no_signal(env: Environment) -> None:
    """A crossing counts only if it exists at the close."""
    index = next(i for i, candle in enumerate(MARKET) if candle.opened_at == OPENING + timedelta(minutes=30))
    final = MARKET[index]
    served = env.broker.candles_by_key[SBIN, FIVE]
    expected = expected_signals(
        MARKET, Rule.CROSS, after=env.clock.now(), through=OPENING + timedelta(minutes=35)
    )
    await watching(env, ALICE)
    for minute, price in ((31, 400.0), (32, 1.0), (33, 400.0)):
        await env.clock.advance_to(OPENING + timedelta(minutes=minute, seconds=20))
        served[index] = Candle(final.opened_at, price, price, price, price, 1)
        await env.monitoring.stop(ALICE)  # a new start fetches the candles again, with the forming one
        await env.monitoring.start(ALICE)
        await env.clock.settle()
    served[index] = final

    await env.clock.advance_to(OPENING + timedelta(minutes=35, seconds=10))

    assert found(env.signals(ALICE)) == expected


async def test_signals_of_a_disconnect_are_found_late(env: Environment) -> None:
    """After the next login no closed candle is missed and no earlier signal is repeated."""
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await env.clock.advance_to(OPENING + timedelta(hours=3, seconds=30))
    before = env.signals(ALICE)
    back_at = env.clock.now()
    await env.log_in(ALICE)

    await env.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    signals = env.signals(ALICE)
    assert found(signals) == expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    gap = [signal for signal in signals if OPENING + timedelta(hours=1) < signal.candle_closed_at <= back_at]
    assert gap
    assert {signal.is_late for signal in gap} == {True}
    assert all(not signal.is_late for signal in signals if signal not in gap)
    assert signals[: len(before)] == before


async def test_signals_of_an_outage_are_found_after_it(env: Environment) -> None:
    """Fyers returns error pages for an hour."""
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1))
    env.broker.is_down = True
    await env.clock.advance(3600)
    env.broker.is_down = False
    await env.clock.advance(60)

    through = env.clock.now()
    assert found(env.signals(ALICE)) == expected_signals(MARKET, Rule.CROSS, after=began, through=through)
    assert env.connections.connection(ALICE).has_session


async def test_candles_while_stopped_give_no_signal(env: Environment) -> None:
    """A stopped and restarted watch gives signals only for later candles."""
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    stopped = env.clock.now()
    await env.monitoring.stop(ALICE)
    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))
    started = env.clock.now()
    await env.monitoring.start(ALICE)

    await env.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    assert found(env.signals(ALICE)) == [
        *expected_signals(MARKET, Rule.CROSS, after=began, through=stopped),
        *expected_signals(MARKET, Rule.CROSS, after=started, through=env.clock.now()),
    ]
    assert expected_signals(MARKET, Rule.CROSS, after=stopped, through=started)


async def test_a_new_watch_gives_no_signal_for_the_past(env: Environment) -> None:
    """Only candles that close after its creation or change count."""
    await watching(env, ALICE)
    await env.clock.advance_to(OPENING + timedelta(hours=1, seconds=30))
    made = env.clock.now()
    turn_watch = await env.watch(ALICE, rule=Rule.TURN)
    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))
    changed = env.clock.now()
    await env.monitoring.change_watch(ALICE, turn_watch.id, period=9)

    await env.clock.advance_to(OPENING + timedelta(hours=4, seconds=30))

    own = [signal for signal in env.signals(ALICE) if signal.watch_id == turn_watch.id]
    assert found(own) == [
        *expected_signals(MARKET, Rule.TURN, after=made, through=changed),
        *expected_signals(MARKET, Rule.TURN, after=changed, through=env.clock.now(), period=9),
    ]


async def test_a_watch_added_during_a_fetch_misses_nothing(env: Environment) -> None:
    """The fetch covers only the older watch, and the new one gets its own warm-up."""
    await watching(env, ALICE)
    added = []

    async def add(call: Call) -> None:
        if call.name == "candles" and call.at > OPENING + timedelta(minutes=50) and not added:
            added.append(await env.watch(ALICE, rule=Rule.TURN, period=20))

    env.broker.before_answer = add
    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))

    own = [signal for signal in env.signals(ALICE) if signal.watch_id == added[0].id]
    now, made_at = env.clock.now(), added[0].created_at
    expected = expected_signals(MARKET, Rule.TURN, after=made_at, through=now, period=20)
    assert expected
    assert found(own) == expected


async def test_a_candle_is_not_read_in_the_second_of_its_close(env: Environment) -> None:
    """Its last trades may be missing, so the next cycle reads it."""
    served = env.broker.candles_by_key[SBIN, FIVE]
    index = next(
        number for number, candle in enumerate(served) if candle.opened_at == OPENING + timedelta(minutes=30)
    )
    final = served[index]
    served[index] = Candle(final.opened_at, 100, 400, 100, 400.0, 1)
    await env.clock.advance_to(OPENING + timedelta(minutes=35, seconds=0.3))
    await watching(env, ALICE)
    began = env.clock.now()
    served[index] = final

    await env.clock.advance_to(OPENING + timedelta(hours=2, seconds=30))

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected


async def test_a_candle_that_arrives_late_is_evaluated_in_order(env: Environment) -> None:
    """It is not retried any more and arrives together with the next one."""
    served = env.broker.candles_by_key[SBIN, FIVE]
    late = next(candle for candle in MARKET if candle.opened_at == OPENING + timedelta(minutes=40))
    await watching(env, ALICE)
    began = env.clock.now()
    served.remove(late)
    await env.clock.advance_to(OPENING + timedelta(minutes=49))
    served.append(late)

    await env.clock.advance_to(OPENING + timedelta(minutes=61))

    through = env.clock.now()
    assert found(env.signals(ALICE)) == expected_signals(MARKET, Rule.CROSS, after=began, through=through)


async def test_a_database_outage_loses_and_repeats_no_signal(env: Environment) -> None:
    """Signals found during it are stored and published once, after it."""
    tab = env.hub.subscribe(ALICE)
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1))
    env.store.is_down = True
    await env.clock.advance(3600)
    env.store.is_down = False
    await env.clock.advance(60)
    tab.close()

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected
    pushed = [delivery.message.signal async for delivery in tab if isinstance(delivery.message, SignalFired)]
    assert found(pushed) == expected


@pytest.mark.parametrize("then", ["sign_out", "stop", "market_closes"])
async def test_unsaved_signals_are_stored_without_further_cycles(env: Environment, then: str) -> None:
    """The cases are a disconnect, a stop and the market close."""
    await watching(env, ALICE)
    began = env.clock.now()
    if then == "market_closes":
        await env.clock.advance_to(CLOSING - timedelta(minutes=30))
    env.store.is_down = True
    await env.clock.advance(1800)
    through = env.clock.now()
    if then == "sign_out":
        await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(60)
    env.store.is_down = False
    if then == "stop":
        await env.monitoring.stop(ALICE)
    await env.clock.advance(60)

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=through)
    assert expected
    assert found(env.signals(ALICE)) == expected


async def test_a_deadline_during_a_commit_loses_no_signal(env: Environment) -> None:
    """The next cycle stores them, and none is published twice."""
    tab = env.hub.subscribe(ALICE)
    await watching(env, ALICE)
    began = env.clock.now()
    await env.clock.advance_to(OPENING + timedelta(hours=1))

    async def hang() -> None:
        await env.clock.sleep(40)
        raise StorageUnavailable("The database does not answer at the moment.")

    env.store.before_commit = hang
    await env.clock.advance(1800)
    env.store.before_commit = None
    await env.clock.advance(120)
    tab.close()

    expected = expected_signals(MARKET, Rule.CROSS, after=began, through=env.clock.now())
    assert found(env.signals(ALICE)) == expected
    pushed = [delivery.message.signal async for delivery in tab if isinstance(delivery.message, SignalFired)]
    assert found(pushed) == expected


async def test_signals_are_read_newest_first_and_by_symbol(env: Environment) -> None:
    """The list has only the user's own signals in the requested range."""
    await watching(env, ALICE, BOB)
    await env.watch(ALICE, symbol=INFY)
    await env.clock.advance_to(CLOSING)

    everything = await env.monitoring.signals(ALICE)
    of_infy = await env.monitoring.signals(ALICE, symbol=INFY)

    assert {signal.user_id for signal in everything} == {ALICE}
    opened = [signal.candle_opened_at for signal in everything]
    assert opened == sorted(opened, reverse=True)
    assert {signal.symbol for signal in of_infy} == {INFY}
    assert len(of_infy) < len(everything)
