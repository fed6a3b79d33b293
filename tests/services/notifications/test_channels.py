"""Tests the channels of users, and retrying and discarding notices that failed permanently."""

import asyncio
from dataclasses import replace

import pytest

from hullwatch.domain.failures import InvalidInput, LimitReached, NotFound, TooManyAttempts
from hullwatch.domain.notifications.channels import MOST_CHANNELS, Refused
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from hullwatch.domain.users.accounts import Role, User
from hullwatch.services.notifications.channels import MOST_AT_ONCE, WINDOW_S, Choice, NewChannel
from services.environment import ALICE, BOB, Environment

HOOK = NewChannel(
    ChannelKind.WEBHOOK, "my hook", frozenset({NotificationKind.SESSION_DISCONNECTED}), "https://x.in/canary"
)


def user(user_id: str = ALICE, role: Role = Role.TRADER) -> User:
    """Return the caller."""
    return User(user_id, f"{user_id}@x.in", user_id, role, Environment().clock.now())


@pytest.fixture
async def env() -> Environment:
    """Two users without channels."""
    made = Environment()
    for user_id in (ALICE, BOB):
        await made.add_user(user_id)
    return made


async def test_a_webhook_gets_a_secret_that_is_shown_once(env: Environment) -> None:
    """No later answer and no audit entry contains the secret or the address."""
    channel, secret = await env.channels.add(user(), HOOK)

    assert len(secret.reveal()) > 30
    assert channel.hint == "https://x.in/…"
    assert await env.channels.of_user(ALICE) == [channel]
    assert env.store.tables.destinations[channel.id].signing_secret == secret
    assert "canary" not in repr(await env.channels.of_user(ALICE)) + repr(env.store.tables.audit)
    assert env.audit(ALICE) == ["channel.added"]


@pytest.mark.parametrize(
    ("new", "address"),
    [
        (NewChannel(ChannelKind.EMAIL, "mail", frozenset(), "a@b.in"), "a@b.in"),
        (
            NewChannel(ChannelKind.TELEGRAM, "chat", frozenset(), bot_token="12345:" + "a" * 35, chat="7"),
            f"tgram://12345:{'a' * 35}/7/?format=text&preview=no",
        ),
        (
            NewChannel(ChannelKind.SLACK, "team", frozenset(), "https://hooks.slack.com/services/T1/A1/s3"),
            "slack://T1/A1/s3/?footer=no",
        ),
        (NewChannel(ChannelKind.APPRISE, "other", frozenset(), "ntfys://topic"), "ntfys://topic"),
    ],
    ids=lambda value: value.kind.value if isinstance(value, NewChannel) else "",
)
async def test_each_kind_has_its_form_of_address(env: Environment, new: NewChannel, address: str) -> None:
    """Only a webhook has a signing secret."""
    channel, secret = await env.channels.add(user(), new)

    assert secret is None
    assert env.store.tables.destinations[channel.id].address.reveal() == address
    assert env.carriers.checked[0].address.reveal() == address


async def test_an_internal_address_is_not_stored(env: Environment) -> None:
    """The error gives the reason."""
    env.carriers.refused.add("https://x.in/canary")

    with pytest.raises(InvalidInput, match="private"):
        await env.channels.add(user(), HOOK)
    assert await env.channels.of_user(ALICE) == []


async def test_mail_needs_a_mail_server(env: Environment) -> None:
    """Without one, a mail channel is neither offered nor accepted."""
    assert set(env.channels.available()) == set(ChannelKind)
    env.carriers.can_mail = False

    assert set(env.channels.available()) == set(ChannelKind) - {ChannelKind.EMAIL}
    with pytest.raises(InvalidInput):
        await env.channels.add(user(), NewChannel(ChannelKind.EMAIL, "mail", frozenset(), "a@b.in"))


