"""Each kind of wrong or missing market data: thirty variations side by side, on one account's watchlist.

After each candle the signals that hold are those of the final, true candles (`play.Play.compare`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from services.environment import ALICE, CLOSING, OPENING, fyers_id

from hullwatch.domain.failures import BrokerFailure, BrokerService, NotPermitted, RateLimited, Unavailable
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import WatchStatus
from journeys.market.play import CANDLES, CHECK_AT, Play, begin, closes_after
from journeys.market.script import STEP, Line, Span, other_close

LAST_HOUR = CLOSING - timedelta(hours=1)
TUESDAY = OPENING + timedelta(days=1)
HISTORY = BrokerService.HISTORY
SYMBOL_FAILURES: list[BrokerFailure | None] = [
    Unavailable(HISTORY, cause="http_500", http_status=500),
    NotPermitted(HISTORY, code=-403, http_status=403, message="no permission"),
    None,
]


def polite(line: Line, played: Sequence[Candle], random: Random) -> None:
    """Change nothing."""


def final_close_late(shortest_s: float, longest_s: float) -> Callable[[Line, Sequence[Candle], Random], None]:
    """Make half of the final closes late, that of the last candle excepted, after which nothing is read."""

    def change(line: Line, played: Sequence[Candle], random: Random) -> None:
        for candle in played[:-1]:
            if random.random() < 0.5:
                final_at = candle.opened_at + STEP + timedelta(seconds=random.uniform(shortest_s, longest_s))
                early = other_close(candle, random)
                line.versions[candle.opened_at] = [(candle.opened_at + STEP, early), (final_at, candle)]

    return change


def later(candle: Candle, random: Random) -> datetime:
    """Return a moment between two closes, up to five candles after this one."""
    return candle.opened_at + STEP * random.randrange(1, 6) + timedelta(seconds=150)


def early(played: Sequence[Candle]) -> list[Candle]:
    """Return the candles with enough others after them for any correction."""
    return [candle for candle in played[1:] if candle.opened_at <= played[-1].opened_at - 7 * STEP]


def revised(line: Line, played: Sequence[Candle], random: Random) -> None:
    """Correct some closes while newer candles are in use already."""
    for candle in random.sample(early(played), min(4, len(early(played)))):
        wrong = other_close(candle, random)
        line.versions[candle.opened_at] = [(candle.opened_at + STEP, wrong), (later(candle, random), candle)]


def withheld(line: Line, played: Sequence[Candle], random: Random) -> None:
    """Withhold some candles until their successors have been read."""
    for candle in random.sample(early(played), min(3, len(early(played)))):
        line.versions[candle.opened_at] = [(candle.opened_at, None), (later(candle, random), candle)]


def without_trades(least: float, most: float) -> Callable[[Line, Sequence[Candle], Random], None]:
    """Remove a share of the candles, because nothing was traded in them."""

    def change(line: Line, played: Sequence[Candle], random: Random) -> None:
        share = random.uniform(least, most)
        quiet = {candle.opened_at for candle in played if random.random() < share}
        line.use([candle for candle in line.final if candle.opened_at not in quiet])

    return change


def off_the_grid(line: Line, played: Sequence[Candle], random: Random) -> None:
    """Let the candles of the day open one to four minutes after the steps from the market open."""
    moved = timedelta(minutes=random.randrange(1, 5))
    line.use(
        [
            replace(candle, opened_at=candle.opened_at + moved)
            if candle.opened_at >= played[0].opened_at
            else candle
            for candle in line.final
        ]
    )


async def test_a_polite_market_gives_exactly_the_true_signals():
    """The comparison itself: without a fault nothing differs, nothing is late and nothing is corrected."""
    play = await begin(polite, seed=1)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()
    assert len(play.signals()) > 100
    assert not any(one.is_late or one.revision > 1 for one in play.signals())


async def test_a_final_close_two_seconds_late_gives_no_wrong_signal():
    """A signal rests on two equal readings, the second one at least 3 s after the close."""
    play = await begin(final_close_late(0.0, 2.0), seed=2)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()
    assert [one for one in play.signals() if one.withdrawn_at is not None] == []


@pytest.mark.parametrize(("shortest_s", "longest_s"), [(2.0, 12.0), (12.0, 290.0)])
async def test_a_later_final_close_leaves_no_wrong_signal(shortest_s: float, longest_s: float):
    """It is corrected when the candle is read again, at the latest with its successor."""
    play = await begin(final_close_late(shortest_s, longest_s), seed=3)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()


async def test_a_revised_candle_corrects_its_signals():
    """Up to five candles later; the closes after it are right, but their averages were not."""
    play = await begin(revised, seed=4)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()
    assert any(one.withdrawn_at is not None for one in play.signals())


async def test_a_candle_after_its_successors_is_used():
    """Without it the signals of the next candles may have been other ones."""
    play = await begin(withheld, seed=5)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()
    assert any(one.withdrawn_at is not None for one in play.signals())


@pytest.mark.parametrize(("least", "most"), [(0.05, 0.3), (0.6, 0.95)])
async def test_slots_without_trades_are_no_gap(least: float, most: float):
    """A share misses a slot now and then; an option is traded in few."""
    play = await begin(without_trades(least, most), seed=6)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()
    assert not any(one.is_late or one.revision > 1 for one in play.signals())
    assert play.status() is WatchStatus.WATCHING


async def test_candles_off_the_grid_are_used_as_they_are():
    """They cost no more than two calls each."""
    play = await begin(off_the_grid, seed=7)
    await play.play(closes_after(OPENING, 4))
    before = len([call for call in play.env.broker.calls if call.name == "candles"])

    await play.play(closes_after(OPENING + 4 * STEP, CANDLES - 4))

    assert play.obstacles() == {line.number: Obstacle.OFF_GRID for line in play.lines}
    calls = len([call for call in play.env.broker.calls if call.name == "candles"]) - before
    assert calls <= 2 * len(play.lines) * (CANDLES - 4)


async def test_failures_of_single_symbols_harm_no_other():
    """Every third symbol fails for some minutes; the others are never late, and nothing is missing in the end."""

    def failing(line: Line, played: Sequence[Candle], random: Random) -> None:
        if not line.number % 3:
            begins_at = OPENING + timedelta(minutes=random.uniform(5, 60))
            failure = SYMBOL_FAILURES[line.number // 3 % len(SYMBOL_FAILURES)]
            line.faults.append(Span(begins_at, begins_at + timedelta(minutes=random.uniform(2, 30)), failure))

    play = await begin(failing, seed=8)
    for closed_at in closes_after(OPENING, CANDLES):
        await play.play([closed_at])
        assert play.status() is WatchStatus.WATCHING

    await play.compare_averages()
    healthy = {watch_id for watch_id, line in play.watches.items() if not line.faults}
    assert not any(one.is_late or one.revision > 1 for one in play.signals() if one.watch_id in healthy)
    assert any(one.is_late for one in play.signals() if one.watch_id not in healthy)


async def test_a_rate_limit_delays_signals_and_loses_none():
    """Fyers refuses up to forty calls after each close, so every line is refused again and again."""
    play = await begin(polite, seed=9)
    random = Random(9)

    for closed_at in closes_after(OPENING, CANDLES):
        limit = RateLimited(HISTORY, retry_after_s=random.uniform(1, 20))
        play.env.broker.queue(fyers_id(ALICE), limit, times=random.randrange(1, 5))
        await play.play([closed_at], check_at=timedelta(seconds=150))

    await play.compare_averages()


@pytest.mark.parametrize("seed", [12, 13])
async def test_any_mixture_ends_in_the_true_signals(seed: int):
    """Each line has two or three kinds at once; a fresh start at the end would find the same."""
    kinds = (final_close_late(0.0, 280.0), revised, withheld, without_trades(0.1, 0.5))

    def mixed(line: Line, played: Sequence[Candle], random: Random) -> None:
        for kind in random.sample(kinds, random.randrange(2, 4)):
            kind(line, [candle for candle in line.final if candle in played], random)

    play = await begin(mixed, seed=seed)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()


async def test_a_restart_in_between_changes_nothing():
    """Corrections that come while the server is down are found by its first comparison."""

    def mixed(line: Line, played: Sequence[Candle], random: Random) -> None:
        without_trades(0.1, 0.6)(line, played, random)
        revised(line, [candle for candle in line.final if candle in played], random)

    play = await begin(mixed, seed=15)
    for first in (0, 7, 14):
        await play.play(closes_after(OPENING + first * STEP, 7))
        await play.restart()

    await play.play(closes_after(OPENING + 21 * STEP, 1))

    await play.compare_averages()


async def test_a_candle_that_disappears_is_removed():
    """History had it at an odd time, or in a slot without trades, and takes it back.

    The comparison waits three minutes: after a candle at an odd time the next one is expected as oddly.
    """

    def disappearing(line: Line, played: Sequence[Candle], random: Random) -> None:
        wrong = [other_close(candle, random) for candle in random.sample(early(played), 2)]
        if line.number % 2:
            moved = timedelta(minutes=random.choice((1, 2)))
            wrong = [replace(candle, opened_at=candle.opened_at + moved) for candle in wrong]
        else:
            removed = {candle.opened_at for candle in wrong}
            line.use([candle for candle in line.final if candle.opened_at not in removed])
        line.phantoms += [(Span(candle.opened_at, later(candle, random)), candle) for candle in wrong]

    play = await begin(disappearing, seed=16)

    await play.play(closes_after(OPENING, CANDLES), check_at=timedelta(minutes=3))

    await play.compare_averages()


async def test_a_candle_that_is_taken_back_for_a_while_returns():
    """Its signal is withdrawn and holds again, with every combination of successors in between."""

    def flickering(line: Line, played: Sequence[Candle], random: Random) -> None:
        for candle in random.sample(early(played), 3):
            closed_at = candle.opened_at + STEP
            hidden_at = closed_at + random.randrange(3) * STEP + timedelta(seconds=150)
            shown_at = hidden_at + random.randrange(1, 3) * STEP
            line.versions[candle.opened_at] = [(closed_at, candle), (hidden_at, None), (shown_at, candle)]

    play = await begin(flickering, seed=20)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()
    assert any(one.revision > 2 and one.withdrawn_at is None for one in play.signals())


async def test_hours_are_read_again_until_fifteen_minutes_after():
    """Their signals are worth a correction before the next hour closes."""
    quarter = timedelta(minutes=15)
    play = await begin(final_close_late(0.0, 840.0), seed=17, resolution=Resolution("60"), candles=8)
    hours = [OPENING + number * timedelta(hours=1) for number in range(1, 7)]

    await play.play([*hours, CLOSING], read_at=quarter - timedelta(seconds=30), check_at=quarter + CHECK_AT)

    await play.compare_averages()


async def test_implausible_quotes_change_no_signal():
    """Prices of a billionth, and of ten times too much (review of November 2026, case 15)."""

    def misquoted(line: Line, played: Sequence[Candle], random: Random) -> None:
        line.quote_factor = random.choice((1e-9, 0.3, 10.0, 1.0))

    play = await begin(misquoted, seed=18)

    await play.play(closes_after(OPENING, CANDLES))

    await play.compare_averages()
    assert not any(one.is_late or one.revision > 1 for one in play.signals())


async def test_history_that_ends_while_quotes_go_on_is_named():
    """An empty answer is no quiet market: the quote's volume grows (OpenAlgo issue 1661)."""
    begins_at = OPENING + timedelta(minutes=31)

    def ending(line: Line, played: Sequence[Candle], random: Random) -> None:
        if not line.number % 3:
            line.faults.append(Span(begins_at, begins_at + timedelta(minutes=40)))

    play = await begin(ending, seed=19, interval_s=10.0)
    await play.play(closes_after(OPENING, 12))

    without_history = {line.number for line in play.lines if line.faults}
    assert play.obstacles() == dict.fromkeys(without_history, Obstacle.NO_HISTORY)
    assert play.status() is WatchStatus.WATCHING
    await play.play(closes_after(OPENING + 12 * STEP, CANDLES - 12))
    await play.compare_averages()
    assert play.obstacles() == {}


