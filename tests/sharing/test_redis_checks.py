"""Redis lost, hung, full, foreign or full of nonsense: no error, no long wait, and nothing readable in it."""

import asyncio
from contextlib import suppress
from random import Random

import pytest
from fakes.clock import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hullwatch.domain.secrets import SecretText
from hullwatch.domain.sessions.shared_checks import Confirmed, NotAnswering, Turn, Unconfirmed
from hullwatch.sharing.redis_checks import RedisChecks, _read
from sharing.conftest import SALT, Doors
from sharing.redis_process import RedisProcess


async def answers_again(checks) -> None:
    """Wait until Redis is asked again and answers."""
    async with asyncio.timeout(30):
        while not await checks.ping():  # noqa: ASYNC110 - a process outside has no event
            await asyncio.sleep(0)


async def test_a_redis_that_dies_is_left_alone_and_found_again(
    doors: Doors, redis_server: RedisProcess
) -> None:
    """Every question is answered meanwhile, by itself; what was kept is lost, which costs a question to Fyers."""
    checks = doors.open("a")
    await checks.confirm("asha", 1)
    redis_server.kill()

    for _ in range(5):
        assert await checks.look("asha", 1) == NotAnswering()
        assert await checks.take_turn("asha", 1) is Turn.UNKNOWN
        await checks.confirm("asha", 1)
        await checks.end_turn("asha", 1)
    assert (checks.report().is_used, checks.report().is_answering) == (True, False)

    redis_server.start()
    await answers_again(checks)
    assert await checks.look("asha", 1) == Unconfirmed()
    assert checks.report().is_answering


async def test_a_redis_that_hangs_is_given_up_soon(doors: Doors, redis_server: RedisProcess) -> None:
    """Connections stand and nothing comes: everybody who asked is let go, and then nobody waits any more."""
    checks = doors.open("a")
    await checks.confirm("asha", 1)
    redis_server.freeze()

    answers = await asyncio.gather(*(checks.look("asha", 1) for _ in range(40)))

    assert answers == [NotAnswering()] * 40
    redis_server.thaw()
    await answers_again(checks)
    assert isinstance(await checks.look("asha", 1), Confirmed)


@pytest.mark.parametrize("harm", ["freeze", "kill"])
async def test_its_loss_is_told_once_however_many_were_asking(
    doors: Doors, redis_server: RedisProcess, harm: str
) -> None:
    """All that were under way fail in the same moment; the log says so at the change and at the recovery."""
    with capture_logs() as logs:
        checks = doors.open("a")
        await asyncio.gather(*(checks.ping() for _ in range(8)))
        getattr(redis_server, harm)()

        await asyncio.gather(*(checks.look("asha", place) for place in range(40)))
        if harm == "kill":
            redis_server.start()
        else:
            redis_server.thaw()
        await answers_again(checks)

    told = [line["event"] for line in logs]
    assert told == ["redis.lost", "redis.answers_again"]


async def test_a_crowd_of_our_own_is_not_taken_for_a_lost_redis(doors: Doors) -> None:
    """Who finds no free connection asks Fyers; what was learned of Redis, which answers, stays as it was."""
    checks = doors.open("a", most_connections=1, free_within_s=0, answer_within_s=10)

    answers = await asyncio.gather(*(checks.look("asha", 1) for _ in range(50)))

    assert answers == [Unconfirmed()] + [NotAnswering()] * 49
    assert checks.report().is_answering
    assert await checks.look("asha", 1) == Unconfirmed()


async def test_everybody_of_a_crowd_gets_a_turn(doors: Doors) -> None:
    """Many more questions than connections are answered one after another."""
    checks = doors.open("a", most_connections=3, free_within_s=30, answer_within_s=10)
    await checks.confirm("asha", 7)

    answers = await asyncio.gather(*(checks.look("asha", place) for place in range(400)))

    assert [isinstance(answer, Confirmed) for answer in answers] == [place == 7 for place in range(400)]


async def test_one_who_leaves_takes_no_answer_of_anothers(doors: Doors) -> None:
    """A question that is cancelled on its way never leaves its answer to the next one on the same connection."""
    checks = doors.open("a", most_connections=4, free_within_s=30, answer_within_s=10)
    for place in range(8):
        await checks.confirm("asha", place)

    for patience in range(60):
        leaving = [asyncio.create_task(checks.look("asha", place)) for place in range(8)]
        for _ in range(patience % 12):
            await asyncio.sleep(0)
        for one in leaving:
            one.cancel()
        answers = await asyncio.gather(*(checks.look("ravi", place) for place in range(8)))
        assert answers == [Unconfirmed()] * 8
        await asyncio.gather(*leaving, return_exceptions=True)


async def test_while_it_is_down_one_question_at_a_time_is_tried(
    doors: Doors, redis_server: RedisProcess
) -> None:
    """By the clock of the cool-down: in between nothing is even attempted."""
    clock = FakeClock()
    checks = doors.open("a", wire_clock=clock)
    redis_server.kill()
    for _ in range(3):
        await checks.look("asha", 1)
    redis_server.start()

    assert await checks.look("asha", 1) == NotAnswering()

    await clock.advance(2)
    assert await checks.look("asha", 1) == Unconfirmed()


