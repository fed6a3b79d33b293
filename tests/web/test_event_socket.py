"""The event socket; `hullwatch.web.event_socket` and `hullwatch.web.event_payloads`."""

import asyncio

import httpx2
import pytest
from fakes.clock import FakeClock

from hullwatch.domain.events import EVERYBODY, BrokerOutageChanged, QuotesArrived, WatchStatusChanged
from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.market.quotes import Quote
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.users.accounts import Role
from hullwatch.web.config import WebConfig
from web.event_client import Closed, live
from web.web_environment import BASE, PASSWORD, WebEnvironment, make_supervisor

OTHER_PASSWORD = "another horse battery"


def cookie_of(client: httpx2.AsyncClient) -> str:
    """Return the login that a browser holds."""
    return client.cookies["hullwatch_session"]


async def id_of(client: httpx2.AsyncClient) -> str:
    """Return whose browser it is."""
    return (await client.get("/api/auth/me")).json()["id"]


async def code_of_refusal(env: WebEnvironment, **options) -> int:
    """Open a socket that is refused and return its code."""
    async with live(env.app, **options) as socket:
        with pytest.raises(Closed) as closed:
            await socket.receive()
    return closed.value.code


def status_event(
    env: WebEnvironment, user_id: str, status: WatchStatus = WatchStatus.WATCHING
) -> WatchStatusChanged:
    """Return an event of one user."""
    return WatchStatusChanged(user_id, status, env.clock.now())


async def test_events_of_the_user_arrive(env):
    """A signed-in reader is greeted and gets the user's events with number, type, time and data."""
    async with env.browser("asha") as client, live(env.app, cookie=cookie_of(client)) as socket:
        hello = await socket.receive()
        await env.link(client, "XA001")
        event = await socket.receive()

    assert (hello["type"], hello["data"]) == ("hello", None)
    assert event["type"] == "connection"
    assert event["seq"] == env.hub.last_sequence - 1 or event["seq"] == env.hub.last_sequence
    assert event["at"].endswith("Z")
    assert (event["data"]["state"], event["data"]["fyersId"]) == ("connected", "XA001")


async def test_events_of_others_never_arrive(env):
    """Another user's connection, quotes, signals and notices reach nobody else's socket."""
    async with (
        env.browser("asha") as asha,
        env.browser("biren") as biren,
        live(env.app, cookie=cookie_of(asha)) as hers,
        live(env.app, cookie=cookie_of(biren)) as his,
    ):
        await hers.receive()
        await his.receive()
        await env.link(biren, "XB001")
        await biren.post("/api/fyers/disconnect")
        env.hub.publish(await id_of(asha), status_event(env, await id_of(asha)))
        seen = await hers.receive()
        await his.receive_until("connection")

        assert seen["type"] == "monitoring"
        assert hers.waiting == []


async def test_admins_receive_events_of_all_users(env):
    """The events have their own type and the id of the user; traders do not receive them."""
    async with (
        env.browser("asha", role=Role.ADMIN) as admin,
        env.browser("biren") as trader,
        live(env.app, cookie=cookie_of(admin)) as socket,
    ):
        await socket.receive()
        await env.link(trader, "XB001")
        event = await socket.receive()

        assert event["type"] == "admin.connection"
        assert event["data"]["userId"] == await id_of(trader)
        assert event["data"]["state"] == "connected"


async def test_every_user_receives_a_broker_outage(env):
    """An outage of Fyers concerns all users, so every open tab shows it."""
    async with env.browser("asha") as client, live(env.app, cookie=cookie_of(client)) as socket:
        await socket.receive()
        env.hub.publish(EVERYBODY, BrokerOutageChanged(True, "inc_1", env.clock.now()))
        event = await socket.receive()

    assert (event["type"], event["data"]["isOngoing"]) == ("brokerOutage", True)


@pytest.mark.parametrize("options", [{}, {"cookie": "made-up"}, {"authorization": "Bearer hw_made-up"}])
async def test_without_login_it_closes_4401(env, options):
    """Browsers show the close code only after the socket was accepted."""
    assert await code_of_refusal(env, **options) == 4401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8001", ""])
async def test_foreign_page_is_closed_4403(env, origin):
    """Another site's page cannot open the socket with its visitor's cookie."""
    async with env.browser("asha") as client:
        assert await code_of_refusal(env, cookie=cookie_of(client), origin=origin) == 4403


async def test_foreign_host_is_closed_4403(env):
    """A foreign name that points here cannot open the socket either."""
    async with env.browser("asha") as client:
        assert await code_of_refusal(env, cookie=cookie_of(client), host="evil.example:8000") == 4403


async def test_own_page_and_program_are_served(env):
    """A page sends the origin of this server; a program with an API token can send any."""
    async with env.browser("asha") as client:
        token = (await client.post("/api/auth/tokens", json={"name": "script"})).json()["token"]
        async with live(env.app, cookie=cookie_of(client), origin=BASE) as page:
            assert (await page.receive())["type"] == "hello"
        async with live(env.app, authorization=f"Bearer {token}", origin="https://x.example") as program:
            assert (await program.receive())["type"] == "hello"


