"""What follows from an attempt to send: whether and when it is repeated, and the health of its channel."""

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

RETRY: Final = Backoff(first_s=2.0, factor=2.0, max_s=1800.0, jitter=0.3)
MAX_AGE: Final = timedelta(hours=24)
"""A notice that could not be delivered for so long is of no use any more."""
MAX_REQUESTED_S: Final = 6 * 3600.0
"""The longest pause that a receiver can request."""
MAX_REFUSALS: Final = 3
MAX_WHILE_OTHERS_SUCCEED: Final = 8
"""Attempts at a message while its channel accepts others: then the message is the cause."""
MAX_OF_A_TEST: Final = 3
NOTIFY_AFTER: Final = timedelta(hours=1)
"""The user is notified of a channel that has failed for so long."""


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """The result of one attempt, and the health of its channel before and after."""

    claimed: Claimed
    before: ChannelHealth
    after: ChannelHealth
    result: DeliveryResult

    @property
    def is_dead_letter(self) -> bool:
        """Whether operators are notified; a failed test concerns its user alone."""
        is_test = self.claimed.notification.kind is NotificationKind.TEST
        return self.result.state is DeliveryState.FAILED_PERMANENTLY and not is_test

    @property
    def notifies_user(self) -> bool:
        """Whether the channel has failed for so long, or permanently, that its user is notified."""
        since = self.after.failing_since
        return since is not None and (self.is_dead_letter or self.result.at - since >= NOTIFY_AFTER)

    @property
    def is_recovery(self) -> bool:
        """Whether a failing channel works again."""
        return self.before.failing_since is not None and self.after.failing_since is None


def decide(
    claimed: Claimed, health: ChannelHealth, outcome: SendOutcome, *, now: datetime, random: Random
) -> RetryDecision:
    """Return what follows from the outcome of one attempt on a channel with this health."""
    match outcome:
        case Sent():
            result = DeliveryResult(claimed.id, DeliveryState.SENT, now, now)
            return RetryDecision(claimed, health, ChannelHealth(last_sent_at=now), result)
        case TryLater(why, retry_after_s):
            after, requested_s = _failed(health, why, retry_after_s, now, random), retry_after_s
            is_final = _is_given_up(claimed, health, now)
        case Refused(why, is_permanent, is_of_message):
            # Only a channel that accepts others shows that the message is the cause, whatever the status says.
            spares_channel = is_of_message and _accepts_others(claimed, health)
            after = health if spares_channel else _failed(health, why, None, now, random)
            if is_of_message and after.failures == 1:
                # Without a pause, so that the next message shows at once which of the two it is.
                after = replace(after, paused_until=now)
            is_final, requested_s = is_permanent or claimed.attempts + 1 >= MAX_REFUSALS, None
    state = DeliveryState.FAILED_PERMANENTLY if is_final else DeliveryState.WAITING
    due_at = now + _pause(claimed.attempts + 1, requested_s, random)
    return RetryDecision(claimed, health, after, DeliveryResult(claimed.id, state, now, due_at, why))


def _is_given_up(claimed: Claimed, health: ChannelHealth, now: datetime) -> bool:
    attempts = claimed.attempts + 1
    if claimed.notification.kind is NotificationKind.TEST:
        return attempts >= MAX_OF_A_TEST
    is_old = now - claimed.created_at >= MAX_AGE
    return is_old or (_accepts_others(claimed, health) and attempts >= MAX_WHILE_OTHERS_SUCCEED)


def _accepts_others(claimed: Claimed, health: ChannelHealth) -> bool:
    """Return whether the channel has accepted another message since this one was stored."""
    return health.last_sent_at is not None and health.last_sent_at >= claimed.created_at


def _failed(
    health: ChannelHealth, why: str, requested_s: float | None, now: datetime, random: Random
) -> ChannelHealth:
    failures = health.failures + 1
    return replace(
        health,
        failures=failures,
        failing_since=health.failing_since or now,
        last_error=why,
        paused_until=now + _pause(failures, requested_s, random),
    )


def _pause(attempts: int, requested_s: float | None, random: Random) -> timedelta:
    own_s = RETRY.delay(attempts, random)
    return timedelta(seconds=max(own_s, min(requested_s or 0.0, MAX_REQUESTED_S)))
