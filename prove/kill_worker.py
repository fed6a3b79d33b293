"""The process that is killed: the real services over a real database, changing what is stored as fast as they can."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection as Pipe
from random import Random

import structlog
from services.environment import FIVE, INFY, OPENING, SBIN, Environment

from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.signals.signals import Rule
from hullwatch.storage.cipher import Cipher
from hullwatch.storage.keys import EncryptionKey, FixedKeys
from hullwatch.storage.store import Store

USER = "usr_killed"
Line = tuple[Symbol, int, Rule]
LINES: tuple[Line, ...] = tuple(
    (symbol, period, rule) for symbol in (SBIN, INFY) for period in (4, 9, 16) for rule in Rule
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database has at the start of a process; lists show what is there twice."""

    lines: tuple[Line, ...] = ()
    is_wanted: bool = False
    generation: int = 0
    has_session: bool = False
    notices: int = 0


@dataclass(frozen=True, slots=True)
class Database:
    """Where the process connects to, and the key of its secrets."""

    url: str
    key: str

    def open(self) -> Store:
        """Return a store; its process is killed, so that nobody closes it."""
        return Store(self.url, Cipher(FixedKeys([EncryptionKey.parse(self.key)])))


@dataclass(frozen=True, slots=True)
class Begun:
    """A change is about to be made; the message after it says that it was acknowledged."""

    after: Stored


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The service returned, so that a user would have got an answer."""


def work(database: Database, seed: int, pipe: Pipe) -> None:
    """Send what is stored, then make changes until the process is killed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(_work(database, seed, pipe))


async def _work(database: Database, seed: int, pipe: Pipe) -> None:
    env = Environment(store=database.open(), seed=seed, now=OPENING + timedelta(seconds=seed), ids=_ids(seed))
    await env.connections.load()
    await env.monitoring.load()
    if not await _has_user(env):
        await env.add_user(USER)
    random, known = Random(seed), await _read(env)
    pipe.send(known)
    while True:
        after, change = _next_change(env, random, known)
        pipe.send(Begun(after))
        await change()
        pipe.send(Acknowledged())
        known = after
        await env.clock.advance(0.001)


def _ids(seed: int) -> Callable[[str], str]:
    """Return a maker of ids that no other process of this run makes."""
    random = Random(f"ids {seed}")
    return lambda prefix: f"{prefix}_{random.getrandbits(64):016x}"


async def _has_user(env: Environment) -> bool:
    async with env.store.begin(read_only=True) as database:
        return await database.users.get(USER) is not None


async def _read(env: Environment) -> Stored:
    watches = await env.monitoring.watches(USER)
    async with env.store.begin(read_only=True) as database:
        notices = await database.notifications.of_user(USER, limit=100_000)
    connection = env.connections.connection(USER)
    return Stored(
        lines=tuple(sorted((watch.symbol, watch.period, watch.rule) for watch in watches)),
        is_wanted=env.monitoring.is_wanted(USER),
        generation=connection.generation,
        has_session=connection.has_session,
        notices=sum(notice.kind is NotificationKind.SESSION_DISCONNECTED for notice in notices),
    )


def _next_change(
    env: Environment, random: Random, known: Stored
) -> tuple[Stored, Callable[[], Awaitable[object]]]:
    """Return a change and what is stored after it."""
    match random.randrange(6):
        case 0:
            return _wish(env, known)
        case 1:
            return _login_or_disconnect(env, known)
    line = random.choice(LINES)
    if line in known.lines:
        return _with_lines(known, tuple(one for one in known.lines if one != line)), lambda: _remove(
            env, line
        )
    return _with_lines(known, tuple(sorted((*known.lines, line)))), lambda: _add(env, line)


def _with_lines(known: Stored, lines: tuple[Line, ...]) -> Stored:
    return Stored(lines, known.is_wanted, known.generation, known.has_session, known.notices)


def _wish(env: Environment, known: Stored) -> tuple[Stored, Callable[[], Awaitable[object]]]:
    after = Stored(known.lines, not known.is_wanted, known.generation, known.has_session, known.notices)
    change = env.monitoring.stop if known.is_wanted else env.monitoring.start
    return after, lambda: change(USER)


def _login_or_disconnect(env: Environment, known: Stored) -> tuple[Stored, Callable[[], Awaitable[object]]]:
    if known.has_session:
        after = Stored(
            known.lines, known.is_wanted, known.generation, has_session=False, notices=known.notices + 1
        )
        return after, lambda: env.connections.disconnect_by_admin(USER, actor="usr_admin")
    after = Stored(
        known.lines, known.is_wanted, known.generation + 1, has_session=True, notices=known.notices
    )
    return after, lambda: env.log_in(USER, lifetime=timedelta(days=300))


async def _add(env: Environment, line: Line) -> None:
    symbol, period, rule = line
    await env.monitoring.add_watch(USER, symbol=symbol, resolution=FIVE, period=period, rule=rule)


async def _remove(env: Environment, line: Line) -> None:
    watches = await env.monitoring.watches(USER)
    (own,) = (watch for watch in watches if (watch.symbol, watch.period, watch.rule) == line)
    await env.monitoring.remove_watch(USER, own.id)
