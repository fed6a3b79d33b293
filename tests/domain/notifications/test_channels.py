"""Reading what a person typed for a channel; `hullwatch.domain.notifications.channels`."""

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
    FOR_OPERATORS,
    PAGE_ONLY,
    ChannelKind,
    NotificationKind,
)
from hullwatch.domain.users.accounts import Role

TOKEN = "123456789:AAabcdefghijklmnopqrstuvwxyz_12345"


def test_only_operators_choose_what_is_for_operators():
    """And nobody chooses tests, or what is told in the page alone."""
    trader, admin = set(choosable_kinds(Role.TRADER)), set(choosable_kinds(Role.ADMIN))

    assert admin == set(NotificationKind) - PAGE_ONLY - {NotificationKind.TEST}
    assert trader == admin - FOR_OPERATORS
    with pytest.raises(InvalidInput):
        read_kinds(frozenset({NotificationKind.BROKER_OUTAGE}), Role.TRADER)
    assert read_kinds(frozenset(trader), Role.TRADER) == trader


@pytest.mark.parametrize("text", ["", "  ", "a" * 121, "tab\x07"])
def test_a_channel_has_a_readable_name(text):
    """Of one to 120 characters."""
    with pytest.raises(InvalidInput):
        read_label(text)


def test_a_mail_address_shows_its_beginning_and_its_domain():
    """Stored as it is compared elsewhere."""
    address, hint = read_mail_address(" Asha@Example.com ")

    assert (address.reveal(), hint) == ("asha@example.com", "a…@example.com")


@pytest.mark.parametrize(
    "text",
    [
        "asha", "a@[127.0.0.1]", "a@127.0.0.1", "a@10.0", "a@b.localhost", "a@nas.local", "a@x.internal", "a@b.in,c@d.in", "<a@b.in>",
        "a@b.in\nBcc: c@d.in", "a b@c.in", "ä@b.in", '"a"@b.in', "a@b.in;c@d.in",
    ],
)  # fmt: skip
def test_a_mail_address_that_is_none_or_leads_inside_is_refused(text):
    """So are lists, and lines that would add a recipient."""
    with pytest.raises(InvalidInput):
        read_mail_address(text)


def test_a_webhook_shows_its_host_alone():
    """Its path and query often are the key to it."""
    address, hint = read_webhook_address(" https://Hooks.example.com:8443/in/canary?key=canary ")

    assert address.reveal() == "https://Hooks.example.com:8443/in/canary?key=canary"
    assert hint == "https://hooks.example.com:8443/…"


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "ftp://example.com/", "https://", "https://user:word@example.com/", "https://example.com/#part",
        "https://exa mple.com/", "https://example.com:port/", "https://example.com\\@127.0.0.1/", "https://ex\u00e4mple.com/",
        "file:///etc/passwd", "https://example.com/" + "a" * 2000, "https://[::1/", "https://example.com/\n",
    ],
)  # fmt: skip
def test_a_webhook_that_is_no_plain_address_is_refused(text):
    """Whatever two programs could read as two different hosts above all."""
    if text.endswith("\n"):
        assert read_webhook_address(text)[0].reveal() == text.strip()
        return
    with pytest.raises(InvalidInput) as refused:
        read_webhook_address(text)
    assert refused.value.field == "address"


def test_a_telegram_chat_becomes_an_address_of_apprise():
    """Only the chat is shown."""
    address, hint = read_telegram(f" {TOKEN} ", " -1001234 ")

    assert address.reveal() == f"tgram://{TOKEN}/-1001234/?format=text&preview=no"
    assert hint == "Telegram chat -1001234"
    assert read_telegram(TOKEN, "@my_channel")[1] == "Telegram chat @my_channel"


@pytest.mark.parametrize(
    ("token", "chat"), [("", "1"), (TOKEN, ""), (TOKEN, "a/b"), (f"{TOKEN}/x", "1"), (TOKEN, "1?x=y")]
)
def test_a_telegram_chat_of_another_form_is_refused(token, chat):
    """Nothing of it may become another part of the address."""
    with pytest.raises(InvalidInput):
        read_telegram(token, chat)


def test_a_slack_webhook_becomes_an_address_of_apprise():
    """Only the workspace is shown."""
    address, hint = read_slack(
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    )

    assert address.reveal().startswith("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/")
    assert hint == "Slack workspace T1JJ3T3L2"


@pytest.mark.parametrize(
    "text",
    [
        "https://hooks.slack.com.evil.in/services/T1/A1/secret", "http://hooks.slack.com/services/T1/A1/secret",
        "https://hooks.slack.com/services/T1/A1", "https://hooks.slack.com/services/T1/A1/se/cret",
        "https://hooks.slack.com/services/T1/A1/secret?x=y", "https://hooks.slack.com@10.0.0.1/services/T1/A1/secret",
    ],
)  # fmt: skip
def test_a_slack_webhook_of_another_place_is_refused(text):
    """Only Slack's own."""
    with pytest.raises(InvalidInput):
        read_slack(text)


def test_an_apprise_address_shows_its_service_alone():
    """Everything behind it may be a key."""
    address, hint = read_apprise_address(" NTFYS://canary@ntfy.sh/topic ")

    assert (address.reveal(), hint) == ("NTFYS://canary@ntfy.sh/topic", "ntfys://…")


@pytest.mark.parametrize("text", ["", "ntfy", "ntfy:topic", "ntfy://a b", "1x://y", "ntfy://" + "a" * 2000])
def test_what_has_not_the_form_of_an_apprise_address_is_refused(text):
    """Before anybody is asked about it."""
    with pytest.raises(InvalidInput):
        read_apprise_address(text)


@given(st.text(max_size=60))
def test_no_text_makes_an_address_that_is_not_http(text):
    """Whatever is accepted for a webhook can be sent to, and leads where its hint says."""
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
def test_a_pick_keeps_to_its_limits(lines, limit, unproven_limit, per_channel, running):
    """In all, on channels that may hang, and on each channel with the deliveries that run there."""
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
