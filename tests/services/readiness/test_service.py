"""Before the bell: who is ready, who is told, and what it costs; `hullwatch.services.readiness.service`."""

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
    """Return a time of a day, IST, as the environment keeps it."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


def built(*, now: datetime | None = None, **arguments) -> Environment:
    """Return an environment at 07:00 IST of a Monday; Fyers knows the market."""
    env = Environment(now=now or ist("07:00"), **arguments)
    env.broker.serve_candles(SBIN, FIVE, MARKET)
    env.broker.serve_candles(INFY, FIVE, candles_of(seed=2, days=2, days_before=4))
    env.broker.serve_quotes([quote(SBIN), quote(INFY)])
    return env


async def morning(*with_session: str, without: tuple[str, ...] = (), **arguments) -> Environment:
    """Let these users want SBIN watched, some of them with a session, and begin the day."""
    env = await built(**arguments).with_sessions(*with_session)
    for user_id in without:
        await env.add_user(user_id)
    await env.start(with_readiness=True)
    for user_id in (*with_session, *without):
        await env.watch(user_id, period=PERIOD)
        await env.monitoring.start(user_id)
    await env.clock.settle()
    return env


def result(env: Environment, user_id: str = ALICE) -> tuple[ReadinessResult, Obstacle | None]:
    """Return how a user stands now."""
    readiness = env.readiness.of(user_id).readiness
    return readiness.result, readiness.reason


def titles(env: Environment, user_id: str) -> list[tuple[NotificationKind, str | None]]:
    """Return kinds and incidents of what a user was told about readiness, oldest first."""
    told = [notice for notice in env.notices(user_id) if notice.kind in (NOT_READY, NOW_READY)]
    return [
        (notice.kind, notice.incident_id) for notice in sorted(told, key=lambda notice: notice.created_at)
    ]


def checks(env: Environment) -> list[datetime]:
    """Return when checks were told of in the audit trail."""
    return [entry.at for entry in env.store.tables.audit if entry.kind == "readiness.checked"]


def asked(env: Environment, user_id: str, name: str, since: int = 0) -> int:
    """Count the calls of one kind made for a user."""
    return sum(call.user_id == user_id and call.name == name for call in env.broker.calls[since:])


# ---- when


async def test_an_exchange_day_has_its_three_checks() -> None:
    """At 08:30, 08:45 and 09:00 IST, each asking Fyers about every session once."""
    env = await morning(ALICE)
    await env.clock.advance_to(ist("08:29"))
    reached = len(env.broker.calls)

    await env.clock.advance_to(ist("09:14"))

    assert [at.replace(second=0, microsecond=0) for at in checks(env)] == [
        ist("08:30"),
        ist("08:45"),
        ist("09:00"),
    ]
    assert asked(env, ALICE, "check_data", reached) == 3
    assert result(env) == (ReadinessResult.READY, None)


async def test_holidays_and_week_ends_have_none() -> None:
    """From Friday's close to Monday no check is made; the line says when the next one is."""
    friday = date(2026, 11, 20)
    holiday = CALENDAR.with_sessions(MONDAY)
    env = await morning(ALICE, now=ist("16:00", friday), calendar=holiday)
    assert result(env) == (ReadinessResult.MARKET_CLOSED, None)
    line = env.readiness.of(ALICE).line.line

    await env.clock.advance_to(ist("20:00"))

    assert checks(env) == []
    assert line == "The market is closed. The next readiness check is on 24 Nov 2026, 08:30 IST."


async def test_before_a_muhurat_hour_the_checks_keep_their_distance() -> None:
    """A Sunday that trades from 18:00: 17:15, 17:30 and 17:45."""
    sunday = date(2026, 11, 8)
    muhurat = CALENDAR.with_sessions(sunday, trading_session(sunday, time(18), time(19), SessionKind.MUHURAT))
    env = await morning(ALICE, now=ist("10:00", sunday), calendar=muhurat)

    await env.clock.advance_to(ist("18:00", sunday))

    assert [at.replace(second=0, microsecond=0) for at in checks(env)] == [
        ist(each, sunday) for each in ("17:15", "17:30", "17:45")
    ]
    assert result(env)[0] in (ReadinessResult.WATCHING, ReadinessResult.NOT_WATCHING)


