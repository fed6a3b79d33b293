"""The services, built one after the other on the foundations: whoever needs another comes after it."""

from collections.abc import Callable
from datetime import timedelta

from hullwatch.app.application import Application
from hullwatch.app.resources import Resources, new_id
from hullwatch.channels.ping import HttpPing
from hullwatch.domain.readiness.check_times import read_check_times
from hullwatch.domain.secrets import SecretText
from hullwatch.services.login.links import LoginLinkService
from hullwatch.services.login.oauth import FyersLoginService
from hullwatch.services.market.chart import ChartService
from hullwatch.services.market.hma import HMAService
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.daily_summary import DailySummary
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.notifications.channels import ChannelService
from hullwatch.services.notifications.delivery import Outbox
from hullwatch.services.notifications.service import NotificationService
from hullwatch.services.operations.admin import AdminService
from hullwatch.services.operations.broker_alerts import BrokerAlerts, BrokerSigns
from hullwatch.services.operations.heartbeat_ping import HeartbeatPing
from hullwatch.services.operations.job_alerts import JobAlerts
from hullwatch.services.readiness.check import START_SHARE, warming_at_once
from hullwatch.services.readiness.service import ReadinessService
from hullwatch.services.renewal.consents import RenewalConsents
from hullwatch.services.renewal.service import RenewalService
from hullwatch.services.sessions.expiry import expiry_warnings
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService
from hullwatch.services.users.accounts import AccountService, Registration
from hullwatch.services.users.authentication import AuthenticationService
from hullwatch.services.users.passwords import ArgonHasher


def build_services(base: Resources) -> Application:
    """Build every service."""
    connections = _connections(base, lambda user_id: monitoring.is_wanted(user_id))  # noqa: PLW0108 - built below
    market = MarketService(
        connections=connections, broker=base.broker, calendar=base.calendar, clock=base.clock
    )
    monitoring = _monitoring(base, connections, market)
    validation = _validation(base, connections)
    account_readiness = _account_readiness(base, connections, validation, monitoring)
    renewals = _renewals(base)
    hasher = ArgonHasher()
    logins = AuthenticationService(store=base.store, clock=base.clock, new_id=new_id, hasher=hasher)
    linking = _linking(base, connections, renewals)
    login_links = _login_links(base, connections, linking)
    return Application(
        settings=base.settings,
        clock=base.clock,
        calendar=base.calendar,
        store=base.store,
        broker=base.broker,
        hub=base.hub,
        supervisor=base.supervisor,
        metrics=base.metrics,
        call_counts=base.call_counts,
        shared=base.shared,
        connections=connections,
        market=market,
        monitoring=monitoring,
        validation=validation,
        account_readiness=account_readiness,
        renewals=renewals,
        renewal=_renewal(base, renewals, connections),
        logins=logins,
        accounts=_accounts(base, logins, hasher, _Keepers(connections, monitoring, renewals)),
        linking=linking,
        login_links=login_links,
        administration=AdminService(store=base.store, connections=connections),
        hma=HMAService(connections=connections, market=market, calendar=base.calendar, clock=base.clock),
        chart=ChartService(connections=connections, market=market, calendar=base.calendar, clock=base.clock),
        notifications=NotificationService(store=base.store, clock=base.clock),
        channels=ChannelService(store=base.store, channels=base.carriers, clock=base.clock, new_id=new_id),
        outbox=_outbox(base, login_links),
        daily_summary=_daily_summary(base, monitoring, connections, renewals),
        job_alerts=_operator_notices(base),
        broker_alerts=_broker_notices(base, connections, monitoring),
        heartbeat_ping=_dead_mans_switch(base, monitoring),
    )


# ---------------------------------------------------------------- sessions and watching


def _connections(base: Resources, is_wanted: Callable[[str], bool]) -> ConnectionService:
    return ConnectionService(
        store=base.store,
        broker=base.broker,
        clock=base.clock,
        random=base.random,
        supervisor=base.supervisor,
        hub=base.hub,
        new_id=new_id,
        wire_clock=base.wire_clock,
        warns_of_expiry=expiry_warnings(is_wanted, base.calendar, base.clock),
    )


def _monitoring(base: Resources, connections: ConnectionService, market: MarketService) -> MonitoringService:
    settings = base.settings
    return MonitoringService(
        store=base.store,
        connections=connections,
        market=market,
        calendar=base.calendar,
        clock=base.clock,
        random=base.random,
        hub=base.hub,
        metrics=base.metrics,
        new_id=new_id,
        interval_s=settings.monitor_interval_seconds,
        wire_clock=base.wire_clock,
        histories_per_second=settings.fyers_calls_per_second_total * START_SHARE,
    )


def _validation(base: Resources, connections: ConnectionService) -> TokenValidationService:
    settings = base.settings
    return TokenValidationService(
        connections=connections,
        broker=base.broker,
        clock=base.clock,
        random=base.random,
        metrics=base.metrics,
        cache_s=settings.validation_cache_seconds,
        interval_s=settings.validation_interval_minutes * 60,
        wire_clock=base.wire_clock,
        shared=base.shared,
    )


