"""Watchlists, the wish to be monitored, and what users ask about both; the cycles themselves are in ``runner``."""

from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta

import structlog

from hullwatch.domain.events import SignalFired
from hullwatch.domain.failures import InvalidInput, LimitReached, NotFound, Outcome
from hullwatch.domain.market.instruments import Resolution, Segment, Symbol
from hullwatch.domain.monitoring.coverage import HEARTBEAT_EVERY, STATUS_KIND, Coverage
from hullwatch.domain.monitoring.health import MonitoringHealth
from hullwatch.domain.monitoring.watches import MAX_WATCHES, MonitoringWish, Watch, WatchStatus
from hullwatch.domain.readiness.readiness import Line
from hullwatch.domain.sessions.connection import ConnectionChange
from hullwatch.domain.signals.hma import warm_up
from hullwatch.domain.signals.signals import Rule, Signal
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.coverage import CoverageReader
from hullwatch.services.monitoring.cycle import Tools
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.overview import (
    MonitoringState,
    OverviewRow,
    is_fed,
    overview_rows,
    state_of,
)
from hullwatch.services.monitoring.scheduler import Scheduler
from hullwatch.services.monitoring.server_lifecycle import ServerLifecycle, resume_account
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.sessions.service import ConnectionService


class MonitoringService:
    """Watches for everybody who wants it, as long as the process lives, and remembers the wish beyond that."""

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        market: MarketService,
        metrics: MetricsPort,
        interval_s: float = 5.0,
        histories_per_second: float = 150.0,
    ) -> None:
        """Keep what is needed.

        Started outside trading hours, the first cycles
        fetch about `histories_per_second` series: nobody is in a hurry then, and all at once would take every turn at the machine's gate.
        """
        self._store = context.store
        self._histories_per_second = histories_per_second
        self._calendar = context.calendar
        self._clock = context.clock
        self._connections = connections
        self._market = market
        self._new_id = context.new_id
        self._wishes: dict[str, MonitoringWish] = {}
        self._hub = context.hub
        self._metrics = metrics
        self._journal = Journal(context.store, self._announce)
        tools = Tools(
            connections, market, context.calendar, context.clock, self._journal, context.hub, metrics
        )
        self._runner = Scheduler(
            tools=tools,
            is_wanted=self.is_wanted,
            interval_s=interval_s,
            phase=context.random.random,
        )
        self._life = ServerLifecycle(context, self._journal)
        self.days = CoverageReader(
            context,
            calendars_of=lambda user_id: self._runner.run_of(user_id).watcher.calendars,
            flush=self._journal.flush,
        )
        connections.on_change(self._on_connection_change)
        self._log = structlog.get_logger(component="MonitoringService")

    # ---------------------------------------------------------------- life

    async def load(self) -> None:
        """Read wishes and watchlists; every wish is as it was left."""
        async with self._store.begin() as work:
            wishes = await work.watches.wishes()
            watches = await work.watches.list_all()
            down_since = await self._life.begin(work)
            last_lines = await work.audit.latest_by_user(kind_prefix=STATUS_KIND)
            await work.commit()
        self._wishes = {wish.user_id: wish for wish in wishes}
        for watch in watches:
            self._runner.run_of(watch.user_id).watcher.put(watch)
        over = self._first_cycles_within(len(watches))
        for wish in wishes:
            run = self._runner.run_of(wish.user_id)
            resume_account(
                self._runner.trail, run, wish, last_lines.get(wish.user_id), down_since or self._clock.now()
            )
            if wish.is_wanted:
                self._runner.wake_spread(wish.user_id, over)

    def _first_cycles_within(self, histories: int) -> timedelta:
        """Return over how long the first cycles are spread; never beyond half of the time to the opening."""
        now = self._clock.now()
        if self._calendar.session_at(now) is not None:
            return timedelta()
        opens_in = self._calendar.next_session(now).opens_at - now
        return min(timedelta(seconds=histories / self._histories_per_second), opens_in / 2)

    def start_jobs(self, supervisor: Supervisor) -> None:
        """Begin the cycles and the writing of what they note."""
        supervisor.spawn("monitoring", lambda: self._runner.run(lambda: supervisor.heartbeat("monitoring")))
        supervisor.spawn(
            "monitoring-journal",
            lambda: self._journal.run(self._clock, lambda: supervisor.heartbeat("monitoring-journal")),
        )
        # Beating every few seconds, it is late whenever the database is: that alone makes no server unready.
        supervisor.every("server-heartbeat", HEARTBEAT_EVERY.total_seconds(), self._beat, essential=False)

    async def close(self) -> None:
        """Note the orderly end and store what was only noted."""
        await self._life.end()

    async def _beat(self) -> None:
        self._runner.trail.note_fallen_out(self._runner.runs.values())
        await self._life.beat()

    def _announce(self, signal: Signal) -> None:
        self._metrics.signal()
        self._hub.publish(signal.user_id, SignalFired(signal))

    def _on_connection_change(self, change: ConnectionChange) -> None:
        """Each move wakes the account's watches: a login to go on, an end to be noticed by a cycle that schedules no other."""
        if self.is_wanted(change.after.user_id):
            self._runner.wake(change.after.user_id)

    # ---------------------------------------------------------------- the wish

    def is_wanted(self, user_id: str) -> bool:
        """Whether the user wants monitoring."""
        wish = self._wishes.get(user_id)
        return wish is not None and wish.is_wanted

    async def start(self, user_id: str) -> MonitoringState:
        """Remember that the user wants monitoring, and begin; candles that closed while it was not wanted give no signals."""
        run = self._runner.run_of(user_id)
        async with run.turn:
            if not self.is_wanted(user_id):
                now = self._clock.now()
                await run.watcher.save_unsaved()
                await self._put_wish(
                    MonitoringWish(user_id, is_wanted=True, changed_at=now), run.watcher.judge_from(now)
                )
                self._runner.trail.set_status(run, WatchStatus.STARTING)
                self._runner.wake(user_id)
        return self.state(user_id)

    async def stop(self, user_id: str) -> MonitoringState:
        """Remember that the user wants no monitoring, and end it."""
        run = self._runner.run_of(user_id)
        async with run.turn:
            if self.is_wanted(user_id):
                await run.watcher.save_unsaved()
                wish = MonitoringWish(user_id, is_wanted=False, changed_at=self._clock.now())
                await self._put_wish(wish, {})
                self._runner.trail.set_status(run, WatchStatus.NOT_WANTED)
        return self.state(user_id)

    async def _put_wish(self, wish: MonitoringWish, evaluated_through: dict[str, datetime]) -> None:
        async with self._store.begin() as work:
            await work.watches.put_wish(wish)
            if evaluated_through:
                await work.watches.advance(evaluated_through)
            await work.commit()
        self._wishes[wish.user_id] = wish

    def state(self, user_id: str) -> MonitoringState:
        """Return what the user wants and what is happening."""
        run = self._runner.run_of(user_id)
        return state_of(run, self._connections.connection(user_id), is_wanted=self.is_wanted(user_id))

    # ---------------------------------------------------------------- before the opening

    def wanted_users(self) -> tuple[str, ...]:
        """Return the users who want monitoring."""
        return tuple(user_id for user_id, wish in self._wishes.items() if wish.is_wanted)

    def lines(self, user_id: str) -> tuple[Line, ...]:
        """Return how far each line of the user's watchlist is prepared, from memory."""
        return self._runner.run_of(user_id).watcher.lines()

    def next_opening(self, user_id: str) -> datetime:
        """Return when the next session opens in which anything of the user's trades."""
        calendars, now = self._runner.run_of(user_id).watcher.calendars, self._clock.now()
        return min(calendar.next_session(now).opens_at for calendar in calendars)

    async def warm(self, user_id: str) -> tuple[Line, ...]:
        """Load what is missing of the account's history, through its own cycle, and return how far its lines are prepared then.

        Makes no call where nothing is missing, where monitoring is not wanted, or without a session that may be used.
        """
        run = self._runner.run_of(user_id)
        is_usable = self._connections.connection(user_id).is_usable
        if self.is_wanted(user_id) and is_usable and run.watcher.has_due_candles:
            await self._runner.run_now(user_id)
        return run.watcher.lines()

    # ---------------------------------------------------------------- the watchlist

    async def watches(self, user_id: str) -> list[Watch]:
        """Return the user's watchlist, oldest first."""
        watches = self._runner.run_of(user_id).watcher.watches.values()
        return sorted(watches, key=lambda watch: (watch.created_at, watch.id))

    async def add_watch(
        self, user_id: str, *, symbol: Symbol, resolution: Resolution, period: int, rule: Rule
    ) -> Watch:
        """Watch one thing more, for candles that close from now on.

        Raises:
            InvalidInput: The period is not one an HMA can have, or the exchange is not one that is watched.
            AlreadyExists: It is watched already.
            LimitReached: The watchlist is full.
        """
        warm_up(period)
        if symbol.segment in (Segment.COMMODITY, Segment.CURRENCY):
            raise InvalidInput(
                "Commodities and currencies trade in hours that hullwatch does not know yet; watch NSE or BSE shares, "
                "indices or contracts on them.",
                field="symbol",
            )
        run = self._runner.run_of(user_id)
        async with run.turn:
            if len(run.watcher.watches) >= MAX_WATCHES:
                raise LimitReached(
                    f"A watchlist holds {MAX_WATCHES} lines at most, so that Fyers' limits are kept."
                )
            now = self._clock.now()
            watch = Watch(
                self._new_id("wch"), user_id, symbol, resolution, period, rule, now, evaluated_through=now
            )
            async with self._store.begin() as work:
                await work.watches.add(watch)
                await work.commit()
            self._take_over(watch)
        return watch

    async def change_watch(
        self,
        user_id: str,
        watch_id: str,
        *,
        resolution: Resolution | None = None,
        period: int | None = None,
        rule: Rule | None = None,
    ) -> Watch:
        """Change a watch; it begins anew, for candles that close from now on.

        Raises:
            NotFound: The user has no such watch.
            InvalidInput: The period is not one an HMA can have.
            AlreadyExists: That is watched already.
        """
        watch = self._own(user_id, watch_id)
        changed = replace(
            watch,
            resolution=resolution or watch.resolution,
            period=watch.period if period is None else period,
            rule=rule or watch.rule,
            evaluated_through=self._clock.now(),
        )
        warm_up(changed.period)
        async with self._store.begin() as work:
            await work.watches.update(changed)
            await work.commit()
        self._take_over(changed)
        return changed

    async def remove_watch(self, user_id: str, watch_id: str) -> None:
        """Watch this no longer; its signals stay.

        Raises:
            NotFound: The user has no such watch.
        """
        self._own(user_id, watch_id)
        async with self._store.begin() as work:
            await work.watches.remove(user_id, watch_id)
            await work.commit()
        self._runner.run_of(user_id).watcher.discard(watch_id)

    def statuses(self) -> Counter[WatchStatus]:
        """Count the accounts that want monitoring and have a watchlist by how they stand."""
        return self._runner.statuses()

    def health(self) -> MonitoringHealth:
        """Return what cycles of all accounts did lately."""
        return self._runner.health()

    def known_users(self) -> frozenset[str]:
        """Return the users of whom a wish or a watchlist is remembered."""
        return frozenset(self._runner.runs) | frozenset(self._wishes)

    def forget(self, user_id: str) -> None:
        """Drop a removed user's watching; the caller removes what is stored."""
        self._wishes.pop(user_id, None)
        self._runner.remove(user_id)

    def _own(self, user_id: str, watch_id: str) -> Watch:
        watch = self._runner.run_of(user_id).watcher.watches.get(watch_id)
        if watch is None:
            raise NotFound("Your watchlist has no such line.")
        return watch

    def _take_over(self, watch: Watch) -> None:
        self._runner.run_of(watch.user_id).watcher.put(watch)
        if self.is_wanted(watch.user_id):
            self._runner.wake(watch.user_id)

    # ---------------------------------------------------------------- what came of it

    async def overview(self, user_id: str) -> list[OverviewRow]:
        """Return the watchlist with what was last known of each line; asks Fyers only for quotes that nobody else is fetching."""
        run = self._runner.run_of(user_id)
        if not is_fed(run) and run.watcher.watches:
            symbols = list(dict.fromkeys(watch.symbol for watch in run.watcher.watches.values()))
            answer = await self._market.quotes(user_id, symbols)
            if answer.outcome is Outcome.OK:
                run.watcher.remember_quotes(answer.quotes)
        watches = await self.watches(user_id)
        async with self._store.begin(read_only=True) as work:
            last = await work.watches.last_signals(user_id)
        return overview_rows(run.watcher, watches, last)

    async def signals(
        self,
        user_id: str,
        *,
        symbol: Symbol | None = None,
        since: datetime | None = None,
        before: datetime | None = None,
        limit: int = 100,
    ) -> list[Signal]:
        """Return the user's signals, newest candle first."""
        async with self._store.begin(read_only=True) as work:
            return await work.watches.signals(user_id, symbol=symbol, since=since, before=before, limit=limit)

    async def coverage(self, user_id: str, day: date | None = None) -> Coverage:
        """Return how much of an exchange day was watched, up to now; by default of today or the last trading day."""
        return (await self.days.of_day(user_id, day)).coverage
