"""The login at Fyers: from its login page to a new broker session, and the disconnect.

Each login is protected twice. Its `state` is random, stored as a hash, and valid once within `STATE_LIFETIME`. And the redirect is accepted only
from the user who started the login or from the browser in which it was started.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import (
    Answered,
    BrokerRefusal,
    BrokerService,
    InvalidInput,
    LinkRefused,
    LoginRefused,
    UnreadableReply,
    WrongAccount,
)
from hullwatch.domain.secrets import AccessToken, AuthCode
from hullwatch.domain.sessions.connection import Connection, Credential, DisconnectReason, Lease, NewLogin
from hullwatch.domain.sessions.login_links import LoginLink, masked_fyers_id
from hullwatch.domain.sessions.tokens import TokenClaims, read_claims
from hullwatch.domain.users.accounts import FyersApp, PendingLogin
from hullwatch.services.context import Context
from hullwatch.services.login.addresses import AddressAdvice, compare_addresses
from hullwatch.services.login.apps import AppCheck, FyersApps, LinkedApp
from hullwatch.services.login.redirect import (
    AGAIN,
    Redirect,
    check_browser,
    exchange_refusal,
    read_auth_code,
    read_pasted,
    unavailable,
)
from hullwatch.services.ports import BrokerPort, UnitOfWork
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService
from hullwatch.services.users.authentication import hash_value

STATE_LIFETIME: Final = timedelta(minutes=10)
LONGEST_STATE: Final = 128
SIGN_OUT_TIMEOUT_S: Final = 3.0
"""Real seconds that a user who disconnects waits for Fyers; hullwatch has ended the session by then."""


class FyersLoginService:
    """Logs users in to Fyers, and disconnects them."""

    def __init__(
        self,
        context: Context,
        *,
        broker: BrokerPort,
        connections: ConnectionService,
        validation: TokenValidationService,
        hook: SessionHook,
        server_app: FyersApp | None = None,
        sign_out_timeout_s: float = SIGN_OUT_TIMEOUT_S,
    ) -> None:
        self._store = context.store
        self._broker = broker
        self._connections = connections
        self._validation = validation
        self._clock = context.clock
        self._apps = FyersApps(context, broker=broker, server_app=server_app)
        self._new_secret = context.new_secret
        self._sign_out_timeout_s = sign_out_timeout_s
        self._hook = hook

    # ---------------------------------------------------------------- the user's Fyers app

    async def app(self, user_id: str) -> LinkedApp | None:
        """Return the app that the user logs in through, or `None` if there is none."""
        return await self._apps.shown(user_id)

    async def put_app(self, user_id: str, app_id: str, secret: str, redirect_uri: str) -> LinkedApp:
        """Store the user's own Fyers app; raises `InvalidInput`. A present session keeps the app that it was started with."""
        return await self._apps.put(user_id, app_id, secret, redirect_uri)

    async def check_app(self, user_id: str) -> AppCheck:
        """Check at Fyers whether the app id and secret of the user's logins are accepted.

        Raises:
            LinkRefused: There is no Fyers app yet.
        """
        return await self._apps.check(user_id)

    async def remove_app(self, user_id: str) -> None:
        """Delete the user's own Fyers app; the server's app is used then, if there is one."""
        await self._apps.remove(user_id)

    # ---------------------------------------------------------------- login

    async def address_advice(self, user_id: str, *, opened_at: str, public_url: str) -> AddressAdvice | None:
        """Return what keeps a login of this user from returning to this page; `None` if nothing does."""
        app = await self.app(user_id)
        if app is None:
            return None
        return compare_addresses(
            app.redirect_uri, opened_at=opened_at, public_url=public_url, is_own_app=app.is_own
        )

    async def connect(self, user_id: str, browser_nonce: str, *, may_switch_account: bool = False) -> str:
        """Return the address of Fyers' login page for this user.

        Args:
            user_id: The user who starts the login.
            browser_nonce: A random value that this browser keeps in a cookie.
            may_switch_account: Whether another Fyers id than the linked one is accepted.

        Raises:
            LinkRefused: There is no Fyers app to log in through.
        """
        async with self._store.begin() as work:
            app = await self._apps.within(work, user_id)
            pending = PendingLogin(
                user_id,
                app.app_id,
                self._clock.now() + STATE_LIFETIME,
                hash_value(browser_nonce),
                may_switch_account=may_switch_account,
            )
            url = await self._begin(work, app, pending)
            await work.commit()
        return url

    async def begin_by_link(self, work: UnitOfWork, link: LoginLink, browser_hash: str) -> str:
        """Return the address of Fyers' login page for a link that this browser uses; the caller commits.

        The login expires with the link at the latest.

        Raises:
            LinkRefused: There is no Fyers app to log in through.
        """
        app = await self._apps.within(work, link.user_id)
        expires_at = min(self._clock.now() + STATE_LIFETIME, link.expires_at)
        pending = PendingLogin(
            link.user_id, app.app_id, expires_at, browser_hash, link_generation=link.generation
        )
        return await self._begin(work, app, pending)

    async def _begin(self, work: UnitOfWork, app: FyersApp, pending: PendingLogin) -> str:
        state = self._new_secret()
        await work.connections.add_pending(hash_value(state), pending)
        return self._broker.login_url(app, state)

    async def callback(
        self, redirect: Redirect, *, user_id: str | None, browser_nonce: str | None
    ) -> Connection:
        """Complete the login with Fyers' redirect.

        Args:
            redirect: The fields of its query.
            user_id: The user who is signed in, if any.
            browser_nonce: The value of the browser's cookie, if it has one.

        Raises:
            LinkRefused: The `state` is missing, unknown, used, expired or of another user, or Fyers refused; nothing was changed.
            WrongAccount: The login belongs to another Fyers id than before.
            BrokerRefusal: Fyers is unavailable; the user has to start again.
        """
        pending = await self._take_pending(redirect.state)
        if pending is None:
            raise LinkRefused(f"This login is too old, was used already, or was not started here. {AGAIN}")
        try:
            check_browser(pending, user_id=user_id, browser_nonce=browser_nonce)
            return await self._finish(pending, redirect)
        except LinkRefused as refusal:
            if pending.is_by_link:
                await self._note_refused_link(pending, refusal.reason)
            raise

    async def _finish(self, pending: PendingLogin, redirect: Redirect) -> Connection:
        """Log in with a redirect that came to the right browser."""
        if redirect.is_error or not redirect.auth_code:
            raise LinkRefused(f"Fyers did not complete the login. {AGAIN}", reason="not_completed")
        if pending.link_generation not in (None, self._connections.connection(pending.user_id).generation):
            # Checked again when the session is stored; the check here saves a useless exchange of the code.
            raise LinkRefused("A later login has replaced this one.", reason="void")
        app = await self._apps.of(pending.user_id)
        if app.app_id != pending.app_id:
            raise LinkRefused(f"The Fyers app was changed while you were logging in. {AGAIN}")
        return await self._log_in(
            pending.user_id,
            app,
            read_auth_code(redirect.auth_code),
            may_switch_account=pending.may_switch_account,
            only_after=pending.link_generation,
        )

    async def _note_refused_link(self, pending: PendingLogin, reason: str) -> None:
        entry = AuditEntry(
            self._clock.now(),
            pending.user_id,
            "login_link.refused",
            "hullwatch",
            reason=reason,
            generation=pending.link_generation,
        )
        async with self._store.begin() as work:
            await work.audit.add([entry])
            await work.commit()

    async def authorize(self, user_id: str, pasted: str, *, may_switch_account: bool = False) -> Connection:
        """Log in with a pasted auth code or redirect address; raises like `callback`."""
        redirect = read_pasted(pasted)
        pending = await self._take_pending(redirect.state)
        if pending is not None and pending.user_id != user_id:
            raise LinkRefused("Another user started this login. Start a new one.")
        if redirect.is_error or not redirect.auth_code:
            raise LinkRefused(
                "This text contains no auth code. Paste the code or the whole address that Fyers redirected to."
            )
        may_switch = may_switch_account or (pending is not None and pending.may_switch_account)
        code = read_auth_code(redirect.auth_code)
        return await self._log_in(user_id, await self._apps.of(user_id), code, may_switch_account=may_switch)

    async def _take_pending(self, state: str | None) -> PendingLogin | None:
        if not state or len(state) > LONGEST_STATE:
            return None
        async with self._store.begin() as work:
            pending = await work.connections.take_pending(hash_value(state))
            await work.commit()
        return pending if pending is not None and self._clock.now() < pending.expires_at else None

    async def _log_in(
        self,
        user_id: str,
        app: FyersApp,
        code: AuthCode,
        *,
        may_switch_account: bool,
        only_after: int | None = None,
    ) -> Connection:
        answer = await self._broker.exchange_auth_code(app, code)
        if not isinstance(answer, Answered):
            raise exchange_refusal(answer)
        token = answer.value.access_token
        claims = self._read(token)
        fyers_id = claims.fyers_id or await self._read_owner(user_id, app, token, claims)
        linked_before = self._connections.connection(user_id).fyers_id
        if only_after is not None and linked_before != fyers_id:
            # A person who has the link is perhaps not its user, so the linked id is masked.
            raise WrongAccount(
                f"You logged in at Fyers as {fyers_id}, but this login link is for {masked_fyers_id(linked_before or '')}. "
                "Log out at Fyers, and press the button of the link again.",
                may_switch=False,
            )
        if linked_before not in (None, fyers_id) and not may_switch_account:
            raise WrongAccount(
                f"You logged in at Fyers as {fyers_id}, but {linked_before} is linked here. "
                "Log in with that account, or choose to switch the account."
            )
        connection = await self._connections.log_in(
            user_id,
            NewLogin(
                token=token,
                fyers_id=fyers_id,
                app_id=app.app_id,
                expires_at=claims.expires_at,
                actor=user_id,
                only_after=only_after,
            ),
        )
        await self._hook.logged_in(connection, answer.value, linked_before=linked_before)
        return connection

    def _read(self, token: AccessToken) -> TokenClaims:
        now = self._clock.now()
        try:
            claims = read_claims(token, now=now)
        except InvalidInput as unreadable:
            raise BrokerRefusal(
                str(unreadable), UnreadableReply(BrokerService.LOGIN, cause="unreadable_token")
            ) from None
        if claims.expires_at <= now:
            raise LinkRefused(
                "Fyers sent a session that has already expired. Log in again; if it happens again, check the clock of this server."
            )
        return claims

    async def _read_owner(self, user_id: str, app: FyersApp, token: AccessToken, claims: TokenClaims) -> str:
        """Request the Fyers id of a token that does not contain it."""
        answer = await self._broker.profile_id(
            Credential(user_id, 0, app.app_id, "", token, claims.expires_at)
        )
        if isinstance(answer, Answered):
            return answer.value
        if isinstance(answer, LoginRefused):
            raise LinkRefused(f"Fyers refuses the session that it has just sent. {AGAIN}")
        raise unavailable(answer)

    # ---------------------------------------------------------------- disconnect

    async def disconnect(self, user_id: str) -> Connection:
        """End the session here at once, and at Fyers if it answers within the timeout; without a session nothing changes."""
        credential = self._connections.credential(user_id)
        connection = await self._validation.mark_user_as_disconnected(
            user_id, DisconnectReason.SIGNED_OUT, actor=user_id
        )
        if credential is not None:
            await self._sign_out_at_fyers(credential)
        return connection

    async def _sign_out_at_fyers(self, credential: Credential) -> None:
        """Sign out at Fyers. The lease is closed for all other calls, so this call has its own."""
        last_call = replace(credential, lease=Lease())
        try:
            async with asyncio.timeout(self._sign_out_timeout_s):
                await self._broker.sign_out(last_call)
        except TimeoutError:
            return
