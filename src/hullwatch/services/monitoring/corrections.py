"""Corrects stored signals within a transaction, with the notices that follow."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.domain.notifications.notifications import Notification
from hullwatch.domain.signals.corrections import Corrections, Recomputation, reconcile, withdrawable_from
from hullwatch.domain.signals.signals import Signal
from hullwatch.services.ports import UnitOfWork
from hullwatch.services.texts.corrections import CorrectionDigest, compose_corrections
from hullwatch.services.texts.notices import compose_signal, signal_notice_id


@dataclass(frozen=True, slots=True)
class AppliedCorrections:
    """What was stored; to be published after the commit."""

    added: Sequence[Signal] = ()
    updated: Sequence[Signal] = ()
    """Withdrawn, reinstated, changed and marked signals."""
    digests: Sequence[Notification] = ()


async def apply_corrections(
    work: UnitOfWork,
    recomputed: Iterable[Recomputation],
    *,
    calendar: MarketCalendar,
    now: datetime,
    new_id: Callable[[str], str],
) -> AppliedCorrections:
    """Make the stored signals of some watches agree with fresh history, and store the notices of each user.

    A user who was notified of a signal that is withdrawn or has another direction gets one digest of the whole
    correction. Deliveries of such signals that were not sent are cancelled. Without a digest, added signals get
    ordinary notices, and so do changed signals whose notice was cancelled. A reinstated signal gets none. Other
    prices alone make no notice, but those that are not sent yet get them.
    """
    by_watch = {one.watch_id: one for one in recomputed}
    stored = await work.watches.signals_to_correct(
        {one.watch_id: one.covers_after for one in by_watch.values()}
    )
    corrections = _corrections_by_user(by_watch.values(), stored, calendar, now)
    updated = [signal for one in corrections.values() for signal in one.updated]
    await work.watches.correct_signals(updated)
    added = await work.watches.add_signals([signal for one in corrections.values() for signal in one.added])
    is_new = set(added)
    corrected = [signal for one in corrections.values() for signal in (*one.withdrawn, *one.changed)]
    retraction = await work.notifications.retract([signal_notice_id(signal) for signal in corrected])
    repriced = [signal for one in corrections.values() for signal in one.repriced]
    await work.notifications.rewrite([compose_signal(signal) for signal in repriced])
    digests: list[Notification] = []
    signal_notices: list[Notification] = []
    for user_id, one in corrections.items():
        new = [signal for signal in one.added if signal in is_new]
        if any(signal_notice_id(signal) in retraction.sent for signal in (*one.withdrawn, *one.changed)):
            digest = CorrectionDigest(one.withdrawn, one.changed, new, one.reinstated)
            digests.append(compose_corrections(user_id, digest, now=now, new_id=new_id))
        else:
            cancelled = [signal for signal in one.changed if signal_notice_id(signal) in retraction.removed]
            signal_notices += [compose_signal(signal) for signal in (*cancelled, *new)]
    await work.notifications.add_carried(signal_notices)
    digests = [notice for notice in digests if await work.notifications.add(notice)]
    return AppliedCorrections(added, updated, digests)


def _corrections_by_user(
    recomputed: Iterable[Recomputation], stored: Iterable[Signal], calendar: MarketCalendar, now: datetime
) -> dict[str, Corrections]:
    stored_by_watch: dict[str, list[Signal]] = defaultdict(list)
    for signal in stored:
        stored_by_watch[signal.watch_id].append(signal)
    found: dict[str, Corrections] = {}
    first: dict[int, datetime] = {}
    for one in recomputed:
        own = calendar.for_symbol(one.symbol)
        if id(own) not in first:  # a start of the server compares all watches at once
            first[id(own)] = withdrawable_from(own, now)
        stored_of_watch = stored_by_watch.get(one.watch_id, ())
        of_watch = reconcile(stored_of_watch, one, withdraw_from=first[id(own)], now=now)
        if of_watch != Corrections():
            found[one.user_id] = found.get(one.user_id, Corrections()) + of_watch
    return found
