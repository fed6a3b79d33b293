"""Notices by e-mail and webhook after a disconnect and a new login."""

import json
from pathlib import Path

from channels.receivers import http_receiver, mail_server, status

from journeys.browser import Browser
from journeys.environment import Environment, until

SYMBOL = "NSE:SBIN-EQ"
CHANNELS, DELIVERIES = "/api/notifications/channels", "/api/notifications/deliveries"
KINDS = ["session_disconnected", "login_renewed"]


async def add(person: Browser, kind: str, address: str) -> str:
    """Add a channel and return its id."""
    body = {"kind": kind, "label": kind, "kinds": KINDS, "address": address}
    return (await person.call("POST", CHANNELS, body))["channel"]["id"]


async def is_revoked(environment: Environment, person: Browser) -> None:
    """Let Fyers end the session, and wait until everybody here knows."""
    await environment.broker.order("POST", f"/accounts/{person.fyers_id}/revoke")
    await environment.advance(5)
    await environment.while_time_passes(until(lambda: _is_down(person), "the end is known"))


async def _is_down(person: Browser) -> bool:
    return (await person.connection())["state"] == "disconnected"


async def all_in(person: Browser, state: str, number: int) -> list[dict]:
    """Wait until so many of a person's deliveries are in a state."""

    async def find() -> list[dict]:
        found = (await person.call("GET", DELIVERIES))["deliveries"]
        return found if [one["state"] for one in found].count(state) == number else []

    return await until(find, f"{number} deliveries are {state}")


async def test_each_notice_arrives_once_on_each_channel(open_env, tmp_path: Path) -> None:
    """The webhook fails until after a restart and then gets each notice with its id; the mail does not wait for it."""
    async with mail_server() as mailbox, http_receiver() as receiver:
        settings = {
            "smtp_host": "127.0.0.1",
            "smtp_port": mailbox.port,
            "smtp_security": "none",
            "smtp_from": "hullwatch@example.com",
            "notify_private_addresses": True,
        }
        receiver.answers += [status(503)] * 3
        async with open_env(**settings) as environment:
            [asha] = await environment.add_users(1, SYMBOL)
            hook = await add(asha, "webhook", f"{receiver.url}/canary-hook")
            await add(asha, "email", "canary-box@example.com")

            await is_revoked(environment, asha)
            await all_in(asha, "sent", 1)
            [mail] = mailbox.mails
            assert mail["Subject"] == "Fyers ended your session early"
            await environment.stop_server()
            await environment.start_server()
            await environment.while_time_passes(asha.connect())
            await environment.while_time_passes(all_in(asha, "sent", 4))

            arrived = [json.loads(body) for _, body in receiver.requests]
            ids = [one["id"] for one in arrived]
            assert len(ids) == 5
            assert len(set(ids)) == 2
            assert {one["kind"] for one in arrived} == set(KINDS)
            assert all(one.endswith(hook) for one in ids)
            assert [mail["Subject"] for mail in mailbox.mails] == [
                "Fyers ended your session early",
                "Connected to Fyers again",
            ]
            [channel] = [one for one in (await asha.call("GET", CHANNELS))["channels"] if one["id"] == hook]
            assert channel["health"]["failures"] == 0
            metrics = (await asha.ask("GET", "/metrics")).text
            assert 'hullwatch_notifications_total{channel="webhook",outcome="sent"}' in metrics
            assert "canary" not in json.dumps(await asha.call("GET", CHANNELS)) + metrics

    for file in (tmp_path / "data").glob("hullwatch.db*"):
        assert b"canary" not in file.read_bytes()
