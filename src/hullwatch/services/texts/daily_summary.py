"""The sentences of the daily summary and of blind stretches: pure composing, no storing and no sending."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.coverage import BlindReason, Coverage
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.outlook import Outlook
from hullwatch.services.texts.notices import in_ist

_SENTENCES: Final[Mapping[BlindReason, str]] = {
    BlindReason.STARTING: "Watching had just been started and the first round was not done yet.",
    BlindReason.NO_SESSION: "There was no Fyers session, so Fyers could not be asked for you.",
    BlindReason.CHECKING_LOGIN: "Fyers had refused a call and your login was being checked a second time.",
    BlindReason.FYERS_UNAVAILABLE: "Fyers did not answer properly.",
    BlindReason.RATE_LIMITED: "Fyers had asked us to wait.",
    BlindReason.SERVER_DOWN: "This server was not running.",
    BlindReason.SERVER_BUSY: "This server was too busy or stood still, so that rounds of watching fell out.",
    BlindReason.SLOW_CYCLE: "A round took so long that the next ones fell out: Fyers answered slowly or much had to be fetched.",
}
_SHORT: Final[Mapping[BlindReason, str]] = {
    BlindReason.STARTING: "watching was starting",
    BlindReason.NO_SESSION: "no Fyers session",
    BlindReason.CHECKING_LOGIN: "your login was being checked",
    BlindReason.FYERS_UNAVAILABLE: "Fyers did not answer properly",
    BlindReason.RATE_LIMITED: "Fyers asked us to wait",
    BlindReason.SERVER_DOWN: "the server was not running",
    BlindReason.SERVER_BUSY: "the server was too busy",
    BlindReason.SLOW_CYCLE: "rounds took too long",
}
_MOST_SYMBOLS: Final = 20
"""Named in one notice; a watchlist may hold a hundred."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a day's summary is about."""

    coverage: Coverage
    fresh: int
    """Signals that were found in time."""
    late: int
    refused: Sequence[Symbol]
    """Symbols of the watchlist that Fyers does not serve."""
    outlook: Outlook | None
    """How the account will stand at the next bell; `None` where nothing is to be watched then."""


def describe_blindness(reason: BlindReason) -> str:
    """Return the sentence for why an account was not watched."""
    return _SENTENCES[reason]


def summary_incident(day: date) -> str:
    """Return what makes the summary of a day exist once for each user."""
    return f"day-{day.isoformat()}"


def compose_daily_summary(
    user_id: str, summary: Summary, *, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell a user how a day went: minutes watched and blind with the reasons, signals in time and late, symbols refused; and whether a login is needed before the next bell."""
    found = summary.coverage
    sentences = [
        _watched(found),
        _blind(found),
        _signals(summary),
        _refused(summary.refused),
        _outlook(summary.outlook),
    ]
    return Notification(
        id=new_id("ntc"),
        user_id=user_id,
        kind=NotificationKind.DAILY_SUMMARY,
        title=f"{found.day.day} {found.day:%B}: {_headline(found)}",
        text=" ".join(sentence for sentence in sentences if sentence),
        created_at=now,
        incident_id=summary_incident(found.day),
    )


def _headline(found: Coverage) -> str:
    if found.percent is None:
        return "nothing was to be watched"
    if not found.blind:
        return "watched throughout"
    return f"watched {_watched_time(found)}, blind {_time(found.blind)}"


def _watched(found: Coverage) -> str:
    if found.percent is None:
        return "Monitoring was not wanted in trading hours on that day, or your watchlist was empty."
    wanted = _time(found.watched + found.blind)
    return f"Your watchlist was watched for {_watched_time(found)} of {wanted} ({found.percent:g} %)."


def _blind(found: Coverage) -> str:
    if not found.blind:
        return ""
    reasons = [f"{_time(time)} because {_SHORT[reason]}" for reason, time in found.blind_by_reason.items()]
    if len(reasons) == 1:
        (reason,) = found.blind_by_reason
        return f"Blind for {_time(found.blind)}: {_SHORT[reason]}."
    return f"Blind for {_time(found.blind)}: {'; '.join(reasons)}."


def _signals(summary: Summary) -> str:
    if not summary.fresh and not summary.late:
        return "There was no signal."
    late = f", {summary.late} late" if summary.late else ""
    return f"Signals: {summary.fresh} in time{late}."


def _refused(symbols: Sequence[Symbol]) -> str:
    if not symbols:
        return ""
    named = sorted(symbol.text for symbol in symbols)
    more = f" and {len(named) - _MOST_SYMBOLS} more" if len(named) > _MOST_SYMBOLS else ""
    return f"Fyers does not serve {', '.join(named[:_MOST_SYMBOLS])}{more}."


def _watched_time(found: Coverage) -> str:
    """Return the time that was watched, so that it and the blind time are told to add up: a day with a gap is never told as a whole one."""
    return _spoken(_seconds(found.watched + found.blind) - _seconds(found.blind))


def _time(duration: timedelta) -> str:
    return _spoken(_seconds(duration))


def _seconds(duration: timedelta) -> int:
    """Return whole seconds; what is shorter than one counts as one."""
    return max(1, round(duration.total_seconds())) if duration else 0


def _spoken(seconds: int) -> str:
    """Return a duration as people say it, to the second."""
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _outlook(outlook: Outlook | None) -> str:
    if outlook is None:
        return "As things stand nothing is to be watched on the next trading day, so no login is needed."
    bell = f"the next bell at {in_ist(outlook.opens_at)}"
    if outlook.ends_at is None:
        return f"You have no Fyers session: log in between {in_ist(outlook.log_in_from)} and {bell}."
    if not outlook.needs_login:
        return f"No login is needed before {bell}: your Fyers session lasts until {in_ist(outlook.ends_at)}."
    if outlook.expiry_note:
        return f"Your Fyers session ends at {in_ist(outlook.ends_at)}, before {bell}. {outlook.expiry_note}"
    log_in_from = max(outlook.ends_at, outlook.log_in_from)
    return f"Your Fyers session ends at {in_ist(outlook.ends_at)}: log in between {in_ist(log_in_from)} and {bell}."
