"""Channels, tests and dead letters over HTTP; `hullwatch.web.api.channels`."""

import re

import pytest
from fakes.broker import AccountState

from hullwatch.domain.notifications.channels import Refused, TryLater
from hullwatch.domain.notifications.notifications import FOR_OPERATORS
from hullwatch.domain.users.accounts import Role

HOOK = {
    "kind": "webhook",
    "label": "my hook",
    "kinds": ["session_disconnected"],
    "address": "https://hooks.example/canary-path?key=canary-key",
}
CHANNELS, DELIVERIES = "/api/notifications/channels", "/api/notifications/deliveries"
TELEGRAM = {
    "kind": "telegram",
    "label": "chat",
    "kinds": [],
    "botToken": "12345678:" + "canary" * 6,
    "chat": "42",
}


async def add(client, **changes) -> dict:
    """Add a channel and return it."""
    answer = await client.post(CHANNELS, json=HOOK | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()["channel"]


@pytest.fixture
async def sending(env):
    """Let the outbox send."""
    env.outbox.start_jobs(env.supervisor)
    return env


async def test_the_list_has_what_can_be_chosen_and_added(env):
    """Admins can choose more kinds; mail is listed only with a mail server."""
    env.channels.can_mail = False
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        for_admin = (await admin.get(CHANNELS)).json()
        for_trader = (await trader.get(CHANNELS)).json()

    assert for_trader["channels"] == []
    assert set(for_admin["availableKinds"]) - set(for_trader["availableKinds"]) == {
        "broker_outage", "broker_recovered", "job_restarting", "job_recovered", "calendar_ending", "calendar_known",
    }  # fmt: skip
    assert "signal" in for_trader["availableKinds"]
    assert for_trader["availableChannels"] == ["webhook", "telegram", "slack", "apprise"]
    assert FOR_OPERATORS


async def test_a_webhook_is_added_and_its_secret_is_answered_once(env):
    """The address of the webhook is in no answer."""
    async with env.browser("asha") as client:
        added = await client.post(CHANNELS, json=HOOK)
        listed = await client.get(CHANNELS)
        chat = await client.post(CHANNELS, json=TELEGRAM)

    secret = added.json()["signingSecret"]
    assert len(secret) > 30
    assert secret not in listed.text
    assert "canary" not in added.text + listed.text + chat.text
    assert listed.json()["channels"] == [added.json()["channel"]]
    channel = listed.json()["channels"][0]
    assert (channel["hint"], channel["kinds"], channel["isOn"]) == (
        "https://hooks.example/…",
        ["session_disconnected"],
        True,
    )
    assert channel["health"] == {
        "failures": 0, "failingSince": None, "lastError": None, "pausedUntil": None, "lastSentAt": None,
    }  # fmt: skip
    assert chat.json()["signingSecret"] is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"address": "https://inside.example/"}, "address"),
        ({"address": "ftp://x"}, "address"),
        ({"kinds": ["broker_outage"]}, "kinds"),
        ({"kinds": ["test"]}, "kinds"),
        ({"kinds": ["signals_corrected"]}, "kinds"),
        ({"label": " "}, "label"),
        ({"kind": "telegram"}, "botToken"),
        ({"kind": "slack"}, "address"),
        ({"kind": "pigeon"}, "kind"),
    ],
)
async def test_invalid_values_are_refused_by_their_field(env, changes, field):
    """The problem never quotes the value."""
    env.channels.refused.add("https://inside.example/")
    async with env.browser("asha") as client:
        answer = await client.post(CHANNELS, json=HOOK | changes)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert "canary" not in answer.text


async def test_one_call_chooses_for_several_channels(env):
    """All changes or none are stored; channels of other users are not found."""
    async with env.browser("asha") as client, env.browser("biren") as other:
        first, second = await add(client), await add(client, label="second")
        foreign = await add(other)
        choices = [
            {"id": first["id"], "kinds": ["signal", "not_ready"], "isOn": True},
            {"id": second["id"], "kinds": [], "isOn": False},
        ]
        done = await client.put(CHANNELS, json={"channels": choices})
        wrong = await client.put(
            CHANNELS, json={"channels": [{"id": foreign["id"], "kinds": [], "isOn": False}, choices[0]]}
        )
        twice = await client.put(CHANNELS, json={"channels": [choices[0], choices[0]]})
        after = await client.get(CHANNELS)

    assert [(one["kinds"], one["isOn"]) for one in done.json()["channels"]] == [
        (["not_ready", "signal"], True), ([], False),
    ]  # fmt: skip
    assert (wrong.status_code, twice.status_code) == (404, 422)
    assert after.json() == done.json()


async def test_a_channel_is_renamed_and_removed_by_its_user(env):
    """Other users get a 404."""
    async with env.browser("asha") as client, env.browser("biren") as other:
        channel = await add(client)
        address = f"{CHANNELS}/{channel['id']}"
        foreign = [
            (await other.patch(address, json={"label": "mine"})).status_code,
            (await other.delete(address)).status_code,
            (await other.post(f"{address}/test")).status_code,
        ]
        renamed = await client.patch(address, json={"label": "new"})
        removed = await client.delete(address)
        gone = await client.delete(address)

    assert foreign == [404, 404, 404]
    assert renamed.json() == channel | {"label": "new"}
    assert (removed.status_code, gone.status_code) == (204, 404)


