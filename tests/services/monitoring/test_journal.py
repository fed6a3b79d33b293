"""Group commit; `hullwatch.services.monitoring.journal`."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes.clock import FakeClock

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.notifications.channels import Channel, ChannelAddress, Destination
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from hullwatch.domain.signals.signals import Direction, Rule, Signal
from hullwatch.domain.users.accounts import Role, User
from hullwatch.services.monitoring.journal import GATHER_S, Journal
from hullwatch.services.texts.notices import compose_signal
from services.environment import ALICE, FIVE, PERIOD, SBIN, HookedStore

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


def signal(number: int, watch_id: str = "wch_1") -> Signal:
    """Return the signal of a candle."""
    opened_at = NOW + number * FIVE_MINUTES
    return Signal(
        watch_id, ALICE, SBIN, FIVE, PERIOD, Rule.CROSS, Direction.UP, opened_at, opened_at + FIVE_MINUTES,
        100.0, 99.0, opened_at + FIVE_MINUTES, is_late=False,
    )  # fmt: skip


def note(kind: str) -> AuditEntry:
    """Return a line of the audit trail."""
    return AuditEntry(NOW, ALICE, kind, "hullwatch")


class Desk:
    """A journal over a store, and what it announced."""

    def __init__(self) -> None:
        self.store = HookedStore()
        self.announced: list[Signal] = []
        self.journal = Journal(self.store, self.announced.append)

    @property
    def signals(self) -> int:
        """How many signals are stored."""
        return len(self.store.tables.signals)

    @property
    def kinds(self) -> list[str]:
        """Which lines are stored."""
        return [entry.kind for entry in self.store.tables.audit]


@pytest.fixture
async def desk() -> Desk:
    """A user with a watch exists."""
    made = Desk()
    async with made.store.begin() as work:
        await work.users.add(User(ALICE, "alice@example.com", "Alice", Role.TRADER, NOW), "hash")
        await work.watches.add(Watch("wch_1", ALICE, SBIN, FIVE, PERIOD, Rule.CROSS, NOW, NOW))
        await work.commit()
    made.store.commits = 0
    return made


async def test_what_many_keep_at_once_is_one_commit(desk: Desk) -> None:
    """A thousand accounts at a candle's close do not make a thousand transactions."""
    await asyncio.gather(*(desk.journal.keep([signal(number)], {}) for number in range(1000)))

    assert desk.signals == len(desk.announced) == 1000
    assert desk.store.commits <= 2


async def test_a_signal_is_announced_once_however_often_it_is_kept(desk: Desk) -> None:
    """The one that stored it announces it; whoever gives it again is quiet."""
    await asyncio.gather(desk.journal.keep([signal(1)], {}), desk.journal.keep([signal(1), signal(2)], {}))
    await desk.journal.keep([signal(2)], {})

    assert sorted(desk.announced, key=lambda found: found.candle_opened_at) == [signal(1), signal(2)]


async def test_a_signal_and_how_far_its_watch_is_judged_go_together(desk: Desk) -> None:
    """Both are there or neither is."""
    desk.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await desk.journal.keep([signal(1)], {"wch_1": NOW + FIVE_MINUTES})
    assert (desk.signals, desk.store.tables.watches["wch_1"].evaluated_through) == (0, NOW)
    desk.store.is_down = False

    await desk.journal.keep([signal(1)], {"wch_1": NOW + FIVE_MINUTES})

    assert desk.signals == 1
    assert desk.store.tables.watches["wch_1"].evaluated_through == NOW + FIVE_MINUTES


async def test_a_signal_is_put_into_the_outbox_with_it_once_for_each_channel_that_carries_it(
    desk: Desk,
) -> None:
    """In one commit with it; without such a channel there is no notice, since the page shows the signal itself."""
    await desk.journal.keep([signal(1)], {})
    assert desk.store.tables.notifications == {}
    async with desk.store.begin() as work:
        for name, kinds in (
            ("hook", {NotificationKind.SIGNAL}),
            ("other", {NotificationKind.SESSION_DISCONNECTED}),
        ):
            channel = Channel(
                name, ALICE, ChannelKind.WEBHOOK, name, name, frozenset(kinds), is_on=True, created_at=NOW
            )
            await work.channels.add(channel, Destination(ChannelKind.WEBHOOK, ChannelAddress(name)))
        await work.commit()

    late = replace(signal(3), is_late=True, detected_at=signal(3).detected_at + FIVE_MINUTES)
    await desk.journal.keep([signal(2), late], {})
    await desk.journal.keep([signal(2), signal(1)], {})

    first, second = desk.store.tables.notifications.values()
    assert {one.channel_id for one in desk.store.tables.deliveries.values()} == {"hook"}
    assert len(desk.store.tables.deliveries) == 2
    assert (first.kind, first.title) == (NotificationKind.SIGNAL, "NSE:SBIN-EQ crossed above its average")
    assert (first.created_at, first.read_at) == (signal(2).detected_at, signal(2).detected_at)
    assert second.title.startswith("Late: ")
    assert "only at" in second.text
    assert desk.store.commits == 4


