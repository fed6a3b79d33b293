"""Logs a failure once when it begins and once when it has ended."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

import structlog

MAX_FAILURES: Final = 10_000


class FailureLog:
    """Remembers which failures have been logged.

    The memory is bounded: beyond `max_failures` the oldest one is dropped, and is logged again when it occurs
    again.
    """

    def __init__(
        self, component: str, *, failed: str, recovered: str, max_failures: int = MAX_FAILURES
    ) -> None:
        """`component` and the events `failed` and `recovered` name the log lines."""
        self._failed = failed
        self._recovered = recovered
        self._max_failures = max_failures
        self._causes: OrderedDict[Hashable, str] = OrderedDict()
        self._log = structlog.get_logger(component=component)

    def __len__(self) -> int:
        return len(self._causes)

    def record_failure(self, key: Hashable, cause: str, **fields: object) -> None:
        """Log a failure, unless it was logged with the same cause and has not ended since."""
        if self._causes.get(key) == cause:
            return
        self._causes[key] = cause
        if len(self._causes) > self._max_failures:
            self._causes.popitem(last=False)
        self._log.warning(self._failed, cause=cause, **fields)

    def record_success(self, key: Hashable, **fields: object) -> None:
        """Log the end of a failure, if one was logged."""
        if self._causes.pop(key, None) is not None:
            self._log.info(self._recovered, **fields)
