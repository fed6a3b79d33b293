"""Whether the services that hullwatch itself depends on answer."""

from dataclasses import dataclass

from hullwatch.domain.failures import StorageUnavailable
from hullwatch.services.context import Context
from hullwatch.services.ports import SharedChecks


@dataclass(frozen=True, slots=True)
class DependencyHealth:
    """Whether one dependency answers; `detail` holds no secret and is shown to anyone."""

    name: str
    is_ready: bool
    detail: str = ""
    is_essential: bool = True
    """False for what the server goes on without."""


class ServerHealth:
    """Checks the database and, where it is used, Redis."""

    def __init__(self, context: Context, *, shared: SharedChecks | None) -> None:
        self._store = context.store
        self._shared = shared

    async def check(self) -> tuple[DependencyHealth, ...]:
        """Return the state of each dependency."""
        try:
            await self._store.ping()
            database = DependencyHealth("database", is_ready=True)
        except StorageUnavailable:
            database = DependencyHealth("database", is_ready=False, detail="The database does not respond.")
        if self._shared is None:
            return (database,)
        is_ready = await self._shared.ping()
        detail = "" if is_ready else "Redis does not respond. Each process validates on its own meanwhile."
        return (database, DependencyHealth("redis", is_ready=is_ready, detail=detail, is_essential=False))
