"""``hullwatch demo``: the whole product on this machine, with the simulator in Fyers' place, and a story that it tells line by line.

``stage`` starts simulator and server, ``cast`` are the users, acting through the HTTP API like anybody else, ``story`` is what happens to
them, ``teller`` puts it on the terminal. The server meets the simulator only as a base address.
"""

from hullwatch.cli.demo.options import DemoOptions
from hullwatch.cli.demo.run import run_demo

__all__ = ["DemoOptions", "run_demo"]
