"""Coverage over HTTP: a day, a month, and everybody's day."""

from datetime import datetime, timedelta

import pytest

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.signals.signals import Direction, Rule, Signal
from hullwatch.domain.users.accounts import Role

OPENING = datetime.fromisoformat("2026-11-23T09:15:00+05:30")
DAY = "2026-11-23"


def at(minutes: float) -> datetime:
    """Return a moment so many minutes after the opening."""
    return OPENING + timedelta(minutes=minutes)


async def a_day_with_a_gap(env, user_id: str) -> None:
    """Store status lines: watched from the market open, without a session from 60 to 90 minutes, signed out of it at 120."""
    lines = [(0, "watching"), (60, "no_session"), (90, "watching"), (120, "not_wanted")]
    late = [(10, True), (80, True), (90, True), (100, False)]
    async with env.store.begin() as work:
        await work.audit.add(
            AuditEntry(at(minutes), user_id, "monitoring.status", "hullwatch", to_state=state)
            for minutes, state in lines
        )
        await work.watches.add_signals(
            [
                Signal(
                    "wch", user_id, Symbol("NSE:SBIN-EQ"), Resolution("5"), 9, Rule.CROSS, Direction.UP, at(minutes - 5), at(minutes),
                    100.0, 99.0, at(minutes), is_late=is_late, withdrawn_at=withdrawn_at,
                )
                for minutes, is_late, withdrawn_at in [*((*one, None) for one in late), (110, True, at(120))]
            ]
        )  # fmt: skip
        await work.commit()


async def me(client) -> str:
    """Return the id of the signed-in user."""
    return (await client.get("/api/auth/me")).json()["id"]


async def test_a_day_shows_when_the_servers_clock_was_set(env):
    """With the time that counts afterwards; a step of another day is not shown."""
    await env.clock.advance_to(at(600))
    async with env.store.begin() as work:
        await work.audit.add(
            AuditEntry(
                moment,
                None,
                "server.clock_set",
                "hullwatch",
                evidence={"seconds": -300.0, "isFollowed": False},
            )
            for moment in (at(60), at(-1440))
        )
        await work.commit()
    async with env.browser("asha") as client:
        answer = (await client.get(f"/api/monitoring/coverage?day={DAY}")).json()

    [step] = answer["clockSteps"]
    assert datetime.fromisoformat(step["at"]) == at(60)
    assert (step["seconds"], step["isFollowed"]) == (-300, False)
    assert step["sentence"] == (
        "The clock of the server was set back by 5 minutes on 23 Nov 2026, 10:15 IST. "
        "hullwatch keeps the earlier time, which agrees with Fyers."
    )


async def test_a_day_has_its_minutes_and_stretches(env):
    """Sums, stretches with a sentence each, and the late signals of a stretch; 375 minutes of trading."""
    await env.clock.advance_to(at(600))
    async with env.browser("asha") as client:
        await a_day_with_a_gap(env, await me(client))
        answer = (await client.get(f"/api/monitoring/coverage?day={DAY}")).json()

    sums = {name: answer[name] for name in answer if name.endswith("Minutes") or name in ("day", "percent")}
    (stretch,) = answer["stretches"]
    assert sums == {
        "day": DAY,
        "watchedMinutes": 90,
        "blindMinutes": 30,
        "sessionMinutes": 375,
        "wantedMinutes": 120,
        "percent": 75,
    }
    assert (stretch["beganAt"], stretch["endedAt"]) == ("2026-11-23T04:45:00Z", "2026-11-23T05:15:00Z")
    assert (stretch["reason"], stretch["minutes"]) == ("no_session", 30)
    assert stretch["sentence"].startswith("There was no Fyers session")
    assert [signal["isLate"] for signal in stretch["lateSignals"]] == [True, True]
    assert answer["watched"] == [
        {"beganAt": "2026-11-23T03:45:00Z", "endedAt": "2026-11-23T04:45:00Z"},
        {"beganAt": "2026-11-23T05:15:00Z", "endedAt": "2026-11-23T05:45:00Z"},
    ]
    assert [signal["candleClosedAt"] for signal in answer["lateElsewhere"]] == ["2026-11-23T03:55:00Z"]
    assert (answer["lateSignals"], answer["freshSignals"], answer["withdrawnSignals"]) == (3, 1, 1)
    assert answer["sessions"] == [{"opensAt": "2026-11-23T03:45:00Z", "closesAt": "2026-11-23T10:00:00Z"}]


async def test_days_are_listed_newest_first(env):
    """Only trading days up to the present one are listed."""
    await env.clock.advance_to(at(600))
    async with env.browser("asha") as client:
        await a_day_with_a_gap(env, await me(client))
        answer = await client.get("/api/monitoring/coverage/days?from=2026-11-19&to=2026-12-01")

    days = answer.json()["days"]
    assert [day["day"] for day in days] == [DAY, "2026-11-20", "2026-11-19"]
    assert [day["percent"] for day in days] == [75, None, None]
    assert days[0]["reasons"] == [{"reason": "no_session", "minutes": 30}]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?from=2026-11-19",
        "?from=2026-11-19&to=2026-11-18",
        "?from=2026-11-01&to=2026-12-02",
        "?from=x&to=y",
    ],
)
async def test_more_than_a_month_is_refused(env, query):
    """Days in the wrong order and missing days are refused as well."""
    async with env.browser("asha") as client:
        answer = await client.get(f"/api/monitoring/coverage/days{query}")

    assert answer.status_code == 422


async def test_an_admin_sees_everybody_worst_first(env):
    """The names let an admin call the user; traders are refused."""
    await env.clock.advance_to(at(600))
    async with (
        env.browser("asha", role=Role.ADMIN) as admin,
        env.browser("biren") as client,
    ):
        await a_day_with_a_gap(env, await me(client))
        answer = (await admin.get(f"/api/admin/coverage?day={DAY}")).json()
        refused = await client.get("/api/admin/coverage")
        today = (await admin.get("/api/admin/coverage")).json()

    assert [(one["fullName"], one["blindMinutes"], one["percent"]) for one in answer["accounts"]] == [
        ("Biren", 30, 75),
        ("Asha", 0, None),
    ]
    assert (answer["day"], today["day"], refused.status_code) == (DAY, DAY, 403)


def test_reasons_on_the_wire_are_fixed():
    """Programs depend on these values."""
    assert {reason.value for reason in BlindReason} == {
        "starting",
        "no_session",
        "not_permitted",
        "session_held",
        "checking_login",
        "fyers_unavailable",
        "rate_limited",
        "server_down",
        "server_busy",
        "slow_cycle",
        "clock_set",
    }
