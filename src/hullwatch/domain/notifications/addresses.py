"""Which network addresses are public, so that no channel of a user can reach the private network of this server."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

_NEVER_PUBLIC: Final = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments (RFC 6890)
            "192.88.99.0/24",  # 6to4 relays, withdrawn (RFC 7526)
            "64:ff9b:1::/48",  # translation within one network (RFC 8215)
            "2001::/23",  # protocol assignments (RFC 2928); Teredo among them is looked through before
            "3fff::/20",  # documentation (RFC 9637)
            "5f00::/16",  # segment routing within one network (RFC 9602)
            "fec0::/10",  # site-local, withdrawn (RFC 3879)
        ),
    )
)
"""What some versions of Python's `ipaddress` still call global (the registries of IANA, read 2026-11)."""
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""NAT64: the last 32 bits are an IPv4 address (RFC 6052)."""
_COMPATIBLE: Final = IPv6Network("::/96")
"""IPv4-compatible addresses, withdrawn (RFC 4291, 2.5.5.1): some systems still route them."""
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
"""Third quarter of an address with an IPv4 address in the last (RFC 5214)."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is public; of an address that embeds others, all of them must be."""
    inner = _embedded(address)
    if inner:
        return all(map(is_public, inner))
    if any(address.version == network.version and address in network for network in _NEVER_PUBLIC):
        return False
    return address.is_global and not (
        address.is_private
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
    )


def is_public_text(text: str) -> bool:
    """Return the same for a text; a text that is no address is not public."""
    try:
        return is_public(ip_address(text.partition("%")[0]))
    except ValueError:
        return False


def as_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address in a host part, in brackets or not; `None` for a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None


def _embedded(address: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """Return the IPv4 addresses that a packet to this address may end at."""
    if isinstance(address, IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    number = int(address)
    is_isatap = (number >> 32) & 0xFFFFFFFF in _ISATAP
    is_compatible = address in _COMPATIBLE and number > 1  # neither :: nor ::1
    if address in _TRANSLATED or is_isatap or is_compatible:
        return (IPv4Address(number & 0xFFFFFFFF),)
    return ()
