"""Channels and the outbox, the same in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from hullwatch.domain.failures import NotFound
from hullwatch.domain.notifications.channels import (
    Channel,
    ChannelHealth,
    ClaimLimits,
    DeliveryResult,
    Destination,
)
from hullwatch.domain.notifications.notifications import (
    PAGE_ONLY,
    ChannelKind,
    DeliveryState,
    NotificationKind,
)
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.keys import EncryptionKey, FixedKeys
from hullwatch.storage.opening import opened
from hullwatch.storage.rotation import rotate
from storage.samples import NOW, add_users, after, channel, destination, notification

ALL = frozenset(ChannelKind)
EVERY = frozenset(NotificationKind)
UNTIL = after(2)


def wish(**changes) -> ClaimLimits:
    """Return the wish of a server without deliveries under way."""
    return replace(ClaimLimits(ALL, limit=100, unproven_limit=100, per_channel=4, running={}), **changes)


def result(delivery_id: str = "n1.c1", state=DeliveryState.SENT, **changes) -> DeliveryResult:
    """Return the result of an attempt."""
    return replace(DeliveryResult(delivery_id, state, at=after(1), due_at=after(1)), **changes)


async def claim(store, *, now=NOW, until=UNTIL, **changes) -> list[str]:
    """Claim, and return which deliveries."""
    async with store.begin() as work:
        taken = await work.outbox.claim(wish(**changes), now=now, until=until)
        await work.commit()
    return [one.id for one in taken]


async def finish(store, *results, **healths) -> None:
    """Store the results of attempts."""
    async with store.begin() as work:
        await work.outbox.finish(results, healths)
        await work.commit()


async def add(store, *notices, channels: tuple[Channel, ...] = ()) -> None:
    """Store channels, then notices."""
    async with store.begin() as work:
        for one in channels:
            await work.channels.add(one, destination(kind=one.kind))
        for notice in notices:
            await work.notifications.add(notice)
        await work.commit()


async def deliveries(store, user_id: str = "asha") -> dict[str, DeliveryState]:
    """Return a user's deliveries with their states."""
    async with store.begin(read_only=True) as work:
        return {one.id: one.state for one in await work.outbox.of_user(user_id)}


@pytest.fixture
async def store_with_channel(store):
    """Return a store with two users, of whom one has a channel."""
    await add_users(store, "asha", "ravi")
    await add(store, channels=(channel(),))
    return store


async def test_a_channel_comes_back_as_stored(store_with_channel):
    """To its owner only, oldest first."""
    other = channel("c0", kinds=frozenset(), is_on=False, created_at=after(1), label="later")
    await add(store_with_channel, channels=(other, channel("c9", "ravi")))

    async with store_with_channel.begin(read_only=True) as work:
        assert await work.channels.of_user("asha") == [channel(), other]
        assert await work.channels.get("asha", "c1") == channel()
        assert await work.channels.get("ravi", "c1") is None
        assert await work.channels.get("asha", "none") is None


async def test_a_channel_of_an_unknown_user_is_refused(store_with_channel):
    """A user who was removed meanwhile gets none."""
    async with store_with_channel.begin() as work:
        with pytest.raises(NotFound):
            await work.channels.add(channel("c2", "ghost"), destination())


async def test_a_channel_changes_its_label_kinds_and_switch(store_with_channel):
    """Other fields and other users' channels stay."""
    changed = channel(label="new", kinds=frozenset({NotificationKind.NOT_READY}), is_on=False)
    async with store_with_channel.begin() as work:
        await work.channels.update(replace(changed, hint="other", kind=ChannelKind.EMAIL))
        await work.channels.update(channel(user_id="ravi", label="stolen"))
        await work.commit()

    async with store_with_channel.begin(read_only=True) as work:
        assert await work.channels.of_user("asha") == [changed]


async def test_a_removed_channel_takes_its_deliveries_along(store_with_channel):
    """And only its owner removes it."""
    await add(store_with_channel, notification())
    async with store_with_channel.begin() as work:
        assert not await work.channels.remove("ravi", "c1")
        assert await work.channels.remove("asha", "c1")
        assert not await work.channels.remove("asha", "c1")
        await work.commit()

    assert await deliveries(store_with_channel) == {}


