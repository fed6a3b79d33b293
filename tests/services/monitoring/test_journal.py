import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fakes.clock import FakeClock
from fakes.resources import fake_resources

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.notifications.channels import Channel, ChannelAddress, Destination
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from hullwatch.domain.signals.signals import Direction, Rule, Signal
from hullwatch.domain.users.accounts import Role, User
from hullwatch.runtime.retrying_writer import RETRY_BACKOFF
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


def entry(kind: str) -> AuditEntry:
    """Return an audit entry."""
    return AuditEntry(NOW, ALICE, kind, "hullwatch")


class JournalScenario:
    """A journal over a store, and the signals that it published."""

    def __init__(self) -> None:
        self.store = HookedStore()
        self.clock = FakeClock(NOW)
        self.published: list[Signal] = []
        context = fake_resources(clock=self.clock, store=self.store).context
        self.journal = Journal(context, self.published.append)

    async def save(
        self, signals: list[Signal], evaluated_through: dict[str, datetime], *, account: str = ALICE
    ) -> None:
        """Queue results and write them."""
        self.journal.add_results(account, signals, evaluated_through)
        await self.journal.flush()

    @property
    def signals(self) -> int:
        """Number of stored signals."""
        return len(self.store.tables.signals)

    @property
    def kinds(self) -> list[str]:
        """Kinds of the stored audit entries."""
        return [stored.kind for stored in self.store.tables.audit]


@pytest.fixture
async def scenario() -> JournalScenario:
    """A user with a watch exists."""
    made = JournalScenario()
    async with made.store.begin() as work:
        await work.users.add(User(ALICE, "alice@example.com", "Alice", Role.TRADER, NOW), "hash")
        await work.watches.add(Watch("wch_1", ALICE, SBIN, FIVE, PERIOD, Rule.CROSS, NOW, NOW, NOW))
        await work.commit()
    made.store.commits = 0
    return made


async def test_results_of_many_accounts_share_a_commit(scenario: JournalScenario) -> None:
    """A thousand accounts at a candle's close do not make a thousand transactions."""
    await asyncio.gather(
        *(scenario.save([signal(number)], {}, account=f"usr_{number}") for number in range(1000))
    )

    assert scenario.signals == len(scenario.published) == 1000
    assert scenario.store.commits <= 2


async def test_a_signal_that_is_saved_again_is_published_once(scenario: JournalScenario) -> None:
    """The database returns which signals are new, and only those are published."""
    await asyncio.gather(scenario.save([signal(1)], {}), scenario.save([signal(1), signal(2)], {}))
    await scenario.save([signal(2)], {})

    assert sorted(scenario.published, key=lambda found: found.candle_opened_at) == [signal(1), signal(2)]


async def test_signals_and_progress_are_stored_together(scenario: JournalScenario) -> None:
    """Progress that is stored without its signal would lose the signal."""
    scenario.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await scenario.save([signal(1)], {"wch_1": NOW + FIVE_MINUTES})
    assert (scenario.signals, scenario.store.tables.watches["wch_1"].evaluated_through) == (0, NOW)
    assert scenario.journal.has_unsaved(ALICE)
    scenario.store.is_down = False

    await scenario.journal.flush()

    assert not scenario.journal.has_unsaved(ALICE)
    assert scenario.signals == 1
    assert scenario.store.tables.watches["wch_1"].evaluated_through == NOW + FIVE_MINUTES


async def test_a_signal_is_queued_once_for_each_channel_of_its_kind(scenario: JournalScenario) -> None:
    """They share a commit. Without a channel there is no notice, because the page shows the signal."""
    await scenario.save([signal(1)], {})
    assert scenario.store.tables.notifications == {}
    async with scenario.store.begin() as work:
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
    await scenario.save([signal(2), late], {})
    await scenario.save([signal(2), signal(1)], {})

    first, second = scenario.store.tables.notifications.values()
    assert {one.channel_id for one in scenario.store.tables.deliveries.values()} == {"hook"}
    assert len(scenario.store.tables.deliveries) == 2
    assert (first.kind, first.title) == (NotificationKind.SIGNAL, "NSE:SBIN-EQ crossed above its average")
    assert (first.created_at, first.read_at) == (signal(2).detected_at, signal(2).detected_at)
    assert second.title.startswith("Late: ")
    assert "found late" in second.text
    assert scenario.store.commits == 4


def test_each_rule_and_direction_has_its_own_title() -> None:
    """The ids of the notices are unique for each signal and fit the database's 64 characters."""
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


