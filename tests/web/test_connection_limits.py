"""The places that connections take; `hullwatch.web.connection_limits` and `ForwardedAddresses`."""

import asyncio

import pytest
from fakes.clock import FakeClock
from structlog.testing import capture_logs

from hullwatch.web.connection_limits import LOG_EVERY_S, ConnectionLimits, MostConnections, TrustedProxies
from hullwatch.web.http_protocol import TOO_MANY_SOCKETS, ForwardedAddresses

CLIENT, OTHER, PROXY = "198.51.100.7", "198.51.100.8", "10.0.0.5"


class Connection:
    """A connection that can be closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def close_idle(self) -> None:
        """Record it."""
        self.is_closed = True


def limits_of(overall: int = 10, of_address: int = 4, clock: FakeClock | None = None) -> ConnectionLimits:
    """Return limits with one trusted proxy."""
    most = MostConnections(overall, of_address)
    return ConnectionLimits(most, TrustedProxies((PROXY,)), (clock or FakeClock()).monotonic)


def open_connections(limits: ConnectionLimits, count: int, address: str) -> list[Connection]:
    """Open connections that wait for a request, and return the admitted ones."""
    opened = []
    for _ in range(count):
        connection = Connection()
        if limits.admit(connection, address):
            limits.waits(connection, connection)
            opened.append(connection)
    return opened


def test_an_address_has_a_limit_of_its_own():
    """Other addresses are not affected, and a closed connection gives its place back."""
    limits = limits_of()
    first, *_ = open_connections(limits, 6, CLIENT)

    assert len(limits) == 4
    assert len(open_connections(limits, 1, OTHER)) == 1
    limits.discard(first)
    assert len(open_connections(limits, 2, CLIENT)) == 1


def test_addresses_of_one_ipv6_subscriber_count_together():
    """A subscriber has 2^64 of them."""
    limits = limits_of()

    assert sum(len(open_connections(limits, 1, f"2001:db8::{n}")) for n in range(1, 9)) == 4
    assert len(open_connections(limits, 1, "2001:db8:1::1")) == 1


def test_a_trusted_proxy_has_no_limit_of_its_own():
    """All its clients share its address."""
    assert len(open_connections(limits_of(), 8, PROXY)) == 8


def test_a_full_server_closes_what_waits_longest_at_the_busiest_address():
    """A new client gets in, and the connection of another address stays."""
    limits = limits_of(overall=5)
    [other] = open_connections(limits, 1, OTHER)
    attackers = open_connections(limits, 4, CLIENT)

    assert len(open_connections(limits, 1, "203.0.113.1")) == 1
    assert [one.is_closed for one in attackers] == [True, False, False, False]
    assert not other.is_closed
    assert len(limits) == 5


def test_complete_requests_are_not_closed_for_new_connections():
    """Event sockets and requests under way keep their places; the new client is refused."""
    limits = limits_of(overall=4)
    working = open_connections(limits, 4, CLIENT)
    for connection in working:
        limits.works(connection)

    assert open_connections(limits, 1, OTHER) == []
    assert not any(one.is_closed for one in working)
    limits.waits(working[0], working[0])
    assert len(open_connections(limits, 1, OTHER)) == 1
    assert working[0].is_closed


async def test_refusals_are_logged_once_a_minute():
    """With their number, the address of the newest and the limit that it met."""
    clock = FakeClock()
    limits = limits_of(clock=clock)
    with capture_logs() as entries:
        open_connections(limits, 20, CLIENT)
        await clock.advance(LOG_EVERY_S)
        open_connections(limits, 1, CLIENT)

    assert [(entry["limit"], entry["refused"]) for entry in entries] == [("address", 1), ("address", 16)]


@pytest.mark.parametrize(
    ("entries", "address", "is_trusted"),
    [
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("::1",), "::1", True),
        ((), "127.0.0.1", False),
        (("127.0.0.1",), "", False),  # a Unix socket
    ],
)
def test_proxies_are_addresses_or_networks(entries, address, is_trusted):
    """Names are not: they would be resolved by somebody else."""
    assert (address in TrustedProxies(entries)) is is_trusted


class Requests:
    """An app whose requests last until they are released."""

    def __init__(self) -> None:
        self.clients: list[str] = []
        self.released = asyncio.Event()

    async def __call__(self, scope, receive, send):
        """Record the client, and wait."""
        self.clients.append(scope["client"][0])
        await self.released.wait()


async def started(app: ForwardedAddresses, kind: str, peer: str, forwarded: str) -> tuple[asyncio.Task, list]:
    """Begin a request and return it with what was sent."""
    sent: list = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    scope = {"type": kind, "client": (peer, 4711), "headers": headers, "method": "GET", "path": "/"}
    task = asyncio.create_task(app(scope, receive, send))
    await asyncio.sleep(0)
    return task, sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_clients_behind_a_proxy_are_limited_by_their_address(kind):
    """A request too many is answered, and another client of the same proxy goes on."""
    requests = Requests()
    app = ForwardedAddresses(requests, limits_of())
    begun = [await started(app, kind, PROXY, CLIENT) for _ in range(5)]
    other, _ = await started(app, kind, PROXY, OTHER)
    await begun[4][0]

    assert requests.clients == [CLIENT] * 4 + [OTHER]
    answers = begun[4][1]
    if kind == "http":
        assert answers[0]["status"] == 503
    else:
        assert answers[-1] == {"type": "websocket.close", "code": TOO_MANY_SOCKETS}
    requests.released.set()
    await asyncio.gather(other, *(task for task, _ in begun))
    assert (await started(app, kind, PROXY, CLIENT))[1] == []


async def test_made_up_headers_count_only_from_a_trusted_proxy():
    """A direct client keeps its own address, and so its own limit."""
    requests = Requests()
    requests.released.set()
    app = ForwardedAddresses(requests, limits_of())
    for peer, forwarded in ((CLIENT, OTHER), (PROXY, OTHER), (PROXY, f"{CLIENT}, {OTHER}"), (PROXY, "")):
        task, _ = await started(app, "http", peer, forwarded)
        await task

    assert requests.clients == [CLIENT, OTHER, OTHER, PROXY]
