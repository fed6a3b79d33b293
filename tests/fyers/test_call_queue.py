import asyncio
from collections import Counter
from dataclasses import dataclass
from itertools import count
from math import inf
from random import Random

from fakes.clock import FakeClock
from hypothesis import given, settings
from hypothesis import strategies as st

from fyers.test_rate_limit import most_within
from hullwatch.domain.market.call_priority import (
    MONITORING_QUOTES,
    ORDINARY_CALL,
    CallClass,
    CallPriority,
)
from hullwatch.fyers.call_order import QUOTES_PAUSE_S, Account, NoSlot, WaitTooLong
from hullwatch.fyers.call_queue import LONGEST_CANDLES_WAIT_S, MOST_IN_FLIGHT, QUOTES_SHARE, CallQueue
from hullwatch.fyers.rate_limit import FYERS_PER_SECOND, PacingLimits

NO_DEADLINE = settings(deadline=None)  # a busy machine is no failure
FEW = settings(deadline=None, max_examples=25)
DUE = CallPriority(CallClass.DUE, 0.5)
CROSSED = CallPriority(CallClass.CROSSED)
SECOND_READING = CallPriority(CallClass.SECOND_READING)


@dataclass
class Sent:
    """One call that was sent."""

    at_s: float
    account: str
    priority: CallPriority


class Load:
    """Calls on a queue in virtual time; each takes `answer_s`."""

    def __init__(self, pacing: PacingLimits, *, answer_s: float = 0.05) -> None:
        self.clock = FakeClock()
        self.queue = CallQueue(pacing, self.clock)
        self.sent: list[Sent] = []
        self.refused: list[object] = []
        self.most_in_flight = 0
        self.calls: list[asyncio.Task[None]] = []
        self._answer_s = answer_s

    def add(self, account: str, priority: CallPriority, times: int = 1) -> None:
        """Begin calls that wait for the queue."""
        for _ in range(times):
            self.calls.append(asyncio.create_task(self._call(account, priority)))

    async def end(self, seconds: float) -> None:
        """Let time pass, then expect that every call was answered."""
        await self.clock.advance(seconds)
        assert all(call.done() for call in self.calls)
        await asyncio.gather(*self.calls, return_exceptions=True)

    def order(self) -> list[str]:
        """Return the accounts in the order of their calls."""
        return [sent.account for sent in self.sent]

    async def _call(self, name: str, priority: CallPriority) -> None:
        account = self.queue.account(name)
        refusal = await self.queue.admit(account, priority)
        if refusal is not None:
            self.refused.append(refusal)
            return
        self.sent.append(Sent(self.clock.monotonic(), name, priority))
        self.most_in_flight = max(self.most_in_flight, account.in_flight)
        try:
            await self.clock.sleep(self._answer_s)
        finally:
            self.queue.release(account)


priorities = st.builds(
    CallPriority, st.sampled_from(CallClass), st.sampled_from([0.0, 0.001, 0.02, 0.4, inf])
)


@FEW
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), priorities, st.sampled_from([0, 0, 0, 0.3, 2.1]), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.4, 1.3]),
)
def test_any_load_stays_within_all_limits(arrivals, per_second_total, answer_s):
    """With cancelled callers; and every call is sent, refused or cancelled."""
    pacing = PacingLimits(per_second=2, per_minute=20, per_second_total=per_second_total)

    async def scenario() -> Load:
        load = Load(pacing, answer_s=answer_s)
        for name, priority, pause, gives_up in arrivals:
            load.add(name, priority)
            await load.clock.advance(pause)
            if gives_up and len(load.calls) % 3 == 0:
                load.calls[-1].cancel()
        await load.end(600)
        return load

    load = asyncio.run(scenario())

    assert most_within([sent.at_s for sent in load.sent], 1.0) <= per_second_total
    for name in "abcd":
        instants = [sent.at_s for sent in load.sent if sent.account == name]
        assert most_within(instants, 1.0) <= 2
        assert most_within(instants, 60.0) <= 20
        assert load.queue.account(name).in_flight == 0
        assert load.queue.account(name).waiting == [0, 0, 0]
    assert load.most_in_flight <= MOST_IN_FLIGHT
    assert load.queue._unsent == 0


