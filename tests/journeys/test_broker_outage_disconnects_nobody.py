"""A failure of Fyers disconnects nobody, is reported with its cause, and needs no action of the user."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from limits import ANSWER_LIMIT_S

from journeys.browser import Browser, Tab
from journeys.candles import assert_each_candle_came_once
from journeys.environment import Environment, until

SYMBOL = "NSE:SBIN-EQ"
LONGEST_RECOVERY_S = 1800
"""Simulated seconds. A pause lasts at most 15 minutes after rate limits, ten after a block by Cloudflare."""


@dataclass(frozen=True)
class Outage:
    """A fault of the simulator and its effect on answers."""

    kind: str
    options: dict[str, Any]
    outcomes: frozenset[str] = frozenset({"unavailable"})
    """Outcomes that the API may report."""

    @property
    def is_harmless(self) -> bool:
        """Whether Fyers still answers."""
        return "ok" in self.outcomes


WORKING = frozenset({"ok"})
LIMITED = frozenset({"rate_limited"})
BLOCKED = frozenset({"unavailable", "rate_limited"})
"""A page of Cloudflare is an outage first. Repeated ones pause the account, then the whole server."""
STATUS = {"ok": "watching", "unavailable": "fyers_unavailable", "rate_limited": "rate_limited"}


OUTAGES = {
    "slow": Outage("latency", {"latencyMs": 60}, WORKING),
    "hanging": Outage("hang", {}),
    "reset": Outage("reset", {}),
    "cut off": Outage("drop_after_bytes", {"bytes": 7}),
    "500": Outage(
        "http_error", {"status": 500, "body": {"s": "error", "code": -99, "message": "Something went wrong"}}
    ),
    "502": Outage("http_error", {"status": 502}),
    "503": Outage(
        "http_error", {"status": 503, "body": {"s": "error", "code": -16, "message": "token expired"}}
    ),
    "520": Outage("http_error", {"status": 520}),
    "page": Outage("html_page", {"status": 503}),
    "page that forbids": Outage("html_page", {"status": 403}, BLOCKED),
    "401 without Fyers' words": Outage("http_error", {"status": 401, "body": "invalid token"}),
    "limit": Outage("rate_limit", {}, LIMITED),
    "banned address": Outage("address_ban", {}, BLOCKED),
    "half JSON": Outage("malformed_json", {}),
    "wrong types": Outage("wrong_types", {}),
    "empty": Outage("empty_body", {}),
}


@dataclass
class Group:
    """Three users with an open tab each, and their environment."""

    environment: Environment
    people: list[Browser]
    tabs: list[Tab]

    @property
    def admin(self) -> Browser:
        """The first user."""
        return self.people[0]

    async def step(self, seconds: float = 5, *, without: Browser | None = None) -> None:
        """Move the clocks forward until each user had another cycle."""
        await self.environment.advance(seconds)
        people = [person for person in self.people if person is not without]
        await self.environment.advance_until_done(self._had_cycles(people, self.environment.clock.now()))

    async def _had_cycles(self, people: Sequence[Browser], since: datetime) -> None:
        monitoring = self.environment.application.services.monitoring

        async def has_cycled(person: Browser) -> bool:
            at = monitoring.state(person.user_id).last_cycle_at
            return at is not None and at >= since

        for person in people:
            await until(lambda person=person: has_cycled(person), f"{person.name}'s cycle after {since}")

    async def statuses(self) -> list[str]:
        """Return the monitoring status of each user."""
        return [(await person.state())["status"] for person in self.people]

    async def assert_nobody_was_disconnected(self) -> None:
        """All sessions are connected, the audit trail has no disconnect, and no notice was stored."""
        for person in self.people:
            assert (await person.connection())["state"] == "connected"
            assert await person.notices("session_disconnected") == []
        events = (await self.admin.get("/api/admin/events?kind=connection.&limit=500"))["events"]
        assert [event["kind"] for event in events] == ["connection.logged_in"] * len(self.people)


@pytest.fixture
async def group(start_environment, request) -> AsyncIterator[Group]:
    """Return three people who watch one symbol each."""
    async with start_environment(
        fyers_timeout_seconds=3 if "hanging" in request.node.name else ANSWER_LIMIT_S
    ) as environment:
        people = await environment.add_users(3, SYMBOL)
        yield Group(environment, people, [await person.open_tab() for person in people])


async def assert_outcome(person: Browser, outcomes: frozenset[str]) -> str:
    """Check that quotes and HMA have one of the outcomes and the session is connected; return the outcome."""
    quotes, hma = await asyncio.gather(person.quotes(), person.hma())
    outcome = str(quotes["outcome"])
    assert outcome in outcomes
    assert len(quotes["quotes"]) == (1 if outcome == "ok" else 0)
    assert quotes["connection"]["state"] == "connected"
    if outcome == "ok":
        assert hma["status"] == "ACTIVE"
        assert hma["currentHma"] > 0
    elif hma["status"] != "ACTIVE":  # an HMA is valid until the next candle closes
        assert (hma["status"], hma["currentHma"]) == ("UNAVAILABLE", None)
    return outcome


async def check_outage(group: Group, outage: Outage, affected: Sequence[Browser], **scope: str) -> None:
    """Start an outage, check the answers of all users, and end it."""
    environment = group.environment
    await environment.broker.start_fault(outage.kind, **outage.options, **scope)
    await group.step()
    for person in affected:
        await person.call("POST", "/api/token-validation/clear-cache")
    for validation in await environment.advance_until_done(
        asyncio.gather(*(validation_of(person) for person in affected))
    ):
        assert (validation["isValid"], validation["isConnected"]) == (True, True)
        assert validation["verified"] is outage.is_harmless
    await group.step(300)  # a candle closes meanwhile
    for person, status in zip(group.people, await group.statuses(), strict=True):
        expected = outage.outcomes if person in affected else WORKING
        assert status in {STATUS[outcome] for outcome in expected}
        await environment.advance_until_done(assert_outcome(person, expected))
    validating = group.admin.call("POST", "/api/token-validation/validate-all")
    totals = (await environment.advance_until_done(validating))["results"]
    unverified = 0 if outage.is_harmless else len(affected)
    assert (totals["invalid"], totals["errors"], totals["unverified"]) == (0, 0, unverified)
    await group.assert_nobody_was_disconnected()
    await environment.broker.end_faults()


async def validation_of(person: Browser) -> dict[str, Any]:
    """Return the validation of the user's session."""
    return await person.get("/api/token-validation/status")


