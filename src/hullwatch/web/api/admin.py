"""Routes for admins: the sessions of all accounts, the audit trail, jobs, roles, invites."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.failures import NotAllowed
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import DisconnectReason, HoldReason, LoginState, VerificationState
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.circuit import CircuitState
from hullwatch.runtime.jobs import JobKind, JobReport, JobState
from hullwatch.services.operations.admin import AccountHealth
from hullwatch.services.services import Services
from hullwatch.services.users.accounts import INVITE_LIFETIME
from hullwatch.web.api.auth import UserPayload
from hullwatch.web.api.health import DependencyPayload
from hullwatch.web.dependencies import Admin, CurrentConfig, CurrentServices
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import (
    ConnectionPayload,
    Done,
    Id,
    Limit,
    Moment,
    Payload,
    renamed_fields,
)

router = APIRouter(prefix="/api/admin", tags=["admin"], responses=problems(403))


class EventPayload(Payload):
    """One entry of the audit trail."""

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


class EventsPayload(Payload):
    """Entries of the audit trail, newest first."""

    events: list[EventPayload]


class AccountPayload(Payload):
    """One account and its Fyers session."""

    user_id: str
    email: str
    full_name: str
    role: Role
    state: LoginState
    reason: DisconnectReason | None
    verified: bool
    verification_state: VerificationState
    hold_reason: HoldReason | None = Field(description="Why the session is held, if it is.")
    expires_at: datetime | None
    connected_at: datetime | None
    last_validated_at: datetime | None
    last_disconnect_time: datetime | None
    fyers_id: str | None
    incident_id: str | None
    generation: int
    evidence: EventPayload | None = Field(
        description="The newest entry of the audit trail about the session."
    )
    watch_count: int
    monitoring_wanted: bool
    monitoring_status: WatchStatus
    calls: int = Field(description="Calls that this account made to Fyers today (IST).")
    refusals: int = Field(description="Calls of today whose access token Fyers refused.")

    @classmethod
    def of(cls, health: AccountHealth, /, **explicit: Any) -> Self:
        """Return the payload of an account; `explicit` holds its monitoring and calls."""
        user = health.user
        return super().of(
            health.connection,
            **renamed_fields(health.connection),
            email=user.email,
            full_name=user.full_name,
            role=user.role,
            evidence=health.last_entry,
            **explicit,
        )


class BrokerOutagePayload(Payload):
    """Fyers refuses many sessions at once."""

    incident_id: str
    began_at: datetime


class TokenHealthPayload(Payload):
    """The Fyers sessions of all accounts."""

    accounts: list[AccountPayload]
    broker_outage: BrokerOutagePayload | None


class CircuitPayload(Payload):
    """A circuit breaker, which stops the calls of all accounts while it is open."""

    name: str = Field(
        description="`circuit_open` opens when Fyers fails for many accounts, `cloudflare_blocked` when Cloudflare blocks this server."
    )
    state: CircuitState
    opened_at: datetime | None
    retry_after_seconds: float


class BrokerPayload(Payload):
    """Whether Fyers works for all accounts."""

    circuits: list[CircuitPayload]
    broker_outage: BrokerOutagePayload | None


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
    last_error: str | None = Field(description="The class name of the last exception; never its text.")
    interval_seconds: float | None

    @classmethod
    def of(cls, job: JobReport, /, **explicit: Any) -> Self:
        """Return the payload of a job's report."""
        return super().of(job, interval_seconds=job.interval_s, **explicit)


class JobsPayload(Payload):
    """All supervised jobs."""

    jobs: list[JobPayload]


class DependenciesPayload(Payload):
    """What the server depends on."""

    dependencies: list[DependencyPayload]


class RoleBody(Payload):
    """The new role of a user."""

    role: Role


class InvitePayload(Payload):
    """An invite link, which is shown only once."""

    url: str
    expires_at: datetime


@router.get("/token-health")
async def token_health(_: Admin, services: CurrentServices) -> TokenHealthPayload:
    """Return the Fyers session of every account, oldest account first."""
    accounts = [_account(services, one) for one in await services.admin.token_health()]
    return TokenHealthPayload(accounts=accounts, broker_outage=_broker_outage(services))


