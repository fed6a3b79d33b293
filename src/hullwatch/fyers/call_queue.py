"""Admits calls in the order of their priority, within the limits of each account and of this server.

No lock is held while an answer is awaited: a slow or paused account never delays another one.

There are three groups of calls. Ordinary calls are sent first; while candles wait for the limit, only a
share of it is theirs. Candles follow by class. Within a class the accounts are served in rounds, see
`Rounds`.
Quotes of monitoring are last. They pause while candles wait for the limit, and get a small share of it after
`QUOTES_PAUSE_S`.
"""

import asyncio
import heapq
import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, TypeAlias

from hullwatch.domain.market.call_pace import FIRST_MINUTE_CALLS, CallPace
from hullwatch.domain.market.call_priority import ORDINARY_CALL, CallPriority
from hullwatch.domain.sessions.tokens import IST
from hullwatch.fyers.call_order import (
    Account,
    Backlog,
    CallGroup,
    NoSlot,
    Offered,
    Refusal,
    Rounds,
    Waiting,
    WaitTooLong,
)
from hullwatch.fyers.rate_limit import IDLE_S, LONGEST_WAIT_S, PacingLimits, Window, seconds_to_midnight
from hullwatch.runtime.clock import Clock

Source: TypeAlias = tuple[str, str | None]
"""App id and Fyers id, the pair that Fyers limits. Calls of a login itself have no Fyers id."""
MOST_IN_FLIGHT: Final = 4
"""Calls of one account under way at once, so that a hanging account uses few connections."""
QUOTES_SHARE: Final = 50
"""Quotes calls a second after the pause, while candles still wait."""
ORDINARY_SHARE: Final = 50
"""Ordinary calls a second that are sent before waiting candles: persons and decisions about sessions wait
for them. Our choice: a tenth of the limit delays the candles of a close by a tenth."""
LONGEST_CANDLES_WAIT_S: Final = 300.0
"""Longer than a close of 40,000 lines takes at 500 a second (80 s), and a candle of five minutes."""
LONGEST_QUOTES_WAIT_S: Final = 120.0
"""Of quotes that began to wait while candles did; others wait as long as ordinary calls."""
_TOLERANCE_S: Final = 1e-6
"""Clocks count in whole microseconds, so a call may be early by less than one."""


