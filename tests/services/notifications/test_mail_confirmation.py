"""E-mail addresses receive nothing but confirmation codes until they are confirmed."""

import re
from dataclasses import replace

import pytest

from hullwatch.domain.failures import (
    AlreadyExists,
    InvalidInput,
    MailNotSent,
    NotAllowed,
    NotFound,
    TooManyAttempts,
)
from hullwatch.domain.notifications.channels import AddressProof, Refused, TryLater
from hullwatch.domain.notifications.mail_codes import (
    CODE_LIFETIME,
    MOST_PER_RECIPIENT,
    MOST_PER_USER,
    MOST_WRONG_CODES,
    WINDOW,
)
from hullwatch.domain.notifications.notifications import ChannelKind, NotificationKind
from hullwatch.domain.users.accounts import Role, User
from hullwatch.services.notifications.channels import MOST_AT_ONCE, WINDOW_S, NewChannel
from services.environment import ALICE, BOB, Environment

OTHER = "other@third-party.example"
LABEL = "Win a prize at https://evil.example/claim <b> now"


def user(user_id: str = ALICE) -> User:
    """Return the caller."""
    email = f"{user_id.removeprefix('usr_')}@example.com"
    return User(user_id, email, user_id, Role.TRADER, Environment().clock.now())


@pytest.fixture
async def env() -> Environment:
    """Two users without channels."""
    made = Environment()
    for user_id in (ALICE, BOB):
        await made.add_user(user_id)
    return made


async def add_mail(env: Environment, address: str = OTHER, user_id: str = ALICE) -> str:
    """Add an e-mail channel for expired sessions and return its id."""
    kinds = frozenset({NotificationKind.SESSION_DISCONNECTED})
    channel, _ = await env.channels.add(user(user_id), NewChannel(ChannelKind.EMAIL, LABEL, kinds, address))
    return channel.id


def mailed_code(env: Environment) -> str:
    """Return the code in the last mail."""
    return re.search(r"\d{4}-\d{4}", env.carriers.mails[-1][1].text.reveal())[0]


async def confirm(env: Environment, channel_id: str, user_id: str = ALICE) -> None:
    """Mail a code and enter it."""
    await env.mail_confirmation.send_code(user_id, channel_id)
    await env.mail_confirmation.confirm(user(user_id), channel_id, mailed_code(env))


async def lose_session(env: Environment) -> None:
    """Log the user in and out, which is a notice."""
    await env.log_in(ALICE)
    await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.settle()


async def test_an_unconfirmed_address_gets_nothing_but_its_code(env: Environment) -> None:
    """Neither notices nor tests, and no word of the user: the recipient may be another person."""
    await env.start(with_monitoring=False, with_outbox=True)
    channel_id = await add_mail(env)
    with pytest.raises(NotAllowed, match="Confirm"):
        await env.channels.test(ALICE, channel_id)
    await lose_session(env)
    await env.mail_confirmation.send_code(ALICE, channel_id)

    assert env.carriers.attempts == []
    [(recipient, mail)] = env.carriers.mails
    assert recipient == OTHER
    for word in ("prize", "evil", "alice", ALICE):
        assert word not in mail.subject + mail.text.reveal()
    await env.kill()


async def test_the_code_opens_the_channel(env: Environment) -> None:
    """Spaces and hyphens do not matter. The code is neither stored as a notice nor shown in the audit trail."""
    await env.start(with_monitoring=False, with_outbox=True)
    channel_id = await add_mail(env)
    await env.mail_confirmation.send_code(ALICE, channel_id)
    code = mailed_code(env)

    confirmed = await env.mail_confirmation.confirm(user(), channel_id, f" {code.replace('-', ' ')} ")
    await lose_session(env)

    assert confirmed.proof is AddressProof.CODE
    assert [address for address, _ in env.carriers.arrived] == [OTHER]
    assert env.audit(ALICE, "channel.") == ["channel.added", "channel.confirmed"]
    assert code not in repr(env.store.tables)
    assert code.replace("-", "") not in repr(env.store.tables)
    with pytest.raises(AlreadyExists):
        await env.mail_confirmation.send_code(ALICE, channel_id)
    await env.kill()


async def test_wrong_codes_make_a_code_invalid(env: Environment) -> None:
    """Five guesses for each code; the right one is refused afterwards, and a new one works."""
    channel_id = await add_mail(env)
    await env.mail_confirmation.send_code(ALICE, channel_id)
    code = mailed_code(env)
    for _ in range(MOST_WRONG_CODES):
        with pytest.raises(InvalidInput, match="not the code") as refused:
            await env.mail_confirmation.confirm(user(), channel_id, "0000-0000")
    with pytest.raises(InvalidInput, match="new one"):
        await env.mail_confirmation.confirm(user(), channel_id, code)

    assert refused.value.field == "code"
    await env.clock.advance(1)
    await confirm(env, channel_id)
    assert (await env.channels.of_user(ALICE))[0].is_confirmed


