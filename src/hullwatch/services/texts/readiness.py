"""The sentences about readiness: a user's one line, and the notices that grow from it. Pure; times are said in IST.

What is true is decided in ``domain/readiness.py``; the sentences of all other notices are in ``sentences``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.readiness.readiness import Readiness, Reason, Verdict
from hullwatch.domain.sessions.connection import ConnectionChange
from hullwatch.domain.sessions.tokens import DAILY_EXPIRY_IST, IST

_MOST_NAMED: Final = 3
_NOTHING: Final = "You need do nothing"

_WORDS: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.NEVER_CONNECTED: ("no Fyers account is connected", "Log in to Fyers."),
    Reason.EXPIRED: ("your Fyers session expired{end}", "Log in to Fyers."),
    Reason.REJECTED: ("Fyers ended your session early{end}", "Log in to Fyers."),
    Reason.SIGNED_OUT: ("you disconnected Fyers{end}", "Log in to Fyers."),
    Reason.BY_ADMIN: ("an administrator ended your Fyers session{end}", "Log in to Fyers."),
    Reason.EXPIRES_BEFORE_OPEN: (
        "your Fyers session ends{end}, before the market opens",
        "Log in to Fyers again {when}.",
    ),
    Reason.NOT_PERMITTED: (
        "your Fyers app lacks the permission to read market data",
        "Give it the permissions for quotes and historical data at Fyers, then log in to Fyers again.",
    ),
    Reason.ALL_REFUSED: (
        "Fyers serves none of the symbols on your watchlist",
        "Correct or remove them: {symbols}.",
    ),
    Reason.CHECKING_LOGIN: (
        "Fyers refused a call and your login is being checked a second time",
        f"{_NOTHING}: that takes a moment.",
    ),
    Reason.FYERS_UNAVAILABLE: (
        "Fyers cannot be asked at the moment",
        f"{_NOTHING}: hullwatch keeps trying, and your login is kept.",
    ),
    Reason.RATE_LIMITED: ("Fyers asked hullwatch to wait", f"{_NOTHING}: it goes on by itself."),
    Reason.NOT_VERIFIED: (
        "Fyers has not been asked about your session yet",
        f"{_NOTHING}: it is asked at the next check.",
    ),
    Reason.WARMING: (
        "the history of {count} is still being loaded",
        f"{_NOTHING}: it is loaded before the opening.",
    ),
    Reason.STARTING: ("the first cycle has not completed yet", f"{_NOTHING}: it comes within seconds."),
    Reason.EXPIRES_BEFORE_CLOSE: (
        "your Fyers session ends{end}, before the market closes",
        "Log in to Fyers again before then.",
    ),
    Reason.SOME_REFUSED: ("Fyers does not serve {symbols}", "Correct or remove that on your watchlist."),
    Reason.TOO_YOUNG: (
        "there are too few candles for the average of {symbols}",
        f"{_NOTHING}: the average comes with more candles.",
    ),
    Reason.NOT_STARTED: ("monitoring is not started", "Start monitoring to be watched."),
    Reason.NO_WATCHES: ("your watchlist is empty", "Add a symbol to be watched."),
}


@dataclass(frozen=True, slots=True)
class ReadinessLine:
    """What a person reads of an account's readiness; the parts are `None` where all is well."""

    line: str
    """The whole, one or two sentences."""
    because: str | None
    """A clause without its full stop."""
    do_this: str | None
    """A sentence."""


def describe_readiness(readiness: Readiness, *, next_check_at: datetime) -> ReadinessLine:
    """Return the one line of a user."""
    opening = f"the opening at {_clock(readiness.bell.opens_at, readiness.bell.day)}"
    because, do_this = _parts(readiness)
    tail = f" {do_this}" if do_this else ""
    match readiness.verdict:
        case Verdict.READY if because is None:
            line = f"Ready for {opening}: Fyers confirms your session and {_warm(readiness)}."
        case Verdict.READY:
            line = f"Ready for {opening}, but {because}.{tail}"
        case Verdict.NOT_READY:
            line = f"Not ready for {opening}, because {because}.{tail}"
        case Verdict.WATCHING if because is None:
            line = f"Watching {_lines(readiness.lines)}."
        case Verdict.WATCHING:
            line = f"Watching {_lines(readiness.lines)}, but {because}.{tail}"
        case Verdict.NOT_WATCHING:
            line = f"Not watching, because {because}.{tail}"
        case Verdict.NOT_WANTED:
            line = f"Nothing is watched, because {because}.{tail}"
        case Verdict.MARKET_CLOSED:
            check = _clock(next_check_at, readiness.bell.day)
            line = f"The market is closed; readiness is checked next at {check}."
    return ReadinessLine(line, because, do_this)


