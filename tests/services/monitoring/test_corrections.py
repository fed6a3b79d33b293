"""Corrections of stored signals through the journal, with their notices."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.clock import FakeClock
from fakes.resources import fake_resources
from fakes.store import FakeStore
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.events import NotificationStored, SignalsCorrected
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.notifications.channels import Channel, ChannelAddress, DeliveryResult, Destination
from hullwatch.domain.notifications.notifications import (
    ChannelKind,
    DeliveryState,
    Notification,
    NotificationKind,
)
from hullwatch.domain.signals.corrections import Recomputation
from hullwatch.domain.signals.signals import Direction, HistoryChange, Rule, Signal
from hullwatch.domain.users.accounts import Role, User
from hullwatch.services.monitoring.journal import Journal
from hullwatch.services.texts.corrections import WITHDRAWAL_REASONS
from hullwatch.services.texts.notices import signal_notice_id
from services.environment import ALICE, BOB, FIVE, OPENING, PERIOD, SBIN, HookedStore

MINUTES = timedelta(minutes=1)
KINDS = frozenset({NotificationKind.SIGNAL})


def signal(number: int, user_id: str = ALICE, **changes) -> Signal:
    """Return the signal of a candle of today."""
    opened_at, closed_at = OPENING + number * 5 * MINUTES, OPENING + (number + 1) * 5 * MINUTES
    whole = Signal(
        f"wch_{user_id}", user_id, SBIN, FIVE, PERIOD, Rule.CROSS, Direction.UP, opened_at, closed_at, 100.0,
        99.0, closed_at, is_late=False,
    )  # fmt: skip
    return replace(whole, **changes)


def recomputed(*signals: Signal, user_id: str = ALICE, **changes) -> Recomputation:
    """Return what today's candles give on fresh history."""
    whole = Recomputation(
        f"wch_{user_id}", user_id, SBIN, FIVE, PERIOD, Rule.CROSS, OPENING, OPENING - 600 * MINUTES,
        OPENING + 300 * MINUTES, signals, HistoryChange.CANDLE_CORRECTED,
    )  # fmt: skip
    return replace(whole, **changes)


class CorrectionScenario:
    """A journal over a store with two users, and the events that Alice's pages received."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.clock = FakeClock(OPENING + 11 * MINUTES)
        self.signals_fired: list[Signal] = []
        context = fake_resources(clock=self.clock, store=store).context
        self.journal = Journal(context, self.signals_fired.append)
        self.events = context.hub.subscribe(ALICE)

    async def prepare(self, kinds: frozenset[NotificationKind] = KINDS) -> "CorrectionScenario":
        """Add the users, each with a watch and a channel."""
        async with self.store.begin() as work:
            for user_id in (ALICE, BOB):
                await work.users.add(
                    User(user_id, f"{user_id}@example.com", user_id, Role.TRADER, OPENING), "hash"
                )
                watch = Watch(
                    f"wch_{user_id}", user_id, SBIN, FIVE, PERIOD, Rule.CROSS, OPENING, OPENING, OPENING
                )
                await work.watches.add(watch)
                channel = Channel(
                    f"chn_{user_id}", user_id, ChannelKind.WEBHOOK, "hook", "hook", kinds, is_on=True, created_at=OPENING
                )  # fmt: skip
                await work.channels.add(channel, Destination(ChannelKind.WEBHOOK, ChannelAddress("hook")))
            await work.commit()
        return self

    async def find(self, *signals: Signal, is_sent: bool = True) -> None:
        """Store signals, and have their notices sent."""
        for one in signals:
            self.journal.add_results(one.user_id, [one], {})
        await self.journal.flush()
        if is_sent:
            await self.send()

    async def send(self) -> None:
        """Have all notices sent."""
        await self.sent_now()

    async def sent_now(self) -> list[str]:
        """Have all waiting notices sent, and return the ids of their deliveries."""
        now = self.clock.now()
        ids = [one.id for one in self.store.tables.deliveries.values() if one.state is DeliveryState.WAITING]
        async with self.store.begin() as work:
            await work.outbox.finish([DeliveryResult(one, DeliveryState.SENT, now, now) for one in ids], {})
            await work.commit()
        return ids

    async def correct(self, *found: Recomputation) -> None:
        """Queue corrections and write them."""
        for user_id in {one.user_id for one in found}:
            self.journal.add_corrections(user_id, [one for one in found if one.user_id == user_id])
        await self.journal.flush()

    def notices(self, user_id: str = ALICE) -> list[Notification]:
        """Return the stored notices of a user, in the order in which they were stored."""
        return [one for one in self.store.tables.notifications.values() if one.user_id == user_id]

    def kinds(self, user_id: str = ALICE) -> list[str]:
        """Return the kinds of the notices."""
        return [one.kind.value for one in self.notices(user_id)]

    def stored(self, *, valid_only: bool = False) -> list[Signal]:
        """Return Alice's stored signals, oldest first."""
        own = [one for one in self.store.tables.signals.values() if one.user_id == ALICE]
        own.sort(key=lambda one: one.candle_opened_at)
        return [one for one in own if not valid_only or one.withdrawn_at is None]


