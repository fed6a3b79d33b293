"""The composition root: builds the house from settings, hands out keys, closes up in reverse.

Nothing else in the package knows which database, which broker and which clock are in use.
"""

import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random, SystemRandom

import stamina
import structlog
from fastapi import FastAPI

from hullwatch import __version__
from hullwatch.calendar_file import read_calendar
from hullwatch.channels.carriers import Carriers
from hullwatch.channels.guard import AddressGuard
from hullwatch.channels.ping import HttpPing
from hullwatch.channels.smtp import SmtpServer
from hullwatch.domain.accounts import FyersApp, read_fyers_app
from hullwatch.domain.check_times import read_check_times
from hullwatch.domain.events import Event
from hullwatch.domain.failures import Refusal, StorageUnavailable
from hullwatch.domain.market_calendar import MarketCalendar
from hullwatch.domain.secrets import SecretText
from hullwatch.fyers.client import FyersClient
from hullwatch.fyers.rate_limit import PacingLimits
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock, SystemClock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.accounts import AccountService, Registration
from hullwatch.services.administration import AdministrationService
from hullwatch.services.call_counts import CallCounts
from hullwatch.services.chart import ChartService
from hullwatch.services.connections import ConnectionService
from hullwatch.services.daily_summary import DailySummary
from hullwatch.services.dead_mans_switch import DeadMansSwitch
from hullwatch.services.hma import HMAService
from hullwatch.services.known_ends import end_warnings
from hullwatch.services.linking import LinkingService
from hullwatch.services.login_links import LoginLinkService
from hullwatch.services.logins import LoginService
from hullwatch.services.market import MarketService
from hullwatch.services.monitoring import MonitoringService
from hullwatch.services.notifications import NotificationService
from hullwatch.services.notifications.channels import ChannelService
from hullwatch.services.notifications.outbox import Outbox
from hullwatch.services.operator_notices import OperatorNotices
from hullwatch.services.passwords import ArgonHasher
from hullwatch.services.readiness import START_SHARE, ReadinessService, warming_at_once
from hullwatch.services.renewal import RenewalService
from hullwatch.services.renewal_consents import RenewalConsents
from hullwatch.services.token_validation import TokenValidationService
from hullwatch.settings import Settings, SettingsRefused
from hullwatch.sharing.redis_checks import RedisChecks
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.keys import load_keys
from hullwatch.storage.store import Store
from hullwatch.storage.upgrade import upgrade
from hullwatch.web.application import create_web
from hullwatch.web.built_pages import built_pages
from hullwatch.web.config import WebConfig
from hullwatch.web.dependencies import Readiness, Services
from hullwatch.web.metrics import PrometheusMetrics


def new_id(prefix: str) -> str:
    """Return an unguessable id that tells what it names: ``usr_…``, ``inc_…``."""
    return f"{prefix}_{secrets.token_hex(10)}"


