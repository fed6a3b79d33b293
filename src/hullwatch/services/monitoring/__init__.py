"""MonitoringService: watches every account that wants it, each on its own, on closed candles only.

``service`` holds watchlists and wishes, ``runner`` the cycles of all accounts, ``watcher`` what one account's cycle does, ``schedule`` when
it is due, ``journal`` how what many accounts produce at once is stored, ``gaps`` what is blind at present, ``life`` what a server that was killed
leaves behind, and ``coverage`` reads how much was watched.
"""

from hullwatch.services.monitoring.coverage import MOST_DAYS, AccountDay, CoverageReader, WatchedDay
from hullwatch.services.monitoring.service import MonitoringService, MonitoringState, WatchGlance

__all__ = [
    "MOST_DAYS",
    "AccountDay",
    "CoverageReader",
    "MonitoringService",
    "MonitoringState",
    "WatchGlance",
    "WatchedDay",
]
