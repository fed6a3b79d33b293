"""What follows from how a sending ended; `hullwatch.services.notifications.retry_policy`."""

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
    """Return a delivery that has been tried so often."""
    notice = Notification("ntc_1", "usr_a", kind, "Title", "Text", NOW - age)
    place = Destination(ChannelKind.WEBHOOK, ChannelAddress("https://x.in"))
    return Claimed(
        "ntc_1.chn_1",
        attempts,
        NOW - age,
        notice,
        "chn_1",
        ChannelKind.WEBHOOK,
        "hook",
        ChannelHealth(),
        place,
    )


def decision(outcome, delivery=None, health=ChannelHealth(), **changes):  # noqa: B008 - frozen
    """Judge with chance held still."""
    return decide(delivery or claimed(), replace(health, **changes), outcome, now=NOW, random=Random(1))


def test_what_was_sent_is_over_and_its_channel_is_well():
    """Whatever happened before."""
    found = decision(Sent(), failures=5, failing_since=NOW, last_error="x", paused_until=NOW)

    assert found.result.state is DeliveryState.SENT
    assert found.after == ChannelHealth(last_sent_at=NOW)
    assert found.is_recovery
    assert not found.is_dead_letter


def test_a_failure_pauses_the_channel_and_keeps_the_message():
    """The pause grows with failures in a row, the message's own with its attempts."""
    first = decision(LATER)
    fifth = decision(LATER, claimed(4), failures=4, failing_since=NOW - timedelta(minutes=5))

    assert (first.result.state, first.result.error) == (WAITING, LATER.why)
    assert (first.after.failures, first.after.failing_since) == (1, NOW)
    assert fifth.after.failing_since == NOW - timedelta(minutes=5)
    assert fifth.after.paused_until - NOW > 4 * (first.after.paused_until - NOW)
    assert fifth.result.due_at > first.result.due_at > NOW


def test_a_receiver_is_asked_when_it_says():
    """But not in a week."""
    asked = decision(TryLater("The server answered 429.", 600.0))
    absurd = decision(TryLater("The server answered 429.", 1e9))

    assert asked.after.paused_until == asked.result.due_at == NOW + timedelta(seconds=600)
    assert absurd.result.due_at == NOW + timedelta(seconds=MAX_REQUESTED_S)


def test_a_message_is_given_up_after_a_day():
    """Not sooner while its channel takes nothing at all, however often it was tried."""
    young = decision(LATER, claimed(60, age=MAX_AGE - timedelta(seconds=1)))
    old = decision(LATER, claimed(1, age=MAX_AGE))

    assert (young.result.state, old.result.state) == (WAITING, FAILED)
    assert old.is_dead_letter


def test_a_message_that_fails_beside_others_is_poison():
    """Its channel has taken others since, so it is the message."""
    before = claimed(MAX_WHILE_OTHERS_SUCCEED - 1, age=timedelta(minutes=10))
    others = ChannelHealth(last_sent_at=NOW - timedelta(minutes=1))
    none_since = ChannelHealth(last_sent_at=NOW - timedelta(minutes=11))

    assert decision(LATER, before, others).result.state is FAILED
    assert decision(LATER, before, none_since).result.state is WAITING
    assert decision(LATER, claimed(2, age=timedelta(minutes=10)), others).result.state is WAITING


def test_a_refusal_is_believed_at_the_third_time_or_when_it_is_for_good():
    """A gateway may refuse once by mistake; what is gone stays gone."""
    refused = Refused("The server answered 403.")

    assert decision(refused).result.state is WAITING
    assert decision(refused, claimed(MAX_REFUSALS - 1)).result.state is FAILED
    assert decision(Refused("gone", is_permanent=True)).result.state is FAILED


def test_a_refused_message_says_nothing_about_its_channel():
    """The others go on without a pause."""
    health = ChannelHealth(last_sent_at=NOW)

    assert decision(Refused("The server answered 422.", is_of_message=True), health=health).after == health


def test_a_test_is_given_up_soon_and_is_no_operators_business():
    """Whoever asked for it is waiting."""
    test = claimed(MAX_OF_A_TEST - 1, kind=NotificationKind.TEST)

    found = decision(LATER, test)

    assert found.result.state is FAILED
    assert not found.is_dead_letter
    assert not found.notifies_user


def test_a_channel_is_told_of_when_it_has_failed_for_an_hour_or_for_good():
    """Not at the first hiccup."""
    assert not decision(LATER).notifies_user
    assert decision(LATER, failures=9, failing_since=NOW - NOTIFY_AFTER).notifies_user
    assert decision(Refused("gone", is_permanent=True)).notifies_user
    assert not decision(Refused("bad", is_permanent=True, is_of_message=True)).notifies_user


outcomes = st.one_of(
    st.just(Sent()),
    st.builds(TryLater, st.just("x"), st.none() | st.floats(0, 1e6)),
    st.builds(Refused, st.just("x"), st.booleans(), st.booleans()),
)


@given(st.lists(outcomes, max_size=12), st.integers(0, 2**32))
def test_whatever_happens_a_message_waits_for_a_moment_or_is_over(happenings, seed):
    """It is never due in the past, never later than the longest pause, and a channel that is well is not paused."""
    health, random, attempts = ChannelHealth(), Random(seed), 0
    longest = timedelta(seconds=max(RETRY.max_s, MAX_REQUESTED_S))
    for outcome in happenings:
        found = decide(claimed(attempts), health, outcome, now=NOW, random=random)
        attempts, health = attempts + 1, found.after
        assert NOW <= found.result.due_at <= NOW + longest
        assert (health.failures == 0) == (health.failing_since is None) == (health.paused_until is None)
        if isinstance(outcome, Sent):
            assert health.is_proven
        if found.result.state is WAITING:
            assert found.result.error


@pytest.mark.parametrize("outcome", [Sent(), LATER, Refused("x")])
def test_nothing_of_an_address_is_in_a_decision(outcome):
    """Its text form may be logged."""
    assert "x.in" not in repr(decision(outcome))
