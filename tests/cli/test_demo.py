"""`hullwatch demo` from its start to the market open."""

import asyncio
import re
from datetime import datetime
from pathlib import Path

from limits import PROCESS_LIMIT_S

from hullwatch.cli.demo import DemoOptions, run_demo
from hullwatch.cli.demo.narrator import Printer
from hullwatch.cli.server import listen_on

BEFORE_MARKET_OPEN = (
    r"2 of 3 are ready for the market open",
    r"not ready: .*Fyers session",
    r"webhook notice: Your Fyers session expires at .* \[with login link\]",
    r"disconnected from Fyers \(expired\)",
    r"webhook notice: Your Fyers session expired \[with login link\]",
    r"Fyers received 0 calls for this account while it was disconnected",
    r"opens the login link from hullwatch",
    r"webhook notice: Ready again",
    r"3 of 3 are ready for the market open",
)
MARKET_OPENS = "— the market opens —"


class RecordingPrinter(Printer):
    """Keeps the lines and reports the market open."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.plain: list[str] = []
        self.market_opened = asyncio.Event()

    def print_event(self, at: datetime, who: str, what: str, style: str = "plain") -> None:
        """Keep a line."""
        self.lines.append(what)
        if MARKET_OPENS in what:
            self.market_opened.set()

    def print_line(self, text: str = "", style: str = "") -> None:
        """Keep a line without a time."""
        self.plain.append(text)


async def test_the_morning_of_the_demo(tmp_path: Path) -> None:
    """It shows an expiry warning, readiness, an expiry, and a login by the link in the notice."""
    with listen_on("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    printer = RecordingPrinter()
    demo = asyncio.create_task(
        run_demo(DemoOptions(port=port, speed=120, data_dir=tmp_path), printer=printer)
    )
    opened = asyncio.create_task(printer.market_opened.wait())

    await asyncio.wait({demo, opened}, return_when=asyncio.FIRST_COMPLETED, timeout=PROCESS_LIMIT_S)
    demo.cancel()
    opened.cancel()
    await asyncio.wait({demo, opened})
    if not demo.cancelled():
        demo.result()

    printed = "\n".join(printer.lines)
    assert printer.market_opened.is_set(), printed
    for expected in BEFORE_MARKET_OPEN:
        assert re.search(expected, printed), f"{expected}\n{printed}"
    # The login is printed before its result.
    renewed = printed.rindex("connected to Fyers until", 0, printed.index("Ready again"))
    assert printed.index("opens the login link") < renewed, printed


async def test_a_fast_demo_of_several_days_raises_no_false_alarm(tmp_path: Path) -> None:
    """A night that is skipped makes no job stuck; address and logins are printed again each morning."""
    with listen_on("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    printer = RecordingPrinter()
    async with asyncio.timeout(PROCESS_LIMIT_S):
        await run_demo(
            DemoOptions(port=port, speed=2000, users=1, days=3, data_dir=tmp_path), printer=printer
        )

    notices = [line for line in printer.lines if line.startswith("notice:")]
    assert not [line for line in notices if "job" in line]
    assert sum("Address" in line for line in printer.plain) == 3
    assert sum("Password" in line for line in printer.plain) == 3
    assert printer.plain[-1] == "The demo has stopped."
