"""Channels and the outbox, the same in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import text

from hullwatch.domain.failures import NotFound
from hullwatch.domain.notifications.channels import (
    Channel,
    ChannelHealth,
    ClaimWish,
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


def wish(**changes) -> ClaimWish:
    """Return the wish of a server that has nothing under way."""
    return replace(ClaimWish(ALL, room=100, unproven_room=100, per_channel=4, under_way={}), **changes)


def result(delivery_id: str = "n1.c1", state=DeliveryState.SENT, **changes) -> DeliveryResult:
    """Return how an attempt ended."""
    return replace(DeliveryResult(delivery_id, state, at=after(1), due_at=after(1)), **changes)


async def claim(store, *, now=NOW, until=UNTIL, **changes) -> list[str]:
    """Claim, and return which deliveries."""
    async with store.begin() as work:
        taken = await work.outbox.claim(wish(**changes), now=now, until=until)
        await work.commit()
    return [one.id for one in taken]


async def finish(store, *results, **healths) -> None:
    """Store how attempts ended."""
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
    """Return a user's deliveries and how they stand."""
    async with store.begin(read_only=True) as work:
        return {one.id: one.state for one in await work.outbox.of_user(user_id)}


@pytest.fixture
async def house(store):
    """Return a store with two users, of whom one has a channel."""
    await add_users(store, "asha", "ravi")
    await add(store, channels=(channel(),))
    return store


async def test_a_channel_comes_back_as_stored(house):
    """To its owner only, oldest first."""
    other = channel("c0", kinds=frozenset(), is_on=False, created_at=after(1), label="later")
    await add(house, channels=(other, channel("c9", "ravi")))

    async with house.begin(read_only=True) as work:
        assert await work.channels.of_user("asha") == [channel(), other]
        assert await work.channels.get("asha", "c1") == channel()
        assert await work.channels.get("ravi", "c1") is None
        assert await work.channels.get("asha", "none") is None


async def test_a_channel_of_nobody_is_refused(house):
    """A user who was removed meanwhile gets none."""
    async with house.begin() as work:
        with pytest.raises(NotFound):
            await work.channels.add(channel("c2", "ghost"), destination())


async def test_a_channel_changes_its_label_kinds_and_switch(house):
    """Nothing else, and nobody else's."""
    changed = channel(label="new", kinds=frozenset({NotificationKind.NOT_READY}), is_on=False)
    async with house.begin() as work:
        await work.channels.update(replace(changed, hint="other", kind=ChannelKind.EMAIL))
        await work.channels.update(channel(user_id="ravi", label="stolen"))
        await work.commit()

    async with house.begin(read_only=True) as work:
        assert await work.channels.of_user("asha") == [changed]


async def test_a_channel_goes_with_its_deliveries(house):
    """And only its owner removes it."""
    await add(house, notification())
    async with house.begin() as work:
        assert not await work.channels.remove("ravi", "c1")
        assert await work.channels.remove("asha", "c1")
        assert not await work.channels.remove("asha", "c1")
        await work.commit()

    assert await deliveries(house) == {}


async def test_a_user_goes_with_channels_and_outbox(house):
    """Nothing is sent for somebody who has left."""
    await add(house, notification())
    async with house.begin() as work:
        await work.users.remove("asha")
        await work.commit()

    assert await claim(house) == []


async def test_a_notice_enters_the_outbox_once_for_each_channel_that_carries_it(house):
    """Which is on, belongs to its user, and was there before it."""
    await add(
        house,
        notification(),
        channels=(
            channel("c2", kind=ChannelKind.EMAIL),
            channel("off", is_on=False),
            channel("other", kinds=frozenset({NotificationKind.SIGNAL})),
            channel("his", "ravi"),
        ),
    )
    await add(house, channels=(channel("later"),))

    assert await deliveries(house) == {"n1.c1": DeliveryState.WAITING, "n1.c2": DeliveryState.WAITING}
    assert await deliveries(house, "ravi") == {}


async def test_an_incident_enters_the_outbox_once(house):
    """However often it is told."""
    first, again = notification(incident_id="i1"), notification("n2", incident_id="i1")
    await add(house, first, again)

    assert list(await deliveries(house)) == ["n1.c1"]
    async with house.begin(read_only=True) as work:
        assert await work.notifications.was_notified("asha", first.kind, "i1")
        assert not await work.notifications.was_notified("asha", first.kind, "i2")
        assert not await work.notifications.was_notified("asha", NotificationKind.SIGNAL, "i1")
        assert not await work.notifications.was_notified("ravi", first.kind, "i1")


