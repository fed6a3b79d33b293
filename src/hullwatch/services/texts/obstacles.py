"""Why an account or a symbol is not monitored: the one table of texts, and the sentences made from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from hullwatch.domain.failures import FailureScope, Outcome
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.monitoring.lines import Line, Monitored
from hullwatch.domain.monitoring.obstacles import Obstacle, outcome_obstacle
from hullwatch.domain.monitoring.outages import SymbolStretch
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.texts.times import in_ist

_MOST_NAMED: Final = 3
WATCHING: Final = "Your watchlist is being watched"
NOTHING_TO_DO: Final = "You do not need to do anything"
PERMISSIONS: Final = (
    'Open myapi.fyers.in, choose your app, and allow "Quotes & Market Data" and "Historical Data"'
)
"""Where the permissions of an app are granted; the names are those of Fyers' form for apps."""
LOG_IN: Final = "Log in to Fyers."
LOG_IN_AGAIN: Final = "Log in to Fyers again."


@dataclass(frozen=True, slots=True)
class ObstacleText:
    """The texts of one obstacle; ``{at}``, ``{when}`` and ``{symbols}`` are filled in by `fill`."""

    because: str
    """A clause that fits after *because*."""
    action: str
    """A sentence that says what to do, or that nothing needs to be done."""
    was: str = ""
    """The clause for a time that has passed, where that reads differently."""
    detail: str = ""
    """A sentence for notices and messages that have space for it."""

    def fill(self, *, at: str = "", when: str = "", symbols: str = "") -> "ObstacleText":
        """Return the texts of one case.

        Args:
            at: When the session was disconnected or expires, with its preposition.
            when: When a login helps.
            symbols: The symbols concerned.
        """
        facts = {"at": f" {at}" if at else "", "when": when, "symbols": symbols}
        return ObstacleText(
            self.because.format(**facts), self.action.format(**facts), self.was.format(**facts), self.detail
        )

    @property
    def sentence(self) -> str:
        """The clause as a sentence."""
        return f"{_capital(self.because)}."

    @property
    def past_sentence(self) -> str:
        """The same about a time that has passed."""
        return f"{_capital(self.past)}."

    @property
    def past(self) -> str:
        """The clause about a time that has passed."""
        return self.was or self.because

    @property
    def title(self) -> str:
        """The clause as a title."""
        return _capital(self.because)


