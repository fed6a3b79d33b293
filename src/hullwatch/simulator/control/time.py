"""Control calls for the clock, and the reset to the state at the start."""

from pydantic import ConfigDict

from hullwatch.simulator.broker import Broker
from hullwatch.simulator.control.call import ControlCall, Given
from hullwatch.simulator.control.input import ControlInput, ControlOutput, InvalidRequest, IsoTime, Moment
from hullwatch.simulator.market.calendar import to_ist


class ClockInput(ControlInput):
    """A change of the clock."""

    model_config = ConfigDict(extra="forbid")

    speed: float | None = None
    """Simulated seconds per real second; 0 stops the clock."""
    advance_seconds: float = 0.0
    now: Moment | None = None
    """A later moment, to which the clock jumps."""


class ResetInput(ControlInput):
    """What the clock shows after a reset; by default what it showed at the start."""

    model_config = ConfigDict(extra="forbid")

    now: Moment | None = None
    speed: float | None = None


class ClockOutput(ControlOutput):
    """The simulated time and its speed."""

    now: IsoTime
    speed: float


def _clock(broker: Broker, _given: Given) -> ClockOutput:
    return ClockOutput(now=to_ist(broker.clock.epoch()).isoformat(), speed=broker.clock.speed)


def _set_clock(broker: Broker, given: Given) -> ClockOutput:
    wanted: ClockInput = given.body
    if not wanted.model_fields_set:
        raise InvalidRequest(422, "the body takes speed, advanceSeconds or now")
    if wanted.now is not None and "advance_seconds" in wanted.model_fields_set:
        raise InvalidRequest(422, "now: give now or advanceSeconds, not both", "now")
    name, speed_before = "speed", broker.clock.speed
    try:
        broker.clock.set_speed(speed_before if wanted.speed is None else wanted.speed)
        if wanted.now is None:
            name = "advanceSeconds"
            broker.clock.advance(wanted.advance_seconds)
        else:
            name = "now"
            broker.clock.set_now(wanted.now)
    except ValueError as error:
        broker.clock.set_speed(speed_before)
        raise InvalidRequest(422, str(error), name) from error
    return _clock(broker, given)


def _reset(broker: Broker, given: Given) -> ClockOutput:
    wanted: ResetInput = given.body
    try:
        broker.reset(wanted.now, wanted.speed)
    except ValueError as error:
        raise InvalidRequest(422, str(error), "speed") from error
    return _clock(broker, given)


CALLS = (
    ControlCall("GET", "/simulator/clock", "Show the simulated time and its speed.", ClockOutput, _clock),
    ControlCall(
        "POST", "/simulator/clock", "Set the speed, or move the clock forward.", ClockOutput, _set_clock, ClockInput,
        ({"speed": 60}, {"advanceSeconds": 300}, {"now": "2030-01-01T09:15:00+05:30"}),
    ),
    ControlCall(
        "POST", "/simulator/reset", "Put everything back to the state at the start.", ClockOutput, _reset, ResetInput,
        ({}, {"now": "2026-11-25T09:00:00+05:30", "speed": 0}),
    ),
)  # fmt: skip
