"""Linking a Fyers account: the user's Fyers app, the round trip through Fyers' login page, and disconnecting.

What a session is and when it ends is `ConnectionService`'s; this module only brings it a fresh access token. The round trip is bound
twice: its `state` is random, stored as a hash, good once and for `STATE_LIFETIME`; and whoever comes back with it has to be signed in as the
user who began it, or be the very browser that began it.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol
from urllib.parse import parse_qs, urlsplit

from hullwatch.domain.accounts import FyersApp, PendingLogin, read_fyers_app
from hullwatch.domain.connection import Connection, Credential, Lease
from hullwatch.domain.events import AuditEntry
from hullwatch.domain.failures import (
    Answered,
    BrokerFailure,
    BrokerRefusal,
    BrokerService,
    InvalidInput,
    LinkRefused,
    LoginRefused,
    NotPermitted,
    RateLimited,
    Refusal,
    RequestRefused,
    UnreadableReply,
    WrongAccount,
)
from hullwatch.domain.secrets import AccessToken, AuthCode
from hullwatch.domain.tokens import TokenClaims, read_claims
from hullwatch.runtime.clock import Clock
from hullwatch.services.logins import hash_value
from hullwatch.services.ports import BrokerPort, StorePort

STATE_LIFETIME: Final = timedelta(minutes=10)
LONGEST_STATE: Final = 128
LONGEST_AUTH_CODE: Final = 4096
"""Characters; Fyers' auth codes are JWTs of about 700."""
SIGN_OUT_PATIENCE_S: Final = 3.0
"""Real seconds that a person who disconnects waits for Fyers; here the session is over already."""
_APP_CODES: Final = frozenset({-5, -371})
"""Fyers' answers to a wrong app id or secret (Fyers API v3 docs and community reports)."""

_NO_CODE: Final = "hullwatch-asks-about-the-app"
"""Stands where an auth code would; Fyers' codes are JWTs, so it cannot be one."""
_AGAIN = "Begin again from the dashboard."


class Sessions(Protocol):
    """What linking needs of `ConnectionService`."""

    def connection(self, user_id: str) -> Connection:
        """Return the account's connection."""
        ...

    def credential(self, user_id: str) -> Credential | None:
        """Return what calls may be made with."""
        ...

    async def log_in(
        self,
        user_id: str,
        *,
        token: AccessToken,
        fyers_id: str,
        app_id: str,
        expires_at: datetime,
        actor: str,
    ) -> Connection:
        """Begin a new session."""
        ...

    async def sign_out(self, user_id: str, *, actor: str) -> Connection:
        """End the session."""
        ...


@dataclass(frozen=True, slots=True)
class LinkedApp:
    """The Fyers app a user logs in through, fit for showing: no secret."""

    app_id: str
    redirect_uri: str
    is_own: bool
    """False for the server's app, which all users without one of their own share."""


class AppCheck(StrEnum):
    """What Fyers says to an app id and its secret."""

    ACCEPTED = "accepted"
    """It objects to nothing but the auth code."""
    REFUSED = "refused"
    """It does not accept them together."""
    UNKNOWN = "unknown"
    """It could not be asked."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """What Fyers' redirect brought back, unchecked."""

    state: str | None
    auth_code: str | None
    is_error: bool = False