@FEW
@given(st.integers(1, 40), st.integers(0, 9999), st.sampled_from([0.01, 0.3, 0.9, 2.5]))
def test_fyers_counts_ten_arrivals_a_second_at_most(calls, seed, slowest_s):
    """Calls arrive at any moment between the sending and the answer, as when connections are opened."""
    random, arrived = Random(seed), []

    async def scenario() -> None:
        clock = FakeClock()
        queue = CallQueue(PacingLimits(), clock)
        account = queue.account("a")

        async def call() -> None:
            assert await queue.admit(account, DUE) is None
            took_s = random.uniform(0, slowest_s)
            arrived.append(clock.monotonic() + random.uniform(0, took_s))
            await clock.sleep(took_s)
            queue.release(account)

        tasks = [asyncio.create_task(call()) for _ in range(calls)]
        await clock.advance(120)
        await asyncio.gather(*tasks)

    asyncio.run(scenario())

    assert most_within(arrived, 1.0) <= FYERS_PER_SECOND


@FEW
@given(st.lists(st.tuples(st.integers(0, 5), priorities), min_size=2, max_size=40), st.integers(0, 99))
def test_a_lower_class_is_never_sent_before_a_higher_one_that_could_be(arrivals, seed):
    """Each account makes few calls, so that only the global limit decides."""
    candles = [(account, priority) for account, priority in arrivals if priority[0] < CallClass.ORDINARY]
    numbered = count()

    async def scenario() -> Load:
        load = Load(PacingLimits(per_second=100, per_second_total=2), answer_s=0.0)
        load.add("first", SECOND_READING, 2)
        await load.clock.settle()
        for _, priority in Random(seed).sample(candles, len(candles)):
            load.add(f"account {next(numbered)}", priority)
        await load.end(100)
        return load

    load = asyncio.run(scenario())

    sent = [sent.priority for sent in load.sent[2:]]
    assert len(sent) == len(candles)
    assert sent == sorted(sent)


@FEW
@given(st.lists(st.integers(1, 25), min_size=2, max_size=6), st.integers(0, 99))
def test_accounts_that_wait_differ_by_one_call_at_most(sizes, seed):
    """However many calls each has, and however near they are to their triggers."""
    random = Random(seed)

    async def scenario() -> Load:
        load = Load(PacingLimits(per_second=100, per_second_total=3), answer_s=0.0)
        load.add("earlier", DUE, 3)
        await load.clock.settle()
        for number, size in enumerate(sizes):
            for _ in range(size):
                load.add(f"{number}", CallPriority(CallClass.DUE, random.random()))
        await load.end(100)
        return load

    load = asyncio.run(scenario())

    left, counts = Counter({f"{number}": size for number, size in enumerate(sizes)}), Counter()
    for account in load.order()[3:]:
        counts[account] += 1
        left[account] -= 1
        still = [counts[other] for other, size in left.items() if size]
        assert not still or max(still) - min(still) <= 1


async def test_within_an_account_the_nearest_line_is_first():
    """Second readings, then crossed lines, then by distance, whatever the order of the calls is."""
    load = Load(PacingLimits(per_second=1, per_second_total=500))
    load.add("a", SECOND_READING)
    await load.clock.settle()
    wanted = [
        SECOND_READING,
        CROSSED,
        CallPriority(CallClass.DUE, 0.001),
        CallPriority(CallClass.DUE, 0.3),
        CallPriority(CallClass.DUE, inf),
        CallPriority(CallClass.REBUILD),
    ]
    for priority in reversed(wanted):
        load.add("a", priority)
    await load.end(20)

    assert [sent.priority for sent in load.sent[1:]] == wanted


async def test_an_account_that_was_idle_gains_no_calls():
    """It would otherwise send all its calls before the others' next ones."""
    load = Load(PacingLimits(per_second=100, per_second_total=1), answer_s=0.0)
    load.add("a", DUE, 20)
    await load.clock.advance(10)
    load.add("b", DUE, 5)
    await load.end(60)

    assert load.order()[11:21] == ["b", "a"] * 5


async def test_a_close_is_never_refused_for_its_length():
    """Candles of 20 accounts wait 80 s, as long as 40,000 lines do at 500 calls a second."""
    load = Load(PacingLimits(per_second_total=5), answer_s=0.2)
    for number in range(20):
        load.add(f"{number}", DUE, 20)
    await load.end(82)

    assert load.refused == []
    assert len(load.sent) == 400
    assert LONGEST_CANDLES_WAIT_S > 80


