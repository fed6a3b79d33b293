"""Help, version, exit codes, and no traceback for any mistake of a user."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from limits import PROCESS_LIMIT_S
from typer.testing import Result

from hullwatch import __version__
from hullwatch.cli.output import os_sentence
from hullwatch.cli.runner import explained_failures, sentence_of
from hullwatch.domain.failures import NotFound
from hullwatch.settings import SettingsRefused

COMMANDS = (
    (),
    ("demo",),
    ("serve",),
    ("simulator",),
    ("users",),
    ("users", "add"),
    ("users", "list"),
    ("users", "disconnect"),
    ("users", "remove"),
    ("tokens",),
    ("tokens", "validate"),
    ("replay",),
    ("keys",),
    ("keys", "rotate"),
    ("db",),
    ("db", "upgrade"),
    ("db", "backup"),
    ("db", "check"),
    ("doctor",),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: Callable[..., Result], words: tuple[str, ...]) -> None:
    """`--help` exits 0 and prints the usage."""
    result = command(*words, "--help")

    assert result.exit_code == 0
    assert "Usage: hullwatch" in result.stdout


def test_version_is_printed(command: Callable[..., Result]) -> None:
    """Nothing else is printed, so that scripts can read it."""
    result = command("--version")

    assert (result.exit_code, result.stdout) == (0, f"hullwatch {__version__}\n")


WRONG_USAGE = (
    ("nonsense",),
    ("serve", "--port", "70000"),
    ("serve", "--port", "x"),
    ("simulator", "--port", "-1"),
    ("simulator", "--speed", "nan-ish"),
    ("simulator", "--start", "2026-06-17T09:15:00"),
    ("simulator", "--start", "yesterday"),
    ("demo", "--users", "0"),
    ("users", "add"),
    ("users", "add", "a@example.com", "--role", "king"),
    ("users", "list", "--disconnected-since", "soon"),
    ("users", "list", "--disconnected-since", "-1h"),
    ("users", "list", "--disconnected-since", "0h"),
    ("users", "list", "--disconnected-since", "999999w"),
    ("users", "list", "--disconnected-since", "٣h"),
    ("users", "disconnect"),
    ("tokens", "validate"),
    ("tokens", "validate", "a@example.com", "--all"),
    ("replay",),
    ("replay", "x.csv"),
    ("replay", "x.csv", "--symbol", "SBIN"),
    ("replay", "x.csv", "--symbol", "nse:sbin-eq"),
    ("replay", "x.csv", "--symbol", "NSE:SBIN-EQ", "--period", "1"),
    ("replay", "x.csv", "--symbol", "NSE:SBIN-EQ", "--resolution", "7"),
    ("replay", "x.csv", "--symbol", "NSE:SBIN-EQ", "--rule", "all"),
    ("replay", "x.csv", "--symbol", "NSE:SBIN-EQ", "--plot", "x.exe"),
    ("replay", "x.csv", "--symbol", "NSE:SBIN-EQ", "--csv", "./x.csv"),
    ("db", "backup"),
)


@pytest.mark.parametrize("words", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_exits_2(command: Callable[..., Result], home: Path, words: tuple[str, ...]) -> None:
    """Wrong usage is refused before any file is created."""
    result = command(*words)

    assert result.exit_code == 2
    assert result.stderr
    assert list(home.iterdir()) == []


FAILURES = (
    (("users", "disconnect", "nobody@example.com"), {}, "no user"),
    (("users", "disconnect", "usr_\x1b[31m\n"), {}, "no user"),
    (("users", "remove", "nobody", "--yes"), {}, "no user"),
    (("users", "add", "not-an-address"), {}, "e-mail"),
    (("users", "add", "a@example.com", "--name", "x" * 300), {}, "name"),
    (("tokens", "validate", "nobody@example.com"), {}, "no user"),
    (("replay", "missing.csv", "--symbol", "NSE:SBIN-EQ"), {}, "missing.csv"),
    (("replay", ".", "--symbol", "NSE:SBIN-EQ"), {}, "directory"),
    (("simulator", "--port", "0", "--candles", "missing"), {}, "missing"),
    (("db", "check"), {}, "no database"),
    (("db", "backup", "copy.db"), {}, "no database"),
    (("keys", "rotate"), {}, "no database"),
    (("users", "list"), {"HULLWATCH_PORT": "many"}, "HULLWATCH_PORT"),
    (("users", "list"), {"HULLWATCH_DATABASE_URL": "mysql://u:hunter2secret@h/d"}, "HULLWATCH_DATABASE_URL"),
    (("users", "list"), {"HULLWATCH_DATABASE_URL": "::hunter2secret"}, "HULLWATCH_DATABASE_URL"),
    (("db", "check"), {"HULLWATCH_DATABASE_URL": "nonsense"}, "HULLWATCH_DATABASE_URL"),
    (("db", "upgrade"), {"HULLWATCH_DATABASE_URL": "postgresql://u:hunter2secret@127.0.0.1:1/d"}, "reached"),
    (("users", "list"), {"HULLWATCH_ENCRYPTION_KEYS": "hunter2secret"}, "HULLWATCH_ENCRYPTION_KEYS"),
    (("keys", "rotate"), {"HULLWATCH_DATA_DIR": "/dev/null/data"}, "database"),
    (("db", "upgrade"), {"HULLWATCH_DATA_DIR": "/dev/null/data"}, "HULLWATCH_DATA_DIR"),
    (("users", "list"), {"HULLWATCH_DATA_DIR": "/proc/none"}, "HULLWATCH_DATA_DIR"),
    (("serve",), {"HULLWATCH_HOST": "0.0.0.0"}, "HULLWATCH_PUBLIC_URL"),
    (("serve",), {"HULLWATCH_REDIS_URL": "http://:hunter2secret@h"}, "HULLWATCH_REDIS_URL"),
    (("serve",), {"FYERS_SECRET_KEY": "hunter2secret"}, "FYERS_APP_ID"),
    (
        ("serve", "--host", "203.0.113.7"),
        {"HULLWATCH_PUBLIC_URL": "https://watch.example.com", "HULLWATCH_PORT": "0"},
        "listen",
    ),
)


@pytest.mark.parametrize(
    ("words", "settings", "part"),
    FAILURES,
    ids=[f"{' '.join(row[0])} {' '.join(row[1])}" for row in FAILURES],
)
def test_a_failure_is_one_sentence_and_exits_1(
    command: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    settings: dict[str, str],
    part: str,
) -> None:
    """Covered: failures that a user, a database or a network can cause. stderr contains no secret."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    result = command(*words, stdin="correct horse battery\n")

    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert lines[-1].startswith("hullwatch: ")
    assert part in lines[-1]
    assert "Traceback" not in result.output
    assert "hunter2secret" not in result.output
    assert result.stderr.isprintable() or "\x1b" not in result.stderr


