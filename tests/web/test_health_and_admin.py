"""For operators: health, metrics, token health, the audit trail, jobs, pages."""

from datetime import UTC, datetime

import pytest
from fakes.broker import AccountState
from fakes.clock import FakeClock

from hullwatch.domain.storage import MAX_AGE_S
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.jobs import JobKind, JobReport, JobState
from hullwatch.services.operations.server_health import ServerHealth
from hullwatch.web.config import WebConfig
from web.web_environment import WebEnvironment, make_supervisor


def job(*, is_healthy: bool = True, is_essential: bool = True) -> JobReport:
    """Return a report of a job."""
    return JobReport(
        name="monitoring",
        kind=JobKind.LONG_RUNNING,
        state=JobState.RUNNING if is_healthy else JobState.BACKING_OFF,
        is_essential=is_essential,
        is_healthy=is_healthy,
        restarts=2,
        failures=2,
        missed_ticks=0,
        last_started_at=None,
        last_success_at=datetime(2026, 11, 23, 4, tzinfo=UTC),
        last_failure_at=None,
        last_error="ValueError",
        interval_s=None,
    )


async def test_alive_and_ready(env):
    """A server whose database answers and whose jobs are well is ready."""
    env.reports = [job(), job(is_healthy=False, is_essential=False)]
    async with env.client() as client:
        alive, ready = await client.get("/healthz"), await client.get("/readyz")

    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert ready.json()["dependencies"] == [
        {"name": "database", "isReady": True, "detail": "", "isEssential": True}
    ]


@pytest.mark.parametrize("responds", [True, False])
async def test_readiness_shows_the_simulators_clock(env, responds):
    """The server goes on without it; the detail has the server's time."""
    health = ServerHealth(
        env.services.context,
        storage=env.services.storage_health,
        shared=None,
        clock_responds=lambda: responds,
    )

    found = {one.name: one for one in await health.check()}

    assert (found["clock"].is_ready, found["clock"].is_essential) == (responds, False)
    assert env.services.context.clock.now().isoformat() in found["clock"].detail


async def test_readiness_shows_a_wrong_clock_while_it_matters(env):
    """Monitoring goes on, so the server stays ready."""
    env.clock.step(-300)
    env.services.clock_monitor.check()
    async with env.client() as client:
        wrong = await client.get("/readyz")
        env.broker.keep_own_time()
        env.services.clock_monitor.check()
        right = await client.get("/readyz")

    [clock] = [one for one in wrong.json()["dependencies"] if one["name"] == "clock"]
    assert (wrong.status_code, clock["isReady"], clock["isEssential"]) == (200, False, False)
    assert "was set back by 5 minutes" in clock["detail"]
    assert [one["name"] for one in right.json()["dependencies"]] == ["database"]


async def test_not_ready_without_database_or_job(env):
    """Without the database or an essential job the server is not ready, but alive."""
    async with env.client() as client:
        env.reports = [job(is_healthy=False)]
        unhealthy = await client.get("/readyz")
        env.reports, env.store.is_down = [job()], True
        await env.clock.advance(MAX_AGE_S + 1)
        await env.services.storage_health.check()
        down = await client.get("/readyz")
        alive = await client.get("/healthz")

    assert (unhealthy.status_code, unhealthy.json()["status"]) == (503, "not_ready")
    assert (down.status_code, down.json()["dependencies"][0]["isReady"]) == (503, False)
    assert down.json()["dependencies"][0]["detail"].startswith("The database does not respond.")
    assert alive.status_code == 200


PROMISED = {
    "hullwatch_sessions", "hullwatch_validations_total", "hullwatch_validation_cache_hits_total",
    "hullwatch_fyers_calls_total", "hullwatch_fyers_call_seconds", "hullwatch_monitor_cycle_seconds",
    "hullwatch_monitor_cycles_total", "hullwatch_signals_total", "hullwatch_notifications_total",
    "hullwatch_job_restarts_total", "hullwatch_job_last_success_timestamp_seconds",
    "hullwatch_ready_accounts", "hullwatch_storage_ready",
}  # fmt: skip


async def test_metrics_have_their_promised_names(env):
    """All promised numbers are there, and sessions are counted by state."""
    env.reports = [job()]
    env.metrics.fyers_call("quotes", "ok", 0.2)
    env.metrics.readiness(total=3, ready=0)
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        answer = await client.get("/metrics")

    names = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")}
    assert names >= PROMISED
    assert 'hullwatch_sessions{state="connected"} 1.0' in answer.text
    assert 'hullwatch_fyers_calls_total{outcome="ok",path="quotes"} 1.0' in answer.text
    assert 'hullwatch_ready_accounts{state="ready"} 0.0' in answer.text
    assert 'hullwatch_ready_accounts{state="not_ready"} 3.0' in answer.text
    assert f'hullwatch_job_restarts_total{{job="{env.reports[0].name}"}} 0.0' in answer.text
    assert "asha" not in answer.text


