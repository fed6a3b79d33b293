"""Watchlists, wishes, signals, notices and audit trail, in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest

from hullwatch.domain.failures import AlreadyExists, NotFound
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.monitoring.watches import MonitoringWish
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.signals.signals import Direction, Rule
from storage.samples import INFY, NOW, SBIN, add_users, after, audit_entry, notification, signal, watch


@pytest.fixture
async def work(store):
    """Return a unit of work with two users."""
    await add_users(store, "asha", "ravi")
    async with store.begin() as opened:
        yield opened


async def test_a_watch_comes_back_as_stored(work):
    """To its owner only; lists are oldest first."""
    second = watch("w2", symbol=INFY, resolution=Resolution.parse("1D"), rule=Rule.TURN, created_at=after(1))
    await work.watches.add(second)
    await work.watches.add(watch())
    await work.watches.add(watch("w3", "ravi"))

    assert await work.watches.get("asha", "w1") == watch()
    assert await work.watches.get("ravi", "w1") is None
    assert await work.watches.of_user("asha") == [watch(), second]
    assert await work.watches.list_all() == [watch(), second, watch("w3", "ravi")]


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"symbol": INFY}, False),
        ({"resolution": Resolution.parse("15")}, False),
        ({"period": 21}, False),
        ({"rule": Rule.TURN}, False),
    ],
)
async def test_a_watchlist_has_no_line_twice(work, change, is_same):
    """Two watches are the same if symbol, resolution, period and rule are."""
    await work.watches.add(watch())

    if is_same:
        with pytest.raises(AlreadyExists):
            await work.watches.add(watch("w2", **change))
        assert await work.watches.of_user("asha") == [watch()]
    else:
        await work.watches.add(watch("w2", **change))
        assert len(await work.watches.of_user("asha")) == 2


async def test_a_watch_needs_a_user(work):
    """Nothing is stored for someone who does not exist."""
    with pytest.raises(NotFound):
        await work.watches.add(watch(user_id="nobody"))


async def test_a_watch_can_be_changed_by_its_owner(work):
    """Another user's id changes nothing."""
    await work.watches.add(watch())

    await work.watches.update(watch(user_id="ravi", period=9))
    assert await work.watches.get("asha", "w1") == watch()

    changed = watch(period=21, evaluated_through=after(5))
    await work.watches.update(changed)
    assert await work.watches.get("asha", "w1") == changed


async def test_a_watch_cannot_become_another_one(work):
    """The line exists already."""
    await work.watches.add(watch())
    await work.watches.add(watch("w2", period=21))

    with pytest.raises(AlreadyExists):
        await work.watches.update(watch("w2"))


async def test_a_watch_is_removed_by_its_owner(work):
    """Its signals stay: they are history."""
    await work.watches.add(watch())
    await work.watches.add_signals([signal()])

    assert not await work.watches.remove("ravi", "w1")
    assert await work.watches.remove("asha", "w1")
    assert not await work.watches.remove("asha", "w1")
    assert await work.watches.of_user("asha") == []
    assert await work.watches.signals("asha") == [signal()]


async def test_watches_advance_and_never_go_back(work):
    """Each to its own moment; unknown ids are skipped."""
    for number in range(4):
        await work.watches.add(watch(f"w{number}", period=50 + number))

    await work.watches.advance({"w0": after(5), "w1": after(10), "w2": after(-5), "gone": after(5)})
    await work.watches.advance({"w1": after(7)})
    await work.watches.advance({})

    found = {line.id: line.evaluated_through for line in await work.watches.of_user("asha")}
    assert found == {"w0": after(5), "w1": after(10), "w2": NOW, "w3": NOW}


async def test_the_latest_wish_is_stored(work):
    """One for each user; none before the first."""
    assert await work.watches.wish("asha") is None

    await work.watches.put_wish(MonitoringWish("ravi", is_wanted=True, changed_at=NOW))
    await work.watches.put_wish(MonitoringWish("asha", is_wanted=True, changed_at=NOW))
    stopped = MonitoringWish("asha", is_wanted=False, changed_at=after(1))
    await work.watches.put_wish(stopped)

    assert await work.watches.wish("asha") == stopped
    assert await work.watches.wishes() == [stopped, MonitoringWish("ravi", is_wanted=True, changed_at=NOW)]


