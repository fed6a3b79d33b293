"""The composition root: builds every service from ports."""

from datetime import timedelta

from hullwatch.app.resources import Resources
from hullwatch.services.clock_monitor import ClockMonitor
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
from hullwatch.services.operations.broker_alerts import BrokerAlerts, BrokerSigns
from hullwatch.services.operations.call_paces import CallPaces
from hullwatch.services.operations.heartbeat_ping import HeartbeatPing
from hullwatch.services.operations.job_alerts import JobAlerts
from hullwatch.services.operations.server_health import ServerHealth
from hullwatch.services.operations.storage_alerts import StorageAlerts
from hullwatch.services.operations.storage_health import StorageHealth
from hullwatch.services.readiness.service import ReadinessService
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.renewal.hook import RenewalHook
from hullwatch.services.renewal.service import RenewalService
from hullwatch.services.services import Services
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService
from hullwatch.services.users.accounts import AccountService
from hullwatch.services.users.authentication import AuthenticationService
from hullwatch.services.users.hash_queue import HashQueue
from hullwatch.services.users.login_changes import LoginChanges
from hullwatch.services.users.mailed_resets import MailedResets
from hullwatch.services.users.password_resets import PasswordResetService


def build_services(resources: Resources) -> Services:
    """Return all services, each built after those it calls; starts nothing."""
    context, options, broker = resources.context, resources.options, resources.broker
    renewal_consents = RenewalConsents(
        context, is_offered=options.offers_renewal, server_app=resources.server_app
    )
    hook = RenewalHook(context, renewal_consents)
    clock_monitor = ClockMonitor(context.clock, broker.clock_offset)
    connections = ConnectionService(
        context,
        broker=broker,
        hook=hook,
        supervisor=resources.supervisor,
        clock_monitor=clock_monitor,
    )
    market = MarketService(context, connections=connections, broker=broker)
    monitoring = MonitoringService(
        context,
        connections=connections,
        market=market,
        metrics=resources.metrics,
        interval_s=options.monitor_interval_s,
        settle_s=options.candle_settle_s,
        calls_per_second_total=options.calls_per_second_total,
    )
    validation = TokenValidationService(
        context,
        connections=connections,
        broker=broker,
        metrics=resources.metrics,
        cache_s=options.validation_cache_s,
        interval_s=options.validation_interval_s,
        shared=resources.shared,
    )
    renewal = RenewalService(
        context,
        consents=renewal_consents,
        hook=hook,
        broker=broker,
        connections=connections,
        supervisor=resources.supervisor,
    )
    storage_health = StorageHealth(context, metrics=resources.metrics)
    hashing = HashQueue(resources.hasher)
    authentication = AuthenticationService(context, hashing=hashing)
    accounts = AccountService(
        context,
        hashing=hashing,
        logins=authentication,
        user_states=(connections, monitoring, renewal_consents),
    )
    fyers_login = FyersLoginService(
        context,
        broker=broker,
        connections=connections,
        server_app=resources.server_app,
        validation=validation,
        sign_out_timeout_s=options.sign_out_timeout_s,
        hook=hook,
    )
    login_links = LoginLinkService(
        context,
        connections=connections,
        logins=fyers_login,
        public_url=options.public_url,
        lifetime=options.login_link_lifetime,
    )
    readiness = ReadinessService(
        context,
        connections=connections,
        validation=validation,
        monitoring=monitoring,
        supervisor=resources.supervisor,
        times=options.readiness_times,
        at_once=options.warming_at_once,
    )
    for listener in (monitoring, validation, renewal, readiness):
        connections.subscribe(listener.session_changed)
    clock_monitor.subscribe(monitoring.clock_changed)
    mail_confirmation = MailConfirmation(context, channels=resources.channels)
    return Services(
        context=context,
        broker=broker,
        supervisor=resources.supervisor,
        metrics=resources.metrics,
        call_counts=resources.call_counts,
        accounts=accounts,
        authentication=authentication,
        login_changes=LoginChanges(context, logins=authentication),
        password_resets=PasswordResetService(
            context, accounts=accounts, logins=authentication, public_url=options.public_url
        ),
        mailed_resets=MailedResets(
            context,
            accounts=accounts,
            confirmation=mail_confirmation,
            channels=resources.channels,
            supervisor=resources.supervisor,
            public_url=options.public_url,
        ),
        admin=AdminService(context, connections=connections),
        clock_monitor=clock_monitor,
        call_paces=CallPaces(context, broker=broker),
        connections=connections,
        validation=validation,
        hook=hook,
        renewal_consents=renewal_consents,
        renewal=renewal,
        fyers_login=fyers_login,
        login_links=login_links,
        market=market,
        hma=HMAService(
            context,
            connections=connections,
            market=market,
            compare_history=monitoring.compare_history,
            settle_time=timedelta(seconds=options.candle_settle_s),
        ),
        chart=ChartService(
            context, connections=connections, market=market, compare_history=monitoring.compare_history
        ),
        monitoring=monitoring,
        readiness=readiness,
        notifications=NotificationService(context),
        channels=ChannelService(context, channels=resources.channels),
        mail_confirmation=mail_confirmation,
        outbox=Outbox(
            context, channels=resources.channels, metrics=resources.metrics, make_link=login_links.link_for
        ),
        daily_summary=DailySummary(context, monitoring=monitoring, connections=connections, hook=hook),
        job_alerts=JobAlerts(context, jobs=resources.supervisor.jobs),
        symbol_outages=SymbolOutages(context, monitoring=monitoring),
        broker_alerts=_broker_alerts(resources, connections, monitoring),
        heartbeat_ping=HeartbeatPing(
            health=monitoring.health, storage=storage_health.state, port=resources.ping
        )
        if resources.ping
        else None,
        storage_health=storage_health,
        storage_alerts=StorageAlerts(
            context, health=storage_health, channels=resources.channels, metrics=resources.metrics
        ),
        server_health=ServerHealth(
            context,
            storage=storage_health,
            shared=resources.shared,
            clock_responds=resources.clock_responds,
            clock_problem=clock_monitor.problem,
        ),
    )


def _broker_alerts(
    resources: Resources, connections: ConnectionService, monitoring: MonitoringService
) -> BrokerAlerts:
    def signs() -> BrokerSigns:
        validated = (one.last_validated_at for one in connections.connections())
        return BrokerSigns(
            circuits=resources.broker.circuits(),
            statuses=monitoring.statuses(),
            answered_at=max((at for at in validated if at is not None), default=None),
            is_mass_refusal=connections.broker_outage is not None,
        )

    return BrokerAlerts(resources.context, signs=signs)
