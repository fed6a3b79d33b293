"""What follows from how a sending ended: is it over, when is it tried again, how does its channel stand. Pure; acting on it is ``outbox``'s."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from hullwatch.domain.notifications.channels import (
    ChannelHealth,
    Claimed,
    DeliveryResult,
    Refused,
    SendOutcome,
    Sent,
    TryLater,
)
from hullwatch.domain.notifications.notifications import DeliveryState, NotificationKind
from hullwatch.runtime.backoff import Backoff

AGAIN: Final = Backoff(first_s=2.0, factor=2.0, max_s=1800.0, jitter=0.3)
LONGEST: Final = timedelta(hours=24)
"""A notice that could not be delivered for so long tells nobody anything any more."""
LONGEST_ASKED_S: Final = 6 * 3600.0
"""No receiver's wish to be asked later counts for more."""
MOST_REFUSALS: Final = 3
MOST_BESIDE_OTHERS: Final = 8
"""Attempts at a message whose channel has taken others meanwhile: it is the message then."""
MOST_OF_A_TEST: Final = 3
TOLD_AFTER: Final = timedelta(hours=1)
"""A channel that has not worked for so long is told to its user."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be stored and told of one attempt."""

    claimed: Claimed
    before: ChannelHealth
    after: ChannelHealth
    result: DeliveryResult

    @property
    def is_dead_letter(self) -> bool:
        """Whether an operator has to look at it; a failed test concerns only the one who asked for it."""
        is_test = self.claimed.notification.kind is NotificationKind.TEST
        return self.result.state is DeliveryState.FAILED_PERMANENTLY and not is_test

    @property
    def is_told_to_user(self) -> bool:
        """Whether the channel has failed so long, or so surely, that its user should know."""
        since = self.after.failing_since
        return since is not None and (self.is_dead_letter or self.result.at - since >= TOLD_AFTER)

    @property
    def is_recovery(self) -> bool:
        """Whether a channel that had failed works again."""
        return self.before.failing_since is not None and self.after.failing_since is None


def judge(
    claimed: Claimed, health: ChannelHealth, outcome: SendOutcome, *, now: datetime, random: Random
) -> Verdict:
    """Return what follows from the outcome of one attempt, its channel standing as `health` says."""
    match outcome:
        case Sent():
            result = DeliveryResult(claimed.id, DeliveryState.SENT, now, now)
            return Verdict(claimed, health, ChannelHealth(last_sent_at=now), result)
        case TryLater(why, retry_after_s):
            after, asked_s = _failed(health, why, retry_after_s, now, random), retry_after_s
            is_over = _is_given_up(claimed, health, now)
        case Refused(why, is_permanent, is_of_message):
            after = health if is_of_message else _failed(health, why, None, now, random)
            is_over, asked_s = is_permanent or claimed.attempts + 1 >= MOST_REFUSALS, None
    state = DeliveryState.FAILED_PERMANENTLY if is_over else DeliveryState.WAITING
    due_at = now + _pause(claimed.attempts + 1, asked_s, random)
    return Verdict(claimed, health, after, DeliveryResult(claimed.id, state, now, due_at, why))


def _is_given_up(claimed: Claimed, health: ChannelHealth, now: datetime) -> bool:
    attempts = claimed.attempts + 1
    if claimed.notification.kind is NotificationKind.TEST:
        return attempts >= MOST_OF_A_TEST
    others_pass = health.last_sent_at is not None and health.last_sent_at > claimed.created_at
    return now - claimed.created_at >= LONGEST or (others_pass and attempts >= MOST_BESIDE_OTHERS)


def _failed(
    health: ChannelHealth, why: str, asked_s: float | None, now: datetime, random: Random
) -> ChannelHealth:
    failures = health.failures + 1
    return replace(
        health,
        failures=failures,
        failing_since=health.failing_since or now,
        last_error=why,
        paused_until=now + _pause(failures, asked_s, random),
    )


def _pause(attempts: int, asked_s: float | None, random: Random) -> timedelta:
    own_s = AGAIN.delay(attempts, random)
    return timedelta(seconds=max(own_s, min(asked_s or 0.0, LONGEST_ASKED_S)))
