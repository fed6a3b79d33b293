"""When each account is due; `hullwatch.services.monitoring.schedule`."""

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hullwatch.services.monitoring.schedule import Schedule

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
accounts = st.sampled_from(["alice", "bob", "carol"])
seconds = st.integers(0, 20).map(lambda number: timedelta(seconds=number))


def test_due_accounts_come_earliest_first_and_once() -> None:
    """An account that is taken out has to be put in again."""
    schedule = Schedule()
    schedule.put("bob", NOW + timedelta(seconds=2))
    schedule.put("alice", NOW + timedelta(seconds=1))
    schedule.put("carol", NOW + timedelta(seconds=9))

    assert schedule.pop_due(NOW + timedelta(seconds=5)) == ["alice", "bob"]
    assert schedule.pop_due(NOW + timedelta(seconds=5)) == []
    assert schedule.next_due_at() == NOW + timedelta(seconds=9)


class ScheduleAgainstModel(RuleBasedStateMachine):
    """A schedule behaves as a plain dictionary of account to moment does."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.model: dict[str, datetime] = {}
        self.now = NOW

    @rule(account=accounts, wait=seconds)
    def put(self, account: str, wait: timedelta) -> None:
        """Schedule an account, earlier or later than before."""
        self.schedule.put(account, self.now + wait)
        self.model[account] = self.now + wait

    @rule(account=accounts)
    def discard(self, account: str) -> None:
        """Take an account out, scheduled or not."""
        self.schedule.discard(account)
        self.model.pop(account, None)

    @rule(wait=seconds)
    def pass_time(self, wait: timedelta) -> None:
        """Let time pass and take out what is due."""
        self.now += wait
        due = sorted(account for account, due_at in self.model.items() if due_at <= self.now)
        taken = self.schedule.pop_due(self.now)
        assert sorted(taken) == due
        assert [self.model[account] for account in taken] == sorted(self.model[account] for account in taken)
        for account in due:
            del self.model[account]

    @invariant()
    def agrees(self) -> None:
        """Both know the same accounts and moments."""
        assert len(self.schedule) == len(self.model)
        assert self.schedule.next_due_at() == min(self.model.values(), default=None)
        for account in ("alice", "bob", "carol"):
            assert self.schedule.due_at(account) == self.model.get(account)


TestScheduleAgainstModel = ScheduleAgainstModel.TestCase
TestScheduleAgainstModel.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