@pytest.fixture
async def scenario() -> CorrectionScenario:
    """Two users whose channels deliver signals and corrections."""
    return await CorrectionScenario(HookedStore()).prepare()


async def published(scenario: CorrectionScenario) -> list[object]:
    """Return the events that wait in Alice's page."""
    return [(await anext(scenario.events)).message for _ in range(scenario.events.pending)]


async def test_a_notified_signal_that_is_withdrawn_gives_one_digest(scenario: CorrectionScenario) -> None:
    """The row stays, with its time and reason; the page gets the new state and the notice."""
    await scenario.find(signal(1), signal(3))
    now = scenario.clock.now()

    await scenario.correct(recomputed(signal(3)))

    gone = signal(1, revision=2, withdrawn_at=now, withdrawn_reason=HistoryChange.CANDLE_CORRECTED)
    assert scenario.stored() == [gone, signal(3)]
    assert scenario.kinds() == ["signal", "signal", "signals_corrected"]
    digest = scenario.notices()[-1]
    assert digest.title == "Signals of NSE:SBIN-EQ corrected: 1 withdrawn"
    assert "crossed above its average, candle closed 23 Nov 2026, 09:25 IST (withdrawn)" in digest.text
    assert digest.read_at is None
    events = await published(scenario)
    assert events == [SignalsCorrected(ALICE, (gone,)), NotificationStored(digest)]


async def test_a_repeated_correction_changes_nothing(scenario: CorrectionScenario) -> None:
    """The second comparison finds the corrected rows."""
    await scenario.find(signal(1))
    await scenario.correct(recomputed(signal(2)))
    tables = scenario.store.tables.copy()

    await scenario.correct(recomputed(signal(2)))

    assert scenario.store.tables == tables
    assert scenario.signals_fired == [signal(1), signal(2, is_late=True, detected_at=scenario.clock.now())]


async def test_what_was_not_delivered_is_cancelled(scenario: CorrectionScenario) -> None:
    """The user hears of neither the signal nor its withdrawal."""
    await scenario.find(signal(1), is_sent=False)

    await scenario.correct(recomputed())

    assert scenario.stored(valid_only=True) == []
    assert (scenario.notices(), scenario.store.tables.deliveries) == ([], {})


async def test_an_undelivered_notice_of_a_changed_signal_is_replaced(scenario: CorrectionScenario) -> None:
    """The user is notified once, of the right direction."""
    await scenario.find(signal(1), is_sent=False)

    await scenario.correct(recomputed(signal(1, direction=Direction.DOWN)))

    (notice,) = scenario.notices()
    assert notice.title == "NSE:SBIN-EQ crossed below its average"
    assert len(scenario.store.tables.deliveries) == 1


