"""Being signed in; `hullwatch.services.users.authentication`."""

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
from hullwatch.services.users.authentication import BROWSER_LIFETIME, MOST_TOKENS, REMEMBERED_S, hash_value
from services.users.account_house import HERE, PASSWORD, AccountHouse


@pytest.fixture
async def house() -> AccountHouse:
    """A house with one account."""
    house = AccountHouse()
    await house.register("a@b.in")
    return house


async def cookie_of(house: AccountHouse) -> str:
    """Sign in and return the cookie's value."""
    return (await house.logins.login("a@b.in", PASSWORD, address=HERE)).value.reveal()


async def test_login_gives_a_value_that_says_who_asks(house):
    """A browser's login is recognised, and only a hash of its value is stored."""
    cookie = await cookie_of(house)

    user = await house.logins.authenticate(cookie=cookie)

    assert user.email == "a@b.in"
    assert list(house.store.tables.browsers) == [hash_value(cookie)]


async def test_unknown_email_costs_as_much_as_a_wrong_password(house):
    """Whether an account exists can be told neither by the answer nor by the work done."""
    for email in ("a@b.in", "nobody@b.in", "no e-mail", "nul\x00@b.in", "half\ud800@b.in"):
        before = house.hasher.checks
        with pytest.raises(WrongCredentials) as refused:
            await house.logins.login(email, "wrong password", address=HERE)
        assert house.hasher.checks == before + 1
        assert str(refused.value) == "E-mail address and password do not fit."


async def test_guessing_is_locked_even_with_the_right_password(house):
    """After five wrong passwords no password is looked at until the lock ends."""
    for _ in range(5):
        with pytest.raises(WrongCredentials):
            await house.logins.login("a@b.in", "wrong password", address=HERE)
    checks = house.hasher.checks

    with pytest.raises(TooManyAttempts) as refused:
        await house.logins.login("a@b.in", PASSWORD, address="10.9.9.9")

    assert house.hasher.checks == checks
    await house.clock.advance(refused.value.retry_after_s)
    assert await house.logins.login("a@b.in", PASSWORD, address=HERE)


async def test_attempts_at_the_same_moment_are_limited_too(house):
    """A hundred guesses at once are not all looked at."""
    results = await asyncio.gather(
        *(house.logins.login("a@b.in", f"guess {number}", address=HERE) for number in range(100)),
        return_exceptions=True,
    )

    assert house.hasher.checks == 5
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 95


async def test_outdated_hash_is_renewed_at_login(house):
    """A hash made with older settings is replaced when its password is known."""
    user_id = next(iter(house.store.tables.users))
    old = "old:" + PASSWORD[::-1]
    house.store.tables.password_hashes[user_id] = old
    house.hasher.outdated.add(old)

    await cookie_of(house)

    assert house.store.tables.password_hashes[user_id].startswith("new:")


async def test_logout_counts_at_once(house):
    """After a logout the value is not recognised, although it was remembered a moment ago."""
    cookie = await cookie_of(house)
    await house.logins.authenticate(cookie=cookie)

    await house.logins.logout(cookie)

    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(cookie=cookie)


async def test_logout_beats_a_lookup_under_way(house):
    """A logout that happens while the database is being asked is not undone by its older answer."""
    cookie = await cookie_of(house)
    begin, logins = house.store.begin, house.logins

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
                    logins._store = house.store
                    await logins.logout(cookie)
                    return await unit.__aexit__(*error)

            return Unit()

    logins._store = Slow()
    await logins.authenticate(cookie=cookie)

    with pytest.raises(NotSignedIn):
        await logins.authenticate(cookie=cookie)


async def test_login_ends_after_its_lifetime(house):
    """A browser's login ends thirty days after it began, however much it is used."""
    cookie = await cookie_of(house)

    await house.clock.advance(BROWSER_LIFETIME.total_seconds() - 1)
    await house.logins.authenticate(cookie=cookie)
    await house.clock.advance(REMEMBERED_S + 1)

    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(cookie=cookie)


