"""The throughput of the cached token status, compared with a bare Starlette JSON route on the same server.

The server is a process with a real application, served as ``hullwatch serve`` serves it; one path is answered by a bare Starlette app before
the application's app sees it. The load comes from this process: plain keep-alive connections that send the next request when the last one is
answered. Both routes take turns.
"""

import argparse
import json
import select
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, cast

import psutil
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.accounts import benchmark_application, link_accounts
from benchmarks.broker_process import broker_process
from benchmarks.report import Figure, print_report
from hullwatch.cli.runner import run

STATUS_PATH = "/api/token-validation/status"
BARE_PATH = "/bare"
STATUS_EXAMPLE = {
    "success": True,
    "isValid": True,
    "userId": "usr_00000",
    "hasToken": True,
    "isConnected": True,
    "verified": True,
    "state": "connected",
    "reason": None,
    "message": "Your Fyers session is valid.",
    "expiresAt": "2026-11-24T00:30:00Z",
    "lastValidatedAt": "2026-11-23T10:00:00Z",
    "lastDisconnectTime": None,
    "fromCache": True,
}
"""The answer of the bare route, as long as the status."""


async def bare(_: Request) -> JSONResponse:
    """Answer with constant JSON."""
    return JSONResponse(STATUS_EXAMPLE)


async def serve_both() -> None:
    """Serve an application with one linked, validated account and the bare route until stopped; print address and cookie."""
    from hullwatch.cli.server import StopSignals, listen_on, serve_application  # noqa: PLC0415 - the server's part only
    from hullwatch.web.dependencies import LOGIN_COOKIE  # noqa: PLC0415

    bare_app = Starlette(routes=[Route(BARE_PATH, bare)])
    async with broker_process() as broker, benchmark_application(broker) as application:
        (account,) = await link_accounts(application, broker, 1)
        await application.start()
        async with application.services.context.store.begin(read_only=True) as work:
            user = await work.users.get(account.user_id)
        if user is None:
            raise LookupError("the account that was stored is not there")
        login = await application.services.authentication.open_browser(user)
        app = application.web(application.web_config())

        async def either(scope: Any, receive: Any, send: Any) -> None:
            await (bare_app if scope.get("path") == BARE_PATH else app)(scope, receive, send)

        def ready(url: str) -> None:
            print(json.dumps({"url": url, "cookie": f"{LOGIN_COOKIE}={login.value.reveal()}"}), flush=True)

        with listen_on("127.0.0.1", 0) as sock, StopSignals() as signals:
            # The server calls it as any ASGI application.
            await serve_application(application, cast(FastAPI, either), sock, ready=ready, signals=signals)


def serve() -> None:
    """Run the server process."""
    run(serve_both())


