"""A monitored account after interruptions compared with a twin that was never interrupted."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from fakes.broker import AccountState
from services.environment import FIVE, INFY, SBIN, Environment, candles_of, fyers_id, quote

from hullwatch.domain.signals.signals import Rule, Signal
from prove.result import Count, PartResult, Size
from prove.virtual_time import end_tasks, names, run, seeds

WANTED = 300
PAIRS = {Size.DEFAULT: 60, Size.FULL: WANTED}
USERS = names(3)
SYMBOLS = (SBIN, INFY)
LASTS = timedelta(minutes=75)
SETTLES_S = 180.0
"""From the last recovery to the comparison: accounts have caught up, as without an interruption."""
METHOD = (
    f"Two servers over the real services in virtual time monitor the same {len(USERS)} accounts on the same market for "
    "75 minutes. One is interrupted two to five times: sessions are revoked and the users log in again after up to "
    "20 minutes, Fyers or the database is unavailable, or the process is killed and started up to 10 minutes later. "
    "Three minutes after the last recovery both must have the same signals (line, candle, direction, close and "
    "average, each once), lines evaluated up to the same candle, the same wish to be monitored, and a session. Whether "
    "a signal is marked as late is not compared."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one server has in the end."""

    signals: Counter[tuple[Any, ...]]
    lines: Counter[tuple[Any, ...]]
    accounts: Counter[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class PairResult:
    """The comparison of two servers."""

    signals: int
    interruptions: int
    differing_signals: int
    is_equal: bool


async def _start(seed: int) -> Environment:
    env = Environment(seed=seed)
    for number, symbol in enumerate(SYMBOLS):
        env.broker.serve_candles(symbol, FIVE, candles_of(seed=2 * seed + number))
        env.broker.serve_quotes([quote(symbol)])
    await env.start()
    for user_id in USERS:
        await env.add_user(user_id)
        await env.log_in(user_id, lifetime=timedelta(days=2))
        for symbol in SYMBOLS:
            for rule in Rule:
                await env.watch(user_id, symbol=symbol, rule=rule)
        await env.monitoring.start(user_id)
    return env


def _outcome(env: Environment) -> Outcome:
    watches = env.store.tables.watches.values()
    return Outcome(
        signals=Counter(_facts(signal) for user_id in USERS for signal in env.signals(user_id)),
        lines=Counter((one.user_id, one.symbol, one.rule, one.evaluated_through) for one in watches),
        accounts=Counter(
            (user_id, env.connections.connection(user_id).is_usable, env.monitoring.is_wanted(user_id))
            for user_id in USERS
        ),
    )


def _facts(signal: Signal) -> tuple[Any, ...]:
    line = (signal.user_id, signal.symbol, signal.rule, signal.period)
    candle = (signal.candle_opened_at, signal.candle_closed_at, signal.close, round(signal.hma, 9))
    return (*line, signal.direction, *candle, signal.withdrawn_at)


async def _uninterrupted(seed: int) -> Outcome:
    env = await _start(seed)
    await env.clock.advance(LASTS.total_seconds() + SETTLES_S)
    outcome = _outcome(env)
    await end_tasks(env)
    return outcome


@dataclass
class Interrupted:
    """The server that is interrupted."""

    env: Environment
    random: Random
    interruptions: int = 0

    async def play(self) -> None:
        """Interrupt it until its time is over, then let it recover."""
        ends_at = self.env.clock.now() + LASTS
        for _ in range(self.random.randint(2, 5)):
            left_s = (ends_at - self.env.clock.now()).total_seconds()
            pause_s, lasts_s = self.random.uniform(5, 900), self.random.uniform(2, 1200)
            if pause_s + lasts_s > left_s - 120:
                break
            await self.env.clock.advance(pause_s)
            await self._interrupt(lasts_s)
            self.interruptions += 1
        await self.env.clock.advance_to(ends_at)
        await self.env.clock.advance(SETTLES_S)

    async def _interrupt(self, seconds: float) -> None:
        match self.random.randrange(4):
            case 0:
                await self._revoke(self.random.choice(USERS), seconds)
            case 1:
                self.env.broker.is_down = True
                await self.env.clock.advance(seconds)
                self.env.broker.is_down = False
            case 2:
                self.env.store.is_down = True
                await self.env.clock.advance(seconds)
                self.env.store.is_down = False
            case _:
                killed = await self.env.kill()
                await killed.clock.advance(seconds / 2)
                self.env = await killed.start()

    async def _revoke(self, user_id: str, seconds: float) -> None:
        self.env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
        await self.env.clock.advance(seconds)
        if not self.env.connections.connection(user_id).has_session:
            await self.env.log_in(user_id, lifetime=timedelta(days=2))
            return
        self.env.broker.set_state(fyers_id(user_id), AccountState.ACTIVE)  # Fyers erred for a short time


async def _run_once(seed: int) -> PairResult:
    twin = await _uninterrupted(seed)
    server = Interrupted(await _start(seed), Random(seed))
    await server.play()
    found = _outcome(server.env)
    await end_tasks(server.env)
    differing = (found.signals - twin.signals) + (twin.signals - found.signals)
    return PairResult(
        signals=twin.signals.total(),
        interruptions=server.interruptions,
        differing_signals=differing.total(),
        is_equal=found == twin,
    )


def run_part(seed: int, size: Size) -> PartResult:
    """Compare so many pairs."""
    pairs, findings = [], []
    for own_seed, _ in zip(seeds(seed), range(PAIRS[size]), strict=False):
        pair = run(own_seed, _run_once)
        pairs.append(pair)
        if not pair.is_equal:
            findings.append(
                f"seed {own_seed}: {pair.differing_signals} signals differ, or a line or account does"
            )
    signals = sum(pair.signals for pair in pairs)
    return PartResult(
        part="recovery",
        seed=seed,
        size=size,
        figures=(
            Count("pairs that differ", len(findings), len(pairs), WANTED),
            Count(
                "signals missing, doubled or different",
                min(signals, sum(pair.differing_signals for pair in pairs)),
                signals,
                10_000,
            ),
        ),
        method=METHOD,
        findings=tuple(findings),
    )