async def test_other_prices_alone_give_no_digest(scenario: CorrectionScenario) -> None:
    """A late close of an earlier candle moves averages by little. A notice that is not sent yet has them."""
    await scenario.find(signal(1))
    await scenario.find(signal(2), is_sent=False)

    await scenario.correct(recomputed(signal(1, hma=98.5), signal(2, close=101.25)))

    assert [(one.hma, one.revision) for one in scenario.stored()] == [(98.5, 2), (99.0, 2)]
    assert scenario.kinds() == ["signal", "signal"]
    assert "closed at 101.25" in scenario.notices()[-1].text
    assert len(scenario.store.tables.deliveries) == 2


async def test_an_added_signal_alone_is_notified_as_late(scenario: CorrectionScenario) -> None:
    """The user was notified of nothing that changed."""
    await scenario.correct(recomputed(signal(1)))

    assert [one.is_late for one in scenario.stored()] == [True]
    assert [one.title for one in scenario.notices()] == ["Late: NSE:SBIN-EQ crossed above its average"]


async def test_all_changes_of_a_correction_are_in_one_digest(scenario: CorrectionScenario) -> None:
    """A signal that moved to the candle before gives one notice, not two."""
    await scenario.find(signal(2), signal(4))
    await scenario.find(signal(6), is_sent=False)

    await scenario.correct(recomputed(signal(1), signal(4, direction=Direction.DOWN)))

    assert scenario.kinds() == ["signal", "signal", "signals_corrected"]
    assert scenario.notices()[-1].title.endswith("corrected: 2 withdrawn, 1 changed direction, 1 added late")


async def test_a_long_digest_names_the_first_signals(scenario: CorrectionScenario) -> None:
    """A split corrects the signals of two days."""
    await scenario.find(*(signal(number) for number in range(8)))

    await scenario.correct(recomputed())

    digest = scenario.notices()[-1]
    assert digest.text.count("(withdrawn)") == 5
    assert "; and 3 more." in digest.text


async def test_a_reinstated_signal_is_not_notified_again(scenario: CorrectionScenario) -> None:
    """It is shown, with its third revision."""
    await scenario.find(signal(1))
    await scenario.correct(recomputed())
    await scenario.send()

    await scenario.correct(recomputed(signal(1)))

    assert scenario.stored() == [signal(1, revision=3)]
    assert scenario.kinds() == ["signal", "signals_corrected"]
    assert scenario.signals_fired == [signal(1)]


async def test_each_user_gets_an_own_digest(scenario: CorrectionScenario) -> None:
    """Both accounts share the symbol, and the transaction; only one user was notified."""
    await scenario.find(signal(1))
    await scenario.find(signal(1, BOB), is_sent=False)

    await scenario.correct(recomputed(), recomputed(user_id=BOB))

    assert scenario.kinds() == ["signal", "signals_corrected"]
    assert scenario.kinds(BOB) == []


async def test_without_a_channel_for_signals_there_is_no_notice() -> None:
    """The page shows the corrected signals."""
    scenario = await CorrectionScenario(HookedStore()).prepare(frozenset({NotificationKind.DAILY_SUMMARY}))
    await scenario.find(signal(1), signal(2))

    await scenario.correct(recomputed(signal(1, direction=Direction.DOWN), signal(5)))

    assert scenario.notices() == []
    assert len(scenario.stored(valid_only=True)) == 2


async def test_a_queued_signal_is_stored_before_it_is_corrected(scenario: CorrectionScenario) -> None:
    """Both waited for the database; the wrong signal is kept, withdrawn and not notified."""
    scenario.store.is_down = True
    scenario.journal.add_results(ALICE, [signal(1)], {})
    scenario.journal.add_corrections(ALICE, [recomputed(signal(3))])
    scenario.journal.add_corrections(ALICE, [recomputed(signal(2))])
    with pytest.raises(StorageUnavailable):
        await scenario.journal.flush()
    assert scenario.journal.has_unsaved(ALICE)
    scenario.store.is_down = False

    await scenario.journal.flush()

    assert [one.withdrawn_at is None for one in scenario.stored()] == [False, True]
    assert [one.title for one in scenario.notices()] == ["Late: NSE:SBIN-EQ crossed above its average"]


