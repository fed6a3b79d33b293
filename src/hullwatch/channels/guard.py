"""Keeps connections away from private networks.

A name is checked twice: when a user enters it, and again by the address of each connection, since an
attacker can change what a name resolves to in between.
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
"""Return the addresses of a name; raise `OSError` when it has none."""

PRIVATE_NETWORK: Final = "This address is in a private network, to which this server does not send."
NO_SUCH_NAME: Final = "The name in the address does not resolve."
RESOLVE_WITHIN_S: Final = 5.0
MOST_RESOLVING: Final = 32
"""Threads for name look-ups, started on demand."""


class PrivateAddressRefused(OSError):  # noqa: N818 - a fact, like every failure here
    """A connection to an address that is not public was refused."""


class SystemNames:
    """Looks up names in threads of its own: a hanging name server must not block other users of threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST_RESOLVING, thread_name_prefix="resolve names")

    async def __call__(self, name: str) -> Sequence[str]:
        """Return the system's addresses of a name."""
        resolve = partial(socket.getaddrinfo, name, None, type=socket.SOCK_STREAM)
        async with asyncio.timeout(RESOLVE_WITHIN_S):
            found = await asyncio.get_running_loop().run_in_executor(self._threads, resolve)
        return [str(address[0]) for *_, address in found]


class AddressGuard:
    """Checks hosts and addresses; `allows_private` also admits private networks."""

    def __init__(self, *, allows_private: bool = False, resolve: Resolve | None = None) -> None:
        self.allows_private = allows_private
        self._resolve = resolve or SystemNames()

    def allows(self, address: str) -> bool:
        """Return whether connections to an address, as the system writes it, are allowed."""
        return self.allows_private or is_public_text(address)

    async def addresses_of(self, host: str) -> Sequence[str]:
        """Return the addresses of a name, or the host itself when it is an address.

        Raises:
            OSError: The name has none.
        """
        literal = as_address(host)
        if literal is not None:
            return [str(literal)]
        try:
            return await self._resolve(host)
        except UnicodeError:  # an impossible label
            raise OSError(NO_SUCH_NAME) from None

    async def is_private(self, host: str) -> bool:
        """Return whether connections to any address of a host are forbidden.

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
            raise PrivateAddressRefused(PRIVATE_NETWORK)
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


class GuardedResolver(AbstractResolver):
    """Looks up names for aiohttp with the guard; their addresses are checked when a socket is opened."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name."""
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
        """Do nothing: no connection is open."""
