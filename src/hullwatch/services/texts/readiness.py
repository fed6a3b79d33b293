"""The readiness line of a user, and the notices about readiness."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.market.calendar import IST, ist_date
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.readiness import Readiness, ReadinessResult
from hullwatch.domain.sessions.connection import ConnectionChange
from hullwatch.domain.sessions.tokens import DAILY_EXPIRY_IST
from hullwatch.services.texts.obstacles import (
    OBSTACLE_TEXTS,
    WATCHING,
    ObstacleText,
    describe_partial,
)
from hullwatch.services.texts.times import at_ist

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class ReadinessLine:
    """The texts about an account's readiness; `because` and `do_this` are `None` where there is no reason."""

    line: str
    """All of it, in one or two sentences."""
    because: str | None
    """A clause without a full stop."""
    do_this: str | None
    """A sentence."""


def describe_readiness(readiness: Readiness, *, next_check_at: datetime) -> ReadinessLine:
    """Return the readiness line of a user."""
    market_open = f"the market open {_at(readiness.hours.opens_at, readiness)}"
    text = _text(readiness)
    match readiness.result:
        case ReadinessResult.READY:
            line = f"Ready for {market_open}"
        case ReadinessResult.NOT_READY:
            line = f"Not ready for {market_open}"
        case ReadinessResult.WATCHING:
            line = WATCHING
        case ReadinessResult.NOT_WATCHING:
            line = "Your watchlist is not being watched"
        case ReadinessResult.NOT_WANTED:
            line = "Nothing is watched"
        case ReadinessResult.MARKET_CLOSED:
            line = f"The market is closed. The next readiness check is {_at(next_check_at, readiness)}"
    line = _with_reason(line, readiness, text)
    return ReadinessLine(line, text.because if text else None, text.action if text else None)


def _with_reason(line: str, readiness: Readiness, text: ObstacleText | None) -> str:
    """Return the line as sentences, with the reason and the action."""
    result = readiness.result
    if result is ReadinessResult.WATCHING and readiness.monitored.is_partial:
        return describe_partial(readiness.monitored, today=readiness.hours.day)
    if result is ReadinessResult.MARKET_CLOSED:
        return f"{line}."
    if text is not None:
        return f"{line}, {'but' if result.is_good else 'because'} {text.because}. {text.action}"
    if result is ReadinessResult.READY:
        return f"{line}: Fyers confirmed your session, and all symbols have enough history."
    return f"{line}."


def compose_not_ready(
    user_id: str,
    readiness: Readiness,
    *,
    incident_id: str,
    is_last: bool,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Return the notice about what is missing before the market opens; the last one is urgent."""
    text, opens = _text(readiness), _at(readiness.hours.opens_at, readiness)
    if text is None:
        raise ValueError("a user without a reason gets no such notice")
    if is_last:
        title = f"Urgent: not ready, and the market opens {opens}"
        begin = f"The market opens {opens} and nothing will be watched for you, because {text.because}."
    else:
        title = "Not ready for the market open"
        begin = f"You are not ready for the market open {opens}, because {text.because}."
    return Notification(
        new_id("ntc"), user_id, NotificationKind.NOT_READY, title, f"{begin} {text.action}", now, incident_id
    )


def compose_now_ready(
    user_id: str, readiness: Readiness, *, incident_id: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice that a user who was not ready is ready or watched now."""
    line = describe_readiness(readiness, next_check_at=readiness.hours.opens_at).line
    title = WATCHING if readiness.result is ReadinessResult.WATCHING else "Ready again"
    return Notification(new_id("ntc"), user_id, NotificationKind.NOW_READY, title, line, now, incident_id)


def compose_session_expiring(change: ConnectionChange, *, new_id: Callable[[str], str]) -> Notification:
    """Return the notice that a session expires before the market closes; one for each session."""
    connection = change.after
    if connection.expires_at is None:
        raise ValueError("a session without an expiry has no such notice")
    expires = f"Your Fyers session expires {at_ist(connection.expires_at, today=ist_date(change.at))}"
    return Notification(
        id=new_id("ntc"),
        user_id=connection.user_id,
        kind=NotificationKind.SESSION_EXPIRING,
        title=expires,
        text=f"{expires}, before the market closes. Log in to Fyers again before then to avoid a gap.",
        created_at=change.at,
        # Stored ids begin so; another word would send the notice again.
        incident_id=f"end-{connection.generation}",
    )


def _text(readiness: Readiness) -> ObstacleText | None:
    if readiness.reason is None:
        return None
    end_at = readiness.session_end_at
    is_daily = end_at is not None and end_at.astimezone(IST).time() == DAILY_EXPIRY_IST
    return OBSTACLE_TEXTS[readiness.reason].fill(
        at=_at(end_at, readiness) if end_at else "",
        # A session from a login just before the daily expiry expires with it.
        when="after that" if is_daily else "now",
        symbols=_names(readiness.symbols),
    )


def _at(moment: datetime, readiness: Readiness) -> str:
    return at_ist(moment, today=readiness.hours.day)


def _names(symbols: tuple[Symbol, ...]) -> str:
    named = [symbol.text for symbol in symbols[:_MOST_NAMED]]
    rest = len(symbols) - len(named)
    if rest:
        return f"{', '.join(named)} and {rest} more"
    return " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else "".join(named)