@pytest.mark.parametrize("kind", sorted(PAGE_ONLY))
async def test_what_is_told_of_channels_travels_on_none(store, kind):
    """Even on a channel that was made to carry it."""
    await add_users(store, "asha")
    await add(store, notification(kind=kind), channels=(channel(kinds=EVERY),))

    async with store.begin() as work:
        assert await work.notifications.add_carried([notification("n2", kind=kind)]) == []
    assert await deliveries(store) == {}


async def test_what_is_undone_leaves_nothing_in_the_outbox(house):
    """The notice and its deliveries are in one transaction with the change they tell of."""
    async with house.begin() as work:
        await work.notifications.add(notification())

    assert await deliveries(house) == {}
    assert not await claim(house)


async def test_notices_that_nobody_carries_are_not_stored_where_that_is_asked(house):
    """Signals are in the page anyway; those that exist already are not told again."""
    signals = [
        notification(f"n{number}", owner, kind=NotificationKind.SIGNAL, incident_id=f"i{number}")
        for number, owner in ((1, "asha"), (2, "ravi"), (3, "asha"))
    ]
    async with house.begin() as work:
        first = await work.notifications.add_carried(signals[:2])
        second = await work.notifications.add_carried([*signals, replace(signals[0], id="n9")])
        nothing = await work.notifications.add_carried([])
        await work.commit()

    assert (first, second, nothing) == ([signals[0]], [signals[2]], [])
    assert sorted(await deliveries(house)) == ["n1.c1", "n3.c1"]


async def test_a_channel_that_is_off_carries_nothing(house):
    """Nor does it keep what waited for it: turned on again, it does not tell of yesterday."""
    await add(house, notification())
    async with house.begin() as work:
        await work.channels.update(channel(is_on=False))
        await work.commit()
    async with house.begin() as work:
        assert await work.notifications.add_carried([notification("n2")]) == []

    assert await deliveries(house) == {}


async def test_a_claim_holds_until_it_runs_out(house):
    """Then the server that made it has died, and another one sends the same delivery."""
    await add(house, notification())
    async with house.begin(read_only=True) as work:
        assert await work.outbox.has_due(now=NOW)

    assert await claim(house) == ["n1.c1"]
    assert await claim(house) == []
    async with house.begin(read_only=True) as work:
        assert not await work.outbox.has_due(now=NOW)
    assert await claim(house, now=UNTIL, until=after(4)) == ["n1.c1"]


async def test_what_is_claimed_is_whole(house):
    """Everything that sending needs, the opened address included."""
    await add(house, notification(incident_id="i1"))
    async with house.begin() as work:
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


async def test_nothing_is_claimed_before_it_is_due(house):
    """Nor while its channel is paused."""
    await add(house, notification(created_at=after(5)))
    assert await claim(house, now=after(4)) == []

    await finish(house, c1=ChannelHealth(failures=1, failing_since=NOW, paused_until=after(10)))
    assert await claim(house, now=after(9)) == []
    assert await claim(house, now=after(10)) == ["n1.c1"]


async def test_a_test_is_due_whatever_its_channel_does(house):
    """On a paused channel, on one that is off, and without any kind."""
    paused = ChannelHealth(failures=1, failing_since=NOW, paused_until=after(10))
    await add(house, channels=(channel("c2", is_on=False, kinds=frozenset()),))
    await finish(house, c1=paused)
    async with house.begin() as work:
        for channel_id in ("c1", "c2"):
            notice = notification(f"t-{channel_id}", kind=NotificationKind.TEST)
            await work.notifications.add(notice)
            await work.outbox.add(notice, channel_id)
        await work.commit()

    assert await claim(house) == ["t-c1.c1", "t-c2.c2"]


async def test_a_test_of_a_channel_that_is_gone_is_refused(house):
    """Its user removed it in another tab."""
    async with house.begin() as work:
        await work.notifications.add(notification())
        with pytest.raises(NotFound):
            await work.outbox.add(notification(), "gone")


