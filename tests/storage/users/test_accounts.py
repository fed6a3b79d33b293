"""Users and logins, the same in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from hullwatch.domain.failures import AlreadyExists, InvalidInput, NotFound
from hullwatch.domain.monitoring.watches import MonitoringWish
from hullwatch.domain.secrets import AccessToken, AppSecret, Pin
from hullwatch.domain.users.accounts import FyersApp, Role, ValidLogins
from storage.samples import (
    NOW,
    add_users,
    after,
    api_token,
    audit_entry,
    connected,
    notification,
    pending,
    signal,
    user,
    watch,
)


async def test_a_user_comes_back_as_stored(store):
    """By id and by e-mail address, with the password hash, to the microsecond and in UTC."""
    in_india = user(created_at=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))
    async with store.begin() as work:
        await work.users.add(in_india, "argon2-hash")
        await work.commit()

    async with store.begin() as work:
        assert await work.users.get("asha") == user()
        assert (await work.users.get("asha")).created_at.utcoffset() == timedelta(0)
        assert await work.users.by_email("asha@example.com") == (user(), "argon2-hash")
        assert await work.users.password_hash("asha") == "argon2-hash"
        assert await work.users.get("nobody") is None
        assert await work.users.by_email("nobody@example.com") is None
        assert await work.users.password_hash("nobody") is None


async def test_an_email_address_belongs_to_one_user(store):
    """The second is refused, and the transaction is still good for other things."""
    await add_users(store, "asha")

    async with store.begin() as work:
        with pytest.raises(AlreadyExists):
            await work.users.add(user("ravi", email="asha@example.com"), "hash")
        await work.users.add(user("mala"), "hash")
        await work.commit()

    async with store.begin() as work:
        assert [found.id for found in await work.users.list_all()] == ["asha", "mala"]
        assert await work.users.count() == 2


async def test_users_are_listed_oldest_first(store):
    """Whatever the order in which they were stored."""
    async with store.begin() as work:
        await work.users.add(user("young", created_at=after(5)), "hash")
        await work.users.add(user("old"), "hash")

        assert [found.id for found in await work.users.list_all()] == ["old", "young"]


async def test_a_user_can_be_changed(store):
    """Role, name and password hash, and only of that user."""
    await add_users(store, "asha", "ravi")

    async with store.begin() as work:
        await work.users.set_role("asha", Role.ADMIN)
        await work.users.set_full_name("asha", "Asha Rao")
        await work.users.set_password_hash("asha", "other-hash")
        await work.users.set_role("nobody", Role.ADMIN)

        assert await work.users.get("asha") == user(role=Role.ADMIN, full_name="Asha Rao")
        assert await work.users.password_hash("asha") == "other-hash"
        assert await work.users.get("ravi") == user("ravi")
        assert await work.users.password_hash("ravi") == "argon2-hash"


async def test_a_removed_user_takes_everything_along_but_the_audit_trail(store):
    """Nothing of the user's own is left; other users keep theirs."""
    await add_users(store, "asha", "ravi")
    async with store.begin() as work:
        for owner in ("asha", "ravi"):
            await work.logins.add_browser(f"cookie-{owner}", owner, created_at=NOW, expires_at=after(9))
            await work.logins.add_token(api_token(f"t-{owner}", owner), f"hash-{owner}")
            await work.connections.save_login(connected(owner), AccessToken("token"))
            await work.connections.put_app(
                owner, FyersApp("ABCD1234XY-100", AppSecret("secret"), "http://x/")
            )
            await work.connections.add_pending(f"state-{owner}", pending(owner))
            await work.renewals.opt_in(owner, Pin("739146"), at=NOW)
            await work.watches.add(watch(f"w-{owner}", owner))
            await work.watches.put_wish(MonitoringWish(owner, is_wanted=True, changed_at=NOW))
            await work.watches.add_signals([signal(0, f"w-{owner}", owner)])
            await work.notifications.add(notification(f"n-{owner}", owner))
            await work.audit.add([audit_entry(user_id=owner)])
        await work.users.remove("asha")
        await work.commit()

    async with store.begin() as work:
        for owner, count in (("asha", 0), ("ravi", 1)):
            assert (await work.users.get(owner) is not None) == bool(count)
            assert (await work.logins.browser_user(f"cookie-{owner}", now=NOW) is not None) == bool(count)
            assert len(await work.logins.tokens_of(owner)) == count
            assert (await work.connections.get(owner) is not None) == bool(count)
            assert (await work.connections.token(owner, 1) is not None) == bool(count)
            assert (await work.connections.app(owner) is not None) == bool(count)
            assert (await work.connections.take_pending(f"state-{owner}") is not None) == bool(count)
            assert (await work.renewals.get(owner) is not None) == bool(count)
            assert len(await work.watches.of_user(owner)) == count
            assert (await work.watches.wish(owner) is not None) == bool(count)
            assert len(await work.watches.signals(owner)) == count
            assert len(await work.notifications.of_user(owner)) == count
            assert len(await work.audit.entries(user_id=owner)) == 1


