"""One control call: its address, its body and answer, and what it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from hullwatch.simulator.broker import Broker
from hullwatch.simulator.control.input import ControlOutput


@dataclass(frozen=True, slots=True)
class Given:
    """What came with a call: the parts of its path, its query and its body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True, slots=True)
class ControlCall:
    """One control call.

    Args:
        method: HTTP method.
        path: Path with its parts in braces, as `/simulator/faults/{id}`.
        summary: What it does, in one line.
        answer: The shape of its answer.
        act: Carries it out.
        body: The shape of its body, if it has one.
        examples: Bodies that can be sent.
        query: Names in its query, each with its meaning.
    """

    method: str
    path: str
    summary: str
    answer: type[ControlOutput]
    act: Callable[[Broker, Given], ControlOutput]
    body: type[BaseModel] | None = None
    examples: tuple[dict[str, Any], ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
