"""The fake broker and the real client with the simulator, behind the same functions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from fakes.broker import AccountState, FakeBroker
from fakes.clock import FakeClock
from limits import ANSWER_LIMIT_S

from hullwatch.domain.market.candles import Candle
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Quote
from hullwatch.domain.secrets import AccessToken, AppSecret, AuthCode
from hullwatch.domain.sessions.connection import Credential
from hullwatch.domain.sessions.tokens import read_claims
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.fyers.client import FyersAddresses, FyersClient
from hullwatch.fyers.transport import TimeLimits
from hullwatch.simulator.server import SimulatorConfig, SimulatorServer

APP = FyersApp("HULLWATCH-100", AppSecret("simulator"), "http://127.0.0.1:8000/api/fyers/callback")
SBIN, UNKNOWN = Symbol("NSE:SBIN-EQ"), Symbol("NSE:NOSUCHTHING-EQ")
FIVE = Resolution("5")


class FakeWorld:
    """The broker in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.broker = FakeBroker(clock)
        self.broker.unknown_symbols.add(UNKNOWN)
        self.broker.serve_quotes([Quote(SBIN, 812.35)])
        self.broker.limits_by_symbol[SBIN] = CircuitLimits(730.0, 890.0)
        opened = clock.now() - timedelta(minutes=30)
        rows = (Candle(opened + n * FIVE.length, 10.0, 12.0, 9.0, 11.0, 5) for n in range(6))
        self.broker.serve_candles(SBIN, FIVE, rows)

    async def credential(self, user_id: str, fyers_id: str) -> Credential:
        """Log in and return the session's credential."""
        return self.broker.credential(user_id, fyers_id)

    async def auth_code(self, fyers_id: str) -> AuthCode:
        """Return an auth code as from the login page."""
        return self.broker.issue_auth_code(fyers_id)

    async def offer_renewals(self, *, refused_tokens: bool = False) -> None:
        """Accept refresh tokens from now on."""
        self.broker.takes_refresh_tokens = True
        self.broker.renews_refused_tokens = refused_tokens

    async def make(self, fyers_id: str, state: AccountState) -> None:
        """Put an account into a state."""
        self.broker.set_state(fyers_id, state)

    async def received(self, fyers_id: str) -> int:
        """Return how many calls of the account arrived."""
        return sum(call.fyers_id == fyers_id for call in self.broker.calls)


class SimulatedWorld:
    """The real client with the simulator, over real HTTP."""

    def __init__(self, clock: FakeClock, broker: FyersClient, url: str, http: aiohttp.ClientSession) -> None:
        self.clock = clock
        self.broker = broker
        self._url = url
        self._http = http

    async def control(self, path: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make a control call of the simulator."""
        async with self._http.post(f"{self._url}/simulator{path}", json=order or {}) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def credential(self, user_id: str, fyers_id: str) -> Credential:
        """Log in and return the session's credential."""
        await self.control("/accounts", {"fyersId": fyers_id, "name": user_id})
        token = AccessToken((await self.control(f"/accounts/{fyers_id}/token"))["accessToken"])
        expires_at = read_claims(token, now=self.clock.now()).expires_at
        return Credential(user_id, 1, APP.app_id, fyers_id, token, expires_at)

    async def auth_code(self, fyers_id: str) -> AuthCode:
        """Log in through the login page and return its auth code."""
        await self.control("/accounts", {"fyersId": fyers_id, "name": fyers_id})
        page = f"{self.broker.login_url(APP, 'some-state')}&fyersId={fyers_id}"
        async with self._http.get(page, allow_redirects=False) as response:
            query = parse_qs(urlsplit(response.headers["Location"]).query)
        assert query["state"] == ["some-state"]
        return AuthCode(query["auth_code"][0])

    async def offer_renewals(self, *, refused_tokens: bool = False) -> None:
        """Accept refresh tokens from now on."""
        kind = "dead_tokens" if refused_tokens else "offered"
        await self.control("/refresh", {"isOffered": True, "kind": kind})

    async def make(self, fyers_id: str, state: AccountState) -> None:
        """Put an account into a state."""
        match state:
            case AccountState.EXPIRED:
                await self.control(f"/accounts/{fyers_id}/expire")
            case AccountState.REVOKED:
                await self.control(f"/accounts/{fyers_id}/revoke")
            case AccountState.UNAVAILABLE:
                await self.fault("html_page", fyersId=fyers_id)
            case AccountState.RATE_LIMITED:
                await self.fault("rate_limit", fyersId=fyers_id)
            case _:
                raise AssertionError(f"no handle for {state}")

    async def fault(self, kind: str, **order: Any) -> None:
        """Add a fault."""
        await self.control("/faults", {"kind": kind, **order})

    async def received(self, fyers_id: str) -> int:
        """Return how many calls of the account arrived."""
        return (await self.calls(fyers_id))["total"]

    async def listed(self) -> int:
        """Return the number of lines in the simulated symbol masters of both cash markets."""
        lines = 0
        for stem in ("NSE_CM", "BSE_CM"):
            async with self._http.get(f"{self._url}/sym_details/{stem}.csv") as response:
                lines += len((await response.text()).splitlines())
        return lines

    async def calls(self, fyers_id: str) -> dict[str, Any]:
        """Return the simulator's count of the account's calls."""
        async with self._http.get(f"{self._url}/simulator/calls", params={"fyersId": fyers_id}) as response:
            return await response.json()


@asynccontextmanager
async def simulated_world(
    clock: FakeClock, timeout_s: float = ANSWER_LIMIT_S
) -> AsyncIterator[SimulatedWorld]:
    """Run a simulator on a free port, on the test's clock, with a client."""
    config = SimulatorConfig(port=0, starts_at=clock.now())
    async with (
        SimulatorServer(config, monotonic=clock.monotonic) as server,
        FyersClient(
            FyersAddresses(f"{server.base_url}/api/v3", f"{server.base_url}/data", server.base_url),
            clock,
            Random(7),
            time_limits=TimeLimits(timeout_s),
        ) as client,
        aiohttp.ClientSession() as http,
    ):
        yield SimulatedWorld(clock, client, server.base_url, http)
