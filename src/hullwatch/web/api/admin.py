"""What an operator sees and does: everybody's token health, the audit trail, jobs, roles, invites."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import NotAllowed
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.circuit import CircuitState
from hullwatch.runtime.jobs import JobKind, JobReport, JobState
from hullwatch.services.monitoring.overview import MonitoringState
from hullwatch.services.operations.admin import AccountHealth
from hullwatch.services.operations.call_counts import Calls
from hullwatch.services.users.accounts import INVITE_LIFETIME
from hullwatch.web.api.auth import UserPayload
from hullwatch.web.dependencies import Admin, ConfigNeeded, ServicesNeeded
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import ConnectionPayload, Done, Id, Limit, Moment, Payload

router = APIRouter(prefix="/api/admin", tags=["admin"], responses=problems(403))


class EventPayload(Payload):
    """One line of the audit trail."""

    at: datetime
    user_id: str | None
    kind: str
    actor: str
    from_state: str | None
    to_state: str | None
    reason: str | None
    generation: int | None
    incident_id: str | None
    evidence: dict[str, object]

    @classmethod
    def of(cls, entry: AuditEntry) -> "EventPayload":
        """Return the payload of an audit entry."""
        return cls(
            at=entry.at,
            user_id=entry.user_id,
            kind=entry.kind,
            actor=entry.actor,
            from_state=entry.from_state,
            to_state=entry.to_state,
            reason=entry.reason,
            generation=entry.generation,
            incident_id=entry.incident_id,
            evidence=dict(entry.evidence),
        )


class EventsPayload(Payload):
    """Lines of the audit trail, newest first."""

    events: list[EventPayload]


class AccountPayload(Payload):
    """One account as an operator sees it."""

    user_id: str
    email: str
    full_name: str
    role: Role
    state: LoginState
    reason: DisconnectReason | None
    verified: bool
    verification_state: VerificationState
    expires_at: datetime | None
    connected_at: datetime | None
    last_validated_at: datetime | None
    last_disconnect_time: datetime | None
    fyers_id: str | None
    incident_id: str | None
    generation: int
    evidence: EventPayload | None = Field(
        description="The newest line of the audit trail about the connection."
    )
    watch_count: int
    monitoring_wanted: bool
    monitoring_status: WatchStatus
    calls: int = Field(description="Calls that Fyers has had from this account today (IST).")
    refusals: int = Field(description="Those of them whose access token Fyers refused.")

    @classmethod
    def of(cls, health: AccountHealth, monitoring: MonitoringState, calls: Calls) -> "AccountPayload":
        """Return the payload of an account."""
        user, connection = health.user, health.connection
        return cls(
            user_id=user.id,
            email=user.email,
            full_name=user.full_name,
            role=user.role,
            state=connection.state,
            reason=connection.reason,
            verified=connection.is_verified,
            verification_state=connection.verification_state,
            expires_at=connection.expires_at,
            connected_at=connection.connected_at,
            last_validated_at=connection.last_validated_at,
            last_disconnect_time=connection.last_disconnect_at,
            fyers_id=connection.fyers_id,
            incident_id=connection.incident_id,
            generation=connection.generation,
            evidence=health.last_entry and EventPayload.of(health.last_entry),
            watch_count=monitoring.watch_count,
            monitoring_wanted=monitoring.is_wanted,
            monitoring_status=monitoring.status,
            calls=calls.calls,
            refusals=calls.refusals,
        )


class BrokerOutagePayload(Payload):
    """Fyers refuses many sessions at once."""

    incident_id: str
    began_at: datetime


class TokenHealthPayload(Payload):
    """Everybody's sessions."""

    accounts: list[AccountPayload]
    broker_outage: BrokerOutagePayload | None


class CircuitPayload(Payload):
    """What holds everybody's calls back, or would."""

    name: str = Field(
        description="`circuit_open`: Fyers is down for many; `cloudflare_blocked`: Cloudflare blocks this server."
    )
    state: CircuitState
    opened_at: datetime | None
    retry_after_seconds: float


class BrokerPayload(Payload):
    """How Fyers stands as a whole."""

    circuits: list[CircuitPayload]
    trouble: BrokerOutagePayload | None


class JobPayload(Payload):
    """A supervised job."""

    name: str
    kind: JobKind
    state: JobState
    is_essential: bool
    is_healthy: bool
    restarts: int
    failures: int
    missed_ticks: int
    last_started_at: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    last_error: str | None = Field(description="The class of the last failure; never its text.")
    interval_seconds: float | None

    @classmethod
    def of(cls, job: JobReport) -> "JobPayload":
        """Return the payload of a job's report."""
        return cls(
            name=job.name,
            kind=job.kind,
            state=job.state,
            is_essential=job.is_essential,
            is_healthy=job.is_healthy,
            restarts=job.restarts,
            failures=job.failures,
            missed_ticks=job.missed_ticks,
            last_started_at=job.last_started_at,
            last_success_at=job.last_success_at,
            last_failure_at=job.last_failure_at,
            last_error=job.last_error,
            interval_seconds=job.interval_s,
        )


