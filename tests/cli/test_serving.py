"""`hullwatch serve` as a real process: it answers, ends in order, and comes back after the worst."""

import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from cli.install import PASSWORD, Program, fetch, wait_until

Served = Callable[..., tuple[Program, str]]


def test_it_answers_and_ends_in_order(served: Served, home: Path) -> None:
    """It prints its address, answers there, and SIGTERM ends it with 0, within ten seconds although a connection stays open."""
    server, url = served()
    host, port = url.removeprefix("http://").split(":")

    answer = fetch(f"{url}/healthz")
    ready = fetch(f"{url}/readyz")
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")  # a request that never ends
        began = time.monotonic()
        code = server.end(signal.SIGTERM)

    assert answer == {"status": "ok"}
    assert ready["status"] == "ready"
    assert code == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in server.err


def test_a_killed_server_starts_again_on_the_same_data(served: Served, home: Path) -> None:
    """What was acknowledged before `kill -9` is there afterwards; Ctrl-C then ends the new one with 0.

    The browser's own Origin is accepted although the port was chosen by the system: the public address follows it.
    """
    first, url = served()
    body = {"email": "asha@example.com", "password": PASSWORD, "fullName": "Asha Iyer"}
    registered = fetch(f"{url}/api/auth/register", "POST", body, Origin=url)
    first.end(signal.SIGKILL)

    second, url = served()
    login = {"email": "asha@example.com", "password": PASSWORD}
    back = fetch(f"{url}/api/auth/login", "POST", login, Origin=url)

    assert back["id"] == registered["id"]
    assert second.end(signal.SIGINT) == 0
    assert PASSWORD not in first.err + second.err + first.out + second.out


def test_a_busy_port_is_a_sentence(start: Callable[..., Program], home: Path) -> None:
    """A port in use is said before anything is opened or made."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        server = start("serve", "--port", port)
        wait_until(lambda: server.process.poll() is not None)

    assert server.process.returncode == 1
    assert server.err.startswith("hullwatch: Cannot listen on 127.0.0.1:")
    assert len(server.err.splitlines()) == 1
    assert not (home / "data").exists()


def test_the_simulator_runs_alone(start: Callable[..., Program]) -> None:
    """The simulator command prints its addresses and control calls, answers, and SIGTERM ends it with 0."""
    program = start("simulator", "--port", "0", "--speed", "0", "--start", "2026-06-17T09:15:00+05:30")
    base_url = program.line("Fyers simulator at").split(" at ")[1].split(";")[0]
    program.line("/simulator/clock")

    clock = fetch(f"{base_url}/simulator/clock")

    assert clock["speed"] == 0
    assert clock["now"].startswith("2026-06-17T")
    assert program.end(signal.SIGTERM) == 0
