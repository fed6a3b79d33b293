"""The rules between Fyers' first refusal of a session and a decision about it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hullwatch.domain.failures import (
    Answered,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    Unavailable,
    UnclearRefusal,
)
from hullwatch.domain.sessions.connection import Connection, Credential, HoldReason, VerificationTrigger

UNVERIFIED_AFTER: Final = timedelta(minutes=5)
"""A failed ordinary call makes a session unverified only when Fyers has not confirmed it for this long."""
HOLD_AFTER: Final = timedelta(minutes=2)
"""Refusals without HTTP 401 put an account on hold when no call was answered for this long."""


AnyRefusal = LoginRefused | UnclearRefusal
"""A refused access token, with HTTP 401 or without."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a call with a probe account, still to be recorded."""

    credential: Credential
    result: BrokerResult[object]
    at: datetime


@dataclass(frozen=True, slots=True)
class Keep:
    """Another service answered: the first refusal was one of Fyers' isolated false ones."""

    probe_results: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """The refusals are not enough to disconnect the session, and ordinary calls would be refused too."""

    reason: HoldReason
    refusals: tuple[AnyRefusal, ...] = ()
    probe_results: tuple[ProbeResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Two services refused with HTTP 401: Fyers has ended the session."""

    refusals: tuple[LoginRefused, ...]
    probe_results: tuple[ProbeResult, ...] = ()


Decision = Keep | Hold | Disconnect


class ProbeAnswer(StrEnum):
    """The answer of one service to a probe."""

    REFUSED = "refused"
    """With HTTP 401."""
    UNCLEAR = "unclear"
    """Refused without HTTP 401."""
    ANSWERED = "answered"
    UNAVAILABLE = "unavailable"


class ProbeConclusion(StrEnum):
    """What one round of probes shows."""

    CONFIRMED = "confirmed"
    """Two services refused with HTTP 401, and none that checks tokens answered."""
    UNCLEAR = "unclear"
    """Two services refused, but not both with HTTP 401."""
    CLEARED = "cleared"
    """Another service that checks tokens answered."""
    UNDECIDED = "undecided"
    """No service that counts could be reached; probe again later."""


_PROBES: Final[Mapping[BrokerService, tuple[BrokerService, ...]]] = {
    BrokerService.DATA: (BrokerService.PROFILE, BrokerService.TRADING, BrokerService.DATA),
    BrokerService.TRADING: (BrokerService.PROFILE, BrokerService.DATA, BrokerService.TRADING),
    # History and data have the same address, so a refusal there must be confirmed elsewhere.
    BrokerService.HISTORY: (BrokerService.PROFILE, BrokerService.TRADING, BrokerService.DATA),
}
_OTHER_PROBES: Final = (BrokerService.DATA, BrokerService.TRADING)


def next_probe(
    first: BrokerService,
    answers: Mapping[BrokerService, ProbeAnswer],
    *,
    first_answer: ProbeAnswer = ProbeAnswer.REFUSED,
    unreliable: Collection[BrokerService] = (),
) -> BrokerService | ProbeConclusion:
    """Return which service to probe next after a first refusal by `first`, or the conclusion.

    ``/profile`` comes first because only it tells expired from revoked. Its refusal counts, but its answer proves
    nothing: in a Fyers developer's recorded run it answered while all others refused. Every other service is probed
    before a session counts as refused, because one good answer clears it: a service that refuses everybody and one
    false refusal by another one would disconnect a session that works. The service that refused comes last. It can
    clear the session, but not confirm its own refusal.

    Args:
        first: The service that refused first.
        answers: The answers to the probes so far.
        first_answer: Whether it refused with HTTP 401.
        unreliable: Services whose refusals do not confirm, because they falsely refused other accounts.
    """
    proofs = {service: answer for service, answer in answers.items() if service is not BrokerService.PROFILE}
    if ProbeAnswer.ANSWERED in proofs.values():
        return ProbeConclusion.CLEARED
    for service in _PROBES.get(first, _OTHER_PROBES):
        if service not in answers:
            return service
    results = {(first, first_answer), *answers.items()}
    refused = {service for service, answer in results if answer is ProbeAnswer.REFUSED}
    unclear = {service for service, answer in results if answer is ProbeAnswer.UNCLEAR}
    if len(refused.difference(unreliable)) >= 2:
        return ProbeConclusion.CONFIRMED
    if unclear and len(refused | unclear) >= 2:
        return ProbeConclusion.UNCLEAR
    return ProbeConclusion.UNDECIDED


def trigger_of(
    result: BrokerResult[object], connection: Connection, *, now: datetime, is_validation: bool
) -> VerificationTrigger | None:
    """Return how a call's result moves the session's verification state; `None` when it says nothing about the login.

    Args:
        result: The result of a call with this session.
        connection: The session.
        now: The present.
        is_validation: Whether the call was made to verify the session; then an outage counts at once.
    """
    match result:
        case Answered():
            return VerificationTrigger.ANSWERED
        case LoginRefused():
            return VerificationTrigger.REFUSED
        case RateLimited() | Unavailable():
            verified_at = connection.last_validated_at
            # A time in the future is wrong, so it confirms nothing.
            is_stale = verified_at is None or not timedelta() <= now - verified_at <= UNVERIFIED_AFTER
            return VerificationTrigger.UNAVAILABLE if is_validation or is_stale else None
        case _:
            return None