async def test_quotes_pause_and_then_get_a_small_share():
    """Fifteen seconds, then at most 50 a second, until no candle waits."""
    load = Load(PacingLimits(per_second_total=100), answer_s=0.0)
    for number in range(300):
        load.add(f"{number}", DUE, 8)
    await load.clock.settle()
    for number in range(900):
        load.add(f"{number}", MONITORING_QUOTES)
    await load.end(90)

    quotes = [sent.at_s for sent in load.sent if sent.priority == MONITORING_QUOTES]
    candles = [sent.at_s for sent in load.sent if sent.priority == DUE]
    assert load.refused == []
    assert QUOTES_PAUSE_S <= min(quotes) <= QUOTES_PAUSE_S + 1
    assert most_within([at_s for at_s in quotes if at_s < max(candles) - 1], 1.0) == QUOTES_SHARE
    assert len(candles) == 2400
    assert len(quotes) == 900


async def test_quotes_that_waited_for_candles_are_sent_after_them():
    """Their pause must not end in a refusal, which would look like a rate limit of Fyers."""
    load = Load(PacingLimits(per_second_total=100), answer_s=0.0)
    for number in range(300):
        load.add(f"{number}", DUE, 8)
    await load.clock.settle()
    for number in range(2500):
        load.add(f"{number}", MONITORING_QUOTES)
    await load.end(100)

    assert load.refused == []
    assert sum(sent.priority == MONITORING_QUOTES for sent in load.sent) == 2500


async def test_quotes_go_on_when_only_accounts_own_limits_hold_candles():
    """Their pause would help no candle."""
    load = Load(PacingLimits())
    load.add("a", DUE, 40)
    await load.clock.advance(0.5)
    load.add("b", MONITORING_QUOTES)
    await load.clock.settle()

    assert load.sent[-1].account == "b"
    await load.end(10)


async def test_a_page_does_not_wait_behind_a_close():
    """Ordinary calls have a share that is sent before candles; more of them are refused as at any time."""
    load = Load(PacingLimits(per_second_total=100))
    for number in range(200):
        load.add(f"{number}", DUE, 20)
    await load.clock.advance(3)
    for number in range(300):
        load.add(f"page {number}", ORDINARY_CALL)
    await load.clock.advance(1.2)

    pages = [sent for sent in load.sent if sent.priority == ORDINARY_CALL]
    assert 50 <= len(pages) <= 100
    await load.end(60)
    pages = [sent for sent in load.sent if sent.priority == ORDINARY_CALL]
    assert len(load.refused) == 300 - len(pages) <= 100


async def test_calls_that_hang_take_all_slots_of_their_account_only():
    """A further ordinary call gives up after some seconds; a candle waits for a slot."""
    load = Load(PacingLimits(), answer_s=10.0)
    load.add("hanging", ORDINARY_CALL, MOST_IN_FLIGHT + 1)
    load.add("hanging", DUE)
    load.add("other", DUE)
    await load.clock.advance(6)

    assert load.refused == [NoSlot()]
    assert load.order() == ["hanging"] * MOST_IN_FLIGHT + ["other"]
    await load.end(15)
    assert load.sent[-1].priority == DUE


async def test_a_waiting_close_is_visible_for_its_accounts():
    """Monitoring must not take such a wait for a slow cycle."""
    load = Load(PacingLimits(per_second_total=1))
    load.add("a", DUE, 3)
    load.add("b", DUE, 1)
    load.queue.account("idle")
    await load.clock.advance(0.5)

    assert [load.queue.waits_at_close(name) for name in ("a", "b", "idle", "unknown")] == [
        True,
        True,
        False,
        False,
    ]
    await load.end(10)
    assert not load.queue.waits_at_close("a")


@NO_DEADLINE
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.0, 0.1, 0.7, 1.0, 2.5]), st.booleans()),
        max_size=40,
    )
)
def test_accounts_and_server_stay_within_their_limits(arrivals):
    """Several accounts, a low global limit and cancelled callers together."""
    pacing = PacingLimits(per_second=2, per_minute=9, per_second_total=3)
    sent: dict[int, list[float]] = {}

    async def scenario() -> None:
        clock = FakeClock()
        queue = CallQueue(pacing, clock, longest_wait_s=1e9)

        async def call(number: int) -> None:
            if await queue.admit(queue.account(number)) is None:
                sent.setdefault(number, []).append(clock.monotonic())
                queue.release(queue.account(number))

        calls = []
        for number, pause, gives_up in arrivals:
            await clock.advance(pause)
            calls.append(asyncio.create_task(call(number)))
            if gives_up:
                await clock.settle()
                calls[-1].cancel()
        await clock.advance(600)
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(scenario())

    assert all(most_within(instants, 1.0) <= 2 for instants in sent.values())
    assert all(most_within(instants, 60.0) <= 9 for instants in sent.values())


