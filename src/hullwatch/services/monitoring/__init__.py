"""MonitoringService: watches every account that wants it, each on its own, on closed candles only.

``service`` holds watchlists and wishes, and ``glances`` what is shown of them. ``runner`` runs the cycles of all accounts: ``run`` is what is
known of one account's, ``rhythm`` when they are due, ``schedule`` whose is next, ``trail`` what is told of them. ``watcher`` is what one
account's cycle does, with ``feeds`` for the candles that are due and ``unsaved`` for what is not stored yet. ``journal`` is how what many accounts
produce at once is stored, ``gaps`` what is blind at present, ``life`` what a server that was killed leaves behind, and ``coverage`` reads how
much was watched.
"""

from hullwatch.services.monitoring.coverage import MOST_DAYS, AccountDay, CoverageReader, WatchedDay
from hullwatch.services.monitoring.glances import MonitoringState, WatchGlance
from hullwatch.services.monitoring.service import MonitoringService

__all__ = [
    "MOST_DAYS",
    "AccountDay",
    "CoverageReader",
    "MonitoringService",
    "MonitoringState",
    "WatchGlance",
    "WatchedDay",
]