@dataclass(frozen=True)
class House:
    """Everything that is built, by name."""

    settings: Settings
    clock: Clock
    calendar: MarketCalendar
    store: Store
    broker: FyersClient
    hub: Broadcast[Event]
    supervisor: Supervisor
    metrics: PrometheusMetrics
    accounts: AccountService
    logins: LoginService
    linking: LinkingService
    login_links: LoginLinkService
    renewals: RenewalConsents
    renewal: RenewalService
    administration: AdministrationService
    connections: ConnectionService
    validation: TokenValidationService
    market: MarketService
    hma: HMAService
    chart: ChartService
    call_counts: CallCounts
    monitoring: MonitoringService
    account_readiness: ReadinessService
    notifications: NotificationService
    shared: RedisChecks | None
    operator_notices: OperatorNotices
    dead_mans_switch: DeadMansSwitch | None
    channels: ChannelService
    outbox: Outbox
    daily_summary: DailySummary

    async def start(self) -> None:
        """Read what is stored and begin all jobs."""
        await self.renewals.load()  # first: ends that are due are dealt with as the connections are read
        await self.connections.load()
        await self.monitoring.load()
        self.connections.start_jobs()
        self.renewal.start_jobs()
        self.validation.start_periodic_validation(self.supervisor)
        self.monitoring.start_jobs(self.supervisor)
        self.account_readiness.start_jobs()
        self.outbox.start_jobs(self.supervisor)
        self.daily_summary.start_jobs(self.supervisor)
        self.supervisor.every(
            "removed-users", 10, self.accounts.forget_removed, at_start=False, essential=False
        )
        self.supervisor.every("login-purge", 3600, self._purge_logins, essential=False)
        self.supervisor.every("metrics", 10, self._measure, essential=False)
        self.operator_notices.start_job(self.supervisor)
        if self.dead_mans_switch is not None:
            self.dead_mans_switch.start_job(self.supervisor, self.settings.ping_seconds)

    def web(self, config: WebConfig) -> FastAPI:
        """Return the HTTP door to this house."""
        services = Services(
            accounts=self.accounts,
            logins=self.logins,
            linking=self.linking,
            login_links=self.login_links,
            renewals=self.renewals,
            connections=self.connections,
            validation=self.validation,
            market=self.market,
            hma=self.hma,
            chart=self.chart,
            call_counts=self.call_counts,
            circuits=self.broker.circuits,
            monitoring=self.monitoring,
            account_readiness=self.account_readiness,
            notifications=self.notifications,
            channels=self.channels,
            administration=self.administration,
            hub=self.hub,
            clock=self.clock,
            jobs=self.supervisor.jobs,
            readiness=self.readiness,
            metrics=self.metrics,
        )
        return create_web(services, config)

    def web_config(self) -> WebConfig:
        """Return how this install is reached."""
        settings = self.settings
        return WebConfig(
            public_url=settings.public_url,
            version=__version__,
            hma_period=settings.hma_period,
            hma_resolution=settings.hma_resolution,
            registration=settings.registration_mode,
            dashboard_check_minutes=settings.dashboard_check_minutes,
            monitor_interval_s=settings.monitor_interval_seconds,
            pages=built_pages(),
            serves_metrics=not settings.metrics_address,
        )

    async def readiness(self) -> tuple[Readiness, ...]:
        """Return whether what the server stands on is there."""
        try:
            await self.store.ping()
            database = Readiness("database", is_ready=True)
        except StorageUnavailable:
            database = Readiness("database", is_ready=False, detail="The database does not answer.")
        if self.shared is None:
            return (database,)
        is_there = await self.shared.ping()
        detail = "" if is_there else "Redis does not answer; each process validates for itself meanwhile."
        return (database, Readiness("redis", is_ready=is_there, detail=detail, is_essential=False))

    async def stop(self, within_s: float) -> None:
        """End all jobs in order, within so many seconds of the house's clock, and store what they noted."""
        await self.supervisor.stop(within_s)
        try:
            await self.connections.store_observations()
            await self.monitoring.close()
        except StorageUnavailable:
            structlog.get_logger(component="Supervisor").warning("stop.unsaved_notes")

    async def _purge_logins(self) -> None:
        await self.logins.purge()
        await self.login_links.purge()

    async def _measure(self) -> None:
        self.metrics.session_states(
            Counter(connection.state for connection in self.connections.connections())
        )
        for job in self.supervisor.jobs():
            if job.last_success_at is not None:
                self.metrics.job_success(job.name, job.last_success_at)


