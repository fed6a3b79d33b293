"""``hullwatch demo``: the whole product on this machine, with the simulator in the place of Fyers."""

from hullwatch.cli.demo.environment import DemoOptions
from hullwatch.cli.demo.run import run_demo

__all__ = ["DemoOptions", "run_demo"]
