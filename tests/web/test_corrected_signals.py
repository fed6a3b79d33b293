"""Withdrawn, late and changed signals over HTTP and on the event socket."""

from datetime import UTC, datetime, timedelta

from hullwatch.domain.events import SignalsCorrected
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.signals.signals import Direction, HistoryChange, Rule, Signal
from web.event_client import live

CLOSED_AT = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
WITHDRAWN_AT = CLOSED_AT + timedelta(minutes=7)


def signal(user_id: str, **changes) -> Signal:
    """Return a signal of the user."""
    values = {
        "watch_id": "wch", "user_id": user_id, "symbol": Symbol("NSE:SBIN-EQ"), "resolution": Resolution("5"), "period": 9,
        "rule": Rule.CROSS, "direction": Direction.UP, "candle_opened_at": CLOSED_AT - timedelta(minutes=5),
        "candle_closed_at": CLOSED_AT, "close": 100.0, "hma": 99.0, "detected_at": CLOSED_AT, "is_late": False,
    }  # fmt: skip
    return Signal(**{**values, **changes})


async def test_a_signal_shows_its_corrections(env):
    """A withdrawn one has its time and a sentence; an old one has the time of its mark."""
    async with env.browser("asha") as client:
        user_id = (await client.get("/api/auth/me")).json()["id"]
        withdrawn = signal(
            user_id, revision=2, withdrawn_at=WITHDRAWN_AT, withdrawn_reason=HistoryChange.RESCALED
        )
        marked = signal(
            user_id, watch_id="old", history_changed_at=WITHDRAWN_AT, is_late=True, detected_at=WITHDRAWN_AT
        )
        async with env.store.begin() as work:
            await work.watches.add_signals([withdrawn, marked])
            await work.commit()
        old, gone = (await client.get("/api/monitoring/signals")).json()["signals"]

    assert (gone["revision"], gone["withdrawnAt"], gone["historyChangedAt"]) == (
        2,
        "2026-11-23T04:07:00Z",
        None,
    )
    assert gone["withdrawnReason"].startswith("Fyers adjusted all earlier prices")
    assert (old["revision"], old["withdrawnAt"], old["withdrawnReason"]) == (1, None, None)
    assert (old["historyChangedAt"], old["isLate"]) == ("2026-11-23T04:07:00Z", True)


async def test_a_correction_is_pushed_to_open_pages(env):
    """Each corrected signal as `GET /api/monitoring/signals` shows it."""
    async with (
        env.browser("asha") as client,
        live(env.app, cookie=client.cookies["hullwatch_session"]) as socket,
    ):
        user_id = (await client.get("/api/auth/me")).json()["id"]
        await socket.receive()
        changed = signal(user_id, revision=3, direction=Direction.DOWN)
        env.hub.publish(user_id, SignalsCorrected(user_id, (changed,)))
        event = await socket.receive()

    assert event["type"] == "signalsCorrected"
    (pushed,) = event["data"]["signals"]
    assert (pushed["direction"], pushed["revision"], pushed["withdrawnReason"]) == ("down", 3, None)
