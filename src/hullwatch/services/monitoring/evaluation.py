"""Turns what an answer changed into signals, corrections and events of one account."""

from datetime import datetime

from hullwatch.domain.events import CandleClosed
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.signals.corrections import Recomputation
from hullwatch.domain.signals.feed_series import FoundSignal, Recalculation, Update
from hullwatch.domain.signals.signals import HistoryChange, Signal, is_late
from hullwatch.services.context import Context
from hullwatch.services.monitoring.feeds import FeedKey
from hullwatch.services.monitoring.gap import Gap
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.monitoring.watchlist import Watchlist
from hullwatch.services.sessions.service import ConnectionService


class Evaluation:
    """Evaluates candles for one account's watches."""

    def __init__(
        self,
        context: Context,
        user_id: str,
        *,
        watchlist: Watchlist,
        connections: ConnectionService,
        journal: Journal,
        gap: Gap,
    ) -> None:
        self._clock = context.clock
        self._hub = context.hub
        self._user_id = user_id
        self._watchlist = watchlist
        self._connections = connections
        self._journal = journal
        self._gap = gap

    async def apply(self, key: FeedKey, update: Update) -> None:
        """Queue signals, corrections and progress, publish the new candles, and store what is urgent."""
        watches = {watch.id: watch for watch in self._watchlist.on(key)}
        recomputed = [
            one
            for recalculation in update.recalculations
            if (watch := watches.get(recalculation.watch_id)) is not None
            and (one := self._recomputation(watch, recalculation, update.change)) is not None
        ]
        if recomputed:
            self._journal.add_corrections(self._user_id, recomputed)
        signals = [
            self._signal(watch, found)
            for found in update.signals
            if (watch := watches.get(found.watch_id)) is not None
            and found.closed_at > watch.evaluated_through
        ]
        self._publish(key, update, list(watches.values()))
        if update.accepted:
            self._watchlist.set_evaluated(key, update.accepted[-1][1])
            progress = {watch.id: watch.evaluated_through for watch in self._watchlist.on(key)}
            self._journal.add_results(self._user_id, signals, progress)
        if signals or recomputed:
            await self._journal.try_flush()

    def _publish(self, key: FeedKey, update: Update, watches: list[Watch]) -> None:
        """Publish each candle that one watch had not evaluated yet."""
        through = min((watch.evaluated_through for watch in watches), default=None)
        for candle, closed_at in update.accepted:
            if through is not None and closed_at > through:
                self._hub.publish(self._user_id, CandleClosed(self._user_id, *key, candle))

    def _recomputation(
        self, watch: Watch, found: Recalculation, change: HistoryChange | None
    ) -> Recomputation | None:
        """Return the signals to compare with the stored ones; `None` if there can be no difference."""
        through = min(found.covers_through, watch.evaluated_through)
        if found.covers_after is None or found.covers_after >= through:
            return None
        if change is None and watch.signals_from >= through:
            return None  # a new watch has no stored signals
        return Recomputation(
            watch_id=watch.id,
            user_id=self._user_id,
            symbol=watch.symbol,
            resolution=watch.resolution,
            period=watch.period,
            rule=watch.rule,
            signals_from=watch.signals_from,
            covers_after=found.covers_after,
            covers_through=through,
            signals=tuple(
                self._as_signal(watch, one, is_late=False)
                for one in found.signals
                if found.covers_after < one.closed_at <= through
            ),
            cause=change or HistoryChange.OTHER,
        )

    def _signal(self, watch: Watch, found: FoundSignal) -> Signal:
        late = is_late(found.closed_at, self._clock.now()) or self._closed_in_gap(found.closed_at)
        return self._as_signal(watch, found, is_late=late)

    def _as_signal(self, watch: Watch, found: FoundSignal, *, is_late: bool) -> Signal:
        return Signal(
            watch_id=watch.id,
            user_id=self._user_id,
            symbol=watch.symbol,
            resolution=watch.resolution,
            period=watch.period,
            rule=watch.rule,
            direction=found.direction,
            candle_opened_at=found.opened_at,
            candle_closed_at=found.closed_at,
            close=found.close,
            hma=found.hma,
            detected_at=self._clock.now(),
            is_late=is_late,
        )

    def _closed_in_gap(self, closed_at: datetime) -> bool:
        """Whether the candle closed while the account was blind or had no session."""
        if self._gap.contains(closed_at):
            return True
        connection = self._connections.connection(self._user_id)
        if connection.last_disconnect_at is None or connection.connected_at is None:
            return False
        return connection.last_disconnect_at <= closed_at <= connection.connected_at
