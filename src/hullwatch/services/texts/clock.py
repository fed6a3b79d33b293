"""Sentences about this machine's clock."""

from hullwatch.domain.market.clock_offset import ClockOffset, ClockStep
from hullwatch.services.texts.times import at_ist

_UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"))
_CONSEQUENCE = (
    "No session expires by time alone until the clock is right. Switch on time synchronisation (NTP)."
)


def describe_step(step: ClockStep) -> str:
    """Return what was done to the clock and which time counts."""
    direction = "forward" if step.seconds > 0 else "back"
    text = f"The clock of the server was set {direction} by {_length(step.seconds)} {at_ist(step.at)}."
    return text if step.is_followed else f"{text} hullwatch keeps the earlier time, which agrees with Fyers."


def describe_clock(step: ClockStep | None, far: ClockOffset | None) -> str:
    """Return what is wrong with the clock, for operators.

    Args:
        step: The latest step, if there was one.
        far: How far Fyers' clock is away, if that is too far.
    """
    parts = [describe_step(step)] if step is not None else []
    if far is not None:
        direction = "behind" if far.estimate_s > 0 else "ahead of"
        parts.append(f"The clock is {_length(far.estimate_s)} {direction} Fyers.")
    return " ".join([*parts, _CONSEQUENCE])


def _length(seconds: float) -> str:
    seconds = abs(seconds)
    for unit_s, name in _UNITS:
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s"
