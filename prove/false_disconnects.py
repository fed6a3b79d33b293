"""Probes answered with faults of every kind, none of which may disconnect a session."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from fakes.broker import Call, refusal, unclear_refusal
from services.environment import Environment, fyers_id

from hullwatch.domain.failures import BrokerFailure, BrokerService, RateLimited, Unavailable, UnreadableReply
from hullwatch.domain.sessions.connection import ConnectionChange
from prove.result import Count, PartResult, Size
from prove.virtual_time import end_tasks, names, run, seeds

WANTED = 1_000_000
PROBES = {Size.DEFAULT: 40_000, Size.FULL: WANTED}
PROBES_OF_A_RUN = 5_000
USERS = names(12)
CHECKING = (BrokerService.PROFILE, BrokerService.TRADING, BrokerService.HISTORY, BrokerService.DATA)
PERIOD_S = (20.0, 240.0)
CALM_S = 150.0
"""Between two periods: all verifications end before another service refuses."""
HANGS_S = 10.0
METHOD = (
    f"{len(USERS)} accounts with valid sessions over the real session services in virtual time. Each account is "
    "validated every second. In periods of 20 to 240 s half of all answers are faults: 502, timeout, no connection, "
    "rate limit, unreadable answer, refusal without HTTP 401; beside them one service at a time refuses some accounts "
    "or all with HTTP 401, or all services refuse everybody. A probe is a call for validation or verification. "
    "A disconnect of any session is a failure."
)


@dataclass
class Faults:
    """The answers of one run."""

    random: Random
    probes: int = 0
    service: BrokerService | None = None
    """The service that refuses in this period."""
    refused: frozenset[str] = frozenset()
    is_mass_refusal: bool = False
    is_calm: bool = True
    kinds: dict[str, int] = field(default_factory=dict)

    def begin_period(self) -> float:
        """Choose the faults of the next period and return its length in seconds."""
        self.is_calm = False
        self.is_mass_refusal = self.random.random() < 0.2
        self.service = self.random.choice(CHECKING)
        count = len(USERS) if self.random.random() < 0.3 else self.random.randint(0, len(USERS))
        self.refused = frozenset(fyers_id(user) for user in self.random.sample(USERS, count))
        return self.random.uniform(*PERIOD_S)

    def answer(self, call: Call) -> BrokerFailure | None:
        """Return the fault that answers this call, or None for an ordinary answer."""
        if self.is_calm:
            return None
        if self.is_mass_refusal:
            return self._refusal(call.service)
        is_refused = self.service is call.service and call.fyers_id in self.refused
        if is_refused and self.random.random() < 0.7:
            return self._refusal(call.service)
        return self._other_fault(call.service) if self.random.random() < 0.5 else None

    def _refusal(self, service: BrokerService) -> BrokerFailure:
        answer: BrokerFailure = refusal(service, is_expired=self.random.random() < 0.3)
        return answer

    def _other_fault(self, service: BrokerService) -> BrokerFailure:
        status = self.random.choice((500, 502, 503, 504, 520))
        unclear: BrokerFailure = unclear_refusal(service, self.random.choice((200, 400, 403, 500)))
        return self.random.choice(
            (
                Unavailable(service, cause=f"http_{status}", http_status=status),
                Unavailable(service, cause="timeout"),
                Unavailable(service, cause="connection"),
                Unavailable(service, cause="not_fyers", http_status=403),
                RateLimited(service, retry_after_s=self.random.choice((1.0, 10.0, 60.0))),
                UnreadableReply(service, cause="unreadable"),
                unclear,
            )
        )


@dataclass(frozen=True, slots=True)
class RunResult:
    """The counts of one run."""

    probes: int
    disconnects: int
    not_recovered: int


async def _run_once(seed: int) -> RunResult:
    faults = Faults(Random(seed))
    env = await Environment(seed=seed).start(with_monitoring=False)
    for user_id in USERS:
        await env.add_user(user_id)
        await env.log_in(user_id, lifetime=timedelta(days=60))
    ended: list[ConnectionChange] = []

    def record(change: ConnectionChange) -> None:
        if change.before.has_session and not change.after.has_session:
            ended.append(change)

    async def answer(call: Call) -> None:
        failure = faults.answer(call)
        if failure is None:
            return
        faults.probes += call.is_for_verification or call.name in {
            "profile_id",
            "check_data",
            "check_trading",
        }
        env.broker.queue(call.fyers_id, failure)
        if isinstance(failure, Unavailable) and failure.cause == "timeout":
            await env.clock.sleep(HANGS_S)

    env.connections.subscribe(record)
    env.broker.before_answer = answer
    while faults.probes < PROBES_OF_A_RUN and not ended:
        await _validate_all(env, faults.begin_period())
        faults.is_calm = True
        await _validate_all(env, CALM_S, every_s=30)
    await env.clock.advance(900)
    not_usable = sum(not env.connections.connection(user_id).is_usable for user_id in USERS)
    await end_tasks(env)
    return RunResult(faults.probes, len(ended), not_usable)


async def _validate_all(env: Environment, seconds: float, *, every_s: float = 1.0) -> None:
    """Validate each account, one call at a time, until the period is over."""
    until_s = env.clock.monotonic() + seconds
    pending: dict[str, asyncio.Task[Any]] = {}
    while env.clock.monotonic() < until_s:
        for user_id in USERS:
            if user_id not in pending or pending[user_id].done():
                check = env.validation.validate_fyers_token(user_id, fresh=True)
                pending[user_id] = asyncio.create_task(check)
        await env.clock.advance(every_s)
    while not all(task.done() for task in pending.values()):
        await env.clock.advance(every_s)
    for task in pending.values():
        task.result()


def run_part(seed: int, size: Size) -> PartResult:
    """Run until enough probes were answered with faults."""
    probes = disconnects = accounts = not_recovered = 0
    findings = []
    for own_seed in seeds(seed):
        if probes >= PROBES[size]:
            break
        found = run(own_seed, _run_once)
        probes += found.probes
        disconnects += found.disconnects
        accounts += len(USERS)
        not_recovered += found.not_recovered
        if found.disconnects or found.not_recovered:
            findings.append(
                f"seed {own_seed}: {found.disconnects} disconnected, {found.not_recovered} not usable"
            )
    return PartResult(
        part="false-disconnects",
        seed=seed,
        size=size,
        figures=(
            Count("false disconnects among faulted probes", disconnects, probes, WANTED),
            Count("accounts not usable 15 minutes after the faults", not_recovered, accounts, 100),
        ),
        method=METHOD,
        findings=tuple(findings),
    )
