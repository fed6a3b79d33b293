"""Notices by e-mail and webhook after a disconnect and a new login."""

import json
import re
from pathlib import Path

from channels.receivers import Mailbox, http_receiver, mail_server, status

from journeys.browser import Browser
from journeys.environment import Environment, until

SYMBOL = "NSE:SBIN-EQ"
CHANNELS, DELIVERIES = "/api/notifications/channels", "/api/notifications/deliveries"
KINDS = ["session_disconnected", "login_renewed"]


async def add(person: Browser, kind: str, address: str) -> str:
    """Add a channel and return its id."""
    body = {"kind": kind, "label": kind, "kinds": KINDS, "address": address}
    return (await person.call("POST", CHANNELS, body))["channel"]["id"]


async def add_mail(person: Browser, mailbox: Mailbox, address: str) -> None:
    """Add an e-mail channel and confirm its address with the mailed code."""
    channel_id = await add(person, "email", address)
    await person.call("POST", f"{CHANNELS}/{channel_id}/code")
    code = re.search(r"\d{4}-\d{4}", mailbox.mails[-1].get_content())[0]
    await person.call("POST", f"{CHANNELS}/{channel_id}/confirm", {"code": code})


async def revoke_session(environment: Environment, person: Browser) -> None:
    """Revoke a session at Fyers, and wait until it is disconnected here."""
    await environment.broker.control("POST", f"/accounts/{person.fyers_id}/revoke")
    await environment.advance(5)
    await environment.advance_until_done(until(lambda: _is_disconnected(person), "the disconnect"))


async def _is_disconnected(person: Browser) -> bool:
    return (await person.connection())["state"] == "disconnected"


async def deliveries_in_state(person: Browser, state: str, number: int) -> list[dict]:
    """Wait until this number of deliveries is in a state, and return all deliveries."""

    async def find() -> list[dict]:
        found = (await person.call("GET", DELIVERIES))["deliveries"]
        return found if [one["state"] for one in found].count(state) == number else []

    return await until(find, f"{number} deliveries are {state}")


async def test_each_notice_arrives_once_on_each_channel(start_environment, tmp_path: Path) -> None:
    """The webhook fails until after a restart, then gets each notice with its id. Mail does not wait for it."""
    async with mail_server() as mailbox, http_receiver() as receiver:
        settings = {
            "smtp_host": "127.0.0.1",
            "smtp_port": mailbox.port,
            "smtp_security": "none",
            "smtp_from": "hullwatch@example.com",
            "notify_private_addresses": True,
        }
        receiver.answers += [status(503)] * 3
        async with start_environment(**settings) as environment:
            [asha] = await environment.add_users(1, SYMBOL)
            hook = await add(asha, "webhook", f"{receiver.url}/canary-hook")
            await add_mail(asha, mailbox, "canary-box@example.com")

            await revoke_session(environment, asha)
            await deliveries_in_state(asha, "sent", 1)
            _, mail = mailbox.mails
            assert mail["Subject"] == "Fyers ended your session early"
            await environment.stop_server()
            await environment.start_server()
            await environment.advance_until_done(asha.connect())
            await environment.advance_until_done(deliveries_in_state(asha, "sent", 4))

            arrived = [json.loads(body) for _, body in receiver.requests]
            ids = [one["id"] for one in arrived]
            assert len(ids) == 5
            assert len(set(ids)) == 2
            assert {one["kind"] for one in arrived} == set(KINDS)
            assert all(one.endswith(hook) for one in ids)
            assert [mail["Subject"] for mail in mailbox.mails] == [
                "Confirm your e-mail address for hullwatch",
                "Fyers ended your session early",
                "Connected to Fyers again",
            ]
            [channel] = [one for one in (await asha.call("GET", CHANNELS))["channels"] if one["id"] == hook]
            assert channel["health"]["failures"] == 0
            metrics = (await asha.request("GET", "/metrics")).text
            assert 'hullwatch_notifications_total{channel="webhook",outcome="sent"}' in metrics
            assert "canary" not in json.dumps(await asha.call("GET", CHANNELS)) + metrics

    for file in (tmp_path / "data").glob("hullwatch.db*"):
        assert b"canary" not in file.read_bytes()
