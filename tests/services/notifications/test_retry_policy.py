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
    AGAIN,
    LONGEST,
    LONGEST_ASKED_S,
    MOST_BESIDE_OTHERS,
    MOST_OF_A_TEST,
    MOST_REFUSALS,
    TOLD_AFTER,
    judge,
)

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
LATER = TryLater("The server answered 503.")
WAITING, ASIDE = DeliveryState.WAITING, DeliveryState.FAILED_PERMANENTLY


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


def verdict(outcome, delivery=None, health=ChannelHealth(), **changes):  # noqa: B008 - frozen
    """Judge with chance held still."""
    return judge(delivery or claimed(), replace(health, **changes), outcome, now=NOW, random=Random(1))


def test_what_was_sent_is_over_and_its_channel_is_well():
    """Whatever happened before."""
    found = verdict(Sent(), failures=5, failing_since=NOW, last_error="x", paused_until=NOW)

    assert found.result.state is DeliveryState.SENT
    assert found.after == ChannelHealth(last_sent_at=NOW)
    assert found.is_recovery
    assert not found.is_dead_letter


def test_a_failure_pauses_the_channel_and_keeps_the_message():
    """The pause grows with failures in a row, the message's own with its attempts."""
    first = verdict(LATER)
    fifth = verdict(LATER, claimed(4), failures=4, failing_since=NOW - timedelta(minutes=5))

    assert (first.result.state, first.result.error) == (WAITING, LATER.why)
    assert (first.after.failures, first.after.failing_since) == (1, NOW)
    assert fifth.after.failing_since == NOW - timedelta(minutes=5)
    assert fifth.after.paused_until - NOW > 4 * (first.after.paused_until - NOW)
    assert fifth.result.due_at > first.result.due_at > NOW


def test_a_receiver_is_asked_when_it_says():
    """But not in a week."""
    asked = verdict(TryLater("The server answered 429.", 600.0))
    absurd = verdict(TryLater("The server answered 429.", 1e9))

    assert asked.after.paused_until == asked.result.due_at == NOW + timedelta(seconds=600)
    assert absurd.result.due_at == NOW + timedelta(seconds=LONGEST_ASKED_S)


def test_a_message_is_given_up_after_a_day():
    """Not sooner while its channel takes nothing at all, however often it was tried."""
    young = verdict(LATER, claimed(60, age=LONGEST - timedelta(seconds=1)))
    old = verdict(LATER, claimed(1, age=LONGEST))

    assert (young.result.state, old.result.state) == (WAITING, ASIDE)
    assert old.is_dead_letter


def test_a_message_that_fails_beside_others_is_poison():
    """Its channel has taken others since, so it is the message."""
    before = claimed(MOST_BESIDE_OTHERS - 1, age=timedelta(minutes=10))
    others = ChannelHealth(last_sent_at=NOW - timedelta(minutes=1))
    none_since = ChannelHealth(last_sent_at=NOW - timedelta(minutes=11))

    assert verdict(LATER, before, others).result.state is ASIDE
    assert verdict(LATER, before, none_since).result.state is WAITING
    assert verdict(LATER, claimed(2, age=timedelta(minutes=10)), others).result.state is WAITING


def test_a_refusal_is_believed_at_the_third_time_or_when_it_is_for_good():
    """A gateway may refuse once by mistake; what is gone stays gone."""
    refused = Refused("The server answered 403.")

    assert verdict(refused).result.state is WAITING
    assert verdict(refused, claimed(MOST_REFUSALS - 1)).result.state is ASIDE
    assert verdict(Refused("gone", is_permanent=True)).result.state is ASIDE


def test_a_refused_message_says_nothing_about_its_channel():
    """The others go on without a pause."""
    health = ChannelHealth(last_sent_at=NOW)

    assert verdict(Refused("The server answered 422.", is_of_message=True), health=health).after == health


def test_a_test_is_given_up_soon_and_is_no_operators_business():
    """Whoever asked for it is waiting."""
    test = claimed(MOST_OF_A_TEST - 1, kind=NotificationKind.TEST)

    found = verdict(LATER, test)

    assert found.result.state is ASIDE
    assert not found.is_dead_letter
    assert not found.is_told_to_user


def test_a_channel_is_told_of_when_it_has_failed_for_an_hour_or_for_good():
    """Not at the first hiccup."""
    assert not verdict(LATER).is_told_to_user
    assert verdict(LATER, failures=9, failing_since=NOW - TOLD_AFTER).is_told_to_user
    assert verdict(Refused("gone", is_permanent=True)).is_told_to_user
    assert not verdict(Refused("bad", is_permanent=True, is_of_message=True)).is_told_to_user


outcomes = st.one_of(
    st.just(Sent()),
    st.builds(TryLater, st.just("x"), st.none() | st.floats(0, 1e6)),
    st.builds(Refused, st.just("x"), st.booleans(), st.booleans()),
)


@given(st.lists(outcomes, max_size=12), st.integers(0, 2**32))
def test_whatever_happens_a_message_waits_for_a_moment_or_is_over(happenings, seed):
    """It is never due in the past, never later than the longest pause, and a channel that is well is not paused."""
    health, random, attempts = ChannelHealth(), Random(seed), 0
    longest = timedelta(seconds=max(AGAIN.max_s, LONGEST_ASKED_S))
    for outcome in happenings:
        found = judge(claimed(attempts), health, outcome, now=NOW, random=random)
        attempts, health = attempts + 1, found.after
        assert NOW <= found.result.due_at <= NOW + longest
        assert (health.failures == 0) == (health.failing_since is None) == (health.paused_until is None)
        if isinstance(outcome, Sent):
            assert health.is_proven
        if found.result.state is WAITING:
            assert found.result.error


@pytest.mark.parametrize("outcome", [Sent(), LATER, Refused("x")])
def test_nothing_of_an_address_is_in_a_verdict(outcome):
    """Its text form may be logged."""
    assert "x.in" not in repr(verdict(outcome))