async def test_a_server_that_starts_in_between_makes_up_for_what_it_missed() -> None:
    """Down from 08:20 to 08:50: one check at once, and the last one in time; everything is warm before the bell."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance_to(ist("08:20"))
    env = await env.kill()
    await env.clock.advance_to(ist("08:50"))
    assert env.broker.calls_of(BOB) == []

    await env.start(with_readiness=True)
    await env.clock.advance(60)

    assert len(checks(env)) == 1
    assert result(env) == (ReadinessResult.READY, None)
    assert titles(env, BOB) == [(NOT_READY, "ready-2026-11-23")]
    await env.clock.advance_to(ist("09:14"))
    assert len(checks(env)) == 2
    assert titles(env, BOB)[1:] == [(NOT_READY, "ready-2026-11-23-last")]


async def test_a_check_whose_opening_has_passed_is_not_made_up_for() -> None:
    """A server that comes up at 09:20 has cycles to run, no checks."""
    env = await morning(ALICE, now=ist("09:20"))

    await env.clock.advance(60)

    assert checks(env) == []
    assert result(env) == (ReadinessResult.WATCHING, None)


# ---- what for


async def test_after_a_restart_history_is_loaded_and_the_first_candle_is_judged_with_a_warm_average() -> None:
    """What the restart forgot is there again at the bell, and the signals of the first candles are those of a replay."""
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


async def test_a_login_shortly_before_the_bell_is_warm_before_the_first_candle_closes() -> None:
    """At 09:10 the last check has gone by: the login itself is the occasion, and the repair is told once."""
    env = await morning(BOB, without=(ALICE,))
    await env.clock.advance_to(ist("09:10"))
    assert result(env) == (ReadinessResult.NOT_READY, Obstacle.NEVER_CONNECTED)
    assert env.broker.calls_of(ALICE) == []

    await env.log_in(ALICE)
    await env.clock.advance(5)

    assert result(env) == (ReadinessResult.READY, None)
    assert env.readiness.of(ALICE).checked_at >= ist("09:10")
    assert titles(env, ALICE) == [
        (NOT_READY, "ready-2026-11-23"),
        (NOT_READY, "ready-2026-11-23-last"),
        (NOW_READY, "ready-2026-11-23-last"),
    ]
    await env.clock.advance_to(ist("09:16"))
    assert result(env) == (ReadinessResult.WATCHING, None)
    await env.clock.advance_to(ist("09:25"))
    assert len(titles(env, ALICE)) == 3


async def test_dead_sessions_make_no_call_at_all() -> None:
    """Neither validated nor warmed, at any check."""
    env = await morning(ALICE, BOB)
    await env.clock.settle()
    env.broker.set_state(fyers_id(BOB), AccountState.ACTIVE)
    await env.connections.sign_out(BOB, actor=BOB)
    reached = len(env.broker.calls)

    await env.clock.advance_to(ist("09:30"))

    assert not any(call.user_id == BOB for call in env.broker.calls[reached:])
    assert result(env, BOB) == (ReadinessResult.NOT_WATCHING, Obstacle.SIGNED_OUT)


async def test_what_is_warm_is_not_fetched_again() -> None:
    """The later checks ask about the session and for no history."""
    env = await morning(ALICE)
    await env.clock.advance_to(ist("08:31"))
    reached = len(env.broker.calls)

    await env.clock.advance_to(ist("09:14"))

    assert asked(env, ALICE, "candles", reached) == 0


async def test_a_rejected_session_is_found_at_the_check_and_its_user_is_told() -> None:
    """Revoked in the night: the check's validation ends it, and the same check calls its user to act."""
    env = await morning(ALICE, BOB)
    await env.clock.advance_to(ist("08:29"))
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    await env.clock.advance_to(ist("08:31"))

    assert result(env) == (ReadinessResult.NOT_READY, Obstacle.REJECTED)
    assert titles(env, ALICE) == [(NOT_READY, "ready-2026-11-23")]
    assert result(env, BOB) == (ReadinessResult.READY, None)


