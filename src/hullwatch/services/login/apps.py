"""The Fyers apps that users log in through: one of their own, or the server's. What is done through them is ``linking.py``'s."""

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
"""Stands where an auth code would; Fyers' codes are JWTs, so it cannot be one."""


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


class FyersApps:
    """Stores users' own apps, and knows which one counts."""

    def __init__(self, context: Context, *, broker: BrokerPort, server_app: FyersApp | None) -> None:
        self._store = context.store
        self._broker = broker
        self._clock = context.clock
        self._server_app = server_app

    async def shown(self, user_id: str) -> LinkedApp | None:
        """Return the app the user would log in through, or `None` while there is none."""
        async with self._store.begin(read_only=True) as work:
            own = await work.connections.app(user_id)
        app = own or self._server_app
        return None if app is None else LinkedApp(app.app_id, app.redirect_uri, is_own=own is not None)

    async def put(self, user_id: str, app_id: str, secret: str, redirect_uri: str) -> LinkedApp:
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

    async def check(self, user_id: str) -> AppCheck:
        """Ask Fyers whether it objects to the app id and secret that logins go through, with an auth code that cannot be good.

        Fyers has no call of its own for this; a wrong pair is refused in other words than a wrong code.

        Raises:
            LinkRefused: there is no Fyers app yet.
        """
        answer = await self._broker.exchange_auth_code(await self.of(user_id), AuthCode(_NO_CODE))
        if isinstance(answer, RequestRefused) and answer.code in APP_CODES:
            return AppCheck.REFUSED
        if isinstance(answer, RequestRefused | LoginRefused):
            return AppCheck.ACCEPTED
        return AppCheck.UNKNOWN

    async def remove(self, user_id: str) -> None:
        """Forget the user's own Fyers app; the server's is used then, if there is one."""
        async with self._store.begin() as work:
            await work.connections.remove_app(user_id)
            await work.audit.add([AuditEntry(self._clock.now(), user_id, "fyers_app.removed", user_id)])
            await work.commit()

    async def of(self, user_id: str) -> FyersApp:
        """Return the app that the user logs in through; raises `LinkRefused` while there is none."""
        async with self._store.begin(read_only=True) as work:
            return await self.within(work, user_id)

    async def within(self, work: UnitOfWork, user_id: str) -> FyersApp:
        """Return the same, read in this unit of work."""
        own = await work.connections.app(user_id)
        if (app := own or self._server_app) is None:
            raise LinkRefused("No Fyers app is set up yet: store your Fyers app id and secret first.")
        return app
