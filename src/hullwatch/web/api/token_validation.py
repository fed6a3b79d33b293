"""Routes about validations of Fyers sessions: the status that pages poll, the sweep, and the cache."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter
from pydantic import Field

from hullwatch.domain.events import ADMINS, SweepProgressed
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.domain.users.accounts import Role
from hullwatch.services.services import Services
from hullwatch.services.sessions.validation import CacheStats, Validation, ValidationVerdict
from hullwatch.services.texts.connection import connection_message
from hullwatch.web.dependencies import Admin, ServicesNeeded, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import ConnectionPayload, Done, Id, Payload

router = APIRouter(prefix="/api/token-validation", tags=["token validation"])


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

    @classmethod
    def of(cls, validation: Validation) -> "TokenStatus":
        """Return the status that a validation shows."""
        connection = validation.connection
        has_session = connection.has_session
        return cls(
            success=True,
            is_valid=has_session and validation.verdict is not ValidationVerdict.INVALID,
            user_id=connection.user_id,
            has_token=has_session,
            is_connected=has_session,
            verified=connection.is_verified,
            state=connection.state,
            reason=connection.reason,
            message=connection_message(connection),
            expires_at=connection.expires_at,
            last_validated_at=connection.last_validated_at,
            last_disconnect_time=connection.last_disconnect_at,
            from_cache=validation.from_cache,
        )


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


@router.head("/status", include_in_schema=False)
@router.get("/status")
async def token_status(user: SignedIn, services: ServicesNeeded) -> TokenStatus:
    """Return whether the caller's Fyers session is valid. A recent result is answered from the cache, otherwise Fyers is called."""
    return TokenStatus.of(await services.validation.validate_fyers_token(user.id))


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