# ---- doubt


async def test_an_outage_is_nobodys_fault_and_over_when_it_is_over() -> None:
    """Nobody is called ready while Fyers cannot be asked, and nobody is called to act; afterwards it comes right by itself."""
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
    assert titles(env, ALICE) == titles(env, BOB) == []


async def test_one_hanging_account_delays_and_ends_nobody() -> None:
    """The others are ready as soon as they would be without it, and the check itself comes to its end."""
    env = await morning(ALICE, BOB, CAROL)
    await env.clock.advance_to(ist("08:29"))
    env.broker.set_state(fyers_id(CAROL), AccountState.HANGING)

    await env.clock.advance_to(ist("08:30") + timedelta(seconds=40))

    assert len(checks(env)) == 1
    assert result(env) == result(env, BOB) == (ReadinessResult.READY, None)
    assert result(env, CAROL) == (ReadinessResult.NOT_READY, Obstacle.FYERS_UNAVAILABLE)
    assert titles(env, CAROL) == []


async def test_history_that_hangs_for_one_is_waited_for_by_nobody_else() -> None:
    """After its deadline its place is free; its own cycles go on trying."""
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


async def test_an_account_that_is_told_to_wait_is_warm_later() -> None:
    """Rate-limited at 08:30: said as that, no notice, and its own rhythm warms it before the bell."""
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
    assert titles(env, ALICE) == []


async def test_an_error_of_our_own_in_one_account_ends_nobodys_check() -> None:
    """Whatever breaks while one is asked after, the others are asked after."""
    env = await morning(ALICE, BOB)
    await env.clock.advance_to(ist("08:29"))

    async def broken(call: Call) -> None:
        if call.user_id == ALICE and call.name == "check_data":
            raise RuntimeError("a bug")

    env.broker.before_answer = broken
    await env.clock.advance_to(ist("08:31"))

    assert len(checks(env)) == 1
    assert result(env, BOB) == (ReadinessResult.READY, None)


# ---- who is told


async def test_each_incident_is_told_once_and_the_last_check_urgently() -> None:
    """Not ready at all three checks: once at the first, once more at the last, and nothing of it again after a restart."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:50"))
    assert titles(env, ALICE) == [(NOT_READY, "ready-2026-11-23")]

    await env.clock.advance_to(ist("09:05"))
    env = await env.kill()
    await env.start(with_readiness=True)
    await env.clock.advance(30)

    assert titles(env, ALICE) == [(NOT_READY, "ready-2026-11-23"), (NOT_READY, "ready-2026-11-23-last")]
    urgent = env.notices(ALICE, NOT_READY)[-1]
    assert urgent.title == "Urgent: not ready, and the market opens at 09:15 IST"
    assert "no Fyers account is connected" in urgent.text
    assert "Log in to Fyers." in urgent.text


async def test_who_has_no_session_is_told_before_the_others_are_asked_after() -> None:
    """A check that waits for slow answers keeps nobody waiting who has to act."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance_to(ist("08:29"))
    env.broker.set_state(fyers_id(ALICE), AccountState.HANGING)

    await env.clock.advance_to(ist("08:30") + timedelta(seconds=1))

    assert titles(env, BOB) == [(NOT_READY, "ready-2026-11-23")]
    assert checks(env) == []


async def test_the_next_day_is_told_anew() -> None:
    """Each exchange day is an incident of its own."""
    env = await morning(without=(ALICE,))

    await env.clock.advance_to(ist("09:14", date(2026, 11, 24)))

    assert [incident for _, incident in titles(env, ALICE)] == [
        "ready-2026-11-23",
        "ready-2026-11-23-last",
        "ready-2026-11-24",
        "ready-2026-11-24-last",
    ]


