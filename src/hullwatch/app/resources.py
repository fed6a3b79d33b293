"""What the house stands on: whatever is opened, in order, and closed in reverse. The services on it are built in ``furnishing``."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random, SystemRandom

import stamina
import structlog

from hullwatch import __version__
from hullwatch.app.calendar_file import read_calendar
from hullwatch.app.given import make_data_dir, server_app, smtp_server
from hullwatch.channels.carriers import Carriers
from hullwatch.channels.guard import AddressGuard
from hullwatch.domain.events import Event
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.fyers.client import FyersClient
from hullwatch.fyers.rate_limit import PacingLimits
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock, SystemClock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.operations.call_counts import CallCounts
from hullwatch.settings import Settings, SettingsRefused
from hullwatch.sharing.redis_checks import RedisChecks
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.keys import load_keys
from hullwatch.storage.store import Store
from hullwatch.storage.upgrade import upgrade
from hullwatch.web.metrics import PrometheusMetrics


@dataclass(frozen=True, slots=True)
class Resources:
    """What all services are built on."""

    settings: Settings
    server_app: FyersApp | None
    """The Fyers app that all users share, if there is one."""
    clock: Clock
    """The time that markets and tokens live in."""
    wire_clock: Clock
    """The network lives in real time, whatever time the market keeps."""
    calendar: MarketCalendar
    random: Random
    store: Store
    metrics: PrometheusMetrics
    hub: Broadcast[Event]
    supervisor: Supervisor
    call_counts: CallCounts
    broker: FyersClient
    shared: RedisChecks | None
    carriers: Carriers


def new_id(prefix: str) -> str:
    """Return an unguessable id that tells what it names: ``usr_…``, ``inc_…``."""
    return f"{prefix}_{secrets.token_hex(10)}"


@asynccontextmanager
async def open_resources(
    settings: Settings, *, clock: Clock | None, calendar: MarketCalendar | None, random: Random | None
) -> AsyncIterator[Resources]:
    """Open everything, with the database at its newest form; close it in reverse.

    Raises:
        SettingsRefused: A setting cannot be used.
        DatabaseUnusable: The database cannot be used.
        KeysUnusable: The encryption keys cannot be used.
    """
    clock = clock or SystemClock()
    wire_clock = SystemClock()
    calendar = calendar or read_calendar(settings)
    random = random or SystemRandom()
    async with AsyncExitStack() as stack:
        store = await _store(stack, settings)
        metrics = PrometheusMetrics()
        # Readers from before a restart say a smaller number and are told that they missed something.
        hub: Broadcast[Event] = Broadcast(first_sequence=int(wire_clock.now().timestamp() * 1_000_000))
        stack.callback(hub.close)
        call_counts = CallCounts(clock)
        yield Resources(
            settings=settings,
            server_app=server_app(settings),
            clock=clock,
            wire_clock=wire_clock,
            calendar=calendar,
            random=random,
            store=store,
            metrics=metrics,
            hub=hub,
            supervisor=Supervisor(clock, random, structlog.get_logger(), on_restart=metrics.job_restart),
            call_counts=call_counts,
            broker=_broker(
                stack, settings, clock=clock, random=random, metrics=metrics, call_counts=call_counts
            ),
            shared=await _shared_checks(stack, settings, store, wire_clock, random),
            carriers=_carriers(stack, settings, wire_clock),
        )


async def _store(stack: AsyncExitStack, settings: Settings) -> Store:
    make_data_dir(settings.data_dir)
    keys = load_keys(settings.encryption_keys.get_secret_value(), settings.data_dir)
    await upgrade(settings.database)
    store = Store(settings.database, Cipher(keys))
    stack.push_async_callback(store.close)
    await store.check_keys()  # with another database's keys every stored session would look unreadable
    return store


def _broker(
    stack: AsyncExitStack,
    settings: Settings,
    *,
    clock: Clock,
    random: Random,
    metrics: PrometheusMetrics,
    call_counts: CallCounts,
) -> FyersClient:
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
    stack.push_async_callback(client.close)
    return client


async def _shared_checks(
    stack: AsyncExitStack, settings: Settings, store: Store, wire_clock: Clock, random: Random
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
            wire_clock=wire_clock,
            random=random,
        )
    except ValueError as problem:
        raise SettingsRefused(f"HULLWATCH_REDIS_URL cannot be used: it is {problem}.") from None
    stack.push_async_callback(shared.close)
    return shared


def _carriers(stack: AsyncExitStack, settings: Settings, wire_clock: Clock) -> Carriers:
    carriers = Carriers(
        guard=AddressGuard(allows_private=settings.notify_private_addresses),
        clock=wire_clock,
        server=smtp_server(settings),
        public_url=settings.public_url,
        version=__version__,
    )
    stack.push_async_callback(carriers.close)
    return carriers
