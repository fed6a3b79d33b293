"""Every service of one installation, by name; `hullwatch.app.services.build_services` makes it."""

from dataclasses import dataclass

from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.clock_monitor import ClockMonitor
from hullwatch.services.context import Context
from hullwatch.services.login.links import LoginLinkService
from hullwatch.services.login.oauth import FyersLoginService
from hullwatch.services.market.chart import ChartService
from hullwatch.services.market.hma import HMAService
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.daily_summary import DailySummary
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.monitoring.symbol_outages import SymbolOutages
from hullwatch.services.notifications.channels import ChannelService
from hullwatch.services.notifications.delivery import Outbox
from hullwatch.services.notifications.mail_confirmation import MailConfirmation
from hullwatch.services.notifications.service import NotificationService
from hullwatch.services.operations.admin import AdminService
from hullwatch.services.operations.broker_alerts import BrokerAlerts
from hullwatch.services.operations.call_counts import CallCounts
from hullwatch.services.operations.call_paces import CallPaces
from hullwatch.services.operations.heartbeat_ping import HeartbeatPing
from hullwatch.services.operations.job_alerts import JobAlerts
from hullwatch.services.operations.server_health import ServerHealth
from hullwatch.services.operations.storage_alerts import StorageAlerts
from hullwatch.services.operations.storage_health import StorageHealth
from hullwatch.services.ports import BrokerPort
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.readiness.service import ReadinessService
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.renewal.service import RenewalService
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService
from hullwatch.services.users.accounts import AccountService
from hullwatch.services.users.authentication import AuthenticationService
from hullwatch.services.users.login_changes import LoginChanges
from hullwatch.services.users.mailed_resets import MailedResets
from hullwatch.services.users.password_resets import PasswordResetService


@dataclass(frozen=True, slots=True)
class Services:
    """What entry points call; the web, the commands and the tests use the same object."""

    context: Context
    broker: BrokerPort
    supervisor: Supervisor
    metrics: MetricsPort
    call_counts: CallCounts
    accounts: AccountService
    authentication: AuthenticationService
    login_changes: LoginChanges
    password_resets: PasswordResetService
    mailed_resets: MailedResets
    admin: AdminService
    clock_monitor: ClockMonitor
    call_paces: CallPaces
    connections: ConnectionService
    validation: TokenValidationService
    hook: SessionHook
    renewal_consents: RenewalConsents
    renewal: RenewalService
    fyers_login: FyersLoginService
    login_links: LoginLinkService
    market: MarketService
    hma: HMAService
    chart: ChartService
    monitoring: MonitoringService
    readiness: ReadinessService
    notifications: NotificationService
    channels: ChannelService
    mail_confirmation: MailConfirmation
    outbox: Outbox
    daily_summary: DailySummary
    job_alerts: JobAlerts
    symbol_outages: SymbolOutages
    broker_alerts: BrokerAlerts
    heartbeat_ping: HeartbeatPing | None
    storage_health: StorageHealth
    storage_alerts: StorageAlerts
    server_health: ServerHealth
