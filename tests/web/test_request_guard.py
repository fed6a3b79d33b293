"""The request guard and the problem documents; `hullwatch.web.request_guard` and `hullwatch.web.errors`."""

import re

import httpx2
import pytest
import structlog
from fakes.clock import FakeClock

from hullwatch.web.config import WebConfig
from web.web_environment import BASE, PASSWORD, WebEnvironment, make_supervisor

LOGIN = "/api/auth/login"
JSON = {"Content-Type": "application/json"}


async def post_raw(env: WebEnvironment, body: bytes, headers: dict[str, str] = JSON) -> httpx2.Response:
    """Send a body as it is to the login."""
    async with env.client() as client:
        return await client.post(LOGIN, content=body, headers=headers)


@pytest.mark.parametrize("address", ["/", "/api/docs", "/api/auth/me", "/healthz", "/nowhere", "/plain.css"])
async def test_every_answer_carries_the_security_headers(env, address):
    """Pages, API answers and refusals alike forbid framing, sniffing, referrers and foreign content."""
    async with env.client() as client:
        answer = await client.get(address)

    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-frame-options"] == "DENY"
    assert len(answer.headers["x-request-id"]) == 16
    assert "strict-transport-security" not in answer.headers


async def test_api_answers_are_not_stored(env):
    """No cache keeps an answer of the API."""
    async with env.client() as client:
        for address in ("/api/auth/me", "/api/token-validation/status", "/api/nowhere"):
            assert (await client.get(address)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "evil.example:8000", "localhost.:8000"]
)
async def test_foreign_host_is_refused(env, host):
    """DNS rebinding: a foreign name reaches no route, not even the health check."""
    async with env.client() as client:
        answer = await client.get("/healthz", headers={"Host": host})

    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:9", "[::1]:8000"])
async def test_own_hosts_are_served(env, host):
    """Loopback names are served on any port."""
    async with env.client() as client:
        answer = await client.get("/healthz", headers={"Host": host})

    assert answer.status_code == 200


async def test_public_name_is_served_securely():
    """With an https address cookies are Secure, and browsers are asked to use https only."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        env = WebEnvironment(supervisor, clock, WebConfig(public_url="https://watch.example.in"))
        await env.add_user("asha")
        async with env.client() as client:
            headers = {"Host": "watch.example.in", "Origin": "https://watch.example.in"}
            answer = await client.post(
                LOGIN, json={"email": "asha@b.in", "password": PASSWORD}, headers=headers
            )

    assert answer.status_code == 200
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 204),
        ({"Origin": BASE}, 204),
        ({"Sec-Fetch-Site": "same-origin", "Origin": BASE}, 204),
        ({"Sec-Fetch-Site": "none"}, 204),
        ({"Origin": "http://localhost:8000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8001"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": BASE}, 403),
    ],
)
async def test_changes_come_from_our_own_pages(env, headers, status):
    """A request that a browser sends for another site's page changes nothing, cookie or not."""
    async with env.browser("asha") as client:
        answer = await client.post("/api/auth/logout", headers=headers)
        me = await client.get("/api/auth/me")

    assert answer.status_code == status
    assert me.status_code == (401 if status == 204 else 200)


async def test_api_tokens_need_no_origin(env):
    """No page of another website can send the header of a program."""
    async with env.browser("asha") as browser, env.client() as program:
        token = (await browser.post("/api/auth/tokens", json={"name": "script"})).json()["token"]
        headers = {"Authorization": f"Bearer {token}", "Origin": "https://evil.example"}
        answer = await program.post("/api/monitoring/stop", headers=headers)

    assert answer.status_code == 200


async def test_large_bodies_are_refused_before_they_are_read(env):
    """More than 256 kB is refused, whether the length is announced or not."""

    async def endless():
        for _ in range(100):
            yield b" " * 10_000

    announced = await post_raw(env, b" " * 300_000)
    async with env.client() as client:
        unannounced = await client.post(LOGIN, content=endless(), headers=JSON)

    assert announced.status_code == unannounced.status_code == 413
    assert announced.json()["type"] == "urn:hullwatch:problem:too-large"


