"""Tests the readiness checks, their notices and their calls to Fyers."""

import asyncio
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest
from fakes.broker import AccountState, Call

from hullwatch.domain.events import ADMINS, Event, ReadinessChanged, ReadinessChecked
from hullwatch.domain.failures import BrokerService, NotPermitted, TooManyAttempts
from hullwatch.domain.market.calendar import IST, SessionKind, trading_session
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.readiness.readiness import ReadinessResult
from hullwatch.domain.sessions.connection import LoginState
from hullwatch.runtime.broadcast import Subscription
from hullwatch.services.readiness.check import warming_at_once
from hullwatch.services.readiness.service import MANUAL_CHECK_EVERY_S
from services.environment import (
    ALICE,
    BOB,
    CALENDAR,
    CAROL,
    FIVE,
    INFY,
    MONDAY,
    SBIN,
    Environment,
    candles_of,
    expected_signals,
    found,
    fyers_id,
    quote,
)

NOT_READY, NOW_READY = NotificationKind.NOT_READY, NotificationKind.NOW_READY
MARKET = candles_of(days=2, days_before=4)
PERIOD = 55


def ist(text: str, day: date = MONDAY) -> datetime:
    """Return a time of a day in IST, as UTC."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


def environment(*, now: datetime | None = None, **arguments) -> Environment:
    """Return an environment at 07:00 IST of a Monday, with candles and quotes at Fyers."""
    env = Environment(now=now or ist("07:00"), **arguments)
    env.broker.serve_candles(SBIN, FIVE, MARKET)
    env.broker.serve_candles(INFY, FIVE, candles_of(seed=2, days=2, days_before=4))
    env.broker.serve_quotes([quote(SBIN), quote(INFY)])
    return env


async def morning(*with_session: str, without: tuple[str, ...] = (), **arguments) -> Environment:
    """Start monitoring of SBIN for these users, some of them without a session."""
    env = await environment(**arguments).with_sessions(*with_session)
    for user_id in without:
        await env.add_user(user_id)
    await env.start(with_readiness=True)
    for user_id in (*with_session, *without):
        await env.watch(user_id, period=PERIOD)
        await env.monitoring.start(user_id)
    await env.clock.settle()
    return env


def result(env: Environment, user_id: str = ALICE) -> tuple[ReadinessResult, Obstacle | None]:
    """Return the readiness result of a user and its reason."""
    readiness = env.readiness.of(user_id).readiness
    return readiness.result, readiness.reason


def notices(env: Environment, user_id: str) -> list[tuple[NotificationKind, str | None]]:
    """Return kinds and incidents of a user's readiness notices, oldest first."""
    sent = [notice for notice in env.notices(user_id) if notice.kind in (NOT_READY, NOW_READY)]
    return [
        (notice.kind, notice.incident_id) for notice in sorted(sent, key=lambda notice: notice.created_at)
    ]


def checks(env: Environment) -> list[datetime]:
    """Return the times of the checks in the audit trail."""
    return [entry.at for entry in env.store.tables.audit if entry.kind == "readiness.checked"]


def call_count(env: Environment, user_id: str, name: str, since: int = 0) -> int:
    """Count the calls of one kind made for a user."""
    return sum(call.user_id == user_id and call.name == name for call in env.broker.calls[since:])


# ---- times of the checks


async def test_an_exchange_day_has_its_three_checks() -> None:
    """Each of them validates every session at Fyers once."""
    env = await morning(ALICE)
    await env.clock.advance_to(ist("08:29"))
    calls_before = len(env.broker.calls)

    await env.clock.advance_to(ist("09:14"))

    assert [at.replace(second=0, microsecond=0) for at in checks(env)] == [
        ist("08:30"),
        ist("08:45"),
        ist("09:00"),
    ]
    assert call_count(env, ALICE, "check_data", calls_before) == 3
    assert result(env) == (ReadinessResult.READY, None)


async def test_holidays_and_weekends_have_no_check() -> None:
    """The readiness line shows when the next check is."""
    friday = date(2026, 11, 20)
    holiday = CALENDAR.with_sessions(MONDAY)
    env = await morning(ALICE, now=ist("16:00", friday), calendar=holiday)
    assert result(env) == (ReadinessResult.MARKET_CLOSED, None)
    line = env.readiness.of(ALICE).line.line

    await env.clock.advance_to(ist("20:00"))

    assert checks(env) == []
    assert line == "The market is closed. The next readiness check is on 24 Nov 2026, 08:30 IST."


