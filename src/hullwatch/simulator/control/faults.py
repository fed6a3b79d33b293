"""Control calls for faults and for the count of calls."""

from typing import Annotated

from pydantic import Field

from hullwatch.simulator.broker import Broker
from hullwatch.simulator.control.call import ControlCall, Given
from hullwatch.simulator.control.input import ControlOutput, Done, InvalidRequest
from hullwatch.simulator.faults import Fault, FaultInput


class FaultCreated(ControlOutput):
    """A new fault."""

    id: str


class FaultOutput(ControlOutput):
    """An active fault; `left` is how often it still acts, null without a limit."""

    id: str
    kind: str
    fyers_id: str | None
    path: str | None
    service: str | None
    symbol: str | None
    left: int | None


class FaultList(ControlOutput):
    """The active faults, oldest first."""

    faults: list[FaultOutput]


class CallReport(ControlOutput):
    """The calls since the last reset of the count."""

    total: int
    by_path: dict[str, int]
    by_status: Annotated[dict[str, int], Field(description="By HTTP status; 0 for calls without an answer.")]
    per_minute_max: Annotated[int, Field(description="The most calls of one account within 60 simulated s.")]


def _described(fault: Fault) -> FaultOutput:
    given = fault.given
    return FaultOutput(
        id=fault.id, kind=given.kind.value, fyers_id=given.fyers_id, path=given.path, service=given.service,
        symbol=given.symbol, left=fault.times_left,
    )  # fmt: skip


def _add(broker: Broker, given: Given) -> FaultCreated:
    return FaultCreated(id=broker.faults.add(given.body, broker.clock.epoch()).id)


def _list(broker: Broker, _given: Given) -> FaultList:
    return FaultList(faults=[_described(fault) for fault in broker.faults])


def _clear(broker: Broker, _given: Given) -> Done:
    broker.faults.clear()
    return Done()


def _remove(broker: Broker, given: Given) -> Done:
    if not broker.faults.remove(given.path["id"]):
        raise InvalidRequest(404, "there is no such fault", "id")
    return Done()


def _calls(broker: Broker, given: Given) -> CallReport:
    report = broker.calls.report(given.query.get("fyersId") or None, given.query.get("path") or None)
    return CallReport.model_validate(report)


def _clear_calls(broker: Broker, _given: Given) -> Done:
    broker.calls.clear()
    return Done()


_EXAMPLES = (
    {"kind": "html_page", "status": 503, "path": "/data/", "seconds": 60},
    {"kind": "http_error", "symbol": "NSE:SBIN-EQ", "service": "history", "status": 500},
    {"kind": "refusal", "code": -16, "status": 200, "fyersId": "XA00001"},
    {"kind": "refusal", "code": -403, "status": 403, "service": "data"},
    {"kind": "latency", "latencyMs": 200, "probability": 0.5, "afterSeconds": 30, "count": 10},
    {"kind": "scaled_prices", "symbol": "NSE:SBIN-EQ", "path": "/data/quotes", "factor": 1e-9},
)

CALLS = (
    ControlCall("GET", "/simulator/faults", "List the active faults.", FaultList, _list),
    ControlCall("POST", "/simulator/faults", "Start a fault.", FaultCreated, _add, FaultInput, _EXAMPLES),
    ControlCall("DELETE", "/simulator/faults", "End all faults.", Done, _clear),
    ControlCall("DELETE", "/simulator/faults/{id}", "End one fault.", Done, _remove),
    ControlCall(
        "GET", "/simulator/calls", "Count the calls that the broker received.", CallReport, _calls,
        query={"fyersId": "Calls of this account only.", "path": "Only paths that begin like this."},
    ),
    ControlCall("DELETE", "/simulator/calls", "Reset the counts.", Done, _clear_calls),
)  # fmt: skip
