"""Whether everything is ready for the opening: a user's own line, and the operators' list. Everything is said as it stands now."""

from datetime import date, datetime

from fastapi import APIRouter
from pydantic import Field

from hullwatch.domain.readiness.readiness import Phase, Reason, Verdict
from hullwatch.domain.users.accounts import User
from hullwatch.services.readiness.readiness_overview import AccountReadiness
from hullwatch.web.dependencies import Admin, ServicesNeeded, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Payload

router = APIRouter(prefix="/api/monitoring", tags=["monitoring"])
admin_router = APIRouter(prefix="/api/admin", tags=["admin"], responses=problems(403))


class LinesPayload(Payload):
    """How much of a watchlist is prepared."""

    total: int
    warm: int = Field(description="Lines whose average is there and reaches to the last close.")


class ReadinessPayload(Payload):
    """Whether one account is ready for the opening or, after it, watched."""

    verdict: Verdict
    is_ready: bool = Field(description="Ready or, in trading hours, watched.")
    reason: Reason | None = Field(
        description="The most important thing to know; beside a good verdict a *yes, but*."
    )
    because: str | None = Field(description="The reason as a clause, for people.")
    do_this: str | None = Field(
        description="What to do about it, as a sentence; says so where that is nothing."
    )
    line: str = Field(description="All of it in one line for people; times in IST.")
    is_for_user: bool = Field(description="Whether there is something that the user can do.")
    phase: Phase
    checked_at: datetime | None = Field(description="When a check last asked after this account.")
    next_check_at: datetime
    opens_at: datetime = Field(description="The opening of the session under way, else of the next one.")
    lines: LinesPayload

    @classmethod
    def of(cls, account: AccountReadiness, next_check_at: datetime) -> "ReadinessPayload":
        """Return the payload of an account."""
        readiness, told = account.readiness, account.line
        return cls(
            verdict=readiness.verdict,
            is_ready=readiness.verdict.is_good,
            reason=readiness.reason,
            because=told.because,
            do_this=told.do_this,
            line=told.line,
            is_for_user=readiness.is_for_user,
            phase=readiness.bell.phase,
            checked_at=account.checked_at,
            next_check_at=next_check_at,
            opens_at=readiness.bell.opens_at,
            lines=LinesPayload(total=readiness.lines, warm=readiness.warm),
        )


class AccountReadinessPayload(Payload):
    """One account in the operators' list."""

    user_id: str
    email: str
    full_name: str
    verdict: Verdict
    is_ready: bool
    reason: Reason | None
    because: str | None
    do_this: str | None
    line: str
    is_for_user: bool
    checked_at: datetime | None
    lines: LinesPayload

    @classmethod
    def of(cls, user: User, account: AccountReadiness) -> "AccountReadinessPayload":
        """Return the payload of an account."""
        readiness, told = account.readiness, account.line
        return cls(
            user_id=user.id,
            email=user.email,
            full_name=user.full_name,
            verdict=readiness.verdict,
            is_ready=readiness.verdict.is_good,
            reason=readiness.reason,
            because=told.because,
            do_this=told.do_this,
            line=told.line,
            is_for_user=readiness.is_for_user,
            checked_at=account.checked_at,
            lines=LinesPayload(total=readiness.lines, warm=readiness.warm),
        )


class EverybodyPayload(Payload):
    """Everybody's readiness."""

    phase: Phase
    day: date
    percent: float | None = Field(
        description="The share that is ready or watched, rounded down; null where nobody is to be watched."
    )
    total: int = Field(description="Accounts that are to be watched: of those is the percentage.")
    ready: int
    not_ready: int
    checked_at: datetime | None
    next_check_at: datetime
    opens_at: datetime
    is_checking: bool
    accounts: list[AccountReadinessPayload] = Field(
        description="All that have a watchlist or want monitoring, the worst first."
    )


class CheckPayload(Payload):
    """A check has begun; what it finds is in the list."""

    started_at: datetime


@router.get("/readiness")
async def readiness(user: SignedIn, services: ServicesNeeded) -> ReadinessPayload:
    """Return whether the user is ready for the opening and, if not, why and what to do."""
    service = services.readiness
    return ReadinessPayload.of(service.of(user.id), service.next_check_at())


@admin_router.get("/readiness")
async def everybody(_: Admin, services: ServicesNeeded) -> EverybodyPayload:
    """Return who is ready, the worst first, and the percentage."""
    users = {user.id: user for user in await services.admin.users()}
    overview = await services.readiness.overview()
    return EverybodyPayload(
        phase=overview.bell.phase,
        day=overview.bell.day,
        percent=overview.percent,
        total=overview.total,
        ready=overview.good,
        not_ready=overview.total - overview.good,
        checked_at=overview.checked_at,
        next_check_at=overview.next_check_at,
        opens_at=overview.bell.opens_at,
        is_checking=overview.is_checking,
        accounts=[
            AccountReadinessPayload.of(users[account.user_id], account)
            for account in overview.accounts
            if account.user_id in users
        ],
    )


@admin_router.post("/readiness/check", status_code=202, responses=problems(429))
async def check(_: Admin, services: ServicesNeeded) -> CheckPayload:
    """Begin a check of everybody now; it loads what is missing and calls nobody to act."""
    return CheckPayload(started_at=services.readiness.check_by_hand())
