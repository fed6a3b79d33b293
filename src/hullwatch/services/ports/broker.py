"""The broker that services call."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from hullwatch.domain.failures import BrokerResult, BrokerService
from hullwatch.domain.market.call_pace import CallPace
from hullwatch.domain.market.call_priority import ORDINARY_CALL, CallPriority
from hullwatch.domain.market.candles import Arranged
from hullwatch.domain.market.clock_offset import ClockOffset
from hullwatch.domain.market.instruments import Instrument, Resolution, Symbol
from hullwatch.domain.market.quotes import CircuitLimits, Quote
from hullwatch.domain.secrets import AccessToken, AuthCode, Pin, RefreshToken
from hullwatch.domain.sessions.connection import Credential
from hullwatch.domain.sessions.tokens import FreshLogin
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.runtime.circuit import CircuitReport


class BrokerPort(Protocol):
    """The calls to Fyers. No method raises for a failure of Fyers or of the network."""

    quotes_per_call: int
    """How many symbols one quotes call may name (Fyers: 50)."""

    def waits_at_close(self, credential: Credential) -> bool:
        """Whether a call of this account waits because this server has many candles to read."""
        ...

    def clock_offset(self) -> ClockOffset | None:
        """Return how far Fyers' clock and this server's are apart; `None` while it is unknown."""
        ...

    def call_paces(self) -> Sequence[CallPace]:
        """Return how much of Fyers' rate limits each account has used today, or is asked to wait."""
        ...

    def restore_call_paces(self, paces: Sequence[CallPace], *, is_clean: bool) -> None:
        """Go on from these; without a clean stop before, an account has few calls for the first minute."""
        ...

    def history_span(self, resolution: Resolution) -> timedelta:
        """Return the longest range of one history call (Fyers: 100 days of minutes, 366 days of days)."""
        ...

    def login_url(self, app: FyersApp, state: str) -> str:
        """Return the address of Fyers' login page."""
        ...

    async def exchange_auth_code(self, app: FyersApp, auth_code: AuthCode) -> BrokerResult[FreshLogin]:
        """Exchange an auth code, which is valid once."""
        ...

    async def renew_access_token(
        self, app: FyersApp, refresh_token: RefreshToken, pin: Pin
    ) -> BrokerResult[AccessToken]:
        """Request a new session with a refresh token and its owner's PIN; sent once and never retried."""
        ...

    async def profile_id(self, credential: Credential) -> BrokerResult[str]:
        """Return the Fyers id that the token belongs to, from ``/profile``."""
        ...

    async def check_trading(self, credential: Credential) -> BrokerResult[None]:
        """Make the lightest call that the trading service checks the token for."""
        ...

    async def check_data(self, credential: Credential) -> BrokerResult[None]:
        """Make the lightest call that the data service checks the token for."""
        ...

    async def quotes(
        self,
        credential: Credential,
        symbols: Sequence[Symbol],
        *,
        priority: CallPriority = ORDINARY_CALL,
    ) -> BrokerResult[tuple[Quote, ...]]:
        """Return quotes for at most `quotes_per_call` symbols; a symbol that Fyers cannot quote is absent."""
        ...

    async def circuit_limits(
        self, credential: Credential, symbol: Symbol, *, priority: CallPriority = ORDINARY_CALL
    ) -> BrokerResult[CircuitLimits | None]:
        """Return the day's circuit limits of a symbol; `None` if Fyers gives none that can be true."""
        ...

    async def candles(
        self,
        credential: Credential,
        symbol: Symbol,
        resolution: Resolution,
        *,
        start: datetime,
        end: datetime,
        priority: CallPriority = ORDINARY_CALL,
    ) -> BrokerResult[Arranged]:
        """Return candles that open in [start, end], the forming one included, within `history_span`."""
        ...

    async def check_symbol(
        self, credential: Credential, service: BrokerService, symbol: Symbol
    ) -> BrokerResult[None]:
        """Make the lightest history or quotes call about a symbol that Fyers always serves.

        Its failure counts as one of the service. Failures of other calls about symbols do not count, since they
        may concern the symbol alone.
        """
        ...

    async def sign_out(self, credential: Credential) -> BrokerResult[None]:
        """End the session at Fyers."""
        ...

    def circuits(self) -> Sequence[CircuitReport]:
        """Return the circuit breakers that hold, or would hold, everybody's calls back."""
        ...

    async def instruments(self) -> BrokerResult[tuple[Instrument, ...]]:
        """Return the instruments of the NSE and BSE cash markets from Fyers' public symbol masters."""
        ...
