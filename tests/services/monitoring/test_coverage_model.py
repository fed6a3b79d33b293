"""Compares watched and blind time with an independent model of the cycles."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fakes.broker import AccountState, Call
from fakes.clock import FakeClock
from fakes.metrics import FakeMetrics
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hullwatch.domain.monitoring.coverage import HEARTBEAT_EVERY
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.signals.signals import Rule
from services.environment import (
    ALICE,
    CLOSING,
    FIVE,
    MONDAY,
    OPENING,
    Environment,
    fyers_id,
)
from services.monitoring.monitoring_environment import environment
from services.monitoring.monitoring_environment import watching as start_watching

INTERVAL = timedelta(seconds=5)
GOOD = {WatchStatus.WATCHING.value, WatchStatus.MARKET_CLOSED.value}


async def watching(env: Environment, *user_ids: str) -> Environment:
    """Start the jobs and have these users watch SBIN."""
    await env.with_sessions(*user_ids)
    return await start_watching(env, *user_ids, rule=Rule.TURN)


# ---- a model of cycles


@dataclass(frozen=True)
class Cycle:
    """A cycle as the metrics report it."""

    began_at: datetime
    ended_at: datetime
    status: str


@dataclass(frozen=True)
class Moment:
    """A start, a stop or a new process, and the state of the time after it."""

    at: datetime
    what: str
    phase: float


class CycleRecorder(FakeMetrics):
    """Records every cycle of the only account."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.events: list[Cycle | Moment] = []

    def cycle(self, outcome: str, seconds: float) -> None:
        """Record the cycle."""
        super().cycle(outcome, seconds)
        now = self.clock.now()
        self.events.append(Cycle(now - timedelta(seconds=seconds), now, outcome))


