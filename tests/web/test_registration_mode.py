"""Who may register by a request; `hullwatch.web.registration`."""

import pytest
from fakes.clock import FakeClock

from hullwatch.domain.users.accounts import Role
from hullwatch.web.config import WebConfig
from web.web_environment import BASE, PASSWORD, WebEnvironment, make_supervisor

NEW = {"email": "asha@b.in", "password": PASSWORD, "fullName": "Asha Rao"}
PROXIED = [
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-For": ""},
    {"x-forwarded-proto": "https"},
    {"X-Forwarded-Host": "hw.example.com"},
    {"Forwarded": "for=203.0.113.9"},
    {"Via": "1.1 proxy"},
    {"X-Real-IP": "203.0.113.9"},
    {"CF-Connecting-IP": "203.0.113.9"},
]
FOREIGN = [
    # A proxy that sends the address it calls as `Host`, as nginx does without more settings.
    {"Origin": "https://hw.example.com", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "http://127.0.0.1:9999"},
    # The request guard lets programs with a token pass; their `Origin` counts here all the same.
    {"Origin": "https://evil.example", "Authorization": "Bearer hw_made-up"},
    {"Sec-Fetch-Site": "cross-site", "Authorization": "Bearer hw_made-up"},
]


@pytest.mark.parametrize("headers", PROXIED + FOREIGN, ids=lambda headers: " ".join(headers.values()))
async def test_open_registration_is_for_people_at_this_machine(env, headers):
    """The first account would be an admin: a request from elsewhere makes none, whatever the settings say."""
    async with env.client() as client:
        refused = await client.post("/api/auth/register", json=NEW, headers=headers)
        here = await client.post("/api/auth/register", json=NEW, headers={"Origin": BASE})

    assert refused.status_code == 403
    assert here.json()["role"] == "admin"


@pytest.mark.parametrize("headers", PROXIED, ids=lambda headers: " ".join(headers.values()))
async def test_an_invite_is_good_through_a_proxy(env, headers):
    """The mode of such a request is by invitation, and the page gets it before it offers a form."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.client(headers=headers) as client:
        url = (await admin.post("/api/admin/invites")).json()["url"]
        new = {**NEW, "email": "biren@b.in", "invite": url.partition("#invite=")[2]}
        answer = await client.post("/api/auth/register", json=new)
        shown = await client.get("/api/dashboard")

    assert (answer.status_code, answer.json()["role"]) == (201, "trader")
    assert shown.json()["registration"] == "invite"


@pytest.mark.parametrize("mode", ["invite", "closed"])
async def test_other_modes_do_not_depend_on_the_request(mode):
    """Nobody at this machine can register either."""
    clock = FakeClock()
    async with make_supervisor(clock) as supervisor:
        env = WebEnvironment(supervisor, clock, WebConfig(registration=mode))
        async with env.client() as client:
            shown = (await client.get("/api/dashboard")).json()
            answer = await client.post("/api/auth/register", json=NEW)

    assert shown["registration"] == mode
    assert answer.status_code == 403
