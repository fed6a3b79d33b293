"""Stored times in which symbols were not monitored, and their notices."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.clock import FakeClock

from hullwatch.domain.failures import BrokerService, NotPermitted, Unavailable
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.users.accounts import Role
from hullwatch.services.monitoring.symbol_outages import KEPT, SymbolOutages
from services.environment import ALICE, BOB, FIVE, OPENING, Environment, fyers_id
from services.monitoring.monitoring_environment import MARKET, watching

TATA, GONE = Symbol("NSE:TATAMOTORS-EQ"), Symbol("NSE:GONE-EQ")
MINUTE = timedelta(minutes=1)
FAILED = Unavailable(BrokerService.HISTORY, cause="http_500", http_status=500)
DENIED = NotPermitted(BrokerService.HISTORY, -403, 403, "")


async def passes(env: Environment, minutes: float) -> None:
    """Let time pass, with a check at the end."""
    await env.clock.advance(timedelta(minutes=minutes).total_seconds())
    await env.symbol_outages.check()


async def trades(env: Environment, minutes: int) -> None:
    """Let time pass in which quotes show that TATA trades."""
    for _ in range(6 * minutes):
        volume = int(env.clock.now().timestamp())
        env.broker.serve_quotes([Quote(TATA, 100.0, volume=volume)])
        await passes(env, 1 / 6)


def kinds(env: Environment) -> list[NotificationKind]:
    """Return the kinds of Alice's notices about symbols and permissions, oldest first."""
    wanted = ("symbols_", "permission_")
    return [notice.kind for notice in env.notices(ALICE) if notice.kind.value.startswith(wanted)]


@pytest.fixture
async def failing(env: Environment) -> Environment:
    """Alice watches three symbols; Fyers fails for two of them."""
    await watching(env, ALICE)
    for symbol in (TATA, GONE):
        env.broker.symbol_failures[symbol] = FAILED
        await env.watch(ALICE, symbol=symbol)
    await passes(env, 0.5)
    return env


async def test_one_notice_names_all_symbols_and_one_the_recovery(failing: Environment) -> None:
    """A short outage is stored for coverage and notifies nobody."""
    assert kinds(failing) == []
    assert len(failing.store.tables.symbol_outages) == 2

    for _ in range(4):
        await passes(failing, 1)

    [notice] = failing.notices(ALICE, NotificationKind.SYMBOLS_UNMONITORED)
    assert notice.title == "TATAMOTORS and GONE are not monitored"
    assert notice.text.startswith("1 of 3 symbols are monitored; TATAMOTORS: Fyers gives no usable answer")

    failing.broker.symbol_failures.clear()
    for _ in range(6):
        await passes(failing, 1)

    [recovery] = failing.notices(ALICE, NotificationKind.SYMBOLS_MONITORED)
    assert recovery.incident_id == notice.incident_id
    assert kinds(failing) == [notice.kind, recovery.kind]


async def test_a_restart_repeats_no_notice(failing: Environment) -> None:
    """The outage is stored with the time of its notice."""
    await passes(failing, 3)
    again = await (await failing.kill()).start()

    await passes(again, 6)

    assert kinds(again) == [NotificationKind.SYMBOLS_UNMONITORED]


async def test_a_recovery_after_a_restart_names_all_symbols(failing: Environment) -> None:
    """One of them had recovered before the restart, while the other still failed."""
    await passes(failing, 3)
    [notice] = failing.notices(ALICE, NotificationKind.SYMBOLS_UNMONITORED)
    del failing.broker.symbol_failures[TATA]
    await passes(failing, 6)
    again = await (await failing.kill()).start()
    await passes(again, 6)

    again.broker.symbol_failures.clear()
    await passes(again, 6)

    [recovery] = again.notices(ALICE, NotificationKind.SYMBOLS_MONITORED)
    assert recovery.title == "TATAMOTORS and GONE are monitored again"
    assert recovery.incident_id == notice.incident_id


