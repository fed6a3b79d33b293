"""Accounts and logins over HTTP; `hullwatch.web.api.auth`."""

from contextlib import AsyncExitStack

import pytest
from fakes.clock import FakeClock

from hullwatch.domain.users.accounts import Role
from hullwatch.web.config import WebConfig
from web.web_environment import PASSWORD, WebEnvironment, make_supervisor

NEW = {"email": "asha@b.in", "password": PASSWORD, "fullName": "Asha Rao"}


async def test_registering_signs_in(env):
    """A registration signs the user in; the first account is an admin, and the answer contains no secret."""
    async with env.client() as client:
        answer = await client.post("/api/auth/register", json=NEW)
        me = await client.get("/api/auth/me")

    assert answer.status_code == 201
    assert me.json() == answer.json()
    assert answer.json() == {
        "id": answer.json()["id"],
        "email": "asha@b.in",
        "fullName": "Asha Rao",
        "role": "admin",
    }


async def test_login_cookie_is_kept_from_scripts_and_other_sites(env):
    """The cookie is HttpOnly and SameSite=Lax, and Secure only where users come by https."""
    await env.add_user("asha")
    async with env.client() as client:
        answer = await client.post("/api/auth/login", json={"email": "asha@b.in", "password": PASSWORD})

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("hullwatch_session=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie


async def test_login_cookie_behind_https_belongs_to_this_host():
    """No other host of the domain can set it, and its plain name is not accepted."""
    clock, address = FakeClock(), "https://hw.example.com"
    async with AsyncExitStack() as stack:
        supervisor = await stack.enter_async_context(make_supervisor(clock))
        env = WebEnvironment(supervisor, clock, WebConfig(public_url=address))
        await env.add_user("asha")
        client = await stack.enter_async_context(env.client(base_url=address))
        answer = await client.post("/api/auth/login", json={"email": "asha@b.in", "password": PASSWORD})
        cookie = answer.headers["set-cookie"]
        value = cookie.split("=", 1)[1].split(";")[0]
        own = await client.get("/api/auth/me")
        out = await client.post("/api/auth/logout")
        after = await client.get("/api/auth/me")
        plain = await client.get("/api/auth/me", headers={"Cookie": f"hullwatch_session={value}"})

    assert cookie.startswith("__Host-hullwatch_session=")
    assert {"HttpOnly", "Secure", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
    assert (own.status_code, out.status_code, after.status_code, plain.status_code) == (200, 204, 401, 401)
    assert (
        env.app.openapi()["components"]["securitySchemes"]["browserLogin"]["name"]
        == "__Host-hullwatch_session"
    )


async def test_wrong_password_is_a_problem_document(env):
    """A wrong password and an unknown e-mail address get the same sentence with status 401."""
    await env.add_user("asha")
    async with env.client() as client:
        wrong = await client.post("/api/auth/login", json={"email": "asha@b.in", "password": "guess guess"})
        unknown = await client.post("/api/auth/login", json={"email": "who@b.in", "password": "guess guess"})

    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.json()["type"] == "urn:hullwatch:problem:wrong-credentials"


async def test_guessing_is_answered_with_a_wait(env):
    """Too many guesses are answered 429 with the seconds to wait."""
    await env.add_user("asha")
    async with env.client() as client:
        for _ in range(6):
            answer = await client.post(
                "/api/auth/login", json={"email": "asha@b.in", "password": "guess guess"}
            )

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_logout_ends_the_login(env):
    """After a logout neither the browser nor a copy of its cookie is signed in."""
    async with env.browser("asha") as client:
        stolen = dict(client.cookies)
        answer = await client.post("/api/auth/logout")
        after = await client.get("/api/auth/me")
        async with env.client(cookies=stolen) as thief:
            copied = await thief.get("/api/auth/me")

    assert answer.status_code == 204
    assert after.status_code == copied.status_code == 401


async def test_api_token_works_as_bearer(env):
    """A program signs in by its token alone; the list shows no value; a deleted one is refused."""
    async with env.browser("asha") as browser, env.client() as program:
        made = await browser.post("/api/auth/tokens", json={"name": "script"})
        bearer = {"Authorization": f"Bearer {made.json()['token']}"}
        me = await program.get("/api/auth/me", headers=bearer)
        listed = await browser.get("/api/auth/tokens")
        await browser.delete(f"/api/auth/tokens/{made.json()['id']}")
        after = await program.get("/api/auth/me", headers=bearer)

    assert made.status_code == 201
    assert me.json()["email"] == "asha@b.in"
    assert made.json()["token"] not in listed.text
    assert [token["name"] for token in listed.json()["tokens"]] == ["script"]
    assert after.status_code == 401


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer", "Basic YTpi", "", "Bearer \xff"])
async def test_bad_authorization_is_not_helped_by_a_cookie(env, header):
    """An Authorization header that is wrong is refused even with a good cookie beside it."""
    async with env.browser("asha") as client:
        answer = await client.get("/api/auth/me", headers={"Authorization": header.encode("latin-1")})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_password_change_signs_other_browsers_out(env):
    """The browser that changes the password stays signed in; others do not."""
    async with env.browser("asha") as here, env.client() as there:
        await there.post("/api/auth/login", json={"email": "asha@b.in", "password": PASSWORD})
        body = {"currentPassword": PASSWORD, "newPassword": "another good one"}
        answer = await here.put("/api/auth/password", json=body)

        assert answer.status_code == 204
        assert (await here.get("/api/auth/me")).status_code == 200
        assert (await there.get("/api/auth/me")).status_code == 401


async def test_name_is_changed(env):
    """The answer and the next request show the new name."""
    async with env.browser("asha") as client:
        answer = await client.patch("/api/auth/me", json={"fullName": "Asha R."})
        me = await client.get("/api/auth/me")

    assert answer.json() == me.json()
    assert me.json()["fullName"] == "Asha R."


async def test_roles_and_invites_are_for_admins(env):
    """An admin makes invites and changes roles; a trader may not, and the last admin stays."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        user_id = (await trader.get("/api/auth/me")).json()["id"]
        admin_id = (await admin.get("/api/auth/me")).json()["id"]
        refused = await trader.post("/api/admin/invites")
        invite = await admin.post("/api/admin/invites")
        last = await admin.put(f"/api/admin/users/{admin_id}/role", json={"role": "trader"})
        raised = await admin.put(f"/api/admin/users/{user_id}/role", json={"role": "admin"})
        me = await trader.get("/api/auth/me")

    assert refused.status_code == last.status_code == 403
    assert invite.json()["url"].startswith("http://127.0.0.1:8000/#invite=")
    assert raised.status_code == 200
    assert me.json()["role"] == "admin"


async def test_admin_removes_an_account(env):
    """A removed account is signed out at once; nobody can remove their own account."""
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        user_id = (await trader.get("/api/auth/me")).json()["id"]
        admin_id = (await admin.get("/api/auth/me")).json()["id"]
        gone = await admin.delete(f"/api/admin/users/{user_id}")
        own = await admin.delete(f"/api/admin/users/{admin_id}")
        after = await trader.get("/api/auth/me")

    assert (gone.status_code, own.status_code, after.status_code) == (204, 403, 401)


async def test_reset_link_changes_the_password_of_another_user(env):
    """Only an admin gets one. It is used without a login, and signs nobody in."""
    async with env.browser("boss", role=Role.ADMIN) as admin, env.browser("asha") as trader:
        asha = (await trader.get("/api/auth/me")).json()["id"]
        refused = await trader.post(f"/api/admin/users/{asha}/reset-link")
        made = await admin.post(f"/api/admin/users/{asha}/reset-link")
        value = made.json()["url"].rpartition("/#reset=")[2]
        async with env.client() as anybody:
            body = {"reset": value, "newPassword": "another good one"}
            easy = await anybody.post("/api/auth/reset", json=body | {"newPassword": "password12"})
            used = await anybody.post("/api/auth/reset", json=body)
            again = await anybody.post("/api/auth/reset", json=body)
            signed_in = await anybody.get("/api/auth/me")
        old = await trader.get("/api/auth/me")

    assert (refused.status_code, made.status_code) == (403, 201)
    assert easy.json()["errors"][0]["field"] == "password"
    assert (used.status_code, used.headers.get("set-cookie"), used.text) == (204, None, "")
    assert (again.status_code, again.json()["type"]) == (410, "urn:hullwatch:problem:reset-link-expired")
    assert (signed_in.status_code, old.status_code) == (401, 401)


async def sign_in(env, client) -> None:
    """Sign another browser of Asha in."""
    login = {"email": "asha@b.in", "password": PASSWORD}
    assert (await client.post("/api/auth/login", json=login)).status_code == 200


async def notices_of(client) -> list[str]:
    """Return the titles of the user's notices, newest first."""
    found = (await client.get("/api/notifications")).json()["notifications"]
    return [one["title"] for one in found if one["kind"] == "account_changed"]


async def test_browser_logins_are_listed_and_ended(env):
    """Newest first; the calling one is marked, and values or whole hashes are not shown."""
    async with env.browser("asha") as first, env.client() as second, env.browser("biren") as other:
        await env.clock.advance(60)
        await sign_in(env, second)
        listed = (await first.get("/api/auth/logins")).json()["logins"]
        foreign = await other.delete(f"/api/auth/logins/{listed[0]['id']}")
        ended = await first.delete(f"/api/auth/logins/{listed[0]['id']}")
        again = await first.delete(f"/api/auth/logins/{listed[0]['id']}")
        left = (await first.get("/api/auth/logins")).json()["logins"]
        states = [(await one.get("/api/auth/me")).status_code for one in (first, second)]

    assert [one["isCurrent"] for one in listed] == [False, True]
    assert set(listed[0]) == {"id", "createdAt", "expiresAt", "isCurrent"}
    assert (foreign.status_code, ended.status_code, again.status_code) == (404, 204, 404)
    assert left == listed[1:]
    assert states == [200, 401]


@pytest.mark.parametrize("by_password", [True, False], ids=["new_password", "alone"])
async def test_sign_out_everywhere_leaves_this_browser(env, by_password):
    """Other browsers, API tokens and login links end; the user gets a notice."""
    async with env.browser("asha") as client, env.client() as other:
        await sign_in(env, other)
        token = (await client.post("/api/auth/tokens", json={"name": "script"})).json()["token"]
        [user] = await env.accounts.list_all()
        await env.link(client, "FY00001")
        await env.services.login_links.own_link(user.id)
        if by_password:
            body = {"currentPassword": PASSWORD, "newPassword": "another good one", "signOutEverywhere": True}
            done = await client.put("/api/auth/password", json=body)
        else:
            done = await client.post("/api/auth/sign-out-everywhere")
        async with env.client(headers={"Authorization": f"Bearer {token}"}) as program:
            states = [(await one.get("/api/auth/me")).status_code for one in (client, other, program)]
        titles = await notices_of(client)

    assert done.status_code == 204
    assert states == [200, 401, 401]
    assert not env.services.context.store.tables.login_links
    expected = "Your password was changed" if by_password else "You were signed out everywhere"
    assert titles == [expected, "A new API token"]


async def test_a_password_change_leaves_tokens_unless_asked(env):
    """Programs go on; the notice says what has ended."""
    async with env.browser("asha") as client:
        token = (await client.post("/api/auth/tokens", json={"name": "script"})).json()["token"]
        body = {"currentPassword": PASSWORD, "newPassword": "another good one"}
        await client.put("/api/auth/password", json=body)
        async with env.client(headers={"Authorization": f"Bearer {token}"}) as program:
            answer = await program.get("/api/auth/me")
        notices = (await client.get("/api/notifications")).json()["notifications"]

    assert answer.status_code == 200
    assert "All other browser logins have ended" in notices[0]["text"]


async def test_role_and_replaced_password_are_noticed(env):
    """The user is notified of both, also when an operator caused them."""
    async with env.browser("asha", role=Role.ADMIN), env.browser("biren") as trader:
        user_id = (await trader.get("/api/auth/me")).json()["id"]
        await env.accounts.set_role(user_id, Role.ADMIN, actor="command-line")
        await env.accounts.set_password(user_id, "another good one", actor="command-line")
        async with env.client() as again:
            await again.post("/api/auth/login", json={"email": "biren@b.in", "password": "another good one"})
            titles = await notices_of(again)

    assert titles == ["Your password was replaced", "You are an admin now"]
