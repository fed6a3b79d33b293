"""Who is ready for the opening, and why not; `hullwatch.domain.readiness.readiness`."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.failures import Outcome
from hullwatch.domain.market.calendar import IST, MarketCalendar, trading_session
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.readiness import readiness as rules
from hullwatch.domain.readiness.readiness import (
    FOR_USER,
    Bell,
    Facts,
    Line,
    LineState,
    Phase,
    Reason,
    Verdict,
    assess,
    bell_at,
    expires_early,
    line_state,
)
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState
from hullwatch.domain.sessions.tokens import next_daily_expiry

MONDAY = date(2026, 11, 23)
CALENDAR = MarketCalendar()
"""Every weekday trades."""
SBIN, INFY = Symbol("NSE:SBIN-EQ"), Symbol("NSE:INFY-EQ")


def ist(text: str, day: date = MONDAY) -> datetime:
    """Return a time of a day, IST, as the house keeps it."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


BEFORE = bell_at(ist("08:30"), CALENDAR)
WITHIN = bell_at(ist("11:00"), CALENDAR)
AFTER = bell_at(ist("16:00"), CALENDAR)
GOOD = Facts(
    is_wanted=True,
    login=LoginState.CONNECTED,
    end_reason=None,
    expires_at=ist("06:00", date(2026, 11, 24)),
    ended_at=None,
    verification_state=VerificationState.VERIFIED,
    status=WatchStatus.MARKET_CLOSED,
    lines=(Line(SBIN, LineState.WARM), Line(INFY, LineState.WARM)),
)
ENDED = replace(
    GOOD,
    login=LoginState.DISCONNECTED,
    end_reason=DisconnectReason.EXPIRED,
    ended_at=ist("06:00"),
    expires_at=None,
)


def with_lines(*states: LineState, of: Facts = GOOD) -> Facts:
    """Return facts whose lines stand so."""
    return replace(of, lines=tuple(Line(Symbol(f"NSE:S{n}-EQ"), state) for n, state in enumerate(states)))


def found(facts: Facts, bell: Bell = BEFORE) -> tuple[Verdict, Reason | None]:
    """Return verdict and reason."""
    one = assess(facts, bell)
    return one.verdict, one.reason


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
def test_the_bell_divides_the_day(at: str, phase: Phase, opens: str) -> None:
    """From midnight to the opening there is a bell ahead; within the session the one that rang counts."""
    bell = bell_at(ist(at), CALENDAR)

    assert (bell.phase, bell.opens_at, bell.closes_at) == (phase, ist(opens), ist("15:30"))


def test_after_the_close_and_on_closed_days_there_is_nothing_to_be_ready_for() -> None:
    """The bell that is measured by is the next day's, and the phase says so."""
    for moment in (ist("15:30"), ist("23:59"), ist("08:30", date(2026, 11, 22))):
        assert bell_at(moment, CALENDAR).phase is Phase.CLOSED
    assert bell_at(ist("15:30"), CALENDAR).opens_at == ist("09:15", date(2026, 11, 24))


def test_between_two_sessions_of_a_day_the_second_is_ahead() -> None:
    """A drill with a pause: readiness is asked for again, and the day's close is that of the last session."""
    drill = CALENDAR.with_sessions(
        MONDAY,
        trading_session(MONDAY, time(9, 15), time(10)),
        trading_session(MONDAY, time(11, 30), time(12, 30)),
    )

    bell = bell_at(ist("10:30"), drill)

    assert (bell.phase, bell.opens_at, bell.closes_at) == (Phase.BEFORE_OPEN, ist("11:30"), ist("12:30"))


# ---- verdicts


