"""Reset links by mail: a user who cannot sign in asks for one, and gets it at an address that was confirmed with a code.

The answer is the same for every e-mail address, and is given before anything is looked up.
"""

from datetime import timedelta
from typing import Final

import structlog

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import NotAllowed, StorageUnavailable, TooManyAttempts
from hullwatch.domain.notifications.channels import ChannelAddress, SendOutcome, Sent, TryLater
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.users.accounts import User
from hullwatch.domain.users.login_throttle import AttemptCounter, ThrottlePolicy, network_of
from hullwatch.domain.users.password_resets import PasswordReset
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.notifications.mail_confirmation import MailConfirmation
from hullwatch.services.ports import ChannelPort
from hullwatch.services.texts.accounts import compose_reset_mail
from hullwatch.services.users.accounts import AccountService
from hullwatch.services.users.authentication import hash_value

JOB: Final = "password-reset-mail"
LIFETIME: Final = timedelta(minutes=60)
BY_ADDRESS: Final = ThrottlePolicy(free_attempts=10, first_lock_s=600.0, longest_lock_s=3600.0)
"""Requests from one network address."""
BY_USER: Final = ThrottlePolicy(free_attempts=3, first_lock_s=3600.0, longest_lock_s=86_400.0)
"""Mails to one user, so that nobody's mailbox is filled."""


class MailedResets:
    """Mails reset links, where the operator has a mail server."""

    def __init__(
        self,
        context: Context,
        *,
        accounts: AccountService,
        confirmation: MailConfirmation,
        channels: ChannelPort,
        supervisor: Supervisor,
        public_url: str,
    ) -> None:
        self._store = context.store
        self._clock = context.clock
        self._new_id = context.new_id
        self._new_secret = context.new_secret
        self._accounts = accounts
        self._confirmation = confirmation
        self._channels = channels
        self._supervisor = supervisor
        self._public_url = public_url.rstrip("/")
        self._requests = AttemptCounter(BY_ADDRESS)
        self._mails = AttemptCounter(BY_USER)
        self._log = structlog.get_logger(component="AccountService")

    @property
    def is_offered(self) -> bool:
        """Whether this server can send mail."""
        return self._channels.can_mail

    def request(self, email: str, *, address: str) -> None:
        """Begin to mail a link, if the user with this e-mail address has a confirmed one.

        Raises:
            NotAllowed: This server cannot send mail.
            TooManyAttempts: Too many requests from this network address.
        """
        if not self.is_offered:
            raise NotAllowed("This server sends no mail. Ask an admin for a reset link.")
        network, now = network_of(address), self._clock.monotonic()
        if (wait_s := self._requests.wait_s(network, now)) > 0:
            raise TooManyAttempts(
                "Too many requests from this address. Try again later.", retry_after_s=wait_s
            )
        self._requests.count(network, now)
        self._supervisor.run_once(JOB, self._mail_link(email))

    async def _mail_link(self, email: str) -> None:
        found = await self._found(email)
        if found is None:
            return
        user, recipient = found
        value, now = self._new_secret(), self._clock.now()
        reset = PasswordReset(user.id, None, now, now + LIFETIME)
        async with self._store.begin() as work:
            await work.password_resets.add(hash_value(value), reset)
            await work.audit.add([AuditEntry(now, user.id, "user.password_reset_requested", "mail")])
            await work.commit()
        # Browsers do not send the part behind the hash, so it reaches no log and no referrer.
        outcome = await self._send(SecretText(f"{self._public_url}/#reset={value}"), recipient)
        if isinstance(outcome, Sent):
            self._log.info("reset_mail.sent", user_id=user.id)
        else:
            self._log.warning("reset_mail.failed", user_id=user.id, why=outcome.why)

    async def _found(self, email: str) -> tuple[User, ChannelAddress] | None:
        """Return the user and a confirmed address, unless there is none or too many mails were sent."""
        try:
            user = await self._accounts.find(email)
            recipient = None if user is None else await self._confirmation.address_of(user)
        except StorageUnavailable:
            self._log.warning("reset_mail.failed", user_id=None, why="The database cannot be read.")
            return None
        now = self._clock.monotonic()
        if user is None or recipient is None or self._mails.wait_s(user.id, now) > 0:
            return None
        self._mails.count(user.id, now)
        return user, recipient

    async def _send(self, link: SecretText, recipient: ChannelAddress) -> SendOutcome:
        mail = compose_reset_mail(link, mail_id=self._new_id("mail"), now=self._clock.now())
        try:
            async with clock_timeout(self._clock.real, self._channels.limit_s(ChannelKind.EMAIL)):
                return await self._channels.mail(mail, recipient)
        except TimeoutError:
            return TryLater("The mail server did not answer in time.")