async def test_a_removed_user_takes_channels_and_deliveries_along(store_with_channel):
    """Nothing is sent for somebody who has left."""
    await add(store_with_channel, notification())
    async with store_with_channel.begin() as work:
        await work.users.remove("asha")
        await work.commit()

    assert await claim(store_with_channel) == []


async def test_channels_are_found_with_addresses_by_kind(store_with_channel):
    """For a notice that cannot be stored; the same channels as for one that can."""
    jobs = frozenset({NotificationKind.JOB_RESTARTING})
    unconfirmed = channel("c4", kind=ChannelKind.EMAIL, kinds=jobs, proof=None)
    await add(
        store_with_channel,
        channels=(
            channel("c2", kinds=jobs),
            channel("c3", kinds=jobs, is_on=False),
            unconfirmed,
            channel("c5", "ravi", kinds=jobs),
        ),
    )

    async def found(kind: NotificationKind) -> dict[str, Destination]:
        async with store_with_channel.begin(read_only=True) as work:
            return {one.id: where for one, where in await work.channels.delivering(kind, ["asha"])}

    assert await found(NotificationKind.STORAGE_UNAVAILABLE) == {"c2": destination()}
    assert await found(NotificationKind.SIGNAL) == {"c1": destination()}
    async with store_with_channel.begin(read_only=True) as work:
        assert await work.channels.delivering(NotificationKind.SIGNAL, []) == []


async def test_a_notice_gets_one_delivery_per_channel_of_its_kind(store_with_channel):
    """Which is on, belongs to its user, and was there before it."""
    await add(
        store_with_channel,
        notification(),
        channels=(
            channel("c2", kind=ChannelKind.EMAIL),
            channel("off", is_on=False),
            channel("other", kinds=frozenset({NotificationKind.SIGNAL})),
            channel("his", "ravi"),
        ),
    )
    await add(store_with_channel, channels=(channel("later"),))

    assert await deliveries(store_with_channel) == {
        "n1.c1": DeliveryState.WAITING,
        "n1.c2": DeliveryState.WAITING,
    }
    assert await deliveries(store_with_channel, "ravi") == {}


async def test_an_incident_is_delivered_once(store_with_channel):
    """A second notice of the incident creates no delivery."""
    first, again = notification(incident_id="i1"), notification("n2", incident_id="i1")
    await add(store_with_channel, first, again)

    assert list(await deliveries(store_with_channel)) == ["n1.c1"]
    async with store_with_channel.begin(read_only=True) as work:
        assert await work.notifications.was_notified("asha", first.kind, "i1")
        assert not await work.notifications.was_notified("asha", first.kind, "i2")
        assert not await work.notifications.was_notified("asha", NotificationKind.SIGNAL, "i1")
        assert not await work.notifications.was_notified("ravi", first.kind, "i1")


@pytest.mark.parametrize("kind", sorted(PAGE_ONLY))
async def test_notices_about_channels_are_delivered_on_none(store, kind):
    """Even on a channel that was made to carry it."""
    await add_users(store, "asha")
    await add(store, notification(kind=kind), channels=(channel(kinds=EVERY),))

    async with store.begin() as work:
        assert await work.notifications.add_carried([notification("n2", kind=kind)]) == []
    assert await deliveries(store) == {}


async def test_an_undone_transaction_leaves_no_delivery(store_with_channel):
    """The notice and its deliveries are in one transaction with the change they report."""
    async with store_with_channel.begin() as work:
        await work.notifications.add(notification())

    assert await deliveries(store_with_channel) == {}
    assert not await claim(store_with_channel)


