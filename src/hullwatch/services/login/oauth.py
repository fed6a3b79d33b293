"""Linking a Fyers account: the round trip through Fyers' login page, and disconnecting. The app it goes through is ``fyers_apps.py``'s.

What a session is and when it ends is `ConnectionService`'s; this module only brings it a fresh access token. The round trip is bound
twice: its `state` is random, stored as a hash, good once and for `STATE_LIFETIME`; and whoever comes back with it has to be signed in as the
user who began it, or be the very browser that began it. What comes back is read and checked in ``redirects.py``; login links, with which a
browser begins that is not signed in, are made and taken in ``login_links.py``.
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
from hullwatch.services.login.apps import AppCheck, FyersApps, LinkedApp
from hullwatch.services.login.redirect import (
    AGAIN,
    Redirect,
    check_browser,
    exchange_refusal,
    read_auth_code,
    read_pasted,
    trouble,
)
from hullwatch.services.ports import BrokerPort, UnitOfWork
from hullwatch.services.ports.session_hook import SessionHook
from hullwatch.services.sessions.service import ConnectionService
from hullwatch.services.sessions.validation import TokenValidationService
from hullwatch.services.users.authentication import hash_value

STATE_LIFETIME: Final = timedelta(minutes=10)
LONGEST_STATE: Final = 128
SIGN_OUT_PATIENCE_S: Final = 3.0
"""Real seconds that a person who disconnects waits for Fyers; here the session is over already."""


class FyersLoginService:
    """Brings fresh access tokens to the connections."""

    def __init__(
        self,
        context: Context,
        *,
        broker: BrokerPort,
        connections: ConnectionService,
        validation: TokenValidationService,
        hook: SessionHook,
        server_app: FyersApp | None = None,
        sign_out_patience_s: float = SIGN_OUT_PATIENCE_S,
    ) -> None:
        self._store = context.store
        self._broker = broker
        self._connections = connections
        self._validation = validation
        self._clock = context.clock
        self._apps = FyersApps(context, broker=broker, server_app=server_app)
        self._new_secret = context.new_secret
        self._sign_out_patience_s = sign_out_patience_s
        self._hook = hook

    # ---------------------------------------------------------------- the user's Fyers app

    async def app(self, user_id: str) -> LinkedApp | None:
        """Return the app the user would log in through, or `None` while there is none."""
        return await self._apps.shown(user_id)

    async def put_app(self, user_id: str, app_id: str, secret: str, redirect_uri: str) -> LinkedApp:
        """Store the user's own Fyers app; raises `InvalidInput`. A running session goes on with the app it began with."""
        return await self._apps.put(user_id, app_id, secret, redirect_uri)

    async def check_app(self, user_id: str) -> AppCheck:
        """Ask Fyers whether it objects to the app id and secret that logins go through.

        Raises:
            LinkRefused: there is no Fyers app yet.
        """
        return await self._apps.check(user_id)

    async def remove_app(self, user_id: str) -> None:
        """Forget the user's own Fyers app; the server's is used then, if there is one."""
        await self._apps.remove(user_id)

    # ---------------------------------------------------------------- the round trip

    async def connect(self, user_id: str, browser_nonce: str, *, may_switch_account: bool = False) -> str:
        """Return the address of Fyers' login page for this user.

        Args:
            user_id: who begins.
            browser_nonce: random value that the beginning browser keeps in a cookie.
            may_switch_account: another Fyers id than the one linked before is meant.

        Raises:
            LinkRefused: there is no Fyers app to log in through.
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
        """Return the address of Fyers' login page for a link that this browser has taken; the caller commits.

        What is begun ends with the link at the latest.

        Raises:
            LinkRefused: there is no Fyers app to log in through.
        """
        app = await self._apps.within(work, link.user_id)
        ends_at = min(self._clock.now() + STATE_LIFETIME, link.expires_at)
        pending = PendingLogin(
            link.user_id, app.app_id, ends_at, browser_hash, link_generation=link.generation
        )
        return await self._begin(work, app, pending)

    async def _begin(self, work: UnitOfWork, app: FyersApp, pending: PendingLogin) -> str:
        state = self._new_secret()
        await work.connections.add_pending(hash_value(state), pending)
        return self._broker.login_url(app, state)

    async def callback(
        self, redirect: Redirect, *, user_id: str | None, browser_nonce: str | None
    ) -> Connection:
        """Finish the round trip with what Fyers' redirect brought.

        Args:
            redirect: what stood in its query.
            user_id: who is signed in, if anybody.
            browser_nonce: what the browser's cookie holds, if anything.

        Raises:
            LinkRefused: the `state` is missing, unknown, used, expired or somebody else's, or Fyers refused; nothing was changed.
            WrongAccount: the login belongs to another Fyers id than before.
            BrokerRefusal: Fyers could not be asked; the user has to begin again.
        """
        pending = await self._take_pending(redirect.state)
        if pending is None:
            raise LinkRefused(
                f"This login was begun too long ago, was used already, or was not begun here. {AGAIN}"
            )
        try:
            check_browser(pending, user_id=user_id, browser_nonce=browser_nonce)
            return await self._finish(pending, redirect)
        except LinkRefused as refusal:
            if pending.is_by_link:
                await self._note_refused_link(pending, refusal.reason)
            raise

    async def _finish(self, pending: PendingLogin, redirect: Redirect) -> Connection:
        """Log in with what came back to the right browser."""
        if redirect.is_error or not redirect.auth_code:
            raise LinkRefused(f"Fyers did not complete the login. {AGAIN}", reason="not_completed")
        if pending.link_generation not in (None, self._connections.connection(pending.user_id).generation):
            # Asked again when the session is stored; here it saves the exchange of a code for nothing.
            raise LinkRefused("There has been a login since this one was begun.", reason="void")
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
        """Log in with an auth code pasted by hand, or with the whole address that Fyers redirected to; raises as `callback`."""
        redirect = read_pasted(pasted)
        pending = await self._take_pending(redirect.state)
        if pending is not None and pending.user_id != user_id:
            raise LinkRefused("This login was begun by somebody else; begin again as yourself.")
        if redirect.is_error or not redirect.auth_code:
            raise LinkRefused(
                "There is no auth code in this; paste the code or the whole address Fyers sent you to."
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
        fyers_id = claims.fyers_id or await self._ask_whose(user_id, app, token, claims)
        linked_before = self._connections.connection(user_id).fyers_id
        if only_after is not None and linked_before != fyers_id:
            # Whoever holds a link need not be its user: the id that it is for is not told in full.
            raise WrongAccount(
                f"You logged in at Fyers as {fyers_id}, but this login link is for {masked_fyers_id(linked_before or '')}. "
                "Log out at Fyers, and press the link's button again.",
                may_switch=False,
            )
        if linked_before not in (None, fyers_id) and not may_switch_account:
            raise WrongAccount(
                f"You logged in at Fyers as {fyers_id}, but {linked_before} is linked here. "
                "Log in as that one, or say that you want to switch."
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
                "Fyers sent a session that has ended already. Log in at Fyers again; if that repeats, check this server's clock."
            )
        return claims

    async def _ask_whose(self, user_id: str, app: FyersApp, token: AccessToken, claims: TokenClaims) -> str:
        """Ask Fyers for the owner of a token that does not say."""
        answer = await self._broker.profile_id(
            Credential(user_id, 0, app.app_id, "", token, claims.expires_at)
        )
        if isinstance(answer, Answered):
            return answer.value
        if isinstance(answer, LoginRefused):
            raise LinkRefused(f"Fyers does not accept the session it has just sent. {AGAIN}")
        raise trouble(answer)

    # ---------------------------------------------------------------- the end

    async def disconnect(self, user_id: str) -> Connection:
        """End the session here at once, and at Fyers if it answers soon; without a session nothing happens."""
        credential = self._connections.credential(user_id)
        connection = await self._validation.mark_user_as_disconnected(
            user_id, DisconnectReason.SIGNED_OUT, actor=user_id
        )
        if credential is not None:
            await self._sign_out_at_fyers(credential)
        return connection

    async def _sign_out_at_fyers(self, credential: Credential) -> None:
        """Tell Fyers; the lease is closed for everybody else, so this last call has one of its own."""
        last_call = replace(credential, lease=Lease())
        try:
            async with asyncio.timeout(self._sign_out_patience_s):
                await self._broker.sign_out(last_call)
        except TimeoutError:
            return