class JobsPayload(Payload):
    """All supervised jobs."""

    jobs: list[JobPayload]


class RoleBody(Payload):
    """A user's new role."""

    role: Role


class InvitePayload(Payload):
    """An invite, shown this once."""

    url: str
    expires_at: datetime


@router.get("/token-health")
async def token_health(_: Admin, services: ServicesNeeded) -> TokenHealthPayload:
    """Return every account's session, oldest account first."""
    accounts = await services.admin.token_health()
    trouble = services.connections.outages.trouble
    return TokenHealthPayload(
        accounts=[
            AccountPayload.of(
                one, services.monitoring.state(one.user.id), services.call_counts.of(one.user.id)
            )
            for one in accounts
        ],
        broker_outage=trouble
        and BrokerOutagePayload(incident_id=trouble.incident_id, began_at=trouble.began_at),
    )


@router.get("/events")
async def events(
    *,
    _: Admin,
    services: ServicesNeeded,
    user_id: Annotated[str | None, Query(alias="userId", pattern=r"^[A-Za-z0-9_-]{1,64}$")] = None,
    kind: Annotated[str | None, Query(pattern=r"^[a-z_.]{1,64}$", description="How the kind begins.")] = None,
    since: Moment | None = None,
    before: Moment | None = None,
    limit: Limit = 200,
) -> EventsPayload:
    """Return the audit trail, newest first; page on with `before`."""
    entries = await services.admin.entries(
        user_id=user_id, kind_prefix=kind, since=since, before=before, limit=limit
    )
    return EventsPayload(events=[EventPayload.of(entry) for entry in entries])


@router.get("/broker")
async def broker(_: Admin, services: ServicesNeeded) -> BrokerPayload:
    """Return whether anything holds everybody's calls back."""
    trouble = services.connections.outages.trouble
    return BrokerPayload(
        circuits=[
            CircuitPayload(
                name=one.name, state=one.state, opened_at=one.opened_at, retry_after_seconds=one.retry_after_s
            )
            for one in services.broker.circuits()
        ],
        trouble=trouble and BrokerOutagePayload(incident_id=trouble.incident_id, began_at=trouble.began_at),
    )


@router.get("/jobs")
async def jobs(_: Admin, services: ServicesNeeded) -> JobsPayload:
    """Return every supervised job."""
    return JobsPayload(jobs=[JobPayload.of(job) for job in services.supervisor.jobs()])


@router.post("/users/{user_id}/disconnect")
async def disconnect(user_id: Id, admin: Admin, services: ServicesNeeded) -> ConnectionPayload:
    """End a user's session with Fyers."""
    await services.accounts.get(user_id)
    return ConnectionPayload.of(await services.connections.disconnect_by_admin(user_id, actor=admin.id))


@router.post("/users/{user_id}/login-link", responses=problems(400, 429))
async def send_login_link(user_id: Id, admin: Admin, services: ServicesNeeded) -> Done:
    """Ask a user to log in to Fyers, with a link that only the user is sent."""
    user = await services.login_links.ask(user_id, actor=admin.id)
    return Done(
        success=True, message=f"{user.full_name} is asked, in the page and over the channels of their choice."
    )


@router.put("/users/{user_id}/role")
async def set_role(user_id: Id, body: RoleBody, admin: Admin, services: ServicesNeeded) -> UserPayload:
    """Give a user another role; the last admin stays one."""
    return UserPayload.of(await services.accounts.set_role(user_id, body.role, actor=admin.id))


@router.delete("/users/{user_id}", status_code=204)
async def remove_user(user_id: Id, admin: Admin, services: ServicesNeeded) -> None:
    """Remove another user with everything that is that user's own; the audit trail stays."""
    if user_id == admin.id:
        raise NotAllowed("Nobody removes the own account here; ask another admin.")
    await services.accounts.remove(user_id, actor=admin.id)


@router.post("/invites", status_code=201)
async def make_invite(admin: Admin, services: ServicesNeeded, config: ConfigNeeded) -> InvitePayload:
    """Make a link that lets one person register."""
    value = await services.accounts.make_invite(actor=admin.id)
    # Behind the hash: browsers do not send it, so that it reaches no server's log.
    url = f"{config.public_url.rstrip('/')}/#invite={value.reveal()}"
    return InvitePayload(url=url, expires_at=services.context.clock.now() + INVITE_LIFETIME)
