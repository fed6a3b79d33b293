"""The comparison of the address in the browser with the redirect address."""

import pytest

from hullwatch.services.login.addresses import AddressDifference, compare_addresses, needs_other_host

HERE = "http://127.0.0.1:8000"
OPEN, CHANGE, ELSEWHERE = AddressDifference


def advice(redirect: str, opened_at: str, public_url: str = HERE, *, is_own_app: bool = True):
    """Compare an origin with a redirect address on the callback path."""
    return compare_addresses(
        f"{redirect}/api/fyers/callback", opened_at=opened_at, public_url=public_url, is_own_app=is_own_app
    )


@pytest.mark.parametrize(
    ("redirect", "opened_at", "public_url"),
    [
        (HERE, HERE, HERE),
        ("http://localhost:8000", "http://localhost:8000", HERE),
        ("https://hull.example", "https://hull.example", "https://hull.example"),
        ("https://hull.example:443", "https://hull.example", "https://hull.example"),
        ("http://192.168.1.5:8000", "http://192.168.1.5:8000", HERE),
        ("http://[::1]:8000", "http://[::1]:8000", HERE),
    ],
)
def test_the_same_address_needs_no_advice(redirect: str, opened_at: str, public_url: str) -> None:
    """Default ports are the same address, and the settings do not matter then."""
    assert advice(redirect, opened_at, public_url) is None


@pytest.mark.parametrize(
    ("redirect", "opened_at", "public_url", "difference", "open_at"),
    [
        # localhost against 127.0.0.1, in both directions
        (HERE, "http://localhost:8000", HERE, OPEN, HERE),
        ("http://localhost:8000", HERE, HERE, OPEN, "http://localhost:8000"),
        # an address of the local network, and a domain: the redirect would lead to another machine
        (HERE, "http://192.168.1.5:8000", HERE, CHANGE, None),
        (HERE, "https://hull.example", "https://hull.example", CHANGE, None),
        # the address in the settings is for all browsers
        ("https://hull.example", "http://192.168.1.5:8000", "https://hull.example", OPEN, "https://hull.example"),
        ("https://hull.example", HERE, "https://hull.example", OPEN, "https://hull.example"),
        # a forwarded port
        (HERE, "http://127.0.0.1:9000", HERE, CHANGE, None),
        (HERE, "http://localhost:9000", HERE, CHANGE, None),
        # https by a proxy, and http in the redirect address or in the settings
        ("http://hull.example", "https://hull.example", "https://hull.example", CHANGE, None),
        ("http://hull.example", "https://hull.example", "http://hull.example", OPEN, "http://hull.example"),
        ("https://hull.example", "http://hull.example", "https://hull.example", OPEN, "https://hull.example"),
        # another site
        ("https://trade.fyers.example", HERE, HERE, ELSEWHERE, None),
    ],
)  # fmt: skip
def test_every_kind_of_difference_has_its_advice(
    redirect: str, opened_at: str, public_url: str, difference: AddressDifference, open_at: str | None
) -> None:
    """The advice names the address to open, or the redirect address that fits this browser."""
    found = advice(redirect, opened_at, public_url)

    assert found is not None
    assert (found.difference, found.open_at) == (difference, open_at)
    assert found.redirect_uri == f"{opened_at}/api/fyers/callback"
    assert (found.open_at or found.redirect_uri) in found.message or difference is ELSEWHERE


def test_another_path_returns_elsewhere() -> None:
    """The page at that path cannot complete the login, so the code is pasted."""
    found = compare_addresses(f"{HERE}/elsewhere", opened_at=HERE, public_url=HERE, is_own_app=True)

    assert found is not None
    assert found.difference is ELSEWHERE


def test_the_advice_names_the_setting_to_change() -> None:
    """The server's app is changed in its settings, one's own app on the page."""
    own = advice(HERE, "http://192.168.1.5:8000")
    shared = advice(HERE, "http://192.168.1.5:8000", is_own_app=False)

    assert own is not None
    assert "in your Fyers app here" in own.message
    assert shared is not None
    assert "FYERS_REDIRECT_URI" in shared.message
    assert "HULLWATCH_PUBLIC_URL" in shared.message


@pytest.mark.parametrize("address", ["null", "", "http://127.0.0.1:port"])
def test_an_unreadable_origin_gives_no_advice(address: str) -> None:
    """Some browsers send `null`; the login goes on as before."""
    assert advice(HERE, address) is None
    assert not needs_other_host(HERE, address)
