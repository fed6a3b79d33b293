"""A proxy that hides addresses is logged; `hullwatch.web.proxy_report`."""

import pytest
from fakes.clock import FakeClock
from starlette.datastructures import Headers
from structlog.testing import capture_logs

from hullwatch.web.config import WebConfig
from hullwatch.web.proxy_report import REPORT_EVERY_S, ProxyReport

PUBLIC = WebConfig(public_url="https://hw.example.com")
PROXY = "172.18.0.2"


def logged(report: ProxyReport, address: str, **headers: str) -> list[str]:
    """Return the reasons that a request adds to the log."""
    with capture_logs() as entries:
        report.check(address, Headers({name.replace("_", "-"): value for name, value in headers.items()}))
    return [entry["reason"] for entry in entries if entry["proxy"] == address]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "no_x_forwarded_for"),
        ({"x_forwarded_for": ""}, "no_x_forwarded_for"),
        ({"x_forwarded_for": "203.0.113.9"}, "not_in_trusted_proxies"),
        ({"x_forwarded_for": "203.0.113.9, 10.0.0.1"}, "not_in_trusted_proxies"),
    ],
)
def test_the_reason_names_what_to_change(headers, reason):
    """Either the proxy does not send the header, or the server does not accept it from there."""
    assert logged(ProxyReport(PUBLIC), PROXY, host="hw.example.com", **headers) == [reason]


def test_an_accepted_address_is_no_problem():
    """The address of the request is then one of the header."""
    report = ProxyReport(PUBLIC)

    assert logged(report, "203.0.113.9", host="hw.example.com", x_forwarded_for="1.2.3.4, 203.0.113.9") == []


@pytest.mark.parametrize(
    ("config", "host"), [(PUBLIC, "127.0.0.1:8000"), (WebConfig(), "127.0.0.1:8000"), (PUBLIC, "other.in")]
)
def test_requests_without_a_proxy_are_not_reported(config, host):
    """Health checks on this machine, and a server without a public address."""
    assert logged(ProxyReport(config), "127.0.0.1", host=host) == []


async def test_the_report_repeats_once_an_hour():
    """Every request has the problem, and one line is enough."""
    clock = FakeClock()
    report = ProxyReport(PUBLIC, clock.monotonic)
    first = [len(logged(report, PROXY, host="hw.example.com")) for _ in range(5)]
    await clock.advance(REPORT_EVERY_S)

    assert first == [1, 0, 0, 0, 0]
    assert len(logged(report, PROXY, host="hw.example.com")) == 1