DEEP = b'{"email":' + b"[" * 100_000 + b"]" * 100_000 + b',"password":"x"}'


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"true", b'"text"', b"\xff\xfe", b'{"email": 1, "password": 2}', b'{"email": "a@b.in"}',
        b'{"email": "\\u0000", "password": "\\u0000"}', b'{"email": "\\ud800@b.in", "password": "x"}',
        b'{"email": "a@b.in", "password": "\\udfff"}', b'{"email": {"$ne": null}, "password": {"$ne": null}}',
        b'{"email": ' + b"9" * 5000 + b', "password": "x"}', b'{"email": NaN, "password": Infinity}', DEEP,
        b'{"email": "' + b"a" * 100_000 + b'", "password": "x"}',
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
async def test_malformed_bodies_are_the_senders_fault(env, body):
    """Every invalid body gets a problem document with a status of 400 to 499."""
    answer = await post_raw(env, body)

    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_only_json_is_read(env, content_type):
    """A form that another page could post is not taken for JSON."""
    await env.add_user("asha")
    body = f'{{"email": "asha@b.in", "password": "{PASSWORD}"}}'.encode()

    answer = await post_raw(env, body, {"Content-Type": content_type})

    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


async def test_problems_name_fields_and_no_values(env):
    """A password can be in the wrong field, so no value is quoted."""
    secret = "canary-" + "x" * 2000
    async with env.client() as client:
        answer = await client.post(
            "/api/auth/register", json={"email": 5, "password": secret, "fullName": [secret]}
        )

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["email", "password", "fullName"]
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    "address", ["/nowhere", "/api/nowhere", "/api/auth/me/", "/api/hma/a/b", "/..%2f..%2fetc", "/%00"]
)
async def test_unknown_addresses_are_problems(env, address):
    """What is not there is a 404 in the same form as every other refusal."""
    async with env.client() as client:
        answer = await client.get(address)

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:hullwatch:problem:no-such-address"


async def test_unknown_methods_are_problems(env):
    """A method that an address does not take is a 405 that names the others."""
    async with env.client() as client:
        answer = await client.put(LOGIN, json={})

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_405_names_all_methods_of_its_address(env):
    """Each route knows its own methods only; compared with the document of the API."""
    paths = env.app.openapi()["paths"]
    async with env.client() as client:
        for path, operations in paths.items():
            address = re.sub(r"{[^}]*}", "made-up", path)
            answer = await client.request("PROPFIND", address)
            allowed = set(answer.headers["allow"].split(", "))

            assert answer.status_code == 405, path
            assert {method.upper() for method in operations} <= allowed, path


async def test_text_of_an_unexpected_exception_is_not_exposed(env):
    """Neither the answer nor the log has the text; the log has the frames."""

    async def broken(user_id):
        raise LookupError("canary-in-the-exception")

    async with env.browser("asha") as client:
        object.__setattr__(env.services.fyers_login, "app", broken)
        with structlog.testing.capture_logs() as lines:
            answer = await client.get("/api/fyers/app")

    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:hullwatch:problem:unexpected"
    assert "canary" not in answer.text + repr(lines)
    assert answer.headers["x-content-type-options"] == "nosniff"
    broke = next(line for line in lines if line["event"] == "request.failed")
    assert broke["error"] == "LookupError"
    assert broke["request_id"] == answer.headers["x-request-id"]
    assert any("broken" in frame for frame in broke["at"])


async def test_request_log_names_routes_only(env):
    """The log has method, route, status and time, but no address, query, id or cookie."""
    async with env.browser("asha") as client:
        with structlog.testing.capture_logs() as lines:
            await client.get("/api/hma/NSE:SBIN-EQ?period=54321&canary=1")
            await client.delete("/api/auth/tokens/canary-id")
            await client.get("/api/canary")

    assert [(line["route"], line["status"]) for line in lines] == [
        ("/api/hma/{symbol}", 422),
        ("/api/auth/tokens/{token_id}", 404),
        ("unknown", 404),
    ]
    assert {line["component"] for line in lines} == {"Api"}
    assert "canary" not in repr(lines)


async def test_unavailable_database_is_503(env):
    """The answer has a time to retry; answers from memory still work."""
    async with env.browser("asha") as client:
        env.store.is_down = True
        answer = await client.get("/api/fyers/app")
        known = await client.get("/api/fyers/status")

    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:hullwatch:problem:storage-unavailable"
    assert int(answer.headers["retry-after"]) > 0
    assert known.status_code in (200, 503)