async def test_progress_never_moves_back(scenario: JournalScenario) -> None:
    """The later one of two results in one commit counts, in either order."""
    await asyncio.gather(
        scenario.save([], {"wch_1": NOW + 2 * FIVE_MINUTES}),
        scenario.save([], {"wch_1": NOW + FIVE_MINUTES}),
    )

    assert scenario.store.tables.watches["wch_1"].evaluated_through == NOW + 2 * FIVE_MINUTES


async def test_a_failed_commit_fails_for_all_accounts_in_it(scenario: JournalScenario) -> None:
    """No account counts its signals as stored."""
    scenario.store.is_down = True

    results = await asyncio.gather(
        *(scenario.save([signal(number)], {}, account=f"usr_{number}") for number in range(5)),
        return_exceptions=True,
    )

    assert all(isinstance(result, StorageUnavailable) for result in results)
    assert scenario.published == []


async def test_entries_survive_a_failed_commit_in_order(scenario: JournalScenario) -> None:
    """Entries from before and after an outage are stored once each."""
    scenario.journal.add_entry(entry("monitoring.first"))
    scenario.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await scenario.journal.flush()
    scenario.journal.add_entry(entry("monitoring.second"))
    scenario.store.is_down = False

    await scenario.journal.flush()
    await scenario.journal.flush()

    assert scenario.kinds == ["monitoring.first", "monitoring.second"]


async def test_entries_share_the_commit_of_results(scenario: JournalScenario) -> None:
    """An audit entry needs no commit of its own when another follows soon."""
    scenario.journal.add_entry(entry("monitoring.status"))

    await scenario.save([signal(1)], {})

    assert (scenario.kinds, scenario.store.commits) == (["monitoring.status"], 1)


async def test_a_cancelled_caller_does_not_stop_the_commit(scenario: JournalScenario) -> None:
    """The signal of a cycle that reached its deadline is still stored and published."""
    leaving = asyncio.create_task(scenario.save([signal(1)], {}))
    staying = asyncio.create_task(scenario.save([signal(2)], {}))

    async def cancel() -> None:
        leaving.cancel()
        await asyncio.sleep(0)

    scenario.store.before_commit = cancel
    await staying
    await asyncio.wait({leaving})

    assert leaving.cancelled()
    assert scenario.signals == len(scenario.published) == 2


async def test_results_added_during_a_commit_go_into_the_next(scenario: JournalScenario) -> None:
    """They do not count as stored by the commit under way."""
    late: list[asyncio.Task[None]] = []

    async def join() -> None:
        if not late:
            late.append(asyncio.create_task(scenario.save([signal(2)], {})))
            await asyncio.sleep(0)

    scenario.store.before_commit = join
    await scenario.save([signal(1)], {})
    await late[0]

    assert scenario.signals == len(scenario.published) == 2
    assert scenario.store.commits == 2


async def test_results_that_waited_for_the_database_are_late(scenario: JournalScenario) -> None:
    """A signal is late when it is stored more than a minute after its close."""
    found = signal(1)
    scenario.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await scenario.save([found], {})
    await scenario.clock.advance_to(found.candle_closed_at + timedelta(seconds=61))
    scenario.store.is_down = False

    await scenario.journal.flush()

    assert scenario.published == [replace(found, is_late=True)]


async def test_a_removed_account_leaves_nothing_queued(scenario: JournalScenario) -> None:
    """A removed user's signals are not stored by a later commit."""
    scenario.journal.add_results(ALICE, [signal(1)], {})
    scenario.journal.discard(ALICE)

    await scenario.journal.flush()

    assert (scenario.signals, scenario.store.commits) == (0, 0)


async def test_the_job_stores_entries_and_retries_them(scenario: JournalScenario) -> None:
    """Nothing is written for an empty queue. Entries refused by an outage are stored after it."""
    clock, beats = scenario.clock, []
    running = asyncio.create_task(scenario.journal.run(lambda: beats.append(clock.now())))
    await clock.advance(60)
    assert (scenario.store.commits, beats) == (0, [])
    scenario.journal.add_entry(entry("monitoring.first"))
    scenario.store.is_down = True
    await clock.advance(3 * GATHER_S)
    assert scenario.kinds == []
    scenario.store.is_down = False

    await clock.advance(RETRY_BACKOFF.max_s + GATHER_S)

    assert scenario.kinds == ["monitoring.first"]
    running.cancel()
    await asyncio.wait({running})