class Connection:
    """One keep-alive connection that sends the next request after each answer and checks the answers."""

    def __init__(self, target: "Target") -> None:
        self._target = target
        self._buffer = b""
        self.socket = socket.create_connection((target.host, target.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.send(target.request)

    def took_in(self) -> bool:
        """Read data; return whether an answer is complete and the next request is sent."""
        self._buffer += self.socket.recv(65_536)
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return False
        if not head.startswith(b"HTTP/1.1 200") or b'"fromCache":true' not in body:
            raise RuntimeError(f"the server did not answer as it should: {self._buffer[:400]!r}")
        self._buffer = b""
        self.socket.send(self._target.request)
        return True


@dataclass(frozen=True, slots=True)
class Load:
    """The results of one load."""

    answers: int
    took_s: float
    server_cpu_s: float

    @property
    def per_second(self) -> float:
        """Answers a second in real time."""
        return self.answers / self.took_s

    @property
    def per_cpu_second(self) -> float:
        """Answers for each CPU second of the server, its throughput on a free core."""
        return self.answers / self.server_cpu_s


@dataclass(frozen=True, slots=True)
class Target:
    """One route of the server under load."""

    host: str
    port: int
    request: bytes
    server: psutil.Process

    def load(self, callers: int, seconds: float) -> Load:
        """Send requests over this many connections in a plain loop, so that the server is the busy side."""
        poll = select.epoll()
        connections = {each.socket.fileno(): each for each in (Connection(self) for _ in range(callers))}
        for number in connections:
            poll.register(number, select.EPOLLIN)
        answers, cpu_began, began = 0, sum(self.server.cpu_times()[:2]), time.monotonic()
        while (took_s := time.monotonic() - began) < seconds:
            for number, _ in poll.poll(1.0):
                answers += connections[number].took_in()
        cpu_s = sum(self.server.cpu_times()[:2]) - cpu_began
        for each in connections.values():
            each.socket.close()
        poll.close()
        return Load(answers, took_s, cpu_s)


def _request(url: str, path: str, *headers: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {url.removeprefix('http://')}",
        "Accept: application/json",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def measure(rounds: int, callers: int, seconds: float) -> list[Figure]:
    """Return the figures of this many alternating rounds."""
    command = [sys.executable, "-c", "from benchmarks.status import serve; serve()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the server has no output")
            answer = json.loads(process.stdout.readline())
            url, cookie = answer["url"], f"Cookie: {answer['cookie']}"
            _warm(url, cookie)
            host, port = _host_and_port(url)
            status, simple = (
                Target(host, port, _request(url, path, cookie), psutil.Process(process.pid))
                for path in (STATUS_PATH, BARE_PATH)
            )
            of_status: list[Load] = []
            of_bare: list[Load] = []
            for number in range(rounds):
                pairs = ((status, of_status), (simple, of_bare))
                for target, found in pairs if number % 2 else reversed(pairs):
                    found.append(target.load(callers, seconds))
        finally:
            process.terminate()
    by_wall = _median(of_status, "per_second") / _median(of_bare, "per_second")
    by_cpu = _median(of_status, "per_cpu_second") / _median(of_bare, "per_cpu_second")
    busy = sum(each.server_cpu_s for each in of_bare) / sum(each.took_s for each in of_bare)
    return [
        Figure(
            "status against bare route",
            f"{by_cpu:.0%} by the server's CPU, {by_wall:.0%} by the clock",
        ),
        Figure("status, answers a second", _text_of(of_status)),
        Figure("bare route, answers a second", _text_of(of_bare)),
        Figure("server busy under the bare load", f"{busy:.0%} of a core"),
    ]


def _warm(url: str, cookie: str) -> None:
    """Make one request, so that the session is validated and later answers come from the cache."""
    with socket.create_connection(_host_and_port(url), timeout=30) as connection:
        connection.send(_request(url, STATUS_PATH, cookie, "Connection: close"))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    if b'"isValid":true' not in answer:
        raise RuntimeError(f"the account is not valid: {answer[:400]!r}")


def _host_and_port(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def _median(loads: list[Load], what: str) -> float:
    return float(statistics.median(getattr(load, what) for load in loads))


def _text_of(loads: list[Load]) -> str:
    walls = [load.per_second for load in loads]
    return (
        f"{_median(loads, 'per_cpu_second'):,.0f} of CPU; {statistics.median(walls):,.0f} by the clock "
        f"({min(walls):,.0f} to {max(walls):,.0f})"
    )


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks status", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s")
    chosen = parser.parse_args(args)
    rounds, seconds = (3, 1.0) if chosen.quick else (chosen.rounds, chosen.seconds)
    figures = measure(rounds, chosen.callers, seconds)
    method = (
        "one server process, with the settings of hullwatch serve; the status is requested with a browser's cookie and answered "
        "from the cache, the bare route is a Starlette app of its own with one JSONResponse of the same size and no "
        f"middleware; {chosen.callers} keep-alive connections from another process; {rounds} rounds of {seconds:g} s each in "
        "turns, ratio of the medians; the result is the lower of the two. Every answer is checked."
    )
    print_report(
        "status: GET /api/token-validation/status from cache", figures, method, is_quick=chosen.quick
    )


if __name__ == "__main__":
    main([])
