"""Logins to hullwatch; `hullwatch.services.users.authentication`."""

import asyncio

import pytest

from hullwatch.domain.failures import (
    InvalidInput,
    LimitReached,
    NotFound,
    NotSignedIn,
    TooManyAttempts,
    WrongCredentials,
)
from hullwatch.services.users.authentication import BROWSER_LIFETIME, CACHED_S, MOST_TOKENS, hash_value
from services.users.account_environment import HERE, PASSWORD, AccountEnvironment


@pytest.fixture
async def env() -> AccountEnvironment:
    """An environment with one account."""
    env = AccountEnvironment()
    await env.register("a@b.in")
    return env


async def cookie_of(env: AccountEnvironment) -> str:
    """Sign in and return the cookie's value."""
    return (await env.logins.login("a@b.in", PASSWORD, address=HERE)).value.reveal()


async def test_login_returns_a_value_that_identifies_the_user(env):
    """A browser's login is recognised, and only a hash of its value is stored."""
    cookie = await cookie_of(env)

    user = await env.logins.authenticate(cookie=cookie)

    assert user.email == "a@b.in"
    assert list(env.store.tables.browsers) == [hash_value(cookie)]


async def test_unknown_email_costs_as_much_as_a_wrong_password(env):
    """Neither the answer nor the duration reveals whether an account exists."""
    for email in ("a@b.in", "nobody@b.in", "no e-mail", "nul\x00@b.in", "half\ud800@b.in"):
        before = env.hasher.checks
        with pytest.raises(WrongCredentials) as refused:
            await env.logins.login(email, "wrong password", address=HERE)
        assert env.hasher.checks == before + 1
        assert str(refused.value) == "The e-mail address or the password is wrong."


async def test_guessing_is_locked_even_with_the_right_password(env):
    """After five wrong passwords no password is checked until the lock ends."""
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await env.logins.login("a@b.in", "wrong password", address=HERE)
    checks = env.hasher.checks

    with pytest.raises(TooManyAttempts) as refused:
        await env.logins.login("a@b.in", PASSWORD, address="10.9.9.9")

    assert env.hasher.checks == checks
    await env.clock.advance(refused.value.retry_after_s)
    assert await env.logins.login("a@b.in", PASSWORD, address=HERE)


async def test_attempts_at_the_same_moment_are_limited_too(env):
    """Of a hundred guesses at once only five are checked."""
    results = await asyncio.gather(
        *(env.logins.login("a@b.in", f"guess {number}", address=HERE) for number in range(100)),
        return_exceptions=True,
    )

    assert env.hasher.checks == 5
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 95


async def test_outdated_hash_is_renewed_at_login(env):
    """A hash made with older settings is replaced when its password is known."""
    user_id = next(iter(env.store.tables.users))
    old = "old:" + PASSWORD[::-1]
    env.store.tables.password_hashes[user_id] = old
    env.hasher.outdated.add(old)

    await cookie_of(env)

    assert env.store.tables.password_hashes[user_id].startswith("new:")


async def test_logout_counts_at_once(env):
    """After a logout the value is not recognised, although it was cached a moment ago."""
    cookie = await cookie_of(env)
    await env.logins.authenticate(cookie=cookie)

    await env.logins.logout(cookie)

    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(cookie=cookie)


async def test_logout_during_a_query_counts(env):
    """The older result of the query must not get into the cache."""
    cookie = await cookie_of(env)
    begin, logins = env.store.begin, env.logins

    class Slow:
        """Lets the logout happen after the rows were read."""

        def begin(self, *, read_only: bool = False):
            return self._slow() if read_only else begin()

        def _slow(self):
            unit = begin(read_only=True)

            class Unit:
                async def __aenter__(self):
                    return await unit.__aenter__()

                async def __aexit__(self, *error):
                    logins._store = env.store
                    await logins.logout(cookie)
                    return await unit.__aexit__(*error)

            return Unit()

    logins._store = Slow()
    await logins.authenticate(cookie=cookie)

    with pytest.raises(NotSignedIn):
        await logins.authenticate(cookie=cookie)