async def test_add_carried_stores_only_notices_that_a_channel_delivers(store_with_channel):
    """Signals are in the page anyway; existing notices are not returned again."""
    signals = [
        notification(f"n{number}", owner, kind=NotificationKind.SIGNAL, incident_id=f"i{number}")
        for number, owner in ((1, "asha"), (2, "ravi"), (3, "asha"))
    ]
    async with store_with_channel.begin() as work:
        first = await work.notifications.add_carried(signals[:2])
        second = await work.notifications.add_carried([*signals, replace(signals[0], id="n9")])
        nothing = await work.notifications.add_carried([])
        await work.commit()

    assert (first, second, nothing) == ([signals[0]], [signals[2]], [])
    assert sorted(await deliveries(store_with_channel)) == ["n1.c1", "n3.c1"]


async def test_a_channel_that_is_off_gets_no_deliveries(store_with_channel):
    """Its waiting deliveries are removed, so that turning it on sends no old notices."""
    await add(store_with_channel, notification())
    async with store_with_channel.begin() as work:
        await work.channels.update(channel(is_on=False))
        await work.commit()
    async with store_with_channel.begin() as work:
        assert await work.notifications.add_carried([notification("n2")]) == []

    assert await deliveries(store_with_channel) == {}


async def test_a_claim_holds_until_it_expires(store_with_channel):
    """After that the first server counts as stopped, and another one sends the same delivery."""
    await add(store_with_channel, notification())
    async with store_with_channel.begin(read_only=True) as work:
        assert await work.outbox.has_due(now=NOW)

    assert await claim(store_with_channel) == ["n1.c1"]
    assert await claim(store_with_channel) == []
    async with store_with_channel.begin(read_only=True) as work:
        assert not await work.outbox.has_due(now=NOW)
    assert await claim(store_with_channel, now=UNTIL, until=after(4)) == ["n1.c1"]


async def test_a_claimed_delivery_has_all_it_needs(store_with_channel):
    """Everything that sending needs, the opened address included."""
    await add(store_with_channel, notification(incident_id="i1"))
    async with store_with_channel.begin() as work:
        [taken] = await work.outbox.claim(wish(), now=NOW, until=UNTIL)

    assert taken.notification == notification(incident_id="i1")
    assert (taken.channel_id, taken.channel_kind, taken.channel_label) == (
        "c1",
        ChannelKind.WEBHOOK,
        "my hook",
    )
    assert (taken.attempts, taken.created_at, taken.health) == (0, NOW, ChannelHealth())
    assert taken.destination == destination()
    assert "canary" not in repr(taken)


async def test_nothing_is_claimed_before_it_is_due(store_with_channel):
    """Nor while its channel is paused."""
    await add(store_with_channel, notification(created_at=after(5)))
    assert await claim(store_with_channel, now=after(4)) == []

    await finish(store_with_channel, c1=ChannelHealth(failures=1, failing_since=NOW, paused_until=after(10)))
    assert await claim(store_with_channel, now=after(9)) == []
    assert await claim(store_with_channel, now=after(10)) == ["n1.c1"]


async def test_a_test_is_due_whatever_its_channel_does(store_with_channel):
    """On a paused channel, on one that is off, and without any kind."""
    paused = ChannelHealth(failures=1, failing_since=NOW, paused_until=after(10))
    await add(store_with_channel, channels=(channel("c2", is_on=False, kinds=frozenset()),))
    await finish(store_with_channel, c1=paused)
    async with store_with_channel.begin() as work:
        for channel_id in ("c1", "c2"):
            notice = notification(f"t-{channel_id}", kind=NotificationKind.TEST)
            await work.notifications.add(notice)
            await work.outbox.add(notice, channel_id)
        await work.commit()

    assert await claim(store_with_channel) == ["t-c1.c1", "t-c2.c2"]


async def test_a_test_of_a_channel_that_is_gone_is_refused(store_with_channel):
    """Its user removed it in another tab."""
    async with store_with_channel.begin() as work:
        await work.notifications.add(notification())
        with pytest.raises(NotFound):
            await work.outbox.add(notification(), "gone")


