"""Who is ready, over HTTP: the own line, and the operators' list."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from fakes.clock import FakeClock

from hullwatch.domain.users.accounts import Role
from hullwatch.web.config import WebConfig
from web.web_environment import WebEnvironment, make_supervisor

EARLY = datetime(2026, 11, 23, 3, 10, tzinfo=UTC)
"""08:40 IST of a Monday."""
WATCH = {"symbol": "NSE:SBIN-EQ", "resolution": "5", "period": 4, "rule": "cross"}


@pytest.fixture
async def env() -> AsyncIterator[WebEnvironment]:
    """The web over fakes, shortly before the opening."""
    clock = FakeClock(EARLY)
    async with make_supervisor(clock) as supervisor:
        yield WebEnvironment(supervisor, clock, WebConfig(heartbeat_s=30.0))


async def wish(client) -> None:
    """Put a line on the watchlist and want monitoring."""
    assert (await client.post("/api/monitoring/watches", json=WATCH)).status_code == 201
    assert (await client.post("/api/monitoring/start")).status_code == 200


async def test_the_own_line_has_reason_and_action(env):
    """The account needs a login; other accounts are not shown."""
    async with env.browser("asha") as asha:
        await wish(asha)
        answer = await asha.get("/api/monitoring/readiness")

    assert answer.status_code == 200
    assert answer.json() == {
        "result": "not_ready",
        "isReady": False,
        "reason": "never_connected",
        "because": "no Fyers account is connected",
        "doThis": "Log in to Fyers.",
        "line": "Not ready for the market open at 09:15 IST, because no Fyers account is connected. Log in to Fyers.",
        "isForUser": True,
        "phase": "before_open",
        "checkedAt": None,
        "nextCheckAt": "2026-11-23T03:15:00Z",
        "opensAt": "2026-11-23T03:45:00Z",
        "lines": {"total": 1, "warm": 0, "symbols": 1, "monitored": 1},
    }


async def test_an_account_without_monitoring_has_a_line_too(env):
    """Monitoring is not wanted, so nothing is missing."""
    async with env.browser("asha") as asha:
        answer = await asha.get("/api/monitoring/readiness")

    assert (answer.json()["result"], answer.json()["reason"]) == ("not_wanted", "not_wanted")


async def test_the_list_of_admins_has_percentage_and_names(env):
    """The worst account is first; traders are refused."""
    async with (
        env.browser("asha") as asha,
        env.browser("boss", role=Role.ADMIN) as boss,
        env.client() as nobody,
    ):
        await wish(asha)
        refused, strange = await asha.get("/api/admin/readiness"), await nobody.get("/api/admin/readiness")
        found = (await boss.get("/api/admin/readiness")).json()

    assert (refused.status_code, strange.status_code) == (403, 401)
    assert (found["phase"], found["day"], found["percent"]) == ("before_open", "2026-11-23", 0.0)
    assert (found["total"], found["ready"], found["notReady"], found["isChecking"]) == (1, 0, 1, False)
    [account] = [one for one in found["accounts"] if one["result"] == "not_ready"]
    assert (account["email"], account["fullName"]) == ("asha@b.in", "Asha")
    assert account["reason"] == "never_connected"


async def test_a_check_by_hand_cannot_be_repeated_at_once(env):
    """202, then 429 with the time to wait; traders are refused."""
    async with env.browser("asha") as asha, env.browser("boss", role=Role.ADMIN) as boss:
        await wish(asha)
        refused = await asha.post("/api/admin/readiness/check")
        begun = await boss.post("/api/admin/readiness/check")
        again = await boss.post("/api/admin/readiness/check")
        await env.clock.advance(1)
        found = (await boss.get("/api/admin/readiness")).json()

    assert refused.status_code == 403
    assert (begun.status_code, begun.json()) == (202, {"startedAt": "2026-11-23T03:10:00Z"})
    assert again.status_code == 429
    assert int(again.headers["Retry-After"]) > 0
    assert found["checkedAt"] is not None
