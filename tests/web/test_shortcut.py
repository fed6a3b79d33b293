"""The polled status, answered before any routing, says what the ordinary way says; `hullwatch.web.shortcut`."""

import pytest
import structlog
from fakes.broker import AccountState

STATUS = "/api/token-validation/status"


async def bearer_of(client) -> dict[str, str]:
    """Return headers that take the ordinary way."""
    token = (await client.post("/api/auth/tokens", json={"name": "script"})).json()["token"]
    return {"Authorization": f"Bearer {token}"}


async def both(env, client, bearer):
    """Return the answer of the shortcut and that of the ordinary way, which alone is logged."""
    await client.get(STATUS)
    with structlog.testing.capture_logs() as lines:
        short = await client.get(STATUS)
    assert not [line for line in lines if line["event"] == "request"], "this took the ordinary way"
    async with env.client() as program:
        return short, await program.get(STATUS, headers=bearer)


@pytest.mark.parametrize("is_linked", [True, False])
async def test_both_ways_answer_alike(env, is_linked):
    """Body, status and headers are the same but for the request's id, with a session and without one."""
    async with env.browser("asha") as client:
        if is_linked:
            await env.link(client, "XA001")
        short, ordinary = await both(env, client, await bearer_of(client))

    drop = {"x-request-id"}
    assert short.status_code == ordinary.status_code == 200
    assert short.content == ordinary.content
    assert {k: v for k, v in short.headers.items() if k not in drop} == {
        k: v for k, v in ordinary.headers.items() if k not in drop
    }
    assert short.headers["x-request-id"] != ordinary.headers["x-request-id"]


async def test_end_of_a_session_is_told_with_the_next_poll(env):
    """What is remembered never outlives the session: expiry, disconnecting and a new login show at once."""
    async with env.browser("asha") as client:
        bearer = await bearer_of(client)
        await env.link(client, "XA001")
        first, _ = await both(env, client, bearer)
        await client.post("/api/fyers/disconnect")
        ended, same = await both(env, client, bearer)
        await env.link(client, "XA001")
        again, _ = await both(env, client, bearer)

    assert (first.json()["state"], again.json()["state"]) == ("connected", "connected")
    assert (ended.json()["state"], ended.json()["isValid"]) == ("disconnected", False)
    assert ended.content == same.content


async def test_doubt_takes_the_ordinary_way(env):
    """While Fyers cannot be asked nothing is remembered, and the answer says unverified."""
    async with env.browser("asha") as client:
        await env.link(client, "XA001")
        env.broker.set_state("XA001", AccountState.UNAVAILABLE)
        answers = [(await client.get(STATUS)).json() for _ in range(2)]

    assert [(answer["fromCache"], answer["verified"]) for answer in answers] == [(False, False)] * 2


async def test_logout_is_heeded(env):
    """A login that ended is refused with the next poll, although it was remembered a moment ago."""
    async with env.browser("asha") as client:
        stolen = client.cookies["hullwatch_session"]
        await client.get(STATUS)
        await client.post("/api/auth/logout")
        async with env.client(cookies={"hullwatch_session": stolen}) as thief:
            answer = await thief.get(STATUS)

    assert answer.status_code == 401


async def test_each_user_gets_the_own_status(env):
    """Two users who poll in turn never get each other's answer."""
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
async def test_odd_requests_take_the_ordinary_way(env, headers, status):
    """A foreign host, a made-up or missing login and a bearer token are judged where everything is judged."""
    async with env.browser("asha") as client:
        await client.get(STATUS)
        given = dict(headers)
        if "Cookie" in given:
            client.cookies.clear()
        answer = await client.get(STATUS, headers=given)

    assert answer.status_code == status


async def test_head_and_query_are_no_trouble(env):
    """A query changes nothing, and HEAD has the same headers without a body."""
    async with env.browser("asha") as client:
        await client.get(STATUS)
        query = await client.get(f"{STATUS}?x=1")
        head = await client.head(STATUS)

    assert query.status_code == head.status_code == 200
    assert head.content == b""
