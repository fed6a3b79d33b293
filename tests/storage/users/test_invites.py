"""Invites, latest audit lines and the first admin, in memory, on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import replace
from itertools import count

from fakes.resources import fake_resources

from hullwatch.app.services import build_services
from hullwatch.domain.failures import NotAllowed
from hullwatch.domain.users.accounts import Role
from hullwatch.services.users.accounts import AccountService, Registration
from storage.samples import NOW, add_users, after, audit_entry


async def make_invite(store, value_hash: str = "hash-1", created_by: str = "asha") -> None:
    """Store an invite that is good for ten minutes."""
    async with store.begin() as work:
        await work.logins.add_invite(value_hash, created_by=created_by, expires_at=after(10))
        await work.commit()


async def take(store, value_hash: str = "hash-1", *, minutes: float = 1) -> bool:
    """Use an invite up."""
    async with store.begin() as work:
        was_good = await work.logins.take_invite(value_hash, now=after(minutes))
        await work.commit()
        return was_good


async def test_an_invite_is_good_once(store):
    """The first use succeeds, the second fails; an unknown invite fails."""
    await add_users(store, "asha")
    await make_invite(store)

    assert [await take(store, "made up"), await take(store), await take(store)] == [False, True, False]


async def test_an_invite_is_good_once_for_two_at_the_same_moment(store):
    """Of several who take it at once, one is let in."""
    await add_users(store, "asha")
    await make_invite(store)

    assert sorted(await asyncio.gather(*(take(store) for _ in range(4)))) == [False, False, False, True]


async def test_whether_an_invite_is_good_can_be_read_without_using_it(store):
    """It is checked before the password is hashed; an unknown and an expired one are not good."""
    await add_users(store, "asha")
    await make_invite(store)
    async with store.begin(read_only=True) as work:
        found = [
            await work.logins.has_invite(value_hash, now=after(minutes))
            for value_hash, minutes in (("hash-1", 9), ("hash-1", 10), ("made up", 1))
        ]

    assert found == [True, False, False]
    assert await take(store)


async def test_an_invite_expires(store):
    """It has expired at the moment of its expiry."""
    await add_users(store, "asha")
    await make_invite(store)

    assert not await take(store, minutes=10)


async def test_an_invite_that_was_not_used_after_all_stays(store):
    """Leaving without commit gives it back."""
    await add_users(store, "asha")
    await make_invite(store)
    async with store.begin() as work:
        assert await work.logins.take_invite("hash-1", now=NOW)

    assert await take(store)


async def test_expired_invites_and_those_of_removed_admins_are_removed(store):
    """A purge removes what has ended; a removed account takes its invites along."""
    await add_users(store, "asha", "biren")
    await make_invite(store)
    await make_invite(store, "hash-2", "biren")
    async with store.begin() as work:
        await work.users.remove("biren")
        await work.logins.purge(now=after(9))
        await work.commit()

    assert [await take(store, "hash-2"), await take(store)] == [False, True]


async def test_latest_line_of_each_account(store):
    """The newest line of the kind is found for each present user, whatever else was noted since."""
    await add_users(store, "asha", "biren", "chitra")
    line = audit_entry()
    entries = [
        replace(line, user_id="asha", kind="connection.logged_in", at=after(1)),
        replace(line, user_id="asha", kind="connection.reached_expiry", at=after(2)),
        replace(line, user_id="asha", kind="monitoring.status", at=after(3)),
        replace(line, user_id="biren", kind="connection.logged_in", at=after(2)),
        replace(line, user_id="chitra", kind="monitoring.status", at=after(2)),
        replace(line, user_id="removed", kind="connection.logged_in", at=after(9)),
        replace(line, user_id=None, kind="connection.odd", at=after(9)),
    ]
    async with store.begin() as work:
        await work.audit.add(entries)
        await work.commit()

    async with store.begin(read_only=True) as work:
        latest = await work.audit.latest_by_user(kind_prefix="connection.")

    assert latest == {"asha": entries[1], "biren": entries[3]}


def accounts_over(store, numbers) -> AccountService:
    """Return what one server on this database would have."""

    def new_id(prefix: str) -> str:
        return f"{prefix}_{next(numbers)}"

    return build_services(fake_resources(store=store, new_id=new_id)).accounts


async def test_two_servers_make_one_admin_and_keep_one(store):
    """First registrations at the same moment make one admin; two admins who demote each other leave one."""
    numbers = count(1)
    servers = [accounts_over(store, numbers) for _ in range(2)]

    users = await asyncio.gather(
        *(
            servers[number % 2].register(
                f"u{number}@b.in",
                "correct horse battery",
                "A",
                address=f"10.0.0.{number}",
                registration=Registration.OPEN,
            )
            for number in range(4)
        )
    )
    roles = [user.role for user in users]
    first = users[roles.index(Role.ADMIN)]
    second = users[roles.index(Role.TRADER)]
    await servers[0].set_role(second.id, Role.ADMIN, actor=first.id)
    results = await asyncio.gather(
        servers[0].set_role(first.id, Role.TRADER, actor=second.id),
        servers[1].set_role(second.id, Role.TRADER, actor=first.id),
        return_exceptions=True,
    )

    assert roles.count(Role.ADMIN) == 1
    assert sum(isinstance(result, NotAllowed) for result in results) == 1
    assert [user.role for user in await servers[0].list_all()].count(Role.ADMIN) == 1
