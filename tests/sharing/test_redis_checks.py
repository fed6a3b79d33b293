"""Tests that a failing Redis raises no error and that its data identifies no user."""

import asyncio
from contextlib import suppress
from random import Random

import pytest
from fakes.clock import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import ANSWER_LIMIT_S
from structlog.testing import capture_logs

from hullwatch.domain.secrets import SecretText
from hullwatch.domain.sessions.shared_checks import Claim, Confirmed, SharingUnavailable, Unconfirmed
from hullwatch.sharing.redis_checks import RedisChecks, _read
from sharing.conftest import SALT, RedisClients
from sharing.redis_process import RedisProcess


async def until_it_answers(checks) -> None:
    """Wait until Redis is called again and answers."""
    async with asyncio.timeout(ANSWER_LIMIT_S):
        while not await checks.ping():  # noqa: ASYNC110 - a process outside has no event
            await asyncio.sleep(0)


async def test_a_killed_redis_is_not_called_until_it_answers_again(
    clients: RedisClients, redis_server: RedisProcess
) -> None:
    """Each call returns an answer meanwhile. A lost confirmation costs one call to Fyers."""
    checks = clients.open("a")
    await checks.confirm("asha", 1)
    redis_server.kill()

    for _ in range(5):
        assert await checks.confirmation("asha", 1) == SharingUnavailable()
        assert await checks.claim("asha", 1) is Claim.UNKNOWN
        await checks.confirm("asha", 1)
        await checks.release("asha", 1)
    assert (checks.report().is_used, checks.report().is_answering) == (True, False)

    redis_server.start()
    await until_it_answers(checks)
    assert await checks.confirmation("asha", 1) == Unconfirmed()
    assert checks.report().is_answering


async def test_a_hanging_redis_delays_no_call(clients: RedisClients, redis_server: RedisProcess) -> None:
    """Its connections stay open without an answer. A call times out, and later calls do not wait."""
    checks = clients.open("a", answer_within_s=2)
    await checks.confirm("asha", 1)
    redis_server.freeze()

    answers = await asyncio.gather(*(checks.confirmation("asha", 1) for _ in range(40)))

    assert answers == [SharingUnavailable()] * 40
    redis_server.thaw()
    await until_it_answers(checks)
    assert isinstance(await checks.confirmation("asha", 1), Confirmed)


@pytest.mark.parametrize("fault", ["freeze", "kill"])
async def test_a_failure_is_logged_once_for_many_calls(
    clients: RedisClients, redis_server: RedisProcess, fault: str
) -> None:
    """All calls under way fail together; the log has one line at the change and one at the recovery."""
    with capture_logs() as logs:
        checks = clients.open("a", answer_within_s=2)
        await asyncio.gather(*(checks.ping() for _ in range(8)))
        getattr(redis_server, fault)()

        await asyncio.gather(*(checks.confirmation("asha", number) for number in range(40)))
        if fault == "kill":
            redis_server.start()
        else:
            redis_server.thaw()
        await until_it_answers(checks)

    logged = [line["event"] for line in logs]
    assert logged == ["redis.failed", "redis.recovered"]


async def test_too_many_own_calls_are_not_a_failed_redis(clients: RedisClients) -> None:
    """A call without a free connection goes to Fyers, and Redis still counts as available."""
    checks = clients.open("a", most_connections=1, free_within_s=0)

    answers = await asyncio.gather(*(checks.confirmation("asha", 1) for _ in range(50)))

    assert answers == [Unconfirmed()] + [SharingUnavailable()] * 49
    assert checks.report().is_answering
    assert await checks.confirmation("asha", 1) == Unconfirmed()


async def test_calls_wait_for_a_free_connection(clients: RedisClients) -> None:
    """Four hundred calls share three connections, and each gets its own answer."""
    checks = clients.open("a", most_connections=3)
    await checks.confirm("asha", 7)

    answers = await asyncio.gather(*(checks.confirmation("asha", number) for number in range(400)))

    assert [isinstance(answer, Confirmed) for answer in answers] == [number == 7 for number in range(400)]


async def test_a_cancelled_call_leaves_no_answer_for_the_next(clients: RedisClients) -> None:
    """An answer for a cancelled caller must not reach the next call on that connection."""
    checks = clients.open("a", most_connections=4)
    for number in range(8):
        await checks.confirm("asha", number)

    for delay in range(60):
        cancelled = [asyncio.create_task(checks.confirmation("asha", number)) for number in range(8)]
        for _ in range(delay % 12):
            await asyncio.sleep(0)
        for call in cancelled:
            call.cancel()
        answers = await asyncio.gather(*(checks.confirmation("ravi", number) for number in range(8)))
        assert answers == [Unconfirmed()] * 8
        await asyncio.gather(*cancelled, return_exceptions=True)


async def test_one_call_tests_a_failed_redis_after_the_cool_down(
    clients: RedisClients, redis_server: RedisProcess
) -> None:
    """During the cool-down Redis is not called, even when it is back already."""
    clock = FakeClock()
    checks = clients.open("a", clock=clock)
    redis_server.kill()
    for _ in range(3):
        await checks.confirmation("asha", 1)
    redis_server.start()

    assert await checks.confirmation("asha", 1) == SharingUnavailable()

    await clock.advance(2)
    assert await checks.confirmation("asha", 1) == Unconfirmed()