async def test_before_a_muhurat_hour_the_checks_keep_their_distance() -> None:
    """On a Sunday that trades from 18:00 they are at 17:15, 17:30 and 17:45."""
    sunday = date(2026, 11, 8)
    muhurat = CALENDAR.with_sessions(sunday, trading_session(sunday, time(18), time(19), SessionKind.MUHURAT))
    env = await morning(ALICE, now=ist("10:00", sunday), calendar=muhurat)

    await env.clock.advance_to(ist("18:00", sunday))

    assert [at.replace(second=0, microsecond=0) for at in checks(env)] == [
        ist(each, sunday) for each in ("17:15", "17:30", "17:45")
    ]
    assert result(env)[0] in (ReadinessResult.WATCHING, ReadinessResult.NOT_WATCHING)


async def test_missed_checks_are_made_up_for_by_one_at_the_start() -> None:
    """The server is down from 08:20 to 08:50, and the last check is still at 09:00."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance_to(ist("08:20"))
    env = await env.kill()
    await env.clock.advance_to(ist("08:50"))
    assert env.broker.calls_of(BOB) == []

    await env.start(with_readiness=True)
    await env.clock.advance(60)

    assert len(checks(env)) == 1
    assert result(env) == (ReadinessResult.READY, None)
    assert notices(env, BOB) == [(NOT_READY, "ready-2026-11-23")]
    await env.clock.advance_to(ist("09:14"))
    assert len(checks(env)) == 2
    assert notices(env, BOB)[1:] == [(NOT_READY, "ready-2026-11-23-last")]


async def test_no_check_is_made_up_for_after_the_market_open() -> None:
    """A server that starts at 09:20 runs monitoring cycles only."""
    env = await morning(ALICE, now=ist("09:20"))

    await env.clock.advance(60)

    assert checks(env) == []
    assert result(env) == (ReadinessResult.WATCHING, None)


# ---- history and sessions


async def test_after_a_restart_the_first_candle_has_a_warm_average() -> None:
    """The check loads the history again, so the first signals are those of a replay."""
    env = await morning(ALICE, now=ist("22:00", date(2026, 11, 22)))
    env = await env.kill()
    await env.clock.advance_to(ist("07:00"))
    await env.log_in(ALICE)
    await env.start(with_readiness=True)
    await env.clock.advance_to(ist("09:14"))
    assert env.readiness.of(ALICE).readiness.warm == 1

    await env.clock.advance_to(ist("11:00"))

    own = env.signals(ALICE)
    expected = expected_signals(MARKET, own[0].rule, after=ist("09:15"), through=ist("10:59"), period=PERIOD)
    assert found(own) == expected
    assert expected
    assert not any(signal.is_late for signal in own)


async def test_a_login_at_0910_is_warm_before_the_first_candle_closes() -> None:
    """The last check was at 09:00, so the login starts a check of this account, with one notice."""
    env = await morning(BOB, without=(ALICE,))
    await env.clock.advance_to(ist("09:10"))
    assert result(env) == (ReadinessResult.NOT_READY, Obstacle.NEVER_CONNECTED)
    assert env.broker.calls_of(ALICE) == []

    await env.log_in(ALICE)
    await env.clock.advance(5)

    assert result(env) == (ReadinessResult.READY, None)
    assert env.readiness.of(ALICE).checked_at >= ist("09:10")
    assert notices(env, ALICE) == [
        (NOT_READY, "ready-2026-11-23"),
        (NOT_READY, "ready-2026-11-23-last"),
        (NOW_READY, "ready-2026-11-23-last"),
    ]
    await env.clock.advance_to(ist("09:16"))
    assert result(env) == (ReadinessResult.WATCHING, None)
    await env.clock.advance_to(ist("09:25"))
    assert len(notices(env, ALICE)) == 3


async def test_a_signed_out_account_makes_no_call() -> None:
    """No check validates it or loads its history."""
    env = await morning(ALICE, BOB)
    await env.clock.settle()
    env.broker.set_state(fyers_id(BOB), AccountState.ACTIVE)
    await env.connections.sign_out(BOB, actor=BOB)
    calls_before = len(env.broker.calls)

    await env.clock.advance_to(ist("09:30"))

    assert not any(call.user_id == BOB for call in env.broker.calls[calls_before:])
    assert result(env, BOB) == (ReadinessResult.NOT_WATCHING, Obstacle.SIGNED_OUT)


async def test_loaded_history_is_not_fetched_again() -> None:
    """The later checks validate the session only."""
    env = await morning(ALICE)
    await env.clock.advance_to(ist("08:31"))
    calls_before = len(env.broker.calls)

    await env.clock.advance_to(ist("09:14"))

    assert call_count(env, ALICE, "candles", calls_before) == 0


async def test_a_check_finds_a_rejected_session_and_notifies_its_user() -> None:
    """The validation of the check disconnects it, and the same check sends the notice."""
    env = await morning(ALICE, BOB)
    await env.clock.advance_to(ist("08:29"))
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    await env.clock.advance_to(ist("08:31"))

    assert result(env) == (ReadinessResult.NOT_READY, Obstacle.REJECTED)
    assert notices(env, ALICE) == [(NOT_READY, "ready-2026-11-23")]
    assert result(env, BOB) == (ReadinessResult.READY, None)


# ---- outages and errors


async def test_an_outage_sends_no_notice_and_needs_no_login_afterwards() -> None:
    """No account is ready while Fyers is unavailable, and all are ready after it without an action."""
    env = await morning(ALICE, BOB)
    await env.clock.advance_to(ist("08:29"))
    env.broker.is_down = True

    await env.clock.advance_to(ist("08:40"))

    assert result(env) == result(env, BOB) == (ReadinessResult.NOT_READY, Obstacle.FYERS_UNAVAILABLE)
    assert env.connections.connection(ALICE).state is LoginState.CONNECTED
    assert "do not need to do anything" in (env.readiness.of(ALICE).line.do_this or "")
    env.broker.is_down = False
    await env.clock.advance_to(ist("09:14"))
    assert result(env) == result(env, BOB) == (ReadinessResult.READY, None)
    assert notices(env, ALICE) == notices(env, BOB) == []


async def test_one_hanging_account_delays_no_other_account() -> None:
    """The check ends at its deadline, and the hanging account gets no notice."""
    env = await morning(ALICE, BOB, CAROL)
    await env.clock.advance_to(ist("08:29"))
    env.broker.set_state(fyers_id(CAROL), AccountState.HANGING)

    await env.clock.advance_to(ist("08:30") + timedelta(seconds=40))

    assert len(checks(env)) == 1
    assert result(env) == result(env, BOB) == (ReadinessResult.READY, None)
    assert result(env, CAROL) == (ReadinessResult.NOT_READY, Obstacle.FYERS_UNAVAILABLE)
    assert notices(env, CAROL) == []


async def test_hanging_history_of_one_account_delays_no_other_account() -> None:
    """Its slot is free after the deadline, and its own cycles load the history later."""
    env = await morning(ALICE, without=(BOB,))

    async def hang(call: Call) -> None:
        if call.name == "candles" and call.user_id == BOB:
            await env.clock.sleep(20)

    env.broker.before_answer = hang
    await env.clock.advance_to(ist("08:29") + timedelta(seconds=50))
    await env.log_in(BOB)

    await env.clock.advance_to(ist("08:31"))

    assert result(env) == (ReadinessResult.READY, None)
    assert len(checks(env)) == 1
    env.broker.before_answer = None
    await env.clock.advance_to(ist("09:14"))
    assert result(env, BOB) == (ReadinessResult.READY, None)


async def test_a_rate_limited_account_is_warm_later() -> None:
    """It gets no notice, and its own retries load the history before the market opens."""
    env = await morning(ALICE)
    env = await env.kill()
    env.broker.set_state(fyers_id(ALICE), AccountState.RATE_LIMITED)
    await env.clock.advance_to(ist("08:31"))
    await env.start(with_readiness=True)
    await env.clock.advance(60)
    assert result(env)[0] is ReadinessResult.NOT_READY
    assert result(env)[1] in (Obstacle.RATE_LIMITED, Obstacle.FYERS_UNAVAILABLE)

    env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
    await env.clock.advance_to(ist("09:14"))

    assert result(env) == (ReadinessResult.READY, None)
    assert notices(env, ALICE) == []


async def test_a_bug_in_one_account_stops_no_other_check() -> None:
    """The exception is raised in the validation of its session."""
    env = await morning(ALICE, BOB)
    await env.clock.advance_to(ist("08:29"))

    async def broken(call: Call) -> None:
        if call.user_id == ALICE and call.name == "check_data":
            raise RuntimeError("a bug")

    env.broker.before_answer = broken
    await env.clock.advance_to(ist("08:31"))

    assert len(checks(env)) == 1
    assert result(env, BOB) == (ReadinessResult.READY, None)


# ---- notices


async def test_an_incident_has_one_notice_and_an_urgent_one() -> None:
    """The first check sends the notice, the last check the urgent one, and a restart sends none again."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:50"))
    assert notices(env, ALICE) == [(NOT_READY, "ready-2026-11-23")]

    await env.clock.advance_to(ist("09:05"))
    env = await env.kill()
    await env.start(with_readiness=True)
    await env.clock.advance(30)

    assert notices(env, ALICE) == [(NOT_READY, "ready-2026-11-23"), (NOT_READY, "ready-2026-11-23-last")]
    urgent = env.notices(ALICE, NOT_READY)[-1]
    assert urgent.title == "Urgent: not ready, and the market opens at 09:15 IST"
    assert "no Fyers account is connected" in urgent.text
    assert "Log in to Fyers." in urgent.text