class CallQueue:
    """Admits the calls of all accounts of this server. Idle accounts use almost no memory."""

    def __init__(self, limits: PacingLimits, clock: Clock, *, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._limits = limits
        self._clock = clock
        self._longest_wait_s = longest_wait_s
        self._accounts: dict[Source, Account] = {}
        self._began_s = float("-inf")
        """When this process began, if the one before was killed."""
        self._sweep_at = clock.monotonic() + IDLE_S
        self._global_limit = Window(limits.per_second_total, 1.0)
        self._unsent = 0
        self._numbers = itertools.count()
        self._waiting = [0, 0, 0]
        self._offers: tuple[list[Offered], list[Offered], list[Offered]] = ([], [], [])
        self._rounds = Rounds()
        self._backlog = Backlog()
        self._shares = {
            CallGroup.ORDINARY: Window(ORDINARY_SHARE, 1.0),
            CallGroup.QUOTES: Window(QUOTES_SHARE, 1.0),
        }
        self._opening: list[tuple[float, int, Account]] = []
        """Accounts whose own limits hold calls back, by the time at which they allow the next one."""
        self._deadlines: list[tuple[float, int, float, CallGroup, Account, Waiting]] = []
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        return len(self._accounts)

    def close(self) -> None:
        """Stop the timer; calls that wait are not admitted any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def account(self, key: Source) -> Account:
        """Return the limits and the waiting calls of an account."""
        if self._clock.monotonic() >= self._sweep_at:
            self._sweep()
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(self._limits)
            self._limit_first_minute(account)
        return account

    def paces(self) -> list[CallPace]:
        """Return what each account has used today."""
        now, moment = self._clock.monotonic(), self._clock.now()
        today, found = moment.astimezone(IST).date(), []
        for key, account in self._accounts.items():
            left_s = account.pause.left_s(now)
            if (calls := account.pacer.used_on(today)) or left_s:
                found.append(
                    CallPace(
                        app_id=key[0],
                        fyers_id=key[1] or "",
                        day=today,
                        calls=calls,
                        limits=account.pause.limits_on(today),
                        paused_until=moment + timedelta(seconds=left_s) if left_s else None,
                        recent_calls=account.pacer.recent(now),
                        stored_at=moment,
                    )
                )
        return found

    def restore(self, paces: Sequence[CallPace], *, is_clean: bool) -> None:
        """Go on from these paces."""
        now, moment = self._clock.monotonic(), self._clock.now()
        if not is_clean:
            self._began_s = now
        for pace in paces:
            account = self.account((pace.app_id, pace.fyers_id or None))
            account.pacer.restore(pace.day, pace.calls)
            until = pace.paused_until or moment
            # A clock that was wrong must not stop an account for years.
            left_s = min((until - moment).total_seconds(), seconds_to_midnight(moment))
            account.pause.restore(now, left_s, pace.day, pace.limits)
            age_s = max(0.0, (moment - pace.stored_at).total_seconds())
            if is_clean and age_s < IDLE_S:
                account.pacer.count_earlier(pace.recent_calls, now - age_s)

    def _limit_first_minute(self, account: Account) -> None:
        if self._clock.monotonic() - self._began_s < IDLE_S:
            account.pacer.count_earlier(self._limits.per_minute - FIRST_MINUTE_CALLS, self._began_s)

    def waits_at_close(self, key: Source) -> bool:
        """Whether a call of this account waits because this server has many candles to read."""
        account = self._accounts.get(key)
        return account is not None and any(account.waiting) and self._is_backlog(self._clock.monotonic())

    async def admit(self, account: Account, priority: CallPriority = ORDINARY_CALL) -> Refusal | None:
        """Wait for the limits and for a slot; `None` means: send now, before awaiting anything.

        `release` must follow an admitted call.
        """
        group = CallGroup.of(priority.call_class)
        now = self._clock.monotonic()
        refusal = self._refusal_at_once(account, group, now)
        if refusal is not None:
            return refusal
        waiting = self._enqueue(account, group, priority, now)
        self._dispatch()
        if not waiting.done():
            self._set_deadline(account, group, waiting, now)
            try:
                await waiting
            except asyncio.CancelledError:
                self._abandon(account, group, waiting)
                raise
        refusal = waiting.result()
        if refusal is None:
            now = self._clock.monotonic()
            self._unsent -= 1
            self._global_limit.take(now)
            account.pacer.record_sent(now)
            if paused_s := account.pause.left_s(now):
                self.release(account)
                return WaitTooLong(paused_s)
        return refusal

    def release(self, account: Account) -> None:
        """Give back the slot of an admitted call."""
        now = self._clock.monotonic()
        account.pacer.record_answered(now)
        self._free_slot(account, now)

    def _free_slot(self, account: Account, now: float) -> None:
        account.in_flight -= 1
        if any(account.waiting):
            self._offer(account, now)
            self._dispatch()

    # ---------------------------------------------------------------- waiting

    def _refusal_at_once(self, account: Account, group: CallGroup, now: float) -> Refusal | None:
        """Return why a call is not worth waiting."""
        if paused_s := account.pause.left_s(now):
            return WaitTooLong(paused_s)
        if day_s := account.pacer.day_left_s(self._clock.now()):
            return WaitTooLong(day_s)
        wait_s = account.pacer.earliest(now, account.ahead_of(group)) - now
        if group is not CallGroup.CANDLES and not self._is_backlog(now):
            ahead = self._unsent + sum(self._waiting[: group + 1])
            wait_s = max(wait_s, self._global_limit.earliest(now, ahead) - now)
        elif group is CallGroup.ORDINARY:
            wait_s = max(wait_s, self._shares[group].earliest(now, self._waiting[group]) - now)
        return WaitTooLong(wait_s) if wait_s > self._longest_wait_of(group) else None

    def _enqueue(self, account: Account, group: CallGroup, priority: CallPriority, now: float) -> Waiting:
        waiting: Waiting = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        heapq.heappush(account.lines[group], (priority.call_class, priority.distance, number, waiting))
        account.waiting[group] += 1
        self._waiting[group] += 1
        self._offer(account, now)
        return waiting

    def _set_deadline(self, account: Account, group: CallGroup, waiting: Waiting, now: float) -> None:
        deadline = now + self._longest_wait_of(group)
        heapq.heappush(self._deadlines, (deadline, next(self._numbers), now, group, account, waiting))
        self._set_timer(now)

    def _longest_wait_of(self, group: CallGroup) -> float:
        return LONGEST_CANDLES_WAIT_S if group is CallGroup.CANDLES else self._longest_wait_s

    def _answer(self, account: Account, group: CallGroup, waiting: Waiting, refusal: Refusal | None) -> None:
        account.waiting[group] -= 1
        self._waiting[group] -= 1
        waiting.set_result(refusal)

    def _abandon(self, account: Account, group: CallGroup, waiting: Waiting) -> None:
        """Undo what was done for a call whose caller was cancelled."""
        if waiting.cancelled():
            account.waiting[group] -= 1
            self._waiting[group] -= 1
            offer = account.offers[group]
            if offer is not None and offer[6] is waiting:
                account.offers[group] = None
                self._offer(account, self._clock.monotonic())
        elif waiting.result() is None:
            self._unsent -= 1
            account.pacer.give_back()
            self._free_slot(account, self._clock.monotonic())
        self._dispatch()

    def _refuse_all(self, account: Account, retry_after_s: float) -> None:
        account.offers = [None, None, None]
        for group in CallGroup:
            while (first := account.first(group)) is not None:
                self._answer(account, group, first[3], WaitTooLong(retry_after_s))

    def _offer(self, account: Account, now: float) -> None:
        """Offer the account's most urgent calls to the global limit, if its own limits allow a call now."""
        if not any(account.waiting):
            return
        if paused_s := account.pause.left_s(now):
            self._refuse_all(account, paused_s)
            return
        if account.in_flight >= MOST_IN_FLIGHT:
            return
        opens_at = account.pacer.earliest(now)
        if opens_at - now > _TOLERANCE_S:
            if account.opens_at is None or opens_at < account.opens_at:
                account.opens_at = opens_at
                heapq.heappush(self._opening, (opens_at, next(self._numbers), account))
            return
        for group in CallGroup:
            first = account.first(group)
            offer = account.offers[group]
            if first is not None and (offer is None or offer[6] is not first[3]):
                call_class, distance, number, waiting = first
                round_number = self._rounds.next_of(account, call_class)
                offer = (call_class, round_number, distance, number, next(self._numbers), account, waiting)
                account.offers[group] = offer
                heapq.heappush(self._offers[group], offer)

    # ---------------------------------------------------------------- admitting

    def _dispatch(self) -> None:
        """Admit all calls that may be sent now, and set the timer for the next ones."""
        now = self._clock.monotonic()
        while self._opening and self._opening[0][0] - now <= _TOLERANCE_S:
            opens_at, _, account = heapq.heappop(self._opening)
            if account.opens_at == opens_at:
                account.opens_at = None
                self._offer(account, now)
        has_changed = True
        while has_changed:
            while (group := self._next_group_of(now)) is not None:
                self._admit_first(group, now)
            has_changed = self._refuse_overdue(now)
        self._set_timer(now)

    def _first_offer(self, group: CallGroup, now: float) -> Offered | None:
        offers = self._offers[group]
        while offers:
            account, waiting = offers[0][5:]
            if account.offers[group] is not offers[0] or waiting.done():
                heapq.heappop(offers)
            elif paused_s := account.pause.left_s(now):
                self._refuse_all(account, paused_s)
            else:
                return offers[0]
        return None

    def _next_group_of(self, now: float) -> CallGroup | None:
        """Return the group of the next call that may be sent now."""
        has = [self._first_offer(group, now) is not None for group in CallGroup]
        if not any(has):
            return None
        if self._global_limit.earliest(now, self._unsent) - now > _TOLERANCE_S:
            if has[CallGroup.CANDLES]:
                self._backlog.record(now)
            return None
        if not self._is_backlog(now):
            return next(group for group in CallGroup if has[group])
        if has[CallGroup.ORDINARY] and (
            not has[CallGroup.CANDLES] or self._has_share(CallGroup.ORDINARY, now)
        ):
            return CallGroup.ORDINARY
        is_quotes_time = now - self._backlog.quotes_from() >= -_TOLERANCE_S
        if has[CallGroup.QUOTES] and is_quotes_time and self._has_share(CallGroup.QUOTES, now):
            return CallGroup.QUOTES
        return CallGroup.CANDLES if has[CallGroup.CANDLES] else None

    def _is_backlog(self, now: float) -> bool:
        return self._waiting[CallGroup.CANDLES] > 0 and self._backlog.is_recent(now)

    def _has_share(self, group: CallGroup, now: float) -> bool:
        return self._shares[group].earliest(now) - now <= _TOLERANCE_S

    def _admit_first(self, group: CallGroup, now: float) -> None:
        call_class, round_number, _, _, _, account, waiting = heapq.heappop(self._offers[group])
        account.offers = [None, None, None]
        moment = self._clock.now()
        if day_s := account.pacer.day_left_s(moment):
            self._refuse_all(account, day_s)
            return
        self._rounds.record(account, call_class, round_number)
        if group in self._shares and self._is_backlog(now):
            self._shares[group].take(now)
        account.pacer.admit(moment)
        account.in_flight += 1
        self._unsent += 1
        self._answer(account, group, waiting, None)
        self._offer(account, now)

    def _refuse_overdue(self, now: float) -> bool:
        """Refuse calls that have waited too long; return whether there were any."""
        has_refused = False
        while self._deadlines and (self._deadlines[0][5].done() or self._deadlines[0][0] <= now):
            _, number, since_s, group, account, waiting = heapq.heappop(self._deadlines)
            if waiting.done():
                continue
            waited_for_candles = group is CallGroup.QUOTES and since_s < self._backlog.ends_at()
            if waited_for_candles and now - since_s < LONGEST_QUOTES_WAIT_S:
                later = (now + self._longest_wait_s, number, since_s, group, account, waiting)
                heapq.heappush(self._deadlines, later)
                continue
            if account.in_flight >= MOST_IN_FLIGHT:
                self._answer(account, group, waiting, NoSlot())
            else:
                opens_at = max(account.pacer.earliest(now), self._global_limit.earliest(now, self._unsent))
                self._answer(account, group, waiting, WaitTooLong(max(1.0, opens_at - now)))
            self._offer(account, now)
            has_refused = True
        return has_refused

    # ---------------------------------------------------------------- time

    def _set_timer(self, now: float) -> None:
        """Wake at the next moment at which a waiting call can be admitted or has waited too long."""
        wake_at = min(self._wake_times(now), default=float("inf"))
        if wake_at == float("inf") or (self._timer is not None and self._timer_at <= wake_at):
            return
        self.close()
        self._timer_at = wake_at
        self._timer = asyncio.create_task(self._wake_after(wake_at - now), name="call_queue")

    def _wake_times(self, now: float) -> list[float]:
        times = []
        if self._opening:
            times.append(self._opening[0][0])
        if self._deadlines:
            times.append(self._deadlines[0][0])
        has = [self._first_offer(group, now) is not None for group in CallGroup]
        if not any(has):
            return times
        opens_at = self._global_limit.earliest(now, self._unsent)
        if opens_at - now > _TOLERANCE_S:
            return [*times, opens_at]
        # Only a share or the pause holds these back.
        for group in (CallGroup.ORDINARY, CallGroup.QUOTES):
            if has[group]:
                share_at = self._shares[group].earliest(now)
                begins_at = self._backlog.quotes_from() if group is CallGroup.QUOTES else now
                times.append(min(max(share_at, begins_at), self._backlog.ends_at() + 2 * _TOLERANCE_S))
        return times

    async def _wake_after(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timer = None
        self._dispatch()

    def _sweep(self) -> None:
        now, today = self._clock.monotonic(), self._clock.now().astimezone(IST).date()
        self._sweep_at = now + IDLE_S
        for key, account in list(self._accounts.items()):
            if account.in_flight or any(account.waiting):
                continue
            has_windows = account.pacer.forget_old(now)
            if not has_windows and not account.pacer.used_on(today) and account.pause.is_unused(now, today):
                del self._accounts[key]
