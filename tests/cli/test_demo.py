"""`hullwatch demo`: its morning, from the first login to the bell, as it is told on the terminal."""

import asyncio
import re
from datetime import datetime

from limits import PROCESS_LIMIT_S

from hullwatch.cli.demo import DemoOptions, run_demo
from hullwatch.cli.demo.teller import Teller
from hullwatch.cli.server import listen_on

MORNING = (
    r"2 of 3 ready for the bell",
    r"not ready, because .*Fyers session",
    r"on the phone: Your Fyers session ends at .* \[Log in to Fyers\]",
    r"DISCONNECTED \(expired\)",
    r"on the phone: Your Fyers session has expired \[Log in to Fyers\]",
    r"the broker counted 0 calls during the absence",
    r"taps the link that hullwatch sent",
    r"on the phone: You are ready now",
    r"3 of 3 ready for the bell",
)
"""What has to be told before the bell, among all the other lines."""
BELL = "the bell: the market is open"


class Listener(Teller):
    """Keeps the lines, and says when the bell has rung."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.has_rung = asyncio.Event()

    def tell(self, at: datetime, who: str, what: str, style: str = "plain") -> None:
        """Keep a line of the story."""
        self.lines.append(what)
        if BELL in what:
            self.has_rung.set()

    def say(self, text: str = "", style: str = "") -> None:
        """Lines outside the story are not kept."""


async def test_the_morning_is_told_to_the_bell(tmp_path) -> None:
    """A warning, readiness, an end, and a login by the link on a phone that is signed in nowhere."""
    with listen_on("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    teller = Listener()
    playing = asyncio.create_task(
        run_demo(DemoOptions(port=port, speed=120, data_dir=tmp_path), teller=teller)
    )
    ringing = asyncio.create_task(teller.has_rung.wait())

    await asyncio.wait({playing, ringing}, return_when=asyncio.FIRST_COMPLETED, timeout=PROCESS_LIMIT_S)
    playing.cancel()
    ringing.cancel()
    await asyncio.wait({playing, ringing})

    told = "\n".join(teller.lines)
    assert teller.has_rung.is_set(), told
    for wanted in MORNING:
        assert re.search(wanted, told), f"{wanted}\n{told}"
    renewed = told.rindex("connected to Fyers until", 0, told.index("You are ready now"))
    assert told.index("taps the link") < renewed, told  # what was done is told before what came of it