async def test_a_signal_is_stored_once(work):
    """One per watch, candle and rule: only new ones come back, in the order given."""
    assert await work.watches.add_signals([]) == []
    assert await work.watches.add_signals([signal(5), signal(0)]) == [signal(5), signal(0)]

    again = replace(signal(5), close=1.0, direction=Direction.DOWN)
    turned = signal(5, rule=Rule.TURN)
    assert await work.watches.add_signals([again, turned, signal(10), signal(10)]) == [turned, signal(10)]

    stored = await work.watches.signals("asha")
    assert stored == [signal(10), signal(5), turned, signal(0)]


async def test_the_newest_signal_of_each_watch_is_found(work):
    """One for each watch that has any; withdrawn signals and those of other users do not count."""
    assert await work.watches.last_signals("asha") == {}
    gone = [signal(15, withdrawn_at=after(21)), signal(10, rule=Rule.TURN, withdrawn_at=after(21))]
    await work.watches.add_signals([signal(5), signal(10), signal(0), *gone])

    assert await work.watches.last_signals("asha") == {signal().watch_id: signal(10)}
    assert await work.watches.last_signals("ravi") == {}


async def test_a_candle_of_another_resolution_is_another_candle(work):
    """A watch whose resolution was changed may find a signal on a candle that opens like an older one."""
    await work.watches.add_signals([signal(5)])
    longer = replace(signal(5), resolution=Resolution("15"))

    assert await work.watches.add_signals([longer]) == [longer]


async def test_the_signals_of_a_removed_user_do_not_keep_out_the_others(work):
    """A batch holds many users' signals, and one may have left meanwhile."""
    stored = await work.watches.add_signals([signal(0, "w9", "nobody"), signal()])

    assert stored == [signal()]
    assert await work.watches.add_signals([signal(5, "w9", "nobody")]) == []


async def test_a_signal_found_by_two_at_once_is_new_to_one(store):
    """Two overlapping batches together report each signal exactly once."""
    await add_users(store, "asha")

    async def add(first, last):
        async with store.begin() as work:
            new = await work.watches.add_signals([signal(5 * number) for number in range(first, last)])
            await work.commit()
            return new

    batches = await asyncio.gather(add(0, 30), add(10, 40), add(0, 40))

    reported = [found.candle_opened_at for batch in batches for found in batch]
    assert sorted(reported) == [after(5 * number) for number in range(40)]


async def test_a_large_batch_of_signals_is_stored_whole(work):
    """More than fit one statement."""
    batch = [signal(5 * (number % 50), f"w{number // 50}") for number in range(2_000)]

    assert await work.watches.add_signals(batch) == batch
    assert await work.watches.add_signals(batch) == []
    assert len(await work.watches.signals("asha", limit=5_000)) == 2_000


async def test_signals_can_be_narrowed_down(work):
    """By symbol, from a moment on, before a moment, and by number; newest candle first."""
    other = signal(20, "w2", symbol=INFY)
    await work.watches.add_signals([signal(0), signal(5), signal(10), other, signal(0, "w3", "ravi")])

    assert await work.watches.signals("asha", symbol=SBIN) == [signal(10), signal(5), signal(0)]
    assert await work.watches.signals("asha", since=after(5), before=after(20)) == [signal(10), signal(5)]
    assert await work.watches.signals("asha", limit=2) == [other, signal(10)]