async def log_in_on_tuesday(play: Play) -> None:
    """Let the night pass; access tokens expire at 06:00."""
    await play.env.clock.advance_to(TUESDAY - timedelta(minutes=30))
    await play.env.log_in(ALICE)


def split(*, is_rescaled: bool) -> Callable[[Line, Sequence[Candle], Random], None]:
    """Make Tuesday the ex-date of a split or bonus; history before it is re-scaled in the night, at the open or later."""

    def change(line: Line, played: Sequence[Candle], random: Random) -> None:
        factor = random.choice((2.0, 5.0, 10.0, 1.5, 4 / 3))
        before = [candle for candle in line.final if candle.opened_at < TUESDAY - timedelta(hours=6)]
        old = [scaled(candle, factor) for candle in before]
        if not is_rescaled:
            line.use([*old, *line.final[len(old) :]])
            line.restarts.append(line.final[len(old)].opened_at)
            return
        rescaled_at = random.choice(
            (
                CLOSING + timedelta(hours=5),
                TUESDAY - timedelta(hours=1),
                TUESDAY,
                TUESDAY + timedelta(minutes=22),
            )
        )
        for candle, unscaled in zip(before, old, strict=True):
            line.versions[candle.opened_at] = [(candle.opened_at + STEP, unscaled), (rescaled_at, candle)]

    return change


