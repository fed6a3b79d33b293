import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from machines import machine_settings

from hullwatch.services.monitoring.scheduler import Schedule
from services.environment import FIVE, SBIN, Environment, candles_of, quote

NOW_S = 1000.0
USERS = [f"usr_{number:02d}" for number in range(20)]
accounts = st.sampled_from(["alice", "bob", "carol"])
seconds = st.integers(0, 20)


def test_due_accounts_come_once_and_earliest_first() -> None:
    """An account that was taken out is not due again until it is put in."""
    schedule = Schedule()
    schedule.put("bob", NOW_S + 2)
    schedule.put("alice", NOW_S + 1)
    schedule.put("carol", NOW_S + 9)

    assert schedule.pop_due(NOW_S + 5, most=1) == ["alice"]
    assert schedule.pop_due(NOW_S + 5, most=99) == ["bob"]
    assert schedule.pop_due(NOW_S + 5, most=99) == []
    assert schedule.next_due_s() == NOW_S + 9


class ScheduleAgainstModel(RuleBasedStateMachine):
    """A schedule behaves like a dictionary of account → due time."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()
        self.model: dict[str, float] = {}
        self.now_s = NOW_S

    @rule(account=accounts, wait=seconds)
    def put(self, account: str, wait: int) -> None:
        """Schedule an account, earlier or later than before."""
        self.schedule.put(account, self.now_s + wait)
        self.model[account] = self.now_s + wait

    @rule(account=accounts)
    def discard(self, account: str) -> None:
        """Take an account out, scheduled or not."""
        self.schedule.discard(account)
        self.model.pop(account, None)

    @rule(wait=seconds)
    def pass_time(self, wait: int) -> None:
        """Let time pass and take out the due accounts."""
        self.now_s += wait
        due = sorted(account for account, due_s in self.model.items() if due_s <= self.now_s)
        taken = self.schedule.pop_due(self.now_s, most=99)
        assert sorted(taken) == due
        assert [self.model[account] for account in taken] == sorted(self.model[account] for account in taken)
        for account in due:
            del self.model[account]

    @invariant()
    def agrees(self) -> None:
        """Both have as many accounts and the same earliest due time."""
        assert len(self.schedule) == len(self.model)
        assert self.schedule.next_due_s() == min(self.model.values(), default=math.inf)


TestScheduleAgainstModel = ScheduleAgainstModel.TestCase
TestScheduleAgainstModel.settings = machine_settings(examples=50, steps=30)


async def test_accounts_stay_spread_after_a_common_candle_close() -> None:
    """At a candle's close all accounts call in the same second, and then each returns to its own ticks."""
    env = await Environment().start()
    env.broker.serve_candles(SBIN, FIVE, candles_of(days=2))
    env.broker.serve_quotes([quote(SBIN)])
    await env.with_sessions(*USERS)
    for user_id in USERS:
        await env.watch(user_id)
        await env.monitoring.start(user_id)
    await env.clock.advance(5 * 60)

    busy_seconds = []
    for _ in range(5):
        before = len(env.broker.calls)
        await env.clock.advance(1)
        busy_seconds.append(len(env.broker.calls) - before)

    assert sum(busy_seconds) == len(USERS)
    assert max(busy_seconds) < len(USERS) / 2
