"""`python -m hullwatch.simulator`: options, exit codes and sentences."""

import socket

import pytest

from hullwatch.simulator.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "99999"], ["--port", "x"], ["--speed", "-1"], ["--start", "tomorrow"], ["--start", "2026-11-23T10:00"],
        ["--colour", "red"],
    ],
)  # fmt: skip
def test_wrong_usage_exits_with_2(arguments, capsys):
    """The check runs before anything starts."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_missing_folder_exits_with_1_and_a_sentence(tmp_path, capsys):
    """One line on stderr names the folder."""
    status = main(["--port", "0", "--candles", str(tmp_path / "nowhere")])
    printed = capsys.readouterr().err

    assert status == 1
    assert printed.count("\n") == 1
    assert "nowhere" in printed


def test_a_bad_candle_file_exits_with_1(tmp_path, capsys):
    """The error text names file and line."""
    (tmp_path / "ACME_5min_x.csv").write_text("timestamp,open,high,low,close,volume\nnonsense\n")

    status = main(["--port", "0", "--candles", str(tmp_path)])

    assert status == 1
    assert "ACME_5min_x.csv line 2" in capsys.readouterr().err


def test_a_gap_exits_with_1_and_names_the_option(tmp_path, capsys):
    """Times without a zone are read in the zone of the option."""
    rows = "2026-06-17 03:45,1,1,1,1,1\n2026-06-19 03:45,1,1,1,1,1\n"
    (tmp_path / "ACME_5min_x.csv").write_text("timestamp,open,high,low,close,volume\n" + rows)

    status = main(["--port", "0", "--timezone", "UTC", "--candles", str(tmp_path)])
    printed = capsys.readouterr().err

    assert status == 1
    assert "1 trading session is missing, the first on Thu 18 Jun 2026" in printed
    assert "--allow-gaps replays it anyway" in printed


def test_a_taken_port_exits_with_1_and_a_sentence(capsys):
    """The error text names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status = main(["--port", str(port)])

    assert status == 1
    assert f"127.0.0.1:{port}" in capsys.readouterr().err


def test_help_exits_with_0(capsys):
    """The output lists the options."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    assert "--candles" in capsys.readouterr().out