async def recover(group: Group) -> None:
    """Move the clocks forward until all users are watched and verified again, without an action of theirs."""
    for _ in range(LONGEST_RECOVERY_S // 30):
        if await group.statuses() == ["watching"] * len(group.people):
            break
        await group.step(30)
    assert await group.statuses() == ["watching"] * len(group.people)
    for person in group.people:
        assert (await person.connection())["verified"] is True
        await group.environment.advance_until_done(assert_outcome(person, WORKING))


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_outage_disconnects_nobody(group: Group, name: str) -> None:
    """For one account, then for all: affected sessions become unverified and are kept. No candle is lost."""
    outage = OUTAGES[name]
    began_at = group.environment.clock.now()
    await check_outage(group, outage, [group.people[1]], fyersId=group.people[1].fyers_id)
    await recover(group)
    await check_outage(group, outage, group.people)
    await recover(group)

    await group.assert_nobody_was_disconnected()
    for tab in group.tabs:
        await assert_each_candle_came_once(group.environment, tab, began_at)


async def test_one_false_refusal_disconnects_nobody(group: Group) -> None:
    """The refused session is verified with one call."""
    affected = group.people[1]
    await group.environment.broker.start_fault("auth_error", fyersId=affected.fyers_id)
    await group.environment.broker.reset_calls()
    await group.step()

    assert (await group.environment.broker.calls(affected.fyers_id))["byStatus"]["401"] == 1
    await until(lambda: _is_verified(affected), "the verification")
    await group.step()
    assert await group.statuses() == ["watching"] * 3
    await group.assert_nobody_was_disconnected()


async def _is_verified(person: Browser) -> bool:
    return bool((await person.connection())["verified"])


async def hold_all_sessions(group: Group) -> None:
    """Let Fyers refuse all accounts until every session is held."""
    await group.environment.broker.start_fault("auth_error_all")
    await group.environment.advance(5)

    async def are_held() -> bool:
        await group.environment.advance(1)
        return await _are_held(group)

    await until(are_held, "all sessions are held")


async def test_a_mass_refusal_holds_all_sessions(group: Group) -> None:
    """Operators get one notice, and Fyers gets few calls until it accepts the accounts again."""
    await hold_all_sessions(group)

    await until(lambda: group.admin.notices("broker_outage"), "the operators' notice")
    for tab in group.tabs:
        await until(lambda tab=tab: _has_received(tab, "brokerOutage"), "the outage in each tab")
    health = await group.admin.get("/api/admin/token-health")
    (begun,) = (await group.admin.get("/api/admin/events?kind=broker.mass_refusal"))["events"]
    (notice,) = await group.admin.notices("broker_outage")
    assert health["brokerOutage"]["incidentId"] == begun["incidentId"] == notice["incidentId"]
    assert await group.people[1].notices() == []
    assert [tab.data("brokerOutage")[0]["isOngoing"] for tab in group.tabs] == [True] * 3
    for person in group.people:
        await assert_outcome(person, frozenset({"unavailable"}))
        validation = await person.get("/api/token-validation/status")
        assert (validation["isValid"], validation["verified"]) == (True, False)
        assert "kept until Fyers recovers" in validation["message"]
    totals = (await group.admin.call("POST", "/api/token-validation/validate-all"))["results"]
    assert (totals["valid"], totals["invalid"], totals["unverified"]) == (0, 0, 3)

    await group.step()
    assert await group.statuses() == ["fyers_unavailable"] * 3
    await group.environment.broker.reset_calls()
    began_at = group.environment.clock.now()
    for _ in range(20):
        await group.step(30)
    minutes = (group.environment.clock.now() - began_at) / timedelta(minutes=1)
    assert (
        4 <= await group.environment.broker.total() <= 2 * (minutes / 0.9 + 1)
    )  # one account a minute, two calls each
    await group.assert_nobody_was_disconnected()

    await group.environment.broker.end_faults()
    await recover(group)
    await group.assert_nobody_was_disconnected()
    await until(lambda: group.admin.notices("broker_recovered"), "the operators' notice of the recovery")
    assert (await group.admin.get("/api/admin/token-health"))["brokerOutage"] is None
    assert len((await group.admin.get("/api/admin/events?kind=broker.recovered"))["events"]) == 1
    assert (
        len(await group.admin.notices("broker_recovered"))
        == len(await group.admin.notices("broker_outage"))
        == 1
    )


async def _has_received(tab: Tab, kind: str) -> bool:
    return bool(tab.data(kind))


async def test_a_session_revoked_in_an_outage_is_disconnected_later(group: Group) -> None:
    """After the outage only the revoked session is disconnected."""
    await hold_all_sessions(group)
    revoked = group.people[2]
    await group.environment.broker.revoke(revoked.fyers_id)
    await group.environment.broker.end_faults()

    async def is_disconnected() -> bool:
        await group.step(30, without=revoked)
        return (await revoked.connection())["state"] == "disconnected"

    await until(is_disconnected, "the disconnect of the revoked session")
    await group.step(30, without=revoked)
    assert await group.statuses() == ["watching", "watching", "no_session"]
    assert (await revoked.connection())["reason"] == "rejected"
    await until(lambda: revoked.notices("session_disconnected"), "the notice")
    assert [len(await person.notices("session_disconnected")) for person in group.people] == [0, 0, 1]


async def test_a_mass_refusal_is_detected_on_a_fast_clock(group: Group) -> None:
    """Probe calls have a time limit in real seconds, so that a fast market clock disconnects nobody."""
    environment = group.environment
    for person in group.people[1:]:
        await person.call("POST", "/api/monitoring/stop")  # only the first user's cycle meets the refusal
    await environment.broker.start_fault("auth_error_all")
    await environment.broker.start_fault("latency", path="/data/marketStatus", latencyMs=150)

    await environment.set_speed(600)
    await until(lambda: _are_held(group), "all sessions are held")
    await environment.set_speed(0)

    await group.assert_nobody_was_disconnected()


async def _are_held(group: Group) -> bool:
    accounts = (await group.admin.get("/api/admin/token-health"))["accounts"]
    assert {account["state"] for account in accounts} == {"connected"}
    return {account["verificationState"] for account in accounts} == {"held"}
