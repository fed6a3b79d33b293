"""What the operating system allows this process."""

from contextlib import suppress
from typing import Final

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

MOST_DESCRIPTORS: Final = 65_536
UNLIMITED_DESCRIPTORS: Final = 8_192
"""Where the system has no limit that can be read."""
_SHARE_OF_OTHERS: Final = 4
_LEAST_OF_OTHERS, _MOST_OF_OTHERS = 192, 1024
"""At least the connections that are accepted at once before the first of them can be refused, and what the process needs."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files and sockets as far as allowed, and return it."""
    if resource is None:
        return UNLIMITED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_DESCRIPTORS
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if wanted > soft:
        with suppress(ValueError, OSError):  # some systems allow less than their hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def descriptors_for_clients(limit: int) -> int:
    """Return how many connections clients may hold, so that database, files and Fyers have descriptors left."""
    others = min(_MOST_OF_OTHERS, max(_LEAST_OF_OTHERS, limit // _SHARE_OF_OTHERS))
    return max(16, limit - others)


def forbid_core_dumps() -> None:
    """Write no memory to a file after a crash, because it has keys and tokens in it."""
    if resource is not None:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
