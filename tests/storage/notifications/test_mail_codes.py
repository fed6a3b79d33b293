"""Mailed codes and confirmed addresses, the same in memory, on SQLite and on PostgreSQL."""

from dataclasses import replace

import pytest

from hullwatch.domain.failures import NotFound
from hullwatch.domain.notifications.channels import AddressProof, ChannelAddress, ClaimLimits
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from storage.samples import NOW, add_users, after, channel, destination, mail_code, notification


@pytest.fixture
async def store_with_mail(store):
    """Return a store with two users, of whom one has an e-mail channel that is not confirmed."""
    await add_users(store, "asha", "ravi")
    async with store.begin() as work:
        await work.channels.add(
            channel(kind=ChannelKind.EMAIL, proof=None), destination(kind=ChannelKind.EMAIL)
        )
        await work.commit()
    return store


async def claimed(store) -> list[str]:
    """Return the deliveries that can be claimed."""
    wish = ClaimLimits(frozenset(ChannelKind), limit=9, unproven_limit=9, per_channel=9, running={})
    async with store.begin() as work:
        return [one.id for one in await work.outbox.claim(wish, now=after(1), until=after(2))]


async def test_an_unconfirmed_address_is_sent_nothing(store_with_mail):
    """No way of storing a notice creates a delivery, and one that exists is not claimed."""
    signal = notification("n2", kind=NotificationKind.SIGNAL)
    async with store_with_mail.begin() as work:
        assert await work.notifications.add(notification())
        assert await work.notifications.add_carried([signal]) == []
        assert await work.notifications.users_wanting(NotificationKind.SIGNAL) == set()
        assert await work.outbox.of_user("asha") == []
        await work.outbox.add(notification(), "c1")
        await work.commit()
    assert await claimed(store_with_mail) == []

    async with store_with_mail.begin() as work:
        await work.channels.confirm("c1")
        assert await work.notifications.users_wanting(NotificationKind.SIGNAL) == {"asha"}
        assert await work.notifications.add_carried([signal]) == [signal]
        await work.commit()
    assert await claimed(store_with_mail) == ["n1.c1"]


async def test_a_confirmed_address_is_found(store_with_mail):
    """Only of its user, and not one that an earlier delivery alone confirms."""
    delivered = channel("c0", kind=ChannelKind.EMAIL, proof=AddressProof.DELIVERY, created_at=after(-1))
    async with store_with_mail.begin() as work:
        await work.channels.add(delivered, destination(kind=ChannelKind.EMAIL))
        await work.channels.add(channel("c2"), destination())
        assert await work.channels.confirmed_addresses("asha") == []
        await work.channels.confirm("c1")
        await work.commit()

    async with store_with_mail.begin(read_only=True) as work:
        assert await work.channels.get("asha", "c0") == delivered
        assert (await work.channels.get("asha", "c1")).proof is AddressProof.CODE
        addresses = await work.channels.confirmed_addresses("asha")
        assert addresses == [ChannelAddress(destination().address.reveal())]
        assert await work.channels.confirmed_addresses("ravi") == []
        assert await work.channels.destination("asha", "c2") == destination()
        assert await work.channels.destination("ravi", "c2") is None


async def test_codes_are_counted_by_recipient_and_by_user(store_with_mail):
    """They outlive their channel; the moment itself at the start of the day is not counted."""
    codes = (
        mail_code(),
        mail_code("m2", sent_at=after(1)),
        mail_code("m3", "ravi", sent_at=after(2), channel_id="c9"),
        mail_code("m4", sent_at=after(3), recipient_hash="other"),
    )
    async with store_with_mail.begin() as work:
        await work.mail_codes.lock()
        for code in codes:
            await work.mail_codes.add(code)
        await work.channels.remove("asha", "c1")
        await work.commit()

    async with store_with_mail.begin() as work:
        assert sorted(await work.mail_codes.sent_to("recipient-hash", since=NOW)) == [after(1), after(2)]
        assert sorted(await work.mail_codes.sent_by("asha", since=NOW)) == [after(1), after(3)]
        assert await work.mail_codes.newest_of("c9") == codes[2]
        await work.mail_codes.purge(before=after(2))
        assert await work.mail_codes.sent_to("recipient-hash", since=after(-9)) == [after(2)]
        await work.users.remove("ravi")
        assert await work.mail_codes.newest_of("c9") is None


async def test_the_newest_code_counts_wrong_ones(store_with_mail):
    """A removed code leaves the one before it; a removed user has no code."""
    async with store_with_mail.begin() as work:
        await work.mail_codes.add(mail_code())
        await work.mail_codes.add(mail_code("m2", sent_at=after(1)))
        for _ in range(2):
            await work.mail_codes.count_wrong("m2")
        assert await work.mail_codes.newest_of("c1") == replace(
            mail_code("m2", sent_at=after(1)), wrong_codes=2
        )
        await work.mail_codes.remove("m2")
        assert await work.mail_codes.newest_of("c1") == mail_code()
    with pytest.raises(NotFound):
        async with store_with_mail.begin() as work:
            await work.mail_codes.add(mail_code("m3", "ghost"))
