"""Tests the retry decision after each result of an attempt."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.notifications.channels import (
    ChannelAddress,
    ChannelHealth,
    Claimed,
    Destination,
    Refused,
    Sent,
    TryLater,
)
from hullwatch.domain.notifications.notifications import (
    ChannelKind,
    DeliveryState,
    Notification,
    NotificationKind,
)
from hullwatch.services.notifications.retry_policy import (
    MAX_AGE,
    MAX_OF_A_TEST,
    MAX_REFUSALS,
    MAX_REQUESTED_S,
    MAX_WHILE_OTHERS_SUCCEED,
    NOTIFY_AFTER,
    RETRY,
    decide,
)

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
LATER = TryLater("The server answered 503.")
WAITING, FAILED = DeliveryState.WAITING, DeliveryState.FAILED_PERMANENTLY


def claimed(
    attempts: int = 0, *, age: timedelta = timedelta(), kind=NotificationKind.SESSION_DISCONNECTED
) -> Claimed:
    """Return a claimed delivery with this number of earlier attempts."""
    notice = Notification("ntc_1", "usr_a", kind, "Title", "Text", NOW - age)
    destination = Destination(ChannelKind.WEBHOOK, ChannelAddress("https://x.in"))
    return Claimed(
        "ntc_1.chn_1",
        attempts,
        NOW - age,
        notice,
        "chn_1",
        ChannelKind.WEBHOOK,
        "hook",
        ChannelHealth(),
        destination,
    )


def decision_on(outcome, delivery=None, health=ChannelHealth(), **changes):  # noqa: B008 - frozen
    """Return the decision with a fixed random source."""
    return decide(delivery or claimed(), replace(health, **changes), outcome, now=NOW, random=Random(1))


def test_a_success_ends_the_delivery_and_the_failure_of_its_channel():
    """No earlier failure remains in the channel's health."""
    decision = decision_on(Sent(), failures=5, failing_since=NOW, last_error="x", paused_until=NOW)

    assert decision.result.state is DeliveryState.SENT
    assert decision.after == ChannelHealth(last_sent_at=NOW)
    assert decision.is_recovery
    assert not decision.is_dead_letter


def test_a_failure_pauses_the_channel_and_keeps_the_message():
    """The channel's pause grows with its failures in a row, and the message's with its attempts."""
    first = decision_on(LATER)
    fifth = decision_on(LATER, claimed(4), failures=4, failing_since=NOW - timedelta(minutes=5))

    assert (first.result.state, first.result.error) == (WAITING, LATER.why)
    assert (first.after.failures, first.after.failing_since) == (1, NOW)
    assert fifth.after.failing_since == NOW - timedelta(minutes=5)
    assert fifth.after.paused_until - NOW > 4 * (first.after.paused_until - NOW)
    assert fifth.result.due_at > first.result.due_at > NOW


def test_the_receiver_s_retry_time_is_used():
    """A limit of six hours replaces an absurd time."""
    requested = decision_on(TryLater("The server answered 429.", 600.0))
    absurd = decision_on(TryLater("The server answered 429.", 1e9))

    assert requested.after.paused_until == requested.result.due_at == NOW + timedelta(seconds=600)
    assert absurd.result.due_at == NOW + timedelta(seconds=MAX_REQUESTED_S)


def test_a_message_fails_permanently_after_a_day():
    """While the channel accepts no message at all, the number of attempts does not matter."""
    young = decision_on(LATER, claimed(60, age=MAX_AGE - timedelta(seconds=1)))
    old = decision_on(LATER, claimed(1, age=MAX_AGE))

    assert (young.result.state, old.result.state) == (WAITING, FAILED)
    assert old.is_dead_letter


def test_a_message_fails_permanently_when_the_channel_accepts_others():
    """The cause must be the message, since the channel has accepted others after it."""
    before = claimed(MAX_WHILE_OTHERS_SUCCEED - 1, age=timedelta(minutes=10))
    others = ChannelHealth(last_sent_at=NOW - timedelta(minutes=1))
    none_since = ChannelHealth(last_sent_at=NOW - timedelta(minutes=11))

    assert decision_on(LATER, before, others).result.state is FAILED
    assert decision_on(LATER, before, none_since).result.state is WAITING
    assert decision_on(LATER, claimed(2, age=timedelta(minutes=10)), others).result.state is WAITING


