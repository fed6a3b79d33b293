"""Routes about validations of Fyers sessions: the status that pages poll, the sweep, and the cache."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

from fastapi import APIRouter
from pydantic import Field

from hullwatch.domain.events import ADMINS, SweepProgressed
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.domain.users.accounts import Role
from hullwatch.services.services import Services
from hullwatch.services.sessions.validation import Validation, ValidationResult
from hullwatch.services.texts.connection import connection_message
from hullwatch.web.dependencies import Admin, CurrentServices, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import ConnectionPayload, Done, Id, Payload, renamed_fields

router = APIRouter(prefix="/api/token-validation", tags=["token validation"])


class TokenStatus(Payload):
    """Whether the user's Fyers session is valid, and its state."""

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
    def of(cls, validation: Validation, /, **explicit: Any) -> Self:
        """Return the status that a validation shows."""
        connection = validation.connection
        has_session = connection.has_session
        return super().of(
            connection,
            **renamed_fields(connection),
            message=connection_message(connection),
            success=True,
            is_valid=has_session and validation.result is not ValidationResult.INVALID,
            has_token=has_session,
            is_connected=has_session,
            from_cache=validation.from_cache,
            **explicit,
        )


class ValidationResults(Payload):
    """The totals of a sweep."""

    total: int
    valid: int
    invalid: int
    unverified: int
    errors: int
    duration_ms: int


class SweepPayload(Payload):
    """The result of a sweep."""

    success: bool
    results: ValidationResults


class CacheEntryPayload(Payload):
    """The cached validation of one account."""

    user_id: str
    is_valid: bool
    age_seconds: float


class SharingPayload(Payload):
    """Whether this server also uses the confirmations of other server processes."""

    is_used: bool
    is_answering: bool = Field(description="Whether the Redis server that stores them answers.")


class CacheStatsPayload(Payload):
    """Size and use of the cache of this server process."""

    size: int
    hits: int
    misses: int
    entries: list[CacheEntryPayload]
    shared: SharingPayload


class CachePayload(Payload):
    """The cache, without tokens and without hashes of tokens."""

    success: bool
    stats: CacheStatsPayload


@router.head("/status", include_in_schema=False)
@router.get("/status")
async def token_status(user: SignedIn, services: CurrentServices) -> TokenStatus:
    """Return whether the caller's Fyers session is valid. A recent result comes from the cache; otherwise Fyers is called."""
    return TokenStatus.of(await services.validation.validate_fyers_token(user.id))


@router.post("/validate-all", responses=problems(403))
async def validate_all(_: Admin, services: CurrentServices) -> SweepPayload:
    """Validate every account that has a Fyers session, and return the totals."""
    totals = await services.validation.validate_all_active_users(
        on_progress=_progress_of(services, services.connections.session_count())
    )
    return SweepPayload(success=True, results=ValidationResults.of(totals))


def _progress_of(services: Services, total: int) -> Callable[[Validation], None]:
    """Return a function that publishes the progress of a sweep to the open pages of admins."""
    done = 0

    def publish(_: Validation) -> None:
        nonlocal done
        done += 1
        event = SweepProgressed(done, total, services.context.clock.now())
        services.context.hub.publish(ADMINS, event, replaceable_key="sweep")

    return publish


@router.post("/validate/{user_id}", responses=problems(403))
async def validate_one(user_id: Id, _: Admin, services: CurrentServices) -> ConnectionPayload:
    """Validate one account without the cache, and return its session. An account without a session causes no call to Fyers."""
    await services.accounts.get(user_id)
    validation = await services.validation.validate_fyers_token(user_id, fresh=True)
    return ConnectionPayload.of(validation.connection)


@router.get("/cache-stats")
async def cache_stats(user: SignedIn, services: CurrentServices) -> CachePayload:
    """Return the contents of the cache: all entries for an admin, the caller's own entry for a trader."""
    only_of = None if user.role is Role.ADMIN else user.id
    stats = services.validation.get_cache_stats(only_of)
    entries = [CacheEntryPayload.of(entry, age_seconds=round(entry.age_s, 3)) for entry in stats.entries]
    return CachePayload(success=True, stats=CacheStatsPayload.of(stats, entries=entries))


@router.post("/clear-cache")
async def clear_cache(user: SignedIn, services: CurrentServices) -> Done:
    """Delete the caller's entry from the cache, so that the next status calls Fyers."""
    await services.validation.clear_user_cache(user.id)
    return Done(
        success=True, message="Your cached validation was deleted. The next status request calls Fyers."
    )
