"""Stores when single symbols were not monitored, and notifies their user once of each time and of its end."""

import asyncio
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.lines import Line, Monitored, may_last, monitored
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
PURGE_EVERY_S: Final = 3600.0
KEPT: Final = timedelta(days=400)
"""A year and a month: the month view of coverage still shows the same month of the year before."""
NOTIFY_AFTER: Final = timedelta(minutes=2)
"""Since the outage was noticed: shorter ones happen every day, and their candles are read afterwards."""
ACCOUNTS_PER_STEP: Final = 200
"""Accounts that are looked at before other tasks run."""

_Key = tuple[str, Symbol | None]
_Present = dict[Symbol | None, tuple[Obstacle, datetime | None]]
"""What is not monitored now: symbol → reason and time; `None` stands for the whole account."""
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
        self._missing_candles: dict[str, frozenset[str]] = {}
        """User → ids of the stored outages for candles that are still missing."""

    def start_jobs(self, supervisor: Supervisor) -> None:
        """Begin to check, and to remove old outages."""
        supervisor.every("symbol-outages", CHECK_EVERY_S, self.check, essential=False)
        supervisor.every("symbol-outage-purge", PURGE_EVERY_S, self.purge, essential=False)

    async def purge(self) -> None:
        """Remove outages that ended long ago."""
        async with self._store.begin() as work:
            await work.symbol_outages.purge(ended_before=self._clock.now() - KEPT)
            await work.commit()

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
            await self._store_missing_candles(user_id)
            if number % ACCOUNTS_PER_STEP == 0:
                await asyncio.sleep(0)

    def _has_problem(self, user_id: str) -> bool:
        is_refused = self._monitoring.status(user_id) is WatchStatus.NOT_PERMITTED
        return is_refused or bool(self._monitoring.problems(user_id))

    async def _store_missing_candles(self, user_id: str) -> None:
        """Store each candle that stays missing, as an outage of its length; the watch shows it, without a notice."""
        outages = [
            replace(_outage(user_id, symbol, Obstacle.CANDLES_MISSING, began_at), ended_at=ended_at)
            for symbol, began_at, ended_at in self._monitoring.missing_candles(user_id)
        ]
        stored = self._missing_candles.pop(user_id, frozenset())
        if new := [one for one in outages if one.id not in stored]:
            await self._save(new, [], [])
        if outages:
            self._missing_candles[user_id] = frozenset(one.id for one in outages)

    async def _check_account(self, user_id: str, known: Mapping[Symbol | None, SymbolOutage]) -> None:
        now, status = self._clock.now(), self._monitoring.status(user_id)
        lines = self._monitoring.lines(user_id)
        found = monitored(lines)
        present: _Present = {}
        if self._monitoring.is_wanted(user_id):
            if status not in (*_NOW_MONITORED, WatchStatus.NOT_PERMITTED):
                return  # nothing is known of the symbols while the account is blind
            present = {**_lasting(known, lines), **_present(found, status)}
        ended = [
            replace(one, ended_at=now)
            for symbol, one in known.items()
            if present.get(symbol, (None, None))[0] is not one.obstacle
        ]
        begun = [] if status is WatchStatus.MARKET_CLOSED else _begun(user_id, known, present, now)
        lasting = [one for one in known.values() if all(other.id != one.id for other in ended)]
        due = [one for one in (*lasting, *begun) if self._is_due(one, now)]
        if not (ended or begun or due):
            return
        notices = []
        if due:
            notices.append(compose_outages(user_id, due, found, now=now, new_id=self._new_id))
        if status in _NOW_MONITORED:
            over = {one.notified_at for one in ended} - {one.notified_at for one in (*lasting, *begun)}
            notices += [
                compose_recoveries(user_id, recovered, now=now, new_id=self._new_id)
                for recovered in await self._recovered(user_id, over, present)
            ]
        changed = [replace(one, notified_at=now) for one in due]
        await self._save(begun, [*ended, *changed], notices)
        self._remember(begun, ended, changed)

    def _is_due(self, outage: SymbolOutage, now: datetime) -> bool:
        noticed_at = self._noticed_at.setdefault(outage.id, now)
        return outage.notified_at is None and now - noticed_at >= NOTIFY_AFTER

    async def _recovered(
        self, user_id: str, over: Iterable[datetime | None], present: Container[Symbol | None]
    ) -> list[list[SymbolOutage]]:
        """Return the outages of each notice that has no lasting one, one for each symbol that is monitored again."""
        notified = sorted(moment for moment in over if moment is not None)
        if not notified:
            return []
        async with self._store.begin(read_only=True) as work:
            stored = await work.symbol_outages.of_user(user_id, since=notified[0], before=self._clock.now())
        found = []
        for moment in notified:
            of_notice = {one.symbol: one for one in reversed(stored) if one.notified_at == moment}
            recovered = [
                one
                for symbol, one in reversed(of_notice.items())
                if symbol not in present and self._is_on_watchlist(user_id, one)
            ]
            found += [recovered] if recovered else []
        return found

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


def _lasting(known: Mapping[Symbol | None, SymbolOutage], lines: Iterable[Line]) -> _Present:
    """Return the stored outages of which nothing shows yet that they have ended."""
    return {
        symbol: (one.obstacle, one.began_at)
        for symbol, one in known.items()
        if may_last(lines, symbol, one.obstacle, one.began_at)
    }


def _present(found: Monitored, status: WatchStatus) -> _Present:
    if status is WatchStatus.NOT_PERMITTED:
        return {None: (Obstacle.NOT_PERMITTED, None)}
    return {line.symbol: (line.obstacle, line.since) for line in found.missing if line.obstacle is not None}


def _begun(
    user_id: str, known: Mapping[Symbol | None, SymbolOutage], present: _Present, now: datetime
) -> list[SymbolOutage]:
    """Return the outages that are not stored yet, and those that have another reason than the stored one."""
    begun = []
    for symbol, (obstacle, since) in present.items():
        before = known.get(symbol)
        if before is None or before.obstacle is not obstacle:
            outage = _outage(user_id, symbol, obstacle, now if before else since or now)
            # A new reason of the same incident is no new notice.
            begun.append(replace(outage, notified_at=before.notified_at if before else None))
    return begun


def _outage(user_id: str, symbol: Symbol | None, obstacle: Obstacle, began_at: datetime) -> SymbolOutage:
    """Return a new outage; its id follows from its facts, so that two processes store it once."""
    identity = f"{user_id} {symbol} {obstacle.value} {began_at.isoformat()}"
    return SymbolOutage(
        f"out_{sha256(identity.encode()).hexdigest()[:20]}", user_id, symbol, obstacle, began_at
    )