def _account(services: Services, health: AccountHealth) -> AccountPayload:
    monitoring = services.monitoring.state(health.user.id)
    calls = services.call_counts.of(health.user.id)
    return AccountPayload.of(
        health,
        watch_count=monitoring.watch_count,
        monitoring_wanted=monitoring.is_wanted,
        monitoring_status=monitoring.status,
        calls=calls.calls,
        refusals=calls.refusals,
    )


def _broker_outage(services: Services) -> BrokerOutagePayload | None:
    outage = services.connections.broker_outage
    return BrokerOutagePayload.of(outage) if outage else None


@router.get("/events")
async def events(
    *,
    _: Admin,
    services: CurrentServices,
    user_id: Annotated[str | None, Query(alias="userId", pattern=r"^[A-Za-z0-9_-]{1,64}$")] = None,
    kind: Annotated[
        str | None,
        Query(pattern=r"^[a-z_.]{1,64}$", description="The beginning of the kind, such as `connection.`."),
    ] = None,
    since: Moment | None = None,
    before: Moment | None = None,
    limit: Limit = 200,
) -> EventsPayload:
    """Return the audit trail, newest entry first. For the next page, set `before` to the time of the last entry."""
    entries = await services.admin.entries(
        user_id=user_id, kind_prefix=kind, since=since, before=before, limit=limit
    )
    return EventsPayload(events=[EventPayload.of(entry) for entry in entries])


@router.get("/broker")
async def broker(_: Admin, services: CurrentServices) -> BrokerPayload:
    """Return the state of the circuit breakers, and whether Fyers refuses many sessions at once."""
    circuits = [
        CircuitPayload.of(circuit, retry_after_seconds=circuit.retry_after_s)
        for circuit in services.broker.circuits()
    ]
    return BrokerPayload(circuits=circuits, broker_outage=_broker_outage(services))


@router.get("/dependencies")
async def dependencies(_: Admin, services: CurrentServices) -> DependenciesPayload:
    """Return the database and other services that the server depends on, with the same state as `/readyz`."""
    found = await services.server_health.check()
    return DependenciesPayload(dependencies=[DependencyPayload.of(one) for one in found])


@router.get("/jobs")
async def jobs(_: Admin, services: CurrentServices) -> JobsPayload:
    """Return the state of every supervised job."""
    return JobsPayload(jobs=[JobPayload.of(job) for job in services.supervisor.jobs()])


@router.post("/users/{user_id}/disconnect")
async def disconnect(user_id: Id, admin: Admin, services: CurrentServices) -> ConnectionPayload:
    """Disconnect the Fyers session of a user. The user has to log in to Fyers again."""
    await services.accounts.get(user_id)
    connection = await services.validation.mark_user_as_disconnected(
        user_id, DisconnectReason.BY_ADMIN, actor=admin.id
    )
    return ConnectionPayload.of(connection)


@router.post("/users/{user_id}/login-link", responses=problems(400, 429))
async def send_login_link(user_id: Id, admin: Admin, services: CurrentServices) -> Done:
    """Send a user a notice with a login link. The answer does not contain the link."""
    user = await services.login_links.request_login(user_id, actor=admin.id)
    return Done(
        success=True, message=f"{user.full_name} gets a login link in the pages and on their channels."
    )


@router.put("/users/{user_id}/role")
async def set_role(user_id: Id, body: RoleBody, admin: Admin, services: CurrentServices) -> UserPayload:
    """Change the role of a user. The last admin cannot become a trader."""
    return UserPayload.of(await services.accounts.set_role(user_id, body.role, actor=admin.id))


@router.delete("/users/{user_id}", status_code=204)
async def remove_user(user_id: Id, admin: Admin, services: CurrentServices) -> None:
    """Remove another user with all their data. The audit trail is kept."""
    if user_id == admin.id:
        raise NotAllowed("You cannot remove your own account. Ask another admin.")
    await services.accounts.remove(user_id, actor=admin.id)


@router.post("/invites", status_code=201)
async def make_invite(admin: Admin, services: CurrentServices, config: CurrentConfig) -> InvitePayload:
    """Create an invite link, with which one person can register."""
    value = await services.accounts.make_invite(actor=admin.id)
    # Browsers do not send the part behind the hash, so no server writes it to a log.
    url = f"{config.public_url.rstrip('/')}/#invite={value.reveal()}"
    return InvitePayload(url=url, expires_at=services.context.clock.now() + INVITE_LIFETIME)