@pytest.mark.parametrize(
    "command",
    [
        ("CONFIG", "SET", "requirepass", "another password"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("REPLICAOF", "127.0.0.1", "9"),
    ],
    ids=["password", "full", "read-only replica"],
)
async def test_a_redis_that_refuses_is_like_none(
    doors: Doors, redis_server: RedisProcess, command: tuple[str, ...]
) -> None:
    """Wrong password, no memory left, a replica: each process goes on for itself."""
    with redis_server.client() as client:
        client.execute_command(*command)
    checks = doors.open("a")

    for _ in range(3):
        assert await checks.take_turn("asha", 1) is Turn.UNKNOWN
        await checks.confirm("asha", 1)
    assert not isinstance(await checks.look("asha", 1), Confirmed)


async def test_keys_of_another_type_are_no_confirmation(doors: Doors, redis_server: RedisProcess) -> None:
    """Somebody else's data in our place is neither believed nor fatal."""
    checks = doors.open("a")
    await checks.confirm("asha", 1)
    with redis_server.client() as client:
        for key in list(client.scan_iter()):
            client.delete(key)
            client.rpush(key, "a", "list")

    assert not isinstance(await checks.look("asha", 1), Confirmed)


@given(
    value=st.one_of(st.none(), st.binary(max_size=40), st.integers().map(lambda n: str(n).encode())),
    left=st.one_of(st.none(), st.integers(), st.binary(max_size=5), st.floats()),
)
def test_nonsense_is_read_as_nothing(value, left) -> None:
    """A confirmation has an age that is possible: not negative, not past its life."""
    answer = _read([value, left])

    if isinstance(answer, Confirmed):
        assert 0 <= answer.age_s * 1000 <= int(value)
        assert left > 0
    else:
        assert answer == Unconfirmed()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(user_id=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
async def test_any_user_id_will_do(doors: Doors, user_id: str) -> None:
    """Whatever an id looks like, its confirmation is its own."""
    checks = doors.open("a", answer_within_s=10)

    await checks.confirm(user_id, 7)

    assert isinstance(await checks.look(user_id, 7), Confirmed)
    assert await checks.look(user_id + "x", 7) == Unconfirmed()
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(reply=st.lists(st.sampled_from(_PIECES), max_size=9).map(b"".join), hangs_up=st.booleans())
async def test_whatever_is_said_at_that_address_nothing_is_raised(
    doors: Doors, reply: bytes, *, hangs_up: bool
) -> None:
    """Errors, other protocols and impossible replies give answers of the agreed types, and later a real Redis is found again."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the other side leaves when it has heard enough
            while await reader.read(65536):
                writer.write(reply)
                if hangs_up:
                    break
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clock = FakeClock()
    checks = doors.open("a", url=f"redis://127.0.0.1:{port}", wire_clock=clock, answer_within_s=0.02)

    for _ in range(2):
        assert isinstance(await checks.look("asha", 1), Confirmed | Unconfirmed | NotAnswering)
        assert await checks.take_turn("asha", 1) in Turn
        await checks.confirm("asha", 1)
        await checks.end_turn("asha", 1)
        await checks.forget("asha", 1)
        await checks.ping()
        await clock.advance(60)  # past any cool-down: probes meet the same
    server.close()
    await checks.close()

    checks._redis = doors.open("a")._redis
    async with asyncio.timeout(30):  # its patience is short here, and this machine may be busy
        while not await checks.ping():
            await clock.advance(60)
    assert checks.report().is_answering


@pytest.mark.parametrize(
    "url",
    ["http://h", "redis://:hunter2@h?made_up=1", "redis://:hunter2@h?socket_timeout=soon", "unix:///x?db=y"],
)
def test_an_address_that_cannot_work_is_met_at_once(url: str) -> None:
    """Not by the first user who asks; and nothing of it is quoted."""
    with pytest.raises(ValueError) as caught:
        RedisChecks(
            SecretText(url),
            salt=SALT,
            process="a",
            good_for_s=300,
            wire_clock=FakeClock(),
            random=Random(1),
        )
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


async def test_a_reader_of_redis_learns_of_nobody(doors: Doors, redis_server: RedisProcess) -> None:
    """Keys are hashes under a salt, values are numbers and the name of a process."""
    checks = doors.open("prc_1", answer_within_s=10)
    await checks.confirm("usr_canary", 31337)
    await checks.take_turn("usr_canary", 31337)

    with redis_server.client() as client:
        content = {key: client.get(key) for key in client.scan_iter()}

    assert len(content) == 2
    assert all(key.startswith(b"hullwatch:v1:") for key in content)
    assert sorted(content.values()) == [b"300000", b"prc_1"]
    seen = repr(content) + repr(checks)
    for canary in ("usr_canary", "31337", SALT.reveal()):
        assert canary not in seen