async def test_missed_events_are_replayed(env):
    """A reader that connects again with its last sequence number receives the later events once."""
    async with env.browser("asha") as client:
        user_id = await id_of(client)
        first = env.hub.publish(user_id, status_event(env, user_id, WatchStatus.STARTING))
        second = env.hub.publish(user_id, status_event(env, user_id))
        async with live(env.app, cookie=cookie_of(client), query=f"after={first}") as socket:
            assert (await socket.receive())["type"] == "hello"
            replayed = await socket.receive()

            assert (replayed["seq"], replayed["data"]["status"]) == (second, "watching")
            assert socket.waiting == []


@pytest.mark.parametrize("after", ["999999999", "-5", "nonsense", "%00", "9" * 40, "\u0663"])
async def test_reader_that_missed_too_much_receives_missed(env, after):
    """A sequence number that cannot be replayed, or is invalid, is answered with 'missed'."""
    async with env.browser("asha") as client:
        env.hub.publish(await id_of(client), status_event(env, await id_of(client)))
        async with live(env.app, cookie=cookie_of(client), query=f"after={after}") as socket:
            assert (await socket.receive())["type"] == "missed"


async def test_slow_reader_loses_old_quotes_only(env):
    """A reader that falls behind gets the newest quotes and every other event, in order."""
    async with env.browser("asha") as client, live(env.app, cookie=cookie_of(client)) as socket:
        user_id = await id_of(client)
        await socket.receive()
        socket.is_reading.clear()
        for price in range(1, 1001):
            quotes = QuotesArrived(
                user_id, (Quote(Symbol("NSE:SBIN-EQ"), float(price)),), {}, env.clock.now()
            )
            env.hub.publish(user_id, quotes, replaceable_key="quotes")
            if price % 100 == 0:
                env.hub.publish(user_id, status_event(env, user_id))
                await env.clock.settle()
        socket.is_reading.set()
        events = []
        while len([event for event in events if event["type"] == "monitoring"]) < 10:
            events.append(await socket.receive())
        events += [await socket.receive() for _ in range(0 if events[-2]["type"] == "quotes" else 1)]

    prices = [event["data"]["quotes"][0]["ltp"] for event in events if event["type"] == "quotes"]
    assert prices[-1] == 1000
    assert len(prices) < 20
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)


async def test_too_slow_reader_is_closed_with_1013(env):
    """When it connects again with its last sequence number, it receives 'missed'."""
    async with env.browser("asha") as client, live(env.app, cookie=cookie_of(client)) as socket:
        user_id = await id_of(client)
        await socket.receive()
        socket.is_reading.clear()
        for _ in range(600):
            env.hub.publish(user_id, status_event(env, user_id))
        socket.is_reading.set()
        code, last = await socket.until_closed()
        async with live(env.app, cookie=cookie_of(client), query=f"after={last}") as again:
            assert (await again.receive())["type"] == "missed"

    assert code == 1013


@pytest.fixture
async def hasty():
    """A web application that sends heartbeats after a moment."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        yield WebEnvironment(supervisor, clock, WebConfig(heartbeat_s=0.01))


async def test_heartbeats_are_sent_without_events(hasty):
    """They show the reader that the socket still works."""
    async with hasty.browser("asha") as client, live(hasty.app, cookie=cookie_of(client)) as socket:
        await socket.receive()
        assert (await socket.receive())["type"] == "heartbeat"


async def logout(env: WebEnvironment, client: httpx2.AsyncClient) -> None:
    """End the login of the socket's browser."""
    await client.post("/api/auth/logout")