async def test_channels_take_turns(house):
    """One with a long queue does not stand in front of the others."""
    good = ChannelHealth(last_sent_at=NOW)
    await add(house, channels=(channel("c2"),))
    await add(house, *(notification(f"a{number:02}") for number in range(30)))
    async with house.begin() as work:
        await work.channels.update(channel("c2", kinds=frozenset()))
        await work.commit()
    await finish(house, c1=good, c2=good)

    taken = await claim(house, room=6)
    assert sorted(one.partition(".")[2] for one in taken) == ["c1"] * 3 + ["c2"] * 3
    more = await claim(house, room=100, under_way={"c1": 3, "c2": 4})
    assert more == ["a03.c1"]


async def test_channels_that_may_hang_get_one_attempt_each_and_no_more_than_their_room(house):
    """However many of them there are, one that works is not kept waiting."""
    await add(house, channels=tuple(channel(f"dead{number}") for number in range(10)))
    await add(house, *(notification(f"a{number}") for number in range(3)))
    failing = ChannelHealth(failures=3, failing_since=NOW, last_sent_at=NOW)
    await finish(house, c1=ChannelHealth(last_sent_at=NOW), dead0=failing)

    taken = await claim(house, room=6, unproven_room=2)

    lanes = [one.partition(".")[2] for one in taken]
    assert lanes.count("c1") == 3
    assert len(lanes) == 5
    assert len(set(lanes)) == 3
    busy = {lane: lanes.count(lane) for lane in lanes}
    assert not await claim(house, room=6, unproven_room=0, under_way=busy)
    again = await claim(house, room=6, unproven_room=6, under_way=busy)
    assert {one.partition(".")[2] for one in again}.isdisjoint(lanes)


async def test_only_the_kinds_asked_for_are_claimed(house):
    """Each kind of channel has room of its own."""
    await add(house, notification(), channels=(channel("c2", kind=ChannelKind.EMAIL),))

    assert await claim(house, kinds=frozenset({ChannelKind.EMAIL})) == ["n1.c2"]
    assert await claim(house, room=0) == []


async def test_results_are_stored_together(house):
    """Sent, to be tried again, and set aside, with how the channel does."""
    await add(house, notification("n1"), notification("n2"), notification("n3"))
    await claim(house)
    health = ChannelHealth(after(1), 2, after(0.5), "it did not answer in time", after(3))

    await finish(
        house,
        result("n1.c1"),
        result("n2.c1", DeliveryState.WAITING, due_at=after(5), error="it did not answer in time"),
        result("n3.c1", DeliveryState.FAILED_PERMANENTLY, error="the server answered 400"),
        result("gone.c1"),
        c1=health,
        gone=health,
    )

    async with house.begin(read_only=True) as work:
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
    assert await claim(house, now=after(4)) == []
    assert await claim(house, now=after(5), until=after(9)) == ["n2.c1"]


async def test_what_has_ended_does_not_end_again(house):
    """A server that was thought dead and comes back changes nothing."""
    await add(house, notification())
    await claim(house)
    await finish(house, result())

    await finish(house, result(state=DeliveryState.FAILED_PERMANENTLY, error="late"))

    assert await deliveries(house) == {"n1.c1": DeliveryState.SENT}


async def test_one_that_is_to_be_tried_again_waits_for_its_moment_and_not_for_the_end_of_its_claim(house):
    """The attempt has ended, so nobody has it any more."""
    await add(house, notification())
    await claim(house, until=after(30))
    await finish(house, result(state=DeliveryState.WAITING, due_at=after(5), error="busy"))

    assert await claim(house, now=after(4), until=after(34)) == []
    assert await claim(house, now=after(5), until=after(35)) == ["n1.c1"]


