"""How much was watched: one user's day and days; and everybody's day, for operators."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.monitoring.coverage import BlindReason, BlindStretch, Coverage, minutes
from hullwatch.domain.signals.signals import Signal
from hullwatch.services.monitoring.coverage import MAX_DAYS
from hullwatch.services.texts.daily_summary import describe_blindness
from hullwatch.web.api.monitoring import SignalPayload
from hullwatch.web.dependencies import Admin, ServicesNeeded, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Day, Payload

router = APIRouter(prefix="/api/monitoring/coverage", tags=["monitoring"])
admin_router = APIRouter(prefix="/api/admin", tags=["admin"], responses=problems(403))


class ReasonPayload(Payload):
    """How long an account was blind for one reason."""

    reason: BlindReason
    minutes: float


class BlindPayload(Payload):
    """A stretch of trading time that was not watched."""

    began_at: datetime
    ended_at: datetime
    reason: BlindReason
    sentence: str = Field(description="The reason, for the person.")
    minutes: float
    late_signals: list[SignalPayload] = Field(
        description="Signals on candles that closed in it, or so short before that only it could have read them; found afterwards."
    )

    @classmethod
    def of(cls, stretch: BlindStretch, late: list[Signal]) -> "BlindPayload":
        """Return the payload of a stretch."""
        return cls(
            began_at=stretch.began_at,
            ended_at=stretch.ended_at,
            reason=stretch.reason,
            sentence=describe_blindness(stretch.reason),
            minutes=minutes(stretch.length),
            late_signals=[SignalPayload.of(signal) for signal in late],
        )


class WatchedPayload(Payload):
    """A stretch of trading time that was watched."""

    began_at: datetime
    ended_at: datetime


class SpanPayload(Payload):
    """A trading session of a day."""

    opens_at: datetime
    closes_at: datetime


class SumPayload(Payload):
    """A day's minutes, rounded to hundredths."""

    day: date
    watched_minutes: float
    blind_minutes: float
    session_minutes: float = Field(description="Trading time of the day so far, wanted or not.")
    wanted_minutes: float = Field(description="Watched and blind together.")
    percent: float | None = Field(
        description="Watched of wanted; null where nothing was wanted, 100 only where nothing was missed."
    )


class CoveragePayload(SumPayload):
    """How much of an exchange day was watched."""

    stretches: list[BlindPayload]
    watched: list[WatchedPayload]
    sessions: list[SpanPayload]
    late_signals: int = Field(
        description="All late signals of the day: those of the stretches and those elsewhere."
    )
    late_elsewhere: list[SignalPayload] = Field(
        description="Late signals that no blind stretch explains: of time in which nothing was wanted, or of candles that Fyers gave late."
    )
    fresh_signals: int


class DayPayload(SumPayload):
    """One of several days."""

    reasons: list[ReasonPayload] = Field(description="The longest first.")


class DaysPayload(Payload):
    """Trading days, newest first."""

    days: list[DayPayload]


class AccountDayPayload(DayPayload):
    """One of all accounts on a day."""

    user_id: str
    email: str
    full_name: str


class AccountDaysPayload(Payload):
    """Everybody's day, most blind time first."""

    day: date
    accounts: list[AccountDayPayload]


@router.get("")
async def coverage(user: SignedIn, services: ServicesNeeded, day: Day | None = None) -> CoveragePayload:
    """Return the minutes watched and blind on an exchange day, by default the present or last one."""
    found = await services.monitoring.days.of_day(user.id, day)
    late, elsewhere = found.late_by_stretch()
    return CoveragePayload(
        **_sums(found.coverage),
        stretches=list(map(BlindPayload.of, found.coverage.stretches, late)),
        watched=[WatchedPayload(began_at=start, ended_at=end) for start, end in found.coverage.watched_spans],
        sessions=[
            SpanPayload(opens_at=session.opens_at, closes_at=session.closes_at) for session in found.sessions
        ],
        late_signals=len(found.late),
        late_elsewhere=[SignalPayload.of(signal) for signal in elsewhere],
        fresh_signals=found.fresh,
    )


@router.get("/days")
async def days(
    user: SignedIn,
    services: ServicesNeeded,
    first: Annotated[Day, Query(alias="from")],
    last: Annotated[Day, Query(alias="to", description=f"At most {MAX_DAYS} days with `from`.")],
) -> DaysPayload:
    """Return the trading days from one day to another, newest first; days to come are left out."""
    found = await services.monitoring.days.of_days(user.id, first, last)
    return DaysPayload(days=[DayPayload(**_sums(one), reasons=_reasons(one)) for one in found])


@admin_router.get("/coverage")
async def everybody(_: Admin, services: ServicesNeeded, day: Day | None = None) -> AccountDaysPayload:
    """Return everybody's minutes of an exchange day, most blind time first; by default the present or last one."""
    day, found = await services.monitoring.days.of_all(day)
    return AccountDaysPayload(
        day=day,
        accounts=[
            AccountDayPayload(
                **_sums(one.coverage),
                reasons=_reasons(one.coverage),
                user_id=one.user.id,
                email=one.user.email,
                full_name=one.user.full_name,
            )
            for one in found
        ],
    )


def _sums(found: Coverage) -> Mapping[str, date | float | None]:
    return {
        "day": found.day,
        "watched_minutes": found.watched_minutes,
        "blind_minutes": found.blind_minutes,
        "session_minutes": minutes(found.in_session),
        "wanted_minutes": minutes(found.watched + found.blind),
        "percent": found.percent,
    }


def _reasons(found: Coverage) -> list[ReasonPayload]:
    times: Mapping[BlindReason, timedelta] = found.blind_by_reason
    return [ReasonPayload(reason=reason, minutes=minutes(time)) for reason, time in times.items()]
