"""Tests readiness before the market opens and in trading hours."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.calendar import IST, MarketCalendar, trading_session
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.lines import Line, line_state
from hullwatch.domain.monitoring.obstacles import (
    FOR_USER,
    Obstacle,
)
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.readiness import readiness
from hullwatch.domain.readiness.readiness import (
    Facts,
    MarketHours,
    Phase,
    ReadinessResult,
    assess,
    expires_early,
    market_hours,
)
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState
from hullwatch.domain.sessions.tokens import next_daily_expiry

MONDAY = date(2026, 11, 23)
CALENDAR = MarketCalendar()
"""Every weekday trades."""
SBIN, INFY = Symbol("NSE:SBIN-EQ"), Symbol("NSE:INFY-EQ")


def ist(text: str, day: date = MONDAY) -> datetime:
    """Return a time of a day in IST, as UTC."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


BEFORE = market_hours(ist("08:30"), CALENDAR)
WITHIN = market_hours(ist("11:00"), CALENDAR)
AFTER = market_hours(ist("16:00"), CALENDAR)
GOOD = Facts(
    is_wanted=True,
    login_state=LoginState.CONNECTED,
    disconnect_reason=None,
    expires_at=ist("06:00", date(2026, 11, 24)),
    disconnected_at=None,
    verification_state=VerificationState.VERIFIED,
    status=WatchStatus.MARKET_CLOSED,
    lines=(Line(SBIN, None), Line(INFY, None)),
)
DISCONNECTED = replace(
    GOOD,
    login_state=LoginState.DISCONNECTED,
    disconnect_reason=DisconnectReason.EXPIRED,
    disconnected_at=ist("06:00"),
    expires_at=None,
)


def with_lines(*obstacles: Obstacle | None, of: Facts = GOOD) -> Facts:
    """Return facts with a watch for each of these obstacles; `None` is a watch that lacks nothing."""
    return replace(
        of, lines=tuple(Line(Symbol(f"NSE:S{n}-EQ"), obstacle) for n, obstacle in enumerate(obstacles))
    )


def found(facts: Facts, hours: MarketHours = BEFORE) -> tuple[ReadinessResult, Obstacle | None]:
    """Return result and reason."""
    one = assess(facts, hours)
    return one.result, one.reason


# ---- the day


@pytest.mark.parametrize(
    ("at", "phase", "opens"),
    [
        ("00:00", Phase.BEFORE_OPEN, "09:15"),
        ("09:14:59", Phase.BEFORE_OPEN, "09:15"),
        ("09:15", Phase.WATCHING, "09:15"),
        ("15:29:59", Phase.WATCHING, "09:15"),
    ],
)
def test_the_market_open_divides_the_day(at: str, phase: Phase, opens: str) -> None:
    """The market open ahead counts from midnight on; in trading hours it is the one that has passed."""
    hours = market_hours(ist(at), CALENDAR)

    assert (hours.phase, hours.opens_at, hours.closes_at) == (phase, ist(opens), ist("15:30"))


def test_after_the_close_and_on_closed_days_the_phase_is_closed() -> None:
    """The market open is that of the next trading day."""
    for moment in (ist("15:30"), ist("23:59"), ist("08:30", date(2026, 11, 22))):
        assert market_hours(moment, CALENDAR).phase is Phase.CLOSED
    assert market_hours(ist("15:30"), CALENDAR).opens_at == ist("09:15", date(2026, 11, 24))


def test_between_two_sessions_of_a_day_the_second_counts() -> None:
    """On a day with a pause, the close is that of the last session."""
    drill = CALENDAR.with_sessions(
        MONDAY,
        trading_session(MONDAY, time(9, 15), time(10)),
        trading_session(MONDAY, time(11, 30), time(12, 30)),
    )

    hours = market_hours(ist("10:30"), drill)

    assert (hours.phase, hours.opens_at, hours.closes_at) == (Phase.BEFORE_OPEN, ist("11:30"), ist("12:30"))


# ---- results