async def test_metrics_can_be_elsewhere():
    """Where metrics are bound to another address, this one does not have them."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        env = WebEnvironment(supervisor, clock, WebConfig(serves_metrics=False))
        async with env.client() as client:
            assert (await client.get("/metrics")).status_code == 404


async def test_token_health_lists_all_accounts(env):
    """An admin sees each account's state, why it is so, and what is watched; traders do not."""
    watch = {"symbol": "NSE:SBIN-EQ", "resolution": "5", "period": 55, "rule": "cross"}
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        await env.link(trader, "XB001")
        await trader.post("/api/monitoring/watches", json=watch)
        env.broker.set_state("XB001", AccountState.REVOKED)
        await trader.get("/api/token-validation/status")
        await env.confirm_refusals()
        refused = await trader.get("/api/admin/token-health")
        answer = await admin.get("/api/admin/token-health")

    assert refused.status_code == 403
    first, second = answer.json()["accounts"]
    assert (first["email"], first["state"], first["evidence"]) == ("asha@b.in", "never_connected", None)
    assert (second["state"], second["reason"], second["watchCount"], second["generation"]) == (
        "disconnected", "rejected", 1, 1,
    )  # fmt: skip
    assert second["evidence"]["kind"].startswith("connection.")
    assert second["evidence"]["evidence"]["refusals"]
    assert answer.json()["brokerOutage"] is None


async def test_audit_trail_is_read_and_filtered(env):
    """The newest entry is first; filters are the user, the kind and the time."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        user_id = (await trader.get("/api/auth/me")).json()["id"]
        await env.clock.advance(60)
        await env.link(trader, "XB001")
        events = "/api/admin/events"
        own = (await admin.get(events, params={"userId": user_id})).json()["events"]
        kinds = (await admin.get(events, params={"kind": "connection."})).json()["events"]
        early = (await admin.get(events, params={"before": "2026-11-23T09:30:30+05:30"})).json()["events"]
        one = (await admin.get(events, params={"limit": 1})).json()["events"]

    assert [event["kind"] for event in own] == ["connection.logged_in", "user.registered"]
    assert [event["kind"] for event in kinds] == ["connection.logged_in"]
    assert {event["kind"] for event in early} == {"user.registered"}
    assert len(one) == 1


async def test_admin_disconnects_an_account(env):
    """The session shows that an admin disconnected it; an unknown user is a 404."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        await env.link(trader, "XB001")
        user_id = (await trader.get("/api/auth/me")).json()["id"]
        answer = await admin.post(f"/api/admin/users/{user_id}/disconnect")
        unknown = await admin.post("/api/admin/users/nobody/disconnect")
        odd = await admin.post("/api/admin/users/%00/disconnect")
        status = (await trader.get("/api/fyers/status")).json()

    assert answer.json()["reason"] == status["reason"] == "by_admin"
    assert "An administrator disconnected your Fyers session" in status["message"]
    assert (unknown.status_code, odd.status_code) == (404, 422)


async def test_jobs_are_shown_to_admins(env):
    """An admin sees every job with the class of its last failure, never its text."""
    env.reports = [job()]
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        shown = (await admin.get("/api/admin/jobs")).json()["jobs"]
        refused = await trader.get("/api/admin/jobs")

    assert [(one["name"], one["restarts"], one["lastError"]) for one in shown] == [
        ("monitoring", 2, "ValueError")
    ]
    assert refused.status_code == 403


async def test_dependencies_are_shown_to_admins(env):
    """The Server page shows the same state as `/readyz`."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        shown = (await admin.get("/api/admin/dependencies")).json()["dependencies"]
        ready = (await admin.get("/readyz")).json()["dependencies"]
        refused = await trader.get("/api/admin/dependencies")

    assert shown == ready
    assert [one["name"] for one in shown] == ["database"]
    assert refused.status_code == 403


async def test_home_shows_user_and_session(env):
    """The plain home page asks a visitor to sign in; names are escaped."""
    async with env.client() as nobody, env.browser("asha") as client:
        await client.patch("/api/auth/me", json={"fullName": "<script>alert(1)</script>"})
        await env.link(client, "XA001")
        out, signed_in = await nobody.get("/"), await client.get("/")

    assert "not signed in" in out.text
    assert "You are connected to Fyers until 24 Nov 2026, 06:00 IST" in signed_in.text
    assert "<script" not in signed_in.text
    assert signed_in.headers["cache-control"] == "no-store"


async def test_docs_list_every_operation_offline(env):
    """The page of the API names each operation and loads nothing foreign."""
    async with env.client() as client:
        page = (await client.get("/api/docs")).text
        document = (await client.get("/api/openapi.json")).json()

    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
