"""E-mail with a real SMTP server."""

import socket
from dataclasses import replace

import pytest
from fakes.clock import FakeClock

from channels.receivers import mail_server
from channels.samples import LINK, NOW, destination, message
from hullwatch.channels.guard import AddressGuard
from hullwatch.channels.smtp import SmtpChannel, SmtpServer, examine
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import Refused, Sent, TryLater
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.domain.secrets import SecretText

ASHA = destination(ChannelKind.EMAIL, "asha@example.com")
SENDER = "hullwatch@hull.example"


def server(port: int, **changes) -> SmtpServer:
    """Return the operator's mail server."""
    return replace(SmtpServer("127.0.0.1", port, "none", SENDER), **changes)


def make(port: int, *, clock=None, allows_private=True, resolve=None, **changes) -> SmtpChannel:
    """Return an e-mail channel with that server."""
    guard = AddressGuard(allows_private=allows_private, **({"resolve": resolve} if resolve else {}))
    return SmtpChannel(
        server(port, **changes), guard, clock or FakeClock(NOW), public_url="https://hull.example"
    )


async def test_a_mail_arrives_as_plain_text_and_as_html():
    """Its id stays the same at each attempt, and its text is escaped."""
    async with mail_server() as mailbox:
        mails = make(mailbox.port)
        assert await mails.send(message(), ASHA) == Sent()
        assert await mails.send(message(link=LINK), ASHA) == Sent()
        await mails.close()

    first, second = mailbox.mails
    assert mailbox.recipients == [["asha@example.com"]] * 2
    assert (first["From"], first["To"], first["Subject"]) == (SENDER, "asha@example.com", "Session <ended> ₹")
    assert first["Message-ID"] == second["Message-ID"] == "<ntc_1.chn_1@hull.example>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Date"].datetime == NOW
    text, html = (first.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "It is over & out." in text
    assert "https://hull.example" in text
    assert "Session &lt;ended&gt; ₹" in html
    assert "canary" not in text + html
    assert LINK in second.get_body(("plain",)).get_content()
    assert f'href="{LINK}"' in second.get_body(("html",)).get_content()


async def test_a_connection_is_reused_and_replaced():
    """It is replaced after idling too long or when the server closed it."""
    clock = FakeClock(NOW)
    async with mail_server() as mailbox:
        mails = make(mailbox.port, clock=clock)
        for _ in range(3):
            assert await mails.send(message(), ASHA) == Sent()
        assert mailbox.connections == 1

        await clock.advance(60)
        assert await mails.send(message(), ASHA) == Sent()
        assert mailbox.connections == 2

        mails._idle[0][0].transport.abort()
        assert await mails.send(message(), ASHA) == Sent()
        assert mailbox.connections == 3
        await mails.close()
    assert len(mailbox.mails) == 5


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("451 later", TryLater("The mail server answered 451.")),
        ("552 too big", Refused("The mail server refused the message (552).", is_of_message=True)),
        (None, TryLater("The connection was interrupted before the mail server answered.")),
    ],
)
async def test_each_reply_has_its_outcome(answer, outcome):
    """4xx is retried, 5xx refuses the message, and the connection works afterwards."""
    async with mail_server() as mailbox:
        mailbox.answers.append(answer)
        mails = make(mailbox.port)
        assert await mails.send(message(), ASHA) == outcome
        assert await mails.send(message(), ASHA) == Sent()
        await mails.close()


async def test_an_unknown_recipient_is_a_failure_of_the_channel():
    """Other messages to this recipient would fail too."""
    async with mail_server() as mailbox:
        mailbox.refuses.add("asha@example.com")
        mails = make(mailbox.port)
        outcome = await mails.send(message(), ASHA)
        await mails.close()

    assert outcome == Refused("The mail server refused the recipient (550).")


@pytest.mark.filterwarnings("ignore:Requiring AUTH", "ignore:Session.login_data")  # the test server's own
async def test_a_wrong_login_of_the_operator_costs_no_message():
    """The operator can correct it, and the waiting messages are sent then."""
    password = SecretText("canary-password")
    async with mail_server(user="hull", password=password) as mailbox:
        mails = make(mailbox.port, user="hull", password=password)
        wrong = make(mailbox.port, user="hull", password=SecretText("canary-wrong"))
        assert await mails.send(message(), ASHA) == Sent()
        refused = await wrong.send(message(), ASHA)
        assert await examine(server(mailbox.port, user="hull", password=password)) is None
        found = await examine(server(mailbox.port, user="hull", password=SecretText("canary-wrong")))
        await mails.close()
        await wrong.close()

    assert refused == TryLater("The mail server refuses hullwatch's login.")
    assert found == refused.why
    assert "canary" not in repr(server(1, password=password))


async def test_a_missing_or_insecure_server_is_retried_later():
    """Nothing is sent unencrypted when encryption is required."""
    async with mail_server() as mailbox:
        mails = make(mailbox.port, security="starttls")
        assert await mails.send(message(), ASHA) == TryLater(
            "The mail server does not offer STARTTLS, or no login."
        )
        await mails.close()
    assert mailbox.mails == []
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    gone = await make(port).send(message(), ASHA)

    assert gone == TryLater("The mail server cannot be reached.")
    assert await examine(server(port)) == gone.why


async def test_a_domain_in_a_private_network_is_refused():
    """At the entry and at the sending; a domain without an address of its own is usual."""
    found = {
        "inside.example": ["10.0.0.1"],
        "both.example": ["8.8.8.8", "10.0.0.1"],
        "outside.example": ["8.8.8.8"],
    }

    async def resolve(name: str) -> list[str]:
        if name not in found:
            raise OSError
        return found[name]

    async with mail_server() as mailbox:
        mails = make(mailbox.port, allows_private=False, resolve=resolve)
        for name in ("a@inside.example", "a@both.example"):
            inside = destination(ChannelKind.EMAIL, name)
            with pytest.raises(InvalidInput, match="private"):
                await mails.check(inside)
            assert isinstance(await mails.send(message(), inside), Refused)
        for name in ("a@outside.example", "a@mail-only.example"):
            await mails.check(destination(ChannelKind.EMAIL, name))
            assert await mails.send(message(), destination(ChannelKind.EMAIL, name)) == Sent()
        await mails.close()
    assert [recipient for [recipient] in mailbox.recipients] == ["a@outside.example", "a@mail-only.example"]
