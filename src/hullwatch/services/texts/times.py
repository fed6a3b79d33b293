"""The form in which people read a time: IST, with the day unless the reader knows it."""

from datetime import date, datetime

from hullwatch.domain.market.calendar import IST


def in_ist(moment: datetime, *, today: date | None = None) -> str:
    """Return ``23 Nov 2026, 14:05 IST``, or ``14:05 IST`` for a moment of the day `today`."""
    local = moment.astimezone(IST)
    day = "" if local.date() == today else f"{local.day} {local:%b %Y}, "
    return f"{day}{local:%H:%M} IST"


def at_ist(moment: datetime, *, today: date | None = None) -> str:
    """Return the same with its preposition: ``on 23 Nov 2026, 14:05 IST`` or ``at 14:05 IST``."""
    is_today = moment.astimezone(IST).date() == today
    return f"{'at' if is_today else 'on'} {in_ist(moment, today=today)}"
