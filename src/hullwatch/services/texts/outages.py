"""The notices about symbols that are not monitored, about a missing permission, and about the end of either."""

from collections.abc import Callable, Sequence
from datetime import datetime

from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.monitoring.lines import Monitored
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.outages import SymbolOutage
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.services.texts.obstacles import (
    OBSTACLE_TEXTS,
    describe_obstacle,
    describe_partial,
    symbol_name,
)
from hullwatch.services.texts.times import in_ist


def compose_outages(
    user_id: str,
    outages: Sequence[SymbolOutage],
    found: Monitored,
    *,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Return one notice of outages that began at about the same time; `found` is the present state of all symbols."""
    first = outages[0]
    if first.symbol is None:
        kind, title = NotificationKind.PERMISSION_MISSING, OBSTACLE_TEXTS[Obstacle.NOT_PERMITTED].title
        text = describe_obstacle(Obstacle.NOT_PERMITTED)
    else:
        kind, title = NotificationKind.SYMBOLS_UNMONITORED, f"{_names(outages)} not monitored"
        action = OBSTACLE_TEXTS[first.obstacle].fill(symbols=first.symbol.text).action
        text = f"{describe_partial(found, today=ist_date(now))} {action}"
    return Notification(new_id("ntc"), user_id, kind, title, text, now, _incident(now))


def compose_recoveries(
    user_id: str, outages: Sequence[SymbolOutage], *, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return one notice of outages that have ended."""
    first, today = outages[0], ist_date(now)
    since = in_ist(min(one.began_at for one in outages), today=today)
    if first.symbol is None:
        kind, title = NotificationKind.PERMISSION_GRANTED, "Your Fyers app may read market data again"
        text = f"Monitoring continues. Candles since {since} are read, and signals in them are marked late."
    else:
        kind, title = NotificationKind.SYMBOLS_MONITORED, f"{_names(outages)} monitored again"
        text = f"Fyers serves the candles since {since} again. Signals in them are marked late."
        if all(one.obstacle is Obstacle.PRICE_JUMP for one in outages):
            text = "The average has enough candles after the jump, and gives signals again."
    incident_id = _incident(first.notified_at or now)
    return Notification(new_id("ntc"), user_id, kind, title, text, now, incident_id)


def _incident(notified_at: datetime) -> str:
    """Return the incident id that the notice of outages shares with that of their end."""
    return f"symbols-{int(notified_at.timestamp())}"


def _names(outages: Sequence[SymbolOutage]) -> str:
    names = [symbol_name(one.symbol) for one in outages if one.symbol is not None]
    if len(names) == 1:
        return f"{names[0]} is"
    return (
        f"{', '.join(names[:2])} and {len(names) - 2} more are"
        if len(names) > 2
        else f"{' and '.join(names)} are"
    )
