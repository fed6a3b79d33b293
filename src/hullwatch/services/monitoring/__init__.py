"""MonitoringService: watches every account that wants it, each on its own, on closed candles only.

``service`` holds watchlists and wishes, ``runner`` the cycles of all accounts, ``watcher`` what one account's cycle does, ``schedule`` when
it is due, ``journal`` how what many accounts produce at once is stored.
"""

from hullwatch.services.monitoring.service import MonitoringService, MonitoringState, WatchGlance

__all__ = ["MonitoringService", "MonitoringState", "WatchGlance"]