async def test_claims_alternate_between_channels(store_with_channel):
    """One with a long queue does not stand in front of the others."""
    good = ChannelHealth(last_sent_at=NOW)
    await add(store_with_channel, channels=(channel("c2"),))
    await add(store_with_channel, *(notification(f"a{number:02}") for number in range(30)))
    async with store_with_channel.begin() as work:
        await work.channels.update(channel("c2", kinds=frozenset()))
        await work.commit()
    await finish(store_with_channel, c1=good, c2=good)

    taken = await claim(store_with_channel, limit=6)
    assert sorted(one.partition(".")[2] for one in taken) == ["c1"] * 3 + ["c2"] * 3
    more = await claim(store_with_channel, limit=100, running={"c1": 3, "c2": 4})
    assert more == ["a03.c1"]


async def test_unproven_channels_get_one_attempt_each_within_their_limit(store_with_channel):
    """However many of them there are, one that works is not kept waiting."""
    await add(store_with_channel, channels=tuple(channel(f"failing{number}") for number in range(10)))
    await add(store_with_channel, *(notification(f"a{number}") for number in range(3)))
    failing = ChannelHealth(failures=3, failing_since=NOW, last_sent_at=NOW)
    await finish(store_with_channel, c1=ChannelHealth(last_sent_at=NOW), failing0=failing)

    taken = await claim(store_with_channel, limit=6, unproven_limit=2)

    channel_ids = [one.partition(".")[2] for one in taken]
    assert channel_ids.count("c1") == 3
    assert len(channel_ids) == 5
    assert len(set(channel_ids)) == 3
    busy = {channel_id: channel_ids.count(channel_id) for channel_id in channel_ids}
    assert not await claim(store_with_channel, limit=6, unproven_limit=0, running=busy)
    again = await claim(store_with_channel, limit=6, unproven_limit=6, running=busy)
    assert {one.partition(".")[2] for one in again}.isdisjoint(channel_ids)


async def test_only_the_requested_kinds_are_claimed(store_with_channel):
    """Each kind of channel has a limit of its own."""
    await add(store_with_channel, notification(), channels=(channel("c2", kind=ChannelKind.EMAIL),))

    assert await claim(store_with_channel, kinds=frozenset({ChannelKind.EMAIL})) == ["n1.c2"]
    assert await claim(store_with_channel, limit=0) == []


async def test_results_are_stored_together(store_with_channel):
    """Sent, waiting for a retry and failed, together with the health of the channel."""
    await add(store_with_channel, notification("n1"), notification("n2"), notification("n3"))
    await claim(store_with_channel)
    health = ChannelHealth(after(1), 2, after(0.5), "it did not answer in time", after(3))

    await finish(
        store_with_channel,
        result("n1.c1"),
        result("n2.c1", DeliveryState.WAITING, due_at=after(5), error="it did not answer in time"),
        result("n3.c1", DeliveryState.FAILED_PERMANENTLY, error="the server answered 400"),
        result("gone.c1"),
        c1=health,
        gone=health,
    )

    async with store_with_channel.begin(read_only=True) as work:
        found = {one.id: one for one in await work.outbox.of_user("asha")}
        [stored] = await work.channels.of_user("asha")
        aside = await work.outbox.dead_letters()
    sent, waiting, refused = found["n1.c1"], found["n2.c1"], found["n3.c1"]
    assert (sent.state, sent.attempts, sent.ended_at, sent.last_error) == (
        DeliveryState.SENT,
        1,
        after(1),
        None,
    )
    assert (waiting.state, waiting.attempts, waiting.ended_at) == (DeliveryState.WAITING, 1, None)
    assert waiting.last_error == "it did not answer in time"
    assert (refused.state, refused.ended_at) == (DeliveryState.FAILED_PERMANENTLY, after(1))
    assert stored.health == health
    assert [(one.delivery.id, one.email, one.channel_hint) for one in aside] == [
        ("n3.c1", "asha@example.com", "https://x.in/…")
    ]
    assert await claim(store_with_channel, now=after(4)) == []
    assert await claim(store_with_channel, now=after(5), until=after(9)) == ["n2.c1"]


async def test_a_finished_delivery_is_not_finished_again(store_with_channel):
    """A server that returns after its claim expired changes nothing."""
    await add(store_with_channel, notification())
    await claim(store_with_channel)
    await finish(store_with_channel, result())

    await finish(store_with_channel, result(state=DeliveryState.FAILED_PERMANENTLY, error="late"))

    assert await deliveries(store_with_channel) == {"n1.c1": DeliveryState.SENT}