async def test_notices_without_a_session_do_not_wait_for_fyers() -> None:
    """The check still waits for the hanging account when the notice is sent."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance_to(ist("08:29"))
    env.broker.set_state(fyers_id(ALICE), AccountState.HANGING)

    await env.clock.advance_to(ist("08:30") + timedelta(seconds=1))

    assert notices(env, BOB) == [(NOT_READY, "ready-2026-11-23")]
    assert checks(env) == []


async def test_the_next_day_has_its_own_notices() -> None:
    """Each exchange day has its own incident."""
    env = await morning(without=(ALICE,))

    await env.clock.advance_to(ist("09:14", date(2026, 11, 24)))

    assert [incident for _, incident in notices(env, ALICE)] == [
        "ready-2026-11-23",
        "ready-2026-11-23-last",
        "ready-2026-11-24",
        "ready-2026-11-24-last",
    ]


async def test_a_login_after_the_market_open_sends_a_notice_too() -> None:
    """Each notice of an account that is not ready is followed by its recovery, at any time of the day."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("10:02"))
    assert result(env) == (ReadinessResult.NOT_WATCHING, Obstacle.NEVER_CONNECTED)

    await env.log_in(ALICE)
    await env.clock.advance(60)

    assert result(env) == (ReadinessResult.WATCHING, None)
    [notice] = env.notices(ALICE, NOW_READY)
    assert notice.title == "Your watchlist is being watched"


