"""The typed results of the parts, and how results of several runs are added up."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from prove.bounds import upper_bound


class Size(StrEnum):
    """How much of a part is run."""

    DEFAULT = "default"
    """All parts together take at most 15 minutes on two cores."""
    FULL = "full"
    """The published size; each part takes at most 60 minutes."""


class Conclusion(StrEnum):
    """The result of one figure."""

    REACHED = "reached"
    NOT_REACHED = "NOT REACHED"
    TOO_FEW = "not reached: too few trials"
    FOR_COMPARISON = ""


@dataclass(frozen=True, slots=True)
class Count:
    """Failures among trials; none may fail."""

    name: str
    failures: int
    trials: int
    wanted: int
    """Trials that the published figure needs."""

    @property
    def conclusion(self) -> Conclusion:
        """Whether no trial failed and there were enough of them."""
        if self.failures:
            return Conclusion.NOT_REACHED
        return Conclusion.REACHED if self.trials >= self.wanted else Conclusion.TOO_FEW

    @property
    def text(self) -> str:
        """The count with its bound."""
        bound = f"at most {100 * upper_bound(self.failures, self.trials):.2g} %"
        return f"{self.failures:,} of {self.trials:,} (of {self.wanted:,} wanted); {bound}"

    def added_to(self, other: "Count") -> "Count":
        """Return both counts together."""
        return Count(
            self.name,
            self.failures + other.failures,
            self.trials + other.trials,
            max(self.wanted, other.wanted),
        )


@dataclass(frozen=True, slots=True)
class Durations:
    """Measured durations in seconds; none may exceed the limit, if there is one."""

    name: str
    seconds: tuple[float, ...]
    limit_s: float | None = None

    @property
    def conclusion(self) -> Conclusion:
        """Whether all are within the limit."""
        if self.limit_s is None:
            return Conclusion.FOR_COMPARISON
        if not self.seconds:
            return Conclusion.TOO_FEW
        return Conclusion.REACHED if max(self.seconds) <= self.limit_s else Conclusion.NOT_REACHED

    @property
    def text(self) -> str:
        """Median, p95, p99 and maximum."""
        if not self.seconds:
            return "none measured"
        ordered = sorted(self.seconds)
        parts = [
            f"{name} {ordered[max(0, math.ceil(len(ordered) * share) - 1)]:.1f} s"
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
        ]
        limit = "" if self.limit_s is None else f"; limit {self.limit_s:g} s"
        return f"{', '.join(parts)} of {len(ordered):,}{limit}"

    def added_to(self, other: "Durations") -> "Durations":
        """Return all durations of both."""
        return Durations(self.name, other.seconds + self.seconds, self.limit_s)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured number; it must lie on the right side of its limit, if there is one."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    is_highest: bool = True
    """Whether the limit is the highest allowed value, and not the lowest."""

    @property
    def conclusion(self) -> Conclusion:
        """Whether the limit is kept."""
        if self.limit is None:
            return Conclusion.FOR_COMPARISON
        is_kept = self.value <= self.limit if self.is_highest else self.value >= self.limit
        return Conclusion.REACHED if is_kept else Conclusion.NOT_REACHED

    @property
    def text(self) -> str:
        """The number with its unit and limit."""
        side = "at most" if self.is_highest else "at least"
        limit = "" if self.limit is None else f"; {side} {self.limit:g}"
        return f"{self.value:,.1f} {self.unit}{limit}"

    def added_to(self, other: "Measure") -> "Measure":
        """Return the worse one of both."""
        pick = max if self.is_highest else min
        return pick((self, other), key=lambda one: one.value)


Figure = Count | Durations | Measure
_KINDS: Mapping[str, type[Count] | type[Durations] | type[Measure]] = {
    "count": Count,
    "durations": Durations,
    "measure": Measure,
}


@dataclass(frozen=True, slots=True)
class PartResult:
    """What one run of a part found."""

    part: str
    seed: int
    size: Size
    figures: tuple[Figure, ...]
    method: str
    findings: tuple[str, ...] = ()
    """How to repeat each failure, a line each."""
    took_s: float = field(default=0.0, compare=False)


def add_up(results: Sequence[PartResult]) -> tuple[Figure, ...]:
    """Return the figures of several runs of one part, added up by name in the order of the first run."""
    total: dict[str, Figure] = {}
    for result in results:
        for figure in result.figures:
            earlier = total.get(figure.name)
            total[figure.name] = figure if earlier is None else _added(figure, earlier)
    return tuple(total.values())


def _added(figure: Figure, earlier: Figure) -> Figure:
    match figure, earlier:
        case (Count(), Count()):
            return figure.added_to(earlier)
        case (Durations(), Durations()):
            return figure.added_to(earlier)
        case (Measure(), Measure()):
            return figure.added_to(earlier)
    raise TypeError(f"two kinds of figures have the name {figure.name!r}")


def as_json(result: PartResult) -> dict[str, Any]:
    """Return a result as a value of JSON."""
    names = {kind: name for name, kind in _KINDS.items()}
    figures = [{"kind": names[type(figure)], **asdict(figure)} for figure in result.figures]
    return {**asdict(result), "figures": figures}


def from_json(value: Mapping[str, Any]) -> PartResult:
    """Return the result that `as_json` made this value of."""
    figures = []
    for stored in value["figures"]:
        fields = {name: part for name, part in stored.items() if name != "kind"}
        if "seconds" in fields:
            fields["seconds"] = tuple(fields["seconds"])
        figures.append(_KINDS[stored["kind"]](**fields))
    return PartResult(
        part=value["part"],
        seed=value["seed"],
        size=Size(value["size"]),
        figures=tuple(figures),
        method=value["method"],
        findings=tuple(value["findings"]),
        took_s=value["took_s"],
    )
