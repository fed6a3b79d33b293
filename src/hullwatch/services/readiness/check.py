"""Validates the sessions of many accounts, and loads the missing history of those that are valid.

An account without a session makes no call. One whose validation brought no clear answer loads no history either.
"""

import asyncio
import math
from contextlib import suppress
from typing import Final

import structlog

from hullwatch.runtime.clock import clock_timeout
from hullwatch.services.context import Context
from hullwatch.services.monitoring.history_calls import OFF_HOURS_CALL_INTERVAL_S
from hullwatch.services.monitoring.service import MonitoringService
from hullwatch.services.sessions.validation import TokenValidationService, Validation, ValidationResult

WARM_SHARE: Final = 0.5
"""Of the global rate limit, for loading history; validations and all other calls share the rest."""
WARM_DEADLINE_S: Final = 30.0
"""For one account's history: a little longer than its cycle may take."""


def warming_at_once(*, calls_per_second: int, calls_per_second_total: int) -> int:
    """Return how many accounts may load history at the same time within `WARM_SHARE` of the global rate limit."""
    of_one = min(calls_per_second, 1 / OFF_HOURS_CALL_INTERVAL_S)
    return max(1, math.floor(calls_per_second_total * WARM_SHARE / of_one))


class ReadinessCheck:
    """Validates sessions and loads history; `at_once` accounts load at the same time, see `warming_at_once`."""

    def __init__(
        self,
        context: Context,
        *,
        validation: TokenValidationService,
        monitoring: MonitoringService,
        at_once: int,
    ) -> None:
        self._validation = validation
        self._monitoring = monitoring
        self._real_clock = context.clock.real
        self._at_once = at_once
        self._log = structlog.get_logger(component="ReadinessService")

    async def run(self, users: list[str]) -> None:
        """Validate the sessions of these users, and load the history of the valid ones as soon as each is validated."""
        slots = asyncio.Semaphore(self._at_once)
        warming: dict[str, asyncio.Task[None]] = {}

        def validated(validation: Validation) -> None:
            if validation.result is ValidationResult.VALID:
                user_id = validation.user_id
                warming[user_id] = asyncio.create_task(self._warm(user_id, slots), name=f"warm {user_id}")

        try:
            await self._validation.validate_users(users, on_progress=validated, until_decided=True)
            results = await asyncio.gather(*warming.values(), return_exceptions=True)
        finally:
            for task in warming.values():
                task.cancel()
        for user_id, result in zip(warming, results, strict=True):
            if isinstance(result, Exception):
                self._log.error("readiness.warming_failed", user_id=user_id, error=type(result).__name__)

    async def _warm(self, user_id: str, slots: asyncio.Semaphore) -> None:
        async with slots:
            with suppress(TimeoutError):
                async with clock_timeout(self._real_clock, WARM_DEADLINE_S):
                    await self._monitoring.warm(user_id)
