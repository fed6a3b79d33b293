"""Corrections of signals and cancelled notices, in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.notifications.channels import ClaimLimits, DeliveryResult
from hullwatch.domain.notifications.notifications import (
    ChannelKind,
    DeliveryState,
    NotificationKind,
    Retraction,
)
from hullwatch.domain.signals.corrections import Recomputation
from hullwatch.domain.signals.signals import Direction, HistoryChange, Rule
from hullwatch.services.monitoring.corrections import apply_corrections
from hullwatch.services.texts.notices import compose_signal
from storage.samples import (
    FIVE,
    NOW,
    SBIN,
    add_users,
    after,
    channel,
    destination,
    notification,
    signal,
    watch,
)

EVERY = ClaimLimits(frozenset(ChannelKind), limit=9, unproven_limit=9, per_channel=9, running={})
N1, NONE = frozenset({"n1"}), frozenset[str]()


@pytest.fixture
async def work(store):
    """Return a unit of work with two users, one of whom has two channels."""
    await add_users(store, "asha", "ravi")
    async with store.begin() as opened:
        for name in ("c1", "c2"):
            await opened.channels.add(channel(name), destination())
        yield opened


def notice(notification_id: str, **changes):
    """Return the notice of a signal."""
    return notification(notification_id, kind=NotificationKind.SIGNAL, incident_id=notification_id, **changes)


async def deliveries(work) -> set[str]:
    """Return the ids of the user's deliveries."""
    return {one.id for one in await work.outbox.of_user("asha")}


async def test_a_corrected_signal_comes_back_as_stored(work):
    """A correction changes neither the time at which a signal was found nor whether it was late."""
    await work.watches.add_signals([signal(), signal(5)])
    withdrawn = replace(
        signal(),
        direction=Direction.DOWN,
        close=1.5,
        hma=2.5,
        revision=2,
        withdrawn_at=after(9),
        withdrawn_reason=HistoryChange.RESCALED,
    )
    marked = replace(signal(5), history_changed_at=after(9))

    await work.watches.correct_signals([])
    await work.watches.correct_signals([replace(withdrawn, is_late=True, detected_at=after(9)), marked])
    await work.watches.correct_signals([replace(signal(10), revision=2)])

    assert await work.watches.signals("asha") == [marked, withdrawn]
    assert await work.watches.add_signals([signal()]) == []


async def test_signals_to_correct_are_read_by_watch(work):
    """Each watch has its own moment; removed watches and other watches do not matter."""
    signals = [signal(minutes, watch_id) for watch_id in ("w1", "w2", "w3") for minutes in (0, 5)]
    await work.watches.add_signals(signals)

    found = await work.watches.signals_to_correct({"w1": after(5), "w2": NOW, "gone": NOW})

    assert found == [signal(5, "w1"), signal(0, "w2"), signal(5, "w2")]
    assert await work.watches.signals_to_correct({}) == []


async def test_a_start_moves_all_watches_of_a_user(work):
    """`evaluated_through` never moves back; `signals_from` is the moment of the start."""
    await work.watches.add(watch())
    await work.watches.add(watch("w2", period=21, evaluated_through=after(9)))
    await work.watches.add(watch("w3", "ravi"))

    await work.watches.evaluate_from("asha", after(5))

    assert await work.watches.list_all() == [
        watch(evaluated_through=after(5), signals_from=after(5)),
        watch("w2", period=21, evaluated_through=after(9), signals_from=after(5)),
        watch("w3", "ravi"),
    ]


async def test_a_retracted_notice_that_was_not_sent_is_removed(work):
    """It can be stored again with another text; an unknown notice is no notice."""
    await work.notifications.add(notice("n1"))
    await work.notifications.add(notice("n2"))

    assert await work.notifications.retract({"n1", "unknown"}) == Retraction(NONE, N1)
    assert await work.notifications.retract([]) == Retraction(NONE, NONE)

    assert [one.id for one in await work.notifications.of_user("asha")] == ["n2"]
    assert await deliveries(work) == {"n2.c1", "n2.c2"}
    assert await work.notifications.add(notice("n1", title="Corrected"))


