"""What a receiver and a plugin can do to the server through a worker for foreign services."""

import gzip
import json
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests
from aiohttp import web
from limits import ANSWER_LIMIT_S

from channels.receivers import Behaviour, Receiver, http_receiver
from channels.samples import destination, message
from hullwatch.channels.apprise_process import AppriseChannel
from hullwatch.channels.apprise_worker import Rules, check_requests
from hullwatch.channels.guard import AddressGuard
from hullwatch.channels.telegram import EXPLANATIONS
from hullwatch.channels.worker_limits import WorkerLimits
from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.notifications.channels import Refused, Sent, TryLater
from hullwatch.domain.notifications.notifications import ChannelKind
from hullwatch.runtime.clock import SystemClock

OTHER = ChannelKind.APPRISE
MEGABYTE = 1 << 20
LIMITS = WorkerLimits(memory_mb=256, cpu_s=1)
INTERRUPTED = TryLater("The sending was interrupted before the service answered.")
REDIRECTED_APIS = """#!{python} -IB
import runpy, sys
from apprise.plugins import jira, opsgenie, telegram

opsgenie.OPSGENIE_API_LOOKUP[opsgenie.OpsgenieRegion.US] = "{url}/opsgenie"
jira.JIRA_API_LOOKUP[jira.JiraRegion.US] = "{url}/jira"
telegram.NotifyTelegram.notify_url = "{url}/bot"
sys.argv = sys.argv[4:]  # after -I, -B and -m
runpy.run_module("hullwatch.channels.apprise_worker", run_name="__main__")
"""
"""An interpreter for the worker, in which the services of Apprise are on this machine."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a receiver on this machine."""
    async with http_receiver() as made:
        yield made


@pytest.fixture
async def services() -> AsyncIterator[AppriseChannel]:
    """Return an Apprise channel with small limits that may connect to this machine."""
    guard = AddressGuard(allows_private=True)
    made = AppriseChannel(guard, SystemClock(), processes=1, limit_s=ANSWER_LIMIT_S, limits=LIMITS)
    yield made
    await made.close()


@pytest.fixture
async def guarded() -> AsyncIterator[AppriseChannel]:
    """Return an Apprise channel with the default rules; every name has a public address."""

    async def resolve(_: str) -> list[str]:
        return ["8.8.8.8"]

    made = AppriseChannel(AddressGuard(resolve=resolve), SystemClock(), processes=1, limit_s=ANSWER_LIMIT_S)
    yield made
    await made.close()


def at(receiver: Receiver) -> str:
    """Return the receiver's address in Apprise's form."""
    return f"json://{receiver.url.removeprefix('http://')}/"


