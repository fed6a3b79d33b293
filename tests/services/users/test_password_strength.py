"""Easy passwords are refused; `hullwatch.services.users.password_strength`."""

import pytest

from hullwatch.domain.failures import InvalidInput, NotSignedIn
from hullwatch.services.users.password_strength import check_strength
from services.users.account_environment import HERE, PASSWORD, AccountEnvironment

EASY = (
    "1234567890",
    "password12",
    "qwertyuiop",
    "aaaaaaaaaa",
    "hullwatch1",
    " " * 10,
    "sess@x.example1",
    "P@ssw0rd123",
    "iloveyou2024",
    "a" * 200,
)
"""The first seven were accepted in the security review of November 2026."""


@pytest.mark.parametrize("password", EASY)
async def test_easy_password_creates_no_account(password):
    """A program that guesses tries these first, so the locks of logins do not protect them."""
    env = AccountEnvironment()

    with pytest.raises(InvalidInput) as refused:
        await env.accounts.register(
            "sess@x.example", password, "Sess", address=HERE, registration=env.registration
        )

    assert refused.value.field == "password"
    assert not env.store.tables.users


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        "monsoon trading 2026",
        "kX9#mQ2vLp",
        "कोलकाता की बारिश",
        "half \ud800 of this one",
        "%&*!@(#^$)!_",
        "asha rides a quick tram",
        "x7" + "q9Zk" * 60,
    ],
)
def test_other_passwords_are_accepted(password):
    """Words, random characters, other scripts, and the longest texts."""
    check_strength(password, about=("asha@example.com", "Asha Iyer"))


@pytest.mark.parametrize(
    "password", ["asha.iyer.1985", "ashaiyer2024", "example.com 12", "ASHA@EXAMPLE.COM!"]
)
def test_texts_about_the_user_do_not_count(password):
    """An attacker who knows the e-mail address and the name tries them."""
    with pytest.raises(InvalidInput):
        check_strength(password, about=("asha@example.com", "Asha Iyer"))


async def test_words_of_another_user_are_not_kept():
    """The library keeps the words of its last call, which must not refuse the next user's password."""
    with pytest.raises(InvalidInput):
        check_strength("zyxqvu wvutzz", about=("zyxqvu wvutzz",))

    check_strength("zyxqvu wvutzz", about=("asha@example.com",))


@pytest.mark.parametrize("new", ["password12", PASSWORD])
async def test_password_change_to_an_easy_or_the_same_one_is_refused(new):
    """The old password stays, and so do the logins."""
    env = AccountEnvironment()
    user = await env.register("a@b.in")
    before = env.store.tables

    with pytest.raises(InvalidInput):
        await env.accounts.change_password(user.id, PASSWORD, new, address=HERE)

    assert env.store.tables.password_hashes == before.password_hashes
    assert await env.logins.login("a@b.in", PASSWORD, address=HERE)


async def test_password_set_by_an_operator_ends_everything_of_the_user():
    """Somebody with the old password may have made tokens and links; other users keep theirs."""
    env = AccountEnvironment()
    user, other = await env.register("a@b.in"), await env.register("b@b.in")
    cookies = [(await env.logins.open_browser(one)).value.reveal() for one in (user, other)]
    for cookie in cookies:
        await env.logins.authenticate(cookie=cookie)
    _, token = await env.logins.add_token(user.id, "script")

    await env.accounts.set_password(user.id, "another good one", actor="command-line")

    for login in ({"cookie": cookies[0]}, {"bearer": token.reveal()}):
        with pytest.raises(NotSignedIn):
            await env.logins.authenticate(**login)
    assert (await env.logins.authenticate(cookie=cookies[1])).id == other.id
    assert await env.logins.login("a@b.in", "another good one", address=HERE)
    assert env.audit_kinds[-1] == "user.password_reset"
    assert env.store.tables.audit[-1].actor == "command-line"
