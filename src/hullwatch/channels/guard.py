"""Holding connections to the rule of ``domain/addresses.py``: names are looked up, and every address is judged before it is connected to.

A name is judged twice, when a user gives it and again by the address that a connection is really made to, since what a name resolves to
can change in between on purpose.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from hullwatch.domain.notifications.addresses import as_address, is_public_text

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Returns the addresses of a name; raises `OSError` when it has none."""

LEADS_INSIDE: Final = "It leads to a private network, which this server does not send to."
NO_SUCH_NAME: Final = "The name in the address does not resolve."
LOOK_UP_S: Final = 5.0
LOOK_UPS: Final = 32
"""Threads; made when they are needed."""


class PrivateAddressRefused(OSError):  # noqa: N818 - a fact, like every failure here
    """A connection was about to be made to an address that is not public."""


class SystemNames:
    """Looks names up by the system, in threads of its own: a name server that hangs must not hold up what else needs a thread."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="look up")

    async def __call__(self, name: str) -> Sequence[str]:
        """Return the addresses that the system knows for a name."""
        looking = partial(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM)
        async with asyncio.timeout(LOOK_UP_S):
            found = await asyncio.get_running_loop().run_in_executor(self._threads, looking)
        return [str(address[0]) for *_, address in found]


class AddressGuard:
    """Judges hosts and addresses.

    Args:
        allows_private: whether the operator lets notices go to private networks too.
        resolve: how names are looked up; by the system unless told otherwise.
    """

    def __init__(self, *, allows_private: bool = False, resolve: Resolve | None = None) -> None:
        self.allows_private = allows_private
        self._resolve = resolve or SystemNames()

    def allows(self, address: str) -> bool:
        """Tell whether an address as the system writes it may be connected to."""
        return self.allows_private or is_public_text(address)

    async def addresses_of(self, host: str) -> Sequence[str]:
        """Return the addresses of a name, or the host itself where it is one.

        Raises:
            OSError: The name has none.
        """
        literal = as_address(host)
        if literal is not None:
            return [str(literal)]
        try:
            return await self._resolve(host)
        except UnicodeError:  # a label that no name can have
            raise OSError(NO_SUCH_NAME) from None

    async def leads_inside(self, host: str) -> bool:
        """Tell whether any address of a host must not be connected to.

        Raises:
            OSError: The name has none.
        """
        return not all(map(self.allows, await self.addresses_of(host)))

    def open_socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """Return a socket for a connection to this address.

        Raises:
            PrivateAddressRefused: It must not be connected to.
        """
        family, kind, protocol, _, address = info
        if not self.allows(str(address[0])):
            raise PrivateAddressRefused(LEADS_INSIDE)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


class GuardedResolver(AbstractResolver):
    """Looks names up for aiohttp by the guard's own way; what they lead to is judged when a socket is opened."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where a name leads."""
        found = []
        for address in await self._guard.addresses_of(host):
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            if family in (socket.AF_UNSPEC, kind):
                found.append(
                    ResolveResult(
                        hostname=host,
                        host=address,
                        port=port,
                        family=kind,
                        proto=0,
                        flags=socket.AI_NUMERICHOST,
                    )
                )
        if not found:
            raise OSError(NO_SUCH_NAME)
        return found

    async def close(self) -> None:
        """Nothing is open."""
