"""Growing locks on logins; `hullwatch.domain.users.login_throttle`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.users.login_throttle import LoginThrottle, ThrottlePolicy, network_of

POLICY = ThrottlePolicy(free_attempts=3, first_lock_s=10, longest_lock_s=60, forgotten_after_s=1000)
WIDE = ThrottlePolicy(free_attempts=1000, first_lock_s=10, longest_lock_s=60)
HERE, THERE = "10.0.0.1", "10.0.0.2"


def per_email() -> LoginThrottle:
    """Return a throttle whose e-mail addresses are locked early."""
    return LoginThrottle(per_email=POLICY, per_address=WIDE)


def per_address() -> LoginThrottle:
    """Return a throttle whose network addresses are locked early."""
    return LoginThrottle(per_email=WIDE, per_address=POLICY)


def attempt(
    throttle: LoginThrottle, email: str = "a@b.in", address: str = HERE, now: float = 0, *, is_success=False
) -> float:
    """Make an attempt with this result if it may begin, and return the seconds to wait."""
    wait_s = throttle.wait_s(email, address, now)
    if wait_s == 0:
        throttle.end(throttle.begin(email, address, now), is_success=is_success, now=now)
    return wait_s


def test_first_attempts_are_free():
    """As many attempts as are free go through at once, the next has to wait."""
    throttle = per_email()

    waits = [attempt(throttle) for _ in range(4)]

    assert waits == [0, 0, 0, 10]


@pytest.mark.parametrize("throttle", [per_email(), per_address()], ids=["email", "address"])
def test_attempts_at_one_moment_are_charged_when_they_begin(throttle):
    """Without the charge at the beginning, all of them would pass before the first one has failed."""
    waits = []
    for _ in range(4):
        waits.append(throttle.wait_s("a@b.in", HERE, 0))
        throttle.begin("a@b.in", HERE, 0)

    assert waits == [0, 0, 0, 10]


def test_lock_doubles_up_to_its_longest():
    """Every failed attempt after a lock doubles the next one, up to the longest."""
    throttle, now, waits = per_email(), 0.0, []
    for _ in range(3):
        attempt(throttle, now=now)

    for _ in range(5):
        wait = attempt(throttle, now=now)
        waits.append(wait)
        now += wait
        assert attempt(throttle, now=now) == 0

    assert waits == [10, 20, 40, 60, 60]


def test_attempts_during_a_lock_do_not_lengthen_it():
    """An attempt that comes too early is refused and not counted."""
    throttle = per_email()
    for _ in range(3):
        attempt(throttle)

    early = [attempt(throttle, now=second) for second in range(10)]

    assert early == [10 - second for second in range(10)]
    assert attempt(throttle, now=10) == 0


def test_success_forgets_the_email():
    """After a success the e-mail address starts anew."""
    throttle = per_email()
    for _ in range(2):
        attempt(throttle)

    attempt(throttle, is_success=True)

    assert [attempt(throttle) for _ in range(4)] == [0, 0, 0, 10]


def test_success_credits_its_address_with_one_attempt_only():
    """Somebody with an account must not be able to reset the failures of the address by signing in."""
    throttle = per_address()
    for _ in range(2):
        attempt(throttle, "guess@b.in")
    for _ in range(20):
        assert attempt(throttle, "own@b.in", is_success=True) == 0

    attempt(throttle, "guess@b.in")

    assert attempt(throttle, "own@b.in", is_success=True) == 10


def test_attempts_that_were_not_checked_cost_nothing():
    """As when the queue is full or the database is not available."""
    throttle = LoginThrottle(per_email=POLICY, per_address=POLICY)

    waits = [attempt(throttle, is_success=None) for _ in range(50)]

    assert set(waits) == {0}
    assert len(throttle) == 0


def test_one_address_is_locked_whatever_emails_it_tries():
    """Trying one password on many e-mail addresses locks the network address, and only that."""
    throttle = per_address()
    for number in range(3):
        attempt(throttle, f"user{number}@b.in")

    assert attempt(throttle, "other@b.in") == 10
    assert attempt(throttle, "other@b.in", THERE) == 0


def test_attackers_cannot_keep_a_user_at_the_usual_address_out():
    """The addresses from which a user signed in have a count of their own, which locks as well."""
    throttle = per_email()
    attempt(throttle, address=HERE, is_success=True)
    for number in range(3):
        attempt(throttle, address=f"10.9.9.{number}")

    assert attempt(throttle, address="10.9.9.9") == 10
    assert [attempt(throttle, address=HERE) for _ in range(4)] == [0, 0, 0, 10]


def test_many_people_log_in_from_one_address():
    """A hundred colleagues behind one address are let through, as long as their passwords are right."""
    throttle = LoginThrottle(per_email=POLICY, per_address=POLICY)

    waits = [attempt(throttle, f"user{number}@b.in", is_success=True) for number in range(100)]

    assert set(waits) == {0}


def test_quiet_keys_are_forgotten():
    """After the time of forgetting, attempts are free again."""
    throttle = per_email()
    for _ in range(3):
        attempt(throttle)

    waits = [attempt(throttle, now=1001) for _ in range(4)]

    assert waits == [0, 0, 0, 10]


def test_a_flood_of_other_emails_does_not_end_a_lock():
    """Memory is bounded, and keys without a lock are removed first."""
    throttle = LoginThrottle(per_email=POLICY, per_address=WIDE, most_keys=50)
    for _ in range(3):
        attempt(throttle, "victim@b.in")

    for number in range(500):
        attempt(throttle, f"flood{number}@b.in", f"10.1.{number // 250}.{number % 250}")

    assert attempt(throttle, "victim@b.in", "10.9.9.9") == 10


@given(st.lists(st.tuples(st.integers(0, 500), st.sampled_from([True, False, None])), max_size=300))
def test_memory_is_bounded(attempts):
    """However many e-mail addresses are tried, no more than the given keys are remembered."""
    throttle = LoginThrottle(most_keys=20)

    for second, (number, is_success) in enumerate(attempts):
        address = f"10.0.{number // 256}.{number % 256}"
        attempt(throttle, f"user{number}@b.in", address, second, is_success=is_success)

    assert len(throttle) <= 60


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from([True, False, None]))),
    st.integers(0, 200),
)
def test_interleaved_attempts_never_exceed_the_free_ones(steps, seed):
    """Attempts that run at the same time end in any order; failures of one address stay within its free attempts."""
    throttle, running, failed = per_address(), [], dict.fromkeys("xyz", 0)
    for number, (email, address, is_success) in enumerate(steps):
        if (number + seed) % 3 and throttle.wait_s(email, address, 0) == 0:
            running.append((throttle.begin(email, address, 0), is_success, address))
        elif running:
            begun, result, where = running.pop((number + seed) % len(running))
            throttle.end(begun, is_success=result, now=0)
            failed[where] += result is False

    for begun, result, where in running:
        throttle.end(begun, is_success=result, now=0)
        failed[where] += result is False

    assert max(failed.values()) <= POLICY.free_attempts


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