async def test_the_number_of_channels_is_limited(env: Environment) -> None:
    """Parallel requests cannot pass the limit."""

    async def add() -> bool:
        try:
            await env.channels.add(user(), HOOK)
        except LimitReached:
            return False
        return True

    added = 0
    for _ in range(4):
        added += sum(await asyncio.gather(*(add() for _ in range(MOST_AT_ONCE))))
        await env.clock.advance(WINDOW_S)

    assert added == len(await env.channels.of_user(ALICE)) == MOST_CHANNELS


async def test_choices_are_stored_together_or_not_at_all(env: Environment) -> None:
    """A channel of another user, or a kind that the user may not choose, cancels all choices."""
    mine, _ = await env.channels.add(user(), HOOK)
    other, _ = await env.channels.add(user(BOB), HOOK)
    off = Choice(kinds=frozenset({NotificationKind.SIGNAL}), is_on=False)

    with pytest.raises(NotFound):
        await env.channels.choose(user(), {mine.id: off, other.id: off})
    for_admins = Choice(kinds=frozenset({NotificationKind.BROKER_OUTAGE}))
    with pytest.raises(InvalidInput):
        await env.channels.choose(user(), {mine.id: for_admins})
    assert await env.channels.of_user(ALICE) == [mine]

    [changed] = await env.channels.choose(user(), {mine.id: off})
    assert changed == replace(mine, kinds=frozenset({NotificationKind.SIGNAL}), is_on=False)
    [renamed] = await env.channels.choose(user(), {mine.id: Choice(label=" new  name ")})
    assert renamed == replace(changed, label="new name")


async def test_a_former_admin_keeps_the_chosen_kinds(env: Environment) -> None:
    """The page can still be saved. Notices of these kinds are addressed to admins only."""
    admins = replace(HOOK, kinds=frozenset({NotificationKind.BROKER_OUTAGE}))
    channel, _ = await env.channels.add(user(role=Role.ADMIN), admins)

    [kept] = await env.channels.choose(user(), {channel.id: Choice(kinds=channel.kinds, is_on=True)})
    assert kept == channel


async def test_test_notices_are_limited_to_own_channels(env: Environment) -> None:
    """A rate limit protects the receivers from a user who presses the button again and again."""
    channel, _ = await env.channels.add(user(), HOOK)
    with pytest.raises(NotFound):
        await env.channels.test(BOB, channel.id)
    for _ in range(MOST_AT_ONCE - 1):
        await env.channels.test(ALICE, channel.id)

    with pytest.raises(TooManyAttempts) as refused:
        await env.channels.test(ALICE, channel.id)
    assert 0 < refused.value.retry_after_s <= WINDOW_S
    await env.clock.advance(WINDOW_S)
    await env.channels.test(ALICE, channel.id)


async def test_admins_retry_and_discard(env: Environment) -> None:
    """The audit trail has both decisions. Only a notice that failed permanently can be decided on."""
    channel, _ = await env.channels.add(user(), HOOK)
    env.carriers.behaviours["https://x.in/canary"] = lambda _: Refused("gone", is_permanent=True)
    await env.start(with_monitoring=False, with_outbox=True)
    for user_id in (ALICE, ALICE):
        await env.log_in(user_id)
        await env.connections.sign_out(user_id, actor=user_id)
        await env.clock.advance(10)
    first, second = (one.delivery.id for one in await env.channels.dead_letters())
    env.carriers.behaviours.clear()

    await env.channels.retry(first, actor="usr_admin")
    await env.channels.discard(second, actor="usr_admin")
    await env.clock.settle()

    assert await env.channels.dead_letters() == []
    assert env.carriers.ids("https://x.in/canary") == [first]
    for decide in (env.channels.retry, env.channels.discard):
        with pytest.raises(NotFound):
            await decide(first, actor="usr_admin")
    assert env.audit(None, "notice.") == ["notice.retried", "notice.discarded"]
    assert channel.id in first
    await env.kill()