@asynccontextmanager
async def open_house(
    settings: Settings,
    *,
    clock: Clock | None = None,
    calendar: MarketCalendar | None = None,
    random: Random | None = None,
) -> AsyncIterator[House]:
    """Build everything, with the database at its newest form; close it in reverse.

    Args:
        settings: What the operator wants.
        clock: The time that markets and tokens live in; the machine's unless the demo keeps the simulator's.
        calendar: Trading days; the exchange's with the operator's own file unless told otherwise.
        random: Source of jitter.

    Raises:
        SettingsRefused: A setting cannot be used.
        DatabaseUnusable: The database cannot be used.
        KeysUnusable: The encryption keys cannot be used.
    """
    clock = clock or SystemClock()
    wire_clock = SystemClock()  # the network lives in real time, whatever time the market keeps
    calendar = calendar or read_calendar(settings)
    random = random or SystemRandom()
    async with AsyncExitStack() as stack:
        make_data_dir(settings.data_dir)
        keys = load_keys(settings.encryption_keys.get_secret_value(), settings.data_dir)
        await upgrade(settings.database)
        store = Store(settings.database, Cipher(keys))
        stack.push_async_callback(store.close)
        await store.check_keys()  # with another database's keys every stored session would look unreadable
        metrics = PrometheusMetrics()
        # Readers from before a restart say a smaller number and are told that they missed something.
        hub: Broadcast[Event] = Broadcast(first_sequence=int(wire_clock.now().timestamp() * 1_000_000))
        stack.callback(hub.close)
        supervisor = Supervisor(clock, random, structlog.get_logger(), on_restart=metrics.job_restart)
        call_counts = CallCounts(clock)
        broker = await stack.enter_async_context(_broker(settings, clock, random, metrics, call_counts))
        connections = ConnectionService(
            store=store,
            broker=broker,
            clock=clock,
            random=random,
            supervisor=supervisor,
            hub=hub,
            new_id=new_id,
            wire_clock=wire_clock,
            warns_of_end=end_warnings(
                lambda user_id: monitoring.is_wanted(user_id),  # noqa: PLW0108 - monitoring is built below
                calendar,
                clock,
            ),
        )
        market = MarketService(connections=connections, broker=broker, calendar=calendar, clock=clock)
        monitoring = MonitoringService(
            store=store,
            connections=connections,
            market=market,
            calendar=calendar,
            clock=clock,
            random=random,
            hub=hub,
            metrics=metrics,
            new_id=new_id,
            interval_s=settings.monitor_interval_seconds,
            wire_clock=wire_clock,
            histories_per_second=settings.fyers_calls_per_second_total * START_SHARE,
        )
        shared = await _shared_checks(stack, settings, store, random)
        validation = TokenValidationService(
            connections=connections,
            broker=broker,
            clock=clock,
            random=random,
            metrics=metrics,
            cache_s=settings.validation_cache_seconds,
            interval_s=settings.validation_interval_minutes * 60,
            wire_clock=wire_clock,
            shared=shared,
        )
        account_readiness = ReadinessService(
            store=store,
            connections=connections,
            validation=validation,
            monitoring=monitoring,
            calendar=calendar,
            clock=clock,
            supervisor=supervisor,
            hub=hub,
            new_id=new_id,
            times=read_check_times(settings.readiness_times),
            at_once=warming_at_once(
                calls_per_second=settings.fyers_calls_per_second,
                calls_per_second_total=settings.fyers_calls_per_second_total,
            ),
            wire_clock=wire_clock,
        )
        server_app = _server_app(settings)
        renewals = RenewalConsents(
            store=store, clock=clock, is_offered=settings.fyers_refresh, server_app=server_app
        )
        renewal = RenewalService(
            consents=renewals,
            broker=broker,
            connections=connections,
            supervisor=supervisor,
            clock=clock,
            random=random,
            wire_clock=wire_clock,
        )
        hasher = ArgonHasher()
        logins = LoginService(store=store, clock=clock, new_id=new_id, hasher=hasher)
        accounts = AccountService(
            store=store,
            clock=clock,
            new_id=new_id,
            hasher=hasher,
            logins=logins,
            connections=_Keepers(connections, monitoring, renewals),
            registration=Registration(settings.registration_mode),
        )
        linking = LinkingService(
            store=store,
            broker=broker,
            connections=connections,
            clock=clock,
            server_app=server_app,
            renewals=renewals,
        )
        login_links = LoginLinkService(
            store=store,
            connections=connections,
            linking=linking,
            calendar=calendar,
            clock=clock,
            hub=hub,
            new_id=new_id,
            public_url=settings.public_url,
            lifetime=timedelta(minutes=settings.login_link_minutes),
        )
        administration = AdministrationService(store=store, connections=connections)
        carriers = _carriers(settings, wire_clock)
        stack.push_async_callback(carriers.close)
        outbox = Outbox(
            store=store,
            channels=carriers,
            clock=clock,
            wire_clock=wire_clock,
            random=random,
            hub=hub,
            metrics=metrics,
            new_id=new_id,
            links=login_links,
        )
        yield House(
            settings=settings,
            clock=clock,
            calendar=calendar,
            store=store,
            broker=broker,
            hub=hub,
            supervisor=supervisor,
            metrics=metrics,
            accounts=accounts,
            logins=logins,
            linking=linking,
            login_links=login_links,
            renewals=renewals,
            renewal=renewal,
            administration=administration,
            connections=connections,
            validation=validation,
            market=market,
            hma=HMAService(connections=connections, market=market, calendar=calendar, clock=clock),
            chart=ChartService(connections=connections, market=market, calendar=calendar, clock=clock),
            call_counts=call_counts,
            monitoring=monitoring,
            account_readiness=account_readiness,
            notifications=NotificationService(store=store, clock=clock),
            shared=shared,
            operator_notices=OperatorNotices(
                store=store,
                clock=clock,
                hub=hub,
                new_id=new_id,
                calendar=calendar,
                jobs=supervisor.jobs,
            ),
            dead_mans_switch=_dead_mans_switch(settings, monitoring),
            channels=ChannelService(store=store, channels=carriers, clock=clock, new_id=new_id),
            outbox=outbox,
            daily_summary=DailySummary(
                store=store, monitoring=monitoring, calendar=calendar, clock=clock, hub=hub, new_id=new_id
            ),
        )


