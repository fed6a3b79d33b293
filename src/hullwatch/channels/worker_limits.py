"""How much of the machine a worker for foreign services may use: the receiver of a message decides what it answers."""

import argparse
import math
import os
import resource
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

_MEGABYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The limits of one process; Apprise with all plugins needs about 200 MB of address space, most of it untouched."""

    memory_mb: int = 512
    kept_mb: int = 200
    """A process that keeps more memory than this after a request ends and is replaced."""
    cpu_s: int = 20
    """For each request."""
    files: int = 64

    def as_arguments(self) -> list[str]:
        """Return the limits as arguments of the command line."""
        return [f"--{name.replace('_', '-')}={value}" for name, value in asdict(self).items()]

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the arguments to a command line."""
        for field in fields(cls):
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)

    def apply(self) -> None:
        """Limit this process. The kernel ends it first when the machine runs out of memory."""
        _limit(resource.RLIMIT_AS, self.memory_mb * _MEGABYTE)
        _limit(resource.RLIMIT_NOFILE, self.files)
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_CORE, 0)  # a core file would contain messages and addresses
        with suppress(OSError):  # only Linux has it
            Path("/proc/self/oom_score_adj").write_text("1000")

    def allow_request(self) -> None:
        """Allow the CPU time of one more request; the process is killed when it uses more."""
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + self.cpu_s, hard))


class ResidentMemory:
    """The memory of this process; the file stays open, because the rules of a worker forbid to open it later."""

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open("/proc/self/statm", os.O_RDONLY)
        except OSError:  # only Linux has it
            self._file = None

    def megabytes(self) -> float:
        """Return how much is in use now, 0 where that is not known."""
        if self._file is None:
            return 0.0
        pages = int(os.pread(self._file, 128, 0).split()[1])
        return pages * resource.getpagesize() / _MEGABYTE


def _limit(kind: int, value: int) -> None:
    with suppress(ValueError, OSError):  # some systems do not have every limit
        resource.setrlimit(kind, (value, value))
