"""`hullwatch serve` and `hullwatch simulator` as real processes."""

import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from limits import ANSWER_LIMIT_S
from typer.testing import Result

from cli.install import PASSWORD, TOKEN, Program, connected, fetch, wait_until
from hullwatch.cli.server import REQUESTS_END_WITHIN_S, STOP_WITHIN_S

NOWHERE = "http://127.0.0.1:9"
Served = Callable[..., tuple[Program, str]]


def test_a_killed_server_starts_again_with_the_same_data(served: Served, home: Path) -> None:
    """An account registered before `kill -9` can log in afterwards, on another port and so another Origin."""
    first, url = served()
    body = {"email": "asha@example.com", "password": PASSWORD, "fullName": "Asha Iyer"}
    registered = fetch(f"{url}/api/auth/register", "POST", body, Origin=url)
    first.end(signal.SIGKILL)

    second, url = served()
    login = {"email": "asha@example.com", "password": PASSWORD}
    back = fetch(f"{url}/api/auth/login", "POST", login, Origin=url)

    assert fetch(f"{url}/healthz") == {"status": "ok"}
    assert fetch(f"{url}/readyz")["status"] == "ready"
    assert back["id"] == registered["id"]
    assert_stops_in_order(second, url)
    assert PASSWORD not in first.err + second.err + first.out + second.out


def test_the_start_reports_who_can_register(
    served: Served, command: Callable[..., Result], home: Path
) -> None:
    """At this machine anyone can. Behind a proxy nobody can, and `users add` makes the first admin while it runs."""
    local, _ = served()
    local.line("Registration is open: ")
    local.end(signal.SIGKILL)

    first, _ = served(HULLWATCH_PUBLIC_URL="https://hw.example.com")
    first.line(
        "Registration is by invitation, because HULLWATCH_PUBLIC_URL is not an address of this machine"
    )
    first.line("There is no admin yet. Add one: hullwatch users add EMAIL --role admin")
    added = command("users", "add", "asha@example.com", "--role", "admin", stdin=PASSWORD)

    assert added.exit_code == 0
    assert "no admin" not in added.stderr


def assert_stops_in_order(server: Program, url: str) -> None:
    """SIGTERM stops it with 0 while a request hangs. Service managers wait ten seconds."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as hanging:
        hanging.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        code = server.end(signal.SIGTERM)

    assert code == 0
    assert REQUESTS_END_WITHIN_S < STOP_WITHIN_S < 10
    assert "Traceback" not in server.err


def test_a_running_server_notices_users_disconnect(
    served: Served, command: Callable[..., Result], home: Path
) -> None:
    """The command changes the database; within seconds the server reports the disconnect and its reason."""
    command("users", "add", "asha@example.com", "--role", "admin", stdin=PASSWORD)
    (row,) = json.loads(command("users", "list", "--json").stdout)
    connected(home, row["id"])
    server, url = served(HULLWATCH_FYERS_BASE_URL=NOWHERE, HULLWATCH_FYERS_DATA_URL=NOWHERE)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    login = json.dumps({"email": "asha@example.com", "password": PASSWORD}).encode()
    headers = {"Content-Type": "application/json", "Origin": url}
    browser.open(
        urllib.request.Request(f"{url}/api/auth/login", login, headers), timeout=ANSWER_LIMIT_S
    ).close()

    def status() -> dict[str, Any]:
        with browser.open(f"{url}/api/fyers/status", timeout=ANSWER_LIMIT_S) as reply:
            return json.load(reply)

    before = status()["state"]
    done = command("users", "disconnect", "asha@example.com")
    wait_until(lambda: status()["state"] == "disconnected")

    assert before == "connected"
    assert done.exit_code == 0
    assert status()["reason"] == "by_admin"
    assert server.end(signal.SIGINT) == 0
    assert TOKEN not in server.out + server.err


def test_a_busy_port_is_reported(start: Callable[..., Program], home: Path) -> None:
    """The command fails before it creates the data folder."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        server = start("serve", "--port", port)
        wait_until(lambda: server.process.poll() is not None)

    assert server.process.returncode == 1
    assert server.err.startswith("hullwatch: Cannot listen on 127.0.0.1:")
    assert len(server.err.splitlines()) == 1
    assert not (home / "data").exists()


def test_a_clock_that_does_not_respond_stops_the_start(
    command: Callable[..., Result], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 with a sentence, before the data folder exists."""
    for name, path in (("FYERS_BASE_URL", "/api/v3"), ("FYERS_DATA_URL", "/data"), ("CLOCK_URL", "/clock")):
        monkeypatch.setenv(f"HULLWATCH_{name}", NOWHERE + path)

    result = command("serve", "--port", "0")

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"HULLWATCH_CLOCK_URL cannot be used: nothing answers there ({NOWHERE}/clock)" in result.stderr
    assert not (home / "data").exists()


def test_the_simulator_command_runs_alone(start: Callable[..., Program]) -> None:
    """It prints its addresses and control calls, answers, and ends with 0 at SIGTERM."""
    program = start("simulator", "--port", "0", "--speed", "0", "--start", "2026-06-17T09:15:00+05:30")
    base_url = program.line("Fyers simulator at").split()[3]
    program.line("/simulator/clock")

    clock = fetch(f"{base_url}/simulator/clock")

    assert clock["speed"] == 0
    assert clock["now"].startswith("2026-06-17T")
    assert program.end(signal.SIGTERM) == 0


def test_metrics_can_have_a_separate_address(served: Served) -> None:
    """They are then no longer at the main address."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server, url = served(HULLWATCH_METRICS_ADDRESS=f"127.0.0.1:{port}")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        numbers = answer.read().decode()
    try:
        main_status = urllib.request.urlopen(f"{url}/metrics").status
    except urllib.error.HTTPError as refused:
        main_status = refused.code
        refused.close()

    assert "hullwatch_sessions" in numbers
    assert main_status == 404
    assert server.end(signal.SIGTERM) == 0
