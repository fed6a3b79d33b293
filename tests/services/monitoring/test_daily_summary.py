"""Tests recipients, time and text of the daily summary."""

from datetime import timedelta

import pytest
from storage.samples import channel

from hullwatch.domain.events import NotificationStored
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.coverage import BlindReason, BlindStretch, Coverage
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.outages import SymbolStretch
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.signals.signals import Rule, SignalCounts
from hullwatch.services.monitoring.daily_summary import AFTER_CLOSE, DailySummary
from hullwatch.services.texts.daily_summary import Summary, compose_daily_summary
from hullwatch.services.texts.obstacles import describe_blindness
from services.environment import (
    ALICE,
    BOB,
    CLOSING,
    FIVE,
    INFY,
    MONDAY,
    OPENING,
    SBIN,
    Environment,
    candles_of,
    quote,
)

SUMMARY = NotificationKind.DAILY_SUMMARY
DUE = CLOSING + AFTER_CLOSE
MARKET_OPEN = OPENING + timedelta(days=1)
ENDS_AT_SIX = (
    "Your Fyers session expires on 24 Nov 2026, 06:00 IST. Log in between 24 Nov 2026, 06:00 IST and 24 Nov 2026, 09:15 IST, "
    "when the market opens."
)


def summary_of(env: Environment) -> DailySummary:
    """Return the service over an environment."""
    return DailySummary(
        env.context,
        monitoring=env.monitoring,
        connections=env.connections,
        hook=env.hook,
    )


def add_channels(env: Environment, *user_ids: str) -> None:
    """Add a channel for the summary to each of these users."""
    for user_id in user_ids:
        one = channel(f"c-{user_id}", user_id, kinds=frozenset({SUMMARY}))
        env.store.tables.channels[one.id] = one


async def evening(*recipients: str) -> Environment:
    """Return an environment at the close. Alice and Bob were monitored for the last ten minutes."""
    env = Environment(now=CLOSING - timedelta(minutes=10))
    env.broker.serve_candles(SBIN, FIVE, candles_of(days=2))
    env.broker.serve_quotes([quote(SBIN)])
    await env.with_sessions(ALICE, BOB)
    add_channels(env, *recipients)
    await env.start()
    for user_id in (ALICE, BOB):
        await env.watch(user_id, rule=Rule.TURN)
        await env.monitoring.start(user_id)
    await env.clock.advance_to(CLOSING)
    return env


async def test_it_is_stored_five_minutes_after_the_close() -> None:
    """Each user with a channel gets one, and open pages receive it."""
    env = await evening(ALICE)
    summary_of(env).start_jobs(env.supervisor)
    tab = env.hub.subscribe(ALICE)

    await env.clock.advance_to(DUE - timedelta(seconds=1))
    assert env.notices(ALICE, SUMMARY) == []
    await env.clock.advance(3600)
    env.hub.close()

    (notice,) = env.notices(ALICE, SUMMARY)
    counted = len(env.signals(ALICE))
    signals = f"Signals: {counted} on time." if counted else "There was no signal."
    assert DUE <= notice.created_at <= DUE + timedelta(minutes=1)
    assert notice.incident_id == "day-2026-11-23"
    assert notice.title == "23 November: watched throughout"
    assert notice.text == (
        f"Your watchlist was watched for 10 min of 10 min (100 %). {signals} {ENDS_AT_SIX}"
    )
    assert env.notices(BOB, SUMMARY) == []
    pushed = [one.message async for one in tab if isinstance(one.message, NotificationStored)]
    assert [event.notification for event in pushed] == [notice]


async def test_a_server_started_in_the_evening_sends_it_once() -> None:
    """The database decides which summaries exist, not the memory of the process."""
    env = await evening(ALICE)
    env = await env.kill()
    await env.clock.advance_to(CLOSING + timedelta(hours=3))
    await env.start()
    await summary_of(env).publish_if_due()
    (notice,) = env.notices(ALICE, SUMMARY)

    env = await env.kill()
    await env.start()
    await summary_of(env).publish_if_due()

    assert env.notices(ALICE, SUMMARY) == [notice]


async def test_a_channel_added_in_the_evening_gets_the_day() -> None:
    """This is possible until midnight in India. Later it gets the next day only."""
    env = await evening()
    service = summary_of(env)
    await env.clock.advance_to(DUE)
    await service.publish_if_due()
    add_channels(env, BOB)
    await service.publish_if_due()
    assert len(env.notices(BOB, SUMMARY)) == 1

    add_channels(env, ALICE, BOB)
    await env.clock.advance_to(DUE + timedelta(hours=10))
    await service.publish_if_due()

    assert env.notices(ALICE, SUMMARY) == []


async def test_a_day_without_trading_has_no_summary() -> None:
    """A Sunday has no market close."""
    env = await evening(ALICE)
    await env.stop()  # a week of cycles would prove nothing more
    await env.clock.advance_to(CLOSING + timedelta(days=6, hours=1))
    await summary_of(env).publish_if_due()
    assert env.notices(ALICE, SUMMARY) == []

    await env.clock.advance_to(CLOSING + timedelta(days=7, hours=1))
    await summary_of(env).publish_if_due()
    assert len(env.notices(ALICE, SUMMARY)) == 1


