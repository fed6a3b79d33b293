"""All services over fakes; a crash keeps the database and forgets the rest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random

from fakes.clock import FakeClock
from fakes.resources import fake_resources
from fakes.store import FakeStore, FakeUnitOfWork

from hullwatch.app.options import ServiceOptions
from hullwatch.app.services import build_services
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.secrets import AppSecret
from hullwatch.domain.sessions.connection import Connection, Credential, NewLogin
from hullwatch.domain.sessions.tokens import next_daily_expiry
from hullwatch.domain.signals.replay import replay
from hullwatch.domain.signals.signals import Rule, Signal
from hullwatch.domain.users.accounts import FyersApp, Role, User
from hullwatch.services.notifications.delivery import Outbox

MONDAY = date(2026, 11, 23)
OPENING = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
"""09:15 IST of a Monday."""
CLOSING = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SBIN = Symbol("NSE:SBIN-EQ")
INFY = Symbol("NSE:INFY-EQ")
FIVE = Resolution("5")
APP = FyersApp("HULLWATCH-100", AppSecret("simulator"), "http://127.0.0.1:8000/api/fyers/callback")
ALICE, BOB, CAROL, DAVE = "usr_alice", "usr_bob", "usr_carol", "usr_dave"
PERIOD = 4
CALENDAR = MarketCalendar()
"""Every weekday trades."""


def fyers_id(user_id: str) -> str:
    """Return the Fyers id that a test user logs in with."""
    return "F" + user_id.removeprefix("usr_").upper()


class HookedStore(FakeStore):
    """A store that tells a test before and after each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.before_commit: Callable[[], Awaitable[None]] | None = None
        self.after_commit: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def begin(self, *, read_only: bool = False) -> AsyncIterator[FakeUnitOfWork]:
        """Open a unit of work whose commit the test hears of first."""
        async with super().begin(read_only=read_only) as work:
            commit = work.commit

            async def hooked() -> None:
                if self.before_commit is not None:
                    await self.before_commit()
                await commit()
                if self.after_commit is not None:
                    await self.after_commit()

            work.commit = hooked
            yield work

    def copied(self) -> "HookedStore":
        """Return another store with what is committed in this one."""
        other = HookedStore()
        other.tables = self.tables.copy()
        return other


class Environment:
    """The real services over a fake clock, broker and store; use `start` before time matters."""

    def __init__(
        self,
        *,
        now: datetime = OPENING + timedelta(minutes=30, seconds=30),
        clock: FakeClock | None = None,
        store: FakeStore | None = None,
        seed: int = 7,
        ids: Callable[[str], str] | None = None,
        calendar: MarketCalendar = CALENDAR,
        options: ServiceOptions | None = None,
        links=None,
        **ports,
    ) -> None:
        self.options = options or ServiceOptions()
        self.links = links
        self.resources = resources = fake_resources(
            clock=clock or FakeClock(now),
            store=store or HookedStore(),
            calendar=calendar,
            random=Random(seed),
            new_id=ids,
            options=self.options,
            **{"server_app": APP, **ports},
        )
        self.clock, self.store, self.broker = (
            resources.context.clock,
            resources.context.store,
            resources.broker,
        )
        self.random, self.calendar, self.hub = resources.context.random, calendar, resources.context.hub
        self.new_id, self.metrics, self.carriers = (
            resources.context.new_id,
            resources.metrics,
            resources.channels,
        )
        self.context = resources.context
        self.services = build_services(resources)
        if links is not None:
            outbox = Outbox(
                resources.context, channels=self.carriers, metrics=self.metrics, make_link=links.link_for
            )
            self.services = replace(self.services, outbox=outbox)

    def __getattr__(self, name: str):
        """Return the service of this name."""
        return getattr(self.services, name)

    # ---- start and stop

    async def start(
        self,
        *,
        with_monitoring: bool = True,
        with_sweeps: bool = False,
        with_readiness: bool = False,
        with_outbox: bool = False,
        with_clock_monitor: bool = False,
        is_clock_confirmed: bool = True,
    ) -> "Environment":
        """Load and begin all jobs."""
        await self.call_paces.load()
        if not is_clock_confirmed:
            self.clock_monitor.distrust_until_confirmed()
        await self.renewal_consents.load()
        await self.connections.load()
        if with_clock_monitor:
            self.clock_monitor.start_job(self.supervisor)
        self.connections.start_jobs()
        self.renewal.start_jobs()
        if with_monitoring:
            await self.monitoring.load()
            self.monitoring.start_jobs(self.supervisor)
        if with_sweeps:
            self.validation.start_periodic_validation(self.supervisor)
        if with_readiness:
            self.readiness.start_jobs()
        if with_outbox:
            self.outbox.start_jobs(self.supervisor)
        await self.clock.settle()
        return self

    async def stop(self) -> None:
        """End all jobs in order, as the product does."""
        stopping = asyncio.create_task(self.supervisor.stop(1))
        while not stopping.done():
            await self.clock.advance(0.5)
        await stopping
        await self.connections.store_observations()
        await self.call_paces.store()
        await self.monitoring.close()

    async def kill(self, store: FakeStore | None = None) -> "Environment":
        """End the process without a word and build a new one on what is stored, or on the given copy of it."""
        store = store or self.store.copied()
        doomed = [task for task in asyncio.all_tasks() if not _belongs_to_the_test(task)]
        for task in doomed:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*doomed, return_exceptions=True)
        self.broker.before_answer = None
        return Environment(
            clock=self.clock,
            store=store,
            broker=self.broker,
            seed=self.random.randrange(10_000),
            ids=self.new_id,
            calendar=self.calendar,
            options=self.options,
            channels=self.carriers,
            links=self.links,
        )

    # ---- users

    async def add_user(self, user_id: str, *, role: Role = Role.TRADER) -> None:
        """Store a user."""
        async with self.store.begin() as work:
            name = user_id.removeprefix("usr_")
            await work.users.add(
                User(user_id, f"{name}@example.com", name, role, self.clock.now()), "password hash"
            )
            await work.commit()

    async def log_in(self, user_id: str, *, lifetime: timedelta | None = None) -> Connection:
        """Log a user in at Fyers."""
        now = self.clock.now()
        return await self.connections.log_in(
            user_id,
            NewLogin(
                token=self.broker.issue_token(fyers_id(user_id), lifetime=lifetime),
                fyers_id=fyers_id(user_id),
                app_id="HULLWATCH-100",
                expires_at=next_daily_expiry(now) if lifetime is None else now + lifetime,
                actor=user_id,
            ),
        )

    async def with_sessions(self, *user_ids: str) -> "Environment":
        """Add users and log them in."""
        for user_id in user_ids:
            await self.add_user(user_id)
            await self.log_in(user_id)
        return self

    def credential(self, user_id: str) -> Credential:
        """Return the credential that calls may be made with."""
        credential = self.connections.credential(user_id)
        assert credential is not None
        return credential

    async def watch(
        self,
        user_id: str,
        *,
        symbol: Symbol = SBIN,
        rule: Rule = Rule.CROSS,
        period: int = PERIOD,
        resolution: Resolution = FIVE,
    ) -> Watch:
        """Put a symbol on the watchlist."""
        return await self.monitoring.add_watch(
            user_id, symbol=symbol, resolution=resolution, period=period, rule=rule
        )

    # ---- what came of it

    def stored(self, user_id: str) -> Connection | None:
        """Return the connection as it is stored."""
        return self.store.tables.connections.get(user_id)

    def notices(self, user_id: str, kind: NotificationKind | None = None) -> list[Notification]:
        """Return the stored notices of a user."""
        return [
            notice
            for notice in self.store.tables.notifications.values()
            if notice.user_id == user_id and kind in (None, notice.kind)
        ]

    def audit(self, user_id: str | None = None, prefix: str = "") -> list[str]:
        """Return the kinds of the audit trail's lines, oldest first."""
        return [
            entry.kind
            for entry in self.store.tables.audit
            if entry.kind.startswith(prefix) and user_id in (None, entry.user_id)
        ]

    def signals(self, user_id: str) -> list[Signal]:
        """Return stored signals, oldest candle first."""
        own = [signal for signal in self.store.tables.signals.values() if signal.user_id == user_id]
        return sorted(own, key=lambda signal: (signal.candle_opened_at, signal.watch_id))