async def test_a_repair_after_the_bell_is_told_too() -> None:
    """Whoever was told *not ready* hears that watching goes on, however late."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("10:02"))
    assert result(env) == (ReadinessResult.NOT_WATCHING, Obstacle.NEVER_CONNECTED)

    await env.log_in(ALICE)
    await env.clock.advance(60)

    assert result(env) == (ReadinessResult.WATCHING, None)
    [notice] = env.notices(ALICE, NOW_READY)
    assert notice.title == "Your watchlist is being watched"


async def test_a_restart_between_the_notice_and_its_recovery_loses_neither() -> None:
    """Who was told before is known from the database."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:32"))
    env = await env.kill()
    await env.start(with_readiness=True)
    await env.clock.advance(5)

    await env.log_in(ALICE)
    await env.clock.advance(30)

    assert titles(env, ALICE) == [(NOT_READY, "ready-2026-11-23"), (NOW_READY, "ready-2026-11-23")]


async def test_ready_lost_and_ready_once_more() -> None:
    """Repaired after the first check, lost before the last: the urgent notice has a recovery of its own."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:32"))
    await env.log_in(ALICE)
    await env.clock.advance_to(ist("08:50"))
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance_to(ist("09:02"))
    await env.log_in(ALICE)
    await env.clock.advance_to(ist("09:10"))

    assert titles(env, ALICE) == [
        (NOT_READY, "ready-2026-11-23"),
        (NOW_READY, "ready-2026-11-23"),
        (NOT_READY, "ready-2026-11-23-last"),
        (NOW_READY, "ready-2026-11-23-last"),
    ]


async def test_who_gives_monitoring_up_is_left_in_peace() -> None:
    """No recovery is told to somebody who wants nothing any more, and no urgent notice."""
    env = await morning(without=(ALICE,))
    await env.clock.advance_to(ist("08:32"))

    await env.monitoring.stop(ALICE)
    await env.clock.advance_to(ist("09:10"))

    assert titles(env, ALICE) == [(NOT_READY, "ready-2026-11-23")]
    assert result(env) == (ReadinessResult.NOT_WANTED, Obstacle.NOT_WANTED)


async def test_a_missing_permission_is_the_users_to_give() -> None:
    """Fyers answers, and says no to this app: told, with what to do."""
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
    assert "permissions for quotes and historical data" in notice.text


async def test_a_symbol_that_fyers_refuses_is_a_yes_but() -> None:
    """The other line is warm: ready, with a word about the one."""
    env = await morning(ALICE)
    unknown = Symbol("NSE:GONE-EQ")
    env.broker.unknown_symbols.add(unknown)
    await env.watch(ALICE, symbol=unknown, period=PERIOD)

    await env.clock.advance_to(ist("08:31"))

    assert result(env) == (ReadinessResult.READY, Obstacle.SYMBOL_REFUSED)
    assert "NSE:GONE-EQ" in env.readiness.of(ALICE).line.line
    assert titles(env, ALICE) == []


async def test_a_young_instrument_is_a_yes_but() -> None:
    """Three candles make no average; nobody can do anything about it."""
    env = await morning(ALICE)
    young = Symbol("NSE:YOUNG-EQ")
    env.broker.serve_candles(
        young, FIVE, [candle for candle in MARKET if candle.opened_at >= ist("15:15", date(2026, 11, 20))][:3]
    )
    await env.watch(ALICE, symbol=young, period=PERIOD)

    await env.clock.advance_to(ist("08:40"))

    assert result(env) == (ReadinessResult.READY, Obstacle.TOO_YOUNG)
    assert titles(env, ALICE) == []


async def test_a_database_that_does_not_answer_delays_only_the_telling() -> None:
    """The check is made in time and once; the notices come when the database does."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance_to(ist("08:29"))
    env.store.is_down = True
    await env.clock.advance_to(ist("08:36"))
    assert asked(env, ALICE, "check_data") >= 1
    made = asked(env, ALICE, "check_data")
    assert titles(env, BOB) == []

    env.store.is_down = False
    await env.clock.advance(60)

    assert titles(env, BOB) == [(NOT_READY, "ready-2026-11-23")]
    assert asked(env, ALICE, "check_data") == made
    assert len(checks(env)) == 1


