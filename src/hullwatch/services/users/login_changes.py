"""Informs open event sockets that a login of their user may have ended, in this process or in another one.

This process ends logins itself, and then its sockets know at once. Commands and other processes end them in the
database, which is read twice a second for the users who have a socket open.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.users.accounts import ValidLogins
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.users.authentication import AuthenticationService

JOB: Final = "login-changes"
READ_EVERY_S: Final = 0.5
"""Real seconds; a login that another process ends closes its sockets within a second."""


class LoginChanges:
    """Watches the logins of users who have event sockets open."""

    def __init__(self, context: Context, *, logins: AuthenticationService) -> None:
        self._store = context.store
        self._clock = context.clock
        self._logins = logins
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._known: dict[str, ValidLogins | None] = {}
        logins.on_change(self._changed)

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to read the database while sockets are open."""
        supervisor.spawn(JOB, lambda: self.run(lambda: supervisor.heartbeat(JOB)), essential=False)

    @contextmanager
    def watch(self, user_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever a login or the role of the user may have changed."""
        event = asyncio.Event()
        self._events[user_id].add(event)
        try:
            yield event
        finally:
            self._events[user_id].discard(event)
            if not self._events[user_id]:
                del self._events[user_id]
                self._known.pop(user_id, None)

    async def run(self, heartbeat: Callable[[], None]) -> None:
        """Read for ever. A database that cannot be read ends no socket."""
        while True:
            try:
                await self.read()
            except StorageUnavailable:
                pass
            else:
                heartbeat()
            await self._clock.real.sleep(READ_EVERY_S)

    async def read(self) -> None:
        """Compare the stored logins with those of the last reading."""
        user_ids = tuple(self._events)
        if not user_ids:
            return
        async with self._store.begin(read_only=True) as work:
            valid = await work.logins.valid_of(user_ids, now=self._clock.now())
        for user_id in user_ids:
            found = valid.get(user_id)
            # Before the first reading the user may have been authenticated from the cache.
            if user_id in self._events and (user_id not in self._known or self._known[user_id] != found):
                self._known[user_id] = found
                self._logins.forget(user_id)

    def _changed(self, user_id: str | None) -> None:
        users = tuple(self._events) if user_id is None else (user_id,)
        for one in users:
            for event in self._events.get(one, ()):
                event.set()
