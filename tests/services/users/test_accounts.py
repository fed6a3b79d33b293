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
from services.users.account_environment import HERE, PASSWORD, AccountEnvironment


@pytest.fixture
def env() -> AccountEnvironment:
    """An open environment without accounts."""
    return AccountEnvironment()


async def test_first_account_becomes_admin(env):
    """The first account of a new install is an admin, the next ones are traders."""
    roles = [(await env.register(f"u{number}@b.in")).role for number in range(3)]

    assert roles == [Role.ADMIN, Role.TRADER, Role.TRADER]


async def test_registrations_at_the_same_moment_make_one_admin(env):
    """However many register at once on a new install, one of them becomes admin."""
    users = await asyncio.gather(*(env.register(f"u{number}@b.in") for number in range(8)))

    assert sum(user.role is Role.ADMIN for user in users) == 1


async def test_email_is_taken_once(env):
    """A second account with the same e-mail address, however it is capitalised, is refused."""
    await env.register("a@b.in")

    with pytest.raises(AlreadyExists):
        await env.register(" A@B.in ")


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
async def test_unusable_registration_names_the_field(env, email, password, name, field):
    """What cannot be used is refused by the name of its field, and nothing is stored."""
    with pytest.raises(InvalidInput) as refused:
        await env.accounts.register(email, password, name, address=HERE, registration=Registration.OPEN)

    assert refused.value.field == field
    assert not env.store.tables.users


async def test_closed_registration_refuses():
    """In closed mode nobody registers, but the command line still adds accounts."""
    env = AccountEnvironment(Registration.CLOSED)

    with pytest.raises(NotAllowed):
        await env.register("a@b.in")
    added = await env.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")

    assert added.role is Role.ADMIN


async def test_invite_lets_one_person_in():
    """In invite mode an invite admits one account, once."""
    env = AccountEnvironment(Registration.INVITE)
    admin = await env.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")
    invite = (await env.accounts.make_invite(actor=admin.id)).reveal()

    user = await env.register("new@b.in", invite=invite)

    assert user.role is Role.TRADER
    with pytest.raises(NotAllowed):
        await env.register("other@b.in", invite=invite)
    with pytest.raises(NotAllowed):
        await env.register("other@b.in")
    with pytest.raises(NotAllowed):
        await env.register("other@b.in", invite="made up")


async def test_refused_registration_leaves_the_invite_good():
    """A registration that fails for another reason does not use up the invite."""
    env = AccountEnvironment(Registration.INVITE)
    admin = await env.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")
    invite = (await env.accounts.make_invite(actor=admin.id)).reveal()

    with pytest.raises(AlreadyExists):
        await env.register("a@b.in", invite=invite)

    assert await env.register("new@b.in", invite=invite)


async def test_invite_ends():
    """An invite is not good after its lifetime."""
    env = AccountEnvironment(Registration.INVITE)
    admin = await env.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")
    invite = (await env.accounts.make_invite(actor=admin.id)).reveal()

    await env.clock.advance(INVITE_LIFETIME.total_seconds())

    with pytest.raises(NotAllowed):
        await env.register("new@b.in", invite=invite)


async def test_registrations_from_one_address_are_slowed_down(env):
    """One network address cannot make accounts without end; another one is not held up by it."""
    for number in range(200):
        await env.register(f"u{number}@b.in")

    with pytest.raises(TooManyAttempts):
        await env.register("next@b.in")
    assert await env.register("next@b.in", address="10.0.0.2")


async def test_last_admin_stays(env):
    """The last admin can be neither demoted nor removed; with a second one the first can."""
    first = await env.register("a@b.in")
    second = await env.register("b@b.in")

    with pytest.raises(NotAllowed):
        await env.accounts.set_role(first.id, Role.TRADER, actor=first.id)
    with pytest.raises(NotAllowed):
        await env.accounts.remove(first.id, actor=first.id)
    await env.accounts.set_role(second.id, Role.ADMIN, actor=first.id)
    demoted = await env.accounts.set_role(first.id, Role.TRADER, actor=second.id)

    assert demoted.role is Role.TRADER