def test_every_rule_and_direction_has_its_own_sentence() -> None:
    """And every signal ids of its own that a database can hold."""
    signals = [
        replace(signal(1), rule=rule, direction=direction, watch_id="wch_" + "a" * 20)
        for rule in Rule
        for direction in Direction
    ]
    notices = [compose_signal(one) for one in signals]

    assert len({notice.title for notice in notices}) == len(signals)
    assert len({notice.id for notice in notices}) == len(Rule)
    assert all(len(notice.incident_id) <= 64 for notice in notices)
    assert compose_signal(signals[0]) == notices[0]


async def test_a_watch_is_never_moved_back(desk: Desk) -> None:
    """Of two that share a commit the later moment counts, in whatever order they come."""
    await asyncio.gather(
        desk.journal.keep([], {"wch_1": NOW + 2 * FIVE_MINUTES}),
        desk.journal.keep([], {"wch_1": NOW + FIVE_MINUTES}),
    )

    assert desk.store.tables.watches["wch_1"].evaluated_through == NOW + 2 * FIVE_MINUTES


async def test_everybody_who_shared_a_failed_commit_is_told(desk: Desk) -> None:
    """Nobody believes to have stored what was not."""
    desk.store.is_down = True

    results = await asyncio.gather(
        *(desk.journal.keep([signal(number)], {}) for number in range(5)), return_exceptions=True
    )

    assert all(isinstance(result, StorageUnavailable) for result in results)
    assert desk.announced == []


async def test_lines_survive_a_failed_commit_in_order(desk: Desk) -> None:
    """What was noted before and after an outage is stored once, in the order in which it was noted."""
    desk.journal.note(note("monitoring.first"))
    desk.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await desk.journal.flush()
    desk.journal.note(note("monitoring.second"))
    desk.store.is_down = False

    await desk.journal.flush()
    await desk.journal.flush()

    assert desk.kinds == ["monitoring.first", "monitoring.second"]


async def test_lines_go_along_with_what_is_kept(desk: Desk) -> None:
    """A note needs no commit of its own when another is made."""
    desk.journal.note(note("monitoring.status"))

    await desk.journal.keep([signal(1)], {})

    assert (desk.kinds, desk.store.commits) == (["monitoring.status"], 1)


async def test_one_who_is_cancelled_cuts_nobody_s_commit_short(desk: Desk) -> None:
    """The signal of a cycle that ran out of time is stored and announced all the same."""
    leaving = asyncio.create_task(desk.journal.keep([signal(1)], {}))
    staying = asyncio.create_task(desk.journal.keep([signal(2)], {}))

    async def cancel() -> None:
        leaving.cancel()
        await asyncio.sleep(0)

    desk.store.before_commit = cancel
    await staying
    await asyncio.wait({leaving})

    assert leaving.cancelled()
    assert desk.signals == len(desk.announced) == 2


async def test_what_comes_during_a_commit_goes_into_the_next(desk: Desk) -> None:
    """Nothing that joins too late is taken for stored."""
    late: list[asyncio.Task[None]] = []

    async def join() -> None:
        if not late:
            late.append(asyncio.create_task(desk.journal.keep([signal(2)], {})))
            await asyncio.sleep(0)

    desk.store.before_commit = join
    await desk.journal.keep([signal(1)], {})
    await late[0]

    assert desk.signals == len(desk.announced) == 2
    assert desk.store.commits == 2


async def test_the_job_stores_notes_soon_and_again_after_an_outage(desk: Desk) -> None:
    """Nothing is written while nothing is noted; what an outage refused is stored after it."""
    clock, beats = FakeClock(), []
    running = asyncio.create_task(desk.journal.run(clock, lambda: beats.append(clock.now())))
    await clock.advance(60)
    assert (desk.store.commits, beats) == (0, [])
    desk.journal.note(note("monitoring.first"))
    desk.store.is_down = True
    await clock.advance(3 * GATHER_S)
    assert desk.kinds == []
    desk.store.is_down = False

    await clock.advance(2 * GATHER_S)

    assert desk.kinds == ["monitoring.first"]
    running.cancel()
    await asyncio.wait({running})