async def test_a_restart_before_the_recovery_loses_no_notice() -> None:
    """The sent notices are read from the database."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:32"))
    env = await env.kill()
    await env.start(with_readiness=True)
    await env.clock.advance(5)

    await env.log_in(ALICE)
    await env.clock.advance(30)

    assert notices(env, ALICE) == [(NOT_READY, "ready-2026-11-23"), (NOW_READY, "ready-2026-11-23")]


async def test_an_urgent_notice_has_its_own_recovery() -> None:
    """The session is replaced after the first check, and the user signs out before the last."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:32"))
    await env.log_in(ALICE)
    await env.clock.advance_to(ist("08:50"))
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance_to(ist("09:02"))
    await env.log_in(ALICE)
    await env.clock.advance_to(ist("09:10"))

    assert notices(env, ALICE) == [
        (NOT_READY, "ready-2026-11-23"),
        (NOW_READY, "ready-2026-11-23"),
        (NOT_READY, "ready-2026-11-23-last"),
        (NOW_READY, "ready-2026-11-23-last"),
    ]


async def test_after_monitoring_is_stopped_no_notice_is_sent() -> None:
    """Neither the recovery nor the urgent notice is sent."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:32"))

    await env.monitoring.stop(ALICE)
    await env.clock.advance_to(ist("09:10"))

    assert notices(env, ALICE) == [(NOT_READY, "ready-2026-11-23")]
    assert result(env) == (ReadinessResult.NOT_WANTED, Obstacle.NOT_WANTED)


async def test_a_missing_permission_sends_a_notice_with_the_action() -> None:
    """Only the user can give the app its permissions at Fyers."""
    env = await morning(without=(ALICE,))
    env.broker.queue(
        fyers_id(ALICE),
        NotPermitted(BrokerService.HISTORY, code=-99, http_status=403, message="no permission"),
        times=1000,
    )
    await env.log_in(ALICE)

    await env.clock.advance_to(ist("08:31"))

    assert result(env) == (ReadinessResult.NOT_READY, Obstacle.NOT_PERMITTED)
    [notice] = env.notices(ALICE, NOT_READY)
    assert 'allow "Quotes & Market Data" and "Historical Data"' in notice.text


async def test_a_refused_symbol_is_a_warning() -> None:
    """The account is ready with its other watch, and the readiness line names the symbol."""
    env = await morning(ALICE)
    unknown = Symbol("NSE:GONE-EQ")
    env.broker.unknown_symbols.add(unknown)
    await env.watch(ALICE, symbol=unknown, period=PERIOD)

    await env.clock.advance_to(ist("08:31"))

    assert result(env) == (ReadinessResult.READY, Obstacle.SYMBOL_REFUSED)
    assert "NSE:GONE-EQ" in env.readiness.of(ALICE).line.line
    assert notices(env, ALICE) == []


async def test_a_young_instrument_is_a_warning() -> None:
    """Three candles are too few for an average, and the user cannot change that."""
    env = await morning(ALICE)
    young = Symbol("NSE:YOUNG-EQ")
    env.broker.serve_candles(
        young, FIVE, [candle for candle in MARKET if candle.opened_at >= ist("15:15", date(2026, 11, 20))][:3]
    )
    await env.watch(ALICE, symbol=young, period=PERIOD)

    await env.clock.advance_to(ist("08:40"))

    assert result(env) == (ReadinessResult.READY, Obstacle.TOO_YOUNG)
    assert notices(env, ALICE) == []


async def test_a_database_outage_delays_only_the_notices() -> None:
    """The check is made once and in time, and the notices are sent when the database is available."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance_to(ist("08:29"))
    env.store.is_down = True
    await env.clock.advance_to(ist("08:36"))
    assert call_count(env, ALICE, "check_data") >= 1
    made = call_count(env, ALICE, "check_data")
    assert notices(env, BOB) == []

    env.store.is_down = False
    await env.clock.advance(60)

    assert notices(env, BOB) == [(NOT_READY, "ready-2026-11-23")]
    assert call_count(env, ALICE, "check_data") == made
    assert len(checks(env)) == 1


