"""`hullwatch doctor`: a line for each part of an install."""

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
from sharing.conftest import redis_server
from sharing.redis_process import RedisProcess
from typer.testing import Result

from cli.install import PASSWORD, session_of, stored, user_named
from hullwatch.domain.market.calendar import nse_calendar

__all__ = ["redis_server"]  # a fixture of another test package

Command = Callable[..., Result]


@pytest.fixture
def fyers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """An HTTP server in the place of Fyers; the test chooses its status and clock."""
    answer = {"status": 404, "ahead_s": 0.0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            now = datetime.now(UTC) + timedelta(seconds=answer["ahead_s"])
            self.send_response_only(int(answer["status"]))
            self.send_header("Date", format_datetime(now.replace(microsecond=0), usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

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


def test_a_fresh_machine_passes(command: Command, home: Path, fyers: Callable[..., None]) -> None:
    """Before the first start every check passes, and doctor creates no file."""
    code, found = findings(command)

    assert list(found) == [
        "Settings",
        "Data folder",
        "Database",
        "Key",
        "Registration",
        "Fyers",
        "Clock",
        "Calendar",
    ]
    assert found["Registration"][1].startswith("open: ")
    assert {subject for subject, (is_good, _) in found.items() if not is_good} <= {"Calendar"}
    assert code == (0 if found["Calendar"][0] else 1)
    assert list(home.iterdir()) == []


def test_an_install_in_use_passes(command: Command, home: Path, fyers: Callable[..., None]) -> None:
    """With a database and a key, each line begins with a check mark."""
    stored(home, (user_named("asha"), session_of(user_named("asha"))))

    result = command("doctor")

    lines = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert {"✓ Settings", "✓ Data folder", "✓ Database", "✓ Key", "✓ Fyers", "✓ Clock"} <= set(lines)


@pytest.mark.parametrize("mode", ["", "invite", "closed"])
def test_registration_has_its_mode_and_a_missing_admin(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Behind a proxy nobody becomes admin by registering, so the operator has to add one."""
    monkeypatch.setenv("HULLWATCH_PUBLIC_URL", "https://hw.example.com")
    monkeypatch.setenv("HULLWATCH_REGISTRATION", mode)
    stored(home, (user_named("asha"), None))
    _, before = findings(command)
    command("users", "add", "admin@example.com", "--role", "admin", stdin=PASSWORD)
    _, after = findings(command)

    begins = "closed: " if mode == "closed" else "by invitation, "
    assert before["Registration"][1].startswith(begins)
    assert before["Registration"][1].endswith("hullwatch users add EMAIL --role admin.")
    assert [found["Registration"][0] for found in (before, after)] == [False, True]
    assert after["Registration"][1].startswith(begins)


def test_no_network_is_a_line_and_not_a_crash(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says that Fyers cannot be reached and what to check; the exit code is 1."""
    monkeypatch.setenv("HULLWATCH_FYERS_BASE_URL", "http://127.0.0.1:9/api/v3")

    code, found = findings(command)

    assert code == 1
    assert found["Fyers"][0] is False
    assert "cannot be reached" in found["Fyers"][1]
    assert found["Clock"][0] is False
    assert found["Settings"][0] is True


@pytest.mark.parametrize(("ahead_s", "word"), [(-60, "ahead"), (60, "behind")])
def test_a_wrong_clock_is_reported_with_its_direction(
    command: Command, fyers: Callable[..., None], ahead_s: float, word: str
) -> None:
    """The limit is two seconds."""
    fyers(ahead_s=ahead_s)

    code, found = findings(command)

    assert code == 1
    assert found["Fyers"][0] is True
    assert found["Clock"][0] is False
    assert word in found["Clock"][1]


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_ban_and_a_failure_of_fyers_are_reported(
    command: Command, fyers: Callable[..., None], status: int
) -> None:
    """The line contains the status, so that the user can tell a ban from a failure."""
    fyers(status=status)

    code, found = findings(command)

    assert code == 1
    assert str(status) in found["Fyers"][1]


def test_each_problem_has_an_instruction(
    command: Command, home: Path, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Covered: a readable key file, a damaged database, unsafe settings, a file as data folder."""
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


def test_a_mail_server_in_the_settings_is_tried(
    command: Command, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line reports the login or the problem; no mail is sent."""
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


def test_a_key_of_another_database_is_reported(
    command: Command, home: Path, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A valid key is a problem too if it cannot decrypt the stored secrets."""
    assert command("users", "add", "a@example.com", stdin="correct horse battery").exit_code == 0
    monkeypatch.setenv("HULLWATCH_ENCRYPTION_KEYS", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")

    code, found = findings(command)

    assert code == 1
    assert found["Key"][0] is False


def test_the_calendar_line_has_its_last_day(command: Command, home: Path, fyers: Callable[..., None]) -> None:
    """A calendar that ends too soon also names the setting for more days."""
    _, found = findings(command)

    is_good, sentence = found["Calendar"]
    assert nse_calendar().covers_until.isoformat() in sentence
    assert is_good or "HULLWATCH_CALENDAR_FILE" in sentence


def test_a_calendar_file_extends_the_calendar(
    command: Command, home: Path, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with years up to 2100 moves the last day to the end of 2100."""
    years = range(2027, 2101)
    closures = "".join(f'{year}-01-26 = "Republic Day"\n' for year in years)
    (home / "days.toml").write_text(f"years = {list(years)}\n[closures]\n{closures}")
    monkeypatch.setenv("HULLWATCH_CALENDAR_FILE", "days.toml")

    _, found = findings(command)

    assert found["Calendar"] == (True, "the trading days are known until 2100-12-31.")


def test_an_unusable_calendar_file_is_reported(
    command: Command, home: Path, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the setting, the file and the entry; the other checks still run."""
    (home / "days.toml").write_text("[closures]\n2027-02-30 = 'x'\n")
    monkeypatch.setenv("HULLWATCH_CALENDAR_FILE", "days.toml")

    code, found = findings(command)

    assert code == 1
    is_good, sentence = found["Calendar"]
    assert not is_good
    for words in ("HULLWATCH_CALENDAR_FILE", "days.toml", "2027-02-30"):
        assert words in sentence
    assert found["Key"][0]


@pytest.mark.parametrize("is_up", [True, False])
def test_redis_in_the_settings_is_tried(
    command: Command,
    fyers: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    redis_server: RedisProcess,
    *,
    is_up: bool,
) -> None:
    """The line has the version of Redis, or says that it does not answer."""
    monkeypatch.setenv("HULLWATCH_REDIS_URL", redis_server.url)
    if not is_up:
        redis_server.kill()

    _, found = findings(command)

    is_good, sentence = found["Redis"]
    assert is_good is is_up
    assert ("version" in sentence) is is_up


def test_the_heartbeat_address_is_checked_without_a_ping(
    command: Command, fyers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request would count as a ping, so doctor only connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("HULLWATCH_PING_URL", f"http://127.0.0.1:{listening.getsockname()[1]}/canary")
        is_good, sentence = findings(command)[1]["Heartbeat ping"]
    assert is_good
    assert "canary" not in sentence

    assert not findings(command)[1]["Heartbeat ping"][0]
