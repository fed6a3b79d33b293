"""Stores when single symbols were not monitored, and notifies their user once of each time and of its end."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.lines import Monitored, monitored
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.outages import SymbolOutage
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.texts.outages import compose_outages, compose_recoveries

CHECK_EVERY_S: Final = 10.0
NOTIFY_AFTER: Final = timedelta(minutes=2)
"""Since the outage was noticed: shorter ones happen every day, and their candles are read afterwards."""
ACCOUNTS_PER_STEP: Final = 200
"""Accounts that are looked at before other tasks run."""

_Key = tuple[str, Symbol | None]
_NOW_MONITORED: Final = frozenset({WatchStatus.WATCHING, WatchStatus.MARKET_CLOSED})


class SymbolOutages:
    """Compares the symbols that are not monitored now with the stored outages."""

    def __init__(self, context: Context, *, monitoring: MonitoringService) -> None:
        self._store = context.store
        self._clock = context.clock
        self._hub = context.hub
        self._new_id = context.new_id
        self._monitoring = monitoring
        self._open: dict[_Key, SymbolOutage] | None = None
        self._noticed_at: dict[str, datetime] = {}
        """Outage id → when this process noticed it; its begin can be a whole candle earlier."""
        self._over: dict[str, list[SymbolOutage]] = {}
        """User → outages that have ended while others of the same notice last."""

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to check."""
        supervisor.every("symbol-outages", CHECK_EVERY_S, self.check, essential=False)

    async def check(self) -> None:
        """Store what has changed, with its notices.

        Raises:
            StorageUnavailable: The database did not answer; the next check stores it instead.
        """
        if self._open is None:
            async with self._store.begin(read_only=True) as work:
                self._open = {(one.user_id, one.symbol): one for one in await work.symbol_outages.all_open()}
        known: dict[str, dict[Symbol | None, SymbolOutage]] = {}
        for (user_id, symbol), outage in self._open.items():
            known.setdefault(user_id, {})[symbol] = outage
        for number, user_id in enumerate({*known, *self._monitoring.wanted_users()}, 1):
            if user_id in known or self._has_problem(user_id):
                await self._check_account(user_id, known.get(user_id, {}))
            if number % ACCOUNTS_PER_STEP == 0:
                await asyncio.sleep(0)

    def _has_problem(self, user_id: str) -> bool:
        is_refused = self._monitoring.status(user_id) is WatchStatus.NOT_PERMITTED
        return is_refused or bool(self._monitoring.problems(user_id))

    async def _check_account(self, user_id: str, known: Mapping[Symbol | None, SymbolOutage]) -> None:
        now, status = self._clock.now(), self._monitoring.status(user_id)
        found = monitored(self._monitoring.lines(user_id))
        present = _present(found, status)
        if status not in (*_NOW_MONITORED, WatchStatus.NOT_PERMITTED) and self._monitoring.is_wanted(user_id):
            return  # nothing is known of the symbols while the account is blind
        ended = [
            replace(one, ended_at=now)
            for symbol, one in known.items()
            if present.get(symbol, (None, None))[0] is not one.obstacle
        ]
        begun = []
        if status is not WatchStatus.MARKET_CLOSED:
            for symbol, (obstacle, since) in present.items():
                before = known.get(symbol)
                if before is None or before.obstacle is not obstacle:
                    outage = _outage(user_id, symbol, obstacle, now if before else since or now)
                    # A new reason of the same incident is no new notice.
                    begun.append(replace(outage, notified_at=before.notified_at if before else None))
        lasting = [one for one in known.values() if all(other.id != one.id for other in ended)]
        due = [one for one in (*lasting, *begun) if self._is_due(one, now)]
        if not (ended or begun or due):
            return
        over = [
            one
            for one in ended
            if one.notified_at and one.symbol not in present and self._is_on_watchlist(user_id, one)
        ]
        recovered = self._recovered(user_id, over, lasting)
        notices = []
        if due:
            notices.append(compose_outages(user_id, due, found, now=now, new_id=self._new_id))
        if recovered and status in _NOW_MONITORED:
            notices.append(compose_recoveries(user_id, recovered, now=now, new_id=self._new_id))
        changed = [replace(one, notified_at=now) for one in due]
        await self._save(begun, [*ended, *changed], notices)
        self._remember(begun, ended, changed)

    def _is_due(self, outage: SymbolOutage, now: datetime) -> bool:
        noticed_at = self._noticed_at.setdefault(outage.id, now)
        return outage.notified_at is None and now - noticed_at >= NOTIFY_AFTER

    def _recovered(
        self, user_id: str, over: list[SymbolOutage], lasting: list[SymbolOutage]
    ) -> list[SymbolOutage]:
        """Return the outages of one notice when the last of them has ended."""
        waiting = [*self._over.pop(user_id, ()), *over]
        still = {one.notified_at for one in lasting}
        if later := [one for one in waiting if one.notified_at in still]:
            self._over[user_id] = later
        return [one for one in waiting if one.notified_at not in still]

    def _is_on_watchlist(self, user_id: str, outage: SymbolOutage) -> bool:
        symbols = {line.symbol for line in self._monitoring.lines(user_id)}
        return self._monitoring.is_wanted(user_id) and (outage.symbol is None or outage.symbol in symbols)

    async def _save(
        self, begun: list[SymbolOutage], changed: list[SymbolOutage], notices: list[Notification]
    ) -> None:
        async with self._store.begin() as work:
            for outage in begun:
                await work.symbol_outages.add(outage)
            for outage in changed:
                await work.symbol_outages.update(outage)
            new = [notice for notice in notices if await work.notifications.add(notice)]
            await work.commit()
        publish_notices(self._hub, *new)

    def _remember(
        self, begun: list[SymbolOutage], ended: list[SymbolOutage], changed: list[SymbolOutage]
    ) -> None:
        assert self._open is not None  # noqa: S101 - read before the first account is checked
        for outage in ended:
            self._open.pop((outage.user_id, outage.symbol), None)
            self._noticed_at.pop(outage.id, None)
        for outage in (*begun, *changed):
            self._open[outage.user_id, outage.symbol] = outage


def _present(found: Monitored, status: WatchStatus) -> dict[Symbol | None, tuple[Obstacle, datetime | None]]:
    """Return what is not monitored now: symbol → reason and time; `None` stands for the whole account."""
    if status is WatchStatus.NOT_PERMITTED:
        return {None: (Obstacle.NOT_PERMITTED, None)}
    return {line.symbol: (line.obstacle, line.since) for line in found.missing if line.obstacle is not None}


def _outage(user_id: str, symbol: Symbol | None, obstacle: Obstacle, began_at: datetime) -> SymbolOutage:
    """Return a new outage; its id follows from its facts, so that two processes store it once."""
    identity = f"{user_id} {symbol} {obstacle.value} {began_at.isoformat()}"
    return SymbolOutage(
        f"out_{sha256(identity.encode()).hexdigest()[:20]}", user_id, symbol, obstacle, began_at
    )