def test_the_obstacle_to_remove_first_is_the_reason() -> None:
    """A login comes before a permission, and a permission before a symbol."""
    refused = with_lines(Obstacle.SYMBOL_REFUSED, Obstacle.SYMBOL_REFUSED)
    forbidden = with_lines(Obstacle.SYMBOL_REFUSED, Obstacle.NOT_PERMITTED)
    expiring = replace(forbidden, expires_at=ist("09:00"))

    assert found(refused) == (ReadinessResult.NOT_READY, Obstacle.ALL_REFUSED)
    assert found(forbidden) == (ReadinessResult.NOT_READY, Obstacle.NOT_PERMITTED)
    assert found(expiring) == (ReadinessResult.NOT_READY, Obstacle.EXPIRES_BEFORE_OPEN)
    assert found(replace(refused, expires_at=ist("09:00"))) == (
        ReadinessResult.NOT_READY,
        Obstacle.EXPIRES_BEFORE_OPEN,
    )
    assert found(replace(DISCONNECTED, lines=refused.lines)) == (ReadinessResult.NOT_READY, Obstacle.EXPIRED)


def test_an_account_that_lacks_nothing_has_no_reason() -> None:
    """It is ready before the market opens, and watched after it."""
    assert found(GOOD) == (ReadinessResult.READY, None)
    assert found(replace(GOOD, status=WatchStatus.WATCHING), WITHIN) == (ReadinessResult.WATCHING, None)
    assert found(GOOD, AFTER) == (ReadinessResult.MARKET_CLOSED, None)


@pytest.mark.parametrize("hours", [BEFORE, WITHIN, AFTER])
def test_monitoring_that_is_off_does_not_count(hours: MarketHours) -> None:
    """Such accounts are neither ready nor not ready."""
    assert found(replace(DISCONNECTED, is_wanted=False), hours) == (
        ReadinessResult.NOT_WANTED,
        Obstacle.NOT_WANTED,
    )
    assert found(replace(DISCONNECTED, lines=()), hours) == (ReadinessResult.NOT_WANTED, Obstacle.NO_WATCHES)
    assert not ReadinessResult.NOT_WANTED.counts


@pytest.mark.parametrize("reason", DisconnectReason)
def test_a_disconnected_session_is_for_the_user_to_replace(reason: DisconnectReason) -> None:
    """Each disconnect reason keeps its name, and the time is given with it."""
    facts = replace(DISCONNECTED, disconnect_reason=reason)

    assert found(facts) == (ReadinessResult.NOT_READY, Obstacle(reason.value))
    assert found(facts, WITHIN) == (ReadinessResult.NOT_WATCHING, Obstacle(reason.value))
    assert assess(facts, BEFORE).is_for_user
    assert assess(facts, BEFORE).session_end_at == ist("06:00")


def test_an_expiry_before_the_open_is_not_ready_one_before_the_close_is() -> None:
    """The second is watched at the market open, with a warning."""
    assert found(replace(GOOD, expires_at=ist("09:15"))) == (
        ReadinessResult.NOT_READY,
        Obstacle.EXPIRES_BEFORE_OPEN,
    )
    early = replace(GOOD, expires_at=ist("11:20"))
    assert found(early) == (ReadinessResult.READY, Obstacle.EXPIRES_BEFORE_CLOSE)
    assert assess(early, BEFORE).session_end_at == ist("11:20")
    assert found(replace(early, status=WatchStatus.WATCHING), WITHIN) == (
        ReadinessResult.WATCHING,
        Obstacle.EXPIRES_BEFORE_CLOSE,
    )
    assert found(replace(GOOD, expires_at=ist("15:30"))) == (ReadinessResult.READY, None)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (VerificationState.UNVERIFIED, Obstacle.FYERS_UNAVAILABLE),
        (VerificationState.HELD, Obstacle.FYERS_UNAVAILABLE),
        (VerificationState.UNDER_VERIFICATION, Obstacle.CHECKING_LOGIN),
        (VerificationState.ASSUMED, Obstacle.NOT_VERIFIED),
    ],
)
def test_an_unverified_session_is_not_ready_and_not_for_the_user(
    state: VerificationState, reason: Obstacle
) -> None:
    """Only Fyers can confirm a session, so the user is not asked to act."""
    one = assess(replace(GOOD, verification_state=state), BEFORE)

    assert (one.result, one.reason) == (ReadinessResult.NOT_READY, reason)
    assert not one.is_for_user


