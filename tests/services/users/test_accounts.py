"""Accounts of hullwatch itself; `hullwatch.services.users.accounts`."""

import asyncio

import pytest

from hullwatch.domain.failures import (
    AlreadyExists,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotSignedIn,
    StorageUnavailable,
    TooManyAttempts,
    WrongCredentials,
)
from hullwatch.domain.users.accounts import Role
from hullwatch.services.users.accounts import INVITE_LIFETIME, Registration
from services.users.account_house import HERE, PASSWORD, AccountHouse


@pytest.fixture
def house() -> AccountHouse:
    """An open house without accounts."""
    return AccountHouse()


async def test_first_account_becomes_admin(house):
    """The first account of a new install is an admin, the next ones are traders."""
    roles = [(await house.register(f"u{number}@b.in")).role for number in range(3)]

    assert roles == [Role.ADMIN, Role.TRADER, Role.TRADER]


async def test_registrations_at_the_same_moment_make_one_admin(house):
    """However many register at once on a new install, one of them becomes admin."""
    users = await asyncio.gather(*(house.register(f"u{number}@b.in") for number in range(8)))

    assert sum(user.role is Role.ADMIN for user in users) == 1


async def test_email_is_taken_once(house):
    """A second account with the same e-mail address, however it is capitalised, is refused."""
    await house.register("a@b.in")

    with pytest.raises(AlreadyExists):
        await house.register(" A@B.in ")


@pytest.mark.parametrize(
    ("email", "password", "name", "field"),
    [
        ("nonsense", PASSWORD, "A", "email"),
        ("a\x00@b.in", PASSWORD, "A", "email"),
        ("a@b.in", "short", "A", "password"),
        ("somebody@b.in", "somebody@b.in", "A", "password"),
        ("a@b.in", PASSWORD, " \t", "fullName"),
        ("a@b.in", PASSWORD, "A\x00B", "fullName"),
    ],
)
async def test_unusable_registration_names_the_field(house, email, password, name, field):
    """What cannot be used is refused by the name of its field, and nothing is stored."""
    with pytest.raises(InvalidInput) as refused:
        await house.accounts.register(email, password, name, address=HERE)

    assert refused.value.field == field
    assert not house.store.tables.users


async def test_closed_registration_refuses():
    """In closed mode nobody registers, but the command line still adds accounts."""
    house = AccountHouse(Registration.CLOSED)

    with pytest.raises(NotAllowed):
        await house.register("a@b.in")
    added = await house.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")

    assert added.role is Role.ADMIN


async def test_invite_lets_one_person_in():
    """In invite mode an invite admits one account, once."""
    house = AccountHouse(Registration.INVITE)
    admin = await house.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")
    invite = (await house.accounts.make_invite(actor=admin.id)).reveal()

    user = await house.register("new@b.in", invite=invite)

    assert user.role is Role.TRADER
    with pytest.raises(NotAllowed):
        await house.register("other@b.in", invite=invite)
    with pytest.raises(NotAllowed):
        await house.register("other@b.in")
    with pytest.raises(NotAllowed):
        await house.register("other@b.in", invite="made up")


async def test_refused_registration_leaves_the_invite_good():
    """A registration that fails for another reason does not use up the invite."""
    house = AccountHouse(Registration.INVITE)
    admin = await house.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")
    invite = (await house.accounts.make_invite(actor=admin.id)).reveal()

    with pytest.raises(AlreadyExists):
        await house.register("a@b.in", invite=invite)

    assert await house.register("new@b.in", invite=invite)


async def test_invite_ends():
    """An invite is not good after its lifetime."""
    house = AccountHouse(Registration.INVITE)
    admin = await house.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")
    invite = (await house.accounts.make_invite(actor=admin.id)).reveal()

    await house.clock.advance(INVITE_LIFETIME.total_seconds())

    with pytest.raises(NotAllowed):
        await house.register("new@b.in", invite=invite)


async def test_registrations_from_one_address_are_slowed_down(house):
    """One network address cannot make accounts without end; another one is not held up by it."""
    for number in range(200):
        await house.register(f"u{number}@b.in")

    with pytest.raises(TooManyAttempts):
        await house.register("next@b.in")
    assert await house.register("next@b.in", address="10.0.0.2")


async def test_last_admin_stays(house):
    """The last admin can be neither demoted nor removed; with a second one the first can."""
    first = await house.register("a@b.in")
    second = await house.register("b@b.in")

    with pytest.raises(NotAllowed):
        await house.accounts.set_role(first.id, Role.TRADER, actor=first.id)
    with pytest.raises(NotAllowed):
        await house.accounts.remove(first.id, actor=first.id)
    await house.accounts.set_role(second.id, Role.ADMIN, actor=first.id)
    demoted = await house.accounts.set_role(first.id, Role.TRADER, actor=second.id)

    assert demoted.role is Role.TRADER