OBSTACLE_TEXTS: Final[Mapping[Obstacle, ObstacleText]] = {
    Obstacle.NOT_WANTED: ObstacleText("monitoring is off", "Start monitoring to watch your watchlist."),
    Obstacle.NO_WATCHES: ObstacleText("your watchlist is empty", "Add a symbol to watch it."),
    Obstacle.MARKET_CLOSED: ObstacleText("the market is closed", "Monitoring continues when it opens."),
    Obstacle.NO_SESSION: ObstacleText("there is no Fyers session", LOG_IN, "there was no Fyers session"),
    Obstacle.NEVER_CONNECTED: ObstacleText("no Fyers account is connected", LOG_IN),
    Obstacle.EXPIRED: ObstacleText(
        "your Fyers session expired{at}", LOG_IN_AGAIN, detail="Fyers sessions expire every day."
    ),
    Obstacle.REJECTED: ObstacleText(
        "Fyers ended your session early{at}",
        LOG_IN_AGAIN,
        detail="This often happens after a login elsewhere.",
    ),
    Obstacle.SIGNED_OUT: ObstacleText("you disconnected Fyers{at}", LOG_IN_AGAIN),
    Obstacle.BY_ADMIN: ObstacleText("an administrator disconnected your Fyers session{at}", LOG_IN_AGAIN),
    Obstacle.EXPIRES_BEFORE_OPEN: ObstacleText(
        "your Fyers session expires{at}, before the market opens", "Log in to Fyers again {when}."
    ),
    Obstacle.EXPIRES_BEFORE_CLOSE: ObstacleText(
        "your Fyers session expires{at}, before the market closes", "Log in to Fyers again before then."
    ),
    Obstacle.NOT_PERMITTED: ObstacleText(
        "your Fyers app has no permission to read market data",
        f"{PERMISSIONS}, then log in to Fyers again.",
        "your Fyers app had no permission to read market data",
    ),
    Obstacle.ALL_REFUSED: ObstacleText(
        "Fyers serves none of the symbols on your watchlist", "Correct or remove them: {symbols}."
    ),
    Obstacle.SYMBOL_REFUSED: ObstacleText(
        "Fyers does not serve {symbols}", "Check the symbol and its resolution."
    ),
    Obstacle.SYMBOL_NOT_PERMITTED: ObstacleText(
        "your Fyers app has no permission to read {symbols}",
        f"{PERMISSIONS}, or remove the symbol.",
        "your Fyers app had no permission to read {symbols}",
    ),
    Obstacle.SYMBOL_UNAVAILABLE: ObstacleText(
        "Fyers gives no usable answer for {symbols}{at}",
        f"{NOTHING_TO_DO}: hullwatch keeps trying, and other symbols are not affected.",
        "Fyers gave no usable answer for {symbols}{at}",
    ),
    Obstacle.NO_HISTORY: ObstacleText(
        "Fyers has no history for {symbols}{at}",
        f"{NOTHING_TO_DO}: hullwatch keeps trying, and other symbols are not affected.",
        "Fyers had no history for {symbols}{at}",
    ),
    Obstacle.PRICE_JUMP: ObstacleText(
        "the price of {symbols} jumped as after a split, and Fyers' history does not explain it",
        f"{NOTHING_TO_DO}: the average starts anew, and signals follow when it has enough candles.",
        "the price of {symbols} had jumped as after a split, and Fyers' history did not explain it",
    ),
    Obstacle.CANDLES_MISSING: ObstacleText(
        "Fyers' history lacks a candle of {symbols}{at}, although it traded",
        f"{NOTHING_TO_DO}: averages use the other candles, and this one if it comes later.",
        "Fyers' history lacked a candle of {symbols}{at}, although it traded",
    ),
    Obstacle.OFF_GRID: ObstacleText(
        "Fyers' candles of {symbols} do not begin with the market open",
        f"{NOTHING_TO_DO}: they are used as they are.",
    ),
    Obstacle.CHECKING_LOGIN: ObstacleText(
        "Fyers refused a call, and your session is being verified",
        f"{NOTHING_TO_DO}: this takes a moment.",
        "Fyers had refused a call, and your session was being verified",
    ),
    Obstacle.FYERS_UNAVAILABLE: ObstacleText(
        "Fyers is not responding properly",
        f"{NOTHING_TO_DO}: hullwatch keeps trying, and your session is kept.",
        "Fyers did not respond properly",
    ),
    Obstacle.MASS_REFUSAL: ObstacleText(
        "Fyers is refusing many accounts at once",
        f"{NOTHING_TO_DO}: your session is kept until Fyers recovers.",
        "Fyers was refusing many accounts at once",
    ),
    Obstacle.SESSION_HELD: ObstacleText(
        "Fyers refuses your session without ending it",
        "Log in to Fyers again, or wait: hullwatch checks every few minutes.",
        "Fyers refused your session without ending it",
    ),
    Obstacle.RATE_LIMITED: ObstacleText(
        "Fyers asked us to wait", f"{NOTHING_TO_DO}: monitoring continues after the wait."
    ),
    Obstacle.NOT_VERIFIED: ObstacleText(
        "your Fyers session is not verified yet", f"{NOTHING_TO_DO}: the next check verifies it."
    ),
    Obstacle.WARMING: ObstacleText(
        "the history of {symbols} is still loading",
        f"{NOTHING_TO_DO}: it is loaded before the market opens.",
    ),
    Obstacle.TOO_YOUNG: ObstacleText(
        "there are too few candles for the average of {symbols}",
        f"{NOTHING_TO_DO}: the average starts when there are enough.",
    ),
    Obstacle.STARTING: ObstacleText(
        "monitoring is starting", f"{NOTHING_TO_DO}: this takes a few seconds.", "monitoring was starting"
    ),
    Obstacle.SERVER_DOWN: ObstacleText(
        "the server is not running",
        f"{NOTHING_TO_DO}: monitoring continues when it runs again.",
        "the server was not running",
    ),
    Obstacle.SERVER_BUSY: ObstacleText(
        "the server is too busy", f"{NOTHING_TO_DO}: missed candles are loaded.", "the server was too busy"
    ),
    Obstacle.SLOW_CYCLE: ObstacleText(
        "a monitoring cycle takes too long",
        f"{NOTHING_TO_DO}: missed candles are loaded.",
        "a monitoring cycle took too long",
    ),
    Obstacle.CLOCK_SET: ObstacleText(
        "the clock of the server was set forward",
        f"{NOTHING_TO_DO}: monitoring continues at the new time.",
        "the clock of the server was set forward",
    ),
}