async def test_the_audit_trail_has_totals_and_changes() -> None:
    """Each of three checks has its totals, and an unchanged result has one entry."""
    env = await morning(ALICE, without=(BOB,))

    await env.clock.advance_to(ist("09:10"))

    totals = [entry.evidence for entry in env.store.tables.audit if entry.kind == "readiness.checked"]
    assert [(one["total"], one["ready"], one["notReady"], one["isLast"]) for one in totals] == [
        (2, 1, 1, False),
        (2, 1, 1, False),
        (2, 1, 1, True),
    ]
    assert env.audit(ALICE, "readiness.") == ["readiness.ready"]
    # The urgent notice has an entry as well, with its incident.
    assert env.audit(BOB, "readiness.") == ["readiness.not_ready"] * 2


# ---- server-sent events


async def queued(tab: Subscription[Event]) -> list[Event]:
    """Return the events that wait for a tab."""
    return [(await anext(tab)).message for _ in range(tab.pending)]


async def test_changes_are_pushed_to_the_user_and_checks_to_admins() -> None:
    """The user gets one event for a changed result, and none for a check that changes nothing."""
    env = await morning(ALICE)
    own, admins = env.hub.subscribe(ALICE), env.hub.subscribe(ADMINS)

    await env.clock.advance_to(ist("08:50"))

    mine = [event for event in await queued(own) if isinstance(event, ReadinessChanged)]
    theirs = [event for event in await queued(admins) if isinstance(event, ReadinessChecked)]
    assert [(event.result, event.reason) for event in mine] == [(ReadinessResult.READY, None)]
    assert [(event.total, event.ready) for event in theirs] == [(1, 1), (1, 1)]