async def test_a_database_outage_delays_it() -> None:
    """The next run sends what the outage prevented."""
    env = await evening(ALICE, BOB)
    service = summary_of(env)
    await env.clock.advance_to(DUE)
    env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await service.publish_if_due()
    env.store.is_down = False

    await service.publish_if_due()

    assert [len(env.notices(user_id, SUMMARY)) for user_id in (ALICE, BOB)] == [1, 1]


async def test_it_lists_blind_time_late_signals_and_refusals() -> None:
    """Each problem is named with its reason."""
    env = Environment(now=CLOSING - timedelta(minutes=60))
    env.broker.serve_candles(SBIN, FIVE, candles_of(days=2))
    env.broker.serve_quotes([quote(SBIN)])
    env.broker.unknown_symbols.add(INFY)
    await env.with_sessions(ALICE)
    add_channels(env, ALICE)
    await env.start()
    for symbol in (SBIN, INFY):
        await env.watch(ALICE, symbol=symbol, rule=Rule.TURN)
    await env.monitoring.start(ALICE)
    await env.clock.advance(600)
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(2100)
    await env.log_in(ALICE)
    await env.clock.advance_to(DUE)

    await summary_of(env).publish_if_due()

    (notice,) = env.notices(ALICE, SUMMARY)
    late = sum(signal.is_late for signal in env.signals(ALICE))
    fresh = len(env.signals(ALICE)) - late
    assert late
    assert notice.title == "23 November: watched 25 min, blind 35 min"
    assert notice.text == (
        "Your watchlist was watched for 25 min of 60 min (41.67 %). Blind for 35 min because there was no Fyers session. "
        f"Signals: {fresh} on time, {late} late. Fyers does not serve NSE:INFY-EQ. {ENDS_AT_SIX}"
    )


# ---- the next market open


async def last_sentences(env: Environment, user_id: str = ALICE) -> str:
    """Wait until the summary is stored and return its text after the signals."""
    await env.clock.advance_to(max(DUE, env.clock.now()))
    await summary_of(env).publish_if_due()
    text = env.notices(user_id, SUMMARY)[-1].text
    return text[text.rindex("ignal") :].partition(". ")[2]


async def test_a_session_that_expires_before_the_open_needs_a_login() -> None:
    """A login in the evening would expire at 06:00 too."""
    assert await last_sentences(await evening(ALICE)) == ENDS_AT_SIX


async def test_a_disconnected_session_needs_a_login_in_the_morning() -> None:
    """A login before the nightly expiry would not last until the market open."""
    env = await evening(ALICE)
    await env.connections.sign_out(ALICE, actor=ALICE)

    assert await last_sentences(env) == (
        "There is no Fyers session. Log in between 24 Nov 2026, 06:00 IST and 24 Nov 2026, 09:15 IST, when the market opens."
    )


async def test_a_session_that_lasts_beyond_the_open_needs_nothing() -> None:
    """A session that expires exactly at the market open does not count."""
    env = await evening(ALICE)
    await env.log_in(ALICE, lifetime=MARKET_OPEN + timedelta(minutes=1) - env.clock.now())
    assert await last_sentences(env) == (
        "Your Fyers session is valid until 24 Nov 2026, 09:16 IST. You do not need to log in before 24 Nov 2026, 09:15 IST, "
        "when the market opens."
    )

    env = await evening(ALICE)
    await env.log_in(ALICE, lifetime=MARKET_OPEN - env.clock.now())
    assert "expires on 24 Nov 2026, 09:15 IST. Log in" in await last_sentences(env)


async def test_the_next_market_open_may_be_days_away() -> None:
    """After a weekend and a holiday the login is needed on the next trading day."""
    env = Environment(now=CLOSING, calendar=MarketCalendar(closures={MONDAY + timedelta(days=1): "Gurpurb"}))
    await env.with_sessions(ALICE)
    add_channels(env, ALICE)
    await env.start()
    await env.watch(ALICE)
    await env.monitoring.start(ALICE)
    assert (
        "between 25 Nov 2026, 06:00 IST and 25 Nov 2026, 09:15 IST, when the market opens"
        in await last_sentences(env)
    )

    env = await env.kill()
    await env.clock.advance_to(DUE + timedelta(days=4))
    await env.start()
    assert (
        "between 30 Nov 2026, 06:00 IST and 30 Nov 2026, 09:15 IST, when the market opens"
        in await last_sentences(env)
    )


class _Notes:
    """The part of `SessionHook` that the summary uses."""

    def expiry_note(self, connection: Connection) -> str:
        """Return a note about Alice's session."""
        return "The feature handles it." if connection.user_id == ALICE else ""


