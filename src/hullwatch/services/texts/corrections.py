"""The notice of corrected signals, and the sentence for each reason of a withdrawal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hullwatch.domain.notifications.notifications import Notification, NotificationKind
from hullwatch.domain.signals.signals import HistoryChange, Signal
from hullwatch.services.texts.notices import describe_signal
from hullwatch.services.texts.times import in_ist

_MOST_SIGNALS: Final = 5
"""A split can correct two days of signals of many watches; the page lists them all."""

WITHDRAWAL_REASONS: Final[Mapping[HistoryChange, str]] = {
    HistoryChange.CANDLE_CORRECTED: (
        "Fyers corrected a close, and with the new close the rule gives no signal here."
    ),
    HistoryChange.CANDLE_ADDED: "Fyers added a candle later, and with it the rule gives no signal here.",
    HistoryChange.CANDLE_REMOVED: "Fyers removed a candle, and without it the rule gives no signal here.",
    HistoryChange.RESCALED: (
        "Fyers adjusted all earlier prices, as after a split or bonus. "
        "With them the rule gives no signal here."
    ),
    HistoryChange.OTHER: "Fyers changed its history, and with the new prices the rule gives no signal here.",
}


@dataclass(frozen=True, slots=True)
class CorrectionDigest:
    """What one correction changes in the signals of one user."""

    withdrawn: Sequence[Signal]
    changed: Sequence[Signal]
    added: Sequence[Signal]
    reinstated: Sequence[Signal]


def compose_corrections(
    user_id: str, digest: CorrectionDigest, *, now: datetime, new_id: Callable[[str], str]
) -> Notification:
    """Return the notice of a correction: how many signals it changes, the first of them, and what to do."""
    parts = [
        ("withdrawn", digest.withdrawn),
        ("changed direction", digest.changed),
        ("added late", digest.added),
        ("valid again", digest.reinstated),
    ]
    symbols = sorted({signal.symbol.text for _, signals in parts for signal in signals})
    where = symbols[0] if len(symbols) == 1 else f"{len(symbols)} symbols"
    counts = ", ".join(f"{len(signals)} {what}" for what, signals in parts if signals)
    listed = [f"{_describe(signal)} ({what})" for what, signals in parts for signal in signals]
    more = len(listed) - _MOST_SIGNALS
    listed = [*listed[:_MOST_SIGNALS], f"and {more} more"] if more > 0 else listed
    return Notification(
        id=new_id("ntc"),
        user_id=user_id,
        kind=NotificationKind.SIGNALS_CORRECTED,
        title=f"Signals of {where} corrected: {counts}",
        text=(
            f"Fyers changed its price history, and these signals changed with it: {'; '.join(listed)}. "
            "Check what you decided because of them."
        ),
        created_at=now,
    )


def _describe(signal: Signal) -> str:
    return f"{describe_signal(signal)}, candle closed {in_ist(signal.candle_closed_at)}"