@pytest.mark.parametrize(
    "command",
    [
        ("CONFIG", "SET", "requirepass", "another password"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("REPLICAOF", "127.0.0.1", "9"),
    ],
    ids=["password", "full", "read-only replica"],
)
async def test_a_refusing_redis_counts_as_unavailable(
    clients: RedisClients, redis_server: RedisProcess, command: tuple[str, ...]
) -> None:
    """A wrong password, a full memory or a replica: each process calls Fyers itself."""
    with redis_server.client() as client:
        client.execute_command(*command)
    checks = clients.open("a")

    for _ in range(3):
        assert await checks.claim("asha", 1) is Claim.UNKNOWN
        await checks.confirm("asha", 1)
    assert not isinstance(await checks.confirmation("asha", 1), Confirmed)


async def test_a_key_of_another_type_is_no_confirmation(
    clients: RedisClients, redis_server: RedisProcess
) -> None:
    """Data of another program under our key is not trusted and raises nothing."""
    checks = clients.open("a")
    await checks.confirm("asha", 1)
    with redis_server.client() as client:
        for key in list(client.scan_iter()):
            client.delete(key)
            client.rpush(key, "a", "list")

    assert not isinstance(await checks.confirmation("asha", 1), Confirmed)


@given(
    value=st.one_of(st.none(), st.binary(max_size=40), st.integers().map(lambda n: str(n).encode())),
    left=st.one_of(st.none(), st.integers(), st.binary(max_size=5), st.floats()),
)
def test_an_impossible_value_is_no_confirmation(value, left) -> None:
    """An age is never negative and never longer than the key's lifetime."""
    answer = _read([value, left])

    if isinstance(answer, Confirmed):
        assert 0 <= answer.age_s * 1000 <= int(value)
        assert left > 0
    else:
        assert answer == Unconfirmed()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=20,
    deadline=None,
)
@given(user_id=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
async def test_every_user_id_has_its_own_confirmation(clients: RedisClients, user_id: str) -> None:
    """Ids of any characters are hashed without collisions."""
    checks = clients.open("a")

    await checks.confirm(user_id, 7)

    assert isinstance(await checks.confirmation(user_id, 7), Confirmed)
    assert await checks.confirmation(user_id + "x", 7) == Unconfirmed()
    await checks.forget(user_id, 7)


_PIECES = (
    *(
        b"+OK\r\n",
        b"+QUEUED\r\n",
        b"+\xff\xff\r\n",
        b":5\r\n",
        b":x\r\n",
        b":299000\r\n",
        b"$6\r\n300000\r\n",
        b"$3\r\nabc\r\n",
    ),
    *(
        b"$-1\r\n",
        b"$-7\r\n",
        b"$x\r\n",
        b"$999999999\r\n",
        b"*2\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*x\r\n",
        b"*1\r\n" * 3000,
    ),
    *(
        b"-LOADING x\r\n",
        b"-READONLY x\r\n",
        b"-OOM x\r\n",
        b"-NOAUTH x\r\n",
        b"-WRONGPASS x\r\n",
        b"-MOVED 1 x:1\r\n",
        b"-MOVED\r\n",
    ),
    *(
        b"-NOSCRIPT x\r\n",
        b"-EXECABORT x\r\n",
        b"-ERR x\r\n",
        b"-\r\n",
        b"\r\n",
        b"\xff\xfe",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ),
    *(b"%1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b">2\r\n"),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=150,
    deadline=None,
)
@given(reply=st.lists(st.sampled_from(_PIECES), max_size=9).map(b"".join), hangs_up=st.booleans())
async def test_no_reply_raises_an_error(clients: RedisClients, reply: bytes, *, hangs_up: bool) -> None:
    """Error replies, other protocols and impossible replies count as no answer."""

    async def reply_anything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the client may close first
            while await reader.read(65536):
                writer.write(reply)
                if hangs_up:
                    break
        writer.close()

    server = await asyncio.start_server(reply_anything, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clock = FakeClock()
    checks = clients.open("a", url=f"redis://127.0.0.1:{port}", clock=clock, answer_within_s=0.02)

    for _ in range(2):
        assert isinstance(await checks.confirmation("asha", 1), Confirmed | Unconfirmed | SharingUnavailable)
        assert await checks.claim("asha", 1) in Claim
        await checks.confirm("asha", 1)
        await checks.release("asha", 1)
        await checks.forget("asha", 1)
        await checks.ping()
        await clock.advance(60)  # past any cool-down, so that probes get the same replies
    server.close()
    await checks.close()

    checks._redis = clients.open("a")._redis
    async with asyncio.timeout(ANSWER_LIMIT_S):  # its timeout is short here, and this machine may be busy
        while not await checks.ping():
            await clock.advance(60)
    assert checks.report().is_answering


@pytest.mark.parametrize(
    "url",
    ["http://h", "redis://:hunter2@h?made_up=1", "redis://:hunter2@h?socket_timeout=soon", "unix:///x?db=y"],
)
def test_an_impossible_address_is_refused_at_once(url: str) -> None:
    """The server start fails, not the first request. The error does not quote the password."""
    with pytest.raises(ValueError) as caught:
        RedisChecks(
            SecretText(url),
            salt=SALT,
            process="a",
            good_for_s=300,
            clock=FakeClock(),
            random=Random(1),
        )
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


async def test_redis_holds_no_user_id_and_no_salt(clients: RedisClients, redis_server: RedisProcess) -> None:
    """Keys are salted hashes. Values are numbers and the name of a process."""
    checks = clients.open("prc_1")
    await checks.confirm("usr_canary", 31337)
    await checks.claim("usr_canary", 31337)

    with redis_server.client() as client:
        content = {key: client.get(key) for key in client.scan_iter()}

    assert len(content) == 2
    assert all(key.startswith(b"hullwatch:v1:") for key in content)
    assert sorted(content.values()) == [b"300000", b"prc_1"]
    seen = repr(content) + repr(checks)
    for canary in ("usr_canary", "31337", SALT.reveal()):
        assert canary not in seen
