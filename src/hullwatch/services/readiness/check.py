"""Asks after many accounts at once: validates their sessions, and warms the averages of those that are good.

Nobody waits for anybody: each account is validated in its slot of a sweep and warmed through its own monitoring cycle, so many at a time
that watching and validating keep their turns at the machine's gate. An account without a session makes no call, and one whose
validation brought no clear answer is not asked for history as well.
"""

import asyncio
import math
from contextlib import suppress
from typing import Final

import structlog

from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.context import Context
from hullwatch.services.monitoring.cycle import OFF_HOURS_CALL_INTERVAL_S
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.sessions.validation import TokenValidationService, Validation, ValidationVerdict

WARM_SHARE: Final = 0.5
"""Of the machine's gate, for warming: validations and what else goes on share the rest."""
START_SHARE: Final = 0.3
"""Of the machine's gate, for the first cycles after a start outside trading hours: both together leave room for a sweep."""
WARM_DEADLINE_S: Final = 30.0
"""For one account's history: a little longer than its cycle may take."""


def warming_at_once(*, calls_per_second: int, calls_per_second_total: int) -> int:
    """Return how many accounts to warm at the same time so that together they take `WARM_SHARE` of the machine's gate at most."""
    of_one = min(calls_per_second, 1 / OFF_HOURS_CALL_INTERVAL_S)
    return max(1, math.floor(calls_per_second_total * WARM_SHARE / of_one))


class ReadinessAsking:
    """Validates and warms."""

    def __init__(
        self,
        context: Context,
        *,
        validation: TokenValidationService,
        monitoring: MonitoringService,
        at_once: int,
    ) -> None:
        """Keep what is needed; `at_once` accounts are warmed at the same time, see `warming_at_once`."""
        self._validation = validation
        self._monitoring = monitoring
        self._real_clock = context.clock.real
        self._at_once = at_once
        self._log = structlog.get_logger(component="ReadinessService")

    async def ask(self, users: list[str]) -> None:
        """Validate these sessions and warm what is cold of those that are good."""
        places = asyncio.Semaphore(self._at_once)
        warming: dict[str, asyncio.Task[None]] = {}

        def validated(validation: Validation) -> None:
            if validation.verdict is ValidationVerdict.VALID:
                user_id = validation.user_id
                warming[user_id] = asyncio.create_task(self._warm(user_id, places), name=f"warm {user_id}")

        try:
            await self._validation.validate_users(users, on_progress=validated)
            results = await asyncio.gather(*warming.values(), return_exceptions=True)
        finally:
            for task in warming.values():
                task.cancel()
        for user_id, result in zip(warming, results, strict=True):
            if isinstance(result, Exception):
                self._log.error("readiness.broke", user_id=user_id, error=type(result).__name__)

    async def _warm(self, user_id: str, places: asyncio.Semaphore) -> None:
        async with places:
            with suppress(TimeoutError):
                async with clock_timeout(self._real_clock, WARM_DEADLINE_S):
                    await self._monitoring.warm(user_id)