def _belongs_to_the_test(task: asyncio.Task) -> bool:
    """Tell the tasks that run the test itself, which the loop knows beside those of the services."""
    runner = ("_call_in_runner_task", "_run_tests_and_fixtures")
    return task is asyncio.current_task() or task.get_coro().__qualname__.endswith(runner)


def candles_of(
    *, seed: int = 1, days_before: int = 2, days: int = 1, first_day: date = MONDAY, around: float = 100.0
) -> list[Candle]:
    """Return a lively market's 5-minute candles of some trading days before `first_day` and from it on."""
    random, price = Random(seed), around
    sessions = []
    moment = datetime.combine(first_day, datetime.min.time(), UTC)
    for _ in range(days_before):
        moment = CALENDAR.previous_session(moment).opens_at
        sessions.insert(0, CALENDAR.session_at(moment))
    moment = datetime.combine(first_day, datetime.min.time(), UTC)
    for _ in range(days):
        session = CALENDAR.next_session(moment)
        sessions.append(session)
        moment = session.closes_at
    candles = []
    for session in sessions:
        opened_at = session.opens_at
        while opened_at < session.closes_at:
            before, price = price, round(max(50.0, price + random.choice((-0.4, -0.1, 0.1, 0.4))), 2)
            low, high = min(before, price), max(before, price)
            candles.append(Candle(opened_at, before, high, low, price, 1000))
            opened_at += timedelta(minutes=5)
    return candles


def expected_signals(
    candles: Iterable[Candle],
    rule: Rule,
    *,
    after: datetime,
    through: datetime,
    symbol: Symbol = SBIN,
    period: int = PERIOD,
) -> list[tuple[datetime, str]]:
    """Return opening and direction of what a replay finds on candles that close in (after, through]."""
    report = replay(list(candles), symbol, period, FIVE, [rule], calendar=CALENDAR)
    return [
        (signal.candle_opened_at, signal.direction.value)
        for signal in report.signals
        if after < signal.candle_closed_at <= through
    ]


def found(signals: Iterable[Signal]) -> list[tuple[datetime, str]]:
    """Return opening and direction of stored signals."""
    return [(signal.candle_opened_at, signal.direction.value) for signal in signals]


def quote(symbol: Symbol = SBIN, ltp: float | None = 100.0) -> Quote:
    """Return a quote."""
    return Quote(symbol, ltp)