async def change_password(env: WebEnvironment, client: httpx2.AsyncClient) -> None:
    """Change the password in another browser of the user."""
    async with env.client() as other:
        await other.post("/api/auth/login", json={"email": "asha@b.in", "password": PASSWORD})
        body = {"currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD}
        assert (await other.put("/api/auth/password", json=body)).status_code < 300


async def reset_password(env: WebEnvironment, client: httpx2.AsyncClient) -> None:
    """Give the user a new password, as an operator does."""
    await env.accounts.set_password(await id_of(client), OTHER_PASSWORD, actor="test")


async def remove_user(env: WebEnvironment, client: httpx2.AsyncClient) -> None:
    """Remove the user, while another admin stays."""
    await env.accounts.remove(await id_of(client), actor="test")


async def demote(env: WebEnvironment, client: httpx2.AsyncClient) -> None:
    """Make the admin a trader."""
    await env.accounts.set_role(await id_of(client), Role.TRADER, actor="test")


ENDINGS = [
    (logout, 4401),
    (change_password, 4401),
    (reset_password, 4401),
    (remove_user, 4401),
    (demote, 1001),
]


@pytest.mark.parametrize(("end_login", "code"), ENDINGS)
@pytest.mark.parametrize("has_traffic", [True, False])
async def test_the_end_of_a_login_closes_its_socket(env, end_login, code, has_traffic):
    """At once, and not at the next heartbeat; a demoted admin connects again and gets no events of admins."""
    await env.add_user("biren", role=Role.ADMIN)
    async with (
        env.browser("asha", role=Role.ADMIN) as client,
        live(env.app, cookie=cookie_of(client)) as socket,
    ):
        await socket.receive()
        user_id, hub = await id_of(client), env.services.context.hub

        async def traffic() -> None:
            while has_traffic:
                hub.publish(user_id, status_event(env, user_id), replaceable_key="status")
                await env.clock.settle()

        busy = asyncio.create_task(traffic())
        await end_login(env, client)
        found, _ = await socket.until_closed()
        busy.cancel()

        assert found == code
        assert hub.listeners(user_id) == 0


async def test_a_deleted_token_closes_its_socket_only(env):
    """The browser of the same user keeps its own."""
    async with env.browser("asha") as client:
        made = (await client.post("/api/auth/tokens", json={"name": "script"})).json()
        async with (
            live(env.app, authorization=f"Bearer {made['token']}") as program,
            live(env.app, cookie=cookie_of(client)) as page,
        ):
            await program.receive()
            await page.receive()
            await client.delete(f"/api/auth/tokens/{made['id']}")
            code, _ = await program.until_closed()
            env.services.context.hub.publish(EVERYBODY, BrokerOutageChanged(True, "inc_1", env.clock.now()))

            assert code == 4401
            assert (await page.receive())["type"] == "brokerOutage"


async def end_in_the_database(env: WebEnvironment, user_id: str, what: str) -> None:
    """Change the database as a command or another process does; this process is not notified."""
    async with env.services.context.store.begin() as work:
        if what == "login":
            await work.logins.remove_browsers_of(user_id)
        elif what == "role":
            await work.users.set_role(user_id, Role.TRADER)
        else:
            await work.users.remove(user_id)
        await work.commit()


@pytest.mark.parametrize(("what", "code"), [("login", 4401), ("role", 1001), ("user", 4401)])
async def test_a_login_that_another_process_ends_closes_its_socket(env, what, code):
    """The database is read twice a second while a socket is open."""
    async with (
        env.browser("asha", role=Role.ADMIN) as client,
        env.browser("biren") as other,
        live(env.app, cookie=cookie_of(client)) as socket,
        live(env.app, cookie=cookie_of(other)) as stays,
    ):
        await socket.receive()
        await stays.receive()
        await env.services.login_changes.read()
        await end_in_the_database(env, await id_of(client), what)
        reading = asyncio.create_task(env.services.login_changes.run(lambda: None))
        await env.clock.advance(1)
        found, _ = await socket.until_closed()
        reading.cancel()
        env.services.context.hub.publish(EVERYBODY, BrokerOutageChanged(True, "inc_1", env.clock.now()))

        assert found == code
        assert (await stays.receive())["type"] == "brokerOutage"


async def test_a_database_that_cannot_be_read_closes_no_socket(env, monkeypatch):
    """The login is checked again when it can be read."""
    async with env.browser("asha") as client, live(env.app, cookie=cookie_of(client)) as socket:
        await socket.receive()
        real, user_id = env.services.authentication.authenticate, await id_of(client)

        async def unavailable(**_):
            raise StorageUnavailable("The database does not answer.")

        monkeypatch.setattr(
            type(env.services.authentication), "authenticate", lambda _, **given: unavailable()
        )
        env.services.authentication.forget(user_id)
        await env.clock.advance(5)
        assert env.services.context.hub.listeners(user_id) == 1

        monkeypatch.setattr(
            type(env.services.authentication), "authenticate", lambda _, **given: real(**given)
        )
        await logout(env, client)
        await env.clock.advance(1)
        assert (await socket.until_closed())[0] == 4401


async def test_sockets_of_one_user_are_limited(env):
    """One user can open twenty sockets; a closed one can be replaced."""
    async with env.browser("asha") as client:
        cookie = cookie_of(client)
        done = asyncio.Event()

        async def hold() -> None:
            async with live(env.app, cookie=cookie) as socket:
                await socket.receive()
                await done.wait()

        holders = [asyncio.create_task(hold()) for _ in range(20)]
        await env.clock.settle()
        refused = await code_of_refusal(env, cookie=cookie)
        done.set()
        await asyncio.gather(*holders)
        async with live(env.app, cookie=cookie) as socket:
            assert (await socket.receive())["type"] == "hello"

    assert refused == 4429


async def test_closed_socket_ends_its_subscription(env):
    """A closed socket must not use memory."""
    async with env.browser("asha") as client:
        async with live(env.app, cookie=cookie_of(client)) as socket:
            await socket.receive()
            assert env.hub.listeners(await id_of(client)) == 1
        assert env.hub.listeners(await id_of(client)) == 0


async def test_stopping_server_closes_sockets(env):
    """The hub closes at the end of the server, and sockets get the code 1001."""
    async with env.browser("asha") as client, live(env.app, cookie=cookie_of(client)) as socket:
        await socket.receive()
        env.hub.close()
        with pytest.raises(Closed) as closed:
            await socket.receive()

    assert closed.value.code == 1001