def _account_readiness(
    base: Resources,
    connections: ConnectionService,
    validation: TokenValidationService,
    monitoring: MonitoringService,
) -> ReadinessService:
    settings = base.settings
    return ReadinessService(
        store=base.store,
        connections=connections,
        validation=validation,
        monitoring=monitoring,
        calendar=base.calendar,
        clock=base.clock,
        supervisor=base.supervisor,
        hub=base.hub,
        new_id=new_id,
        times=read_check_times(settings.readiness_times),
        at_once=warming_at_once(
            calls_per_second=settings.fyers_calls_per_second,
            calls_per_second_total=settings.fyers_calls_per_second_total,
        ),
        wire_clock=base.wire_clock,
    )


def _renewals(base: Resources) -> RenewalConsents:
    return RenewalConsents(
        store=base.store,
        clock=base.clock,
        is_offered=base.settings.fyers_refresh,
        server_app=base.server_app,
    )


def _renewal(base: Resources, renewals: RenewalConsents, connections: ConnectionService) -> RenewalService:
    return RenewalService(
        consents=renewals,
        broker=base.broker,
        connections=connections,
        supervisor=base.supervisor,
        clock=base.clock,
        random=base.random,
        wire_clock=base.wire_clock,
    )


# ---------------------------------------------------------------- people and their logins


class _Keepers:
    """Whoever remembers something about a user: a removed one is forgotten by all of them."""

    def __init__(
        self, connections: ConnectionService, monitoring: MonitoringService, renewals: RenewalConsents
    ) -> None:
        self._connections = connections
        self._monitoring = monitoring
        self._renewals = renewals

    def known(self) -> frozenset[str]:
        """Return the users of whom either remembers something."""
        connected = {connection.user_id for connection in self._connections.connections()}
        return self._monitoring.known_users() | connected

    async def forget(self, user_id: str) -> None:
        """Drop what is known of the user from memory."""
        self._monitoring.forget(user_id)
        self._renewals.forget(user_id)
        await self._connections.forget(user_id)


def _accounts(
    base: Resources, logins: AuthenticationService, hasher: ArgonHasher, keepers: _Keepers
) -> AccountService:
    return AccountService(
        store=base.store,
        clock=base.clock,
        new_id=new_id,
        hasher=hasher,
        logins=logins,
        connections=keepers,
        registration=Registration(base.settings.registration_mode),
    )


def _linking(base: Resources, connections: ConnectionService, renewals: RenewalConsents) -> FyersLoginService:
    return FyersLoginService(
        store=base.store,
        broker=base.broker,
        connections=connections,
        clock=base.clock,
        server_app=base.server_app,
        renewals=renewals,
    )


def _login_links(
    base: Resources, connections: ConnectionService, linking: FyersLoginService
) -> LoginLinkService:
    return LoginLinkService(
        store=base.store,
        connections=connections,
        linking=linking,
        calendar=base.calendar,
        clock=base.clock,
        hub=base.hub,
        new_id=new_id,
        public_url=base.settings.public_url,
        lifetime=timedelta(minutes=base.settings.login_link_minutes),
    )


# ---------------------------------------------------------------- what is told


def _outbox(base: Resources, login_links: LoginLinkService) -> Outbox:
    return Outbox(
        store=base.store,
        channels=base.carriers,
        clock=base.clock,
        wire_clock=base.wire_clock,
        random=base.random,
        hub=base.hub,
        metrics=base.metrics,
        new_id=new_id,
        links=login_links,
    )


def _daily_summary(
    base: Resources,
    monitoring: MonitoringService,
    connections: ConnectionService,
    renewals: RenewalConsents,
) -> DailySummary:
    return DailySummary(
        store=base.store,
        monitoring=monitoring,
        connections=connections,
        will_renew=renewals.will_try,
        calendar=base.calendar,
        clock=base.clock,
        hub=base.hub,
        new_id=new_id,
    )


def _operator_notices(base: Resources) -> JobAlerts:
    return JobAlerts(
        store=base.store,
        clock=base.clock,
        hub=base.hub,
        new_id=new_id,
        calendar=base.calendar,
        jobs=base.supervisor.jobs,
    )


def _broker_notices(
    base: Resources, connections: ConnectionService, monitoring: MonitoringService
) -> BrokerAlerts:
    def signs() -> BrokerSigns:
        validated = (one.last_validated_at for one in connections.connections())
        return BrokerSigns(
            circuits=base.broker.circuits(),
            statuses=monitoring.statuses(),
            answered_at=max((at for at in validated if at is not None), default=None),
            is_mass_refusal=connections.broker_outage is not None,
        )

    return BrokerAlerts(store=base.store, clock=base.clock, hub=base.hub, new_id=new_id, signs=signs)


def _dead_mans_switch(base: Resources, monitoring: MonitoringService) -> HeartbeatPing | None:
    url = base.settings.ping_url.get_secret_value()
    return HeartbeatPing(vitals=monitoring.vitals, port=HttpPing(SecretText(url))) if url else None
