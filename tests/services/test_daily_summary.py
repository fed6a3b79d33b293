"""The daily summary: who gets it, when, once, and what it says; `hullwatch.services.daily_summary`."""

from datetime import timedelta

import pytest
from storage.samples import channel

from hullwatch.domain.coverage import BlindReason, BlindStretch, Coverage
from hullwatch.domain.events import NotificationStored
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.instruments import Symbol
from hullwatch.domain.notifications import NotificationKind
from hullwatch.domain.signals import Rule
from hullwatch.services.daily_summary import AFTER_CLOSE, DailySummary
from hullwatch.services.notifications import Summary, compose_daily_summary, describe_blindness
from services.building import (
    ALICE,
    BOB,
    CLOSING,
    FIVE,
    INFY,
    MONDAY,
    OPENING,
    SBIN,
    House,
    candles_of,
    quote,
)

SUMMARY = NotificationKind.DAILY_SUMMARY
DUE = CLOSING + AFTER_CLOSE


def summary_of(house: House) -> DailySummary:
    """Return the service over a house's others."""
    return DailySummary(
        store=house.store,
        monitoring=house.monitoring,
        calendar=house.calendar,
        clock=house.clock,
        hub=house.hub,
        new_id=house.new_id,
    )


def want(house: House, *user_ids: str) -> None:
    """Let these have a channel that carries the summary."""
    for user_id in user_ids:
        one = channel(f"c-{user_id}", user_id, kinds=frozenset({SUMMARY}))
        house.store.tables.channels[one.id] = one


async def evening(*wanting: str) -> House:
    """Return a house at the close of a day of whose last ten minutes Alice and Bob watched, and these want a summary."""
    house = House(now=CLOSING - timedelta(minutes=10))
    house.broker.serve_candles(SBIN, FIVE, candles_of(days=2))
    house.broker.serve_quotes([quote(SBIN)])
    await house.with_sessions(ALICE, BOB)
    want(house, *wanting)
    await house.start()
    for user_id in (ALICE, BOB):
        await house.watch(user_id, rule=Rule.TURN)
        await house.monitoring.start(user_id)
    await house.clock.advance_to(CLOSING)
    return house


async def test_it_comes_five_minutes_after_the_close_to_those_who_want_it() -> None:
    """Once, pushed to open tabs, and nobody else has a row of it."""
    house = await evening(ALICE)
    summary_of(house).start_jobs(house.supervisor)
    tab = house.hub.subscribe(ALICE)

    await house.clock.advance_to(DUE - timedelta(seconds=1))
    assert house.notices(ALICE, SUMMARY) == []
    await house.clock.advance(3600)
    house.hub.close()

    (notice,) = house.notices(ALICE, SUMMARY)
    counted = len(house.signals(ALICE))
    signals = f"Signals: {counted} in time." if counted else "There was no signal."
    assert DUE <= notice.created_at <= DUE + timedelta(minutes=1)
    assert notice.incident_id == "day-2026-11-23"
    assert notice.title == "23 November: watched throughout"
    assert notice.text == (f"Your watchlist was watched for 10 min of 10 min (100 %). {signals}")
    assert house.notices(BOB, SUMMARY) == []
    pushed = [one.message async for one in tab if isinstance(one.message, NotificationStored)]
    assert [event.notification for event in pushed] == [notice]


async def test_a_server_that_comes_up_in_the_evening_catches_up_and_one_that_told_tells_nothing_twice() -> (
    None
):
    """What was told is known by the storage, not by the process."""
    house = await evening(ALICE)
    house = await house.kill()
    await house.clock.advance_to(CLOSING + timedelta(hours=3))
    await house.start()
    await summary_of(house).tell_if_due()
    (notice,) = house.notices(ALICE, SUMMARY)

    house = await house.kill()
    await house.start()
    await summary_of(house).tell_if_due()

    assert house.notices(ALICE, SUMMARY) == [notice]


async def test_a_channel_that_is_added_in_the_evening_still_gets_the_day() -> None:
    """Until midnight; the day after, only that day's."""
    house = await evening()
    service = summary_of(house)
    await house.clock.advance_to(DUE)
    await service.tell_if_due()
    want(house, BOB)
    await service.tell_if_due()
    assert len(house.notices(BOB, SUMMARY)) == 1

    want(house, ALICE, BOB)
    await house.clock.advance_to(DUE + timedelta(hours=10))
    await service.tell_if_due()

    assert house.notices(ALICE, SUMMARY) == []


