"""Accounts whose session is disconnected: no call to Fyers is made for them, whatever asks for data."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from fakes.broker import AccountState
from services.environment import FIVE, SBIN, Environment, candles_of, fyers_id, quote

from hullwatch.domain.sessions.connection import ConnectionChange
from prove.result import Count, PartResult, Size
from prove.virtual_time import end_tasks, names, run, seeds

WANTED = 100_000
CHANCES = {Size.DEFAULT: 30_000, Size.FULL: 300_000}
USERS = names(8)
ROUNDS_OF_A_RUN = 6
CYCLE_S = 5.0
METHOD = (
    f"{len(USERS)} accounts are monitored every 5 s in trading hours, over the real services in virtual time. In each "
    "round some are disconnected, by expiry, refusal, their user or an administrator, while their calls are answered, "
    "hang or wait for a rate limit. For two to ten minutes after that, quotes, candles, a validation and current lines "
    "are requested for each of them at random moments. Each such request and each cycle of 5 s that passes is a chance "
    "for a call; a call with the disconnected login is a failure."
)


@dataclass
class Watched:
    """The disconnects of one run, and how many calls had been made by then."""

    env: Environment
    calls_before: dict[tuple[str, int], int] = field(default_factory=dict)
    chances: int = 0

    def record(self, change: ConnectionChange) -> None:
        """Note a disconnect."""
        if change.before.has_session and not change.after.has_session:
            key = (change.after.user_id, change.before.generation)
            self.calls_before[key] = len(self.env.broker.calls)

    def forbidden_calls(self) -> int:
        """Return how many calls were made with a login after its disconnect."""
        calls = self.env.broker.calls
        return sum(
            (call.user_id, call.generation) == key
            for key, before in self.calls_before.items()
            for call in calls[before:]
        )


async def _run_once(seed: int) -> Watched:
    random, env = Random(seed), Environment(seed=seed)
    env.broker.serve_candles(SBIN, FIVE, candles_of(seed=1))
    env.broker.serve_quotes([quote(SBIN)])
    await env.start(with_sweeps=True)
    for user_id in USERS:
        await env.add_user(user_id)
        await env.log_in(user_id, lifetime=timedelta(days=2))
        await env.watch(user_id)
        await env.monitoring.start(user_id)
    watched = Watched(env)
    env.connections.subscribe(watched.record)
    for _ in range(ROUNDS_OF_A_RUN):
        await env.clock.advance(random.uniform(20, 60))
        chosen = random.sample(USERS, random.randint(1, 4))
        for user_id in chosen:
            await _disconnect(env, random, user_id)
        await env.clock.advance(90)
        await _request(env, random, chosen, watched)
        for user_id in chosen:
            env.broker.set_state(fyers_id(user_id), AccountState.ACTIVE)
            await env.log_in(user_id, lifetime=timedelta(days=2))
    await end_tasks(env)
    return watched


async def _disconnect(env: Environment, random: Random, user_id: str) -> None:
    """Disconnect a user for one of four causes, perhaps while a call has no answer yet."""
    before = random.choice((AccountState.ACTIVE, AccountState.HANGING, AccountState.RATE_LIMITED))
    cause = random.choice(("expiry", "refusal", "user", "administrator"))
    if cause == "expiry":
        await env.log_in(user_id, lifetime=timedelta(seconds=random.uniform(1, 30)))
    env.broker.set_state(fyers_id(user_id), before)
    await env.clock.advance(random.uniform(0, 8))
    if cause == "refusal":
        env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    elif cause == "user":
        leaving = asyncio.create_task(env.connections.sign_out(user_id, actor=user_id))
        await env.clock.advance(12)
        await leaving
    elif cause == "administrator":
        await env.connections.disconnect_by_admin(user_id, actor="usr_admin")


async def _request(env: Environment, random: Random, users: list[str], watched: Watched) -> None:
    """Request data of disconnected users for some minutes."""
    until_s = env.clock.monotonic() + random.uniform(120, 600)
    while env.clock.monotonic() < until_s:
        seconds = random.uniform(0.5, 5)
        offline = [user_id for user_id in users if not env.connections.connection(user_id).has_session]
        requests = [asyncio.create_task(_request_once(env, random, user_id)) for user_id in offline]
        await env.clock.advance(seconds)
        watched.chances += len(requests) + round(len(offline) * seconds / CYCLE_S)
        await asyncio.gather(*requests)


async def _request_once(env: Environment, random: Random, user_id: str) -> None:
    now = env.clock.now()
    match random.randrange(4):
        case 0:
            await env.market.fresh_quotes(user_id, [SBIN])
        case 1:
            await env.market.candles(user_id, SBIN, FIVE, start=now - timedelta(days=1), end=now)
        case 2:
            await env.validation.validate_fyers_token(user_id, fresh=True)
        case _:
            await env.monitoring.warm(user_id)


def run_part(seed: int, size: Size) -> PartResult:
    """Run until there were enough chances for a call."""
    chances = calls = disconnects = 0
    findings = []
    for own_seed in seeds(seed):
        if chances >= CHANCES[size]:
            break
        watched = run(own_seed, _run_once)
        forbidden = watched.forbidden_calls()
        chances += watched.chances
        calls += forbidden
        disconnects += len(watched.calls_before)
        if forbidden:
            findings.append(f"seed {own_seed}: {forbidden} calls after a disconnect")
    return PartResult(
        part="no-calls",
        seed=seed,
        size=size,
        figures=(
            Count("calls for disconnected accounts among chances", min(calls, chances), chances, WANTED),
            Count("disconnects followed by a call", min(len(findings), disconnects), disconnects, 1_000),
        ),
        method=METHOD,
        findings=tuple(findings),
    )