async def test_the_global_limit_holds_for_all_accounts():
    """Calls are sent in the order in which they came."""
    clock, order = FakeClock(), []
    queue = CallQueue(PacingLimits(per_second_total=3), clock)

    async def call(number: int) -> None:
        assert await queue.admit(queue.account(number)) is None
        order.append((number, clock.monotonic()))

    calls = [asyncio.create_task(call(number)) for number in range(7)]
    await clock.advance(5)
    await asyncio.gather(*calls)

    assert order == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2)]


async def test_delayed_calls_count_when_they_are_sent():
    """A call delayed into a later second uses the limit of that second."""
    clock, sent = FakeClock(), []
    queue = CallQueue(PacingLimits(per_second=2, per_second_total=5), clock)

    async def call(key: str) -> None:
        assert await queue.admit(queue.account(key)) is None
        sent.append((key, clock.monotonic()))

    others = [asyncio.create_task(call(f"other {number}")) for number in range(5)]
    await clock.settle()
    held_up = [asyncio.create_task(call("held up")) for _ in range(4)]
    await clock.advance(5)
    await asyncio.gather(*others, *held_up)

    assert [instant for key, instant in sent if key == "held up"] == [1, 1, 2, 2]


async def test_a_paused_account_uses_no_global_limit():
    """Its calls return before they wait for the global limit."""
    clock = FakeClock()
    queue = CallQueue(PacingLimits(per_second_total=1), clock)
    resting = queue.account("resting")
    resting.pause.record_limit(clock.monotonic(), clock.now(), 30.0)

    assert [await queue.admit(resting) for _ in range(5)] == [WaitTooLong(30.0)] * 5
    assert await queue.admit(queue.account("well")) is None


async def test_a_long_global_wait_is_returned_at_once():
    """The caller gets the seconds until the call would be allowed."""
    clock = FakeClock()
    queue = CallQueue(PacingLimits(per_second_total=1), clock, longest_wait_s=2.0)
    calls = [asyncio.create_task(queue.admit(queue.account(number))) for number in range(4)]
    await clock.advance(3)

    assert await asyncio.gather(*calls) == [None, None, None, WaitTooLong(3.0)]


async def test_a_429_stops_calls_that_wait():
    """They would be refused too, and lengthen the pause."""
    clock = FakeClock()
    queue = CallQueue(PacingLimits(per_second=1), clock)
    account = queue.account("a")
    assert await queue.admit(account) is None
    waiting = asyncio.create_task(queue.admit(account))
    await clock.advance(0.5)

    account.pause.record_limit(clock.monotonic(), clock.now(), 10.0)
    await clock.advance(0.5)

    assert await waiting == WaitTooLong(9.5)


async def test_idle_accounts_are_dropped_after_a_day():
    """After a minute only the count of the day is kept."""
    clock = FakeClock()
    queue = CallQueue(PacingLimits(per_day=2), clock)
    account = queue.account("a")
    await queue.admit(account)
    queue.release(account)
    await clock.advance(120)
    queue.account("b")

    assert queue.account("a") is account
    assert account.pacer._windows is None
    assert await queue.admit(account) is None
    queue.release(account)
    assert isinstance(await queue.admit(account), WaitTooLong)

    await clock.advance(86_400)
    queue.account("b")

    assert queue.account("a") is not account
    assert len(queue) == 2


async def test_a_busy_account_is_never_dropped():
    """Its calls must not get a second set of limits."""
    clock = FakeClock()
    queue = CallQueue(PacingLimits(), clock)
    account = queue.account("a")
    account.in_flight = 1
    await clock.advance(90_000)

    queue.account("b")

    assert queue.account("a") is account


def test_a_new_account_uses_little_memory():
    """Windows are created with the first call."""
    assert Account(PacingLimits()).pacer._windows is None