def compose_not_ready(
    user_id: str,
    readiness: Readiness,
    *,
    incident_id: str,
    is_last: bool,
    now: datetime,
    new_id: Callable[[str], str],
) -> Notification:
    """Tell a user what is missing before the opening; the last time with more weight."""
    because, do_this = _parts(readiness)
    opens = _clock(readiness.bell.opens_at, readiness.bell.day)
    if is_last:
        title = f"Urgent: not ready, and the market opens at {opens}"
        begin = f"The market opens at {opens} and nothing will be watched for you, because {because}."
    else:
        title = "Not ready for the opening"
        begin = f"You are not ready for the opening at {opens}, because {because}."
    return Notification(
        new_id("ntc"), user_id, NotificationKind.NOT_READY, title, f"{begin} {do_this}", now, incident_id
    )


def compose_now_ready(
    user_id: str, readiness: Readiness, *, incident_id: str, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Tell a user who had not been ready that all is well now."""
    line = describe_readiness(readiness, next_check_at=readiness.bell.opens_at).line
    title = "You are being watched" if readiness.verdict is Verdict.WATCHING else "You are ready now"
    return Notification(new_id("ntc"), user_id, NotificationKind.NOW_READY, title, line, now, incident_id)


def compose_session_expiring(change: ConnectionChange, *, new_id: Callable[[str], str]) -> Notification:
    """Tell a user that the session will end before the market closes; once for each session."""
    connection = change.after
    if connection.expires_at is None:
        raise ValueError("a session whose end is unknown has no such notice")
    end = _clock(connection.expires_at, ist_date(change.at))
    return Notification(
        id=new_id("ntc"),
        user_id=connection.user_id,
        kind=NotificationKind.SESSION_EXPIRING,
        title=f"Your Fyers session ends at {end}",
        text=f"Your Fyers session ends at {end}, before the market closes. Log in to Fyers again before then, and watching goes on "
        "without a gap.",
        created_at=change.at,
        incident_id=f"end-{connection.generation}",
    )


def _parts(readiness: Readiness) -> tuple[str | None, str | None]:
    """Return the clause after *because* and the sentence that says what to do."""
    if readiness.reason is None:
        return None, None
    end_at, day = readiness.end_at, readiness.bell.day
    is_daily_end = end_at is not None and end_at.astimezone(IST).time() == DAILY_EXPIRY_IST
    facts = {
        "end": f" at {_clock(end_at, day)}" if end_at else "",
        # Whoever logs in just before the daily end is thrown out by it again.
        "when": "once it has ended" if is_daily_end else "now",
        "symbols": _names(readiness.symbols),
        "count": _lines(len(readiness.symbols)),
    }
    because, do_this = _WORDS[readiness.reason]
    return because.format(**facts), do_this.format(**facts)


def _clock(moment: datetime, today: date) -> str:
    """Return ``09:15 IST``, with the day where that is another one than today."""
    local = moment.astimezone(IST)
    day = "" if local.date() == today else f" on {local:%a, %d %b}"
    return f"{local:%H:%M} IST{day}"


def _lines(count: int) -> str:
    return "one line" if count == 1 else f"{count} lines"


def _warm(readiness: Readiness) -> str:
    few = {1: "your one line is", 2: "both lines are"}
    return f"{few.get(readiness.lines, f'all {readiness.lines} lines are')} warm"


def _names(symbols: tuple[Symbol, ...]) -> str:
    named = [symbol.text for symbol in symbols[:_MOST_NAMED]]
    rest = len(symbols) - len(named)
    if rest:
        return f"{', '.join(named)} and {rest} more"
    return " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else "".join(named)
