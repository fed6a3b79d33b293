"""Opens the adapters that the services need, and closes them in reverse order."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom

import stamina
import structlog

from hullwatch import __version__
from hullwatch.app.calendar_file import read_calendar
from hullwatch.app.followed_clock import FollowedClock, following_clock
from hullwatch.app.options import ServiceOptions
from hullwatch.channels.carriers import Carriers
from hullwatch.channels.guard import AddressGuard
from hullwatch.channels.ping import HttpPing
from hullwatch.channels.smtp import SmtpServer
from hullwatch.domain.events import Event
from hullwatch.domain.failures import Refusal
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import FyersApp, read_fyers_app
from hullwatch.fyers.client import FyersAddresses, FyersClient
from hullwatch.fyers.rate_limit import PacingLimits
from hullwatch.fyers.transport import TimeLimits
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock, SystemClock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.operations.call_counts import CallCounts
from hullwatch.services.operations.heartbeat_ping import PingPort
from hullwatch.services.ports import BrokerPort, ChannelPort, SharedChecks
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.users.passwords import ArgonHasher, HasherPort
from hullwatch.settings import Settings, SettingsRefused
from hullwatch.sharing.redis_checks import RedisChecks
from hullwatch.storage.start import open_store
from hullwatch.storage.store import Store
from hullwatch.web.metrics import PrometheusMetrics


@dataclass(frozen=True, slots=True)
class Resources:
    """Every port that `build_services` needs: adapters in the product, fakes in tests."""

    context: Context
    options: ServiceOptions
    broker: BrokerPort
    channels: ChannelPort
    hasher: HasherPort
    metrics: MetricsPort
    supervisor: Supervisor
    call_counts: CallCounts
    server_app: FyersApp | None = None
    """The Fyers app that all users share, if there is one."""
    shared: SharedChecks | None = None
    ping: PingPort | None = None
    clock_responds: Callable[[], bool] | None = None
    """Whether the clock that is followed responds, if one is."""


def new_id(prefix: str) -> str:
    """Return an unguessable id with its prefix: ``usr_…``, ``inc_…``."""
    return f"{prefix}_{secrets.token_hex(10)}"


@asynccontextmanager
async def open_resources(
    settings: Settings,
    *,
    metrics: PrometheusMetrics,
    clock: Clock | None = None,
    calendar: MarketCalendar | None = None,
    random: Random | None = None,
) -> AsyncIterator[Resources]:
    """Open every adapter, with the database at its newest version; close them in reverse.

    Raises:
        SettingsRefused: A setting cannot be used.
        DatabaseUnusable: The database cannot be used.
        KeysUnusable: The encryption keys cannot be used.
    """
    random = random or SystemRandom()
    calendar = calendar or read_calendar(settings)
    async with AsyncExitStack() as stack:
        if clock is None:
            clock = await _clock(stack, settings)
        followed = clock if isinstance(clock, FollowedClock) else None
        store = await _store(stack, settings)
        # After a restart a reader sends a smaller number, so the server reports that it missed events.
        hub: Broadcast[Event] = Broadcast(first_sequence=int(clock.real.now().timestamp() * 1_000_000))
        stack.callback(hub.close)
        context = Context(store, clock, calendar, hub, random, new_id, secrets.token_urlsafe)
        call_counts = CallCounts(clock)
        ping_url = settings.ping_url.get_secret_value()
        yield Resources(
            context=context,
            options=ServiceOptions.of(settings),
            broker=_broker(stack, settings, context, metrics, call_counts),
            channels=_carriers(stack, settings, clock.real),
            hasher=ArgonHasher(),
            metrics=metrics,
            supervisor=Supervisor(clock, random, structlog.get_logger(), on_restart=metrics.job_restart),
            call_counts=call_counts,
            server_app=server_app(settings),
            shared=await _shared_checks(stack, settings, store, clock.real, random),
            ping=HttpPing(SecretText(ping_url)) if ping_url else None,
            clock_responds=(lambda: followed.is_responding) if followed else None,
        )


async def _clock(stack: AsyncExitStack, settings: Settings) -> Clock:
    if settings.clock_url:
        return await stack.enter_async_context(following_clock(settings.clock_url))
    return SystemClock()


async def _store(stack: AsyncExitStack, settings: Settings) -> Store:
    make_data_dir(settings.data_dir)
    keys = settings.encryption_keys.get_secret_value()
    store = await open_store(settings.database, keys, settings.data_dir)
    stack.push_async_callback(store.close)
    return store


def _broker(
    stack: AsyncExitStack,
    settings: Settings,
    context: Context,
    metrics: PrometheusMetrics,
    call_counts: CallCounts,
) -> FyersClient:
    # The client logs changes; a line for every retry would hide them.
    stamina.instrumentation.set_on_retry_hooks(())
    client = FyersClient(
        FyersAddresses(settings.fyers_base_url, settings.fyers_data_url, settings.fyers_public_url),
        context.clock,
        context.random,
        pacing=PacingLimits(
            per_second=settings.fyers_calls_per_second,
            per_minute=settings.fyers_calls_per_minute,
            per_day=settings.fyers_calls_per_day,
            per_second_total=settings.fyers_calls_per_second_total,
        ),
        time_limits=TimeLimits(settings.fyers_timeout_seconds, settings.fyers_connect_timeout_seconds),
        on_session_call=call_counts.note,
        on_call=lambda call, outcome, seconds: metrics.fyers_call(call.path, outcome, seconds),
    )
    stack.push_async_callback(client.close)
    return client


async def _shared_checks(
    stack: AsyncExitStack, settings: Settings, store: Store, clock: Clock, random: Random
) -> RedisChecks | None:
    """Return the adapter for validations shared with other processes, if Redis is set."""
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
            clock=clock,
            random=random,
        )
    except ValueError as problem:
        raise SettingsRefused(f"HULLWATCH_REDIS_URL cannot be used: it is {problem}.") from None
    stack.push_async_callback(shared.close)
    return shared


def _carriers(stack: AsyncExitStack, settings: Settings, clock: Clock) -> Carriers:
    carriers = Carriers(
        guard=AddressGuard(allows_private=settings.notify_private_addresses),
        clock=clock,
        server=smtp_server(settings),
        public_url=settings.public_url,
        version=__version__,
    )
    stack.push_async_callback(carriers.close)
    return carriers


def make_data_dir(path: Path) -> None:
    """Make the data folder, readable by its owner alone.

    Raises:
        SettingsRefused: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsRefused(f"HULLWATCH_DATA_DIR cannot be used: {error.strerror} ({path}).") from None


def server_app(settings: Settings) -> FyersApp | None:
    """Return the Fyers app that all users share, if one is set.

    Raises:
        SettingsRefused: It cannot be used.
    """
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
