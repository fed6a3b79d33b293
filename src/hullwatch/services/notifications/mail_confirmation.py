"""Confirms the e-mail addresses of channels with mailed codes. Until then nothing else is sent to an address."""

from datetime import datetime
from typing import Final

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import (
    AlreadyExists,
    InvalidInput,
    MailNotSent,
    NotFound,
    TooManyAttempts,
)
from hullwatch.domain.notifications.channels import (
    AddressProof,
    Channel,
    ChannelAddress,
    Refused,
    SendOutcome,
    Sent,
    TryLater,
)
from hullwatch.domain.notifications.mail_codes import (
    MOST_PER_RECIPIENT,
    MOST_PER_USER,
    WINDOW,
    MailCode,
    code_hash,
    make_code,
    read_code,
    recipient_hash,
    wait_s,
)
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.domain.users.accounts import User
from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.context import Context
from hullwatch.services.ports import ChannelPort, UnitOfWork
from hullwatch.services.texts.channels import compose_code

_NO_CHANNEL: Final = "You have no such e-mail channel."
_TOO_MANY_TO_RECIPIENT: Final = "Too many codes were mailed to this address today. Try again later."
_TOO_MANY_BY_USER: Final = "You requested too many codes today. Try again later."
_EXPIRED: Final = "The code has expired. Send a new one."
_WRONG: Final = "This is not the code of the last mail. Check it and try again."


class MailConfirmation:
    """Mails codes and checks them, for one user at a time."""

    def __init__(self, context: Context, *, channels: ChannelPort) -> None:
        self._store = context.store
        self._channels = channels
        self._clock = context.clock
        self._new_id = context.new_id
        self._new_secret = context.new_secret
        self._log = structlog.get_logger(component="NotificationService")

    async def send_code(self, user_id: str, channel_id: str) -> None:
        """Mail a new code to the address of an e-mail channel; an earlier code becomes invalid.

        Raises:
            NotFound: The user has no such e-mail channel.
            AlreadyExists: The address was confirmed with a code.
            TooManyAttempts: The recipient or the user has had too many codes within a day.
            InvalidInput: The mail server refuses the recipient.
            MailNotSent: The mail server did not accept the mail.
        """
        now = self._clock.now()
        code = make_code(self._new_secret())
        async with self._store.begin() as work:
            channel = await _mail_channel(work, user_id, channel_id)
            if channel.proof is AddressProof.CODE:
                raise AlreadyExists("This address is confirmed already.")
            destination = await work.channels.destination(user_id, channel_id)
            if destination is None:
                raise NotFound(_NO_CHANNEL)
            stored = self._stored_code(channel, destination.address, code, now)
            await work.mail_codes.lock()
            await _check_limits(work, stored)
            await work.mail_codes.add(stored)
            await work.commit()
        outcome = await self._send(code, destination.address, stored)
        if not isinstance(outcome, Sent):
            await self._give_back(stored)
            self._log.warning("mail_code.failed", user_id=user_id, channel_id=channel_id, why=outcome.why)
            raise _refusal(outcome)
        self._log.info("mail_code.sent", user_id=user_id, channel_id=channel_id)

    async def confirm(self, user: User, channel_id: str, code: str) -> Channel:
        """Confirm the address of an e-mail channel with the code of the last mail, and return the channel.

        Raises:
            NotFound: The user has no such e-mail channel.
            InvalidInput: The code is wrong or has expired.
        """
        given, now = read_code(code), self._clock.now()
        async with self._store.begin() as work:
            await work.mail_codes.lock()
            channel = await _mail_channel(work, user.id, channel_id)
            stored = await work.mail_codes.newest_of(channel_id)
            if channel.proof is AddressProof.CODE:
                return channel
            if stored is None or not stored.is_valid(now):
                raise InvalidInput(_EXPIRED, field="code")
            if not stored.fits(given):
                await work.mail_codes.count_wrong(stored.id)
                await work.commit()
                raise InvalidInput(_WRONG, field="code")
            await work.channels.confirm(channel_id)
            evidence = {"channelId": channel_id, "channel": channel.kind.value}
            entry = AuditEntry(now, user.id, "channel.confirmed", user.id, evidence=evidence)
            await work.audit.add([entry])
            await work.commit()
        self._log.info("channel.confirmed", user_id=user.id, channel_id=channel_id)
        async with self._store.begin(read_only=True) as work:
            return await _mail_channel(work, user.id, channel_id)

    async def address_of(self, user: User) -> ChannelAddress | None:
        """Return the e-mail address that the user confirmed with a code; the one of the account before any other.

        An address that is confirmed by an earlier delivery alone is not returned: it can be another person's.
        """
        async with self._store.begin(read_only=True) as work:
            addresses = await work.channels.confirmed_addresses(user.id)
        of_account = [address for address in addresses if address.reveal() == user.email]
        return next(iter([*of_account, *addresses]), None)

    async def purge(self) -> None:
        """Remove the codes that no limit counts any more."""
        async with self._store.begin() as work:
            await work.mail_codes.purge(before=self._clock.now() - WINDOW)
            await work.commit()

    def _stored_code(self, channel: Channel, address: ChannelAddress, code: str, now: datetime) -> MailCode:
        code_id = self._new_id("cod")
        return MailCode(
            id=code_id,
            user_id=channel.user_id,
            channel_id=channel.id,
            recipient_hash=recipient_hash(address.reveal()),
            code_hash=code_hash(code_id, code),
            sent_at=now,
        )

    async def _send(self, code: str, address: ChannelAddress, stored: MailCode) -> SendOutcome:
        mail = compose_code(code, mail_id=stored.id, now=stored.sent_at)
        try:
            async with clock_timeout(self._clock.real, self._channels.limit_s(ChannelKind.EMAIL)):
                return await self._channels.mail(mail, address)
        except TimeoutError:
            return TryLater("The mail server did not answer in time.")

    async def _give_back(self, stored: MailCode) -> None:
        """Remove a code that was not mailed, so that a failing mail server uses up no limit."""
        async with self._store.begin() as work:
            await work.mail_codes.remove(stored.id)
            await work.commit()


async def _mail_channel(work: UnitOfWork, user_id: str, channel_id: str) -> Channel:
    channel = await work.channels.get(user_id, channel_id)
    if channel is None or channel.kind is not ChannelKind.EMAIL:
        raise NotFound(_NO_CHANNEL)
    return channel


async def _check_limits(work: UnitOfWork, code: MailCode) -> None:
    since = code.sent_at - WINDOW
    to_recipient = await work.mail_codes.sent_to(code.recipient_hash, since=since)
    by_user = await work.mail_codes.sent_by(code.user_id, since=since)
    for sent_at, most, sentence in (
        (to_recipient, MOST_PER_RECIPIENT, _TOO_MANY_TO_RECIPIENT),
        (by_user, MOST_PER_USER, _TOO_MANY_BY_USER),
    ):
        seconds = wait_s(sent_at, most, code.sent_at)
        if seconds > 0:
            raise TooManyAttempts(sentence, retry_after_s=seconds)


def _refusal(outcome: Refused | TryLater) -> InvalidInput | MailNotSent:
    if isinstance(outcome, Refused):
        return InvalidInput(f"{outcome.why} Check the address.")
    return MailNotSent(f"{outcome.why} No code was sent. Try again later.")