class Model:
    """Splits the time at the cycles and assigns one state to each part, without the audit trail."""

    def __init__(self, disconnect_times: list[datetime]) -> None:
        self.disconnect_times = disconnect_times
        self.slices: list[tuple[datetime, datetime, str]] = []
        self.at: datetime | None = None
        self.last = "neither"
        self.last_began: datetime | None = None
        self.carried = "neither"
        self.phase = 0.0

    def take(self, event: Cycle | Moment) -> None:
        """Assign a state to the time since the previous event."""
        if isinstance(event, Moment):
            self._cut(event.at, self.carried)
            self.last = self.carried = event.what
            self.last_began, self.phase = None, event.phase
        elif event.status != "not_wanted":
            self._take_cycle(event)
            self.last, self.last_began = event.status, event.began_at

    def _take_cycle(self, cycle: Cycle) -> None:
        after = {"watching": "watched", "market_closed": "closed"}.get(cycle.status, cycle.status)
        if self.last not in GOOD:
            self._cut(cycle.ended_at, self.last)
        elif cycle.status in GOOD:
            state = self._missed_reason(cycle)
            self._cut(cycle.ended_at, state or "watched")
            after = state if state and after == "watched" else after
        else:
            known = [end for end in self.disconnect_times if self.at < end <= cycle.ended_at]
            if known and cycle.status == "no_session":
                self._cut(known[-1], "watched")
            self._cut(cycle.ended_at, cycle.status)
        self.carried = after

    def _cut(self, until: datetime, state: str) -> None:
        if self.at is not None and self.at < until:
            self.slices.append((self.at, until, state))
        self.at = until

    def _missed_reason(self, cycle: Cycle) -> str | None:
        """Return why a cycle was missed, if it had not begun a whole interval after it was due."""
        due = self._due()
        if due < CLOSING and cycle.began_at - due >= INTERVAL:
            return "server_busy"
        is_in_session = OPENING <= cycle.began_at < CLOSING
        following = self._tick(cycle.began_at + INTERVAL / 2)
        return "slow_cycle" if is_in_session and cycle.ended_at - following >= INTERVAL else None

    def _due(self) -> datetime:
        """Return when the next cycle was due: at its tick, at a candle's close, or at the end of a long cycle."""
        if self.last == "market_closed":
            return self._tick(OPENING) if self.at < OPENING else CLOSING
        after = self.at - timedelta(seconds=1) - OPENING
        settled = OPENING + (max(0, after // FIVE.length) + 1) * FIVE.length + timedelta(seconds=1)
        return min(max(self._tick(self.last_began + INTERVAL / 2), self.at), settled)

    def _tick(self, moment: datetime) -> datetime:
        first = OPENING + self.phase * INTERVAL
        return first - ((first - moment) // INTERVAL) * INTERVAL

    def times(self, until: datetime, down: list[tuple[datetime, datetime]]) -> Counter[str]:
        """Return state → microseconds of the session, a moment at a time where the server was down."""
        self._cut(until, self.carried)
        total: Counter[str] = Counter()
        for start, end, state in self.slices:
            if state == "neither":
                continue
            lost = sum(_common(start, end, *span) for span in down)
            if state != "closed":  # wanted, and the market is closed
                total[state] += _common(start, end, OPENING, CLOSING) - lost
            total["server_down"] += lost
        return +total


def _common(start: datetime, end: datetime, since: datetime, until: datetime) -> int:
    """Return how many microseconds of the session two spans have in common."""
    length = min(end, until, CLOSING) - max(start, since, OPENING)
    return max(0, length // timedelta(microseconds=1))


class AccountScenario:
    """One account over the real services, step by step."""

    def __init__(self, began_at: datetime) -> None:
        self.env = environment(now=began_at)
        self.clock = self.env.clock
        self.recorder = CycleRecorder(self.clock)
        self.disconnect_times: list[datetime] = []
        self.down: list[tuple[datetime, datetime]] = []

    async def begin(self) -> None:
        """Log Alice in and start."""
        self._measure()
        await self.env.with_sessions(ALICE)
        await self.env.start()
        await self.env.watch(ALICE)
        await self.start(0)

    def _measure(self) -> None:
        self.env.monitoring._scheduler._metrics = self.recorder

    def _note(self, what: str) -> None:
        phase = self.env.monitoring._scheduler.account(ALICE).phase
        self.recorder.events.append(Moment(self.clock.now(), what, phase))

    async def idle(self, length: float) -> None:
        """Let time pass."""
        await self.clock.advance(length)

    async def outage(self, length: float) -> None:
        """Let Fyers be unavailable for a while."""
        self.env.broker.is_down = True
        await self.clock.advance(length)
        self.env.broker.is_down = False

    async def limit(self, length: float) -> None:
        """Let Fyers limit the calls."""
        self.env.broker.retry_after_s = 7.0
        self.env.broker.set_state(fyers_id(ALICE), AccountState.RATE_LIMITED)
        await self.clock.advance(length)
        self.env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)

    async def revoke(self, length: float) -> None:
        """Let Fyers revoke the session, and Alice log in again."""
        self.env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
        await self.clock.advance(length)
        self.env.broker.set_state(fyers_id(ALICE), AccountState.ACTIVE)
        await self.env.log_in(ALICE)

    async def sign_out(self, length: float) -> None:
        """Let Alice sign out and log in again."""
        if self.env.connections.connection(ALICE).has_session:
            self.disconnect_times.append(self.clock.now())
            await self.env.connections.sign_out(ALICE, actor=ALICE)
        await self.clock.advance(length)
        await self.env.log_in(ALICE)

    async def expire(self, length: float) -> None:
        """Let Alice's session expire after a while."""
        connection = await self.env.log_in(ALICE, lifetime=timedelta(seconds=length))
        self.disconnect_times.append(connection.expires_at)
        await self.clock.advance(length + 8)
        await self.env.log_in(ALICE)

    async def slow(self, length: float) -> None:
        """Let Fyers delay some answers, one after the other."""

        async def dawdle(_: Call) -> None:
            await self.clock.sleep(length)

        self.env.broker.before_answer = dawdle
        await self.clock.advance(1.5 * length)
        self.env.broker.before_answer = None
        await self.clock.advance(length)

    async def stall(self, length: float) -> None:
        """Stop the process for a while without ending it."""
        await self.clock.stall(length)

    async def start(self, length: float) -> None:
        """Start monitoring."""
        if not self.env.monitoring.is_wanted(ALICE):
            self._note("starting")
            await self.env.monitoring.start(ALICE)
        await self.clock.advance(length)

    async def stop(self, length: float) -> None:
        """Stop monitoring."""
        stopping = asyncio.create_task(self.env.monitoring.stop(ALICE))
        if self.env.monitoring.is_wanted(ALICE):
            self._note("neither")
        await stopping
        await self.clock.advance(length)

    async def crash(self, length: float) -> None:
        """Kill the process and start a new one."""
        last_beat = self.env.store.tables.beats["server"]
        self.env = await self.env.kill()
        await self.clock.advance(length)
        self.down.append((last_beat, self.clock.now()))
        self._measure()
        await self.env.start()
        self._note("starting" if self.env.monitoring.is_wanted(ALICE) else "neither")

    async def end(self) -> tuple[Counter[str], Counter[str]]:
        """Return the coverage of the product and of the model."""
        await self.idle(12)
        day = await self.env.monitoring.coverage(ALICE, MONDAY)
        product = Counter({reason.value: _micro(time) for reason, time in day.blind_by_reason.items()})
        product["watched"] = _micro(day.watched)
        model = Model(self.disconnect_times)
        for event in self.recorder.events:
            model.take(event)
        stopping = asyncio.create_task(self.env.supervisor.stop(0))
        await self.clock.advance(5)
        await stopping
        return +product, model.times(self.clock.now() - timedelta(seconds=5), self.down)


def _micro(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


# No multiple of half an interval, where rounding would decide whether a tick is before or after.
lengths = st.one_of(st.integers(1, 50), st.integers(10, 3000).map(lambda number: number / 100)).map(
    lambda number: number + 0.001337
)
exact_steps = ["idle", "outage", "limit", "revoke", "sign_out", "expire", "slow", "stall", "start", "stop"]
beginnings = st.sampled_from(
    [
        OPENING - timedelta(seconds=25),
        OPENING + timedelta(minutes=34, seconds=40),
        CLOSING - timedelta(seconds=70),
    ]
)


async def run_steps(
    began_at: datetime, steps: list[tuple[str, float]]
) -> tuple[AccountScenario, Counter[str], Counter[str]]:
    """Run the steps."""
    scenario = AccountScenario(began_at)
    await scenario.begin()
    for name, length in steps:
        await getattr(scenario, name)(length)
    return scenario, *await scenario.end()


@given(beginnings, st.lists(st.tuples(st.sampled_from(exact_steps), lengths), max_size=6))
@settings(deadline=None, max_examples=60)
def test_coverage_equals_an_independent_model_of_the_cycles(
    began_at: datetime, steps: list[tuple[str, float]]
) -> None:
    """They agree to the microsecond for each reason and any sequence of steps."""
    _, product, model = asyncio.run(run_steps(began_at, steps))

    assert product == model, steps


@given(beginnings, st.lists(st.tuples(st.sampled_from([*exact_steps, "crash"]), lengths), max_size=6))
@example(datetime(2026, 11, 23, 4, 19, 40, tzinfo=UTC), [("crash", 12.001337)])
@settings(deadline=None, max_examples=60)
def test_crashes_cost_at_most_the_time_since_the_heartbeat(
    began_at: datetime, steps: list[tuple[str, float]]
) -> None:
    """What a killed process did not store is less than the time between two heartbeats."""
    scenario, product, model = asyncio.run(run_steps(began_at, steps))

    wrong = sum(abs(product[state] - model[state]) for state in product | model)
    # What is counted as the wrong thing is missing elsewhere, hence twice.
    assert wrong <= 2 * len(scenario.down) * _micro(HEARTBEAT_EVERY + timedelta(seconds=1)), steps