async def test_two_admins_who_demote_each_other_leave_one(house):
    """When two admins demote each other at the same moment, one of them is refused."""
    first, second = await house.register("a@b.in"), await house.register("b@b.in")
    await house.accounts.set_role(second.id, Role.ADMIN, actor=first.id)

    results = await asyncio.gather(
        house.accounts.set_role(first.id, Role.TRADER, actor=second.id),
        house.accounts.set_role(second.id, Role.TRADER, actor=first.id),
        return_exceptions=True,
    )

    assert sum(isinstance(result, NotAllowed) for result in results) == 1
    assert [user.role for user in await house.accounts.list_all()].count(Role.ADMIN) == 1


async def test_role_change_counts_at_once(house):
    """A role that was taken away is gone with the next request, although logins are remembered for a while."""
    first, second = await house.register("a@b.in"), await house.register("b@b.in")
    await house.accounts.set_role(second.id, Role.ADMIN, actor=first.id)
    cookie = (await house.logins.open_browser(second)).value.reveal()
    assert (await house.logins.authenticate(cookie=cookie)).role is Role.ADMIN

    await house.accounts.set_role(second.id, Role.TRADER, actor=first.id)

    assert (await house.logins.authenticate(cookie=cookie)).role is Role.TRADER


async def test_removed_user_is_gone_everywhere(house):
    """A removed user's logins end at once, and what is remembered of the user is dropped."""
    admin, user = await house.register("a@b.in"), await house.register("b@b.in")
    cookie = (await house.logins.open_browser(user)).value.reveal()
    _, token = await house.logins.add_token(user.id, "script")
    await house.logins.authenticate(cookie=cookie)

    await house.accounts.remove(user.id, actor=admin.id)

    for login in ({"cookie": cookie}, {"bearer": token.reveal()}):
        with pytest.raises(NotSignedIn):
            await house.logins.authenticate(**login)
    assert house.sessions.forgotten == [user.id]
    assert "user.removed" in house.audit_kinds
    with pytest.raises(NotFound):
        await house.accounts.get(user.id)


async def test_user_removed_on_the_database_is_forgotten_here(house):
    """A removal beside the running server ends what is remembered of that user, and of nobody else."""
    kept, removed = await house.register("a@b.in"), await house.register("b@b.in")
    cookie = (await house.logins.open_browser(removed)).value.reveal()
    await house.logins.authenticate(cookie=cookie)
    house.sessions.known_users = frozenset({kept.id, removed.id})
    async with house.store.begin() as work:
        await work.users.remove(removed.id)
        await work.commit()

    await house.accounts.forget_removed()

    assert house.sessions.forgotten == [removed.id]
    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(cookie=cookie)


async def test_password_change_ends_other_logins(house):
    """A new password ends all browser logins and begins one; only the new password works then."""
    user = await house.register("a@b.in")
    old = (await house.logins.open_browser(user)).value.reveal()
    await house.logins.authenticate(cookie=old)

    fresh = await house.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)

    assert (await house.logins.authenticate(cookie=fresh.value.reveal())).id == user.id
    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(cookie=old)
    with pytest.raises(WrongCredentials):
        await house.logins.login("a@b.in", PASSWORD, address=HERE)
    assert await house.logins.login("a@b.in", "another good one", address=HERE)


async def test_password_change_needs_the_current_one(house):
    """Whoever does not know the current password cannot change it, and cannot guess without end."""
    user = await house.register("a@b.in")

    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await house.accounts.change_password(user.id, "guess guess", "another good one", address=HERE)
    with pytest.raises(TooManyAttempts):
        await house.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)


async def test_rename_is_seen_at_once(house):
    """A new name is what the next request sees."""
    user = await house.register("a@b.in")
    cookie = (await house.logins.open_browser(user)).value.reveal()
    await house.logins.authenticate(cookie=cookie)

    await house.accounts.rename(user.id, "  New   Name ")

    assert (await house.logins.authenticate(cookie=cookie)).full_name == "New Name"


async def test_dead_database_is_said(house):
    """Without a database a registration is refused as such, and nothing is half done."""
    house.store.is_down = True

    with pytest.raises(StorageUnavailable):
        await house.register("a@b.in")


async def test_audit_holds_no_password(house):
    """What the trail keeps of an account's life names no secret."""
    user = await house.register("a@b.in")
    await house.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)
    _, token = await house.logins.add_token(user.id, "script")

    text = repr(house.store.tables.audit)

    assert house.audit_kinds == ["user.registered", "user.password_changed", "user.api_token_added"]
    assert PASSWORD not in text
    assert "another good one" not in text
    assert token.reveal() not in text
