"""The parts of the programme, in the order in which they run."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from prove.result import PartResult, Size

Run = Callable[[int, Size], PartResult]


@dataclass(frozen=True, slots=True)
class Part:
    """One experiment; its module has a function ``run_part(seed, size)``."""

    name: str
    title: str
    module: str

    def load(self) -> Run:
        """Import the module, which needs the packages of the tests."""
        run: Run = importlib.import_module(self.module).run_part
        return run


PARTS = (
    Part("false-disconnects", "Faulted probes disconnect nobody", "prove.false_disconnects"),
    Part("detection", "Expired and revoked sessions are found", "prove.detection"),
    Part("no-calls", "Disconnected accounts make no call", "prove.no_calls"),
    Part("recovery", "Recovery equals an uninterrupted twin", "prove.recovery"),
    Part("kills", "Killed processes lose and double nothing", "prove.kills"),
    Part("machines", "State machines against models", "prove.machines"),
)
BY_NAME = {part.name: part for part in PARTS}