async def test_a_day_without_trading_has_no_summary() -> None:
    """Nothing closes on a Sunday."""
    friday, sunday = (CLOSING + timedelta(days=days, hours=1) for days in (4, 6))
    for now, count in ((sunday, 0), (friday, 1)):
        house = House(now=now)
        await house.with_sessions(ALICE)
        want(house, ALICE)

        await summary_of(house).tell_if_due()

        assert len(house.notices(ALICE, SUMMARY)) == count


async def test_a_database_that_is_down_delays_it() -> None:
    """The next run tells everybody who has not been told."""
    house = await evening(ALICE, BOB)
    service = summary_of(house)
    await house.clock.advance_to(DUE)
    house.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await service.tell_if_due()
    house.store.is_down = False

    await service.tell_if_due()

    assert [len(house.notices(user_id, SUMMARY)) for user_id in (ALICE, BOB)] == [1, 1]


async def test_what_went_wrong_is_in_it() -> None:
    """Blind time with its reason, late signals, and what Fyers does not serve."""
    house = House(now=CLOSING - timedelta(minutes=60))
    house.broker.serve_candles(SBIN, FIVE, candles_of(days=2))
    house.broker.serve_quotes([quote(SBIN)])
    house.broker.unknown_symbols.add(INFY)
    await house.with_sessions(ALICE)
    want(house, ALICE)
    await house.start()
    for symbol in (SBIN, INFY):
        await house.watch(ALICE, symbol=symbol, rule=Rule.TURN)
    await house.monitoring.start(ALICE)
    await house.clock.advance(600)
    await house.connections.sign_out(ALICE, actor=ALICE)
    await house.clock.advance(2100)
    await house.log_in(ALICE)
    await house.clock.advance_to(DUE)

    await summary_of(house).tell_if_due()

    (notice,) = house.notices(ALICE, SUMMARY)
    late = sum(signal.is_late for signal in house.signals(ALICE))
    fresh = len(house.signals(ALICE)) - late
    assert late
    assert notice.title == "23 November: watched 25 min, blind 35 min"
    assert notice.text == (
        "Your watchlist was watched for 25 min of 60 min (41.67 %). Blind for 35 min: no Fyers session. "
        f"Signals: {fresh} in time, {late} late. Fyers does not serve NSE:INFY-EQ."
    )


# ---- sentences


def said(stretches: list[BlindStretch], *, watched: int = 100, **changes) -> str:
    """Return the text for a day with these stretches."""
    spans = ((OPENING, OPENING + timedelta(minutes=watched)),) if watched else ()
    found = Coverage(MONDAY, spans, tuple(stretches), timedelta(minutes=375))
    summary = Summary(found, **{"fresh": 0, "late": 0, "refused": (), **changes})
    return compose_daily_summary("usr", summary, now=CLOSING, new_id=lambda prefix: f"{prefix}_1").text


def blind(reason: BlindReason, start: int, length: timedelta) -> BlindStretch:
    """Return a stretch so many minutes into the session."""
    return BlindStretch(
        OPENING + timedelta(minutes=start), OPENING + timedelta(minutes=start) + length, reason
    )


def test_several_reasons_are_told_with_their_time_the_longest_first() -> None:
    """Seconds stay seconds, so that no gap disappears."""
    text = said(
        [
            blind(BlindReason.FYERS_TROUBLE, 5, timedelta(seconds=20)),
            blind(BlindReason.NO_SESSION, 10, timedelta(minutes=7)),
            blind(BlindReason.FYERS_TROUBLE, 30, timedelta(seconds=25)),
        ]
    )

    assert (
        "Blind for 7 min: 7 min because no Fyers session; 45 s because Fyers did not answer properly." in text
    )


def test_a_day_that_nobody_wanted_is_told_as_such() -> None:
    """No percentage of nothing."""
    assert said([], watched=0) == (
        "Monitoring was not wanted in trading hours on that day, or your watchlist was empty. There was no signal."
    )


def test_a_long_list_of_refused_symbols_is_cut() -> None:
    """Twenty are named, the rest counted."""
    text = said([], refused=[Symbol(f"NSE:STOCK{number:02}-EQ") for number in range(23)])

    assert "NSE:STOCK19-EQ and 3 more." in text
    assert "NSE:STOCK20-EQ" not in text


@pytest.mark.parametrize("reason", list(BlindReason))
def test_each_reason_has_its_sentences(reason: BlindReason) -> None:
    """One for the page, one within the summary."""
    assert describe_blindness(reason).endswith(".")
    assert "Blind for 5 min: " in said([blind(reason, 0, timedelta(minutes=5))])
