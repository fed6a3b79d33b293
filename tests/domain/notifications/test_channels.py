"""Tests the checks of what a user enters for a channel."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import (
    ClaimLimits,
    choosable_kinds,
    read_apprise_address,
    read_kinds,
    read_label,
    read_mail_address,
    read_slack,
    read_telegram,
    read_webhook_address,
)
from hullwatch.domain.notifications.notifications import (
    DELIVERED_WITH,
    FOR_OPERATORS,
    PAGE_ONLY,
    ChannelKind,
    NotificationKind,
)
from hullwatch.domain.users.accounts import Role

TOKEN = "123456789:AAabcdefghijklmnopqrstuvwxyz_12345"


def test_only_admins_choose_the_kinds_for_admins():
    """No user chooses tests, kinds that only the page shows, and kinds that follow another one."""
    trader, admin = set(choosable_kinds(Role.TRADER)), set(choosable_kinds(Role.ADMIN))

    assert admin == set(NotificationKind) - PAGE_ONLY - DELIVERED_WITH.keys() - {NotificationKind.TEST}
    assert trader == admin - FOR_OPERATORS
    with pytest.raises(InvalidInput):
        read_kinds(frozenset({NotificationKind.BROKER_OUTAGE}), Role.TRADER)
    assert read_kinds(frozenset(trader), Role.TRADER) == trader


@pytest.mark.parametrize("text", ["", "  ", "a" * 121, "tab\x07"])
def test_an_unreadable_label_is_refused(text):
    """A label has 1 to 120 printable characters."""
    with pytest.raises(InvalidInput):
        read_label(text)


def test_the_hint_of_a_mail_address_is_a_letter_and_the_domain():
    """The address is stored in lower case, as the address of a user is."""
    address, hint = read_mail_address(" Asha@Example.com ")

    assert (address.reveal(), hint) == ("asha@example.com", "a…@example.com")


@pytest.mark.parametrize(
    "text",
    [
        "asha", "a@[127.0.0.1]", "a@127.0.0.1", "a@10.0", "a@b.localhost", "a@nas.local", "a@x.internal",
        "a@b.in,c@d.in", "<a@b.in>", "a@b.in\nBcc: c@d.in", "a b@c.in", "ä@b.in", '"a"@b.in', "a@b.in;c@d.in",
    ],
)  # fmt: skip
def test_an_invalid_or_internal_mail_address_is_refused(text):
    """A list of addresses or a second line would add a recipient."""
    with pytest.raises(InvalidInput):
        read_mail_address(text)


def test_the_hint_of_a_webhook_is_its_host():
    """The path and the query often contain a key."""
    address, hint = read_webhook_address(" https://Hooks.example.com:8443/in/canary?key=canary ")

    assert address.reveal() == "https://Hooks.example.com:8443/in/canary?key=canary"
    assert hint == "https://hooks.example.com:8443/…"


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "ftp://example.com/", "https://", "https://user:word@example.com/",
        "https://example.com/#part", "https://exa mple.com/", "https://example.com:port/",
        "https://example.com\\@127.0.0.1/", "https://ex\u00e4mple.com/", "file:///etc/passwd",
        "https://example.com/" + "a" * 2000, "https://[::1/", "https://example.com/\n",
    ],
)  # fmt: skip
def test_a_webhook_with_an_ambiguous_address_is_refused(text):
    """Two programs must not read different hosts from one address."""
    if text.endswith("\n"):
        assert read_webhook_address(text)[0].reveal() == text.strip()
        return
    with pytest.raises(InvalidInput) as refused:
        read_webhook_address(text)
    assert refused.value.field == "address"


def test_a_telegram_chat_becomes_an_apprise_address():
    """The hint shows the chat and hides the bot token."""
    address, hint = read_telegram(f" {TOKEN} ", " -1001234 ")

    assert address.reveal() == f"tgram://{TOKEN}/-1001234/?format=text&preview=no"
    assert hint == "Telegram chat -1001234"
    assert read_telegram(TOKEN, "@my_channel")[1] == "Telegram chat @my_channel"


@pytest.mark.parametrize(
    ("token", "chat"), [("", "1"), (TOKEN, ""), (TOKEN, "a/b"), (f"{TOKEN}/x", "1"), (TOKEN, "1?x=y")]
)
def test_an_invalid_telegram_token_or_chat_is_refused(token, chat):
    """A separator in either would change another part of the address."""
    with pytest.raises(InvalidInput):
        read_telegram(token, chat)


def test_a_slack_webhook_becomes_an_apprise_address():
    """The hint shows the workspace and hides the key."""
    address, hint = read_slack(
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    )

    assert address.reveal().startswith("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/")
    assert hint == "Slack workspace T1JJ3T3L2"


@pytest.mark.parametrize(
    "text",
    [
        "https://hooks.slack.com.evil.in/services/T1/A1/secret",
        "http://hooks.slack.com/services/T1/A1/secret",
        "https://hooks.slack.com/services/T1/A1",
        "https://hooks.slack.com/services/T1/A1/se/cret",
        "https://hooks.slack.com/services/T1/A1/secret?x=y",
        "https://hooks.slack.com@10.0.0.1/services/T1/A1/secret",
    ],
)
def test_a_slack_webhook_with_another_address_is_refused(text):
    """Only https://hooks.slack.com with three path parts is accepted."""
    with pytest.raises(InvalidInput):
        read_slack(text)


def test_the_hint_of_an_apprise_address_is_its_service():
    """The rest of the address may contain a key."""
    address, hint = read_apprise_address(" NTFYS://canary@ntfy.sh/topic ")

    assert (address.reveal(), hint) == ("NTFYS://canary@ntfy.sh/topic", "ntfys://…")


@pytest.mark.parametrize("text", ["", "ntfy", "ntfy:topic", "ntfy://a b", "1x://y", "ntfy://" + "a" * 2000])
def test_a_text_without_the_form_of_an_apprise_address_is_refused(text):
    """The refusal needs no call to Apprise."""
    with pytest.raises(InvalidInput):
        read_apprise_address(text)


@given(st.text(max_size=60))
def test_every_accepted_webhook_address_is_http(text):
    """The hint shows the host of the accepted address."""
    try:
        address, hint = read_webhook_address(text)
    except InvalidInput:
        return
    parts = urlsplit(address.reveal())
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.hostname.lower() in hint


lines = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=40)


@given(
    lines,
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(1, 4),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5)),
)
def test_a_claim_respects_its_limits(lines, limit, unproven_limit, per_channel, running):
    """One limit counts all deliveries, one those on unproven channels, and one those on each channel."""
    proven = dict(lines)
    due = [(f"{number}", channel, proven[channel]) for number, (channel, _) in enumerate(lines)]
    wish = ClaimLimits(frozenset(ChannelKind), limit, unproven_limit, per_channel, running)

    picked = wish.picked(due)

    channels = [due[int(one)][1] for one in picked]
    assert len(picked) == len(set(picked)) <= limit
    assert sum(not proven[channel] for channel in channels) <= unproven_limit
    for channel in set(channels):
        assert channels.count(channel) + running.get(channel, 0) <= (per_channel if proven[channel] else 1)
    if limit and due and not running and (unproven_limit or due[0][2]):
        assert picked