async def test_who_asks_is_answered_from_memory(house):
    """Between two looks at the database, requests of a known login cost none, even while it is down."""
    cookie = await cookie_of(house)
    await house.logins.authenticate(cookie=cookie)
    house.store.is_down = True

    assert (await house.logins.authenticate(cookie=cookie)).email == "a@b.in"


@pytest.mark.parametrize(
    "login", [{}, {"cookie": ""}, {"cookie": "x" * 200}, {"bearer": ""}, {"bearer": "hw_made-up"}]
)
async def test_nonsense_is_nobody(house, login):
    """Missing, empty, oversized and made-up values are nobody's."""
    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(**login)


async def test_cookie_value_is_no_api_token(house):
    """A browser's value does not work as a bearer token, nor the other way round."""
    user = await house.accounts.by_email("a@b.in")
    cookie = await cookie_of(house)
    _, token = await house.logins.add_token(user.id, "script")
    await house.logins.authenticate(cookie=cookie)
    await house.logins.authenticate(bearer=token.reveal())

    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(bearer=cookie)
    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(cookie=token.reveal())


async def test_given_bearer_is_all_that_counts(house):
    """A wrong bearer token is not made good by a cookie next to it."""
    cookie = await cookie_of(house)

    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(cookie=cookie, bearer="hw_made-up")


async def test_api_token_works_until_deleted(house):
    """An API token is recognised, listed without its value, and ends at once when deleted."""
    user = await house.accounts.by_email("a@b.in")
    token, value = await house.logins.add_token(user.id, "  my   script ")

    found = await house.logins.authenticate(bearer=value.reveal())
    listed = await house.logins.tokens(user.id)
    await house.logins.remove_token(user.id, token.id)

    assert found.id == user.id
    assert [one.name for one in listed] == ["my script"]
    assert listed[0].last_used_at == house.clock.now()
    assert value.reveal().startswith("hw_")
    with pytest.raises(NotSignedIn):
        await house.logins.authenticate(bearer=value.reveal())


async def test_foreign_api_token_cannot_be_deleted(house):
    """Nobody ends a token of somebody else."""
    first, second = await house.accounts.by_email("a@b.in"), await house.register("c@d.in")
    token, value = await house.logins.add_token(first.id, "script")

    with pytest.raises(NotFound):
        await house.logins.remove_token(second.id, token.id)

    assert await house.logins.authenticate(bearer=value.reveal())


async def test_api_tokens_are_limited(house):
    """A user has at most twenty API tokens, with usable names."""
    user = await house.accounts.by_email("a@b.in")
    for number in range(MOST_TOKENS):
        await house.logins.add_token(user.id, f"script {number}")

    with pytest.raises(LimitReached):
        await house.logins.add_token(user.id, "one more")
    for name in ("", " ", "x" * 81, "a\x00b", "a\u202eb"):
        with pytest.raises(InvalidInput):
            await house.logins.add_token(user.id, name)


async def test_use_of_a_token_is_noted_now_and_then(house):
    """A token in constant use costs a write every few minutes, not one a request."""
    user = await house.accounts.by_email("a@b.in")
    _, value = await house.logins.add_token(user.id, "script")
    before = house.store.commits

    for _ in range(60):
        await house.logins.authenticate(bearer=value.reveal())
        await house.clock.advance(10)

    assert house.store.commits - before == 2


async def test_purge_removes_what_has_ended(house):
    """Ended logins leave the database."""
    await cookie_of(house)
    await house.clock.advance(BROWSER_LIFETIME.total_seconds() + 1)

    await house.logins.purge()

    assert not house.store.tables.browsers


async def test_value_does_not_show(house):
    """A login's value is masked wherever it is printed."""
    login = await house.logins.login("a@b.in", PASSWORD, address=HERE)

    assert login.value.reveal() not in repr(login)
    assert login.value.reveal() not in f"{login.value}"