async def test_a_retry_waits_for_its_moment_and_not_for_the_claim_to_expire(store_with_channel):
    """The attempt has finished, so its claim is removed."""
    await add(store_with_channel, notification())
    await claim(store_with_channel, until=after(30))
    await finish(store_with_channel, result(state=DeliveryState.WAITING, due_at=after(5), error="busy"))

    assert await claim(store_with_channel, now=after(4), until=after(34)) == []
    assert await claim(store_with_channel, now=after(5), until=after(35)) == ["n1.c1"]


async def test_a_failed_delivery_is_retried_or_discarded(store_with_channel):
    """At once and as if new; a delivery that has not failed is neither."""
    await add(store_with_channel, notification("n1"), notification("n2"), notification("n3"))
    paused = ChannelHealth(failures=4, failing_since=NOW, paused_until=after(60))
    aside = DeliveryState.FAILED_PERMANENTLY
    await finish(
        store_with_channel, result("n1.c1", aside, error="no"), result("n2.c1", aside, error="no"), c1=paused
    )

    async with store_with_channel.begin() as work:
        assert await work.outbox.retry("n1.c1", now=after(10))
        assert not await work.outbox.retry("n1.c1", now=after(10))
        assert await work.outbox.discard("n2.c1")
        assert not await work.outbox.discard("n2.c1")
        assert not await work.outbox.discard("n3.c1")
        await work.commit()

    assert await deliveries(store_with_channel) == {
        "n1.c1": DeliveryState.WAITING,
        "n3.c1": DeliveryState.WAITING,
    }
    assert await claim(store_with_channel, now=after(10), until=after(12)) == ["n3.c1"]
    await finish(store_with_channel, result("n3.c1"), c1=ChannelHealth(last_sent_at=after(10)))
    async with store_with_channel.begin() as work:
        (again,) = await work.outbox.claim(wish(), now=after(10), until=after(12))
    assert (again.id, again.attempts, again.created_at) == ("n1.c1", 0, after(10))


async def test_a_failed_test_is_not_a_dead_letter(store_with_channel):
    """Only its own user sees that it failed."""
    notice = notification(kind=NotificationKind.TEST)
    async with store_with_channel.begin() as work:
        await work.notifications.add(notice)
        await work.outbox.add(notice, "c1")
        await work.outbox.finish([result(state=DeliveryState.FAILED_PERMANENTLY, error="no")], {})
        await work.commit()

    async with store_with_channel.begin(read_only=True) as work:
        assert await work.outbox.dead_letters() == []


async def test_old_lines_are_removed_and_live_ones_stay(store_with_channel):
    """In batches; a notice that waits on a channel, or has failed, stays whatever its age."""
    names = ("sent", "aside", "waiting", "unread", "young")
    await add(
        store_with_channel,
        *(notification(name) for name in names[:4]),
        notification("young", created_at=after(50)),
    )
    await finish(
        store_with_channel,
        result("sent.c1"),
        result("aside.c1", DeliveryState.FAILED_PERMANENTLY, error="no", at=after(40)),
        result("unread.c1"),
        result("young.c1", at=after(50)),
    )
    async with store_with_channel.begin() as work:
        for name in ("sent", "aside", "waiting", "young"):
            await work.notifications.mark_read("asha", name, at=after(2))
        first = await work.outbox.purge(sent_before=after(30), others_before=after(30), limit=1)
        second = await work.outbox.purge(sent_before=after(30), others_before=after(30), limit=9)
        third = await work.outbox.purge(sent_before=after(30), others_before=after(30), limit=9)
        await work.commit()

    assert (first, second, third) == (2, 1, 0)
    assert sorted(await deliveries(store_with_channel)) == ["aside.c1", "waiting.c1", "young.c1"]
    async with store_with_channel.begin(read_only=True) as work:
        assert {one.id for one in await work.notifications.of_user("asha")} == set(names) - {"sent"}