# ---- the overview


async def test_the_overview_counts_accounts_with_monitoring_on() -> None:
    """Two of three are 66.6 per cent, rounded down, and accounts that are not ready come first."""
    env = await morning(ALICE, BOB, without=(CAROL,))
    await env.add_user("usr_dave")
    await env.watch("usr_dave")
    await env.clock.advance_to(ist("08:31"))

    overview = await env.readiness.overview()
    assert await env.readiness.count() == (overview.total, overview.good)

    assert (overview.total, overview.good, overview.percent) == (3, 2, 66.6)
    assert [one.user_id for one in overview.accounts] == [CAROL, ALICE, BOB, "usr_dave"]
    assert overview.next_check_at == ist("08:45")
    assert overview.checked_at is not None
    await env.clock.advance_to(ist("16:00"))
    assert (await env.readiness.overview()).percent is None
    assert await env.readiness.count() == (0, 0)


async def test_an_admin_can_start_one_check_a_minute() -> None:
    """It loads history and validates sessions, and sends no notice."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance(1)
    calls_before = len(env.broker.calls)

    env.readiness.start_check()
    await env.clock.advance(1)

    assert call_count(env, ALICE, "check_data", calls_before) == 1
    assert len(checks(env)) == 1
    assert notices(env, BOB) == []
    with pytest.raises(TooManyAttempts):
        env.readiness.start_check()
    await env.clock.advance(MANUAL_CHECK_EVERY_S)
    env.readiness.start_check()


# ---- pace of the calls

MANY = [f"usr_{number:03d}" for number in range(80)]
SYMBOLS = [Symbol(f"NSE:S{number}-EQ") for number in range(6)]


async def test_many_cold_accounts_are_warmed_at_a_limited_pace() -> None:
    """Fifty accounts at once make one call each, at most five a second, and no call twice."""
    before = environment(now=ist("08:20"))
    for symbol in SYMBOLS:
        before.broker.serve_candles(symbol, FIVE, MARKET)
    await before.with_sessions(*MANY)
    for user_id in MANY:
        for symbol in SYMBOLS:
            await before.watch(user_id, symbol=symbol, period=PERIOD)
        await before.monitoring.start(user_id)
    env = await before.kill()
    await env.connections.load()
    env.connections.start_jobs()
    await env.monitoring.load()  # its cycles do not run, so the check makes all calls
    under_way: Counter[str | None] = Counter()
    most_of_one = accounts_at_once = 0

    async def answer_slowly(call: Call) -> None:
        nonlocal most_of_one, accounts_at_once
        if call.name == "candles":
            under_way[call.user_id] += 1
            most_of_one = max(most_of_one, under_way[call.user_id])
            accounts_at_once = max(accounts_at_once, sum(count > 0 for count in under_way.values()))
            await env.clock.sleep(0.05)
            under_way[call.user_id] -= 1

    env.broker.before_answer = answer_slowly

    checking = asyncio.create_task(env.readiness.check())
    await env.clock.advance(10)

    overview = checking.result()
    assert (overview.total, overview.percent) == (len(MANY), 100)
    calls = Counter((call.user_id, call.name) for call in env.broker.calls)
    assert all(calls[user_id, "candles"] == len(SYMBOLS) for user_id in MANY)
    assert all(calls[user_id, "check_data"] == 1 for user_id in MANY)
    assert most_of_one == 1
    assert accounts_at_once <= 50
    for user_id in MANY:
        sent = [call.at for call in env.broker.calls_of(user_id) if call.name == "candles"]
        assert all(later - earlier >= timedelta(seconds=0.2) for earlier, later in pairwise(sent))


def test_warming_uses_half_of_the_global_rate_limit() -> None:
    """The other half is left for monitoring and requests."""
    assert warming_at_once(calls_per_second=8, calls_per_second_total=500) == 50
    assert warming_at_once(calls_per_second=8, calls_per_second_total=10) == 1
    assert warming_at_once(calls_per_second=2, calls_per_second_total=500) == 125
