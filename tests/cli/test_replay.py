"""`hullwatch replay`: from a file of candles to signals, as table, JSON, CSV and picture."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from limits import PROCESS_LIMIT_S
from typer.testing import Result

from hullwatch.domain.sessions.tokens import IST
from hullwatch.domain.signals.hma import hull_moving_average

Command = Callable[..., Result]
OF_SBIN = ("--symbol", "NSE:SBIN-EQ", "--period", "4")


def closes(count: int = 60) -> list[float]:
    """Return prices that go up and down, in paise."""
    return [round(100 + 5 * math.sin(place / 4), 2) for place in range(count)]


def candle_file(folder: Path, prices: list[float], name: str = "candles.csv") -> Path:
    """Write five-minute candles of one trading day from 09:15 IST."""
    began = datetime(2026, 6, 17, 9, 15, tzinfo=IST)
    rows = ["timestamp,open,high,low,close,volume"]
    for place, price in enumerate(prices):
        at = (began + timedelta(minutes=5 * place)).isoformat()
        rows.append(f"{at},{price},{price + 1},{price - 1},{price},{place}")
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def expected_crossings(prices: list[float], period: int) -> list[tuple[int, str]]:
    """Return (place, direction) of each crossing, from the batch average and its definition."""
    average, found = hull_moving_average(prices, period), []
    for place in range(1, len(prices)):
        before, now = average[place - 1], average[place]
        if before is None or now is None:
            continue
        if prices[place] > now and prices[place - 1] <= before:
            found.append((place, "up"))
        if prices[place] < now and prices[place - 1] >= before:
            found.append((place, "down"))
    return found


def test_signals_are_those_of_the_definition(command: Command, home: Path) -> None:
    """`--json` gives each crossing with its candle's moments, as computed from the batch average."""
    prices = closes()
    result = command("replay", str(candle_file(home, prices)), *OF_SBIN, "--rule", "cross", "--json")

    document = json.loads(result.stdout)
    began = datetime(2026, 6, 17, 9, 15, tzinfo=IST)
    found = [
        (
            (datetime.fromisoformat(signal["candleOpenedAt"]) - began) // timedelta(minutes=5),
            signal["direction"],
        )
        for signal in document["signals"]
    ]
    assert found == expected_crossings(prices, 4)
    assert len(found) == 4
    assert (document["symbol"], document["resolution"], document["candles"]) == ("NSE:SBIN-EQ", "5", 60)


def test_rules_can_be_chosen(command: Command, home: Path) -> None:
    """Each rule alone gives its own signals, and both together all of them."""
    file = str(candle_file(home, closes()))

    counts = {
        rule: len(json.loads(command("replay", file, *OF_SBIN, "--rule", rule, "--json").stdout)["signals"])
        for rule in ("cross", "turn", "both")
    }

    assert counts["cross"] > 0
    assert counts["turn"] > 0
    assert counts["both"] == counts["cross"] + counts["turn"]


def test_results_can_be_written(command: Command, home: Path) -> None:
    """`--csv` and `--plot` write whole files beside the table."""
    file, out, picture = candle_file(home, closes()), home / "out.csv", home / "out.png"

    result = command("replay", str(file), *OF_SBIN, "--csv", str(out), "--plot", str(picture))

    with out.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert result.exit_code == 0, result.stderr
    assert f"{len(rows)} signals" in result.stdout
    assert {row["symbol"] for row in rows} == {"NSE:SBIN-EQ"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in home.iterdir()) == ["candles.csv", "out.csv", "out.png"]


def test_unusable_rows_refuse_the_file_by_line(command: Command, home: Path) -> None:
    """Each bad row is named by its line, ten at most; nothing is written."""
    file = candle_file(home, closes())
    lines = file.read_text().splitlines()
    lines[4] = lines[4].replace("2026-06-17T09:30:00+05:30", "2026-06-17T09:30:00")
    for place in range(20, 33):
        lines[place] = lines[place].rsplit(",", 2)[0] + ",nan,1"
    file.write_text("\n".join(lines))

    result = command("replay", str(file), *OF_SBIN, "--csv", str(home / "out.csv"), "--json")

    said = result.stderr.splitlines()
    assert result.exit_code == 1
    assert result.stdout == ""
    assert said[0].startswith("line 5: The timestamp")
    assert said[1].startswith("line 21: The close")
    assert "and 4 more" in said[10]
    assert said[-1].startswith("hullwatch: 14 rows of ")
    assert not (home / "out.csv").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"date,price\n1,2\n",
        b"timestamp,open,high,low,close,volume\n",
        b"\xff\xfe\x00binary",
        b"\x00" * 1000,
        b"timestamp,open,high,low,close,volume\n" + b"9" * 5000 + b"\n",
        b'timestamp,open,high,low,close,volume\n"unclosed,1,1,1,1,1\n',
        b"timestamp,open,high,low,close,volume\n1750000000,1e999,1,1,1,1\n",
        b"timestamp,open,high,low,close,volume\n1750000000,1,1,1,\x1b[31m,1\n",
    ],
)
def test_hostile_files_are_refused_with_a_sentence(command: Command, home: Path, content: bytes) -> None:
    """Whatever a file holds, the answer is exit 1 and a sentence that does not steer the terminal."""
    file = home / "candles.csv"
    file.write_bytes(content)

    result = command("replay", str(file), *OF_SBIN)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("hullwatch: ")
    assert "\x1b" not in result.output


def test_what_cannot_be_written_is_said(command: Command, home: Path) -> None:
    """An output in a folder that does not exist is a sentence."""
    file = str(candle_file(home, closes()))

    for option, name in (("--csv", "missing/out.csv"), ("--plot", "missing/out.png")):
        result = command("replay", file, *OF_SBIN, option, name)

        assert result.exit_code == 1
        assert "missing" in result.stderr


def test_without_matplotlib_a_sentence_says_how_to_get_it(home: Path) -> None:
    """`--plot` without the optional library names the extra to install, before doing any work."""
    hide = (
        "import sys\n"
        "sys.modules['matplotlib'] = None\n"
        "from hullwatch.cli.program import run_program\n"
        "run_program(sys.argv[1:])\n"
    )
    file = str(candle_file(home, closes()))
    done = subprocess.run(
        (sys.executable, "-c", hide, "replay", file, *OF_SBIN, "--plot", "out.png"),
        capture_output=True,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
        start_new_session=True,
    )

    assert done.returncode == 1
    assert "hullwatch[plot]" in done.stderr
    assert "Traceback" not in done.stderr


def test_real_candles_replay(command: Command, home: Path, market_data: Path) -> None:
    """A month of real five-minute candles gives signals and no refusals."""
    file = next((market_data / "5min").glob("SBIN_5min_*.csv"))

    document = json.loads(command("replay", str(file), "--symbol", "NSE:SBIN-EQ", "--json").stdout)

    assert document["candles"] > 1000
    assert len(document["signals"]) > 100
