"""Attacks on logins and registration over fakes: floods, guesses and a slow hash queue."""

import asyncio
from collections.abc import Awaitable

import pytest

from hullwatch.domain.failures import NotAllowed, StorageUnavailable, TooManyAttempts, WrongCredentials
from hullwatch.domain.users.accounts import Role
from hullwatch.domain.users.login_throttle import PER_ADDRESS, PER_EMAIL
from hullwatch.services.users.accounts import REGISTRATIONS, Registration
from hullwatch.services.users.hash_queue import AT_ONCE, MOST_WAITING
from services.users.account_environment import HERE, PASSWORD, AccountEnvironment

FLOOD = "203.0.113.9"


@pytest.fixture
async def env() -> AccountEnvironment:
    """An environment with one account, which has not signed in yet."""
    env = AccountEnvironment()
    await env.register("a@b.in")
    return env


async def outcomes(*attempts: Awaitable[object]) -> list[object]:
    """Return the results and errors of attempts at the same moment."""
    return await asyncio.gather(*attempts, return_exceptions=True)


def guesses(env: AccountEnvironment, number: int, *, address: str = FLOOD) -> list[Awaitable[object]]:
    """Return wrong logins, each with another e-mail address."""
    return [env.logins.login(f"u{one}@b.in", "guess guess", address=address) for one in range(number)]


async def test_a_burst_from_one_address_gets_its_free_attempts_only(env):
    """230 logins at once with as many e-mail addresses: 30 passwords are checked, once more after each lock."""
    results = await outcomes(*guesses(env, 230))
    first = env.hasher.checks
    await env.clock.advance(PER_ADDRESS.first_lock_s)
    await outcomes(*guesses(env, 230))

    assert first == PER_ADDRESS.free_attempts
    assert env.hasher.checks == first + 1
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 200
    assert await env.logins.login("a@b.in", PASSWORD, address=HERE)


async def test_a_flood_delays_another_address_by_one_hash(env):
    """Hashes are slow and the flood came first; the login of the other address is the third to be checked."""
    env.hasher.may_end.clear()
    flood = asyncio.gather(*guesses(env, MOST_WAITING), return_exceptions=True)
    await asyncio.sleep(0)

    async def login() -> int:
        await env.logins.login("a@b.in", PASSWORD, address=HERE)
        return env.hasher.checks

    mine = asyncio.create_task(login())
    await asyncio.sleep(0)
    env.hasher.may_end.set()
    checks_before_mine_ended = await mine
    await flood

    assert checks_before_mine_ended <= 2 * AT_ONCE + 1
    assert env.hasher.checks == PER_ADDRESS.free_attempts + 1


async def test_attempts_that_the_full_queue_refused_cost_nothing(env):
    """They count neither on the e-mail address nor on the network address."""
    env.hasher.may_end.clear()
    full = asyncio.gather(
        *(
            env.logins.login(f"u{one}@b.in", "guess guess", address=f"10.1.{one // 250}.{one % 250}")
            for one in range(AT_ONCE + MOST_WAITING)
        ),
        return_exceptions=True,
    )
    await asyncio.sleep(0)
    refused = await outcomes(
        *(
            env.logins.login("a@b.in", PASSWORD, address=f"10.2.0.{one % 40}")
            for one in range(4 * PER_EMAIL.free_attempts)
        )
    )
    env.hasher.may_end.set()
    await full

    assert {type(result) for result in refused} == {TooManyAttempts}
    assert await env.logins.login("a@b.in", PASSWORD, address="10.2.0.1")


async def test_a_locked_caller_does_not_wait_in_the_queue(env):
    """It is refused at once, while all slots are in use."""
    await outcomes(*guesses(env, PER_ADDRESS.free_attempts))
    env.hasher.may_end.clear()
    busy = asyncio.gather(*guesses(env, AT_ONCE, address="10.6.0.1"), return_exceptions=True)
    await asyncio.sleep(0)

    locked = asyncio.create_task(env.logins.login("a@b.in", PASSWORD, address=FLOOD))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert locked.done()
    assert isinstance(locked.exception(), TooManyAttempts)
    env.hasher.may_end.set()
    await busy


@pytest.mark.parametrize("fault", ["database", "hash"])
async def test_attempts_that_could_not_be_checked_cost_nothing(env, fault):
    """A failure of the server must not lock its users out afterwards."""
    env.store.is_down = fault == "database"
    env.hasher.error = MemoryError() if fault == "hash" else None

    for _ in range(2 * PER_ADDRESS.free_attempts):
        with pytest.raises((StorageUnavailable, MemoryError)):
            await env.logins.login("a@b.in", PASSWORD, address=HERE)
    env.store.is_down, env.hasher.error = False, None

    assert await env.logins.login("a@b.in", PASSWORD, address=HERE)


