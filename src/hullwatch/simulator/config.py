"""The settings of a simulator."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

from hullwatch.domain.market.calendar import IST


class UnusableConfig(Exception):  # noqa: N818  failures are named as facts
    """A setting that the user can correct; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """The settings of one simulator.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        speed: Simulated seconds per real second; 0 stands still until the clock is advanced.
        candles: Folder of candle files to replay; `None` for the synthetic market.
        seed: Seed of the synthetic market and of every random choice among faults.
        starts_at: Simulated moment of the start, with an offset. By default the present for the synthetic
            market, and 09:15 IST of the last trading day but two for candle files.
        lead_s: Simulated seconds by which the default start is earlier; unused with `starts_at`.
        timezone: The zone of times in candle files that have none.
        allow_gaps: Whether candle files may lack sessions, or have rows of another resolution.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    speed: float = 1.0
    candles: Path | None = None
    seed: int = 1
    starts_at: datetime | None = None
    lead_s: float = 0.0
    timezone: tzinfo = IST
    allow_gaps: bool = False
