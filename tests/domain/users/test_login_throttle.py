"""Growing locks on logins; `hullwatch.domain.users.login_throttle`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.users.login_throttle import LoginThrottle, ThrottlePolicy, network_of

POLICY = ThrottlePolicy(free_attempts=3, first_lock_s=10, longest_lock_s=60, forgotten_after_s=1000)
WIDE = ThrottlePolicy(free_attempts=1000, first_lock_s=10, longest_lock_s=60)


def per_email() -> LoginThrottle:
    """Return a throttle whose e-mail addresses are locked early."""
    return LoginThrottle(per_email=POLICY, per_address=WIDE)


def test_first_attempts_are_free():
    """As many attempts as are free go through at once, the next has to wait."""
    throttle = per_email()

    waits = [throttle.begin("a@b.in", "10.0.0.1", now=0) for _ in range(4)]

    assert waits == [0, 0, 0, 10]


def test_lock_doubles_up_to_its_longest():
    """Every failed attempt after a lock doubles the next one, up to the longest."""
    throttle, now, waits = per_email(), 0.0, []
    for _ in range(3):
        throttle.begin("a@b.in", "10.0.0.1", now)

    for _ in range(5):
        wait = throttle.begin("a@b.in", "10.0.0.1", now)
        waits.append(wait)
        now += wait
        assert throttle.begin("a@b.in", "10.0.0.1", now) == 0

    assert waits == [10, 20, 40, 60, 60]


def test_attempts_during_a_lock_do_not_lengthen_it():
    """An attempt that comes too early is refused and not counted."""
    throttle = per_email()
    for _ in range(3):
        throttle.begin("a@b.in", "10.0.0.1", 0)

    early = [throttle.begin("a@b.in", "10.0.0.1", second) for second in range(10)]

    assert early == [10 - second for second in range(10)]
    assert throttle.begin("a@b.in", "10.0.0.1", 10) == 0


def test_success_forgets_the_email():
    """After a success the e-mail address starts anew."""
    throttle = per_email()
    for _ in range(3):
        throttle.begin("a@b.in", "10.0.0.1", 0)

    throttle.succeeded("a@b.in")

    assert throttle.begin("a@b.in", "10.0.0.1", 0) == 0


def test_one_address_is_locked_whatever_emails_it_tries():
    """Trying one password on many e-mail addresses locks the network address, and only that."""
    throttle = LoginThrottle(per_email=WIDE, per_address=POLICY)
    for number in range(3):
        throttle.begin(f"user{number}@b.in", "10.0.0.1", 0)
        throttle.failed("10.0.0.1", 0)

    assert throttle.begin("other@b.in", "10.0.0.1", 0) == 10
    assert throttle.begin("other@b.in", "10.0.0.2", 0) == 0


def test_many_people_log_in_at_once_from_one_address():
    """A hundred colleagues behind one address are let through at the same moment, as long as nobody has failed."""
    throttle = LoginThrottle(per_email=POLICY, per_address=POLICY)

    waits = [throttle.begin(f"user{number}@b.in", "10.0.0.1", now=0) for number in range(100)]

    assert set(waits) == {0}


def test_quiet_keys_are_forgotten():
    """After the time of forgetting, attempts are free again."""
    throttle = per_email()
    for _ in range(3):
        throttle.begin("a@b.in", "10.0.0.1", 0)

    waits = [throttle.begin("a@b.in", "10.0.0.1", 1001) for _ in range(4)]

    assert waits == [0, 0, 0, 10]


@given(st.lists(st.integers(0, 500), max_size=300))
def test_memory_is_bounded(numbers):
    """However many e-mail addresses are tried, no more than the given keys are remembered."""
    throttle = LoginThrottle(most_keys=20)

    for second, number in enumerate(numbers):
        throttle.begin(f"user{number}@b.in", f"10.0.{number // 256}.{number % 256}", second)
        throttle.failed(f"10.0.{number // 256}.{number % 256}", second)

    assert len(throttle) <= 40


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("not an address", "not an address"),
    ],
)
def test_one_subscriber_counts_once(address, network):
    """An IPv6 subscriber cannot escape by moving through the addresses of the own /64."""
    assert network_of(address) == network
