"""The daily summary: what was watched, what was missed and why, and whether a login is needed next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.coverage import Coverage
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.outages import SymbolStretch
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.outlook import Outlook
from hullwatch.domain.signals.signals import SignalCounts
from hullwatch.services.texts.obstacles import OBSTACLE_TEXTS, symbol_name
from hullwatch.services.texts.times import at_ist, in_ist

_MOST_UNMONITORED: Final = 3
_MOST_SYMBOLS: Final = 20
"""A watchlist has up to a hundred symbols."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One account's day."""

    coverage: Coverage
    signals: SignalCounts
    refused: Sequence[Symbol]
    """Symbols of the watchlist that Fyers does not serve."""
    outlook: Outlook | None
    """The session at the next market open; `None` if nothing will be watched then."""
    symbols: Sequence[SymbolStretch] = ()
    """When single symbols were not monitored; refused ones are named by `refused`."""


def summary_incident(day: date) -> str:
    """Return the incident id that lets each user get one summary of a day."""
    return f"day-{day.isoformat()}"


def compose_daily_summary(
    user_id: str, summary: Summary, *, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the summary: watched and blind time, signals, refused symbols, and the next login."""
    found = summary.coverage
    sentences = [
        _watched(found),
        _blind(found),
        _signals(summary),
        _refused(summary.refused),
        _unmonitored(summary.symbols),
        _outlook(summary.outlook),
    ]
    return Notification(
        id=new_id("ntc"),
        user_id=user_id,
        kind=NotificationKind.DAILY_SUMMARY,
        title=f"{found.day.day} {found.day:%B}: {_headline(summary)}",
        text=" ".join(sentence for sentence in sentences if sentence),
        created_at=now,
        incident_id=summary_incident(found.day),
    )


def _headline(summary: Summary) -> str:
    found = summary.coverage
    if found.percent is None:
        return "monitoring was off"
    if not found.blind and (summary.symbols or summary.refused):
        return "watched, but not every symbol"
    if not found.blind:
        return "watched throughout"
    return f"watched {_watched_time(found)}, blind {_time(found.blind)}"


def _watched(found: Coverage) -> str:
    if found.percent is None:
        return "Monitoring was off in trading hours, or your watchlist was empty."
    wanted = _time(found.watched + found.blind)
    return f"Your watchlist was watched for {_watched_time(found)} of {wanted} ({found.percent:g} %)."


def _blind(found: Coverage) -> str:
    if not found.blind:
        return ""
    reasons = [
        f"{_time(time)} because {OBSTACLE_TEXTS[reason.obstacle].past}"
        for reason, time in found.blind_by_reason.items()
    ]
    if len(reasons) == 1:
        return f"Blind for {reasons[0]}."
    return f"Blind for {_time(found.blind)}: {'; '.join(reasons)}."


def _signals(summary: Summary) -> str:
    found = summary.signals
    if found == SignalCounts():
        return "There was no signal."
    late = f", {found.late} late" if found.late else ""
    withdrawn = (
        f", and {found.withdrawn} withdrawn because Fyers changed its history" if found.withdrawn else ""
    )
    return f"Signals: {found.on_time} on time{late}{withdrawn}."


def _refused(symbols: Sequence[Symbol]) -> str:
    if not symbols:
        return ""
    named = sorted(symbol.text for symbol in symbols)
    more = f" and {len(named) - _MOST_SYMBOLS} more" if len(named) > _MOST_SYMBOLS else ""
    return f"Fyers does not serve {', '.join(named[:_MOST_SYMBOLS])}{more}."


def _unmonitored(stretches: Sequence[SymbolStretch]) -> str:
    """Return how long each symbol was not monitored, the longest first; what concerns all symbols is blind time."""
    times: dict[tuple[Symbol, Obstacle], timedelta] = {}
    for one in stretches:
        if one.symbol is not None and one.obstacle is not Obstacle.SYMBOL_REFUSED:
            key = (one.symbol, one.obstacle)
            times[key] = times.get(key, timedelta()) + one.ended_at - one.began_at
    if not times:
        return ""
    longest = sorted(times.items(), key=lambda item: (-item[1], item[0][0].text))
    named = [
        f"{symbol_name(symbol)} for {_time(time)}, because {OBSTACLE_TEXTS[obstacle].fill(symbols='it').past}"
        for (symbol, obstacle), time in longest[:_MOST_UNMONITORED]
    ]
    rest = len(longest) - len(named)
    more = f"; and {rest} more" if rest else ""
    return f"Not monitored: {'; '.join(named)}{more}."


def _watched_time(found: Coverage) -> str:
    """Return the watched time, rounded so that it and the blind time add up and a day with a gap is not shown as a whole one."""
    return _minutes(_seconds(found.watched + found.blind) - _seconds(found.blind))


def _time(duration: timedelta) -> str:
    return _minutes(_seconds(duration))


def _seconds(duration: timedelta) -> int:
    """Return whole seconds, at least one for any time."""
    return max(1, round(duration.total_seconds())) if duration else 0


def _minutes(seconds: int) -> str:
    """Return ``12 min 5 s``."""
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _outlook(outlook: Outlook | None) -> str:
    if outlook is None:
        return "Nothing will be watched on the next trading day, so you do not need to log in."
    opens = f"{in_ist(outlook.opens_at)}, when the market opens"
    if outlook.expires_at is None:
        return f"There is no Fyers session. Log in between {in_ist(outlook.log_in_from)} and {opens}."
    if not outlook.needs_login:
        return (
            f"Your Fyers session is valid until {in_ist(outlook.expires_at)}. You do not need to log in before "
            f"{in_ist(outlook.opens_at)}, when the market opens."
        )
    expires = f"Your Fyers session expires {at_ist(outlook.expires_at)}"
    if outlook.expiry_note:
        return f"{expires}, before the market opens {at_ist(outlook.opens_at)}. {outlook.expiry_note}"
    return f"{expires}. Log in between {in_ist(max(outlook.expires_at, outlook.log_in_from))} and {opens}."