async def test_the_audit_trail_has_totals_for_each_check_and_a_line_for_each_change() -> None:
    """Three checks, and one line a user for the result that did not change."""
    env = await morning(ALICE, without=(BOB,))

    await env.clock.advance_to(ist("09:10"))

    totals = [entry.evidence for entry in env.store.tables.audit if entry.kind == "readiness.checked"]
    assert [(one["total"], one["ready"], one["notReady"], one["isLast"]) for one in totals] == [
        (2, 1, 1, False),
        (2, 1, 1, False),
        (2, 1, 1, True),
    ]
    assert env.audit(ALICE, "readiness.") == ["readiness.ready"]
    # The urgent notice leaves its line as well, with its incident.
    assert env.audit(BOB, "readiness.") == ["readiness.not_ready"] * 2


# ---- pushed


async def queued(tab: Subscription[Event]) -> list[Event]:
    """Return everything that waits for a tab."""
    return [(await anext(tab)).message for _ in range(tab.pending)]


async def test_changes_are_pushed_once_to_their_user_and_the_end_of_a_check_to_operators() -> None:
    """An open tab hears when the line reads differently, not at every check."""
    env = await morning(ALICE)
    own, admins = env.hub.subscribe(ALICE), env.hub.subscribe(ADMINS)

    await env.clock.advance_to(ist("08:50"))

    mine = [event for event in await queued(own) if isinstance(event, ReadinessChanged)]
    theirs = [event for event in await queued(admins) if isinstance(event, ReadinessChecked)]
    assert [(event.result, event.reason) for event in mine] == [(ReadinessResult.READY, None)]
    assert [(event.total, event.ready) for event in theirs] == [(1, 1), (1, 1)]


# ---- the overview


async def test_the_overview_counts_those_who_are_to_be_watched() -> None:
    """Two of three ready is 66.6 per cent, rounded down; who wants nothing is not counted; the worst comes first."""
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


async def test_an_operator_may_check_now_but_not_again_and_again() -> None:
    """It warms and finds out, and calls nobody to act; a second one within a minute is refused."""
    env = await morning(ALICE, without=(BOB,))
    await env.clock.advance(1)
    reached = len(env.broker.calls)

    env.readiness.start_check()
    await env.clock.advance(1)

    assert asked(env, ALICE, "check_data", reached) == 1
    assert len(checks(env)) == 1
    assert titles(env, BOB) == []
    with pytest.raises(TooManyAttempts):
        env.readiness.start_check()
    await env.clock.advance(MANUAL_CHECK_EVERY_S)
    env.readiness.start_check()


# ---- the pacing

MANY = [f"usr_{number:03d}" for number in range(80)]
SYMBOLS = [Symbol(f"NSE:S{number}-EQ") for number in range(6)]


async def test_many_cold_accounts_are_asked_spread_and_each_history_once() -> None:
    """Eighty accounts with six cold lines: fifty at a time, one call of each, five a second; all warm in the end, nothing asked twice."""
    before = built(now=ist("08:20"))
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
    await env.monitoring.load()  # its cycles do not run: all that is fetched is fetched by the check
    under_way: Counter[str | None] = Counter()
    most_of_one = accounts_at_once = 0

    async def take_a_while(call: Call) -> None:
        nonlocal most_of_one, accounts_at_once
        if call.name == "candles":
            under_way[call.user_id] += 1
            most_of_one = max(most_of_one, under_way[call.user_id])
            accounts_at_once = max(accounts_at_once, sum(count > 0 for count in under_way.values()))
            await env.clock.sleep(0.05)
            under_way[call.user_id] -= 1

    env.broker.before_answer = take_a_while

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


def test_warming_takes_half_of_the_machines_gate() -> None:
    """So many accounts at once, each at its own pace, that the other half is left for what else goes on."""
    assert warming_at_once(calls_per_second=8, calls_per_second_total=500) == 50
    assert warming_at_once(calls_per_second=8, calls_per_second_total=10) == 1
    assert warming_at_once(calls_per_second=2, calls_per_second_total=500) == 125