class LinkingService:
    """Brings fresh access tokens to the connections."""

    def __init__(
        self,
        *,
        store: StorePort,
        broker: BrokerPort,
        connections: Sessions,
        clock: Clock,
        server_app: FyersApp | None = None,
        new_secret: Callable[[], str] = secrets.token_urlsafe,
        sign_out_patience_s: float = SIGN_OUT_PATIENCE_S,
    ) -> None:
        self._store = store
        self._broker = broker
        self._connections = connections
        self._clock = clock
        self._server_app = server_app
        self._new_secret = new_secret
        self._sign_out_patience_s = sign_out_patience_s

    async def app(self, user_id: str) -> LinkedApp | None:
        """Return the app the user would log in through, or `None` while there is none."""
        async with self._store.begin(read_only=True) as work:
            own = await work.connections.app(user_id)
        app = own or self._server_app
        return None if app is None else LinkedApp(app.app_id, app.redirect_uri, is_own=own is not None)

    async def put_app(self, user_id: str, app_id: str, secret: str, redirect_uri: str) -> LinkedApp:
        """Store the user's own Fyers app; raises `InvalidInput`. A running session goes on with the app it began with."""
        app = read_fyers_app(app_id, secret, redirect_uri)
        async with self._store.begin() as work:
            await work.connections.put_app(user_id, app)
            await work.audit.add(
                [
                    AuditEntry(
                        self._clock.now(),
                        user_id,
                        "fyers_app.stored",
                        user_id,
                        evidence={"appId": app.app_id},
                    )
                ]
            )
            await work.commit()
        return LinkedApp(app.app_id, app.redirect_uri, is_own=True)

    async def check_app(self, user_id: str) -> AppCheck:
        """Ask Fyers whether it objects to the app id and secret that logins go through, with an auth code that cannot be good.

        Fyers has no call of its own for this; a wrong pair is refused in other words than a wrong code.

        Raises:
            LinkRefused: there is no Fyers app yet.
        """
        answer = await self._broker.exchange_auth_code(await self._app(user_id), AuthCode(_NO_CODE))
        if isinstance(answer, RequestRefused) and answer.code in _APP_CODES:
            return AppCheck.REFUSED
        if isinstance(answer, RequestRefused | LoginRefused):
            return AppCheck.ACCEPTED
        return AppCheck.UNKNOWN

    async def remove_app(self, user_id: str) -> None:
        """Forget the user's own Fyers app; the server's is used then, if there is one."""
        async with self._store.begin() as work:
            await work.connections.remove_app(user_id)
            await work.audit.add([AuditEntry(self._clock.now(), user_id, "fyers_app.removed", user_id)])
            await work.commit()

    async def connect(self, user_id: str, browser_nonce: str, *, may_switch_account: bool = False) -> str:
        """Return the address of Fyers' login page for this user.

        Args:
            user_id: who begins.
            browser_nonce: random value that the beginning browser keeps in a cookie.
            may_switch_account: another Fyers id than the one linked before is meant.

        Raises:
            LinkRefused: there is no Fyers app to log in through.
        """
        app = await self._app(user_id)
        state = self._new_secret()
        pending = PendingLogin(
            user_id,
            app.app_id,
            self._clock.now() + STATE_LIFETIME,
            hash_value(browser_nonce),
            may_switch_account=may_switch_account,
        )
        async with self._store.begin() as work:
            await work.connections.add_pending(hash_value(state), pending)
            await work.commit()
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
                f"This login was begun too long ago, was used already, or was not begun here. {_AGAIN}"
            )
        is_same_user = user_id == pending.user_id
        is_same_browser = browser_nonce is not None and hmac.compare_digest(
            hash_value(browser_nonce), pending.browser_hash
        )
        if not (is_same_user or (user_id is None and is_same_browser)):
            raise LinkRefused(f"This login was begun by somebody else or in another browser. {_AGAIN}")
        if redirect.is_error or not redirect.auth_code:
            raise LinkRefused(f"Fyers did not complete the login. {_AGAIN}")
        app = await self._app(pending.user_id)
        if app.app_id != pending.app_id:
            raise LinkRefused(f"The Fyers app was changed while you were logging in. {_AGAIN}")
        return await self._log_in(
            pending.user_id,
            app,
            _read_auth_code(redirect.auth_code),
            may_switch_account=pending.may_switch_account,
        )

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
        code = _read_auth_code(redirect.auth_code)
        return await self._log_in(user_id, await self._app(user_id), code, may_switch_account=may_switch)

    async def disconnect(self, user_id: str) -> Connection:
        """End the session here at once, and at Fyers if it answers soon; without a session nothing happens."""
        credential = self._connections.credential(user_id)
        connection = await self._connections.sign_out(user_id, actor=user_id)
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

    async def _app(self, user_id: str) -> FyersApp:
        async with self._store.begin(read_only=True) as work:
            own = await work.connections.app(user_id)
        if (app := own or self._server_app) is None:
            raise LinkRefused("No Fyers app is set up yet: store your Fyers app id and secret first.")
        return app

    async def _take_pending(self, state: str | None) -> PendingLogin | None:
        if not state or len(state) > LONGEST_STATE:
            return None
        async with self._store.begin() as work:
            pending = await work.connections.take_pending(hash_value(state))
            await work.commit()
        return pending if pending is not None and self._clock.now() < pending.expires_at else None

    async def _log_in(
        self, user_id: str, app: FyersApp, code: AuthCode, *, may_switch_account: bool
    ) -> Connection:
        answer = await self._broker.exchange_auth_code(app, code)
        if not isinstance(answer, Answered):
            raise _exchange_refusal(answer)
        token = answer.value
        claims = self._read(token)
        fyers_id = claims.fyers_id or await self._ask_whose(user_id, app, token, claims)
        linked_before = self._connections.connection(user_id).fyers_id
        if linked_before not in (None, fyers_id) and not may_switch_account:
            raise WrongAccount(
                f"You logged in at Fyers as {fyers_id}, but {linked_before} is linked here. "
                "Log in as that one, or say that you want to switch."
            )
        return await self._connections.log_in(
            user_id,
            token=token,
            fyers_id=fyers_id,
            app_id=app.app_id,
            expires_at=claims.ends_at,
            actor=user_id,
        )

    def _read(self, token: AccessToken) -> TokenClaims:
        now = self._clock.now()
        try:
            claims = read_claims(token, now=now)
        except InvalidInput as unreadable:
            raise BrokerRefusal(
                str(unreadable), UnreadableReply(BrokerService.LOGIN, cause="unreadable_token")
            ) from None
        if claims.ends_at <= now:
            raise LinkRefused(
                "Fyers sent a session that has ended already. Log in at Fyers again; if that repeats, check this server's clock."
            )
        return claims

    async def _ask_whose(self, user_id: str, app: FyersApp, token: AccessToken, claims: TokenClaims) -> str:
        """Ask Fyers for the owner of a token that does not say."""
        answer = await self._broker.profile_id(Credential(user_id, 0, app.app_id, "", token, claims.ends_at))
        if isinstance(answer, Answered):
            return answer.value
        if isinstance(answer, LoginRefused):
            raise LinkRefused(f"Fyers does not accept the session it has just sent. {_AGAIN}")
        raise _trouble(answer)


