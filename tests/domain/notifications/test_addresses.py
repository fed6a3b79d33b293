"""Tests which IP addresses are public."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.notifications.addresses import as_address, is_public, is_public_text

INTERNAL = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.7",
    "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1",
    "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "3fff::1", "5f00::1",
    "64:ff9b:1::1", "100::1",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "13.235.12.7",
    "100.63.255.255",
    "172.32.0.1",
    "2606:4700::1111",
    "2a00:1450::8a",
]


@pytest.mark.parametrize("text", INTERNAL)
def test_internal_addresses_are_not_public(text):
    """The list has loopback, private, link-local, shared, documentation, multicast and reserved ranges."""
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_other_addresses_are_public(text):
    """The list includes addresses next to a private range."""
    assert is_public(ip_address(text))


def wrappings(inner: IPv4Address) -> list[IPv6Address]:
    """Return the IPv6 addresses that contain an IPv4 address."""
    number = int(inner)
    return [
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
        IPv6Address((0x64_FF9B << 96) | number),
        IPv6Address((0x2A00_1450 << 96) | (0x5EFE << 32) | number),
        *([IPv6Address(number)] if number > 1 else []),
    ]


@given(st.ip_addresses(v=4))
def test_a_contained_ipv4_address_decides(inner):
    """Mapped, 6to4, NAT64, ISATAP and IPv4-compatible addresses reach the IPv4 address that they contain."""
    assert {is_public(outer) for outer in wrappings(inner)} == {is_public(inner)}


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_a_tunnel_is_public_when_both_its_addresses_are(server, client):
    """A Teredo address contains the addresses of a server and a client."""
    tunnel = IPv6Address((0x2001_0000 << 96) | (int(server) << 64) | (int(client) ^ 0xFFFF_FFFF))

    assert is_public(tunnel) == (is_public(server) and is_public(client))


@given(st.ip_addresses())
def test_no_address_is_public_that_python_calls_private(address):
    """The rule refuses at least the addresses that Python refuses."""
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
        assert not is_public(address) or inner is not None


@pytest.mark.parametrize(
    "text", ["", "localhost", "example.com", "fe80::1%eth0", "127.1", "0x7f000001", "1.2.3"]
)
def test_a_text_without_an_address_is_not_public(text):
    """A host name is checked by the addresses that it resolves to."""
    assert not is_public_text(text)


def test_a_host_may_have_brackets():
    """A URL puts brackets around an IPv6 address."""
    assert as_address("[::1]") == IPv6Address("::1")
    assert as_address("10.0.0.1") == IPv4Address("10.0.0.1")
    assert as_address("example.com") is None
