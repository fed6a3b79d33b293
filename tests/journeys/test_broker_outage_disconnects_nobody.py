"""Failures of Fyers disconnect nobody, are reported as they are, and end without help."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from limits import ANSWER_LIMIT_S

from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution
from journeys.browser import Browser, Tab
from journeys.environment import Environment, until

SYMBOL = "NSE:SBIN-EQ"
LONGEST_RECOVERY_S = 1800
"""Simulated seconds: the longest rest after limits is 15 minutes, the longest cool-down of the edge ten."""


@dataclass(frozen=True)
class Outage:
    """One fault, and what it makes of answers while it lasts."""

    kind: str
    order: dict[str, Any]
    says: frozenset[str] = frozenset({"unavailable"})
    """Outcomes that are true of it."""

    @property
    def is_harmless(self) -> bool:
        """Whether answers still come."""
        return "ok" in self.says


FINE = frozenset({"ok"})
LIMITED = frozenset({"rate_limited"})
TURNED_AWAY = frozenset({"unavailable", "rate_limited"})
"""A page of the edge says no at first; then the account rests, and in the end the whole machine does."""
STATUS = {"ok": "watching", "unavailable": "fyers_unavailable", "rate_limited": "rate_limited"}


OUTAGES = {
    "slow": Outage("latency", {"latencyMs": 60}, FINE),
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
    "page that forbids": Outage("html_page", {"status": 403}, TURNED_AWAY),
    "401 without Fyers' words": Outage("http_error", {"status": 401, "body": "invalid token"}),
    "limit": Outage("rate_limit", {}, LIMITED),
    "banned address": Outage("address_ban", {}, TURNED_AWAY),
    "half JSON": Outage("malformed_json", {}),
    "wrong types": Outage("wrong_types", {}),
    "empty": Outage("empty_body", {}),
}


@dataclass
class Group:
    """Three people, their open tabs, and the environment they live in."""

    environment: Environment
    people: list[Browser]
    tabs: list[Tab]

    @property
    def admin(self) -> Browser:
        """The first of them."""
        return self.people[0]

    async def step(self, seconds: float = 5, *, without: Browser | None = None) -> None:
        """Let time pass until everybody had a cycle more."""
        await self.environment.advance(seconds)
        people = [person for person in self.people if person is not without]
        await self.environment.while_time_passes(self._had_cycles(people, self.environment.clock.now()))

    @staticmethod
    async def _had_cycles(people: Sequence[Browser], since: datetime) -> None:
        for person in people:
            await until(
                lambda person=person: _has_cycled(person, since), f"{person.name}'s cycle after {since}"
            )

    async def statuses(self) -> list[str]:
        """Return everybody's monitoring status."""
        return [(await person.state())["status"] for person in self.people]

    async def assert_nobody_was_disconnected(self) -> None:
        """There was no end of a session, neither now nor in between, and no notice of one."""
        for person in self.people:
            assert (await person.connection())["state"] == "connected"
            assert await person.notices("session_disconnected") == []
        events = (await self.admin.get("/api/admin/events?kind=connection.&limit=500"))["events"]
        assert [event["kind"] for event in events] == ["connection.logged_in"] * len(self.people)


async def _has_cycled(person: Browser, since: datetime) -> bool:
    at = await person.last_cycle_at()
    return at is not None and at >= since


@pytest.fixture
async def group(open_env, request) -> AsyncIterator[Group]:
    """Return three people who watch one symbol each."""
    async with open_env(
        fyers_timeout_seconds=3 if "hanging" in request.node.name else ANSWER_LIMIT_S
    ) as environment:
        people = await environment.add_users(3, SYMBOL)
        yield Group(environment, people, [await person.open_tab() for person in people])


async def assert_outcome(person: Browser, outcomes: frozenset[str]) -> str:
    """Check what somebody is told: a true outcome, never an empty list for an error, and a login that stands; return the outcome."""
    quotes, hma = await asyncio.gather(person.quotes(), person.hma())
    outcome = str(quotes["outcome"])
    assert outcome in outcomes
    assert len(quotes["quotes"]) == (1 if outcome == "ok" else 0)
    assert quotes["connection"]["state"] == "connected"
    if outcome == "ok":
        assert hma["status"] == "ACTIVE"
        assert hma["currentHma"] > 0
    elif hma["status"] != "ACTIVE":  # a reading stays good until the next candle closes
        assert (hma["status"], hma["currentHma"]) == ("UNAVAILABLE", None)
    return outcome


async def check_outage(group: Group, outage: Outage, affected: Sequence[Browser], **whom: str) -> None:
    """Let an outage come, look at everybody, and let it end."""
    environment = group.environment
    await environment.broker.fault(outage.kind, **outage.order, **whom)
    await group.step()
    for person in affected:
        await person.call("POST", "/api/token-validation/clear-cache")
    for validation in await environment.while_time_passes(
        asyncio.gather(*(validation_of(person) for person in affected))
    ):
        assert (validation["isValid"], validation["isConnected"]) == (True, True)
        assert validation["verified"] is outage.is_harmless
    await group.step(300)  # a candle closes meanwhile
    for person, status in zip(group.people, await group.statuses(), strict=True):
        expected = outage.says if person in affected else FINE
        assert status in {STATUS[outcome] for outcome in expected}
        await environment.while_time_passes(assert_outcome(person, expected))
    validating = group.admin.call("POST", "/api/token-validation/validate-all")
    totals = (await environment.while_time_passes(validating))["results"]
    doubtful = 0 if outage.is_harmless else len(affected)
    assert (totals["invalid"], totals["errors"], totals["unverified"]) == (0, 0, doubtful)
    await group.assert_nobody_was_disconnected()
    await environment.broker.end_faults()


