"""What can be chosen about the demo."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How to run the demo.

    Args:
        port: The server's port on 127.0.0.1.
        speed: Simulated seconds per second.
        users: How many users watch; one lives through the day, a second one's token runs out, a third one's is revoked.
        candles: Folder of candle files to replay; `None` for the synthetic market.
        data_dir: Where to keep the database; `None` for a folder that is removed afterwards.
        days: Trading days to play before ending by itself; `None` to go on until Ctrl-C.
    """

    port: int = 8000
    speed: float = 60.0
    users: int = 3
    candles: Path | None = None
    data_dir: Path | None = None
    days: int | None = None
