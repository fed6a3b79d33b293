"""The values of each topic of the data stream, in their order, as integers."""

from collections.abc import Callable
from dataclasses import dataclass

from hullwatch.simulator.data_routes import circuit, depth_levels
from hullwatch.simulator.market.calendar import day_of
from hullwatch.simulator.market.instruments import SEGMENTS, Instrument
from hullwatch.simulator.market.prices import Market


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as subscribed, `sf|nse_cm|3045`, and the instrument it is about."""

    name: str
    instrument: Instrument

    @property
    def names(self) -> tuple[str, str, str]:
        """Segment, key and name, as a snapshot ends.

        The key is that of the topic. The Node SDK finds the values by it, and for an index drops the rest of the
        frame when it is the exchange token (a real feed has the index's name, Kotak-Neo/kotak-neo-api issue 170).
        """
        _, segment, key = self.name.split("|")
        return segment, key, self.instrument.name


class Feed:
    """Values of topics at whole simulated seconds; each is computed once for all connections."""

    def __init__(self, market: Market) -> None:
        self._market = market
        # A client without the list of index names subscribes to the bare name of an index's symbol.
        self._by_key = {
            (instrument.segment.feed, key): instrument
            for instrument in market.instruments.values()
            for key in (instrument.key, instrument.symbol.partition(":")[2].removesuffix("-INDEX"))
            if instrument.is_index or key == instrument.key
        }
        self._as_of = (-1, 0)
        self._values: dict[str, tuple[int, ...]] = {}

    def topic(self, name: str, now: float) -> Topic | None:
        """Return the topic of this name; `None` if nothing listed has it (an index has no depth)."""
        kind, _, rest = name.partition("|")
        feed, _, key = rest.partition("|")
        instrument = self._by_key.get((feed, key)) or self._contract(feed, key, now)
        if instrument is None or kind not in _KINDS or instrument.is_index != (kind == "if"):
            return None
        return Topic(name, instrument)

    def _contract(self, feed: str, key: str, now: float) -> Instrument | None:
        segment = _CONTRACT_SEGMENTS.get(feed)
        if segment is None or not (key.isascii() and key.isdecimal() and len(key) <= 9):
            return None
        return self._market.source.contract_of_token(segment, int(key), day_of(now))

    def values(self, topic: Topic, now: float) -> tuple[int, ...]:
        """Return the values of a topic now."""
        second = int(now)
        if (second, self._market.version) != self._as_of:
            self._as_of = (second, self._market.version)
            self._values.clear()
        values = self._values.get(topic.name)
        if values is None:
            make = _KINDS[topic.name[:2]]
            values = self._values[topic.name] = make(self._market, topic.instrument, second)
        return values


def _units(instrument: Instrument, *prices: float) -> list[int]:
    """Return prices in the smallest unit of the stream: paise, for a currency hundredths of a paisa."""
    scale = 10**instrument.decimals
    return [round(price * scale) for price in prices]


def _scrip(market: Market, instrument: Instrument, now: int) -> tuple[int, ...]:
    shot = market.snapshot(instrument.symbol, now)
    bids, offers = depth_levels(instrument, shot, shot.traded_at)
    ltp, bid, ask, average, low, high, lower, upper, opened, before = _units(
        instrument, shot.ltp, bids[0]["price"], offers[0]["price"], shot.average, shot.low, shot.high,
        circuit(instrument, shot, -1), circuit(instrument, shot, 1), shot.open, shot.prev_close,
    )  # fmt: skip
    return (
        ltp, shot.volume, shot.traded_at, shot.traded_at, bids[0]["volume"], offers[0]["volume"], bid, ask,
        shot.last_quantity, sum(level["volume"] for level in bids) * 20,
        sum(level["volume"] for level in offers) * 20, average, market.interest(instrument.symbol, now).now, low,
        high, 0, 0, lower, upper, opened, before,
    )  # fmt: skip


def _index(market: Market, instrument: Instrument, now: int) -> tuple[int, ...]:
    shot = market.snapshot(instrument.symbol, now)
    ltp, before, high, low, opened = _units(
        instrument, shot.ltp, shot.prev_close, shot.high, shot.low, shot.open
    )
    return ltp, before, shot.traded_at, high, low, opened


def _depth(market: Market, instrument: Instrument, now: int) -> tuple[int, ...]:
    shot = market.snapshot(instrument.symbol, now)
    bids, offers = depth_levels(instrument, shot, shot.traded_at)
    both = (bids, offers)
    return (
        *_units(instrument, *(level["price"] for side in both for level in side)),
        *(level["volume"] for side in both for level in side),
        *(level["ord"] for side in both for level in side),
    )


_CONTRACT_SEGMENTS = {segment.feed: segment for segment in SEGMENTS if not segment.is_cash}
_KINDS: dict[str, Callable[[Market, Instrument, int], tuple[int, ...]]] = {
    "sf": _scrip,
    "if": _index,
    "dp": _depth,
}