def _dead_mans_switch(settings: Settings, monitoring: MonitoringService) -> DeadMansSwitch | None:
    url = settings.ping_url.get_secret_value()
    return DeadMansSwitch(vitals=monitoring.vitals, port=HttpPing(SecretText(url))) if url else None


async def _shared_checks(
    stack: AsyncExitStack, settings: Settings, store: Store, random: Random
) -> RedisChecks | None:
    """Return what is shared with other processes, if anything is."""
    url = settings.redis_url.get_secret_value()
    if not url:
        return None
    salt = await store.sharing_salt()
    try:
        shared = RedisChecks(
            SecretText(url),
            salt=salt,
            process=new_id("prc"),
            good_for_s=settings.validation_cache_seconds,
            wire_clock=SystemClock(),
            random=random,
        )
    except ValueError as problem:
        raise SettingsRefused(f"HULLWATCH_REDIS_URL cannot be used: it is {problem}.") from None
    stack.push_async_callback(shared.close)
    return shared


@asynccontextmanager
async def _broker(
    settings: Settings, clock: Clock, random: Random, metrics: PrometheusMetrics, call_counts: CallCounts
) -> AsyncIterator[FyersClient]:
    # The client logs what changed; a line for every repeated call would only hide it.
    stamina.instrumentation.set_on_retry_hooks(())
    client = FyersClient(
        base_url=settings.fyers_base_url,
        data_url=settings.fyers_data_url,
        public_url=settings.fyers_public_url,
        clock=clock,
        random=random,
        pacing=PacingLimits(
            per_second=settings.fyers_calls_per_second,
            per_minute=settings.fyers_calls_per_minute,
            per_day=settings.fyers_calls_per_day,
            per_second_total=settings.fyers_calls_per_second_total,
        ),
        timeout_s=settings.fyers_timeout_seconds,
        connect_timeout_s=settings.fyers_connect_timeout_seconds,
        on_session_call=call_counts.note,
        on_call=lambda call, outcome, seconds: metrics.fyers_call(call.path, outcome, seconds),
    )
    try:
        yield client
    finally:
        await client.close()


def _carriers(settings: Settings, wire_clock: Clock) -> Carriers:
    return Carriers(
        guard=AddressGuard(allows_private=settings.notify_private_addresses),
        clock=wire_clock,
        server=smtp_server(settings),
        public_url=settings.public_url,
        version=__version__,
    )


def smtp_server(settings: Settings) -> SmtpServer | None:
    """Return the operator's mail server, if one is set."""
    if not settings.smtp_host:
        return None
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        sender=settings.smtp_from,
        user=settings.smtp_user,
        password=SecretText(settings.smtp_password.get_secret_value()),
    )


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


def _server_app(settings: Settings) -> FyersApp | None:
    if not settings.fyers_app_id:
        return None
    try:
        return read_fyers_app(
            settings.fyers_app_id, settings.fyers_secret_key.get_secret_value(), settings.fyers_redirect_uri
        )
    except Refusal as refusal:
        raise SettingsRefused(
            f"FYERS_APP_ID, FYERS_SECRET_KEY or FYERS_REDIRECT_URI cannot be used: {refusal}"
        ) from None


def make_data_dir(path: Path) -> None:
    """Make the data folder, readable by its owner alone.

    Raises:
        SettingsRefused: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsRefused(f"HULLWATCH_DATA_DIR cannot be used: {error.strerror} ({path}).") from None
