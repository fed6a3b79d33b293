"""Whether the services that hullwatch itself depends on answer."""

from collections.abc import Callable
from dataclasses import dataclass

from hullwatch.services.context import Context
from hullwatch.services.operations.storage_health import StorageHealth
from hullwatch.services.ports import SharedChecks
from hullwatch.services.texts.storage import storage_sentence


@dataclass(frozen=True, slots=True)
class DependencyHealth:
    """Whether one dependency answers; `detail` holds no secret and is shown to anyone."""

    name: str
    is_ready: bool
    detail: str = ""
    is_essential: bool = True
    """False for what the server goes on without."""


class ServerHealth:
    """Reports on the database and, where they are used, Redis and the simulator's clock."""

    def __init__(
        self,
        context: Context,
        *,
        storage: StorageHealth,
        shared: SharedChecks | None,
        clock_responds: Callable[[], bool] | None = None,
        clock_problem: Callable[[], str] = lambda: "",
    ) -> None:
        self._context = context
        self._storage = storage
        self._shared = shared
        self._clock_responds = clock_responds
        self._clock_problem = clock_problem

    async def check(self) -> tuple[DependencyHealth, ...]:
        """Return the state of each dependency."""
        storage = self._storage.state()
        found = [DependencyHealth("database", is_ready=storage.is_ready, detail=storage_sentence(storage))]
        if self._shared is not None:
            is_ready = await self._shared.ping()
            detail = (
                "" if is_ready else "Redis does not respond. Each process validates on its own meanwhile."
            )
            found.append(DependencyHealth("redis", is_ready=is_ready, detail=detail, is_essential=False))
        if self._clock_responds is not None:
            found.append(self._clock(is_ready=self._clock_responds()))
        elif problem := self._clock_problem():
            # Not essential: monitoring goes on, and no session expires by the clock alone.
            found.append(DependencyHealth("clock", is_ready=False, detail=problem, is_essential=False))
        return tuple(found)

    def _clock(self, *, is_ready: bool) -> DependencyHealth:
        """Return the state of the simulator's clock, with the server's time, so that a test can wait for it."""
        detail = f"The server's time is {self._context.clock.now().isoformat()}."
        if not is_ready:
            detail = f"The simulator's clock does not respond. {detail} It goes on at the last speed."
        return DependencyHealth("clock", is_ready=is_ready, detail=detail, is_essential=False)
