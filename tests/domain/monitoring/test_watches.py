"""Tests watches and their status."""

from hullwatch.domain.monitoring.watches import MAX_WATCHES, WatchStatus

HARMLESS = {
    WatchStatus.WATCHING,
    WatchStatus.MARKET_CLOSED,
    WatchStatus.NOT_WANTED,
    WatchStatus.NO_WATCHES,
}


def test_a_status_is_blind_if_wanted_trading_is_missed() -> None:
    """It is not blind while cycles complete, the market is closed or nothing is wanted."""
    assert {status for status in WatchStatus if not status.is_blind} == HARMLESS


def test_a_full_watchlist_fits_into_a_minute_of_calls() -> None:
    """One history call for each symbol and two quotes calls a cycle stay within Fyers' 200 calls a minute."""
    quotes_calls = 2 * 60 // 5

    assert MAX_WATCHES + quotes_calls <= 170
