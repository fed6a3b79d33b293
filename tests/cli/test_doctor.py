"""`hullwatch doctor`: a line for each thing an install stands on."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from typer.testing import Result

from cli.install import session_of, stored, user_named

Command = Callable[..., Result]


@pytest.fixture
def fyers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """An address in Fyers' place that answers with a status and a clock of the test's choice."""
    answer = {"status": 404, "ahead_s": 0.0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now = datetime.now(UTC) + timedelta(seconds=answer["ahead_s"])
            self.send_response_only(int(answer["status"]))
            self.send_header("Date", format_datetime(now.replace(microsecond=0), usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setenv("HULLWATCH_FYERS_BASE_URL", f"http://127.0.0.1:{server.server_port}/api/v3")
    yield lambda **changes: answer.update(changes)
    server.shutdown()
    server.server_close()
    thread.join()


def findings(command: Command) -> tuple[int, dict[str, tuple[bool, str]]]:
    """Return the exit code and subject → (is good, sentence)."""
    result = command("doctor", "--json")
    rows = json.loads(result.stdout)
    return result.exit_code, {row["subject"]: (row["isGood"], row["message"]) for row in rows}


def test_a_fresh_machine_is_well(command: Command, home: Path, fyers: Callable[..., None]) -> None:
    """Before the first start everything is good, and examining makes nothing."""
    code, found = findings(command)

    assert list(found) == ["Settings", "Data folder", "Database", "Key", "Fyers", "Clock", "Calendar"]
    assert {subject for subject, (is_good, _) in found.items() if not is_good} <= {"Calendar"}
    assert code == (0 if found["Calendar"][0] else 1)
    assert list(home.iterdir()) == []


def test_an_install_in_use_is_well(command: Command, home: Path, fyers: Callable[..., None]) -> None:
    """With a database and a key in place, a line each begins with a check mark."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    result = command("doctor")

    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert {"✓ Settings", "✓ Data folder", "✓ Database", "✓ Key", "✓ Fyers", "✓ Clock"} <= set(lines)


def test_no_network_is_a_line_and_not_a_crash(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Fyers that cannot be reached is said, with what to look at, and the exit code is 1."""
    monkeypatch.setenv("HULLWATCH_FYERS_BASE_URL", "http://127.0.0.1:9/api/v3")

    code, found = findings(command)

    assert code == 1
    assert found["Fyers"][0] is False
    assert "cannot be reached" in found["Fyers"][1]
    assert found["Clock"][0] is False
    assert found["Settings"][0] is True


@pytest.mark.parametrize(("ahead_s", "word"), [(-60, "ahead"), (60, "behind")])
def test_a_clock_that_is_off_is_told_which_way(
    command: Command, fyers: Callable[..., None], ahead_s: float, word: str
) -> None:
    """More than two seconds between this clock and Fyers' is to be put right."""
    fyers(ahead_s=ahead_s)

    code, found = findings(command)

    assert code == 1
    assert found["Fyers"][0] is True
    assert found["Clock"][0] is False
    assert word in found["Clock"][1]


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_fyers_that_is_ill_or_has_banned_us_is_named(
    command: Command, fyers: Callable[..., None], status: int
) -> None:
    """A ban and trouble at Fyers are findings of their own."""
    fyers(status=status)

    code, found = findings(command)

    assert code == 1
    assert str(status) in found["Fyers"][1]


def test_each_thing_amiss_says_what_to_do(
    command: Command, home: Path, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open key file, another database's key, a damaged database, and unsafe settings each have their sentence."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))
    key, file = home / "data" / "encryption.keys", home / "data" / "hullwatch.db"

    key.chmod(0o640)
    assert "chmod 600" in findings(command)[1]["Key"][1]
    key.chmod(0o600)
    file.write_bytes(b"no database at all" * 500)
    assert "not a database" in findings(command)[1]["Database"][1]
    monkeypatch.setenv("HULLWATCH_HOST", "0.0.0.0")
    assert "HULLWATCH_PUBLIC_URL" in findings(command)[1]["Settings"][1]
    monkeypatch.setenv("HULLWATCH_HOST", "127.0.0.1")
    monkeypatch.setenv("HULLWATCH_DATA_DIR", str(file))
    assert "not a folder" in findings(command)[1]["Data folder"][1]


def test_a_mail_server_is_tried_where_one_is_set(
    command: Command, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets hullwatch in, or the line says what is wrong; nothing is sent."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mail = Controller(Sink(), hostname="127.0.0.1", port=port)
    mail.start()
    monkeypatch.setenv("HULLWATCH_SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("HULLWATCH_SMTP_PORT", str(port))
    monkeypatch.setenv("HULLWATCH_SMTP_FROM", "hullwatch@example.com")
    monkeypatch.setenv("HULLWATCH_SMTP_SECURITY", "none")
    assert findings(command)[1]["Mail"][0] is True
    monkeypatch.setenv("HULLWATCH_SMTP_SECURITY", "starttls")
    assert "STARTTLS" in findings(command)[1]["Mail"][1]
    mail.stop()

    code, found = findings(command)

    assert code == 1
    assert "cannot be reached" in found["Mail"][1]
    assert "HULLWATCH_SMTP_" in found["Mail"][1]


def test_another_keys_database_is_noticed(
    command: Command, home: Path, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that does not open what is stored is not called good."""
    assert command("users", "add", "a@example.com", stdin="correct horse battery").exit_code == 0
    monkeypatch.setenv("HULLWATCH_ENCRYPTION_KEYS", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")

    code, found = findings(command)

    assert code == 1
    assert found["Key"][0] is False
