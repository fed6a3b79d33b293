"""The tables. A migration makes the same tables, constraints and indices, and a test compares both."""

from hullwatch.storage.models.base import Base
from hullwatch.storage.models.monitoring import MonitoringWishRow, SignalRow, SymbolOutageRow, WatchRow
from hullwatch.storage.models.notifications import (
    ChannelKindRow,
    ChannelRow,
    DeliveryRow,
    IncidentRow,
    MailCodeRow,
    NotificationRow,
)
from hullwatch.storage.models.operations import AuditEventRow, HeartbeatRow, InstallationRow
from hullwatch.storage.models.renewal import RenewalRow
from hullwatch.storage.models.sessions import (
    BrokerConnectionRow,
    CallPaceRow,
    FyersAppRow,
    LoginLinkRow,
    PendingLoginRow,
)
from hullwatch.storage.models.users import ApiTokenRow, BrowserLoginRow, InviteRow, PasswordResetRow, UserRow

__all__ = [
    "ApiTokenRow",
    "AuditEventRow",
    "Base",
    "BrokerConnectionRow",
    "BrowserLoginRow",
    "CallPaceRow",
    "ChannelKindRow",
    "ChannelRow",
    "DeliveryRow",
    "FyersAppRow",
    "HeartbeatRow",
    "IncidentRow",
    "InstallationRow",
    "InviteRow",
    "LoginLinkRow",
    "MailCodeRow",
    "MonitoringWishRow",
    "NotificationRow",
    "PasswordResetRow",
    "PendingLoginRow",
    "RenewalRow",
    "SignalRow",
    "SymbolOutageRow",
    "UserRow",
    "WatchRow",
]
