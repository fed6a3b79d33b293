"""Tests the readiness line and the notices about readiness."""

from datetime import UTC, date, datetime, time

import pytest

from hullwatch.domain.market.calendar import IST
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.obstacles import FOR_USER, Obstacle
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.readiness.readiness import (
    MarketHours,
    Phase,
    Readiness,
    ReadinessResult,
)
from hullwatch.services.texts.readiness import (
    compose_not_ready,
    compose_now_ready,
    compose_session_expiring,
    describe_readiness,
)
from services.notifications.test_service import login

MONDAY = date(2026, 11, 23)
SYMBOLS = tuple(Symbol(f"NSE:S{number}-EQ") for number in range(5))


def ist(text: str, day: date = MONDAY) -> datetime:
    """Return a time of a day in IST, as UTC."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


def readiness(
    result: ReadinessResult,
    reason: Obstacle | None = None,
    *,
    symbols=SYMBOLS[:2],
    session_end_at=None,
    lines: int = 3,
) -> Readiness:
    """Return the readiness of a Monday morning."""
    hours = MarketHours(Phase.BEFORE_OPEN, MONDAY, ist("09:15"), ist("15:30"))
    return Readiness(
        result, reason, hours, lines=lines, warm=lines, symbols=symbols, session_end_at=session_end_at
    )


def line(one: Readiness) -> str:
    """Return the readiness line."""
    return describe_readiness(one, next_check_at=ist("08:30", date(2026, 11, 24))).line


@pytest.mark.parametrize("reason", Obstacle)
@pytest.mark.parametrize("result", ReadinessResult)
def test_every_line_is_made_of_whole_sentences(result: ReadinessResult, reason: Obstacle) -> None:
    """Nothing is left unfilled, and a user who cannot act reads that."""
    texts = describe_readiness(
        readiness(result, reason, session_end_at=ist("11:20")),
        next_check_at=ist("08:30", date(2026, 11, 24)),
    )

    for text in (texts.line, texts.do_this or ""):
        assert text[0].isupper()
        assert text.endswith(".")
        assert not set("{}") & set(text)
        assert "None" not in text
    assert texts.because
    assert not texts.because.endswith(".")
    assert ("You do not need to do anything" in (texts.do_this or "")) == (
        reason not in FOR_USER | {Obstacle.MARKET_CLOSED}
    )


def test_lines_without_a_reason() -> None:
    """Ready, watched and closed need no reason."""
    assert line(readiness(ReadinessResult.READY)) == (
        "Ready for the market open at 09:15 IST: Fyers confirmed your session, and all symbols have enough history."
    )
    assert line(readiness(ReadinessResult.WATCHING)) == "Your watchlist is being watched."
    assert line(readiness(ReadinessResult.MARKET_CLOSED)) == (
        "The market is closed. The next readiness check is on 24 Nov 2026, 08:30 IST."
    )


def test_lines_with_a_reason() -> None:
    """Each line has the result, the reason and the action."""
    expired = readiness(ReadinessResult.NOT_READY, Obstacle.EXPIRED, session_end_at=ist("06:00"))
    assert line(expired) == (
        "Not ready for the market open at 09:15 IST, because your Fyers session expired at 06:00 IST. Log in to Fyers again."
    )
    early = readiness(ReadinessResult.READY, Obstacle.EXPIRES_BEFORE_CLOSE, session_end_at=ist("11:20"))
    assert line(early) == (
        "Ready for the market open at 09:15 IST, but your Fyers session expires at 11:20 IST, before the market closes. "
        "Log in to Fyers again before then."
    )
    assert line(
        readiness(
            ReadinessResult.NOT_WATCHING, Obstacle.REJECTED, session_end_at=ist("15:00", date(2026, 11, 20))
        )
    ) == (
        "Your watchlist is not being watched, because Fyers ended your session early on 20 Nov 2026, 15:00 IST. "
        "Log in to Fyers again."
    )


def test_the_login_waits_for_the_daily_expiry() -> None:
    """A session from a login before the daily expiry would expire with it."""
    daily = readiness(ReadinessResult.NOT_READY, Obstacle.EXPIRES_BEFORE_OPEN, session_end_at=ist("06:00"))
    other = readiness(ReadinessResult.NOT_READY, Obstacle.EXPIRES_BEFORE_OPEN, session_end_at=ist("09:05"))

    assert line(daily).endswith("Log in to Fyers again after that.")
    assert line(other).endswith("Log in to Fyers again now.")


def test_at_most_three_symbols_are_named() -> None:
    """The other symbols are counted."""
    refused = [
        line(readiness(ReadinessResult.READY, Obstacle.SYMBOL_REFUSED, symbols=SYMBOLS[:count]))
        for count in (1, 2, 5)
    ]

    assert "NSE:S0-EQ. " in refused[0]
    assert "NSE:S0-EQ and NSE:S1-EQ." in refused[1]
    assert "NSE:S0-EQ, NSE:S1-EQ, NSE:S2-EQ and 2 more." in refused[2]


def test_the_notices_give_reason_and_action() -> None:
    """The first, the urgent one and the recovery have texts of their own."""
    expired = readiness(ReadinessResult.NOT_READY, Obstacle.EXPIRED, session_end_at=ist("06:00"))
    facts = {"now": ist("08:30"), "new_id": lambda prefix: f"{prefix}_1"}
    first = compose_not_ready("u", expired, incident_id="i", is_last=False, **facts)
    urgent = compose_not_ready("u", expired, incident_id="i-last", is_last=True, **facts)
    again = compose_now_ready("u", readiness(ReadinessResult.READY), incident_id="i", **facts)

    assert first.kind is urgent.kind is NotificationKind.NOT_READY
    assert again.kind is NotificationKind.NOW_READY
    assert first.text == (
        "You are not ready for the market open at 09:15 IST, because your Fyers session expired at 06:00 IST. "
        "Log in to Fyers again."
    )
    assert urgent.title.startswith("Urgent")
    assert "nothing will be watched for you" in urgent.text
    assert again.text.startswith("Ready for the market open at 09:15 IST")


def test_the_expiry_warning_names_the_time() -> None:
    """Its incident id belongs to one session."""
    notice = compose_session_expiring(login(), new_id=lambda prefix: f"{prefix}_1")

    assert "06:00 IST" in notice.title
    assert notice.incident_id == "end-1"
