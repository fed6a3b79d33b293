import ssl
from inspect import isclass

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from limits import ANSWER_LIMIT_S

from fyers.scripted import ScriptedReply
from hullwatch.fyers.errors import Reply
from hullwatch.fyers.transport import CAUSES, NoReply, Request, TimeLimits, Transport, translate


def test_every_error_of_the_http_library_has_its_row():
    """A new class of the library fails here until it has a cause."""
    ours = {
        error
        for module in (aiohttp, client_exceptions)
        for error in vars(module).values()
        if isclass(error) and issubclass(error, aiohttp.ClientError)
    }

    assert len(ours) > 20
    assert ours - set(CAUSES) == set()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "connection"),
        (BrokenPipeError(), "connection"),
        (ssl.SSLCertVerificationError(), "tls"),
        (http_exceptions.TransferEncodingError("x"), "not_http"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "not_http"),
        (aiohttp.ConnectionTimeoutError(), "timeout"),
    ],
)
def test_an_error_without_a_row_takes_its_ancestors(error, cause):
    """Errors that are not of the transport are raised."""
    assert translate(error) == cause
    with pytest.raises(TypeError):
        translate(KeyError("x"))


async def test_the_http_library_does_not_retry(server):
    """A retry of the library would ignore the rate limit and the expiry."""
    server.always("/x", ScriptedReply(body={"s": "ok"}))
    async with Transport(TimeLimits(ANSWER_LIMIT_S, ANSWER_LIMIT_S)) as transport:
        await transport.send(Request("GET", f"{server.url}/x"))
        server.always("/x", ScriptedReply(how="reset"))

        assert await transport.send(Request("GET", f"{server.url}/x")) == NoReply("connection")

    assert len(server.received) == 2


async def test_a_redirect_is_a_reply_and_not_followed(server):
    """A redirect must not carry the token to another address."""
    server.always("/x", ScriptedReply(302, b"", headers={"Location": f"{server.url}/y"}))
    async with Transport(TimeLimits(ANSWER_LIMIT_S, ANSWER_LIMIT_S)) as transport:
        reply = await transport.send(Request("GET", f"{server.url}/x"))

    assert isinstance(reply, Reply)
    assert reply.http_status == 302
    assert [received.path for received in server.received] == ["/x"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3", "X-Retry-After-Ms": "9000"}, "3"),
        ({"X-Retry-After-Ms": "1500"}, "1.5"),
        ({"X-Retry-After-Ms": "soon"}, ""),
        ({}, ""),
    ],
)
async def test_the_wait_is_read_from_two_headers(server, headers, seconds):
    """Seconds come first, milliseconds are used without them."""
    server.always("/x", ScriptedReply(429, b"", headers=headers))
    async with Transport(TimeLimits(ANSWER_LIMIT_S, ANSWER_LIMIT_S)) as transport:
        reply = await transport.send(Request("GET", f"{server.url}/x"))

    assert reply.retry_after == seconds


@pytest.mark.parametrize("url", ["http:///nothing", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/x", "", "x"])
async def test_a_bad_address_raises_no_error(url):
    """A wrong base address ends as a cause like every other failure."""
    async with Transport(TimeLimits(ANSWER_LIMIT_S, ANSWER_LIMIT_S)) as transport:
        reply = await transport.send(Request("GET", url))

    assert isinstance(reply, NoReply)


async def test_a_body_is_limited(server):
    """The limit counts decompressed bytes."""
    server.always("/x", ScriptedReply(body=b"x" * 1000))
    async with Transport(TimeLimits(ANSWER_LIMIT_S, ANSWER_LIMIT_S)) as transport:
        fits = await transport.send(Request("GET", f"{server.url}/x", largest_reply=1000))
        bursts = await transport.send(Request("GET", f"{server.url}/x", largest_reply=999))

    assert isinstance(fits, Reply)
    assert bursts == NoReply("too_large")


def test_a_request_shows_neither_header_nor_body():
    """Their secrets must stay out of logs."""
    request = Request("POST", "http://x/", {"Authorization": "app:canary"}, b"canary")

    assert "canary" not in repr(request)
