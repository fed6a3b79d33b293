"""What the services need from outside, as Protocols, by subject.

What only one service needs stands beside that service.
"""

from hullwatch.services.ports.broker import BrokerPort
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.ports.notifications import ChannelPort
from hullwatch.services.ports.sharing import SharedChecks
from hullwatch.services.ports.storage import StorePort, UnitOfWork

__all__ = [
    "BrokerPort",
    "ChannelPort",
    "MetricsPort",
    "SharedChecks",
    "StorePort",
    "UnitOfWork",
]