async def test_a_set_aside_notice_is_tried_again_or_discarded(house):
    """As if new, and at once; what was not set aside is neither."""
    await add(house, notification("n1"), notification("n2"), notification("n3"))
    paused = ChannelHealth(failures=4, failing_since=NOW, paused_until=after(60))
    aside = DeliveryState.FAILED_PERMANENTLY
    await finish(house, result("n1.c1", aside, error="no"), result("n2.c1", aside, error="no"), c1=paused)

    async with house.begin() as work:
        assert await work.outbox.retry("n1.c1", now=after(10))
        assert not await work.outbox.retry("n1.c1", now=after(10))
        assert await work.outbox.discard("n2.c1")
        assert not await work.outbox.discard("n2.c1")
        assert not await work.outbox.discard("n3.c1")
        await work.commit()

    assert await deliveries(house) == {"n1.c1": DeliveryState.WAITING, "n3.c1": DeliveryState.WAITING}
    assert await claim(house, now=after(10), until=after(12)) == ["n3.c1"]
    await finish(house, result("n3.c1"), c1=ChannelHealth(last_sent_at=after(10)))
    async with house.begin() as work:
        (again,) = await work.outbox.claim(wish(), now=after(10), until=after(12))
    assert (again.id, again.attempts, again.created_at) == ("n1.c1", 0, after(10))


async def test_a_test_is_no_operators_business(house):
    """One that failed is not among what was set aside."""
    notice = notification(kind=NotificationKind.TEST)
    async with house.begin() as work:
        await work.notifications.add(notice)
        await work.outbox.add(notice, "c1")
        await work.outbox.finish([result(state=DeliveryState.FAILED_PERMANENTLY, error="no")], {})
        await work.commit()

    async with house.begin(read_only=True) as work:
        assert await work.outbox.dead_letters() == []


async def test_old_lines_are_removed_and_live_ones_stay(house):
    """In batches; a notice that waits on a channel, or was set aside, stays however old and read it is."""
    names = ("sent", "aside", "waiting", "unread", "young")
    await add(house, *(notification(name) for name in names[:4]), notification("young", created_at=after(50)))
    await finish(
        house,
        result("sent.c1"),
        result("aside.c1", DeliveryState.FAILED_PERMANENTLY, error="no", at=after(40)),
        result("unread.c1"),
        result("young.c1", at=after(50)),
    )
    async with house.begin() as work:
        for name in ("sent", "aside", "waiting", "young"):
            await work.notifications.mark_read("asha", name, at=after(2))
        first = await work.outbox.purge(sent_before=after(30), others_before=after(30), limit=1)
        second = await work.outbox.purge(sent_before=after(30), others_before=after(30), limit=9)
        third = await work.outbox.purge(sent_before=after(30), others_before=after(30), limit=9)
        await work.commit()

    assert (first, second, third) == (2, 1, 0)
    assert sorted(await deliveries(house)) == ["aside.c1", "waiting.c1", "young.c1"]
    async with house.begin(read_only=True) as work:
        assert {one.id for one in await work.notifications.of_user("asha")} == set(names) - {"sent"}


async def test_whoever_sends_is_told_of_new_deliveries(house):
    """After the commit, and only where there is something to send."""
    told: list[str] = []
    house.on_deliveries(lambda: told.append("told"))

    await add(house, notification(user_id="ravi"))
    async with house.begin() as work:
        await work.notifications.add(notification("lost"))
    assert told == []
    await add(house, notification("n2"))
    assert told == ["told"]


async def test_channels_are_counted_one_after_the_other(house):
    """Two requests at the same moment cannot both find room for one more."""
    added = []

    async def add_if_room(name: str) -> None:
        async with house.begin() as work:
            await work.channels.lock("ravi")
            if not await work.channels.of_user("ravi"):
                await work.channels.add(channel(name, "ravi"), destination())
                added.append(name)
                await work.commit()

    await asyncio.gather(*(add_if_room(f"c{number}") for number in range(2, 6)))

    assert len(added) == 1


async def test_two_servers_never_claim_the_same(database):
    """However they overlap."""
    stores = [database.open() for _ in range(4)]
    await add_users(stores[0], "asha")
    await add(stores[0], channels=(channel(),))
    await finish(stores[0], c1=ChannelHealth(last_sent_at=NOW))
    await add(stores[0], *(notification(f"n{number}") for number in range(40)))

    async def take(store) -> list[str]:
        return [one for _ in range(6) for one in await claim(store, room=7, per_channel=7)]

    taken = [one for own in await asyncio.gather(*map(take, stores)) for one in own]

    assert len(taken) == len(set(taken))
    assert len(set(taken)) >= 30


async def test_a_channel_removed_in_the_same_moment_undoes_nothing(database):
    """The change that a notice tells of is stored whatever happens to its user's channels."""
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


async def test_where_channels_lead_lies_sealed(database):
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
    """Address and signing secret are sealed anew, and the old key opens nothing any more."""
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
