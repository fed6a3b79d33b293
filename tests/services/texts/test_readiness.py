"""What people read about readiness; `hullwatch.services.texts.readiness`."""

from datetime import UTC, date, datetime, time

import pytest

from hullwatch.domain.market.calendar import IST
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.readiness.readiness import FOR_USER, Bell, Phase, Readiness, Reason, Verdict
from hullwatch.services.texts.readiness import (
    _WORDS,
    compose_not_ready,
    compose_now_ready,
    compose_session_expiring,
    describe_readiness,
)
from services.notifications.test_service import login

MONDAY = date(2026, 11, 23)
SYMBOLS = tuple(Symbol(f"NSE:S{number}-EQ") for number in range(5))


def ist(text: str, day: date = MONDAY) -> datetime:
    """Return a time of a day, IST, as the environment keeps it."""
    return datetime.combine(day, time.fromisoformat(text), IST).astimezone(UTC)


def readiness(
    verdict: Verdict, reason: Reason | None = None, *, symbols=SYMBOLS[:2], end_at=None, lines: int = 3
) -> Readiness:
    """Return a verdict of a Monday morning."""
    bell = Bell(Phase.BEFORE_OPEN, MONDAY, ist("09:15"), ist("15:30"))
    return Readiness(verdict, reason, bell, lines=lines, warm=lines, symbols=symbols, end_at=end_at)


def line(one: Readiness) -> str:
    """Return the line of a verdict."""
    return describe_readiness(one, next_check_at=ist("08:30", date(2026, 11, 24))).line


def test_every_reason_has_its_words() -> None:
    """And no reason of old is left."""
    assert set(_WORDS) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("verdict", Verdict)
def test_every_line_is_made_of_whole_sentences(verdict: Verdict, reason: Reason) -> None:
    """Nothing is left unfilled; what nobody has to do is said to be nothing."""
    told = describe_readiness(
        readiness(verdict, reason, end_at=ist("11:20")), next_check_at=ist("08:30", date(2026, 11, 24))
    )

    for text in (told.line, told.do_this or ""):
        assert text[0].isupper()
        assert text.endswith(".")
        assert not set("{}") & set(text)
        assert "None" not in text
    assert told.because
    assert not told.because.endswith(".")
    assert ("You need do nothing" in (told.do_this or "")) == (reason not in FOR_USER)


def test_the_lines_of_a_good_morning() -> None:
    """One for each verdict that needs no reason."""
    assert line(readiness(Verdict.READY)) == (
        "Ready for the opening at 09:15 IST: Fyers confirms your session and all 3 lines are warm."
    )
    assert line(readiness(Verdict.READY, lines=1)).endswith("and your one line is warm.")
    assert line(readiness(Verdict.WATCHING)) == "Watching 3 lines."
    assert line(readiness(Verdict.MARKET_CLOSED)) == (
        "The market is closed; readiness is checked next at 08:30 IST on Tue, 24 Nov."
    )


def test_the_lines_of_a_bad_one() -> None:
    """Not ready, because …, do this."""
    expired = readiness(Verdict.NOT_READY, Reason.EXPIRED, end_at=ist("06:00"))
    assert line(expired) == (
        "Not ready for the opening at 09:15 IST, because your Fyers session expired at 06:00 IST. Log in to Fyers."
    )
    early = readiness(Verdict.READY, Reason.EXPIRES_BEFORE_CLOSE, end_at=ist("11:20"))
    assert line(early) == (
        "Ready for the opening at 09:15 IST, but your Fyers session ends at 11:20 IST, before the market closes. "
        "Log in to Fyers again before then."
    )
    assert line(
        readiness(Verdict.NOT_WATCHING, Reason.REJECTED, end_at=ist("15:00", date(2026, 11, 20)))
    ) == (
        "Not watching, because Fyers ended your session early at 15:00 IST on Fri, 20 Nov. Log in to Fyers."
    )


def test_nobody_is_sent_to_log_in_before_an_end_that_would_take_the_new_login_with_it() -> None:
    """The daily end is waited for; any other is not."""
    daily = readiness(Verdict.NOT_READY, Reason.EXPIRES_BEFORE_OPEN, end_at=ist("06:00"))
    other = readiness(Verdict.NOT_READY, Reason.EXPIRES_BEFORE_OPEN, end_at=ist("09:05"))

    assert line(daily).endswith("Log in to Fyers again once it has ended.")
    assert line(other).endswith("Log in to Fyers again now.")


def test_many_symbols_are_counted_instead_of_named() -> None:
    """Three names and a number."""
    refused = [
        line(readiness(Verdict.READY, Reason.SOME_REFUSED, symbols=SYMBOLS[:count])) for count in (1, 2, 5)
    ]

    assert "NSE:S0-EQ. " in refused[0]
    assert "NSE:S0-EQ and NSE:S1-EQ." in refused[1]
    assert "NSE:S0-EQ, NSE:S1-EQ, NSE:S2-EQ and 2 more." in refused[2]


def test_the_notices() -> None:
    """First, urgent and recovery are told apart and carry reason and remedy."""
    expired = readiness(Verdict.NOT_READY, Reason.EXPIRED, end_at=ist("06:00"))
    facts = {"now": ist("08:30"), "new_id": lambda prefix: f"{prefix}_1"}
    first = compose_not_ready("u", expired, incident_id="i", is_last=False, **facts)
    urgent = compose_not_ready("u", expired, incident_id="i-last", is_last=True, **facts)
    again = compose_now_ready("u", readiness(Verdict.READY), incident_id="i", **facts)

    assert first.kind is urgent.kind is NotificationKind.NOT_READY
    assert again.kind is NotificationKind.NOW_READY
    assert first.text == (
        "You are not ready for the opening at 09:15 IST, because your Fyers session expired at 06:00 IST. Log in to Fyers."
    )
    assert urgent.title.startswith("Urgent")
    assert "nothing will be watched for you" in urgent.text
    assert again.text.startswith("Ready for the opening at 09:15 IST")


def test_the_warning_names_the_end() -> None:
    """And belongs to one session."""
    notice = compose_session_expiring(login(), new_id=lambda prefix: f"{prefix}_1")

    assert "06:00 IST" in notice.title
    assert notice.incident_id == "end-1"