async def test_a_test_appears_among_the_deliveries(sending):
    """The list shows tests in the same way as all notices."""
    env = sending
    async with env.browser("asha") as client, env.browser("biren") as other:
        channel = await add(client)
        begun = await client.post(f"{CHANNELS}/{channel['id']}/test")
        await env.clock.settle()
        [found] = (await client.get(DELIVERIES)).json()["deliveries"]
        theirs = (await other.get(DELIVERIES)).json()["deliveries"]

        env.channels.behaviours[HOOK["address"]] = lambda _: TryLater("The server answered 503.")
        again = await client.post(f"{CHANNELS}/{channel['id']}/test")
        await env.clock.settle()
        newest = (await client.get(f"{DELIVERIES}?limit=1")).json()["deliveries"][0]
        health = (await client.get(CHANNELS)).json()["channels"][0]["health"]

    assert begun.status_code == 202
    assert (found["id"], found["state"], found["kind"]) == (begun.json()["deliveryId"], "sent", "test")
    assert found["channelLabel"] == "my hook"
    assert theirs == []
    assert (newest["id"], newest["state"]) == (again.json()["deliveryId"], "waiting")
    assert newest["lastError"] == health["lastError"] == "The server answered 503."


async def test_tests_are_limited(env):
    """The refusal has the time to wait."""
    async with env.browser("asha") as client:
        channel = await add(client)
        answers = [await client.post(f"{CHANNELS}/{channel['id']}/test") for _ in range(8)]

    assert answers[0].status_code == 202
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) > 0


async def test_admins_retry_or_discard_dead_letters(sending):
    """They see the user, the error and the hint of the channel; traders cannot see them."""
    env = sending
    env.channels.behaviours[HOOK["address"]] = lambda _: Refused(
        "The server answered 410.", is_permanent=True
    )
    async with env.browser("asha", role=Role.ADMIN) as admin, env.browser("biren") as trader:
        await add(trader)
        for _ in range(2):
            await env.link(trader, "XA002")
            env.broker.set_state("XA002", AccountState.REVOKED)
            await trader.get("/api/token-validation/status")
            await env.clock.advance(30)
            env.broker.set_state("XA002", AccountState.ACTIVE)
        listed = await admin.get("/api/admin/deliveries")
        first, second = listed.json()["deliveries"]
        env.channels.behaviours.clear()
        addresses = [f"/api/admin/deliveries/{one['delivery']['id']}" for one in (first, second)]
        refused = [
            (await trader.get("/api/admin/deliveries")).status_code,
            (await trader.post(f"{addresses[0]}/retry")).status_code,
            (await trader.delete(addresses[0])).status_code,
        ]
        retried = await admin.post(f"{addresses[0]}/retry")
        discarded = await admin.delete(addresses[1])
        await env.clock.settle()
        after = await admin.get("/api/admin/deliveries")
        gone = await admin.post(f"{addresses[0]}/retry")
        notices = (await admin.get("/api/notifications")).json()["notifications"]

    assert refused == [403, 403, 403]
    assert (first["email"], first["channelKind"], first["channelHint"]) == (
        "biren@b.in", "webhook", "https://hooks.example/…",
    )  # fmt: skip
    assert first["delivery"]["lastError"] == "The server answered 410."
    assert "canary" not in listed.text
    assert (retried.status_code, discarded.status_code, gone.status_code) == (204, 204, 404)
    assert after.json()["deliveries"] == []
    assert [message.id for _, message in env.channels.arrived] == [first["delivery"]["id"]]
    assert [notice["kind"] for notice in notices].count("delivery_failed") == 1


async def test_a_mailed_code_confirms_an_address(env):
    """Before that, a test is refused. A wrong code is refused by its field; other users get a 404."""
    mail = {"kind": "email", "label": "mail", "kinds": [], "address": "asha@example.com"}
    async with env.browser("asha") as client, env.browser("biren") as other:
        channel = await add(client, **mail)
        address = f"{CHANNELS}/{channel['id']}"
        early = await client.post(f"{address}/test")
        sent = await client.post(f"{address}/code")
        code = re.search(r"[0-9-]{9}", env.channels.mails[-1][1].text.reveal())[0]
        foreign = [
            (await other.post(f"{address}/code")).status_code,
            (await other.post(f"{address}/confirm", json={"code": code})).status_code,
        ]
        wrong = await client.post(f"{address}/confirm", json={"code": "0000-0000"})
        confirmed = await client.post(f"{address}/confirm", json={"code": code})
        again = await client.post(f"{address}/code")
        late = await client.post(f"{address}/test")

    assert (channel["proof"], confirmed.json()["proof"]) == (None, "code")
    assert [one.status_code for one in (early, sent, wrong, confirmed, again, late)] == [
        403, 204, 422, 200, 409, 202,
    ]  # fmt: skip
    assert wrong.json()["errors"][0]["field"] == "code"
    assert foreign == [404, 404]


async def test_a_failing_mail_server_is_explained(env):
    """The user waits for the code, so the request fails with the reason and can be repeated."""
    mail = {"kind": "email", "label": "mail", "kinds": [], "address": "asha@example.com"}
    env.channels.behaviours["asha@example.com"] = lambda _: TryLater("The mail server cannot be reached.")
    async with env.browser("asha") as client:
        channel = await add(client, **mail)
        answer = await client.post(f"{CHANNELS}/{channel['id']}/code")

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:hullwatch:problem:mail-not-sent")
    assert "cannot be reached" in answer.json()["detail"]


async def test_attempts_are_counted_by_channel_and_outcome(sending):
    """The name of the metric is part of the documented interface."""
    env = sending
    async with env.browser("asha") as client:
        channel = await add(client)
        await client.post(f"{CHANNELS}/{channel['id']}/test")
        await env.clock.settle()

    assert b'hullwatch_notifications_total{channel="webhook",outcome="sent"} 1.0' in env.metrics.render()
