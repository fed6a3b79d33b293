"""Prints a report: the machine and versions, and each figure with its target and result."""

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
    """One measured figure; one without a target explains another."""

    name: str
    measured: str
    target: str = ""
    is_met: bool | None = None

    @property
    def result(self) -> str:
        """Met, missed or empty."""
        return {True: "met", False: "MISSED", None: ""}[self.is_met]


def header() -> str:
    """Return the machine, its load and the versions of packages."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load {load}\n{packages}"
    )


def print_report(title: str, figures: Sequence[Figure], method: str, *, is_quick: bool = False) -> None:
    """Print the figures of one benchmark and how they were measured."""
    print(f"{title}{' (quick: smaller than the target size)' if is_quick else ''}")
    name_width = max(len(figure.name) for figure in figures)
    target_width = max(len(figure.target) for figure in figures)
    for figure in figures:
        line = f"  {figure.name:<{name_width}}  {figure.target:<{target_width}}  {figure.measured}"
        print(f"{line}  {figure.result}".rstrip())
    print(textwrap.fill(f"Method: {method}", WIDTH, initial_indent="  ", subsequent_indent="  "), flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that this percentage of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float], unit: str = "s", scale: float = 1.0, digits: int = 3) -> str:
    """Return median, p95, p99 and maximum as text."""
    shown = (
        ("p50", statistics.median(values)),
        ("p95", percentile(values, 95)),
        ("p99", percentile(values, 99)),
        ("max", max(values)),
    )
    return ", ".join(f"{name} {value * scale:.{digits}f}" for name, value in shown) + f" {unit}"