def test_of_several_obstacles_the_first_to_be_put_right_is_named() -> None:
    """A login comes before a permission, a permission before a symbol."""
    refused = with_lines(LineState.REFUSED, LineState.REFUSED)
    forbidden = with_lines(LineState.REFUSED, LineState.NOT_PERMITTED)
    ending = replace(forbidden, expires_at=ist("09:00"))

    assert found(refused) == (Verdict.NOT_READY, Reason.ALL_REFUSED)
    assert found(forbidden) == (Verdict.NOT_READY, Reason.NOT_PERMITTED)
    assert found(ending) == (Verdict.NOT_READY, Reason.EXPIRES_BEFORE_OPEN)
    assert found(replace(refused, expires_at=ist("09:00"))) == (Verdict.NOT_READY, Reason.EXPIRES_BEFORE_OPEN)
    assert found(replace(ENDED, lines=refused.lines)) == (Verdict.NOT_READY, Reason.EXPIRED)


def test_all_well_is_ready_and_then_watching() -> None:
    """A confirmed session that outlives the close and warm averages need no word."""
    assert found(GOOD) == (Verdict.READY, None)
    assert found(replace(GOOD, status=WatchStatus.WATCHING), WITHIN) == (Verdict.WATCHING, None)
    assert found(GOOD, AFTER) == (Verdict.MARKET_CLOSED, None)


@pytest.mark.parametrize("bell", [BEFORE, WITHIN, AFTER])
def test_who_wants_nothing_watched_is_never_late(bell: Bell) -> None:
    """No wish or an empty watchlist counts neither as ready nor as not ready."""
    assert found(replace(ENDED, is_wanted=False), bell) == (Verdict.NOT_WANTED, Reason.NOT_STARTED)
    assert found(replace(ENDED, lines=()), bell) == (Verdict.NOT_WANTED, Reason.NO_WATCHES)
    assert not Verdict.NOT_WANTED.counts


@pytest.mark.parametrize("reason", DisconnectReason)
def test_an_ended_session_is_the_users_to_renew(reason: DisconnectReason) -> None:
    """Each reason keeps its name, before the opening and after, and says when it was."""
    facts = replace(ENDED, end_reason=reason)

    assert found(facts) == (Verdict.NOT_READY, Reason(reason.value))
    assert found(facts, WITHIN) == (Verdict.NOT_WATCHING, Reason(reason.value))
    assert assess(facts, BEFORE).is_for_user
    assert assess(facts, BEFORE).end_at == ist("06:00")


def test_an_end_before_the_opening_is_not_ready_and_one_before_the_close_is_a_yes_but() -> None:
    """At the bell the second is watched; the warning comes with it, and the first will not be."""
    assert found(replace(GOOD, expires_at=ist("09:15"))) == (Verdict.NOT_READY, Reason.EXPIRES_BEFORE_OPEN)
    early = replace(GOOD, expires_at=ist("11:20"))
    assert found(early) == (Verdict.READY, Reason.EXPIRES_BEFORE_CLOSE)
    assert assess(early, BEFORE).end_at == ist("11:20")
    assert found(replace(early, status=WatchStatus.WATCHING), WITHIN) == (
        Verdict.WATCHING,
        Reason.EXPIRES_BEFORE_CLOSE,
    )
    assert found(replace(GOOD, expires_at=ist("15:30"))) == (Verdict.READY, None)


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (VerificationState.UNVERIFIED, Reason.FYERS_UNAVAILABLE),
        (VerificationState.HELD, Reason.FYERS_UNAVAILABLE),
        (VerificationState.UNDER_VERIFICATION, Reason.CHECKING_LOGIN),
        (VerificationState.ASSUMED, Reason.NOT_VERIFIED),
    ],
)
def test_doubt_is_not_ready_and_nobodys_fault(standing: VerificationState, reason: Reason) -> None:
    """What Fyers has not confirmed is not called ready, and the user is not called to act."""
    one = assess(replace(GOOD, verification_state=standing), BEFORE)

    assert (one.verdict, one.reason) == (Verdict.NOT_READY, reason)
    assert not one.is_for_user


