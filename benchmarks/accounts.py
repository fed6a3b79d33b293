"""Stores many linked accounts: users, their sessions with the simulated broker, and their watchlists."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from benchmarks.broker_process import BrokerAddress, BrokerProcess, SessionSource, for_each
from hullwatch.app import Application, open_application
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.watches import MonitoringWish, Watch
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions import connection as rules
from hullwatch.domain.sessions.connection import Connection, NewLogin
from hullwatch.domain.signals.signals import Rule
from hullwatch.domain.users.accounts import Role, User
from hullwatch.runtime.clock import Clock, SystemClock
from hullwatch.runtime.garbage import reduce_garbage_collection
from hullwatch.runtime.logs import configure_logging
from hullwatch.settings import Settings, read_settings

APP_ID = "HULLWATCH-100"
"""The simulator's built-in app."""
NO_PASSWORD = "!"  # no password matches it
SYMBOLS = tuple(
    Symbol(f"NSE:{name}-EQ")
    for name in (
        "ADANIENT", "ASIANPAINT", "AXISBANK", "BAJFINANCE", "BHARTIARTL", "HDFCBANK", "HINDUNILVR", "ICICIBANK",
        "INFY", "ITC", "KOTAKBANK", "LT", "M&M", "MARUTI", "RELIANCE", "SBIN", "SUNPHARMA", "TATASTEEL", "TCS", "WIPRO",
    )
)  # fmt: skip
"""The twenty equities of the simulated exchange."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with a session."""

    user_id: str
    fyers_id: str


@dataclass(frozen=True, slots=True)
class Watchlist:
    """The watchlist of every account."""

    symbols: Sequence[Symbol] = SYMBOLS
    resolution: str = "5"
    period: int = 55
    rules: Sequence[Rule] = (Rule.CROSS,)

    def symbols_of(self, account: int) -> Sequence[Symbol]:  # noqa: ARG002 - subclasses give each its own
        """Return the symbols of one account."""
        return self.symbols


def settings_for(broker: BrokerAddress, data_dir: Path, **overrides: Any) -> Settings:
    """Return settings that reach the simulator only, whatever the environment contains."""
    return read_settings(
        data_dir=data_dir,
        database_url="",
        redis_url="",
        encryption_keys="",
        registration="open",
        fyers_base_url=f"{broker.base_url}/api/v3",
        fyers_data_url=f"{broker.base_url}/data",
        fyers_public_url=broker.base_url,
        **overrides,
    )


@asynccontextmanager
async def benchmark_application(
    broker: BrokerAddress, clock: Clock | None = None
) -> AsyncIterator[Application]:
    """Open an application with an empty SQLite database in its own folder; it logs to a file."""
    with TemporaryDirectory(prefix="hullwatch-bench-") as folder, _log_file(Path(folder)) as log:
        configure_logging(level="info", stream=log)
        async with open_application(
            settings_for(broker, Path(folder)), clock=clock or SystemClock()
        ) as application:
            reduce_garbage_collection()  # as the server does
            try:
                yield application
            finally:
                await application.stop(5.0)


def _log_file(folder: Path) -> TextIO:
    return (folder / "log").open("w", encoding="utf-8")


async def link_accounts(
    application: Application, broker: SessionSource, count: int, watchlist: Watchlist | None = None
) -> list[Account]:
    """Store this many users, each with a session and, if given, a monitored watchlist; nothing is loaded."""
    accounts = [Account(f"usr_{number:05d}", f"FB{number:05d}") for number in range(count)]
    sessions = await for_each(accounts, lambda account: broker.new_session(account.fyers_id))
    now = application.services.context.clock.now()
    async with application.services.context.store.begin() as work:
        for number, (account, (token, expires_at)) in enumerate(zip(accounts, sessions, strict=True)):
            email = f"{account.user_id}@example.com"
            await work.users.add(User(account.user_id, email, "Bench Mark", Role.TRADER, now), NO_PASSWORD)
            connection = linked(account, expires_at, now)
            await work.connections.save_login(connection, token)
            if watchlist is not None:
                for watch in _watches(account, watchlist, number, now):
                    await work.watches.add(watch)
                await work.watches.put_wish(MonitoringWish(account.user_id, is_wanted=True, changed_at=now))
        await work.commit()
    return accounts


def linked(account: Account, expires_at: datetime, now: datetime) -> Connection:
    """Return a connection as it is after a login."""
    return rules.log_in(
        Connection(account.user_id),
        fyers_id=account.fyers_id,
        app_id=APP_ID,
        expires_at=expires_at,
        now=now,
        actor=account.user_id,
    ).after


async def log_in_again(application: Application, broker: BrokerProcess, account: Account) -> None:
    """Give an account a new session, as the login callback does."""
    token, expires_at = await broker.new_session(account.fyers_id)
    await application.services.connections.log_in(
        account.user_id,
        NewLogin(
            token=AccessToken(token.reveal()),
            fyers_id=account.fyers_id,
            app_id=APP_ID,
            expires_at=expires_at,
            actor=account.user_id,
        ),
    )


def _watches(account: Account, watchlist: Watchlist, number: int, now: datetime) -> list[Watch]:
    resolution = Resolution(watchlist.resolution)
    # Release 0.1.0, with which `close` compares, has no such field.
    more = {"signals_from": now} if any(each.name == "signals_from" for each in fields(Watch)) else {}
    return [
        Watch(
            id=f"wch_{account.user_id}_{position}_{rule.value}",
            user_id=account.user_id,
            symbol=symbol,
            resolution=resolution,
            period=watchlist.period,
            rule=rule,
            created_at=now,
            evaluated_through=now,
            **more,
        )
        for position, symbol in enumerate(watchlist.symbols_of(number))
        for rule in watchlist.rules
    ]