async def test_login_ends_after_its_lifetime(env):
    """A browser's login ends thirty days after it began, however much it is used."""
    cookie = await cookie_of(env)

    await env.clock.advance(BROWSER_LIFETIME.total_seconds() - 1)
    await env.logins.authenticate(cookie=cookie)
    await env.clock.advance(CACHED_S + 1)

    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(cookie=cookie)


async def test_known_logins_are_answered_from_the_cache(env):
    """Requests with a cached login need no query, also while the database is unavailable."""
    cookie = await cookie_of(env)
    await env.logins.authenticate(cookie=cookie)
    env.store.is_down = True

    assert (await env.logins.authenticate(cookie=cookie)).email == "a@b.in"


@pytest.mark.parametrize(
    "login", [{}, {"cookie": ""}, {"cookie": "x" * 200}, {"bearer": ""}, {"bearer": "hw_made-up"}]
)
async def test_invalid_values_are_refused(env, login):
    """Missing, empty, oversized and unknown values identify no user."""
    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(**login)


async def test_cookie_value_is_no_api_token(env):
    """A browser's value does not work as a bearer token, nor the other way round."""
    user = await env.accounts.by_email("a@b.in")
    cookie = await cookie_of(env)
    _, token = await env.logins.add_token(user.id, "script")
    await env.logins.authenticate(cookie=cookie)
    await env.logins.authenticate(bearer=token.reveal())

    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(bearer=cookie)
    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(cookie=token.reveal())


async def test_given_bearer_is_all_that_counts(env):
    """A wrong bearer token is not made good by a cookie next to it."""
    cookie = await cookie_of(env)

    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(cookie=cookie, bearer="hw_made-up")


async def test_api_token_works_until_deleted(env):
    """An API token is recognised, listed without its value, and ends at once when deleted."""
    user = await env.accounts.by_email("a@b.in")
    token, value = await env.logins.add_token(user.id, "  my   script ")

    found = await env.logins.authenticate(bearer=value.reveal())
    listed = await env.logins.tokens(user.id)
    await env.logins.remove_token(user.id, token.id)

    assert found.id == user.id
    assert [one.name for one in listed] == ["my script"]
    assert listed[0].last_used_at == env.clock.now()
    assert value.reveal().startswith("hw_")
    with pytest.raises(NotSignedIn):
        await env.logins.authenticate(bearer=value.reveal())


async def test_foreign_api_token_cannot_be_deleted(env):
    """Nobody ends a token of somebody else."""
    first, second = await env.accounts.by_email("a@b.in"), await env.register("c@d.in")
    token, value = await env.logins.add_token(first.id, "script")

    with pytest.raises(NotFound):
        await env.logins.remove_token(second.id, token.id)

    assert await env.logins.authenticate(bearer=value.reveal())


async def test_api_tokens_are_limited(env):
    """A user has at most twenty API tokens, with usable names."""
    user = await env.accounts.by_email("a@b.in")
    for number in range(MOST_TOKENS):
        await env.logins.add_token(user.id, f"script {number}")

    with pytest.raises(LimitReached):
        await env.logins.add_token(user.id, "one more")
    for name in ("", " ", "x" * 81, "a\x00b", "a\u202eb"):
        with pytest.raises(InvalidInput):
            await env.logins.add_token(user.id, name)


async def test_use_of_a_token_is_noted_now_and_then(env):
    """A token in constant use costs a write every few minutes, not one a request."""
    user = await env.accounts.by_email("a@b.in")
    _, value = await env.logins.add_token(user.id, "script")
    before = env.store.commits

    for _ in range(60):
        await env.logins.authenticate(bearer=value.reveal())
        await env.clock.advance(10)

    assert env.store.commits - before == 2


async def test_purge_removes_what_has_ended(env):
    """Ended logins leave the database."""
    await cookie_of(env)
    await env.clock.advance(BROWSER_LIFETIME.total_seconds() + 1)

    await env.logins.purge()

    assert not env.store.tables.browsers


async def test_value_does_not_show(env):
    """A login's value is masked wherever it is printed."""
    login = await env.logins.login("a@b.in", PASSWORD, address=HERE)

    assert login.value.reveal() not in repr(login)
    assert login.value.reveal() not in f"{login.value}"
