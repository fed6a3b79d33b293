"""Sends to Telegram, Slack and the other services of Apprise, each from a process that can be killed.

Addresses and messages go to the standard input of the process, since other users of the machine can read
command lines and environments.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Final

from hullwatch.channels.guard import PRIVATE_NETWORK, AddressGuard
from hullwatch.channels.telegram import EXPLANATIONS
from hullwatch.channels.worker_limits import WorkerLimits
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.addresses import is_public_text
from hullwatch.domain.notifications.channels import Destination, Message, Refused, SendOutcome, Sent, TryLater
from hullwatch.runtime.clock import Clock, clock_timeout

LIMIT_S: Final = 25.0
START_S: Final = 30.0
"""On a busy machine Python and two hundred plugins start slowly."""
LONGEST_S: Final = START_S + LIMIT_S + 2
PROCESSES: Final = 4
_LONGEST_LINE: Final = 1 << 16
_KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables that are passed on; others may hold keys and passwords."""
_REFUSALS: Final = {
    "forbidden": "This service would act on the server itself, so it cannot be used.",
    "unknown": "Apprise does not know this address, or a part of it is missing.",
    "unencrypted": (
        "This address is not encrypted, and messages can hold a login link. Use its encrypted form, such as jsons:// for "
        "json://, without verify=no."
    ),
    "private": PRIVATE_NETWORK,
    "unsent": "The service sends nothing for this address. Check the address.",
}


class WorkerLost(Exception):  # noqa: N818 - a fact, like every failure here
    """The process ended or was killed before it answered."""


class AppriseChannel:
    """Sends through Apprise, in real time; close it after use.

    At most `processes` messages are under way at once. A process that works longer than `limit_s` is killed.
    """

    def __init__(
        self,
        guard: AddressGuard,
        clock: Clock,
        *,
        processes: int = PROCESSES,
        limit_s: float = LIMIT_S,
        limits: WorkerLimits = WorkerLimits(),  # noqa: B008 - immutable
    ) -> None:
        self._guard = guard
        self._clock = clock
        self._limit_s = limit_s
        self._limits = limits
        self._free = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """The idle processes."""
        return tuple(process.pid for process in self._idle if process.returncode is None)

    async def check(self, destination: Destination) -> None:
        """Check an address before it is stored.

        Raises:
            InvalidInput: Apprise does not know it, it is public and not encrypted, or it leads to a private network.
        """
        try:
            answer = await self._request({"do": "check", "address": destination.address.reveal()})
        except (WorkerLost, TimeoutError):
            raise InvalidInput("Apprise does not answer at the moment. Try again.", field="address") from None
        if answer["outcome"] in _REFUSALS:
            raise InvalidInput(_REFUSALS[answer["outcome"]], field="address")
        found: list[str] = []
        for host in answer["hosts"]:
            with suppress(OSError):  # a name that does not resolve now is checked again at the sending
                found += await self._guard.addresses_of(str(host))
        if not all(map(self._guard.allows, found)):
            raise InvalidInput(PRIVATE_NETWORK, field="address")
        leads_outside = not found or any(map(is_public_text, found))
        if leads_outside and not answer["isEncrypted"]:
            raise InvalidInput(_REFUSALS["unencrypted"], field="address")

    async def send(self, message: Message, destination: Destination) -> SendOutcome:
        """Send the message once."""
        try:
            answer = await self._request(
                {
                    "do": "send",
                    "address": destination.address.reveal(),
                    "title": message.notification.title,
                    "body": _body(message),
                }
            )
        except TimeoutError:
            return TryLater("The service did not answer in time.")
        except WorkerLost:
            return TryLater("The sending was interrupted before the service answered.")
        return _outcome_of(answer)

    async def close(self) -> None:
        """Stop all idle processes."""
        while self._idle:
            await _end(self._idle.pop())

    async def _request(self, request: dict[str, str]) -> dict[str, Any]:
        """Return the answer of a process.

        Raises:
            WorkerLost: It ended before it answered.
            TimeoutError: It was killed because it took too long.
        """
        async with self._free:
            process = await self._take()
            is_well = False
            try:
                async with clock_timeout(self._clock, self._limit_s):
                    answer = await _exchange(process, request)
                is_well = not answer["isLast"]
            finally:
                if is_well:
                    self._idle.append(process)
                else:
                    await _end(process)
        return answer

    async def _take(self) -> asyncio.subprocess.Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-B",
            "-m",
            "hullwatch.channels.apprise_worker",
            *(["--allow-private"] if self._guard.allows_private else []),
            *self._limits.as_arguments(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
        is_well = False
        try:
            async with clock_timeout(self._clock, START_S):
                await _exchange(process, None)
            is_well = True
        finally:
            if not is_well:
                await _end(process)
        return process


async def _exchange(process: asyncio.subprocess.Process, request: dict[str, str] | None) -> dict[str, Any]:
    """Send a process one request, if there is one, and return its next answer."""
    if process.stdin is None or process.stdout is None:
        raise WorkerLost
    try:
        if request is not None:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
        line = await process.stdout.readline()
    except (OSError, ValueError):
        raise WorkerLost from None
    if not line.endswith(b"\n"):
        raise WorkerLost
    answer: dict[str, Any] = json.loads(line)
    return answer


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a process and wait for its end; it has nothing to clean up."""
    if process.stdin is not None:
        process.stdin.close()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _body(message: Message) -> str:
    text = message.notification.text
    return f"{text}\n\nLog in to Fyers again: {message.login_link.reveal()}" if message.login_link else text


def _outcome_of(answer: dict[str, Any]) -> SendOutcome:
    outcome, status = answer["outcome"], answer.get("status")
    if outcome == "sent":
        return Sent()
    if outcome in _REFUSALS:
        return Refused(_REFUSALS[outcome], is_permanent=True)
    if answer.get("refusal"):
        return Refused(EXPLANATIONS[answer["refusal"]])
    if status is None:
        return TryLater("The service did not accept the message.")
    why = f"The service answered {status}."
    if 400 <= status < 500 and status not in (408, 425, 429):
        return Refused(why)
    return TryLater(why)