def scaled(candle: Candle, factor: float) -> Candle:
    """Return a candle before a split."""
    prices = {name: round(getattr(candle, name) * factor, 2) for name in ("open", "high", "low", "close")}
    return replace(candle, **prices, volume=int(candle.volume / factor))


@pytest.mark.parametrize("is_rescaled", [True, False])
async def test_a_split_gives_no_false_signal(*, is_rescaled: bool):
    """With re-scaled history the average goes on; without it, it starts anew on the ex-date."""
    play = await begin(split(is_rescaled=is_rescaled), seed=10, starts_at=LAST_HOUR, days=2)
    await play.play(closes_after(LAST_HOUR, 12))
    await log_in_on_tuesday(play)

    await play.play(closes_after(TUESDAY, 1))
    is_anew = play.obstacles()
    await play.play(closes_after(TUESDAY + STEP, 13))

    await play.compare_averages()
    if not is_rescaled:
        assert is_anew == dict.fromkeys(range(len(play.lines)), Obstacle.PRICE_JUMP)
    assert play.obstacles() == {}


async def test_a_candle_revised_overnight_is_found_before_the_market_opens():
    """The comparison of the whole warm-up finds what the overlap of six candles no longer sees."""

    def corrected_at_night(line: Line, played: Sequence[Candle], random: Random) -> None:
        first = line.final.index(played[0]) - 3
        for candle in random.sample(line.final[first : first + 15], 3):
            wrong = other_close(candle, random)
            night = CLOSING + timedelta(hours=random.uniform(1, 12))
            line.versions[candle.opened_at] = [(candle.opened_at + STEP, wrong), (night, candle)]

    play = await begin(corrected_at_night, seed=14, starts_at=LAST_HOUR, days=2)
    await play.env.clock.advance_to(CLOSING + timedelta(minutes=20))
    await log_in_on_tuesday(play)

    await play.env.clock.advance_to(TUESDAY - timedelta(seconds=5))

    play.compare(play.env.clock.now())
    await play.compare_averages()


async def test_the_closing_auction_decides_the_last_candle():
    """Since August 2026 its one trade comes up to 15 minutes after continuous trading, in the last candle."""

    def auction(line: Line, played: Sequence[Candle], random: Random) -> None:
        last = played[-1]
        final_at = CLOSING + timedelta(seconds=random.uniform(1, 840))
        line.versions[last.opened_at] = [(CLOSING, other_close(last, random)), (final_at, last)]
        if line.number % 2:
            quiet = {last.opened_at - STEP, last.opened_at - 2 * STEP}
            line.use([candle for candle in line.final if candle.opened_at not in quiet])

    play = await begin(auction, seed=11, starts_at=LAST_HOUR, candles=12, calendar=nse_calendar())
    await play.play(closes_after(LAST_HOUR, 12))

    await play.env.clock.advance_to(CLOSING + timedelta(minutes=15) + CHECK_AT)
    play.compare(play.env.clock.now())

    await play.compare_averages()
