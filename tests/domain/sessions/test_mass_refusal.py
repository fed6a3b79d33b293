"""The rule that detects a mass refusal; `hullwatch.domain.sessions.mass_refusal`."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import BrokerService
from hullwatch.domain.sessions.mass_refusal import MIN_REFUSED, MIN_SHARE, WINDOW_S, RefusalStatistics

NOW = 1000.0
"""Monotonic seconds."""


def watch(*, refused: int, answered: int) -> RefusalStatistics:
    """Return a watch that recent of so many accounts just now."""
    seen = RefusalStatistics()
    for number in range(answered):
        seen.answered(f"fine-{number}", NOW)
    for number in range(refused):
        seen.refused(f"refused-{number}", NOW)
    return seen


def test_one_or_two_refusals_are_no_mass_refusal() -> None:
    """This holds even without results of other accounts."""
    assert not watch(refused=MIN_REFUSED - 1, answered=0).is_mass(NOW)


def test_three_refusals_without_answers_are_a_mass_refusal() -> None:
    """Every account with a result was refused."""
    assert watch(refused=MIN_REFUSED, answered=0).is_mass(NOW)


def test_a_small_share_is_no_mass_refusal() -> None:
    """Three of a hundred are a coincidence; a quarter of all accounts is not."""
    assert not watch(refused=3, answered=97).is_mass(NOW)
    assert watch(refused=25, answered=75).is_mass(NOW)
    assert not watch(refused=24, answered=76).is_mass(NOW)


def test_the_same_account_counts_once() -> None:
    """Repeated refusals of one account count as one."""
    seen = RefusalStatistics()

    for second in range(10):
        seen.refused("usr_1", NOW + second)

    assert seen.count(NOW) == 1


def test_an_answer_replaces_a_refusal() -> None:
    """A cleared verification shows that Fyers answers."""
    seen = watch(refused=MIN_REFUSED, answered=0)

    seen.answered("refused-0", NOW)

    assert seen.count(NOW) == MIN_REFUSED - 1
    assert not seen.is_mass(NOW)


def test_recent_answers_show_that_fyers_works() -> None:
    """Enough accounts were answered after a moment, and more than were refused; earlier results do not count."""
    later = NOW + 1
    seen = watch(refused=0, answered=100)
    assert not seen.is_answering_since(NOW, enough=12)

    for number in range(12):
        seen.answered(f"fine-{number}", later)
    assert seen.is_answering_since(NOW, enough=12)
    assert not seen.is_answering_since(NOW, enough=13)

    for number in range(12):
        seen.refused(f"other-{number}", later)
    assert not seen.is_answering_since(NOW, enough=12)


def test_results_leave_the_window() -> None:
    """Refusals further apart than the window are counted separately."""
    seen = RefusalStatistics()
    for number in range(2 * MIN_REFUSED):
        now = NOW + number * (WINDOW_S / 2 + 1)
        seen.refused(number, now)
        assert not seen.is_mass(now)
    assert seen.count(now + WINDOW_S + 1) == 0


def test_a_confirmed_end_is_forgotten() -> None:
    """The session of that account is disconnected, so its refusal is no sign of an outage."""
    seen = watch(refused=MIN_REFUSED, answered=0)

    seen.forget("refused-0")

    assert seen.count(NOW) == MIN_REFUSED - 1


def test_few_refusals_among_answered_accounts_are_a_coincidence() -> None:
    """Four of eight are; five of ten, or four where not all accounts were probed, are a mass refusal."""
    assert not watch(refused=4, answered=4).is_mass(NOW, sessions=8)
    assert watch(refused=4, answered=3).is_mass(NOW, sessions=7)
    assert watch(refused=5, answered=5).is_mass(NOW, sessions=10)
    assert watch(refused=4, answered=9).is_mass(NOW, sessions=100)


def test_a_service_is_unreliable_after_a_false_refusal() -> None:
    """For all other accounts, for a minute; for its own account it is known anyway."""
    seen = RefusalStatistics()

    seen.refused_falsely("usr_1", [BrokerService.DATA], NOW)

    assert seen.unreliable_for("usr_2", NOW + WINDOW_S) == {BrokerService.DATA}
    assert seen.unreliable_for("usr_1", NOW) == frozenset()
    assert seen.unreliable_for("usr_2", NOW + WINDOW_S + 1) == frozenset()


words = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 40)), max_size=60)


@given(words)
@settings(deadline=None)
def test_the_rule_follows_its_model(spoken: list[tuple[int, bool, int]]) -> None:
    """The model is a plain list of every account's latest result within the window."""
    seen, latest, now = RefusalStatistics(), {}, NOW
    for account, is_refused, pause_s in spoken:
        now += pause_s
        (seen.refused if is_refused else seen.answered)(account, now)
        latest[account] = (now, is_refused)
        recent = [was_refused for at, was_refused in latest.values() if now - at <= WINDOW_S]
        assert seen.count(now) == sum(recent)
        assert seen.is_mass(now) == (sum(recent) >= MIN_REFUSED and sum(recent) >= MIN_SHARE * len(recent))
