"""Stores how much of Fyers' rate limits each account has used, and loads it at the start."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from hullwatch.domain.market.calendar import ist_date
from hullwatch.domain.market.call_pace import CallPace
from hullwatch.domain.monitoring.coverage import STOPPED_KIND
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.ports import BrokerPort

STORE_EVERY_S: Final = 60.0


class CallPaces:
    """Keeps the paces of the broker in step with the database."""

    def __init__(self, context: Context, *, broker: BrokerPort) -> None:
        self._store = context.store
        self._clock = context.clock
        self._broker = broker
        self._stored: dict[tuple[str, str], CallPace] = {}
        """The latest stored pace of each account, by this process' own count."""

    async def load(self) -> None:
        """Restore the paces; an account gets few calls at first if the process before was killed.

        Raises:
            StorageUnavailable: The database is unavailable.
        """
        now = self._clock.now()
        async with self._store.begin() as work:
            await work.call_paces.purge(before=ist_date(now) - timedelta(days=1))
            known = await work.call_paces.list_all()
            server = await work.audit.server_lines(since=now)
            await work.commit()
        # The newest line is in the future if the clock was set back meanwhile.
        is_clean = not server or server[-1].kind == STOPPED_KIND
        self._broker.restore_call_paces(known, is_clean=is_clean)
        self._stored = {_key(pace): pace for pace in known}

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to store the paces."""
        supervisor.every("call-paces", STORE_EVERY_S, self.store, at_start=False, essential=False)

    async def store(self) -> None:
        """Store what has changed.

        Raises:
            StorageUnavailable: It is stored the next time.
        """
        paces = [pace for pace in self._broker.call_paces() if self._has_changed(pace)]
        if paces:
            async with self._store.begin() as work:
                await work.call_paces.add([self._since_stored(pace) for pace in paces])
                await work.commit()
            self._stored.update((_key(pace), pace) for pace in paces)

    def _has_changed(self, pace: CallPace) -> bool:
        known = self._stored.get(_key(pace))
        return known is None or replace(known, stored_at=pace.stored_at) != pace

    def _since_stored(self, pace: CallPace) -> CallPace:
        """Return the pace with the calls since it was last stored, because several processes add theirs."""
        known = self._stored.get(_key(pace))
        before = known.calls if known is not None and known.day == pace.day else 0
        return replace(pace, calls=pace.calls - before)


def _key(pace: CallPace) -> tuple[str, str]:
    return pace.app_id, pace.fyers_id