@pytest.mark.parametrize("name", ["simulator", "demo"])
def test_candle_files_with_gaps_are_refused(
    command: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    """The sentence has the first place and the option. Both commands take the zone of the times."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    rows = "2026-06-17 03:45,1,1,1,1,1\n2026-06-19 03:45,1,1,1,1,1\n"
    (tmp_path / "ACME_5min_x.csv").write_text("timestamp,open,high,low,close,volume\n" + rows)

    result = command(name, "--port", port, "--timezone", "UTC", "--candles", str(tmp_path))

    last = result.stderr.splitlines()[-1]
    assert result.exit_code == 1
    assert "1 trading session is missing, the first on Thu 18 Jun 2026" in last
    assert last.endswith("--allow-gaps replays it anyway")


def test_a_damaged_database_is_reported(command: Callable[..., Result], home: Path) -> None:
    """Covered: a file that is no database."""
    (home / "data").mkdir(mode=0o700)
    (home / "data" / "hullwatch.db").write_bytes(b"this is no database" * 100)

    for words in (("users", "list"), ("db", "upgrade"), ("db", "check")):
        result = command(*words)

        assert result.exit_code == 1
        assert "Traceback" not in result.output


def test_a_key_file_that_others_can_read_is_refused(command: Callable[..., Result], home: Path) -> None:
    """The message contains the command that corrects the mode."""
    command("db", "upgrade")
    command("users", "list")
    (home / "data" / "encryption.keys").chmod(0o644)

    result = command("users", "list")

    assert result.exit_code == 1
    assert "chmod 600" in result.stderr


def test_a_lost_key_is_reported_and_disconnects_nobody(command: Callable[..., Result], home: Path) -> None:
    """With another key the command refuses to run; it does not disconnect sessions that it cannot decrypt."""
    command("users", "list")
    (home / "data" / "encryption.keys").unlink()

    result = command("tokens", "validate", "--all")

    assert result.exit_code == 1
    assert "key" in result.stderr


def run_process(*arguments: str, stdout: int, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a real command to its end."""
    return subprocess.run(
        (sys.executable, "-m", "hullwatch", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        start_new_session=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )


def test_a_closed_pipe_is_no_crash(home: Path) -> None:
    """If the reader of the output has ended, the command ends without a message."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_process("--help", stdout=writer)
    finally:
        os.close(writer)

    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full missing: not Linux")
def test_a_full_disk_is_reported(home: Path) -> None:
    """A result that cannot be written is a failure, not a success without output."""
    with Path("/dev/full").open("wb") as full:
        done = run_process("--version", stdout=full.fileno())

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"No space left" in done.stderr


def test_an_ascii_terminal_gets_replacement_characters(home: Path) -> None:
    """The check marks of `doctor` are not ASCII."""
    done = run_process("doctor", stdout=subprocess.PIPE, PYTHONIOENCODING="ascii", HULLWATCH_PORT="x")

    assert done.returncode == 1
    assert b"Settings: HULLWATCH_PORT" in done.stdout
    assert b"Traceback" not in done.stderr


def test_explained_failures_have_a_sentence() -> None:
    """Errors of the operating system name the file."""
    missing = FileNotFoundError(2, "No such file or directory", "candles.csv")

    assert issubclass(NotFound, explained_failures())
    assert issubclass(SettingsRefused, explained_failures())
    assert sentence_of(missing) == "candles.csv: No such file or directory."
    assert os_sentence(TimeoutError()) == "The operation took too long."
    assert os_sentence(OSError()) == "The operating system refused the operation."