@pytest.mark.parametrize(
    ("obstacle", "reason", "is_for_user"),
    [
        (Obstacle.WARMING, Obstacle.WARMING, False),
        (Obstacle.FYERS_UNAVAILABLE, Obstacle.FYERS_UNAVAILABLE, False),
        (Obstacle.RATE_LIMITED, Obstacle.RATE_LIMITED, False),
        (Obstacle.NOT_PERMITTED, Obstacle.NOT_PERMITTED, True),
    ],
)
def test_one_watch_without_history_is_enough_not_to_be_ready(
    obstacle: Obstacle, reason: Obstacle, *, is_for_user: bool
) -> None:
    """The reason is the obstacle of that watch."""
    one = assess(with_lines(None, obstacle, None), BEFORE)

    assert (one.result, one.reason, one.is_for_user) == (ReadinessResult.NOT_READY, reason, is_for_user)
    assert (one.lines, one.warm) == (3, 2)


def test_refused_and_young_symbols_are_warnings_unless_all_are_refused() -> None:
    """They may stay so for weeks, and would hide other reasons."""
    some = assess(with_lines(None, Obstacle.SYMBOL_REFUSED, Obstacle.TOO_YOUNG), BEFORE)
    assert (some.result, some.reason) == (ReadinessResult.READY, Obstacle.SYMBOL_REFUSED)
    assert some.symbols == (Symbol("NSE:S1-EQ"),)
    assert found(with_lines(Obstacle.TOO_YOUNG)) == (ReadinessResult.READY, Obstacle.TOO_YOUNG)
    refused = with_lines(Obstacle.SYMBOL_REFUSED, Obstacle.SYMBOL_REFUSED)
    assert found(refused) == (ReadinessResult.NOT_READY, Obstacle.ALL_REFUSED)
    assert found(replace(refused, status=WatchStatus.WATCHING), WITHIN) == (
        ReadinessResult.NOT_WATCHING,
        Obstacle.ALL_REFUSED,
    )


def test_what_the_user_can_change_comes_first() -> None:
    """An expired session is the reason even while Fyers is unavailable."""
    facts = with_lines(
        Obstacle.FYERS_UNAVAILABLE,
        Obstacle.WARMING,
        of=replace(DISCONNECTED, verification_state=VerificationState.UNVERIFIED),
    )

    assert found(facts) == (ReadinessResult.NOT_READY, Obstacle.EXPIRED)


# ---- watches


def test_a_watch_lacks_nothing_with_an_average_up_to_the_last_close() -> None:
    """History from days ago has to be loaded again."""
    assert line_state(has_average=True, is_current=True, outcome=Outcome.OK) is None
    assert line_state(has_average=True, is_current=False, outcome=Outcome.OK) is Obstacle.WARMING
    assert line_state(has_average=False, is_current=False, outcome=None) is Obstacle.WARMING
    assert line_state(has_average=False, is_current=True, outcome=Outcome.NO_DATA) is Obstacle.TOO_YOUNG
    assert (
        line_state(has_average=True, is_current=False, outcome=Outcome.BAD_REQUEST) is Obstacle.SYMBOL_REFUSED
    )


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("has_average", [True, False])
@pytest.mark.parametrize("is_current", [True, False])
def test_every_outcome_of_a_fetch_leads_to_an_obstacle(
    outcome: Outcome, *, has_average: bool, is_current: bool
) -> None:
    """Only a current average has none."""
    state = line_state(has_average=has_average, is_current=is_current, outcome=outcome)

    assert (state is None) == (has_average and is_current)


# ---- all cases


def test_rules_and_statuses_give_only_obstacles_that_a_page_can_show() -> None:
    """The other obstacles occur only in other views."""
    rules = (*readiness.USER_OBSTACLES, *readiness.DELAYS, *readiness.WARNINGS)
    statuses = {readiness.status_obstacle(status) for status in WatchStatus}
    elsewhere = {
        Obstacle.NO_SESSION,
        Obstacle.MARKET_CLOSED,
        Obstacle.MASS_REFUSAL,
        Obstacle.SERVER_DOWN,
        Obstacle.SERVER_BUSY,
        Obstacle.SLOW_CYCLE,
        Obstacle.CANDLES_MISSING,
        Obstacle.CLOCK_SET,
        Obstacle.OFF_GRID,
    }

    assert {obstacle for obstacle, _ in rules} | statuses - {None} == set(Obstacle) - elsewhere


