"""`hullwatch replay`: the signals of a file of candles as table, JSON, CSV and picture."""

import csv
import json
import math
import struct
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


def test_gaps_refuse_the_replay_unless_they_are_allowed(command: Command, home: Path) -> None:
    """The sentence names the hole, the line before it and the option; single candles are only noted."""
    file = candle_file(home, closes())
    lines = file.read_text().splitlines()
    del lines[5], lines[20:40]
    file.write_text("\n".join(lines))

    refused = command("replay", str(file), *OF_SBIN)
    allowed = command("replay", str(file), *OF_SBIN, "--allow-gaps")

    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "1 candle is missing: 09:35 on 17 Jun 2026" in refused.stderr
    assert "from 10:55 on 17 Jun 2026 to 12:35 on 17 Jun 2026 (after line 20)" in refused.stderr
    assert "--allow-gaps" in refused.stderr
    assert allowed.exit_code == 0
    assert "1 hole is longer than an hour" in allowed.stderr
    assert "39 candles" in allowed.stdout


def test_times_without_a_zone_follow_the_option(command: Command, home: Path) -> None:
    """The zone that was used is printed; an unknown one is wrong usage."""
    file = candle_file(home, closes())
    file.write_text(file.read_text().replace("+05:30", ""))
    ist = command("replay", str(file), *OF_SBIN, "--json")
    berlin = command("replay", str(file), *OF_SBIN, "--json", "--timezone", "Europe/Berlin", "--allow-gaps")
    opened = [json.loads(done.stdout)["signals"][0]["candleOpenedAt"] for done in (ist, berlin)]

    assert "60 times have no zone, read as IST" in ist.stderr
    assert "read as Europe/Berlin" in berlin.stderr
    assert datetime.fromisoformat(opened[1]) - datetime.fromisoformat(opened[0]) == timedelta(hours=3.5)
    assert command("replay", str(file), *OF_SBIN, "--timezone", "Nowhere").exit_code == 2


def test_the_summary_judges_each_rule(command: Command, home: Path) -> None:
    """The sine crosses its average four times in a day, and the figures are the same in both outputs."""
    file = str(candle_file(home, closes()))
    printed = command("replay", file, *OF_SBIN, "--rule", "cross").stdout.splitlines()[-1]
    (summary,) = json.loads(command("replay", file, *OF_SBIN, "--rule", "cross", "--json").stdout)["summary"]

    assert printed.startswith("  cross: 4.0 signals a day over 1 day")
    assert "0 of 4 reversed within 3 candles" in printed
    assert {key: summary[key] for key in ("rule", "signals", "days", "signalsPerDay", "whipsaws")} == {
        "rule": "cross",
        "signals": 4,
        "days": 1,
        "signalsPerDay": 4.0,
        "whipsaws": 0,
    }
    for candles, move in summary["medianMovePercent"].items():
        assert f"{move:+.2f} % after {candles} candles" in printed


def test_a_long_replay_is_drawn_in_panels(command: Command, home: Path) -> None:
    """Each of 800 candles has at least four pixels."""
    prices = closes(75 * 11)
    file = home / "candles.csv"
    sessions = [datetime(2026, 6, day, 9, 15, tzinfo=IST) for day in (1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 15)]
    moments = [opens + timedelta(minutes=5 * slot) for opens in sessions for slot in range(75)]
    rows = [f"{at.isoformat()},{p},{p},{p},{p},1" for at, p in zip(moments, prices, strict=True)]
    file.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]))

    result = command("replay", str(file), *OF_SBIN, "--plot", str(home / "out.png"))

    assert result.exit_code == 0, result.stderr
    width, height = struct.unpack(">II", (home / "out.png").read_bytes()[16:24])
    assert width >= 4 * 400
    assert height >= 3 * 400


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