async def validation_of(person: Browser) -> dict[str, Any]:
    """Ask whether the session is good."""
    return await person.get("/api/token-validation/status")


async def recover(group: Group) -> None:
    """Let time pass until everybody is watched and confirmed again; nobody does anything for it."""
    for _ in range(LONGEST_RECOVERY_S // 30):
        if await group.statuses() == ["watching"] * len(group.people):
            break
        await group.step(30)
    assert await group.statuses() == ["watching"] * len(group.people)
    for person in group.people:
        assert (await person.connection())["verified"] is True
        await group.environment.while_time_passes(assert_outcome(person, FINE))


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_outage_disconnects_nobody(group: Group, name: str) -> None:
    """For one account and then for all: the affected are unverified and keep their sessions, the others notice nothing, no candle is lost."""
    outage, since = OUTAGES[name], group.people[0]
    began_at = group.environment.clock.now()
    await check_outage(group, outage, [group.people[1]], fyersId=group.people[1].fyers_id)
    await recover(group)
    await check_outage(group, outage, group.people)
    await recover(group)

    await group.assert_nobody_was_disconnected()
    settled = group.environment.clock.now() - timedelta(seconds=1)
    closes = closes_between(began_at, settled, Resolution.parse("5"), nse_calendar())
    assert closes > 1
    for tab in group.tabs:
        await until(lambda tab=tab: _has(tab, closes), f"all candles after {name} for {since.name}")
        assert len(tab.data("candle")) == closes


async def _has(tab: Tab, closes: int) -> bool:
    return len(tab.data("candle")) >= closes


async def test_one_false_refusal_disconnects_nobody(group: Group) -> None:
    """It costs one verification call."""
    affected = group.people[1]
    await group.environment.broker.fault("auth_error", fyersId=affected.fyers_id)
    await group.environment.broker.forget_calls()
    await group.step()

    assert (await group.environment.broker.calls(affected.fyers_id))["byStatus"]["401"] == 1
    await until(lambda: _is_verified(affected), "the second look")
    await group.step()
    assert await group.statuses() == ["watching"] * 3
    await group.assert_nobody_was_disconnected()


async def _is_verified(person: Browser) -> bool:
    return bool((await person.connection())["verified"])


async def all_are_held(group: Group) -> None:
    """Let Fyers refuse everybody, until every verdict is held back."""
    await group.environment.broker.fault("auth_error_all")
    await group.environment.advance(5)

    async def are_held() -> bool:
        await group.environment.advance(1)
        return await _are_held(group)

    await until(are_held, "everybody is held")


async def test_a_mass_refusal_holds_all_sessions(group: Group) -> None:
    """When Fyers refuses everybody at once, verdicts are held, the operators are told once, and Fyers is asked slowly."""
    await all_are_held(group)

    await until(lambda: group.admin.notices("broker_outage"), "the operators' notice")
    for tab in group.tabs:
        await until(lambda tab=tab: _has_heard(tab, "brokerOutage"), "everybody hears of it")
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
    await group.environment.broker.forget_calls()
    began_at = group.environment.clock.now()
    for _ in range(20):
        await group.step(30)
    minutes = (group.environment.clock.now() - began_at) / timedelta(minutes=1)
    assert (
        4 <= await group.environment.broker.total() <= 2 * (minutes / 0.9 + 1)
    )  # one account a minute, two questions each
    await group.assert_nobody_was_disconnected()

    await group.environment.broker.end_faults()
    await recover(group)
    await group.assert_nobody_was_disconnected()
    await until(lambda: group.admin.notices("broker_recovered"), "the operators' notice of its end")
    assert (await group.admin.get("/api/admin/token-health"))["brokerOutage"] is None
    assert len((await group.admin.get("/api/admin/events?kind=broker.recovered"))["events"]) == 1
    assert (
        len(await group.admin.notices("broker_recovered"))
        == len(await group.admin.notices("broker_outage"))
        == 1
    )


async def _has_heard(tab: Tab, kind: str) -> bool:
    return bool(tab.data(kind))


async def test_a_session_revoked_in_an_outage_is_disconnected_later(group: Group) -> None:
    """A session that the broker did revoke during its outage ends once the outage is over, and only that one."""
    await all_are_held(group)
    ended = group.people[2]
    await group.environment.broker.revoke(ended.fyers_id)
    await group.environment.broker.end_faults()

    async def is_over() -> bool:
        await group.step(30, without=ended)
        return (await ended.connection())["state"] == "disconnected"

    await until(is_over, "the end of the one that was revoked")
    await group.step(30, without=ended)
    assert await group.statuses() == ["watching", "watching", "no_session"]
    assert (await ended.connection())["reason"] == "rejected"
    await until(lambda: ended.notices("session_disconnected"), "the notice")
    assert [len(await person.notices("session_disconnected")) for person in group.people] == [0, 0, 1]


async def test_a_mass_refusal_is_detected_on_a_fast_clock(group: Group) -> None:
    """Witnesses are given the network's own time to answer, however fast the market's clock runs: nobody is logged out."""
    environment = group.environment
    for person in group.people[1:]:
        await person.call("POST", "/api/monitoring/stop")  # only the first will notice by itself
    await environment.broker.fault("auth_error_all")
    await environment.broker.fault("latency", path="/data/marketStatus", latencyMs=150)

    await environment.set_speed(600)
    await until(lambda: _are_held(group), "everybody is held")
    await environment.set_speed(0)

    await group.assert_nobody_was_disconnected()


async def _are_held(group: Group) -> bool:
    accounts = (await group.admin.get("/api/admin/token-health"))["accounts"]
    assert {account["state"] for account in accounts} == {"connected"}
    return {account["verificationState"] for account in accounts} == {"held"}
