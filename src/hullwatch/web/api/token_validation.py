"""Whether sessions are good: the status that dashboards poll, sweeps, and the cache.

The status is asked more than everything else together, so it is answered by a bare route from memory; the FastAPI route of the same address
only describes it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field

from hullwatch.domain.events import ADMINS, SweepProgressed
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.domain.users.accounts import Role
from hullwatch.services.services import Services
from hullwatch.services.sessions.validation import CacheStats, Validation, ValidationVerdict
from hullwatch.services.texts.connection import connection_message
from hullwatch.web.dependencies import LOGIN_NEEDED, Admin, ServicesNeeded, SignedIn, services_of, who_asks
from hullwatch.web.edge import PlainRoute
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import ConnectionPayload, Done, Id, Payload

router = APIRouter(prefix="/api/token-validation", tags=["token validation"])

STATUS_PATH: Final = "/api/token-validation/status"


class TokenStatus(Payload):
    """Whether the user's session is good, and what is known about it."""

    success: bool
    is_valid: bool
    user_id: str
    has_token: bool
    is_connected: bool
    verified: bool
    state: LoginState
    reason: DisconnectReason | None
    message: str
    expires_at: datetime | None
    last_validated_at: datetime | None
    last_disconnect_time: datetime | None
    from_cache: bool


class ValidationResults(Payload):
    """A sweep in numbers."""

    total: int
    valid: int
    invalid: int
    unverified: int
    errors: int
    duration_ms: int


class SweepPayload(Payload):
    """What a sweep brought."""

    success: bool
    results: ValidationResults


class CacheEntryPayload(Payload):
    """One account's entry."""

    user_id: str
    is_valid: bool
    age_seconds: float


class SharingPayload(Payload):
    """Whether the confirmations of other server processes count too."""

    is_used: bool
    is_answering: bool = Field(description="Whether the Redis that keeps them answers.")


class CacheStatsPayload(Payload):
    """The cache in numbers, as this server process sees it."""

    size: int
    hits: int
    misses: int
    entries: list[CacheEntryPayload]
    shared: SharingPayload


class CachePayload(Payload):
    """The cache; no token, and no hash of one."""

    success: bool
    stats: CacheStatsPayload


async def token_status(request: Request) -> Response:
    """Return whether the own session is good; asks Fyers only when nothing recent is known."""
    services = services_of(request)
    user = await who_asks(request, services)
    validation = services.validation.status_from_cache(user.id)
    if validation is None:
        validation = await services.validation.validate_fyers_token(user.id)
    return Response(status_bytes(validation), media_type="application/json")


def status_bytes(validation: Validation) -> bytes:
    """Render what `TokenStatus` describes, by hand: a model would cost more than everything else on the way."""
    connection = validation.connection
    has_session = connection.has_session
    return orjson.dumps(
        {
            "success": True,
            "isValid": has_session and validation.verdict is not ValidationVerdict.INVALID,
            "userId": connection.user_id,
            "hasToken": has_session,
            "isConnected": has_session,
            "verified": connection.is_verified,
            "state": connection.state,
            "reason": connection.reason,
            "message": connection_message(connection),
            "expiresAt": connection.expires_at,
            "lastValidatedAt": connection.last_validated_at,
            "lastDisconnectTime": connection.last_disconnect_at,
            "fromCache": validation.from_cache,
        },
        option=orjson.OPT_UTC_Z,
    )


status_route: Final = PlainRoute(STATUS_PATH, token_status, methods=["GET"])
"""Takes the requests; to be put before the router's routes."""

router.add_api_route(
    "/status",
    token_status,
    methods=["GET"],
    response_model=TokenStatus,
    openapi_extra={"security": LOGIN_NEEDED},
    responses=problems(401),
)


@router.post("/validate-all", responses=problems(403))
async def validate_all(_: Admin, services: ServicesNeeded) -> SweepPayload:
    """Validate every account that has a session, now."""
    totals = await services.validation.validate_all_active_users(
        on_progress=_progress_of(services, services.connections.sessions_alive())
    )
    results = ValidationResults(
        total=totals.total,
        valid=totals.valid,
        invalid=totals.invalid,
        unverified=totals.unverified,
        errors=totals.errors,
        duration_ms=totals.duration_ms,
    )
    return SweepPayload(success=True, results=results)


def _progress_of(services: Services, total: int) -> Callable[[Validation], None]:
    """Return what tells the operators' open pages how far a sweep has come."""
    done = 0

    def note(_: Validation) -> None:
        nonlocal done
        done += 1
        event = SweepProgressed(done, total, services.context.clock.now())
        services.context.hub.publish(ADMINS, event, replaceable_key="sweep")

    return note


@router.post("/validate/{user_id}", responses=problems(403))
async def validate_one(user_id: Id, _: Admin, services: ServicesNeeded) -> ConnectionPayload:
    """Validate one account now, whatever is remembered of it; without a session nobody is asked."""
    await services.accounts.get(user_id)
    validation = await services.validation.validate_fyers_token(user_id, fresh=True)
    return ConnectionPayload.of(validation.connection)


@router.get("/cache-stats")
async def cache_stats(user: SignedIn, services: ServicesNeeded) -> CachePayload:
    """Return what the cache holds: an admin sees everybody, a user only the own entry."""
    own_only = None if user.role is Role.ADMIN else user.id
    return CachePayload(success=True, stats=_stats(services.validation.get_cache_stats(own_only)))


@router.post("/clear-cache")
async def clear_cache(user: SignedIn, services: ServicesNeeded) -> Done:
    """Forget the own entry, so that the next status asks Fyers."""
    await services.validation.clear_user_cache(user.id)
    return Done(success=True, message="Your cached validation is forgotten; the next status asks Fyers.")


def _stats(stats: CacheStats) -> CacheStatsPayload:
    entries = [
        CacheEntryPayload(user_id=entry.user_id, is_valid=entry.is_valid, age_seconds=round(entry.age_s, 3))
        for entry in stats.entries
    ]
    shared = SharingPayload(is_used=stats.shared.is_used, is_answering=stats.shared.is_answering)
    return CacheStatsPayload(
        size=stats.size, hits=stats.hits, misses=stats.misses, entries=entries, shared=shared
    )