async def test_two_admins_who_demote_each_other_leave_one(env):
    """When two admins demote each other at the same moment, one of them is refused."""
    first, second = await env.register("a@b.in"), await env.register("b@b.in")
    await env.accounts.set_role(second.id, Role.ADMIN, actor=first.id)

    results = await asyncio.gather(
        env.accounts.set_role(first.id, Role.TRADER, actor=second.id),
        env.accounts.set_role(second.id, Role.TRADER, actor=first.id),
        return_exceptions=True,
    )

    assert sum(isinstance(result, NotAllowed) for result in results) == 1
    assert [user.role for user in await env.accounts.list_all()].count(Role.ADMIN) == 1


async def test_role_change_counts_at_once(env):
    """A role that was taken away is gone with the next request, although logins are cached for a while."""
    first, second = await env.register("a@b.in"), await env.register("b@b.in")
    await env.accounts.set_role(second.id, Role.ADMIN, actor=first.id)
    cookie = (await env.logins.open_browser(second)).value.reveal()
    assert (await env.logins.authenticate(cookie=cookie)).role is Role.ADMIN

    await env.accounts.set_role(second.id, Role.TRADER, actor=first.id)

    assert (await env.logins.authenticate(cookie=cookie)).role is Role.TRADER


async def test_removed_user_is_gone_everywhere(env):
    """A removed user's logins end at once, and the services drop the user's state."""
    admin, user = await env.register("a@b.in"), await env.register("b@b.in")
    cookie = (await env.logins.open_browser(user)).value.reveal()
    _, token = await env.logins.add_token(user.id, "script")
    await env.logins.authenticate(cookie=cookie)
    await env.monitoring.start(user.id)

    await env.accounts.remove(user.id, actor=admin.id)

    for login in ({"cookie": cookie}, {"bearer": token.reveal()}):
        with pytest.raises(NotSignedIn):
            await env.logins.authenticate(**login)
    assert user.id not in env.monitoring.known_users()
    assert "user.removed" in env.audit_kinds
    with pytest.raises(NotFound):
        await env.accounts.get(user.id)


async def test_user_removed_by_another_process_is_dropped(env):
    """The services drop the state of a user whom another process removed, and of no other user."""
    kept, removed = await env.register("a@b.in"), await env.register("b@b.in")
    cookie = (await env.logins.open_browser(removed)).value.reveal()
    await env.logins.authenticate(cookie=cookie)
    for user in (kept, removed):
        await env.monitoring.start(user.id)
    async with env.store.begin() as work:
        await work.users.remove(removed.id)
        await work.commit()

    await env.accounts.forget_removed()

    assert env.monitoring.known_users() == {kept.id}
    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(cookie=cookie)


async def test_password_change_ends_other_logins(env):
    """A new password ends all browser logins and begins one; only the new password works then."""
    user = await env.register("a@b.in")
    old = (await env.logins.open_browser(user)).value.reveal()
    await env.logins.authenticate(cookie=old)

    fresh = await env.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)

    assert (await env.logins.authenticate(cookie=fresh.value.reveal())).id == user.id
    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(cookie=old)
    with pytest.raises(WrongCredentials):
        await env.logins.login("a@b.in", PASSWORD, address=HERE)
    assert await env.logins.login("a@b.in", "another good one", address=HERE)


async def test_password_change_needs_the_current_one(env):
    """A wrong current password is refused, and guesses are limited."""
    user = await env.register("a@b.in")

    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await env.accounts.change_password(user.id, "guess guess", "another good one", address=HERE)
    with pytest.raises(TooManyAttempts):
        await env.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)


async def test_rename_is_seen_at_once(env):
    """A new name is what the next request sees."""
    user = await env.register("a@b.in")
    cookie = (await env.logins.open_browser(user)).value.reveal()
    await env.logins.authenticate(cookie=cookie)

    await env.accounts.rename(user.id, "  New   Name ")

    assert (await env.logins.authenticate(cookie=cookie)).full_name == "New Name"


async def test_unavailable_database_is_reported(env):
    """A failed registration stores nothing."""
    env.store.is_down = True

    with pytest.raises(StorageUnavailable):
        await env.register("a@b.in")


async def test_audit_holds_no_password(env):
    """Admins read the audit trail, so it must not contain secrets."""
    user = await env.register("a@b.in")
    await env.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)
    _, token = await env.logins.add_token(user.id, "script")

    text = repr(env.store.tables.audit)

    assert env.audit_kinds == ["user.registered", "user.password_changed", "user.api_token_added"]
    assert PASSWORD not in text
    assert "another good one" not in text
    assert token.reveal() not in text
