"""Routes about readiness: whether accounts are ready for the market open, or watched after it."""

from datetime import date, datetime
from typing import Any, Self

from fastapi import APIRouter
from pydantic import Field

from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.readiness.readiness import Phase, ReadinessResult
from hullwatch.services.readiness.service import AccountReadiness
from hullwatch.web.dependencies import Admin, CurrentServices, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Payload

router = APIRouter(prefix="/api/monitoring", tags=["monitoring"])
admin_router = APIRouter(prefix="/api/admin", tags=["admin"], responses=problems(403))


class LinesPayload(Payload):
    """How many watches are prepared."""

    total: int
    warm: int = Field(description="Watches whose average is computed up to the last closed candle.")
    symbols: int = Field(description="Symbols of these watches.")
    monitored: int = Field(description="Symbols that are monitored while the account is watched.")


class _AccountFields(Payload):
    result: ReadinessResult
    is_ready: bool = Field(description="Whether the account is ready or, in trading hours, watched.")
    reason: Obstacle | None = Field(
        description="The most important reason. Beside a good result it is a warning."
    )
    because: str | None = Field(description="The reason as a clause, for people.")
    do_this: str | None = Field(description="What to do about it, in a sentence.")
    line: str = Field(description="Result, reason and action in one line, for people; times in IST.")
    is_for_user: bool = Field(description="Whether the user can do something about it.")
    checked_at: datetime | None = Field(description="When a check last included this account.")
    lines: LinesPayload

    @classmethod
    def of(cls, account: AccountReadiness, /, **explicit: Any) -> Self:
        """Return the payload of an account."""
        readiness, texts = account.readiness, account.line
        return super().of(
            readiness,
            is_ready=readiness.result.is_good,
            because=texts.because,
            do_this=texts.do_this,
            line=texts.line,
            checked_at=account.checked_at,
            lines=LinesPayload(
                total=readiness.lines,
                warm=readiness.warm,
                symbols=readiness.monitored.total,
                monitored=readiness.monitored.count,
            ),
            **explicit,
        )


class ReadinessPayload(_AccountFields):
    """Whether one account is ready for the market open or, after it, watched."""

    phase: Phase
    next_check_at: datetime
    opens_at: datetime = Field(description="When the present trading session opened, or the next one opens.")


class AccountReadinessPayload(_AccountFields):
    """One account in the list for admins."""

    user_id: str
    email: str
    full_name: str


class EverybodyPayload(Payload):
    """The readiness of all accounts."""

    phase: Phase
    day: date
    percent: float | None = Field(
        description="The share of accounts that are ready or watched, rounded down. Null if there are none to watch."
    )
    total: int = Field(description="Accounts that are to be watched today; the percentage is of these.")
    ready: int
    not_ready: int
    checked_at: datetime | None
    next_check_at: datetime
    opens_at: datetime
    is_checking: bool
    accounts: list[AccountReadinessPayload] = Field(
        description="All accounts with a watchlist or with monitoring wanted, the worst first."
    )


class CheckPayload(Payload):
    """A check has started; the list shows its results."""

    started_at: datetime


@router.get("/readiness")
async def readiness(user: SignedIn, services: CurrentServices) -> ReadinessPayload:
    """Return whether the caller's account is ready for the market open and, if not, why and what to do."""
    account, next_check_at = services.readiness.of(user.id), services.readiness.next_check_at()
    hours = account.readiness.hours
    return ReadinessPayload.of(
        account, phase=hours.phase, opens_at=hours.opens_at, next_check_at=next_check_at
    )


@admin_router.get("/readiness")
async def everybody(_: Admin, services: CurrentServices) -> EverybodyPayload:
    """Return the readiness of all accounts, the worst first, and the share that is ready."""
    users = {user.id: user for user in await services.admin.users()}
    overview = await services.readiness.overview()
    accounts = [
        AccountReadinessPayload.of(one, user_id=user.id, email=user.email, full_name=user.full_name)
        for one in overview.accounts
        if (user := users.get(one.user_id)) is not None
    ]
    return EverybodyPayload.of(
        overview,
        phase=overview.hours.phase,
        day=overview.hours.day,
        opens_at=overview.hours.opens_at,
        ready=overview.good,
        not_ready=overview.total - overview.good,
        accounts=accounts,
    )


@admin_router.post("/readiness/check", status_code=202, responses=problems(429))
async def check(_: Admin, services: CurrentServices) -> CheckPayload:
    """Start a check of all accounts now. It loads missing candles and sends no notices."""
    return CheckPayload(started_at=services.readiness.start_check())
