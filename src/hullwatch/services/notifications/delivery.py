"""Sends the notices in the outbox: claims what is due, sends it and stores the result.

A notice is in the outbox from the transaction that stored it. It is sent at least once, and always with the same id. After a crash
between the sending and its commit, or a lost answer, it is sent again, and the receiver can recognize the repetition.
"""

import asyncio
from collections.abc import Awaitable, Callable
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
from hullwatch.domain.secrets import SecretText
from hullwatch.domain.sessions.login_links import requester_of
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.clock import clock_timeout
from hullwatch.runtime.retrying_writer import RetryingWriter
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.runtime.waiting import wait_for_event
from hullwatch.services.context import Context
from hullwatch.services.notifications.concurrency import ConcurrencyLimits
from hullwatch.services.notifications.publish import publish_notices
from hullwatch.services.notifications.retry_policy import RetryDecision, decide
from hullwatch.services.ports import ChannelPort, UnitOfWork
from hullwatch.services.ports.metrics import MetricsPort
from hullwatch.services.texts.channels import (
    channel_incident,
    compose_channel_failing,
    compose_channel_recovered,
    compose_delivery_failed,
)

JOB: Final = "outbox"
POLL_S: Final = 2.0
"""Between two reads of what became due, or was stored by another process."""
CLAIM: Final = timedelta(minutes=5)
"""Longer than any sending takes, the wait for a slot included; a server that stored no result by then has crashed."""
KEEP_SENT: Final = timedelta(days=30)
KEEP_OTHERS: Final = timedelta(days=90)
"""Read notices and dead letters."""
PURGE_BATCH: Final = 500

_OUR_FAULT: Final = Refused("hullwatch itself failed to send it.", is_of_message=True)
_UNREADABLE: Final = Refused(
    "The stored address cannot be read. Remove the channel and add it again.", is_permanent=True
)
_TOO_LONG: Final = TryLater("It did not respond in time.")

MakeLink = Callable[..., Awaitable[SecretText | None]]
"""`LoginLinkService.link_for`, given by the composition root: an import of it would make a cycle of packages."""