async def test_a_code_expires_and_a_new_one_replaces_it(env: Environment) -> None:
    """Only the code of the last mail is valid."""
    channel_id = await add_mail(env)
    await env.mail_confirmation.send_code(ALICE, channel_id)
    first = mailed_code(env)
    await env.clock.advance(CODE_LIFETIME.total_seconds())
    with pytest.raises(InvalidInput, match="expired"):
        await env.mail_confirmation.confirm(user(), channel_id, first)
    await env.mail_confirmation.send_code(ALICE, channel_id)
    second = mailed_code(env)
    await env.clock.advance(1)
    await env.mail_confirmation.send_code(ALICE, channel_id)

    with pytest.raises(InvalidInput, match="not the code"):
        await env.mail_confirmation.confirm(user(), channel_id, second)
    await env.mail_confirmation.confirm(user(), channel_id, mailed_code(env))


async def test_only_the_owner_confirms_an_e_mail_channel(env: Environment) -> None:
    """Other users and other kinds of channels get a 404."""
    channel_id = await add_mail(env)
    hook = NewChannel(ChannelKind.WEBHOOK, "hook", frozenset(), "https://x.in/")
    other, _ = await env.channels.add(user(), hook)

    for user_id, which in ((BOB, channel_id), (ALICE, other.id), (ALICE, "none")):
        with pytest.raises(NotFound):
            await env.mail_confirmation.send_code(user_id, which)
        with pytest.raises(NotFound):
            await env.mail_confirmation.confirm(user(user_id), which, "1")
    assert env.carriers.mails == []


async def test_a_recipient_gets_few_codes_a_day_from_all_users(env: Environment) -> None:
    """A removed and added channel does not reset the count, nor does another user."""
    for number in range(MOST_PER_RECIPIENT):
        user_id = (ALICE, BOB)[number % 2]
        channel_id = await add_mail(env, user_id=user_id)
        await env.mail_confirmation.send_code(user_id, channel_id)
        await env.channels.remove(user_id, channel_id)
        await env.clock.advance(WINDOW_S)
    channel_id = await add_mail(env, user_id=BOB)
    with pytest.raises(TooManyAttempts, match="this address") as refused:
        await env.mail_confirmation.send_code(BOB, channel_id)

    assert len(env.carriers.mails) == MOST_PER_RECIPIENT
    await env.clock.advance(refused.value.retry_after_s)
    await env.mail_confirmation.send_code(BOB, channel_id)


async def test_a_user_mails_few_codes_a_day_to_all_recipients(env: Environment) -> None:
    """Otherwise one trader could mail thousands of people a day."""
    for number in range(MOST_PER_USER + 1):
        channel_id = await add_mail(env, f"other{number}@third-party.example")
        if number < MOST_PER_USER:
            await env.mail_confirmation.send_code(ALICE, channel_id)
            await env.channels.remove(ALICE, channel_id)
        if number % MOST_AT_ONCE == MOST_AT_ONCE - 1:
            await env.clock.advance(WINDOW_S)
    with pytest.raises(TooManyAttempts, match="You requested"):
        await env.mail_confirmation.send_code(ALICE, channel_id)

    await env.clock.advance(WINDOW.total_seconds() + 1)
    await env.mail_confirmation.purge()
    assert env.store.tables.mail_codes == {}
    await env.mail_confirmation.send_code(ALICE, channel_id)


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (TryLater("The mail server cannot be reached."), MailNotSent),
        (Refused("The mail server refused the recipient (550)."), InvalidInput),
    ],
)
async def test_a_failed_mail_uses_up_no_limit(env: Environment, outcome, failure) -> None:
    """The user gets the reason, and can try again when the mail server works."""
    channel_id = await add_mail(env)
    env.carriers.behaviours[OTHER] = lambda _: outcome
    for _ in range(MOST_PER_RECIPIENT + 1):
        with pytest.raises(failure, match=re.escape(outcome.why)):
            await env.mail_confirmation.send_code(ALICE, channel_id)
    env.carriers.behaviours.clear()

    await confirm(env, channel_id)


async def test_the_address_of_the_account_comes_first(env: Environment) -> None:
    """A password reset goes to an address that a code has confirmed, never to one that only took mail before."""
    assert await env.mail_confirmation.address_of(user()) is None
    first, own = await add_mail(env, "a@b.in"), await add_mail(env, user().email)
    old = env.store.tables.channels
    old[own] = replace(old[own], proof=AddressProof.DELIVERY)
    assert await env.mail_confirmation.address_of(user()) is None

    await confirm(env, first)
    assert (await env.mail_confirmation.address_of(user())).reveal() == "a@b.in"
    await confirm(env, own)
    assert (await env.mail_confirmation.address_of(user())).reveal() == user().email
    assert await env.mail_confirmation.address_of(user(BOB)) is None


async def test_mail_that_was_delivered_before_the_upgrade_continues(env: Environment) -> None:
    """The user loses no notice; a code can still be requested, for password resets."""
    await env.start(with_monitoring=False, with_outbox=True)
    channel_id = await add_mail(env)
    channels = env.store.tables.channels
    channels[channel_id] = replace(channels[channel_id], proof=AddressProof.DELIVERY)
    await lose_session(env)

    assert [address for address, _ in env.carriers.arrived] == [OTHER]
    await confirm(env, channel_id)
    assert (await env.channels.of_user(ALICE))[0].proof is AddressProof.CODE
    await env.kill()
