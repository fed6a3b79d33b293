"""Routes about coverage: how much of the wanted trading time was watched, for one user and for all."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hullwatch.domain.monitoring.coverage import BlindReason, BlindStretch, Coverage, minutes
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.signals.signals import Signal
from hullwatch.services.monitoring.coverage import MAX_DAYS
from hullwatch.services.texts.clock import describe_step
from hullwatch.services.texts.obstacles import describe_blindness, describe_symbol_stretch
from hullwatch.web.api.monitoring import SignalPayload
from hullwatch.web.dependencies import Admin, CurrentServices, SignedIn
from hullwatch.web.openapi import problems
from hullwatch.web.payloads import Day, Payload, SymbolText

router = APIRouter(prefix="/api/monitoring/coverage", tags=["monitoring"])
admin_router = APIRouter(prefix="/api/admin", tags=["admin"], responses=problems(403))


class ReasonPayload(Payload):
    """How long an account was blind for one reason."""

    reason: BlindReason
    minutes: float


class BlindPayload(Payload):
    """A period of trading time that was wanted but not watched."""

    began_at: datetime
    ended_at: datetime
    reason: BlindReason
    sentence: str = Field(description="The reason in a sentence for the user.")
    minutes: float
    late_signals: list[SignalPayload] = Field(
        description="Signals that were found afterwards because this period delayed the reading of their candles."
    )


class WatchedPayload(Payload):
    """A period of trading time that was watched."""

    began_at: datetime
    ended_at: datetime


class SpanPayload(Payload):
    """A trading session of a day."""

    opens_at: datetime
    closes_at: datetime


class SumPayload(Payload):
    """The minutes of a day, rounded to two decimals."""

    day: date
    watched_minutes: float
    blind_minutes: float
    session_minutes: float = Field(description="Trading time of the day so far, wanted or not.")
    wanted_minutes: float = Field(description="The sum of watched and blind minutes.")
    percent: float | None = Field(
        description="Watched minutes as a share of the wanted ones. Null if none were wanted, 100 only if none were missed."
    )


class SymbolStretchPayload(Payload):
    """Trading time in which single symbols were not monitored; the account's minutes do not contain it."""

    symbol: SymbolText | None = Field(description="Null if it concerns all symbols.")
    began_at: datetime
    ended_at: datetime
    reason: Obstacle
    sentence: str = Field(description="The reason in a sentence for the user.")
    minutes: float


class ClockStepPayload(Payload):
    """The clock of the server was set."""

    at: datetime = Field(description="By the time that counts afterwards.")
    seconds: float = Field(description="Forward or, if negative, back.")
    is_followed: bool = Field(
        description="Whether the new time counts. Otherwise the server keeps the earlier time, which agrees with Fyers."
    )
    sentence: str


class CoveragePayload(SumPayload):
    """How much of an exchange day was watched."""

    stretches: list[BlindPayload]
    watched: list[WatchedPayload]
    sessions: list[SpanPayload]
    symbols: list[SymbolStretchPayload] = Field(
        description="When single symbols were not monitored while the account was."
    )
    late_signals: int = Field(description="Number of all late signals of the day.")
    late_elsewhere: list[SignalPayload] = Field(
        description="Late signals outside blind periods: monitoring was not wanted, or Fyers delivered or corrected the candle late."
    )
    fresh_signals: int
    withdrawn_signals: int = Field(
        description="Signals that were withdrawn because Fyers changed its history. They are in no other number."
    )
    clock_steps: list[ClockStepPayload] = Field(description="Oldest first; empty on nearly all days.")


class DayPayload(SumPayload):
    """One of several days."""

    reasons: list[ReasonPayload] = Field(description="Longest first.")


class DaysPayload(Payload):
    """Trading days, newest first."""

    days: list[DayPayload]


class AccountDayPayload(DayPayload):
    """The day of one account."""

    user_id: str
    email: str
    full_name: str


class AccountDaysPayload(Payload):
    """The day of all accounts, most blind time first."""

    day: date
    accounts: list[AccountDayPayload]


@router.get("")
async def coverage(user: SignedIn, services: CurrentServices, day: Day | None = None) -> CoveragePayload:
    """Return the caller's watched and blind minutes of one exchange day, by default of today or the last one."""
    found = await services.monitoring.days.of_day(user.id, day)
    late, elsewhere = found.late_by_stretch()
    return CoveragePayload(
        **_sums(found.coverage),
        stretches=list(map(_blind, found.coverage.stretches, late)),
        watched=[WatchedPayload(began_at=start, ended_at=end) for start, end in found.coverage.watched_spans],
        sessions=[SpanPayload.of(session) for session in found.sessions],
        symbols=[
            SymbolStretchPayload.of(
                one,
                reason=one.obstacle,
                sentence=describe_symbol_stretch(one),
                minutes=minutes(one.ended_at - one.began_at),
            )
            for one in found.symbols
        ],
        late_signals=len(found.late),
        late_elsewhere=[SignalPayload.of(signal) for signal in elsewhere],
        fresh_signals=found.fresh,
        withdrawn_signals=found.withdrawn,
        clock_steps=[ClockStepPayload.of(step, sentence=describe_step(step)) for step in found.clock_steps],
    )


@router.get("/days")
async def days(
    user: SignedIn,
    services: CurrentServices,
    first: Annotated[Day, Query(alias="from")],
    last: Annotated[Day, Query(alias="to", description=f"At most {MAX_DAYS} days, `from` included.")],
) -> DaysPayload:
    """Return the caller's trading days from one day to another, newest first; days in the future are left out."""
    found = await services.monitoring.days.of_days(user.id, first, last)
    return DaysPayload(days=[DayPayload(**_sums(one), reasons=_reasons(one)) for one in found])


@admin_router.get("/coverage")
async def everybody(_: Admin, services: CurrentServices, day: Day | None = None) -> AccountDaysPayload:
    """Return the minutes of all accounts on one exchange day, most blind time first; by default of today or the last one."""
    day, found = await services.monitoring.days.of_all(day)
    accounts = [
        AccountDayPayload.of(
            one.user, **_sums(one.coverage), reasons=_reasons(one.coverage), user_id=one.user.id
        )
        for one in found
    ]
    return AccountDaysPayload(day=day, accounts=accounts)


def _blind(stretch: BlindStretch, late: list[Signal]) -> BlindPayload:
    return BlindPayload.of(
        stretch,
        sentence=describe_blindness(stretch.reason),
        minutes=minutes(stretch.length),
        late_signals=late,
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
