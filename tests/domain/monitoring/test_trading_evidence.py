"""What quotes five seconds apart show about the slots of a symbol."""

from datetime import UTC, datetime, timedelta

import pytest

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.trading_evidence import TradingEvidence

SHARE, INDEX = Symbol("NSE:SBIN-EQ"), Symbol("NSE:NIFTY50-INDEX")
OPENED = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
CLOSED = OPENED + timedelta(minutes=5)


def evidence(volumes: dict[int, int], *, symbol: Symbol = SHARE) -> TradingEvidence:
    """Return evidence from quotes every five seconds; `volumes` gives the volume from a second after the opening on."""
    found, volume = TradingEvidence(), 0
    for second in range(-30, 320, 5):
        volume = volumes.get(second, volume)
        quote = Quote(symbol, 100.0 + volume, volume=None if symbol.is_index else volume)
        found.record([quote], OPENED + timedelta(seconds=second))
    return found


def test_a_change_within_the_slot_is_a_trade() -> None:
    """Trades of the next slot do not hide it."""
    assert evidence({100: 7, 305: 9, 310: 12}).has_traded(SHARE, OPENED, CLOSED) is True


def test_an_index_trades_when_its_price_changes() -> None:
    """Fyers gives no volume for an index."""
    assert evidence({100: 7}, symbol=INDEX).has_traded(INDEX, OPENED, CLOSED) is True


def test_equal_volumes_around_the_slot_show_that_nothing_traded() -> None:
    """So its missing candle is asked for no more."""
    assert evidence({-20: 7}).has_traded(SHARE, OPENED, CLOSED) is False


def test_a_change_across_two_slots_shows_nothing() -> None:
    """The trade may have been in either slot."""
    assert evidence({-5: 1, 0: 7}).has_traded(SHARE, OPENED + timedelta(seconds=-3), CLOSED) is None
    assert evidence({300: 7}).has_traded(SHARE, OPENED, CLOSED - timedelta(seconds=2)) is None


def test_quotes_with_a_gap_show_nothing() -> None:
    """The volume may have changed in the gap."""
    found = TradingEvidence()
    for second in (-30, 320):
        found.record([Quote(SHARE, 100.0, volume=second + 30)], OPENED + timedelta(seconds=second))
    assert found.has_traded(SHARE, OPENED, CLOSED) is None


def test_implausible_quotes_are_no_evidence() -> None:
    """A price far from the previous close is not used for anything."""
    found = TradingEvidence()
    found.record([Quote(SHARE, 1.0, previous_close=100.0, volume=5)], OPENED)
    assert not found.has_volume(SHARE, OPENED, CLOSED)


@pytest.mark.parametrize("apart_s", [5, 30, 120])
def test_quotes_far_apart_show_trades_too(apart_s: int) -> None:
    """The pace of the quotes is a setting, and Fyers' limits make it slower."""
    found, still = TradingEvidence(), TradingEvidence()
    for second in range(-120, 361, apart_s):
        at = OPENED + timedelta(seconds=second)
        found.record([Quote(SHARE, 100.0, volume=1000 + second), Quote(INDEX, 100.0 + second)], at)
        still.record([Quote(SHARE, 100.0, volume=1000), Quote(INDEX, 100.0)], at)

    for symbol in (SHARE, INDEX):
        assert found.has_traded(symbol, OPENED, CLOSED) is True
        assert found.has_volume(symbol, OPENED, CLOSED) is True
    assert still.has_traded(SHARE, OPENED, CLOSED) is False
    assert still.has_volume(SHARE, OPENED, CLOSED) is True
    assert still.has_volume(INDEX, OPENED, CLOSED) is False
    is_dense = apart_s <= 60
    assert still.has_traded(INDEX, OPENED, CLOSED) is (False if is_dense else None)