OF_LINE = {
    line_state(has_average=False, is_current=is_current, outcome=outcome)
    for outcome in Outcome
    for is_current in (True, False)
}

FACTS = st.builds(
    Facts,
    is_wanted=st.booleans(),
    login_state=st.sampled_from(LoginState),
    disconnect_reason=st.none() | st.sampled_from(DisconnectReason),
    expires_at=st.none() | st.sampled_from([ist("06:00"), ist("09:15"), ist("11:20"), ist("23:00")]),
    disconnected_at=st.none() | st.just(ist("06:00")),
    verification_state=st.sampled_from(VerificationState),
    status=st.sampled_from(WatchStatus),
    lines=st.lists(
        st.builds(Line, st.sampled_from([SBIN, INFY]), st.sampled_from([None, *OF_LINE])), max_size=4
    ).map(tuple),
)
HOURS = st.sampled_from([BEFORE, WITHIN, AFTER])


@given(FACTS, HOURS)
def test_every_account_has_one_result_that_fits_the_phase(facts: Facts, hours: MarketHours) -> None:
    """A good result needs a session, and a bad one needs a reason."""
    one = assess(facts, hours)

    if one.result.is_good:
        assert facts.has_session
        assert facts.is_wanted
    if one.result in (ReadinessResult.NOT_READY, ReadinessResult.NOT_WATCHING, ReadinessResult.NOT_WANTED):
        assert one.reason is not None
    if one.result is ReadinessResult.READY:
        assert facts.verification_state is VerificationState.VERIFIED
        assert all(
            line.obstacle in (None, Obstacle.SYMBOL_REFUSED, Obstacle.TOO_YOUNG) for line in facts.lines
        )
        assert facts.expires_at is None or facts.expires_at > hours.opens_at
    if one.result is ReadinessResult.WATCHING:
        assert facts.status is WatchStatus.WATCHING
    fits = {
        Phase.BEFORE_OPEN: {ReadinessResult.READY, ReadinessResult.NOT_READY, ReadinessResult.NOT_WANTED},
        Phase.WATCHING: {ReadinessResult.WATCHING, ReadinessResult.NOT_WATCHING, ReadinessResult.NOT_WANTED},
        Phase.CLOSED: {ReadinessResult.MARKET_CLOSED, ReadinessResult.NOT_WANTED},
    }
    assert one.result in fits[hours.phase]
    assert one.is_for_user == (one.reason in FOR_USER)


@given(
    FACTS,
    HOURS,
    st.sampled_from(
        [VerificationState.UNVERIFIED, VerificationState.UNDER_VERIFICATION, VerificationState.HELD]
    ),
)
def test_an_unverified_session_never_becomes_the_users_task(
    facts: Facts, hours: MarketHours, other: VerificationState
) -> None:
    """The user gets no other task than with a verified session."""
    verified, unverified = (
        assess(replace(facts, verification_state=state), hours)
        for state in (VerificationState.VERIFIED, other)
    )

    if unverified.is_for_user:
        assert verified.is_for_user


# ---- the warning before an expiry


@pytest.mark.parametrize(
    ("now", "expiry", "is_warned"),
    [
        ("05:30", "06:00", False),
        ("07:50", "08:20", True),
        ("10:50", "11:20", True),
        ("15:00", "15:30", False),
        ("15:10", "15:40", False),
    ],
)
def test_an_expiry_is_worth_a_warning_if_a_login_would_help(
    now: str, expiry: str, *, is_warned: bool
) -> None:
    """The daily expiry has no warning, because a session from a login before it expires too."""
    next_expires_at = next_daily_expiry(ist(now))

    assert expires_early(ist(expiry), CALENDAR, next_expires_at=next_expires_at) is is_warned


def test_on_a_closed_day_no_expiry_is_early() -> None:
    """There is no close to compare it with."""
    sunday = date(2026, 11, 22)

    assert not expires_early(ist("11:20", sunday), CALENDAR, next_expires_at=ist("11:20") + timedelta(days=1))
