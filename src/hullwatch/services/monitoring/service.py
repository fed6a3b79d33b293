"""Watchlists, starting and stopping of monitoring, and the queries about both."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final

from hullwatch.domain.events import SignalFired
from hullwatch.domain.failures import InvalidInput, LimitReached, NotFound, Outcome
from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.clock_offset import ClockStep
from hullwatch.domain.market.instruments import Resolution, Segment, Symbol
from hullwatch.domain.monitoring.coverage import HEARTBEAT_EVERY, STATUS_KIND, Coverage
from hullwatch.domain.monitoring.health import MonitoringHealth
from hullwatch.domain.monitoring.lines import Line
from hullwatch.domain.monitoring.problems import SymbolProblem
from hullwatch.domain.monitoring.watches import MAX_WATCHES, MonitoringWish, Watch, WatchStatus
from hullwatch.domain.sessions.connection import ConnectionChange
from hullwatch.domain.signals.hma import warm_up
from hullwatch.domain.signals.signals import Rule, Signal
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.market.service import MarketService
from hullwatch.services.monitoring.coverage import CoverageReader
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.overview import (
    LineState,
    MonitoringState,
    OverviewRow,
    has_current_quotes,
    line_states,
    monitoring_health,
    overview_rows,
    state_of,
    status_of,
)
from hullwatch.services.monitoring.reading_plan import ReadingTimes
from hullwatch.services.monitoring.scheduler import CYCLE_DEADLINE_S, Scheduler
from hullwatch.services.monitoring.server_lifecycle import ServerLifecycle, resume_account
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.sessions.service import ConnectionService

START_SHARE: Final = 0.3
"""Of this server's calls, for the first cycles after a start outside trading hours; the rest is for readiness checks and all others."""