@pytest.mark.parametrize(
    ("state", "reason", "is_for_user"),
    [
        (LineState.COLD, Reason.WARMING, False),
        (LineState.UNAVAILABLE, Reason.FYERS_UNAVAILABLE, False),
        (LineState.RATE_LIMITED, Reason.RATE_LIMITED, False),
        (LineState.NOT_PERMITTED, Reason.NOT_PERMITTED, True),
    ],
)
def test_one_cold_line_is_enough_not_to_be_ready(
    state: LineState, reason: Reason, *, is_for_user: bool
) -> None:
    """And the reason is that of the line."""
    one = assess(with_lines(LineState.WARM, state, LineState.WARM), BEFORE)

    assert (one.verdict, one.reason, one.is_for_user) == (Verdict.NOT_READY, reason, is_for_user)
    assert (one.lines, one.warm) == (3, 2)


def test_refused_and_young_symbols_keep_nobody_from_being_ready_unless_all_are_refused() -> None:
    """What would be said every day for ever must not drown what matters; a list that is refused whole is no list."""
    some = assess(with_lines(LineState.WARM, LineState.REFUSED, LineState.TOO_YOUNG), BEFORE)
    assert (some.verdict, some.reason) == (Verdict.READY, Reason.SOME_REFUSED)
    assert some.symbols == (Symbol("NSE:S1-EQ"),)
    assert found(with_lines(LineState.TOO_YOUNG)) == (Verdict.READY, Reason.TOO_YOUNG)
    refused = with_lines(LineState.REFUSED, LineState.REFUSED)
    assert found(refused) == (Verdict.NOT_READY, Reason.ALL_REFUSED)
    assert found(replace(refused, status=WatchStatus.WATCHING), WITHIN) == (
        Verdict.NOT_WATCHING,
        Reason.ALL_REFUSED,
    )


def test_what_the_user_can_do_comes_before_what_nobody_can() -> None:
    """A dead session is named although the lines are cold and Fyers is ill."""
    facts = with_lines(
        LineState.UNAVAILABLE,
        LineState.COLD,
        of=replace(ENDED, verification_state=VerificationState.UNVERIFIED),
    )

    assert found(facts) == (Verdict.NOT_READY, Reason.EXPIRED)


# ---- lines


def test_a_line_is_warm_when_it_has_an_average_up_to_the_last_close() -> None:
    """One that was loaded days ago is cold until it is loaded again, one with few candles is young."""
    assert line_state(has_average=True, is_current=True, outcome=Outcome.OK) is LineState.WARM
    assert line_state(has_average=True, is_current=False, outcome=Outcome.OK) is LineState.COLD
    assert line_state(has_average=False, is_current=False, outcome=None) is LineState.COLD
    assert line_state(has_average=False, is_current=True, outcome=Outcome.NO_DATA) is LineState.TOO_YOUNG
    assert line_state(has_average=True, is_current=False, outcome=Outcome.BAD_REQUEST) is LineState.REFUSED


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("has_average", [True, False])
@pytest.mark.parametrize("is_current", [True, False])
def test_every_outcome_leads_to_a_state(outcome: Outcome, *, has_average: bool, is_current: bool) -> None:
    """Whatever a fetch brought, a line that is not warm says why."""
    state = line_state(has_average=has_average, is_current=is_current, outcome=outcome)

    assert (state is LineState.WARM) == (has_average and is_current)


# ---- totality


def test_every_word_has_its_row() -> None:
    """End reasons, standings and statuses map into reasons; no row is left from an older word."""
    assert set(rules._ENDED) == set(DisconnectReason)
    assert set(rules._DOUBTS) == set(VerificationState)
    assert set(rules._STATUSES) == set(WatchStatus)
    assert set(rules._COLD_AFTER) == set(Outcome)
    in_tables = {reason for table in (rules.OBSTACLES, rules.DELAYS, rules.CAVEATS) for reason, _ in table}
    assert in_tables | {reason for reason in rules._STATUSES.values() if reason} == set(Reason)


