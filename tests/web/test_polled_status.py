"""The token status that pages poll: it shows each change at once, and only to its user."""

import pytest
from fakes.broker import AccountState

STATUS = "/api/token-validation/status"


async def bearer_of(client) -> dict[str, str]:
    """Return the headers of a program with an API token of this user."""
    token = (await client.post("/api/auth/tokens", json={"name": "script"})).json()["token"]
    return {"Authorization": f"Bearer {token}"}


async def poll_both(env, client, bearer):
    """Return the answers that a browser with a cookie and a program with a token get from the cache."""
    await client.get(STATUS)
    polled = await client.get(STATUS)
    async with env.client() as program:
        return polled, await program.get(STATUS, headers=bearer)


@pytest.mark.parametrize("is_linked", [True, False])
async def test_cookie_and_token_get_the_same_status(env, is_linked):
    """Body, status and headers differ only in the id of the request, with a Fyers session and without one."""
    async with env.browser("asha") as client:
        if is_linked:
            await env.link(client, "XA001")
        polled, other = await poll_both(env, client, await bearer_of(client))

    ignored = {"x-request-id"}
    assert polled.status_code == other.status_code == 200
    assert polled.content == other.content
    assert {k: v for k, v in polled.headers.items() if k not in ignored} == {
        k: v for k, v in other.headers.items() if k not in ignored
    }
    assert polled.headers["x-request-id"] != other.headers["x-request-id"]


async def test_next_poll_shows_a_disconnect_and_a_new_login(env):
    """The cache never outlives the session."""
    async with env.browser("asha") as client:
        bearer = await bearer_of(client)
        await env.link(client, "XA001")
        first, _ = await poll_both(env, client, bearer)
        await client.post("/api/fyers/disconnect")
        disconnected, same = await poll_both(env, client, bearer)
        await env.link(client, "XA001")
        again, _ = await poll_both(env, client, bearer)

    assert (first.json()["state"], again.json()["state"]) == ("connected", "connected")
    assert (disconnected.json()["state"], disconnected.json()["isValid"]) == ("disconnected", False)
    assert disconnected.content == same.content


async def test_unverified_status_is_not_cached(env):
    """While Fyers is unavailable each poll calls Fyers again, and the status is unverified."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.set_state("XA001", AccountState.UNAVAILABLE)
        answers = [(await client.get(STATUS)).json() for _ in range(2)]

    assert [(answer["fromCache"], answer["verified"]) for answer in answers] == [(False, False)] * 2


async def test_status_is_refused_after_logout(env):
    """A copied cookie is refused at the next poll, although its login was in the cache a moment ago."""
    async with env.browser("asha") as client:
        copied = client.cookies["hullwatch_session"]
        await client.get(STATUS)
        await client.post("/api/auth/logout")
        async with env.client(cookies={"hullwatch_session": copied}) as other:
            answer = await other.get(STATUS)

    assert answer.status_code == 401


async def test_each_user_gets_their_own_status(env):
    """Two users who poll alternately never get each other's answer."""
    async with env.browser("asha") as hers, env.browser("biren") as his:
        await env.link(hers, "XA001")
        answers = [(await client.get(STATUS)).json() for client in (hers, his, hers, his)]

    assert [answer["isConnected"] for answer in answers] == [True, False, True, False]
    assert answers[0]["userId"] != answers[1]["userId"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Host", "evil.example")], 421),
        ([("Cookie", "hullwatch_session=made-up")], 401),
        ([("Cookie", "hullwatch_session=")], 401),
        ([("Cookie", "other=1")], 401),
        ([("Authorization", "Bearer hw_made-up")], 401),
    ],
)
async def test_cached_status_needs_a_valid_login_and_host(env, headers, status):
    """A foreign host, an unknown or missing login and an unknown API token are refused although the status is cached."""
    async with env.browser("asha") as client:
        await client.get(STATUS)
        given = dict(headers)
        if "Cookie" in given:
            client.cookies.clear()
        answer = await client.get(STATUS, headers=given)

    assert answer.status_code == status


async def test_status_takes_head_and_any_query(env):
    """Load balancers and cache busters use them: a query changes nothing, and HEAD has no body."""
    async with env.browser("asha") as client:
        await client.get(STATUS)
        query = await client.get(f"{STATUS}?x=1")
        head = await client.head(STATUS)

    assert query.status_code == head.status_code == 200
    assert head.content == b""