async def test_old_signals_are_marked_without_a_notice(scenario: CorrectionScenario) -> None:
    """Thursday's signal, corrected on Monday."""
    four_days = timedelta(days=4)
    old = signal(1)
    old = replace(
        old,
        candle_opened_at=old.candle_opened_at - four_days,
        candle_closed_at=old.candle_closed_at - four_days,
    )
    await scenario.find(old)

    await scenario.correct(recomputed(covers_after=OPENING - 2 * four_days))

    (stored,) = scenario.stored()
    assert (stored.history_changed_at, stored.withdrawn_at) == (scenario.clock.now(), None)
    assert scenario.kinds() == ["signal"]


@pytest.mark.parametrize("is_committed", [False, True])
async def test_a_crash_during_a_correction_repeats_and_loses_nothing(*, is_committed: bool) -> None:
    """The cycle compares again after the restart, and ends with the same rows and one digest."""
    store = HookedStore()
    scenario = await CorrectionScenario(store).prepare()
    await scenario.find(signal(1), signal(3))
    copies: list[HookedStore] = []

    async def crash() -> None:
        copies.append(store.copied())

    store.before_commit, store.after_commit = (None, crash) if is_committed else (crash, None)
    await scenario.correct(recomputed(signal(2), signal(3)))

    after = CorrectionScenario(copies[0])
    await after.correct(recomputed(signal(2), signal(3)))

    assert valid_openings(after.stored(valid_only=True)) == valid_openings([signal(2), signal(3)])
    assert after.kinds().count("signals_corrected") == 1
    assert len(after.store.tables.deliveries) == 3


def valid_openings(signals: Iterable[Signal]) -> list[object]:
    """Return the openings of the candles."""
    return [one.candle_opened_at for one in signals]


numbers = st.frozensets(st.integers(min_value=0, max_value=4))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("find"), numbers),
        st.tuples(st.just("history"), numbers),
        st.tuples(st.sampled_from(("outage", "send", "crash")), st.just(frozenset())),
    ),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(steps, numbers)
def test_any_order_of_events_ends_with_the_newest_history(
    events: list[tuple[str, frozenset[int]]], last: frozenset[int]
) -> None:
    """Through outages and crashes: no signal is sent twice, and none that was sent is withdrawn without a notice."""
    asyncio.run(run_through(events, last))


async def run_through(events: list[tuple[str, frozenset[int]]], last: frozenset[int]) -> None:
    """Run the events, then the newest history, and compare."""
    scenario = await CorrectionScenario(HookedStore()).prepare()
    sent: list[str] = []
    for what, candles in events:
        if what == "crash":
            scenario = CorrectionScenario(scenario.store.copied())
        elif what == "send":
            scenario.store.is_down = False
            sent += await scenario.sent_now()
        elif what == "outage":
            scenario.store.is_down = True
        elif what == "find":
            scenario.journal.add_results(ALICE, [signal(number) for number in candles], {})
        else:
            scenario.journal.add_corrections(ALICE, [recomputed(*map(signal, candles))])
        await scenario.journal.try_flush()
        scenario.store.is_down = what == "outage"

    scenario.store.is_down = False
    await scenario.correct(recomputed(*map(signal, sorted(last))))
    wrong = [one for one in scenario.stored() if one.withdrawn_at is not None]
    await scenario.correct(recomputed(*map(signal, sorted(last))))

    assert valid_openings(scenario.stored(valid_only=True)) == valid_openings(map(signal, sorted(last)))
    assert [one for one in scenario.stored() if one.withdrawn_at is not None] == wrong
    assert len(sent) == len(set(sent))
    notified = {signal_notice_id(one) for one in wrong} & {one.partition(".")[0] for one in sent}
    assert not notified or "signals_corrected" in scenario.kinds()


def test_each_reason_of_a_withdrawal_has_a_sentence() -> None:
    """The API and the page show it."""
    assert set(WITHDRAWAL_REASONS) == set(HistoryChange)
