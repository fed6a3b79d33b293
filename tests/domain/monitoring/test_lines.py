"""Which symbols of a watchlist are monitored."""

from datetime import UTC, datetime

import pytest

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.lines import (
    UNMONITORED,
    Line,
    LineStatus,
    line_state,
    line_status,
    monitored,
)
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.texts.obstacles import describe_line, describe_partial

TATA, SBIN, GOLD = Symbol("NSE:TATAMOTORS-EQ"), Symbol("NSE:SBIN-EQ"), Symbol("BSE:SBIN-A")
SINCE = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
NO_HISTORY = Line(TATA, Obstacle.NO_HISTORY, SINCE)


def test_a_failure_of_one_symbol_is_no_outage() -> None:
    """The scope of the failure decides what the page shows."""
    state = line_state(
        has_average=True, is_current=False, outcome=Outcome.UNAVAILABLE, scope=FailureScope.SYMBOL
    )

    assert state is Obstacle.SYMBOL_UNAVAILABLE
    assert (
        line_state(
            has_average=True, is_current=False, outcome=Outcome.UNAVAILABLE, scope=FailureScope.SERVICE
        )
        is Obstacle.FYERS_UNAVAILABLE
    )


def test_missing_history_counts_although_the_answer_was_good() -> None:
    """An empty list beside a quote with volume is not a market without trades."""
    state = line_state(has_average=True, is_current=True, outcome=Outcome.NO_DATA, lacks_history=True)

    assert state is Obstacle.NO_HISTORY


def test_a_partial_watchlist_names_symbol_reason_and_time() -> None:
    """The user can see which symbols give no signals."""
    others = [Line(Symbol(f"NSE:S{n}-EQ")) for n in range(5)]
    found = monitored([NO_HISTORY, *others])

    assert (found.count, found.total, found.is_partial) == (5, 6, True)
    assert describe_partial(found, today=SINCE.date()) == (
        "5 of 6 symbols are monitored; TATAMOTORS: Fyers has no history for it since 09:15 IST."
    )


def test_of_many_missing_symbols_the_first_are_named() -> None:
    """A sentence with a hundred symbols is not read."""
    lines = [Line(Symbol(f"BSE:S{n}-A"), Obstacle.SYMBOL_REFUSED) for n in range(5)]

    text = describe_partial(monitored(lines))

    assert text.startswith("0 of 5 symbols are monitored; BSE:S0-A: Fyers does not serve it. BSE:S1-A:")
    assert text.endswith("2 more.")


def test_a_symbol_with_two_watches_counts_once() -> None:
    """It is monitored if each of its watches is; a young average is monitored."""
    found = monitored([Line(TATA), NO_HISTORY, Line(SBIN), Line(SBIN, Obstacle.TOO_YOUNG), Line(GOLD)])

    assert (found.count, found.total) == (2, 3)
    assert found.missing == (NO_HISTORY,)


@pytest.mark.parametrize(
    ("line", "account", "expected"),
    [
        (NO_HISTORY, WatchStatus.WATCHING, LineStatus.NO_HISTORY),
        (NO_HISTORY, WatchStatus.MARKET_CLOSED, LineStatus.NO_HISTORY),
        (NO_HISTORY, WatchStatus.NO_SESSION, LineStatus.NO_SESSION),
        (Line(SBIN), WatchStatus.WATCHING, LineStatus.WATCHING),
        (Line(SBIN, Obstacle.WARMING), WatchStatus.WATCHING, LineStatus.WARMING),
        (Line(SBIN, Obstacle.WARMING), WatchStatus.MARKET_CLOSED, LineStatus.MARKET_CLOSED),
        (Line(SBIN, Obstacle.NOT_PERMITTED), WatchStatus.NOT_PERMITTED, LineStatus.NOT_PERMITTED),
    ],
)
def test_a_watch_has_the_status_of_its_account_or_its_own(line, account, expected) -> None:
    """Without a session the session is what the user has to act on."""
    assert line_status(line, account) is expected


@pytest.mark.parametrize("account", WatchStatus)
def test_every_account_status_gives_a_status_of_its_watches(account) -> None:
    """Without a row, each request that shows a watch would fail."""
    obstacles = {
        line_state(has_average=False, is_current=is_current, outcome=outcome, scope=scope)
        for is_current in (True, False)
        for outcome in (None, *Outcome)
        for scope in (None, *FailureScope)
    }

    assert all(isinstance(line_status(Line(SBIN, one), account), LineStatus) for one in obstacles)


def test_a_watch_of_an_account_that_had_none_is_starting() -> None:
    """Monitoring was started first, and the watch was added before the next cycle."""
    assert line_status(Line(SBIN), WatchStatus.NO_WATCHES) is LineStatus.STARTING


@pytest.mark.parametrize("obstacle", sorted(UNMONITORED))
def test_every_missing_symbol_has_a_sentence_and_a_status(obstacle) -> None:
    """A row without a reason would explain nothing."""
    assert " it" in describe_line(Line(SBIN, obstacle, SINCE))
    assert LineStatus(obstacle.value).obstacle is obstacle
