"""No secret is exposed: recognisable secrets appear in no other answer, header, log line or traceback than in their own."""

import logging
import re
import traceback

import httpx2
import pytest
import structlog

from hullwatch.domain.notifications.channels import Refused
from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import Role
from web.event_client import live
from web.web_environment import APP_SECRET

PASSWORD = "canary-password-1"
NEW_PASSWORD = "canary-password-2"
RESET_PASSWORD = "canary-password-3"
OWN_SECRET = "canary-own-secret"
PASTED = "canary-pasted-code"
HOOK = "https://hooks.example/canary-hook-path?key=canary-hook-key"
BOT = "123456789:canary-bot-token-of-telegram-000"
SLACK = "https://hooks.slack.com/services/T1/A1/canarySlackSecret"
MAIL = "canary.mailbox@example.com"
WRONG = "https://user:canary-wrong-word@hooks.example/"
LINK = "https://hull.example/reconnect#canary-login-link"
CHANNEL_SECRETS = (
    "canary-hook",
    "canary-bot",
    "canarySlack",
    "canary.mailbox",
    "canary-wrong",
    "canary-login-link",
)
PIN = "739146"
WRONG_PIN = "canary-wrong-pin"


class Recorder:
    """Records all answers and pushed events."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str]] = []

    async def note(self, response: httpx2.Response) -> None:
        """Record an answer with its headers."""
        await response.aread()
        request = f"{response.request.method} {response.request.url.path}"
        self.answers.append((request, f"{response.headers!r} {response.text}"))

    def requests_with(self, secret: str) -> list[str]:
        """Return the requests whose answer contains a secret."""
        return [request for request, text in self.answers if secret in text]


async def walk(env, recorder: Recorder) -> dict[str, str]:
    """Use every part once correctly and once wrongly; return the secrets that were created."""
    secrets: dict[str, str] = {}
    async with env.client(event_hooks={"response": [recorder.note]}) as client:
        new = {"email": "asha@b.in", "password": PASSWORD, "fullName": "Asha"}
        await client.post("/api/auth/register", json=new)
        await client.post("/api/auth/register", json=new)
        await client.post("/api/auth/register", json=new | {"email": PASSWORD, "fullName": {"x": PASSWORD}})
        await client.post("/api/auth/login", json={"email": PASSWORD, "password": PASSWORD})
        await client.post("/api/auth/login", json={"email": "asha@b.in", "password": {"$": PASSWORD}})
        await client.put(
            "/api/auth/password", json={"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        )
        secrets["cookie"] = client.cookies["hullwatch_session"]
        secrets["token"] = (await client.post("/api/auth/tokens", json={"name": "script"})).json()["token"]
        await client.get("/api/auth/tokens")
        await client.get("/api/auth/me", headers={"Authorization": f"Basic {secrets['token']}"})
        secrets["invite"] = (await client.post("/api/admin/invites")).json()["url"].rpartition("=")[2]
        await password_reset(client, env, secrets)
        await fyers(client, env, secrets)
        await login_link(client, env, secrets)
        await channels(client, env, secrets)
        for address in ("", "?limit=500"):
            await client.get(f"/api/admin/events{address}")
        for address in (
            "/", "/metrics", "/readyz", "/api/docs", "/api/openapi.json", "/api/admin/token-health", "/api/admin/jobs",
            "/api/token-validation/status", "/api/token-validation/cache-stats", "/api/notifications", "/api/fyers/app",
            "/api/monitoring/state", "/api/hma/NSE:SBIN-EQ", "/api/market/quotes?symbols=NSE:SBIN-EQ",
        ):  # fmt: skip
            await client.get(address)
        async with live(env.app, cookie=secrets["cookie"], query="after=0") as socket:
            await env.clock.settle()
            recorder.answers += [("WS /api/events", repr(message)) for message in socket.waiting]
        await client.post("/api/fyers/disconnect")
        await client.post("/api/auth/logout")
    return secrets


async def password_reset(client: httpx2.AsyncClient, env, secrets: dict[str, str]) -> None:
    """Create a reset link, and use it wrongly, correctly and a second time."""
    other = await env.add_user("ravi")
    made = await client.post(f"/api/admin/users/{other.id}/reset-link")
    secrets["reset link"] = link = made.json()["url"].rpartition("#reset=")[2]
    async with env.client(event_hooks=client.event_hooks) as visitor:
        for body in (
            {"reset": link, "newPassword": "password12"},
            {"reset": {"x": link}, "newPassword": RESET_PASSWORD},
            {"newPassword": link},
            {"reset": RESET_PASSWORD, "newPassword": RESET_PASSWORD},
            {"reset": link, "newPassword": RESET_PASSWORD},
            {"reset": link, "newPassword": RESET_PASSWORD},
        ):
            await visitor.post("/api/auth/reset", json=body)
        for address in (f"/?reset={link}", f"/api/auth/reset?reset={link}", f"/reset/{link}"):
            await visitor.get(address)
        await visitor.post("/api/auth/login", json={"email": other.email, "password": RESET_PASSWORD})
        secrets["reset cookie"] = visitor.cookies["hullwatch_session"]


class Links:
    """Creates one link."""

    async def link_for(self, user_id: str, *, requested_by: str = "hullwatch") -> SecretText:
        """Return the link."""
        return SecretText(LINK)


async def channels(client: httpx2.AsyncClient, env, secrets: dict[str, str]) -> None:
    """Add valid and invalid channels of all kinds; one accepts its messages, one refuses them and one raises."""
    path = "/api/notifications/channels"
    env.outbox._make_link = Links().link_for
    env.outbox.start_jobs(env.supervisor)
    kinds = ["session_disconnected", "signal"]

    def broken(message):
        raise RuntimeError(HOOK, message.login_link.reveal() if message.login_link else BOT)

    env.channels.behaviours[HOOK] = broken
    for body in (
        {"kind": "webhook", "address": HOOK},
        {"kind": "telegram", "botToken": BOT, "chat": "42"},
        {"kind": "slack", "address": SLACK},
        {"kind": "email", "address": MAIL},
    ):
        added = await client.post(path, json={"label": "mine", "kinds": kinds, **body})
        secrets.setdefault("signing secret", added.json().get("signingSecret") or "")
        address = f"{path}/{added.json()['channel']['id']}"
        if body["kind"] == "email":
            await client.post(f"{address}/code")
            secrets["mailed code"] = re.search(r"\d{4}-\d{4}", env.channels.mails[0][1].text.reveal())[0]
            await client.post(f"{address}/confirm", json={"code": f"wrong {secrets['mailed code']}"})
            await client.post(f"{address}/confirm", json={"code": secrets["mailed code"]})
            await client.post("/api/auth/forgotten", json={"email": "asha@b.in"})
            await env.clock.settle()
            mail = env.channels.mails[-1][1].text.reveal()
            secrets["mailed reset link"] = re.search(r"#reset=([\w-]+)", mail)[1]
            env.channels.behaviours[MAIL] = lambda _: Refused("The mail server refused the recipient (550).")
        await client.post(f"{address}/test")
        await env.clock.advance(61)
    await client.post(path, json={"kind": "webhook", "label": WRONG, "kinds": kinds, "address": WRONG})
    await client.post(path, json={"kind": "email", "label": "x", "kinds": [HOOK], "address": {"x": MAIL}})
    held = next(iter(env.store.tables.users))
    async with env.store.begin() as work:
        notice = Notification(
            "ntc_canary", held, NotificationKind.SESSION_DISCONNECTED, "Over", "Text", env.clock.now()
        )
        await work.notifications.add(notice)
        await work.commit()
    await env.clock.advance(600)
    assert any(message.login_link for _, message in env.channels.arrived)
    for address in (path, "/api/notifications/deliveries", "/api/admin/deliveries", "/api/notifications"):
        await client.get(address)


async def fyers(client: httpx2.AsyncClient, env, secrets: dict[str, str]) -> None:
    """Log in to Fyers, fail to log in, and log in again."""
    secrets["state"] = httpx2.URL((await client.post("/api/fyers/connect")).json()["url"]).params["state"]
    secrets["nonce"] = client.cookies["hullwatch_link"]
    secrets["code"] = "canary-code-of-the-redirect"
    env.broker._auth_codes[secrets["code"]] = "XA001"
    query = {"s": "ok", "auth_code": secrets["code"], "state": secrets["state"]}
    await client.get("/api/fyers/callback", params=query)
    await client.get("/api/fyers/callback", params=query, headers={"Accept": "text/html"})
    await client.get("/api/fyers/callback", params=query | {"state": "x"})
    app = {"appId": "OWNAPP1-100", "secret": OWN_SECRET, "redirectUri": "https://own.in/back"}
    await client.put("/api/fyers/app", json=app)
    await client.put("/api/fyers/app", json=app | {"appId": OWN_SECRET})
    await client.put("/api/fyers/app", json={"secret": OWN_SECRET})
    for pin in (WRONG_PIN, {"x": WRONG_PIN}, [WRONG_PIN], WRONG_PIN * 9, PIN):
        await client.put("/api/fyers/renewal", json={"pin": pin})
    await client.get("/api/fyers/renewal")
    again = env.broker.issue_auth_code("XA001").reveal()
    await client.post("/api/fyers/authorize", json={"authCode": again})
    secrets["refresh token"] = next(iter(env.store.tables.refresh_tokens.values())).reveal()
    await client.get("/api/fyers/renewal")
    for pasted in (PASTED, f"https://x.in/?auth_code={PASTED}", {"code": PASTED}):
        await client.post("/api/fyers/authorize", json={"authCode": pasted})
    held = env.connections.credential(next(iter(env.store.tables.users)))
    secrets["access token"] = held.token.reveal()


async def login_link(client: httpx2.AsyncClient, env, secrets: dict[str, str]) -> None:
    """Create a login link, use it correctly and wrongly on another device, and after its expiry."""
    await client.delete("/api/fyers/app")  # it sends browsers elsewhere
    link = (await client.post("/api/fyers/link")).json()["url"].rpartition("#")[2]
    secrets["login link"] = link
    async with env.client(event_hooks=client.event_hooks) as phone:
        for body in ({"link": link}, {"link": f"{link}x"}, {"link": {"x": link}}, [link], link):
            await phone.post("/api/reconnect/open", json=body)
        secrets["link nonce"] = phone.cookies["hullwatch_reconnect"]
        url = httpx2.URL((await phone.post("/api/reconnect/begin", json={"link": link})).json()["url"])
        secrets["link state"] = url.params["state"]
        for address in (f"/reconnect?link={link}", f"/reconnect/{link}", f"/api/reconnect/{link}"):
            await phone.get(address)
        secrets["link code"] = "canary-code-of-the-link"
        env.broker._auth_codes[secrets["link code"]] = "XA001"
        query = {"s": "ok", "auth_code": secrets["link code"], "state": secrets["link state"]}
        for headers in ({}, {"Accept": "text/html"}):
            await phone.get("/api/fyers/callback", params=query, headers=headers)
        await phone.get("/reconnect/done")
        for what in ("look", "begin", "again"):
            await phone.post(f"/api/reconnect/{what}", json={"link": link})
    await client.post(f"/api/admin/users/{link}/login-link")


async def test_secrets_appear_only_in_their_own_answers(env, caplog, capsys):
    """A secret is answered once, to its user, and is in no other answer and in no log."""
    recorder = Recorder()
    caplog.set_level(logging.DEBUG)

    with structlog.testing.capture_logs() as lines:
        secrets = await walk(env, recorder)

    printed = capsys.readouterr()
    ours = [
        record.getMessage() for record in caplog.records if record.name != "httpx2"
    ]  # that one is the browser
    logged = repr(lines) + repr(ours) + printed.out + printed.err
    for secret in [
        *(PASSWORD, NEW_PASSWORD, RESET_PASSWORD, OWN_SECRET, PASTED, APP_SECRET, PIN, WRONG_PIN),
        *secrets.values(),
    ]:
        assert secret not in logged
    for secret in (
        PASSWORD,
        NEW_PASSWORD,
        RESET_PASSWORD,
        OWN_SECRET,
        PASTED,
        APP_SECRET,
        PIN,
        WRONG_PIN,
        secrets["refresh token"],
        secrets["code"],
        secrets["access token"],
        secrets["link code"],
    ):
        assert recorder.requests_with(secret) == []
    for secret in CHANNEL_SECRETS:
        assert secret not in logged
        assert recorder.requests_with(secret) == []
    assert recorder.requests_with(secrets["signing secret"]) == ["POST /api/notifications/channels"]
    assert secrets["signing secret"] not in logged
    assert recorder.requests_with(secrets["cookie"]) == ["PUT /api/auth/password"]
    assert recorder.requests_with(secrets["token"]) == ["POST /api/auth/tokens"]
    assert recorder.requests_with(secrets["invite"]) == ["POST /api/admin/invites"]
    (reset_answer,) = recorder.requests_with(secrets["reset link"])
    assert reset_answer.startswith("POST /api/admin/users/")
    assert reset_answer.endswith("/reset-link")
    assert set(recorder.requests_with(secrets["state"])) == {"POST /api/fyers/connect"}
    assert set(recorder.requests_with(secrets["nonce"])) == {"POST /api/fyers/connect"}
    assert recorder.requests_with(secrets["login link"]) == ["POST /api/fyers/link"]
    assert set(recorder.requests_with(secrets["link state"])) == {"POST /api/reconnect/begin"}
    assert set(recorder.requests_with(secrets["link nonce"])) == {
        "POST /api/reconnect/open",
        "POST /api/reconnect/begin",
    }
    assert len(lines) > 30


async def test_stored_values_are_hashes_of_what_is_handed_out(env):
    """A copy of the database must not contain passwords or the values of logins, tokens, states, nonces and invites."""
    secrets = await walk(env, Recorder())

    rows = repr(env.store.tables)

    for name in (
        "cookie",
        "token",
        "invite",
        "state",
        "nonce",
        "access token",
        "refresh token",
        "login link",
        "reset link",
        "link state",
        "link nonce",
    ):
        assert secrets[name] not in rows
    assert PASSWORD not in rows
    assert PIN not in rows
    for secret in (*CHANNEL_SECRETS, secrets["signing secret"]):
        assert secret not in rows


@pytest.mark.parametrize("method", ["exchange_auth_code", "login_url"])
async def test_texts_of_exceptions_are_not_exposed(env, method):
    """The text of an exception or of its causes can contain the auth code or the secret of the app."""

    def broken(app, value):
        given = value.reveal() if hasattr(value, "reveal") else value
        raise RuntimeError(given + app.secret.reveal()) from KeyError(given)

    setattr(env.broker, method, broken)
    async with env.browser("asha", role=Role.ADMIN) as client:
        with structlog.testing.capture_logs() as lines:
            connected = await client.post("/api/fyers/connect")
            pasted = await client.post("/api/fyers/authorize", json={"authCode": PASTED})

    assert 500 in (connected.status_code, pasted.status_code)
    for text in (connected.text, pasted.text, repr(lines)):
        assert PASTED not in text
        assert APP_SECRET not in text


async def test_tracebacks_show_no_secret(env):
    """A traceback printed with its frames' values, as some loggers do, masks secrets that are in our types."""
    try:
        app = env.services.fyers_login._apps._server_app
        app.secret.missing  # noqa: B018 - meant to fail
    except AttributeError as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        text = "".join(frames.format())

    assert "object has no attribute 'missing'" in text
    assert "app = FyersApp(" in text
    assert APP_SECRET not in text
