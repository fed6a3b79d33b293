"""`hullwatch replay`: the signals of a file of candles as table, JSON, CSV and picture."""

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
    """Return prices that rise and fall like a sine."""
    return [round(100 + 5 * math.sin(index / 4), 2) for index in range(count)]


def candle_file(folder: Path, prices: list[float], name: str = "candles.csv") -> Path:
    """Write five-minute candles of one trading day from 09:15 IST."""
    began = datetime(2026, 6, 17, 9, 15, tzinfo=IST)
    rows = ["timestamp,open,high,low,close,volume"]
    for index, price in enumerate(prices):
        at = (began + timedelta(minutes=5 * index)).isoformat()
        rows.append(f"{at},{price},{price + 1},{price - 1},{price},{index}")
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def expected_crossings(prices: list[float], period: int) -> list[tuple[int, str]]:
    """Return (index, direction) of each crossing, computed from the definition of the rule."""
    average, found = hull_moving_average(prices, period), []
    for index in range(1, len(prices)):
        before, now = average[index - 1], average[index]
        if before is None or now is None:
            continue
        if prices[index] > now and prices[index - 1] <= before:
            found.append((index, "up"))
        if prices[index] < now and prices[index - 1] >= before:
            found.append((index, "down"))
    return found


def test_signals_match_the_definition(command: Command, home: Path) -> None:
    """The expected crossings come from `hull_moving_average`, which computes all values at once."""
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
    """`both` gives the signals of the two rules together."""
    file = str(candle_file(home, closes()))

    counts = {
        rule: len(json.loads(command("replay", file, *OF_SBIN, "--rule", rule, "--json").stdout)["signals"])
        for rule in ("cross", "turn", "both")
    }

    assert counts["cross"] > 0
    assert counts["turn"] > 0
    assert counts["both"] == counts["cross"] + counts["turn"]


def test_results_are_written_to_files(command: Command, home: Path) -> None:
    """`--csv` and `--plot` leave no draft files behind."""
    file, out, picture = candle_file(home, closes()), home / "out.csv", home / "out.png"

    result = command("replay", str(file), *OF_SBIN, "--csv", str(out), "--plot", str(picture))

    with out.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert result.exit_code == 0, result.stderr
    assert f"{len(rows)} signals" in result.stdout
    assert {row["symbol"] for row in rows} == {"NSE:SBIN-EQ"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in home.iterdir()) == ["candles.csv", "out.csv", "out.png"]


def test_unusable_rows_are_listed_by_line_number(command: Command, home: Path) -> None:
    """At most ten rows are listed, and nothing is written."""
    file = candle_file(home, closes())
    lines = file.read_text().splitlines()
    lines[4] = lines[4].replace("2026-06-17T09:30:00+05:30", "2026-06-17T09:30:00")
    for index in range(20, 33):
        lines[index] = lines[index].rsplit(",", 2)[0] + ",nan,1"
    file.write_text("\n".join(lines))

    result = command("replay", str(file), *OF_SBIN, "--csv", str(home / "out.csv"), "--json")

    printed = result.stderr.splitlines()
    assert result.exit_code == 1
    assert result.stdout == ""
    assert printed[0].startswith("line 5: The timestamp")
    assert printed[1].startswith("line 21: The close")
    assert "and 4 more" in printed[10]
    assert printed[-1].startswith("hullwatch: 14 rows of ")
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
def test_malformed_files_are_refused_with_a_sentence(command: Command, home: Path, content: bytes) -> None:
    """The sentence contains no control characters of the file, which could change the terminal."""
    file = home / "candles.csv"
    file.write_bytes(content)

    result = command("replay", str(file), *OF_SBIN)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("hullwatch: ")
    assert "\x1b" not in result.output


def test_an_unwritable_result_is_reported(command: Command, home: Path) -> None:
    """Covered: files in a folder that does not exist."""
    file = str(candle_file(home, closes()))

    for option, name in (("--csv", "missing/out.csv"), ("--plot", "missing/out.png")):
        result = command("replay", file, *OF_SBIN, option, name)

        assert result.exit_code == 1
        assert "missing" in result.stderr


def test_plot_without_matplotlib_names_the_extra(home: Path) -> None:
    """The user learns it before the replay runs."""
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
    """A month of five-minute candles of SBIN is read without a refused row."""
    file = next((market_data / "5min").glob("SBIN_5min_*.csv"))

    document = json.loads(command("replay", str(file), "--symbol", "NSE:SBIN-EQ", "--json").stdout)

    assert document["candles"] > 1000
    assert len(document["signals"]) > 100