class MonitoringService:
    """Monitors every account that wants it; whether it does survives restarts."""

    def __init__(
        self,
        context: Context,
        *,
        connections: ConnectionService,
        market: MarketService,
        metrics: MetricsPort,
        interval_s: float = 5.0,
        settle_s: float = 3.0,
        calls_per_second_total: float = 500.0,
    ) -> None:
        """`settle_s` after a close its signal is read again; all accounts share `calls_per_second_total`."""
        self._store = context.store
        self._histories_per_second = calls_per_second_total * START_SHARE
        self._calendar = context.calendar
        self._clock = context.clock
        self._connections = connections
        self._market = market
        self._new_id = context.new_id
        self._wishes: dict[str, MonitoringWish] = {}
        self._hub = context.hub
        self._metrics = metrics
        self._journal = Journal(context, self._on_signal_stored)
        self._scheduler = Scheduler(
            context,
            connections=connections,
            market=market,
            journal=self._journal,
            metrics=metrics,
            is_wanted=self.is_wanted,
            times=ReadingTimes(
                timedelta(seconds=interval_s), timedelta(seconds=settle_s), calls_per_second_total
            ),
        )
        self._lifecycle = ServerLifecycle(context, self._journal)
        self.days = CoverageReader(
            context,
            calendars_of=lambda user_id: self._scheduler.account(user_id).watcher.calendars,
            flush=self._journal.flush,
        )

    # ---------------------------------------------------------------- start and stop of the server

    async def load(self) -> None:
        """Read watchlists and who wants monitoring, and schedule the first cycles."""
        async with self._store.begin() as work:
            wishes = await work.watches.wishes()
            watches = await work.watches.list_all()
            down_since = await self._lifecycle.record_start(work)
            last_entries = await work.audit.latest_by_user(kind_prefix=STATUS_KIND)
            await work.commit()
        self._wishes = {wish.user_id: wish for wish in wishes}
        for watch in watches:
            self._scheduler.account(watch.user_id).watcher.put(watch)
        over = self._first_cycles_within(len(watches))
        for wish in wishes:
            resume_account(
                self._scheduler.status_log,
                self._scheduler.account(wish.user_id),
                wish,
                last_entries.get(wish.user_id),
                down_since or self._clock.now(),
            )
            if wish.is_wanted:
                self._scheduler.wake_spread(wish.user_id, over)

    def _first_cycles_within(self, histories: int) -> timedelta:
        """Return over how long the first cycles are spread, at most half of the time to the market open."""
        now = self._clock.now()
        if self._calendar.session_at(now) is not None:
            return timedelta()
        opens_in = self._calendar.next_session(now).opens_at - now
        return min(timedelta(seconds=histories / self._histories_per_second), opens_in / 2)

    def start_jobs(self, supervisor: Supervisor) -> None:
        """Start the cycles, the writing of their results and the heartbeat."""
        supervisor.spawn(
            "monitoring", lambda: self._scheduler.run(lambda: supervisor.heartbeat("monitoring"))
        )
        supervisor.spawn(
            "monitoring-journal",
            lambda: self._journal.run(lambda: supervisor.heartbeat("monitoring-journal")),
        )
        # Not essential: it is late whenever the database is slow, and that alone makes no server unready.
        supervisor.every(
            "server-heartbeat", HEARTBEAT_EVERY.total_seconds(), self._heartbeat, essential=False
        )

    async def close(self) -> None:
        """Record the orderly stop and store what is queued."""
        await self._lifecycle.record_stop()

    async def _heartbeat(self) -> None:
        self._scheduler.record_missed_cycles()
        await self._lifecycle.record_heartbeat()

    def _on_signal_stored(self, signal: Signal) -> None:
        self._metrics.signal()
        self._hub.publish(signal.user_id, SignalFired(signal))

    def session_changed(self, change: ConnectionChange) -> None:
        """Run a cycle: it resumes monitoring after a login, and records a disconnect."""
        if self.is_wanted(change.after.user_id):
            self._scheduler.wake(change.after.user_id)

    def clock_changed(self, step: ClockStep | None) -> None:
        """Record a step of this machine's clock, and go on at the time that counts now."""
        if step is not None:
            self._lifecycle.record_clock_step(step)
            if step.is_followed:
                self._scheduler.clock_set(timedelta(seconds=step.seconds))

    # ---------------------------------------------------------------- start and stop of an account

    def is_wanted(self, user_id: str) -> bool:
        """Whether the user wants monitoring."""
        wish = self._wishes.get(user_id)
        return wish is not None and wish.is_wanted

    async def start(self, user_id: str) -> MonitoringState:
        """Start monitoring; candles that closed while it was stopped give no signals."""
        account = self._scheduler.account(user_id)
        async with account.lock:
            if not self.is_wanted(user_id):
                now = self._clock.now()
                await account.watcher.save_unsaved()
                await self._put_wish(MonitoringWish(user_id, is_wanted=True, changed_at=now))
                account.watcher.evaluate_from(now)
                self._scheduler.status_log.set_status(account, WatchStatus.STARTING)
                self._scheduler.wake(user_id)
        return self.state(user_id)

    async def stop(self, user_id: str) -> MonitoringState:
        """Stop monitoring; it stays stopped after a restart too."""
        account = self._scheduler.account(user_id)
        async with account.lock:
            if self.is_wanted(user_id):
                await account.watcher.save_unsaved()
                wish = MonitoringWish(user_id, is_wanted=False, changed_at=self._clock.now())
                await self._put_wish(wish)
                self._scheduler.status_log.set_status(account, WatchStatus.NOT_WANTED)
        return self.state(user_id)

    async def _put_wish(self, wish: MonitoringWish) -> None:
        async with self._store.begin() as work:
            await work.watches.put_wish(wish)
            if wish.is_wanted:
                await work.watches.evaluate_from(wish.user_id, wish.changed_at)
            await work.commit()
        self._wishes[wish.user_id] = wish

    def state(self, user_id: str) -> MonitoringState:
        """Return whether monitoring is wanted and running, and why not."""
        account, connection = self._scheduler.account(user_id), self._connections.connection(user_id)
        return state_of(
            account, connection, is_wanted=self.is_wanted(user_id), today=ist_date(self._clock.now())
        )

    def status(self, user_id: str) -> WatchStatus:
        """Return what monitoring does for the account now."""
        account, connection = self._scheduler.account(user_id), self._connections.connection(user_id)
        return status_of(account, connection, is_wanted=self.is_wanted(user_id))

    def line_states(self, user_id: str) -> dict[str, LineState]:
        """Return watch id → what monitoring does for that watch, and why it does not."""
        watcher = self._scheduler.account(user_id).watcher
        return line_states(watcher, self.status(user_id), today=ist_date(self._clock.now()))

    def compare_history(
        self, user_id: str, symbol: Symbol, resolution: Resolution, candles: Sequence[Candle]
    ) -> None:
        """Compare closed candles that another view of the user received with the used ones.

        If they differ, the next cycle fetches the whole history, so that all views show one number.
        """
        account = self._scheduler.accounts.get(user_id)
        if account is not None and account.watcher.compare_history((symbol, resolution), candles):
            self._scheduler.wake(user_id)

    # ---------------------------------------------------------------- before the market open

    def wanted_users(self) -> tuple[str, ...]:
        """Return the users who want monitoring."""
        return tuple(user_id for user_id, wish in self._wishes.items() if wish.is_wanted)

    def lines(self, user_id: str) -> tuple[Line, ...]:
        """Return how far each of the user's watches is prepared, from memory."""
        return self._scheduler.account(user_id).watcher.lines()

    def problems(self, user_id: str) -> tuple[SymbolProblem, ...]:
        """Return the problems of single symbols of the user, from memory."""
        return self._scheduler.account(user_id).watcher.problems()

    def missing_candles(self, user_id: str) -> list[tuple[Symbol, datetime, datetime]]:
        """Return symbol, begin and end of each slot of the day that stays without a candle although it was traded in."""
        return self._scheduler.account(user_id).watcher.missing_candles()

    def next_opening(self, user_id: str) -> datetime:
        """Return the next market open of any segment that the user watches."""
        calendars, now = self._scheduler.account(user_id).watcher.calendars, self._clock.now()
        return min(calendar.next_session(now).opens_at for calendar in calendars)

    async def warm(self, user_id: str) -> tuple[Line, ...]:
        """Fetch the account's missing history by running a cycle, and return how far its watches are prepared then.

        No call is made if nothing is missing, monitoring is not wanted or the session cannot be used.
        """
        account = self._scheduler.account(user_id)
        is_usable = self._connections.connection(user_id).is_usable
        if self.is_wanted(user_id) and is_usable and account.watcher.has_due_candles:
            await self._scheduler.run_now(user_id)
        return account.watcher.lines()

    # ---------------------------------------------------------------- the watchlist

    async def watches(self, user_id: str) -> list[Watch]:
        """Return the user's watchlist, oldest first."""
        watches = self._scheduler.account(user_id).watcher.watches.values()
        return sorted(watches, key=lambda watch: (watch.created_at, watch.id))

    async def add_watch(
        self, user_id: str, *, symbol: Symbol, resolution: Resolution, period: int, rule: Rule
    ) -> Watch:
        """Add a watch for candles that close from now on.

        Raises:
            InvalidInput: An HMA cannot have this period, or the segment is not supported.
            AlreadyExists: The watchlist has it already.
            LimitReached: The watchlist is full.
        """
        warm_up(period)
        if symbol.segment in (Segment.COMMODITY, Segment.CURRENCY):
            raise InvalidInput(
                "hullwatch does not know the trading hours of commodities and currencies yet. "
                "Watch NSE or BSE shares, indices or contracts on them.",
                field="symbol",
            )
        account = self._scheduler.account(user_id)
        async with account.lock:
            if len(account.watcher.watches) >= MAX_WATCHES:
                raise LimitReached(
                    f"A watchlist can have {MAX_WATCHES} watches, because Fyers limits the calls. Remove one first."
                )
            now = self._clock.now()
            watch = Watch(
                id=self._new_id("wch"),
                user_id=user_id,
                symbol=symbol,
                resolution=resolution,
                period=period,
                rule=rule,
                created_at=now,
                evaluated_through=now,
                signals_from=now,
            )
            async with self._store.begin() as work:
                await work.watches.add(watch)
                await work.commit()
            self._apply(watch)
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
        """Change a watch; it gives signals for candles that close from now on.

        Raises:
            NotFound: The user has no such watch.
            InvalidInput: An HMA cannot have this period.
            AlreadyExists: The watchlist has that already.
        """
        watch, now = self._own_watch(user_id, watch_id), self._clock.now()
        changed = replace(
            watch,
            resolution=resolution or watch.resolution,
            period=watch.period if period is None else period,
            rule=rule or watch.rule,
            evaluated_through=now,
            signals_from=now,
        )
        warm_up(changed.period)
        async with self._store.begin() as work:
            await work.watches.update(changed)
            await work.commit()
        self._apply(changed)
        return changed

    async def remove_watch(self, user_id: str, watch_id: str) -> None:
        """Remove a watch; its signals stay.

        Raises:
            NotFound: The user has no such watch.
        """
        self._own_watch(user_id, watch_id)
        async with self._store.begin() as work:
            await work.watches.remove(user_id, watch_id)
            await work.commit()
        self._scheduler.account(user_id).watcher.discard(watch_id)

    def statuses(self) -> Counter[WatchStatus]:
        """Count the accounts that want monitoring and have a watchlist, by status."""
        return Counter(account.status for account in self._scheduler.wanted_accounts())

    def health(self) -> MonitoringHealth:
        """Return how the cycles of all accounts have gone lately."""
        now, scheduler = self._clock.now(), self._scheduler
        return monitoring_health(
            scheduler.wanted_accounts(),
            self._connections.connection,
            now=now,
            session=self._calendar.session_at(now),
            # A cycle may last its whole deadline; with a fast market clock that is still an interval or two of slack.
            max_cycle=2 * scheduler.interval + timedelta(seconds=CYCLE_DEADLINE_S),
            stalled_for=timedelta(seconds=self._clock.monotonic() - scheduler.last_pass_s),
        )

    def known_users(self) -> frozenset[str]:
        """Return the users with state in memory."""
        return frozenset(self._scheduler.accounts) | frozenset(self._wishes)

    async def forget(self, user_id: str) -> None:
        """Drop a removed user's state; the caller removes what is stored."""
        self._wishes.pop(user_id, None)
        self._scheduler.remove(user_id)

    def _own_watch(self, user_id: str, watch_id: str) -> Watch:
        watch = self._scheduler.account(user_id).watcher.watches.get(watch_id)
        if watch is None:
            raise NotFound("Your watchlist has no such watch.")
        return watch

    def _apply(self, watch: Watch) -> None:
        self._scheduler.account(watch.user_id).watcher.put(watch)
        if self.is_wanted(watch.user_id):
            self._scheduler.wake(watch.user_id)

    # ---------------------------------------------------------------- queries

    async def overview(self, user_id: str) -> list[OverviewRow]:
        """Return the watchlist with the newest values; Fyers is called only for quotes that no cycle fetches."""
        account = self._scheduler.account(user_id)
        if not has_current_quotes(account) and account.watcher.watches:
            symbols = list(dict.fromkeys(watch.symbol for watch in account.watcher.watches.values()))
            answer = await self._market.quotes(user_id, symbols)
            if answer.outcome is Outcome.OK:
                account.watcher.remember_quotes(answer.quotes)
        watches = await self.watches(user_id)
        async with self._store.begin(read_only=True) as work:
            last = await work.watches.last_signals(user_id)
        return overview_rows(account.watcher, watches, last)

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
        """Return an exchange day's coverage up to now, by default of today or the last trading day."""
        return (await self.days.of_day(user_id, day)).coverage
