"""Notices when this machine's clock is set or is wrong, decides which time is right, and tells the listeners.

Fyers' time is the evidence. Its bounds are kept on a scale that no setting of a clock changes, so in trading hours they
show within one check whether the time before or after the step is right.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import structlog

from hullwatch.domain.market.clock_offset import ClockOffset, ClockStep
from hullwatch.runtime.clock import STEP_FROM_S, Clock
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.texts.clock import describe_clock

CHECK_EVERY_S: Final = 5.0
Listener: TypeAlias = Callable[[ClockStep | None], None]
"""Called with each step, and with `None` when `is_reliable` has changed without one."""


class ClockMonitor:
    """Whether sessions may expire by this server's clock alone.

    Args:
        clock: The time of markets and tokens. Jumps of a clock that is followed are no steps.
        offset: Returns how far Fyers' clock and `clock` are apart.
    """

    def __init__(self, clock: Clock, offset: Callable[[], ClockOffset | None]) -> None:
        self._clock = clock
        self._offset = offset
        self._listeners: list[Listener] = []
        self._kept_s = 0.0
        """The step that `clock` does not follow, because Fyers' time contradicts it."""
        self._step: ClockStep | None = None
        self._was_far = False
        self.is_reliable = True
        """Whether this machine's clock was not set since Fyers last confirmed it, and is not far off Fyers' clock."""
        self._log = structlog.get_logger(component="Supervisor")

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` in the step in which a change takes effect."""
        self._listeners.append(listener)

    def distrust_until_confirmed(self) -> None:
        """Begin as after a step, because the clock may have been wrong since before the start.

        A machine without a battery, or one that reads its hardware clock in another zone, starts with a wrong time. A
        clock that is followed agrees with its Fyers.
        """
        self.is_reliable = self._clock.real is not self._clock

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to check."""
        supervisor.spawn("clock", lambda: self._run(lambda: supervisor.heartbeat("clock")), essential=False)

    async def _run(self, heartbeat: Callable[[], None]) -> None:
        while True:
            self.check()
            heartbeat()
            await self._clock.real.sleep(CHECK_EVERY_S)

    def check(self) -> None:
        """Notice a step, and whether Fyers' clock agrees."""
        step_s, was_reliable = self._clock.real.pending_step_s, self.is_reliable
        step = None
        if self._clock.real is not self._clock:
            self._clock.real.accept_step()
        elif step_s:
            step = self._take(step_s)
        elif self._kept_s:
            self._kept_s = 0.0
            self._log.info("clock.recovered")
        self._judge(is_new_time=step is not None and step.is_followed)
        if step is not None or self.is_reliable != was_reliable:
            for listener in self._listeners:
                listener(step)

    def fyers_offset_s(self) -> float:
        """Return Fyers' time minus the time of `clock`, as far as it is known."""
        offset = self._offset()
        return 0.0 if offset is None else offset.estimate_s

    def problem(self) -> str:
        """Return what is wrong with this machine's clock, in sentences for operators; empty if nothing is."""
        offset = self._offset()
        far = offset if offset is not None and offset.is_far else None
        if self.is_reliable or (self._step is None and far is None):
            return ""
        return describe_clock(self._step, far)

    def _take(self, step_s: float) -> ClockStep | None:
        """Keep the time or follow the step; return the step if it is a new one."""
        is_known = abs(step_s - self._kept_s) < STEP_FROM_S
        offset = self._offset()
        # Without evidence the operator's clock counts, but a step that was found wrong stays wrong.
        is_kept = is_known if offset is None else abs(offset.estimate_s) <= abs(offset.estimate_s - step_s)
        if is_kept and is_known:
            return None
        if is_kept:
            self._kept_s = step_s
        else:
            self._kept_s = 0.0
            self._clock.real.accept_step()
        self._step = step = ClockStep(self._clock.now(), step_s, is_followed=not is_kept)
        self._log.warning("clock.set", seconds=round(step_s, 1), is_followed=step.is_followed)
        return step

    def _judge(self, *, is_new_time: bool) -> None:
        offset = self._offset()
        if self._kept_s:
            self.is_reliable = False
        elif offset is None:
            # Unknown: it stays as it was last known, and a new time is not confirmed yet.
            self.is_reliable = self.is_reliable and not is_new_time
        elif self.is_reliable != (not offset.is_far):
            self.is_reliable = not offset.is_far
            if offset.is_far:
                self._log.warning("clock.off", fyers_ahead_s=round(offset.estimate_s, 1))
            else:
                self._step, was_set = None, self._step
                if was_set or self._was_far:
                    self._log.info("clock.confirmed")
            self._was_far = offset.is_far