def test_a_third_or_a_permanent_refusal_is_final():
    """A gateway may refuse once by mistake. A permanent refusal does not change."""
    refused = Refused("The server answered 403.")

    assert decision_on(refused).result.state is WAITING
    assert decision_on(refused, claimed(MAX_REFUSALS - 1)).result.state is FAILED
    assert decision_on(Refused("gone", is_permanent=True)).result.state is FAILED


REFUSED_MESSAGE = Refused("The server answered 422.", is_of_message=True)


def test_a_refused_message_spares_a_channel_that_accepts_others():
    """The other messages are sent without a pause."""
    health = ChannelHealth(last_sent_at=NOW)

    assert decision_on(REFUSED_MESSAGE, claimed(age=timedelta(minutes=1)), health).after == health


def test_a_channel_that_refuses_every_message_is_failing():
    """Whatever the status: a receiver that always answers 400 loses every notice. The first refusal does not pause the channel."""
    quiet = ChannelHealth(last_sent_at=NOW - timedelta(days=1))
    first = decision_on(REFUSED_MESSAGE, health=quiet)
    last = decision_on(REFUSED_MESSAGE, claimed(MAX_REFUSALS - 1), first.after)

    assert (first.after.failures, first.after.failing_since, first.after.last_error) == (
        1, NOW, REFUSED_MESSAGE.why,
    )  # fmt: skip
    assert first.after.paused_until == NOW
    assert last.after.paused_until > NOW
    assert last.is_dead_letter
    assert last.notifies_user


def test_a_test_notice_fails_soon_and_is_no_dead_letter():
    """Its user waits for the result and needs no second notice."""
    test = claimed(MAX_OF_A_TEST - 1, kind=NotificationKind.TEST)

    decision = decision_on(LATER, test)

    assert decision.result.state is FAILED
    assert not decision.is_dead_letter
    assert not decision.notifies_user


def test_a_user_is_notified_after_an_hour_or_a_permanent_refusal():
    """A short failure produces no notice."""
    assert not decision_on(LATER).notifies_user
    assert decision_on(LATER, failures=9, failing_since=NOW - NOTIFY_AFTER).notifies_user
    assert decision_on(Refused("gone", is_permanent=True)).notifies_user
    of_message = Refused("bad", is_permanent=True, is_of_message=True)
    others = ChannelHealth(last_sent_at=NOW)
    assert not decision_on(of_message, claimed(age=timedelta(minutes=1)), others).notifies_user


outcomes = st.one_of(
    st.just(Sent()),
    st.builds(TryLater, st.just("x"), st.none() | st.floats(0, 1e6)),
    st.builds(Refused, st.just("x"), st.booleans(), st.booleans()),
)


@given(st.lists(outcomes, max_size=12), st.integers(0, 2**32))
def test_a_waiting_message_is_due_within_the_longest_pause(history, seed):
    """A message is never due in the past, and a working channel is never paused."""
    health, random, attempts = ChannelHealth(), Random(seed), 0
    longest = timedelta(seconds=max(RETRY.max_s, MAX_REQUESTED_S))
    for outcome in history:
        decision = decide(claimed(attempts), health, outcome, now=NOW, random=random)
        attempts, health = attempts + 1, decision.after
        assert NOW <= decision.result.due_at <= NOW + longest
        assert (health.failures == 0) == (health.failing_since is None) == (health.paused_until is None)
        if isinstance(outcome, Sent):
            assert health.is_proven
        if decision.result.state is WAITING:
            assert decision.result.error


@pytest.mark.parametrize("outcome", [Sent(), LATER, Refused("x")])
def test_the_text_of_a_decision_has_no_address(outcome):
    """The text may be logged."""
    assert "x.in" not in repr(decision_on(outcome))