async def test_a_rewritten_notice_is_sent_with_its_new_text(work):
    """Everything else of it stays; an unknown notice is skipped."""
    await work.notifications.add(notice("n1"))

    await work.notifications.rewrite([])
    await work.notifications.rewrite(
        [notice("n1", title="New", text="Text", created_at=after(5)), notice("n2")]
    )

    assert await work.notifications.of_user("asha") == [notice("n1", title="New", text="Text")]
    (claimed, _) = await work.outbox.claim(EVERY, now=NOW, until=after(1))
    assert claimed.notification.title == "New"


@pytest.mark.parametrize("state", list(DeliveryState))
async def test_a_notice_that_was_tried_counts_as_sent(work, state):
    """A failed attempt may have reached its receiver. What was not sent is cancelled on every channel."""
    await work.notifications.add(notice("n1"))
    await work.outbox.claim(EVERY, now=NOW, until=after(1))
    await work.outbox.finish([DeliveryResult("n1.c1", state, at=NOW, due_at=NOW)], {})

    assert await work.notifications.retract({"n1"}) == Retraction(N1, NONE)

    assert await deliveries(work) == ({"n1.c1"} if state is DeliveryState.SENT else set())
    assert [one.id for one in await work.notifications.of_user("asha")] == ["n1"]


async def test_a_notice_that_is_being_sent_counts_as_sent(work):
    """Its result is skipped later, because the delivery is gone."""
    await work.notifications.add(notice("n1"))
    await work.outbox.claim(EVERY, now=NOW, until=after(1))

    assert await work.notifications.retract({"n1"}) == Retraction(N1, NONE)
    await work.outbox.finish(
        [DeliveryResult("n1.c1", DeliveryState.WAITING, at=after(1), due_at=after(2))], {}
    )

    assert await deliveries(work) == set()
    assert await work.notifications.retract({"n1"}) == Retraction(N1, NONE)


async def test_corrections_are_delivered_where_signals_are(work):
    """A channel is chosen for signals; nobody has to choose their corrections too."""
    await work.channels.add(
        channel("c3", kinds=frozenset({NotificationKind.SESSION_DISCONNECTED})), destination()
    )
    corrected = notification(kind=NotificationKind.SIGNALS_CORRECTED)

    assert await work.notifications.add(corrected)
    assert await work.notifications.add_carried([replace(corrected, id="n2", user_id="ravi")]) == []
    assert len(await work.notifications.add_carried([replace(corrected, id="n2")])) == 1

    assert await deliveries(work) == {"n1.c1", "n1.c2", "n2.c1", "n2.c2"}


async def test_two_servers_that_correct_at_once_store_one_digest(store):
    """The second one reads the corrected rows and changes nothing."""
    await add_users(store, "asha")
    async with store.begin() as work:
        await work.channels.add(channel(), destination())
        await work.watches.add_signals([signal(), signal(5)])
        await work.notifications.add_carried([compose_signal(signal()), compose_signal(signal(5))])
        await work.outbox.claim(EVERY, now=after(20), until=after(21))
        await work.commit()
    fresh = Recomputation(
        "w1", "asha", SBIN, FIVE, 55, Rule.CROSS, after(-60), after(-60), after(15), (signal(5), signal(10)),
        HistoryChange.CANDLE_ADDED,
    )  # fmt: skip

    async def correct(number):
        async with store.begin() as work:
            applied = await apply_corrections(
                work,
                [fresh],
                calendar=MarketCalendar(),
                now=after(30),
                new_id=lambda prefix: f"{prefix}_{number}",
            )
            await work.commit()
            return len(applied.added), len(applied.updated), len(applied.digests)

    found = await asyncio.gather(*(correct(number) for number in range(3)))

    assert sorted(found) == [(0, 0, 0), (0, 0, 0), (1, 1, 1)]
    async with store.begin(read_only=True) as work:
        stored = await work.watches.signals("asha")
        notices = await work.notifications.of_user("asha")
    assert [(one.withdrawn_at is None, one.is_late, one.revision) for one in stored] == [
        (True, True, 1),
        (True, False, 1),
        (False, False, 2),
    ]
    assert [one.kind for one in notices].count(NotificationKind.SIGNALS_CORRECTED) == 1