def read_pasted(text: str) -> Redirect:
    """Read an auth code, or the query of a whole redirect address, from what a person pasted."""
    text = text.strip()
    if "auth_code=" not in text and "://" not in text:
        return Redirect(None, text or None)
    try:
        query = urlsplit(text).query or text.rpartition("?")[2]
        fields = parse_qs(query, max_num_fields=20)
    except ValueError:
        # The parser's message quotes what was pasted.
        return Redirect(None, None)
    return Redirect(
        _only(fields, "state"), _only(fields, "auth_code"), is_error=_only(fields, "s") == "error"
    )


def _only(fields: dict[str, list[str]], name: str) -> str | None:
    values = fields.get(name, [])
    return values[0] if len(values) == 1 else None


def _read_auth_code(text: str) -> AuthCode:
    if len(text) > LONGEST_AUTH_CODE or not text.isascii() or not text.isprintable() or " " in text:
        raise LinkRefused(f"That cannot be an auth code of Fyers. {_AGAIN}")
    return AuthCode(text)


def _exchange_refusal(failure: BrokerFailure) -> Refusal:
    """Say what became of the exchange of an auth code."""
    if isinstance(failure, RequestRefused) and failure.code in _APP_CODES:
        return LinkRefused("Fyers does not accept the app id and secret; store your Fyers app again.")
    if isinstance(failure, RequestRefused | LoginRefused):
        return LinkRefused(f"Fyers refused the auth code; it is good once and not for long. {_AGAIN}")
    return _trouble(failure)


def _trouble(failure: BrokerFailure) -> BrokerRefusal:
    """Say why Fyers gave no usable answer."""
    match failure:
        case RateLimited(retry_after_s=seconds):
            sentence = f"Fyers asks for a pause. Begin again in {max(1, round(seconds))} seconds."
        case NotPermitted():
            sentence = "Fyers does not let this app log you in; check the app's permissions at Fyers."
        case _:
            sentence = "Fyers cannot be reached just now. Begin again in a minute."
    return BrokerRefusal(sentence, failure)