async def test_the_sender_is_woken_by_new_deliveries(store_with_channel):
    """After the commit, and only where there is something to send."""
    wakes: list[str] = []
    store_with_channel.on_deliveries(lambda: wakes.append("woken"))

    await add(store_with_channel, notification(user_id="ravi"))
    async with store_with_channel.begin() as work:
        await work.notifications.add(notification("lost"))
    assert wakes == []
    await add(store_with_channel, notification("n2"))
    assert wakes == ["woken"]


async def test_channels_are_counted_one_after_the_other(store_with_channel):
    """Two requests at the same moment cannot both find the count below the limit."""
    added = []

    async def add_the_first(name: str) -> None:
        async with store_with_channel.begin() as work:
            await work.channels.lock("ravi")
            if not await work.channels.of_user("ravi"):
                await work.channels.add(channel(name, "ravi"), destination())
                added.append(name)
                await work.commit()

    await asyncio.gather(*(add_the_first(f"c{number}") for number in range(2, 6)))

    assert len(added) == 1


async def test_two_servers_never_claim_the_same(database):
    """However they overlap."""
    stores = [database.open() for _ in range(4)]
    await add_users(stores[0], "asha")
    await add(stores[0], channels=(channel(),))
    await finish(stores[0], c1=ChannelHealth(last_sent_at=NOW))
    await add(stores[0], *(notification(f"n{number}") for number in range(40)))

    async def take(store) -> list[str]:
        return [one for _ in range(6) for one in await claim(store, limit=7, per_channel=7)]

    taken = [one for own in await asyncio.gather(*map(take, stores)) for one in own]

    assert len(taken) == len(set(taken))
    assert len(set(taken)) >= 30


async def test_a_channel_removed_in_the_same_moment_undoes_nothing(database):
    """The change that a notice reports is stored even if its channel is removed at the same moment."""
    first, second = database.open(), database.open()
    await add_users(first, "asha")
    for number in range(20):
        await add(first, channels=(channel(f"c{number}"),))

        async def remove(number: int = number) -> None:
            async with second.begin() as work:
                await work.channels.remove("asha", f"c{number}")
                await asyncio.sleep(0)
                await work.commit()

        await asyncio.gather(remove(), add(first, notification(f"n{number}")))

    async with first.begin(read_only=True) as work:
        assert len(await work.notifications.of_user("asha")) == 20


async def test_addresses_of_channels_are_stored_encrypted(database):
    """No column holds it in plain, and with other keys it does not open."""
    store = database.open()
    await add_users(store, "asha")
    await add(store, notification(), channels=(channel(),))

    async with opened(database.url, read_only=True) as connection:
        rows = repr((await connection.execute(text("SELECT * FROM channels"))).all())
    assert "canary" not in rows

    database.cipher = Cipher(FixedKeys([EncryptionKey.make()]))
    async with database.open().begin() as work:
        [taken] = await work.outbox.claim(wish(), now=NOW, until=UNTIL)
    assert taken.destination is None


async def test_where_channels_lead_survives_a_change_of_keys(database):
    """Address and signing secret are encrypted again, and the old key decrypts neither."""
    old, new = EncryptionKey.make(), EncryptionKey.make()
    database.cipher = Cipher(FixedKeys([old]))
    store = database.open()
    await add_users(store, "asha")
    await add(store, notification(), channels=(channel(),))

    assert (await rotate(database.url, FixedKeys([new, old]))).rewritten == 2

    database.cipher = Cipher(FixedKeys([new]))
    async with database.open().begin() as work:
        [taken] = await work.outbox.claim(wish(), now=NOW, until=UNTIL)
    assert taken.destination == destination()


async def test_a_channel_without_signing_secret_has_none(store):
    """Only webhooks sign."""
    await add_users(store, "asha")
    mail = Destination(ChannelKind.EMAIL, destination().address)
    async with store.begin() as work:
        await work.channels.add(channel(kind=ChannelKind.EMAIL), mail)
        await work.notifications.add(notification())
        [taken] = await work.outbox.claim(wish(), now=NOW, until=UNTIL)

    assert taken.destination == mail
