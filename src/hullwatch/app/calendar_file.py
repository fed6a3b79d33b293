"""Reads the operator's own table of trading days; ``domain/market/calendar/sessions.toml`` shows its format."""

from hullwatch.domain.market.calendar import (
    MarketCalendar,
    TableRefused,
    calendar_with,
    nse_calendar,
    read_table,
)
from hullwatch.settings import Settings, SettingsRefused


def read_calendar(settings: Settings) -> MarketCalendar:
    """Return the calendar of the exchange with the entries of the operator's file.

    Raises:
        SettingsRefused: The file cannot be read or used; the sentence names the file and the entry.
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
