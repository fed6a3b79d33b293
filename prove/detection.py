"""Sessions that expire or are revoked at random moments: each is found, and the time that takes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from fakes.broker import AccountState, Call
from services.environment import FIVE, SBIN, Environment, candles_of, fyers_id, quote

from hullwatch.domain.failures import BrokerService, Unavailable
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import ConnectionChange, DisconnectReason
from prove.result import Count, Durations, PartResult, Size
from prove.virtual_time import end_tasks, names, run, seeds

WANTED = 10_000
ENDS = {Size.DEFAULT: 600, Size.FULL: WANTED}
USERS = names(10)
ENDS_OF_A_ROUND = 4
"""Two of five sessions within two minutes; of more at once Fyers' login check could be wrong, and they are held."""
ROUNDS_OF_A_RUN = 12
ROUND_S = 120.0
FOUND_WITHIN_S = 300.0
"""A session that is not disconnected by then was missed."""
METHOD = (
    f"{len(USERS)} accounts are monitored every 5 s in trading hours, over the real services in virtual time. In rounds "
    f"of {ROUND_S:.0f} s {ENDS_OF_A_ROUND} of their sessions end at random moments: half by their expiry time, half "
    "because Fyers refuses the token from then on. In a third of the rounds the data service answers half of "
    "all calls with 502. An end is missed if the account is not disconnected within 5 minutes, has the wrong reason, or has not "
    "exactly one notice. The time to detect runs from the end of the session to its disconnect."
)


@dataclass(slots=True)
class End:
    """The end of one session and what was found."""

    user_id: str
    at: datetime
    is_expiry: bool
    generation: int
    found: ConnectionChange | None = None
    notices: int = 0

    @property
    def took_s(self) -> float:
        """Seconds from the end to the disconnect."""
        found_at = None if self.found is None else self.found.after.last_disconnect_at
        if found_at is None:
            raise ValueError("the end was not found")
        return (found_at - self.at).total_seconds()

    @property
    def is_missed(self) -> bool:
        """Whether it was not found in time, not with its reason, or not reported once."""
        wanted = DisconnectReason.EXPIRED if self.is_expiry else DisconnectReason.REJECTED
        if self.found is None or self.found.after.reason is not wanted:
            return True
        return not 0 <= self.took_s <= FOUND_WITHIN_S or self.notices != 1


@dataclass
class Rounds:
    """One run: its services, its random choices and the ends so far."""

    env: Environment
    random: Random
    ends: list[End] = field(default_factory=list)
    is_failing: bool = False

    def record(self, change: ConnectionChange) -> None:
        """Note which end a disconnect belongs to; one without an end is a false disconnect."""
        if not change.before.has_session or change.after.has_session:
            return
        for end in self.ends:
            if end.user_id == change.after.user_id and end.generation == change.before.generation:
                end.found = change
                return
        raise AssertionError(f"{change.after.user_id} was disconnected without an end")

    async def fail_sometimes(self, call: Call) -> None:
        """Answer half of the calls to one service with 502 while a round has this fault."""
        if self.is_failing and call.service is BrokerService.DATA and self.random.random() < 0.5:
            failure = Unavailable(call.service, cause="http_502", http_status=502)
            self.env.broker.queue(call.fyers_id, failure)

    async def play(self) -> None:
        """Let some sessions end in one round, then log the users in again."""
        env = self.env
        self.is_failing = self.random.random() < 1 / 3
        chosen = self.random.sample(USERS, ENDS_OF_A_ROUND)
        steps = sorted((self.random.uniform(0, ROUND_S), user_id) for user_id in chosen)
        began_s = env.clock.monotonic()
        own = []
        for number, (at_s, user_id) in enumerate(steps):
            await env.clock.advance(max(0.0, began_s + at_s - env.clock.monotonic()))
            own.append(await self._end(user_id, is_expiry=number % 2 == 0))
        await env.clock.advance(began_s + ROUND_S - env.clock.monotonic())
        left_s = FOUND_WITHIN_S
        while left_s > 0 and any(end.found is None for end in own):
            await env.clock.advance(5)
            left_s -= 5
        await env.clock.advance(5)
        for end in own:
            notices = env.notices(end.user_id, NotificationKind.SESSION_DISCONNECTED)
            incident = None if end.found is None else end.found.after.incident_id
            end.notices = sum(notice.incident_id == incident for notice in notices)
            await env.log_in(end.user_id, lifetime=timedelta(days=2))
        await env.clock.advance(5)

    async def _end(self, user_id: str, *, is_expiry: bool) -> End:
        """Let Fyers refuse the session from now on, or replace it by one that expires within the next seconds."""
        env = self.env
        if not is_expiry:
            end = End(
                user_id,
                env.clock.now(),
                is_expiry=False,
                generation=env.connections.connection(user_id).generation,
            )
            env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
        else:
            lifetime = timedelta(seconds=round(self.random.uniform(1, 60), 3))
            connection = await env.log_in(user_id, lifetime=lifetime)
            end = End(user_id, connection.expires_at, is_expiry=True, generation=connection.generation)
        self.ends.append(end)
        return end


async def _run_once(seed: int) -> list[End]:
    env = Environment(seed=seed)
    env.broker.serve_candles(SBIN, FIVE, candles_of(seed=1))
    env.broker.serve_quotes([quote(SBIN)])
    await env.start(with_sweeps=True)
    for user_id in USERS:
        await env.add_user(user_id)
        await env.log_in(user_id, lifetime=timedelta(days=2))
        await env.watch(user_id)
        await env.monitoring.start(user_id)
    await env.clock.advance(60)
    rounds = Rounds(env, Random(seed))
    env.connections.subscribe(rounds.record)
    env.broker.before_answer = rounds.fail_sometimes
    for _ in range(ROUNDS_OF_A_RUN):
        await rounds.play()
    await end_tasks(env)
    return rounds.ends


def run_part(seed: int, size: Size) -> PartResult:
    """Run until enough sessions have ended."""
    ends: list[End] = []
    findings = []
    for own_seed in seeds(seed):
        if len(ends) >= ENDS[size]:
            break
        found = run(own_seed, _run_once)
        ends += found
        findings += [f"seed {own_seed}: {_described(end)}" for end in found if end.is_missed]
    by_kind = {
        True: [end for end in ends if end.is_expiry],
        False: [end for end in ends if not end.is_expiry],
    }
    return PartResult(
        part="detection",
        seed=seed,
        size=size,
        figures=(
            Count("ends of sessions that were missed", sum(end.is_missed for end in ends), len(ends), WANTED),
            _durations("time to detect an expiry", by_kind[True]),
            _durations("time to detect a revocation", by_kind[False]),
        ),
        method=METHOD,
        findings=tuple(findings),
    )


def _durations(name: str, ends: list[End]) -> Durations:
    return Durations(
        name, tuple(round(end.took_s, 3) for end in ends if end.found is not None), FOUND_WITHIN_S
    )


def _described(end: End) -> str:
    kind = "expiry" if end.is_expiry else "revocation"
    if end.found is None:
        return f"{kind} of {end.user_id} at {end.at:%H:%M:%S} was not found"
    return f"{kind} of {end.user_id}: {end.found.after.reason}, {end.took_s:.1f} s, {end.notices} notices"
