"""Knows whether the database can be written and read."""

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from hullwatch.domain.storage import StorageFault, StorageState
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.ports.metrics import MetricsPort

JOB: Final = "storage-check"
CHECK_EVERY_S: Final = 3.0
"""Two checks fit into `MAX_AGE_S`, so that a single failed one makes no server unready."""


class StorageHealth:
    """Checks the database every few real seconds, as the job ``storage-check``."""

    def __init__(self, context: Context, *, metrics: MetricsPort) -> None:
        self._store = context.store
        self._clock = context.clock.real
        self._metrics = metrics
        self._fault: StorageFault | None = None
        self._failures = 0
        self._good_s = self._clock.monotonic()  # opening the store has just written to it
        self._log = structlog.get_logger(component="Storage")

    def state(self) -> StorageState:
        """Return what the checks have found."""
        return StorageState(self._fault, self._failures, self._clock.monotonic() - self._good_s)

    def start_job(self, supervisor: Supervisor) -> None:
        """Begin to check."""
        supervisor.spawn("storage-check", lambda: self._run(partial(supervisor.heartbeat, JOB)))

    async def check(self) -> None:
        """Check the database now."""
        fault = await self._store.check(self._clock.now())
        if fault is None:
            if self._fault is not None:
                self._log.info("storage.recovered", failed_for_s=round(self.state().age_s))
            self._failures, self._good_s = 0, self._clock.monotonic()
        else:
            self._failures += 1
            if fault is not self._fault:
                self._log.error("storage.failed", fault=fault.value)
        self._fault = fault
        self._metrics.storage_ready(is_ready=self.state().is_ready)

    async def _run(self, heartbeat: Callable[[], None]) -> None:
        while True:
            began_s = self._clock.monotonic()
            await self.check()
            if self._fault is None:
                heartbeat()
            await self._clock.sleep(max(0.0, began_s + CHECK_EVERY_S - self._clock.monotonic()))
