"""The queue in which requests wait for a password hash."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from hullwatch.domain.failures import TooManyAttempts
from hullwatch.domain.users.login_throttle import network_of
from hullwatch.services.users.passwords import HasherPort

AT_ONCE: Final = 2
"""One hash takes about 155 ms of a core and 64 MiB; more at once would starve everything else on a small machine."""
MOST_WAITING: Final = 200
"""About fifteen seconds of waiting."""
IPV6_BITS: Final = 48
"""Sites get networks of this size, with 65,536 of those that the locks count. Neighbours in one only share slots."""


class HashQueue:
    """Gives out a few slots for password hashes; every network address has a share of the queue.

    Addresses get slots alternately, so that an address with many requests delays only itself. A full queue refuses the newest request of the address that
    has the most.
    """

    def __init__(
        self, hasher: HasherPort, *, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING
    ) -> None:
        self._hasher = hasher
        self._free_slots = at_once
        self._most_waiting = most_waiting
        # The address that gets the next slot comes first.
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, address: str) -> AsyncIterator[HasherPort]:
        """Wait for a slot and yield the hasher; it may be used until the context ends.

        Raises:
            TooManyAttempts: Too many requests are waiting.
        """
        await self._take_slot(network_of(address, ipv6_bits=IPV6_BITS))
        try:
            yield self._hasher
        finally:
            self._release_slot()

    async def _take_slot(self, network: str) -> None:
        if self._free_slots:
            self._free_slots -= 1
            return
        request = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(network, deque()).append(request)
        if sum(map(len, self._waiting.values())) > self._most_waiting:
            self._refuse_one()
        try:
            await request
        except asyncio.CancelledError:
            if not request.cancelled() and request.exception() is None:
                self._release_slot()  # it got the slot at the moment of the cancellation
            raise

    def _release_slot(self) -> None:
        while self._waiting:
            network, requests = self._waiting.popitem(last=False)
            request = requests.popleft()
            if requests:
                self._waiting[network] = requests  # behind the other addresses
            if not request.done():
                request.set_result(None)
                return
        self._free_slots += 1

    def _refuse_one(self) -> None:
        # Reversed: of addresses with equally many requests, the one that came last is refused.
        network = max(reversed(self._waiting), key=lambda one: len(self._waiting[one]))
        request = self._waiting[network].pop()
        if not self._waiting[network]:
            del self._waiting[network]
        if not request.done():
            request.set_exception(
                TooManyAttempts(
                    "Too many users are logging in at this moment. Try again in a few seconds.",
                    retry_after_s=5.0,
                )
            )
