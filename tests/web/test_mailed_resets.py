"""Reset links by mail, from the request to the new password; `hullwatch.services.users.mailed_resets`."""

import re

import httpx2
import pytest
from structlog.testing import capture_logs

from hullwatch.domain.notifications.channels import Refused
from hullwatch.services.users.mailed_resets import BY_ADDRESS, BY_USER, LIFETIME
from web.web_environment import PASSWORD, WebEnvironment

ASHA, NEW_PASSWORD = "asha@b.in", "another good one"
FORGOTTEN = "/api/auth/forgotten"


async def add_mail(
    env: WebEnvironment, client: httpx2.AsyncClient, address: str, *, is_confirmed: bool
) -> None:
    """Add an e-mail channel, and confirm its address with the mailed code."""
    body = {"kind": "email", "label": "mail", "kinds": ["session_disconnected"], "address": address}
    channel = (await client.post("/api/notifications/channels", json=body)).json()["channel"]["id"]
    assert (await client.post(f"/api/notifications/channels/{channel}/code")).status_code == 204
    if is_confirmed:
        code = re.search(r"\d{4}-\d{4}", env.channels.mails[-1][1].text.reveal())[0]
        answer = await client.post(f"/api/notifications/channels/{channel}/confirm", json={"code": code})
        assert answer.status_code == 200
    env.channels.mails.clear()


async def ask(env: WebEnvironment, email: str = ASHA) -> tuple[int, str]:
    """Ask for a link as somebody who is not signed in; return status and text of the answer."""
    async with env.client() as anybody:
        answer = await anybody.post(FORGOTTEN, json={"email": email})
    await env.clock.settle()
    return answer.status_code, answer.text


def mailed_links(env: WebEnvironment) -> list[tuple[str, str]]:
    """Return recipient and link of each mail."""
    return [
        (recipient, re.search(r"#reset=([\w-]+)", mail.text.reveal())[1])
        for recipient, mail in env.channels.mails
    ]


async def test_a_mailed_link_changes_the_password_once(env):
    """It goes to the confirmed address, works for an hour, and ends all logins; nobody is signed in by it."""
    async with env.browser("asha") as client, env.client() as anybody:
        await add_mail(env, client, "private@mail.in", is_confirmed=True)
        with capture_logs() as entries:
            answer = await ask(env, " Asha@B.in ")
        [(recipient, link)] = mailed_links(env)
        body = {"reset": link, "newPassword": NEW_PASSWORD}
        used = await anybody.post("/api/auth/reset", json=body)
        again = await anybody.post("/api/auth/reset", json=body)
        old = await client.get("/api/auth/me")
        login = await anybody.post("/api/auth/login", json={"email": ASHA, "password": NEW_PASSWORD})

    assert answer == (202, "null")
    assert recipient == "private@mail.in"
    assert [one.status_code for one in (used, again, old, login)] == [204, 410, 401, 200]
    assert PASSWORD not in repr(env.channels.mails)
    shown = repr(entries) + repr(env.channels.mails) + repr(env.store.tables)
    assert link not in shown
    assert "private@mail.in" not in repr(entries)


async def test_the_address_of_the_account_comes_first(env):
    """Among several confirmed ones."""
    async with env.browser("asha") as client:
        await add_mail(env, client, "private@mail.in", is_confirmed=True)
        await add_mail(env, client, ASHA, is_confirmed=True)
        await ask(env)

    assert [recipient for recipient, _ in mailed_links(env)] == [ASHA]


@pytest.mark.parametrize("email", [ASHA, "nobody@b.in", "nonsense", ""])
async def test_nothing_is_mailed_without_a_confirmed_address(env, email):
    """The answer is the same for every text."""
    async with env.browser("asha") as client:
        await add_mail(env, client, ASHA, is_confirmed=False)
        answer = await ask(env, email)

    assert answer == (202, "null")
    assert env.channels.mails == []


async def test_a_link_expires(env):
    """After an hour."""
    async with env.browser("asha") as client, env.client() as anybody:
        await add_mail(env, client, ASHA, is_confirmed=True)
        await ask(env)
        [(_, link)] = mailed_links(env)
        await env.clock.advance(LIFETIME.total_seconds())
        answer = await anybody.post("/api/auth/reset", json={"reset": link, "newPassword": NEW_PASSWORD})

    assert answer.status_code == 410


async def test_mails_to_one_user_are_limited(env):
    """Nobody can fill a mailbox, from however many addresses; the answer does not show it."""
    async with env.browser("asha") as client:
        await add_mail(env, client, ASHA, is_confirmed=True)
        for number in range(BY_USER.free_attempts + 3):
            env.services.mailed_resets.request(ASHA, address=f"198.51.100.{number}")
            await env.clock.settle()

    assert len(env.channels.mails) == BY_USER.free_attempts


async def test_requests_from_one_address_are_limited(env):
    """Also for addresses without an account."""
    statuses = [(await ask(env, f"u{number}@b.in"))[0] for number in range(BY_ADDRESS.free_attempts + 2)]

    assert statuses == [202] * BY_ADDRESS.free_attempts + [429] * 2


async def test_a_server_without_mail_refuses_the_request(env):
    """The page does not offer it there."""
    async with env.client() as anybody:
        offered = (await anybody.get("/api/dashboard")).json()["canMailResets"]
        env.channels.can_mail = False
        without = (await anybody.get("/api/dashboard")).json()["canMailResets"]

    assert (offered, without) == (True, False)
    assert (await ask(env))[0] == 403


async def test_a_refused_mail_harms_nothing(env):
    """It is logged without address and link, and the user can ask again."""
    async with env.browser("asha") as client:
        await add_mail(env, client, ASHA, is_confirmed=True)
        env.channels.behaviours[ASHA] = lambda _: Refused("The mail server refuses the address.")
        first = await ask(env)
        env.channels.behaviours.clear()
        second = await ask(env)

    assert (first[0], second[0]) == (202, 202)
    assert len(env.channels.mails) == 1