async def test_a_notice_goes_out_once_per_incident(work):
    """One of a kind for a user and an incident; without an incident each one counts."""
    first = notification(incident_id="i1")
    assert await work.notifications.add(first)

    assert not await work.notifications.add(notification("n2", incident_id="i1"))
    assert await work.notifications.add(notification("n3", incident_id="i2"))
    assert await work.notifications.add(
        notification("n4", incident_id="i1", kind=NotificationKind.CONNECTED_AGAIN)
    )
    assert await work.notifications.add(notification("n5", "ravi", incident_id="i1"))
    assert await work.notifications.add(notification("n6", kind=NotificationKind.SIGNAL))
    assert await work.notifications.add(notification("n7", kind=NotificationKind.SIGNAL))
    assert not await work.notifications.add(notification("n8", "nobody"))
    assert {found.id for found in await work.notifications.of_user("asha")} == {"n1", "n3", "n4", "n6", "n7"}


async def test_two_processes_store_one_notice_of_an_incident(store):
    """Exactly one of the two calls returns True."""
    await add_users(store, "asha")

    async def store_notice(notification_id):
        async with store.begin() as work:
            is_new = await work.notifications.add(notification(notification_id, incident_id="i1"))
            await work.commit()
            return is_new

    assert sorted(await asyncio.gather(*(store_notice(f"n{number}") for number in range(4)))) == [
        False
    ] * 3 + [True]


async def test_notifications_are_newest_first_and_remember_when_they_were_read(work):
    """The first reading counts; only the addressee can read."""
    newer = notification("n2", created_at=after(1), kind=NotificationKind.SIGNAL)
    await work.notifications.add(notification())
    await work.notifications.add(newer)

    assert await work.notifications.of_user("asha") == [newer, notification()]
    assert await work.notifications.of_user("asha", limit=1) == [newer]
    assert not await work.notifications.mark_read("ravi", "n1", at=after(2))
    assert await work.notifications.mark_read("asha", "n1", at=after(2))
    assert await work.notifications.mark_read("asha", "n1", at=after(9))
    assert await work.notifications.of_user("asha", unread_only=True) == [newer]
    assert (await work.notifications.of_user("asha"))[1].read_at == after(2)


async def test_the_audit_trail_is_read_newest_first(work):
    """Of one moment, the line that was appended last comes first."""
    entries = [
        audit_entry(0, reason="one"),
        audit_entry(0, reason="two"),
        audit_entry(5, user_id=None, kind="users.removed", from_state="a", to_state="b", generation=3),
        audit_entry(-5, evidence={"codes": [-8, -15], "text": "a\x00b \ud800", "deep": {"x": None}}),
    ]
    await work.audit.add(entries)
    await work.audit.add([])

    one, two, removed, early = entries
    assert await work.audit.entries() == [removed, two, one, early]
    assert await work.audit.entries(limit=2) == [removed, two]
    assert await work.audit.entries(user_id="asha", since=NOW, before=after(5)) == [two, one]


async def test_the_audit_trail_can_be_narrowed_to_a_kind(work):
    """By how the kind begins; % and _ mean themselves, and case counts."""
    for kind in ("user.added", "user_added", "users.removed", "User.added"):
        await work.audit.add([audit_entry(kind=kind)])

    async def kinds(prefix):
        return {entry.kind for entry in await work.audit.entries(kind_prefix=prefix)}

    assert await kinds("user.") == {"user.added"}
    assert await kinds("user_") == {"user_added"}
    assert await kinds("user") == {"user.added", "user_added", "users.removed"}
    assert await kinds("%") == set()


async def test_users_with_a_notice_of_a_shared_incident_are_found(work):
    """Only of that kind and that incident."""
    kind = NotificationKind.NOT_READY
    await work.notifications.add(notification(incident_id="ready-1", kind=kind))
    await work.notifications.add(notification("n2", "ravi", incident_id="ready-1", kind=kind))
    await work.notifications.add(notification("n3", incident_id="ready-2", kind=kind))
    await work.notifications.add(
        notification("n4", "ravi", incident_id="ready-2", kind=NotificationKind.NOW_READY)
    )

    assert await work.notifications.notified_users(kind, "ready-1") == {"asha", "ravi"}
    assert await work.notifications.notified_users(kind, "ready-2") == {"asha"}
    assert await work.notifications.notified_users(kind, "ready-3") == set()