async def test_the_outlook_contains_the_note_of_an_optional_feature() -> None:
    """The note replaces the request to log in, because the feature handles the expiry."""
    env = await evening(ALICE)
    service = DailySummary(
        env.context,
        monitoring=env.monitoring,
        connections=env.connections,
        hook=_Notes(),
    )
    await env.clock.advance_to(DUE)
    await service.publish_if_due()

    assert env.notices(ALICE, SUMMARY)[0].text.endswith(
        "expires on 24 Nov 2026, 06:00 IST, before the market opens on 24 Nov 2026, 09:15 IST. The feature handles it."
    )


async def test_no_login_is_requested_without_monitoring() -> None:
    """The cases are stopped monitoring and an empty watchlist."""
    env = await evening(ALICE)
    await env.monitoring.stop(ALICE)

    assert await last_sentences(env) == (
        "Nothing will be watched on the next trading day, so you do not need to log in."
    )


# ---- sentences


def text_of(stretches: list[BlindStretch], *, watched: int = 100, **changes) -> str:
    """Return the text for a day with these stretches."""
    spans = ((OPENING, OPENING + timedelta(minutes=watched)),) if watched else ()
    found = Coverage(MONDAY, spans, tuple(stretches), timedelta(minutes=375))
    summary = Summary(found, **{"signals": SignalCounts(), "refused": (), "outlook": None, **changes})
    return compose_daily_summary("usr", summary, now=CLOSING, new_id=lambda prefix: f"{prefix}_1").text


def blind(reason: BlindReason, start: int, length: timedelta) -> BlindStretch:
    """Return a stretch so many minutes into the session."""
    return BlindStretch(
        OPENING + timedelta(minutes=start), OPENING + timedelta(minutes=start) + length, reason
    )


def test_reasons_are_listed_with_their_time_longest_first() -> None:
    """Seconds are shown as seconds, so that no gap disappears."""
    text = text_of(
        [
            blind(BlindReason.FYERS_UNAVAILABLE, 5, timedelta(seconds=20)),
            blind(BlindReason.NO_SESSION, 10, timedelta(minutes=7)),
            blind(BlindReason.FYERS_UNAVAILABLE, 30, timedelta(seconds=25)),
        ]
    )

    assert (
        "Blind for 7 min 45 s: 7 min because there was no Fyers session; 45 s because Fyers did not respond properly."
        in text
    )


def test_watched_and_blind_add_up_to_the_second() -> None:
    """A day with any gap is not reported as complete."""
    short = blind(BlindReason.SERVER_BUSY, 0, timedelta(milliseconds=300))
    spans = ((OPENING + timedelta(milliseconds=300), OPENING + timedelta(minutes=375)),)
    found = Coverage(MONDAY, spans, (short,), timedelta(minutes=375))
    summary = compose_daily_summary(
        "usr", Summary(found, SignalCounts(), (), None), now=CLOSING, new_id=lambda prefix: f"{prefix}_1"
    )

    assert summary.title == "23 November: watched 374 min 59 s, blind 1 s"
    assert "watched for 374 min 59 s of 375 min (99.99 %)" in summary.text


def test_a_day_without_monitoring_has_no_percentage() -> None:
    """Watched and blind time are zero, so there is no divisor."""
    assert text_of([], watched=0) == (
        "Monitoring was off in trading hours, or your watchlist was empty. There was no signal. "
        "Nothing will be watched on the next trading day, so you do not need to log in."
    )


def test_withdrawn_signals_are_counted_apart() -> None:
    """They are neither on time nor late, and the sentence gives their reason."""
    text = text_of([], signals=SignalCounts(on_time=3, late=1, withdrawn=2))

    assert "Signals: 3 on time, 1 late, and 2 withdrawn because Fyers changed its history." in text


def test_a_long_list_of_refused_symbols_is_cut() -> None:
    """Twenty symbols are named and the rest is counted."""
    text = text_of([], refused=[Symbol(f"NSE:STOCK{number:02}-EQ") for number in range(23)])

    assert "NSE:STOCK19-EQ and 3 more." in text
    assert "NSE:STOCK20-EQ" not in text


@pytest.mark.parametrize("reason", list(BlindReason))
def test_each_blind_reason_has_its_texts(reason: BlindReason) -> None:
    """The page and the summary use the same words."""
    sentence = describe_blindness(reason)
    text = text_of([blind(reason, 0, timedelta(minutes=5))])

    assert sentence.endswith(".")
    assert sentence[1:] in text.partition("Blind for 5 min because ")[2]


def test_symbols_that_were_not_monitored_are_named() -> None:
    """A day on which one symbol was missing was not watched throughout."""
    began = CLOSING - timedelta(hours=2)
    stretches = [
        SymbolStretch(Symbol("NSE:TCS-EQ"), Obstacle.NO_HISTORY, began, began + timedelta(minutes=20)),
        SymbolStretch(Symbol("NSE:TCS-EQ"), Obstacle.NO_HISTORY, CLOSING - timedelta(minutes=5), CLOSING),
        SymbolStretch(None, Obstacle.NOT_PERMITTED, began, CLOSING),
    ]

    text = text_of([], symbols=stretches)

    assert "Not monitored: TCS for 25 min, because Fyers had no history for it." in text