async def test_two_first_registrations_give_one_admin(store):
    """The lock lets the second see the first."""

    async def register(user_id):
        async with store.begin() as work:
            await work.users.lock_registration()
            role = Role.TRADER if await work.users.count() else Role.ADMIN
            await work.users.add(user(user_id, role=role), "hash")
            await work.commit()

    await asyncio.gather(*(register(f"user{number}") for number in range(4)))

    async with store.begin() as work:
        roles = [found.role for found in await work.users.list_all()]
    assert sorted(roles) == [Role.ADMIN, Role.TRADER, Role.TRADER, Role.TRADER]


async def test_a_browser_login_ends_with_its_time(store):
    """It names its user until it expires, is removed, or all of the user's are."""
    await add_users(store, "asha")
    async with store.begin() as work:
        for name in ("one", "two", "three"):
            await work.logins.add_browser(name, "asha", created_at=NOW, expires_at=after(10))

        assert await work.logins.browser_user("one", now=after(9.999)) == "asha"
        assert await work.logins.browser_user("one", now=after(10)) is None
        assert await work.logins.browser_user("unknown", now=NOW) is None

        await work.logins.remove_browser("one")
        assert await work.logins.browser_user("one", now=NOW) is None
        assert await work.logins.browser_user("two", now=NOW) == "asha"

        await work.logins.remove_browsers_of("asha")
        assert await work.logins.browser_user("three", now=NOW) is None


async def test_a_purge_removes_what_has_expired_and_nothing_else(store):
    """Browser logins and pending logins alike."""
    await add_users(store, "asha")
    async with store.begin() as work:
        for name, minutes in (("old", 1), ("new", 3)):
            await work.logins.add_browser(name, "asha", created_at=NOW, expires_at=after(minutes))
            await work.connections.add_pending(name, pending(expires_at=after(minutes)))

        await work.logins.purge(now=after(2))

        assert await work.logins.browser_user("old", now=NOW) is None
        assert await work.logins.browser_user("new", now=NOW) == "asha"
        assert await work.connections.take_pending("old") is None
        assert await work.connections.take_pending("new") == pending(expires_at=after(3))


async def test_api_tokens_belong_to_their_user(store):
    """They are found by hash, listed oldest first, and removed by their owner only."""
    await add_users(store, "asha", "ravi")
    newer = api_token("t2", name="server", created_at=after(1))
    async with store.begin() as work:
        await work.logins.add_token(newer, "hash-2")
        await work.logins.add_token(api_token(), "hash-1")
        await work.logins.touch_token("t1", used_at=after(3))

        used = replace(api_token(), last_used_at=after(3))
        assert await work.logins.token_by_hash("hash-1") == used
        assert await work.logins.token_by_hash("hash-9") is None
        assert await work.logins.tokens_of("asha") == [used, newer]
        assert await work.logins.tokens_of("ravi") == []

        assert not await work.logins.remove_token("ravi", "t1")
        assert await work.logins.remove_token("asha", "t1")
        assert not await work.logins.remove_token("asha", "t1")
        assert await work.logins.tokens_of("asha") == [newer]


async def test_one_hash_is_one_api_token(store):
    """A second token of the same hash is refused."""
    await add_users(store, "asha")
    async with store.begin() as work:
        await work.logins.add_token(api_token(), "hash")

        with pytest.raises(AlreadyExists):
            await work.logins.add_token(api_token("t2"), "hash")


async def test_a_login_needs_a_user(store):
    """Nothing is stored for someone who does not exist."""
    async with store.begin() as work:
        with pytest.raises(NotFound):
            await work.logins.add_browser("cookie", "nobody", created_at=NOW, expires_at=after(1))


@pytest.mark.parametrize(
    "name", ["a\x00b", "half \ud800 pair", "x" * 1_000_000], ids=["nul", "surrogate", "huge"]
)
async def test_text_that_no_database_takes_is_refused(store, name):
    """Before anything is sent, so that the input is refused and the database is not blamed."""
    async with store.begin() as work:
        with pytest.raises(InvalidInput):
            await work.users.add(user(full_name=name), "hash")
        with pytest.raises(InvalidInput):
            await work.users.by_email(name)


@pytest.mark.parametrize(
    "name",
    [
        "'; DROP TABLE users; --",
        "%s %(name)s :name ?",
        "தமிழ் 🂡",
        "\u202egnirts",
        "\\x00",
        "\ufffd\uffff",
        "\t\n\r ",
    ],
)
async def test_hostile_text_comes_back_unchanged(store, name):
    """Whatever it looks like to SQL, drivers or terminals."""
    async with store.begin() as work:
        await work.users.add(user(full_name=name), "hash")

        assert (await work.users.get("asha")).full_name == name


async def test_valid_logins_are_those_that_can_be_used_now(store):
    """With the role of the user; expired ones and other users are left out."""
    await add_users(store, "asha", "biren")
    async with store.begin() as work:
        for value, owner, end in (
            ("one", "asha", after(1)),
            ("old", "asha", NOW),
            ("two", "biren", after(1)),
        ):
            await work.logins.add_browser(value, owner, created_at=NOW, expires_at=end)
        await work.logins.add_token(api_token(), "three")
        await work.commit()
    async with store.begin(read_only=True) as work:
        found = await work.logins.valid_of(("asha", "nobody"), now=NOW)
        nothing = await work.logins.valid_of((), now=NOW)

    assert found == {"asha": ValidLogins(Role.TRADER, frozenset({"one", "three"}))}
    assert nothing == {}