EXPIRED_EARLY: Final = ObstacleText("your Fyers session expired{at}, earlier than expected", LOG_IN_AGAIN)
"""Fyers reported the expiry before the time that the access token names."""


def describe_obstacle(obstacle: Obstacle, *, symbols: str = "") -> str:
    """Return the sentence about an obstacle and the one that says what to do."""
    text = OBSTACLE_TEXTS[obstacle].fill(symbols=symbols)
    return f"{text.sentence} {text.action}"


def describe_outcome(outcome: Outcome, scope: FailureScope | None, *, symbols: str = "") -> str | None:
    """Return why a request for market data brought none, and what to do; `None` if it did not fail."""
    obstacle = outcome_obstacle(outcome, scope)
    return None if obstacle is None else describe_obstacle(obstacle, symbols=symbols)


def symbol_name(symbol: Symbol) -> str:
    """Return ``SBIN`` for a share at NSE, and Fyers' symbol for all else."""
    is_share = symbol.exchange == "NSE" and symbol.text.endswith("-EQ")
    return symbol.name.removesuffix("-EQ") if is_share else symbol.text


def describe_line(line: Line, *, today: date | None = None) -> str:
    """Return why the symbol of a line is not monitored, in a sentence about *it*."""
    if line.obstacle is None:
        raise ValueError("a line without an obstacle is monitored")
    since = f"since {in_ist(line.since, today=today)}" if line.since else ""
    return OBSTACLE_TEXTS[line.obstacle].fill(symbols="it", at=since).sentence


def describe_missing_candles(line: Line, *, today: date | None = None) -> str:
    """Return which candles history lacks, by their closes, and what to do; of many, the newest are named."""
    named = [in_ist(moment, today=today) for moment in line.missing_closes[-_MOST_NAMED:]]
    more = len(line.missing_closes) - len(named)
    closes = ", ".join([*([f"{more} more"] if more else []), *named])
    text = OBSTACLE_TEXTS[Obstacle.CANDLES_MISSING].fill(symbols=line.symbol.text, at=f"(close {closes})")
    return f"{text.sentence} {text.action}"


def describe_partial(found: Monitored, *, today: date | None = None) -> str:
    """Return how many symbols are monitored and why the others are not; of many, the first few are named."""
    are = "symbol is" if found.total == 1 else "symbols are"
    begin = f"{found.count} of {found.total} {are} monitored"
    if not found.is_partial:
        return f"{begin}."
    named = [
        f"{symbol_name(line.symbol)}: {describe_line(line, today=today)}"
        for line in found.missing[:_MOST_NAMED]
    ]
    rest = len(found.missing) - len(named)
    return " ".join([f"{begin};", *named, *([f"{rest} more."] if rest else [])])


def candles_needed(count: int, period: int) -> str:
    """Return why an average has no value yet."""
    return f"HMA({period}) needs {count} more closed {'candle' if count == 1 else 'candles'}."


def describe_status(status: WatchStatus) -> str:
    """Return what monitoring does for an account, or why it does not and what to do."""
    return describe_obstacle(status.obstacle) if status.obstacle else f"{WATCHING}."


def describe_blindness(reason: BlindReason) -> str:
    """Return the sentence for why an account was not watched."""
    return OBSTACLE_TEXTS[reason.obstacle].past_sentence


def describe_symbol_stretch(stretch: SymbolStretch) -> str:
    """Return the sentence for why a symbol was not monitored."""
    name = "your symbols" if stretch.symbol is None else symbol_name(stretch.symbol)
    return OBSTACLE_TEXTS[stretch.obstacle].fill(symbols=name).past_sentence


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