async def test_many_addresses_cannot_keep_a_user_at_the_usual_one_out(env):
    """They lock the e-mail address for new addresses; the address of an earlier login stays free."""
    await env.logins.login("a@b.in", PASSWORD, address=HERE)
    for number in range(PER_EMAIL.free_attempts):
        with pytest.raises(WrongCredentials):
            await env.logins.login("a@b.in", "guess guess", address=f"10.3.0.{number}")
    checks = env.hasher.checks

    with pytest.raises(TooManyAttempts):
        await env.logins.login("a@b.in", PASSWORD, address="10.3.1.1")

    assert env.hasher.checks == checks
    assert await env.logins.login("a@b.in", PASSWORD, address=HERE)


async def test_many_addresses_guess_one_password_a_few_times_only(env):
    """The e-mail address is locked whatever addresses the guesses come from, also at the same moment."""
    results = await outcomes(
        *(
            env.logins.login("a@b.in", f"guess {one}", address=f"10.4.{one // 250}.{one % 250}")
            for one in range(150)
        )
    )

    assert env.hasher.checks == PER_EMAIL.free_attempts
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 150 - PER_EMAIL.free_attempts


async def test_attackers_do_not_keep_a_signed_in_user_from_a_new_password(env):
    """The password change has limits of its own, for e-mail address and network address."""
    user = await env.accounts.by_email("a@b.in")
    await outcomes(*guesses(env, 2 * PER_ADDRESS.free_attempts, address=HERE))
    for number in range(PER_EMAIL.free_attempts):
        with pytest.raises(WrongCredentials):
            await env.logins.login("a@b.in", "guess guess", address=f"10.5.0.{number}")

    changed = await env.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)

    assert changed.user.id == user.id
    with pytest.raises(TooManyAttempts):
        await env.logins.login("a@b.in", "another good one", address="10.5.1.1")


async def test_guesses_in_an_open_browser_lock_no_login(env):
    """Somebody at a signed-in browser has five tries for the current password; its user can still sign in."""
    user = await env.accounts.by_email("a@b.in")
    for _ in range(PER_EMAIL.free_attempts):
        with pytest.raises(WrongCredentials):
            await env.accounts.change_password(user.id, "guess guess", "another good one", address=HERE)

    with pytest.raises(TooManyAttempts):
        await env.accounts.change_password(user.id, PASSWORD, "another good one", address=HERE)
    assert await env.logins.login("a@b.in", PASSWORD, address=HERE)


async def invited() -> tuple[AccountEnvironment, str]:
    """Return an environment with registration by invitation, and an invite."""
    env = AccountEnvironment(Registration.INVITE)
    admin = await env.accounts.add("a@b.in", PASSWORD, "A", role=Role.ADMIN, actor="cli")
    return env, (await env.accounts.make_invite(actor=admin.id)).reveal()


async def test_wrong_invites_cost_no_hash_and_lock_their_address():
    """Two hundred are looked up; then the address has to wait, and only this address."""
    env, invite = await invited()
    hashes = env.hasher.hashes
    for number in range(REGISTRATIONS.free_attempts):
        with pytest.raises(NotAllowed):
            await env.register("new@b.in", invite=f"guess-{number}", address=FLOOD)

    with pytest.raises(TooManyAttempts):
        await env.register("new@b.in", invite=invite, address=FLOOD)

    assert env.hasher.hashes == hashes
    assert await env.register("new@b.in", invite=invite, address=HERE)


async def test_one_invite_in_many_requests_makes_one_account():
    """All of them pass the check before the hash; the unit of work that stores the account decides."""
    env, invite = await invited()

    results = await outcomes(*(env.register(f"u{one}@b.in", invite=invite) for one in range(20)))

    assert sum(isinstance(result, NotAllowed) for result in results) == 19
    assert len(env.store.tables.users) == 2


async def test_registrations_with_a_taken_email_cost_no_hash(env):
    """They are refused before they enter the queue."""
    hashes = env.hasher.hashes

    results = await outcomes(*(env.register("a@b.in", address=FLOOD) for _ in range(100)))

    assert {type(result).__name__ for result in results} == {"AlreadyExists"}
    assert env.hasher.hashes == hashes


async def test_registrations_that_could_not_be_checked_cost_nothing(env):
    """More of them than are free fail with the database, and the next one succeeds."""
    env.store.is_down = True
    for _ in range(REGISTRATIONS.free_attempts + 1):
        with pytest.raises(StorageUnavailable):
            await env.register("new@b.in")
    env.store.is_down = False

    assert await env.register("new@b.in")
