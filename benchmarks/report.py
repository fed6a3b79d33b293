"""How a measurement is told: the header with what it ran on, figures beside their targets, and the word met or missed.

What is measured, and how, belongs to the module of each figure.
"""

import math
import os
import platform
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

PACKAGES = ("hullwatch", "aiohttp", "fastapi", "starlette", "uvicorn", "httptools", "SQLAlchemy", "orjson")
WIDTH = 110


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; without a target it is told for what it explains."""

    name: str
    measured: str
    target: str = ""
    is_met: bool | None = None

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        return {True: "met", False: "MISSED", None: ""}[self.is_met]


def header() -> str:
    """Return what the figures of this run depend on."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load {load}\n{packages}"
    )


def tell(title: str, figures: Sequence[Figure], method: str, *, is_quick: bool = False) -> None:
    """Print the table of one benchmark and how its figures were taken."""
    print(f"{title}{' (quick: smaller than the target speaks of)' if is_quick else ''}")
    name_width = max(len(figure.name) for figure in figures)
    target_width = max(len(figure.target) for figure in figures)
    for figure in figures:
        line = f"  {figure.name:<{name_width}}  {figure.target:<{target_width}}  {figure.measured}"
        print(f"{line}  {figure.verdict}".rstrip())
    print(textwrap.fill(f"Method: {method}", WIDTH, initial_indent="  ", subsequent_indent="  "), flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float], unit: str = "s", scale: float = 1.0, digits: int = 3) -> str:
    """Return median, p95, p99 and maximum in words."""
    shown = (
        ("p50", statistics.median(values)),
        ("p95", percentile(values, 95)),
        ("p99", percentile(values, 99)),
        ("max", max(values)),
    )
    return ", ".join(f"{name} {value * scale:.{digits}f}" for name, value in shown) + f" {unit}"