async def large_when_expanded(_: web.Request) -> web.Response:
    """Answer with 400 kB that expand to 400 MB."""
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    block = deflate.compress(bytes(4 * MEGABYTE)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return web.Response(body=block * 100, headers={"Content-Encoding": "deflate"})


async def endless_work(request: web.Request) -> web.StreamResponse:
    """Answer with compressed blocks without content, which never end."""
    response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
    await response.prepare(request)
    with suppress(ConnectionError):
        await response.write(gzip.compress(b"")[:10])
        while True:
            await response.write(b"\x00\x00\x00\xff\xff" * 10_000)
    return response


def oom_score(pid: int) -> int:
    """Return how readily the kernel ends a process when memory is short, at most 1000."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def test_a_worker_runs_within_limits(services, receiver):
    """Memory, CPU time, files and core files; the kernel ends it before the server when memory is short."""
    assert await services.send(message(), destination(OTHER, at(receiver))) == Sent()
    worker = psutil.Process(services.pids[0])

    assert worker.rlimit(psutil.RLIMIT_AS) == (256 * MEGABYTE, 256 * MEGABYTE)
    assert worker.rlimit(psutil.RLIMIT_NOFILE) == (64, 64)
    assert worker.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    assert worker.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert worker.rlimit(psutil.RLIMIT_CPU)[0] <= worker.cpu_times().user + worker.cpu_times().system + 2
    assert oom_score(worker.pid) == 1000


async def test_a_compressed_answer_cannot_use_up_the_memory(services, receiver):
    """The message is sent again later, and the memory is free again."""
    receiver.answers.append(large_when_expanded)
    assert isinstance(await services.send(message(), destination(OTHER, at(receiver))), TryLater)
    assert all(psutil.Process(pid).memory_info().rss < 128 * MEGABYTE for pid in services.pids)

    assert await services.send(message(), destination(OTHER, at(receiver))) == Sent()


async def test_a_process_that_keeps_much_memory_is_replaced(receiver):
    """No message is lost at that: the process answers before it ends."""
    guard, limits = AddressGuard(allows_private=True), WorkerLimits(kept_mb=1)
    services = AppriseChannel(guard, SystemClock(), processes=1, limit_s=ANSWER_LIMIT_S, limits=limits)
    for _ in range(2):
        assert await services.send(message(), destination(OTHER, at(receiver))) == Sent()
        assert services.pids == ()
    await services.close()


async def test_an_answer_cannot_use_up_the_cpu(services, receiver):
    """The kernel kills the process, and the message is sent again later."""
    receiver.answers.append(endless_work)
    assert await services.send(message(), destination(OTHER, at(receiver))) == INTERRUPTED

    assert await services.send(message(), destination(OTHER, at(receiver))) == Sent()


@pytest.mark.parametrize(
    "address",
    [
        "json://8.8.8.8/x",
        "jsons://8.8.8.8/x?verify=no",
        "rsyslog://8.8.8.8/",
        "irc://user:word@irc.example/channel",
        "mailtos://user:word@mail.example?mode=insecure",
        "tgram://123456789:AAabcdefghijklmnopqrstuvwxyz_12345/42/?verify=no",
    ],
)
async def test_a_public_address_must_be_encrypted(guarded, address):
    """Messages can hold a login link. Channels from before this rule are refused when they send."""
    with pytest.raises(InvalidInput, match="not encrypted") as refused:
        await guarded.check(destination(OTHER, address))
    assert refused.value.field == "address"


async def test_an_unencrypted_channel_sends_nothing(guarded):
    """No connection is opened, so that nothing can be read on the way."""
    for address in ("json://8.8.8.8/x", "jsons://8.8.8.8/x?verify=no", "rsyslog://8.8.8.8/"):
        outcome = await guarded.send(message(), destination(OTHER, address))
        assert isinstance(outcome, Refused), address
        assert outcome.is_permanent
        assert "not encrypted" in outcome.why


@pytest.mark.parametrize(
    "address",
    [
        "jsons://hooks.example/in",
        "mailto://user:word@gmail.com",
        "mailtos://user:word@mail.example",
        "pushme://token",
        "ntfys://topic",
        "discord://123456789012345678/abcdefghijklmnopqrstuvwxyz",
    ],
)
async def test_an_encrypted_address_is_accepted(guarded, address):
    """Also where the scheme of the address does not say so: mail providers with STARTTLS, services with one address."""
    await guarded.check(destination(OTHER, address))


async def test_a_private_address_may_be_unencrypted(services):
    """Where the operator allows private networks, as for webhooks; a public address must be encrypted there too."""
    await services.check(destination(OTHER, "json://192.168.1.7/"))
    with pytest.raises(InvalidInput, match="not encrypted"):
        await services.check(destination(OTHER, "json://8.8.8.8/"))
    assert isinstance(await services.send(message(), destination(OTHER, "json://8.8.8.8/")), Refused)


def test_each_http_request_is_checked(monkeypatch):
    """A plugin chooses the address itself, and a receiver can redirect it to an unencrypted one."""
    rules, seen = Rules(), []
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter, "send", lambda *_, **__: seen.append(rules.is_encrypted)
    )
    check_requests(rules)
    adapter = requests.adapters.HTTPAdapter()
    for url, verify in (("https://x.in/", True), ("http://x.in/", True), ("https://x.in/", False)):
        adapter.send(requests.Request("POST", url).prepare(), verify=verify)

    assert seen == [True, False, False]
    assert rules.is_encrypted


@pytest.fixture
async def redirected(receiver, tmp_path, monkeypatch) -> AsyncIterator[AppriseChannel]:
    """Return an Apprise channel whose services are the receiver."""
    interpreter = tmp_path / "python"
    interpreter.write_text(REDIRECTED_APIS.format(python=sys.executable, url=receiver.url))
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    made = AppriseChannel(
        AddressGuard(allows_private=True), SystemClock(), processes=1, limit_s=ANSWER_LIMIT_S
    )
    yield made
    await made.close()


def json_answer(code: int, **body: object) -> Behaviour:
    """Return a handler that answers with JSON."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, text=json.dumps(body), content_type="application/json")

    return answer


async def test_only_what_was_sent_counts_as_sent(redirected, receiver):
    """Opsgenie and Jira open an alert for a warning alone. A plugin that sends nothing is a failing channel."""
    for address in (
        "opsgenie://8b799edf-6f98-4d3a-9be7-2862fb4e5752/",
        "jira://8b799edf-6f98-4d3a-9be7-2862fb4e5752/",
    ):
        receiver.answers.append(json_answer(202, requestId="1"))
        assert await redirected.send(message(), destination(OTHER, address)) == Sent()
    nothing = await redirected.send(
        message(), destination(OTHER, "resend://user:passw0rd@localhost:18499/abc")
    )

    assert receiver.paths == ["/opsgenie", "/jira"]
    assert isinstance(nothing, Refused)
    assert "sends nothing" in nothing.why


async def test_refusals_of_telegram_are_explained(redirected, receiver):
    """What to do, in our words; other answers keep their status."""
    chat = destination(
        ChannelKind.TELEGRAM,
        "tgram://123456789:AAabcdefghijklmnopqrstuvwxyz_12345/-42/?format=text&preview=no",
    )
    for code, description, words in (
        (403, "Forbidden: bot was blocked by the user", "Unblock the bot"),
        (400, "Bad Request: chat not found", "press Start"),
        (401, "Unauthorized", "new token"),
        (404, "Not Found", "new token"),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", "new number"),
        (403, "Forbidden: bot was kicked from the supergroup chat", "to the group again"),
        (400, "Bad Request: not enough rights to send text messages to the chat", "Allow the bot"),
        (400, "Bad Request: message is too long", "answered 400"),
    ):
        receiver.answers.append(json_answer(code, ok=False, error_code=code, description=description))
        outcome = await redirected.send(message(), chat)
        assert isinstance(outcome, Refused), description
        assert words in outcome.why
        assert description.partition(": ")[2] not in outcome.why or words == "new token"
    receiver.answers.append(json_answer(429, ok=False, description="Too Many Requests: retry after 5"))
    assert await redirected.send(message(), chat) == TryLater("The service answered 429.")
    assert await redirected.send(message(), chat) == Sent()


def test_each_explanation_is_two_short_sentences():
    """They are shown on the page and in notices."""
    assert all(text.count(". ") + text.endswith(".") <= 2 for text in EXPLANATIONS.values())
