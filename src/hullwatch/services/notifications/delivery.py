"""The outbox's sender: takes on what is due, sends it, stores how that went. What follows from an outcome is decided in ``verdicts.py``.

A notice is in the outbox from the transaction that stored it. It is sent at least once, and always under the same id: should this server
die between a sending and its commit, or a receiver's answer be lost, it is sent again and the receiver can tell. Every other time once.

Moments that are stored are of the house's clock, which in the demo is not the machine's; what waits for the network is timed by the machine's.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.domain.notifications.channels import Claimed, Message, Refused, SendOutcome, TryLater
from hullwatch.domain.notifications.notifications import (
    LEADS_TO_LOGIN,
    DeliveryState,
    Notification,
    NotificationKind,
)
from hullwatch.domain.sessions.login_links import requester_of
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.notifications.concurrency import ConcurrencyLimits
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.notifications.retry_policy import Verdict, judge
from hullwatch.services.ports import ChannelPort, LinkMaker, UnitOfWork
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.texts.channels import (
    channel_incident,
    compose_channel_failing,
    compose_channel_recovered,
    compose_delivery_failed,
)

JOB: Final = "outbox"
POLL_S: Final = 2.0
"""How often it is looked for what became due, or was put in by another process."""
CLAIM: Final = timedelta(minutes=5)
"""Longer than any sending takes, the wait for its turn included; a server that has not stored an outcome by then has died."""
KEPT_SENT: Final = timedelta(days=30)
KEPT_OTHERS: Final = timedelta(days=90)
"""Notices that were read, and what was set aside."""
PURGE_AT_ONCE: Final = 500

_OUR_FAULT: Final = Refused("hullwatch itself failed at sending it.", is_of_message=True)
_UNREADABLE: Final = Refused(
    "The stored address cannot be read any more: remove the channel and add it again.", is_permanent=True
)
_TOO_LONG: Final = TryLater("It did not answer in time.")


class Outbox:
    """Sends what is in the outbox; run by the supervisor as the job ``outbox``.

    Args:
        context: Time, randomness, the database and the event hub.
        channels: Sends messages beyond the page.
        metrics: Counts every attempt.
        links: Makes links for messages that lead to a login; None while there are no such links.
    """

    def __init__(
        self,
        context: Context,
        *,
        channels: ChannelPort,
        metrics: MetricsPort,
        links: LinkMaker | None = None,
    ) -> None:
        self._store = context.store
        self._channels = channels
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._random = context.random
        self._hub = context.hub
        self._metrics = metrics
        self._new_id = context.new_id
        self._links = links
        self._lanes = ConcurrencyLimits()
        self._sends: set[asyncio.Task[SendOutcome]] = set()
        self._verdicts: list[Verdict] = []
        self._news = asyncio.Event()
        self._log = structlog.get_logger(component="NotificationService")
        context.store.on_deliveries(self._wake)

    def start_jobs(self, supervisor: Supervisor) -> None:
        """Begin to send, and to remove what is old."""
        beat = partial(supervisor.heartbeat, JOB)
        supervisor.spawn(JOB, lambda: self.run(supervisor.stop_requested(JOB), beat), stops_itself=True)
        supervisor.every("outbox-purge", 3600, self.purge, essential=False)

    async def run(self, asked_to_stop: asyncio.Event, heartbeat: Callable[[], None]) -> None:
        """Send until asked to stop; then see through what is under way and store how it ended."""
        try:
            while not asked_to_stop.is_set():
                if await self._round(takes_more=True):
                    heartbeat()
                await self._wait(asked_to_stop)
            while self._sends:
                await asyncio.wait(self._sends)
            await self._round(takes_more=False)
        finally:
            for task in self._sends:
                task.cancel()

    async def purge(self) -> None:
        """Remove what is old, a batch a transaction, so that nobody waits long for the database."""
        now = self._clock.now()
        removed = PURGE_AT_ONCE
        while removed >= PURGE_AT_ONCE:
            async with self._store.begin() as work:
                removed = await work.outbox.purge(
                    sent_before=now - KEPT_SENT, others_before=now - KEPT_OTHERS, limit=PURGE_AT_ONCE
                )
                await work.commit()

    async def _round(self, *, takes_more: bool) -> bool:
        """Store what has ended and take on what is due, in one transaction; return whether the database took part."""
        self._news.clear()
        verdicts = tuple(self._verdicts)
        try:
            if not verdicts and not (takes_more and await self._has_due()):
                return True
            told, taken = await self._exchange(verdicts, takes_more=takes_more)
        except StorageUnavailable:
            return False  # what ended is kept here, and stored once the database answers
        del self._verdicts[: len(verdicts)]
        for verdict in verdicts:
            self._lanes.saved(verdict.claimed)
        publish_notices(self._hub, *told)
        for claimed in taken:
            self._begin(claimed)
        return True

    async def _has_due(self) -> bool:
        async with self._store.begin(read_only=True) as work:
            return await work.outbox.has_due(now=self._clock.now())

    async def _exchange(
        self, verdicts: tuple[Verdict, ...], *, takes_more: bool
    ) -> tuple[list[Notification], list[Claimed]]:
        now = self._clock.now()
        taken: list[Claimed] = []
        async with self._store.begin() as work:
            told = await self._store_verdicts(work, verdicts)
            for wish in self._lanes.wishes() if takes_more else ():
                found = await work.outbox.claim(wish, now=now, until=now + CLAIM)
                if not found:
                    self._lanes.found_nothing(wish)
                taken += found
            await work.commit()
        return told, taken

    async def _store_verdicts(self, work: UnitOfWork, verdicts: tuple[Verdict, ...]) -> list[Notification]:
        """Store outcomes, and the notices about channels that follow from them; return those that are new."""
        if not verdicts:
            return []
        healths = {verdict.claimed.channel_id: verdict.after for verdict in verdicts}
        await work.outbox.finish([verdict.result for verdict in verdicts], healths)
        notices: list[Notification] = []
        for verdict in verdicts:
            notices += await self._about_channel(work, verdict)
        if any(verdict.is_dead_letter for verdict in verdicts):
            operators = [user.id for user in await work.users.list_all() if user.role is Role.ADMIN]
            notices += [
                self._about_poison(operator_id, verdict)
                for verdict in verdicts
                if verdict.is_dead_letter
                for operator_id in operators
            ]
        return [notice for notice in notices if await work.notifications.add(notice)]

    async def _about_channel(self, work: UnitOfWork, verdict: Verdict) -> list[Notification]:
        claimed, now = verdict.claimed, verdict.result.at
        if verdict.is_told_to_user and verdict.after.failing_since is not None:
            since, why = verdict.after.failing_since, verdict.after.last_error or ""
            return [compose_channel_failing(claimed, since=since, why=why, now=now, new_id=self._new_id)]
        if not verdict.is_recovery or verdict.before.failing_since is None:
            return []
        since = verdict.before.failing_since
        incident_id = channel_incident(claimed.channel_id, since)
        failing = NotificationKind.CHANNEL_FAILING
        if not await work.notifications.was_notified(claimed.notification.user_id, failing, incident_id):
            return []
        return [compose_channel_recovered(claimed, since=since, now=now, new_id=self._new_id)]

    def _about_poison(self, operator_id: str, verdict: Verdict) -> Notification:
        """Tell of a set-aside notice: once while its channel fails, once a day where only messages are refused."""
        claimed, now = verdict.claimed, verdict.result.at
        since = verdict.after.failing_since or now.replace(hour=0, minute=0, second=0, microsecond=0)
        return compose_delivery_failed(
            operator_id,
            claimed,
            incident_id=channel_incident(claimed.channel_id, since),
            why=verdict.result.error or "",
            now=now,
            new_id=self._new_id,
        )

    def _wake(self) -> None:
        self._lanes.look_everywhere()
        self._news.set()

    # ---- one delivery

    def _begin(self, claimed: Claimed) -> None:
        self._lanes.enter(claimed)
        task = asyncio.create_task(self._send(claimed), name=f"send {claimed.id}")
        self._sends.add(task)
        task.add_done_callback(partial(self._ended, claimed))

    async def _send(self, claimed: Claimed) -> SendOutcome:
        if claimed.destination is None:
            return _UNREADABLE
        try:
            limit_s = self._channels.limit_s(claimed.channel_kind)
            async with self._lanes.turn(claimed), clock_timeout(self._real_clock, limit_s):
                message = await self._message(claimed)
                return await self._channels.send(message, claimed.destination)
        except TimeoutError:
            return _TOO_LONG

    async def _message(self, claimed: Claimed) -> Message:
        """Return what is sent. A link is made anew for every attempt and stands in the message alone: nowhere is its value stored."""
        link = None
        if self._links is not None and claimed.notification.kind in LEADS_TO_LOGIN:
            try:
                requested_by = requester_of(claimed.notification)
                link = await self._links.link_for(claimed.notification.user_id, requested_by=requested_by)
            except StorageUnavailable:
                link = None  # that it has to be known matters more than that it is convenient
        return Message(claimed.id, claimed.notification, link)

    def _ended(self, claimed: Claimed, task: asyncio.Task[SendOutcome]) -> None:
        """Judge how a sending ended; an adapter that broke is met here, so that one message cannot keep all others from being sent."""
        self._sends.discard(task)
        self._news.set()
        health = self._lanes.health(claimed)
        if task.cancelled():
            self._lanes.ended(claimed, health)
            self._lanes.saved(claimed)
            return
        error = task.exception()
        outcome = task.result() if error is None else _OUR_FAULT
        if error is not None:  # its text may hold the address
            self._log.error("notice.sending_broke", channel=claimed.channel_kind, error=type(error).__name__)
        verdict = judge(claimed, health, outcome, now=self._clock.now(), random=self._random)
        self._lanes.ended(claimed, verdict.after)
        self._verdicts.append(verdict)
        self._tell(verdict)

    def _tell(self, verdict: Verdict) -> None:
        """Count the attempt; log changes, not repeats."""
        claimed, state = verdict.claimed, verdict.result.state
        outcome = "later" if state is DeliveryState.WAITING else state.value
        self._metrics.notification(claimed.channel_kind.value, outcome)
        log = self._log.bind(
            user_id=claimed.notification.user_id, channel_id=claimed.channel_id, channel=claimed.channel_kind
        )
        if verdict.after.failures == 1 and not verdict.before.failures:
            log.warning("channel.failing", why=verdict.after.last_error)
        if verdict.is_recovery:
            log.info("channel.recovered", failures=verdict.before.failures)
        if state is DeliveryState.FAILED_PERMANENTLY:
            log.warning("notice.dead_letters", delivery_id=claimed.id, why=verdict.result.error)

    async def _wait(self, asked_to_stop: asyncio.Event) -> None:
        """Wait for news, for the next look, or for the end."""
        waiting = {
            asyncio.create_task(event.wait(), name="outbox waits") for event in (self._news, asked_to_stop)
        }
        nap = asyncio.create_task(self._real_clock.sleep(POLL_S), name="outbox naps")
        try:
            await asyncio.wait({*waiting, nap}, return_when=asyncio.FIRST_COMPLETED)
            if nap.done():
                self._lanes.look_everywhere()
        finally:
            for task in (*waiting, nap):
                task.cancel()
