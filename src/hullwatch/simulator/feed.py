"""The values of each topic of the data stream, in their order, as integers, with prices in paise."""

from collections.abc import Callable
from dataclasses import dataclass

from hullwatch.simulator.data_routes import circuit, depth_levels
from hullwatch.simulator.market.instruments import Instrument
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
        self._by_key = {
            f"{instrument.description if instrument.is_index else instrument.token}": instrument
            for instrument in market.instruments.values()
        }
        self._by_key |= {
            instrument.name: instrument for instrument in market.instruments.values() if instrument.is_index
        }
        self._as_of = (-1, 0)
        self._values: dict[str, tuple[int, ...]] = {}

    def topic(self, name: str) -> Topic | None:
        """Return the topic of this name; `None` if nothing listed has it (an index has no depth)."""
        kind, _, rest = name.partition("|")
        segment, _, key = rest.partition("|")
        instrument = self._by_key.get(key) if segment == "nse_cm" else None
        if instrument is None or kind not in _KINDS or instrument.is_index != (kind == "if"):
            return None
        return Topic(name, instrument)

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


def _paise(price: float) -> int:
    return round(price * 100)


def _scrip(market: Market, instrument: Instrument, now: int) -> tuple[int, ...]:
    shot = market.snapshot(instrument.symbol, now)
    bids, offers = depth_levels(instrument, shot, shot.traded_at)
    return (
        _paise(shot.ltp), shot.volume, shot.traded_at, shot.traded_at, bids[0]["volume"], offers[0]["volume"],
        _paise(bids[0]["price"]), _paise(offers[0]["price"]), shot.last_quantity,
        sum(level["volume"] for level in bids) * 20, sum(level["volume"] for level in offers) * 20,
        _paise(shot.average), 0, _paise(shot.low), _paise(shot.high), 0, 0,
        _paise(circuit(instrument, shot, -1)), _paise(circuit(instrument, shot, 1)), _paise(shot.open),
        _paise(shot.prev_close),
    )  # fmt: skip


def _index(market: Market, instrument: Instrument, now: int) -> tuple[int, ...]:
    shot = market.snapshot(instrument.symbol, now)
    return (
        _paise(shot.ltp), _paise(shot.prev_close), shot.traded_at, _paise(shot.high), _paise(shot.low),
        _paise(shot.open),
    )  # fmt: skip


def _depth(market: Market, instrument: Instrument, now: int) -> tuple[int, ...]:
    shot = market.snapshot(instrument.symbol, now)
    bids, offers = depth_levels(instrument, shot, shot.traded_at)
    both = (bids, offers)
    return (
        *(_paise(level["price"]) for side in both for level in side),
        *(level["volume"] for side in both for level in side),
        *(level["ord"] for side in both for level in side),
    )


_KINDS: dict[str, Callable[[Market, Instrument, int], tuple[int, ...]]] = {
    "sf": _scrip,
    "if": _index,
    "dp": _depth,
}
