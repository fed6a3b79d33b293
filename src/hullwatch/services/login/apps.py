"""The Fyers apps that users log in through: their own, or the server's."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hullwatch.domain.audit import AuditEntry
from hullwatch.domain.failures import LinkRefused, LoginRefused, RequestRefused
from hullwatch.domain.secrets import AuthCode
from hullwatch.domain.users.accounts import FyersApp, read_fyers_app
from hullwatch.services.context import Context
from hullwatch.services.login.redirect import APP_CODES
from hullwatch.services.ports import BrokerPort, UnitOfWork

_NO_CODE: Final = "hullwatch-asks-about-the-app"
"""Sent instead of an auth code; Fyers' codes are JWTs, so it cannot be valid."""


@dataclass(frozen=True, slots=True)
class LinkedApp:
    """The Fyers app that a user logs in through, without its secret."""

    app_id: str
    redirect_uri: str
    is_own: bool
    """False for the server's app, which all users without their own app share."""


class AppCheck(StrEnum):
    """Whether Fyers accepts an app id and its secret."""

    ACCEPTED = "accepted"
    """It refuses only the auth code."""
    REFUSED = "refused"
    """It refuses the pair."""
    UNKNOWN = "unknown"
    """It is unavailable."""


class FyersApps:
    """Stores the apps of users, and returns the one that a user logs in through."""

    def __init__(self, context: Context, *, broker: BrokerPort, server_app: FyersApp | None) -> None:
        self._store = context.store
        self._broker = broker
        self._clock = context.clock
        self._server_app = server_app

    async def shown(self, user_id: str) -> LinkedApp | None:
        """Return the app that the user logs in through, or `None` if there is none."""
        async with self._store.begin(read_only=True) as work:
            own = await work.connections.app(user_id)
        app = own or self._server_app
        return None if app is None else LinkedApp(app.app_id, app.redirect_uri, is_own=own is not None)

    async def put(self, user_id: str, app_id: str, secret: str, redirect_uri: str) -> LinkedApp:
        """Store the user's own Fyers app; raises `InvalidInput`. A present session keeps the app that it was started with."""
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

    async def check(self, user_id: str) -> AppCheck:
        """Check at Fyers whether the app id and secret are accepted, by exchanging an auth code that cannot be valid.

        Fyers has no call for this, but it refuses a wrong pair with another code than a wrong auth code.

        Raises:
            LinkRefused: There is no Fyers app yet.
        """
        answer = await self._broker.exchange_auth_code(await self.of(user_id), AuthCode(_NO_CODE))
        if isinstance(answer, RequestRefused) and answer.code in APP_CODES:
            return AppCheck.REFUSED
        if isinstance(answer, RequestRefused | LoginRefused):
            return AppCheck.ACCEPTED
        return AppCheck.UNKNOWN

    async def remove(self, user_id: str) -> None:
        """Delete the user's own Fyers app; the server's app is used then, if there is one."""
        async with self._store.begin() as work:
            await work.connections.remove_app(user_id)
            await work.audit.add([AuditEntry(self._clock.now(), user_id, "fyers_app.removed", user_id)])
            await work.commit()

    async def of(self, user_id: str) -> FyersApp:
        """Return the app that the user logs in through; raises `LinkRefused` if there is none."""
        async with self._store.begin(read_only=True) as work:
            return await self.within(work, user_id)

    async def within(self, work: UnitOfWork, user_id: str) -> FyersApp:
        """Return the same app, read in this unit of work."""
        own = await work.connections.app(user_id)
        if (app := own or self._server_app) is None:
            raise LinkRefused("No Fyers app is set up yet. Store your Fyers app id and secret first.")
        return app
