"""The table from events to the JSON that open tabs receive, with one row for each event of the domain."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from hullwatch.domain.events import (
    BrokerOutageChanged,
    CandleClosed,
    ConnectionChanged,
    Event,
    NotificationStored,
    QuotesArrived,
    ReadinessChanged,
    ReadinessChecked,
    SignalFired,
    SignalsCorrected,
    SweepProgressed,
    WatchStatusChanged,
)
from hullwatch.web.api.market import CandlePayload, QuotePayload
from hullwatch.web.api.monitoring import SignalPayload
from hullwatch.web.api.notifications import NotificationPayload
from hullwatch.web.payloads import ConnectionPayload


def _json(payload: BaseModel) -> dict[str, Any]:
    return payload.model_dump(mode="json")


def _quotes(event: QuotesArrived) -> dict[str, Any]:
    return {
        "quotes": [_json(QuotePayload.of(quote)) for quote in event.quotes],
        "previews": dict(event.previews),
        "at": event.at,
    }


def _candle(event: CandleClosed) -> dict[str, Any]:
    return {
        "symbol": event.symbol.text,
        "resolution": event.resolution.code,
        "candle": _json(CandlePayload.of(event.candle)),
    }


KINDS: Final[Mapping[type, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    ConnectionChanged: ("connection", lambda event: _json(ConnectionPayload.of(event.connection))),
    QuotesArrived: ("quotes", _quotes),
    CandleClosed: ("candle", _candle),
    SignalFired: ("signal", lambda event: _json(SignalPayload.of(event.signal))),
    SignalsCorrected: (
        "signalsCorrected",
        lambda event: {"signals": [_json(SignalPayload.of(signal)) for signal in event.signals]},
    ),
    NotificationStored: ("notification", lambda event: _json(NotificationPayload.of(event.notification))),
    WatchStatusChanged: ("monitoring", lambda event: {"status": event.status, "at": event.at}),
    BrokerOutageChanged: (
        "brokerOutage",
        lambda event: {"isOngoing": event.is_ongoing, "incidentId": event.incident_id, "at": event.at},
    ),
    SweepProgressed: (
        "sweep",
        lambda event: {"done": event.done, "total": event.total, "at": event.at},
    ),
    ReadinessChanged: (
        "readiness",
        lambda event: {"result": event.result, "reason": event.reason, "at": event.at},
    ),
    ReadinessChecked: (
        "readinessCheck",
        lambda event: {"total": event.total, "ready": event.ready, "at": event.at},
    ),
}


def render(event: Event, *, is_admin_topic: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the kind and the data of an event; events for admins also have the id of their user."""
    kind, shape = KINDS[type(event)]
    if not is_admin_topic:
        return kind, shape(event)
    return f"admin.{kind}", {"userId": getattr(event, "user_id", None), **shape(event)}
