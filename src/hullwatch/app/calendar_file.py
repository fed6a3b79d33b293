"""The operator's own table of trading days, read when the house is opened or a command needs the calendar.

Its format stands in ``domain/market_calendar/sessions.toml``. Used by ``app`` and the commands, by nobody else.
"""

from hullwatch.domain.market.calendar import (
    MarketCalendar,
    TableRefused,
    calendar_with,
    nse_calendar,
    read_table,
)
from hullwatch.settings import Settings, SettingsRefused


def read_calendar(settings: Settings) -> MarketCalendar:
    """Return the exchange's calendar, with what the operator's file adds to it.

    Raises:
        SettingsRefused: There is a file, and it cannot be read or used; the sentence names it and the entry.
    """
    path = settings.calendar_file
    if path is None:
        return nse_calendar()
    try:
        return calendar_with(read_table(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    except OSError as error:
        why = error.strerror or "it cannot be read"
    except TableRefused as refusal:
        why = str(refusal)
    raise SettingsRefused(f"HULLWATCH_CALENDAR_FILE cannot be used: {path}: {why}.")