FACTS = st.builds(
    Facts,
    is_wanted=st.booleans(),
    login=st.sampled_from(LoginState),
    end_reason=st.none() | st.sampled_from(DisconnectReason),
    expires_at=st.none() | st.sampled_from([ist("06:00"), ist("09:15"), ist("11:20"), ist("23:00")]),
    ended_at=st.none() | st.just(ist("06:00")),
    verification_state=st.sampled_from(VerificationState),
    status=st.sampled_from(WatchStatus),
    lines=st.lists(
        st.builds(Line, st.sampled_from([SBIN, INFY]), st.sampled_from(LineState)), max_size=4
    ).map(tuple),
)
BELLS = st.sampled_from([BEFORE, WITHIN, AFTER])


@given(FACTS, BELLS)
def test_every_account_has_one_verdict_that_fits_the_hour(facts: Facts, bell: Bell) -> None:
    """Whatever the facts: nothing good without a session, nothing bad without a reason, no doubt blamed on the user."""
    one = assess(facts, bell)

    if one.verdict.is_good:
        assert facts.has_session
        assert facts.is_wanted
    if one.verdict in (Verdict.NOT_READY, Verdict.NOT_WATCHING, Verdict.NOT_WANTED):
        assert one.reason is not None
    if one.verdict is Verdict.READY:
        assert facts.verification_state is VerificationState.VERIFIED
        assert all(
            line.state in (LineState.WARM, LineState.REFUSED, LineState.TOO_YOUNG) for line in facts.lines
        )
        assert facts.expires_at is None or facts.expires_at > bell.opens_at
    if one.verdict is Verdict.WATCHING:
        assert facts.status is WatchStatus.WATCHING
    fits = {
        Phase.BEFORE_OPEN: {Verdict.READY, Verdict.NOT_READY, Verdict.NOT_WANTED},
        Phase.WATCHING: {Verdict.WATCHING, Verdict.NOT_WATCHING, Verdict.NOT_WANTED},
        Phase.CLOSED: {Verdict.MARKET_CLOSED, Verdict.NOT_WANTED},
    }
    assert one.verdict in fits[bell.phase]
    assert one.is_for_user == (one.reason in FOR_USER)


@given(
    FACTS,
    BELLS,
    st.sampled_from(
        [VerificationState.UNVERIFIED, VerificationState.UNDER_VERIFICATION, VerificationState.HELD]
    ),
)
def test_doubt_never_becomes_the_users_fault(facts: Facts, bell: Bell, doubt: VerificationState) -> None:
    """Whoever is not called to act while Fyers confirms is not called to act because Fyers does not."""
    sure, unsure = (
        assess(replace(facts, verification_state=standing), bell)
        for standing in (VerificationState.VERIFIED, doubt)
    )

    if unsure.is_for_user:
        assert sure.is_for_user


# ---- the warning before an end


@pytest.mark.parametrize(
    ("now", "end", "is_told"),
    [
        ("05:30", "06:00", False),
        ("07:50", "08:20", True),
        ("10:50", "11:20", True),
        ("15:00", "15:30", False),
        ("15:10", "15:40", False),
    ],
)
def test_an_end_is_worth_a_warning_if_it_costs_trading_and_a_login_would_help(
    now: str, end: str, *, is_told: bool
) -> None:
    """The daily end in the morning is not: a login before it would end with it."""
    next_expires_at = next_daily_expiry(ist(now))

    assert expires_early(ist(end), CALENDAR, next_expires_at=next_expires_at) is is_told


def test_on_a_closed_day_no_end_is_early() -> None:
    """There is no close that it could come before."""
    sunday = date(2026, 11, 22)

    assert not expires_early(ist("11:20", sunday), CALENDAR, next_expires_at=ist("11:20") + timedelta(days=1))
