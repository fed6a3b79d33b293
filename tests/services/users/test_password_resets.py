"""Reset links; `hullwatch.services.users.password_resets`."""

import asyncio

import pytest

from hullwatch.domain.failures import (
    InvalidInput,
    NotAllowed,
    NotFound,
    NotSignedIn,
    ResetLinkExpired,
    TooManyAttempts,
    WrongCredentials,
)
from hullwatch.domain.users.accounts import Role
from hullwatch.services.users.password_resets import LIFETIME
from services.users.account_environment import HERE, PASSWORD, AccountEnvironment

NEW = "another good one"


@pytest.fixture
async def env() -> AccountEnvironment:
    """An environment with an admin and a trader."""
    env = AccountEnvironment()
    env.admin, env.trader = await env.register("boss@b.in"), await env.register("asha@b.in")
    return env


async def link_of(env: AccountEnvironment) -> str:
    """Create a link for the trader and return its value."""
    made = await env.resets.create_link(env.trader.id, actor=env.admin)
    return made.address.reveal().rpartition("/#reset=")[2]


async def test_link_sets_a_password_once_and_ends_all_logins(env):
    """Somebody who knew the old password may be signed in; the second use is refused."""
    cookie = (await env.logins.open_browser(env.trader)).value.reveal()
    await env.logins.authenticate(cookie=cookie)
    link = await link_of(env)

    await env.resets.use(link, NEW, address=HERE)

    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(cookie=cookie)
    with pytest.raises(WrongCredentials):
        await env.logins.login("asha@b.in", PASSWORD, address=HERE)
    assert await env.logins.login("asha@b.in", NEW, address=HERE)
    with pytest.raises(ResetLinkExpired):
        await env.resets.use(link, "a third good one", address=HERE)
    assert env.audit_kinds[-2:] == ["user.password_reset_requested", "user.password_reset"]
    assert link not in repr(env.store.tables)


async def test_of_many_uses_at_the_same_moment_one_succeeds(env):
    """The link is taken in the transaction that stores the password."""
    link = await link_of(env)

    results = await asyncio.gather(
        *(env.resets.use(link, f"{NEW} {number}", address=HERE) for number in range(6)),
        return_exceptions=True,
    )

    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, ResetLinkExpired) for result in results) == 5


async def test_refused_password_leaves_the_link_valid(env):
    """The user can choose another one."""
    link = await link_of(env)

    for easy in ("short", "password12", "asha@b.in 1"):
        with pytest.raises(InvalidInput):
            await env.resets.use(link, easy, address=HERE)
    await env.resets.use(link, NEW, address=HERE)

    assert await env.logins.login("asha@b.in", NEW, address=HERE)


async def test_link_expires(env):
    """After an hour it is refused, and a purge removes it."""
    link = await link_of(env)
    await env.clock.advance(LIFETIME.total_seconds())

    with pytest.raises(ResetLinkExpired):
        await env.resets.use(link, NEW, address=HERE)
    await env.resets.purge()

    assert not env.store.tables.password_resets


@pytest.mark.parametrize("change", ["link", "operator", "user", "demotion", "removal"])
async def test_other_changes_make_a_link_void(env, change):
    """A link does not outlive a newer password, nor the rights of the admin who created it."""
    link, other = await link_of(env), await link_of(env)
    second = await env.register("second@b.in")
    await env.accounts.set_role(second.id, Role.ADMIN, actor=env.admin.id)
    if change == "link":
        await env.resets.use(other, "a third good one", address=HERE)
    elif change == "operator":
        await env.accounts.set_password(env.trader.id, "a third good one", actor="command-line")
    elif change == "user":
        await env.accounts.change_password(env.trader.id, PASSWORD, "a third good one", address=HERE)
    elif change == "demotion":
        await env.accounts.set_role(env.admin.id, Role.TRADER, actor=second.id)
    else:
        await env.accounts.remove(env.admin.id, actor=second.id)

    with pytest.raises(ResetLinkExpired):
        await env.resets.use(link, NEW, address=HERE)


async def test_admins_create_links_for_other_known_users_only(env):
    """An open page of an admin must not be enough to take the account over."""
    with pytest.raises(NotAllowed):
        await env.resets.create_link(env.admin.id, actor=env.admin)
    with pytest.raises(NotFound):
        await env.resets.create_link("usr_nobody", actor=env.admin)

    assert not env.store.tables.password_resets


async def test_guessed_links_are_limited_and_cost_no_hash(env):
    """An unknown link is refused before a password is hashed; other network addresses are not affected."""
    link, hashes = await link_of(env), env.hasher.hashes
    for number in range(30):
        with pytest.raises(ResetLinkExpired):
            await env.resets.use(f"guess-{number}", NEW, address=HERE)

    with pytest.raises(TooManyAttempts):
        await env.resets.use(link, NEW, address=HERE)

    assert env.hasher.hashes == hashes
    await env.resets.use(link, NEW, address="10.0.0.2")