class Outbox:
    """Sends the notices in the outbox, as the job ``outbox``.

    Args:
        context: Time, randomness, the database and the event hub.
        channels: Sends messages beyond the page.
        metrics: Counts every attempt.
        make_link: Makes the links for messages that lead to a login; `None` sends them without.
    """

    def __init__(
        self,
        context: Context,
        *,
        channels: ChannelPort,
        metrics: MetricsPort,
        make_link: MakeLink | None = None,
    ) -> None:
        self._store = context.store
        self._channels = channels
        self._clock = context.clock
        self._real_clock = context.clock.real
        self._random = context.random
        self._hub = context.hub
        self._metrics = metrics
        self._new_id = context.new_id
        self._make_link = make_link
        self._limits = ConcurrencyLimits()
        self._sends: set[asyncio.Task[SendOutcome]] = set()
        self._results = RetryingWriter(
            self._store_results, retry_on=StorageUnavailable, clock=self._real_clock, random=context.random
        )
        self._wake = asyncio.Event()
        self._log = structlog.get_logger(component="NotificationService")
        context.store.on_deliveries(self._deliveries_stored)

    def start_jobs(self, supervisor: Supervisor) -> None:
        """Begin to send, and to remove old notices."""
        heartbeat = partial(supervisor.heartbeat, JOB)
        supervisor.spawn(JOB, lambda: self.run(supervisor.stop_requested(JOB), heartbeat), stops_itself=True)
        supervisor.every("outbox-purge", 3600, self.purge, essential=False)

    async def run(self, stop_requested: asyncio.Event, heartbeat: Callable[[], None]) -> None:
        """Send until a stop is requested; then wait for the sendings under way and store their results."""
        try:
            while not stop_requested.is_set():
                if await self._round(is_claiming=True):
                    heartbeat()
                await self._wait(stop_requested)
            while self._sends:
                await asyncio.wait(self._sends)
            await self._round(is_claiming=False)
        finally:
            for task in self._sends:
                task.cancel()

    async def purge(self) -> None:
        """Remove old notices, one batch for each transaction, so that no other job waits long for the database."""
        now = self._clock.now()
        removed = PURGE_BATCH
        while removed >= PURGE_BATCH:
            async with self._store.begin() as work:
                removed = await work.outbox.purge(
                    sent_before=now - KEEP_SENT, others_before=now - KEEP_OTHERS, limit=PURGE_BATCH
                )
                await work.commit()

    async def _round(self, *, is_claiming: bool) -> bool:
        """Store the results, and claim and begin what is due; return False if the database did not respond."""
        self._wake.clear()
        try:
            await self._results.flush()
            claimed = await self._claim() if is_claiming and await self._has_due() else []
        except StorageUnavailable:
            return False
        for delivery in claimed:
            self._begin(delivery)
        return True

    async def _has_due(self) -> bool:
        async with self._store.begin(read_only=True) as work:
            return await work.outbox.has_due(now=self._clock.now())

    async def _claim(self) -> list[Claimed]:
        now = self._clock.now()
        claimed: list[Claimed] = []
        async with self._store.begin() as work:
            for limits in self._limits.claimable():
                found = await work.outbox.claim(limits, now=now, until=now + CLAIM)
                if not found:
                    self._limits.nothing_due(limits)
                claimed += found
            await work.commit()
        return claimed

    async def _store_results(self, decisions: list[RetryDecision]) -> None:
        """Store results with the notices about channels that follow from them, and publish the new ones."""
        healths = {decision.claimed.channel_id: decision.after for decision in decisions}
        async with self._store.begin() as work:
            await work.outbox.finish([decision.result for decision in decisions], healths)
            notices: list[Notification] = []
            for decision in decisions:
                notices += await self._about_channel(work, decision)
            if any(decision.is_dead_letter for decision in decisions):
                operators = [user.id for user in await work.users.list_all() if user.role is Role.ADMIN]
                notices += [
                    self._about_dead_letter(operator_id, decision)
                    for decision in decisions
                    if decision.is_dead_letter
                    for operator_id in operators
                ]
            new = [notice for notice in notices if await work.notifications.add(notice)]
            await work.commit()
        for decision in decisions:
            self._limits.saved(decision.claimed)
        publish_notices(self._hub, *new)

    async def _about_channel(self, work: UnitOfWork, decision: RetryDecision) -> list[Notification]:
        claimed, now = decision.claimed, decision.result.at
        if decision.notifies_user and decision.after.failing_since is not None:
            since, why = decision.after.failing_since, decision.after.last_error or ""
            return [compose_channel_failing(claimed, since=since, why=why, now=now, new_id=self._new_id)]
        if not decision.is_recovery or decision.before.failing_since is None:
            return []
        since = decision.before.failing_since
        incident_id = channel_incident(claimed.channel_id, since)
        failing = NotificationKind.CHANNEL_FAILING
        if not await work.notifications.was_notified(claimed.notification.user_id, failing, incident_id):
            return []
        return [compose_channel_recovered(claimed, since=since, now=now, new_id=self._new_id)]

    def _about_dead_letter(self, operator_id: str, decision: RetryDecision) -> Notification:
        """Return the notice about a dead letter: one for each failure of a channel, one a day for refused messages."""
        claimed, now = decision.claimed, decision.result.at
        since = decision.after.failing_since or now.replace(hour=0, minute=0, second=0, microsecond=0)
        return compose_delivery_failed(
            operator_id,
            claimed,
            incident_id=channel_incident(claimed.channel_id, since),
            why=decision.result.error or "",
            now=now,
            new_id=self._new_id,
        )

    def _deliveries_stored(self) -> None:
        self._limits.anything_may_be_due()
        self._wake.set()

    # ---- one delivery

    def _begin(self, claimed: Claimed) -> None:
        self._limits.add(claimed)
        task = asyncio.create_task(self._send(claimed), name=f"send {claimed.id}")
        self._sends.add(task)
        task.add_done_callback(partial(self._ended, claimed))

    async def _send(self, claimed: Claimed) -> SendOutcome:
        if claimed.destination is None:
            return _UNREADABLE
        try:
            limit_s = self._channels.limit_s(claimed.channel_kind)
            async with self._limits.slot(claimed), clock_timeout(self._real_clock, limit_s):
                message = await self._message(claimed)
                return await self._channels.send(message, claimed.destination)
        except TimeoutError:
            return _TOO_LONG

    async def _message(self, claimed: Claimed) -> Message:
        """Return the message, with a new link for each attempt; the value of a link is stored nowhere."""
        link = None
        if self._make_link is not None and claimed.notification.kind in LEADS_TO_LOGIN:
            try:
                requested_by = requester_of(claimed.notification)
                link = await self._make_link(claimed.notification.user_id, requested_by=requested_by)
            except StorageUnavailable:
                link = None  # a notice without a link is better than none
        return Message(claimed.id, claimed.notification, link)

    def _ended(self, claimed: Claimed, task: asyncio.Task[SendOutcome]) -> None:
        """Queue the result of a sending; a defect of an adapter fails this message and no other."""
        self._sends.discard(task)
        self._wake.set()
        health = self._limits.health(claimed)
        if task.cancelled():
            self._limits.ended(claimed, health)
            self._limits.saved(claimed)
            return
        error = task.exception()
        outcome = task.result() if error is None else _OUR_FAULT
        if error is not None:  # its text may hold the address
            self._log.error("notice.sending_failed", channel=claimed.channel_kind, error=type(error).__name__)
        decision = decide(claimed, health, outcome, now=self._clock.now(), random=self._random)
        self._limits.ended(claimed, decision.after)
        self._results.add(decision)
        self._report(decision)

    def _report(self, decision: RetryDecision) -> None:
        """Count the attempt, and log changes of the channel."""
        claimed, state = decision.claimed, decision.result.state
        outcome = "later" if state is DeliveryState.WAITING else state.value
        self._metrics.notification(claimed.channel_kind.value, outcome)
        log = self._log.bind(
            user_id=claimed.notification.user_id, channel_id=claimed.channel_id, channel=claimed.channel_kind
        )
        if decision.after.failures == 1 and not decision.before.failures:
            log.warning("channel.failing", why=decision.after.last_error)
        if decision.is_recovery:
            log.info("channel.recovered", failures=decision.before.failures)
        if state is DeliveryState.FAILED_PERMANENTLY:
            log.warning("notice.failed_permanently", delivery_id=claimed.id, why=decision.result.error)

    async def _wait(self, stop_requested: asyncio.Event) -> None:
        if not await wait_for_event(self._wake, stop_requested, clock=self._real_clock, within_s=POLL_S):
            self._limits.anything_may_be_due()