async def test_a_restart_ends_no_outage_by_itself(env: Environment) -> None:
    """The new process has no quotes yet that show trades without candles."""
    env.broker.serve_candles(TATA, FIVE, [one for one in MARKET if one.opened_at < OPENING + 30 * MINUTE])
    await watching(env, ALICE)
    await env.watch(ALICE, symbol=TATA)
    await trades(env, 12)
    assert kinds(env) == [NotificationKind.SYMBOLS_UNMONITORED]
    [outage] = env.store.tables.symbol_outages.values()

    again = await (await env.kill()).start()
    await trades(again, 7)

    assert kinds(again) == [NotificationKind.SYMBOLS_UNMONITORED]
    assert list(again.store.tables.symbol_outages.values()) == [outage]

    again.broker.serve_candles(TATA, FIVE, [one for one in MARKET if one.opened_at >= OPENING + 30 * MINUTE])
    await trades(again, 6)

    assert kinds(again) == [NotificationKind.SYMBOLS_UNMONITORED, NotificationKind.SYMBOLS_MONITORED]


async def test_a_stop_of_monitoring_ends_outages_without_a_notice(failing: Environment) -> None:
    """Coverage counts no symbol as unmonitored while nobody wants it monitored."""
    await passes(failing, 3)
    await failing.monitoring.stop(ALICE)

    await passes(failing, 1)

    assert all(one.ended_at for one in failing.store.tables.symbol_outages.values())
    assert kinds(failing) == [NotificationKind.SYMBOLS_UNMONITORED]


async def test_old_outages_are_removed(failing: Environment) -> None:
    """Those that last are kept."""
    failing.broker.symbol_failures.pop(TATA)
    await passes(failing, 6)
    later = replace(failing.context, clock=FakeClock(failing.clock.now() + KEPT + MINUTE))

    await SymbolOutages(later, monitoring=failing.monitoring).purge()

    assert [one.symbol for one in failing.store.tables.symbol_outages.values()] == [GONE]


async def test_coverage_names_symbol_reason_and_times(failing: Environment) -> None:
    """The account itself was watched all the time."""
    began = failing.clock.now()
    await passes(failing, 10)
    failing.broker.symbol_failures.clear()
    await passes(failing, 6)

    day = await failing.monitoring.days.of_day(ALICE)

    assert sorted(one.symbol for one in day.symbols) == [GONE, TATA]
    assert all(one.began_at < began < one.ended_at <= failing.clock.now() for one in day.symbols)
    assert day.coverage.stretches == ()


async def test_a_removed_symbol_has_no_recovery(failing: Environment) -> None:
    """The user has ended it."""
    await passes(failing, 3)
    for watch in await failing.monitoring.watches(ALICE):
        if watch.symbol in (TATA, GONE):
            await failing.monitoring.remove_watch(ALICE, watch.id)

    await passes(failing, 1)

    assert kinds(failing) == [NotificationKind.SYMBOLS_UNMONITORED]
    assert all(one.ended_at for one in failing.store.tables.symbol_outages.values())


async def test_a_missing_permission_is_one_incident_of_the_account(env: Environment) -> None:
    """The notice says which permission is missing and where to grant it."""
    await watching(env, ALICE)
    env.broker.always(fyers_id(ALICE), BrokerService.HISTORY, DENIED)
    for _ in range(9):
        await passes(env, 1)
    [notice] = env.notices(ALICE, NotificationKind.PERMISSION_MISSING)
    assert notice.title == "Your Fyers app has no permission to read market data"
    assert notice.text == env.monitoring.state(ALICE).reason_text

    env.broker.always(fyers_id(ALICE), BrokerService.HISTORY, None)
    for _ in range(6):
        await passes(env, 1)

    assert kinds(env) == [NotificationKind.PERMISSION_MISSING, NotificationKind.PERMISSION_GRANTED]


async def test_one_symbol_of_everybody_notifies_no_operator(env: Environment) -> None:
    """No account is blind, although each of them watches that symbol alone."""
    await watching(env)
    await env.add_user("usr_admin", role=Role.ADMIN)
    env.broker.symbol_failures[TATA] = FAILED
    for user_id in (ALICE, BOB):
        await env.watch(user_id, symbol=TATA)
        await env.monitoring.start(user_id)

    for _ in range(15):
        await passes(env, 1)
        await env.broker_alerts.check()

    assert env.notices("usr_admin") == []
    assert set(env.monitoring.statuses()) == {WatchStatus.WATCHING}
    assert not env.monitoring.state(BOB).is_running
