"""Redis lost, hung, full, foreign or full of nonsense: no error, no long wait, and nothing readable in it."""

import asyncio

import pytest
from fakes.clock import FakeClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hullwatch.domain.shared_checks import Confirmed, NotAnswering, Turn, Unconfirmed
from hullwatch.sharing.redis_checks import _read
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
    checks = doors.open("a")

    await checks.confirm(user_id, 7)

    assert isinstance(await checks.look(user_id, 7), Confirmed)
    assert await checks.look(user_id + "x", 7) == Unconfirmed()
    await checks.forget(user_id, 7)


async def test_a_reader_of_redis_learns_of_nobody(doors: Doors, redis_server: RedisProcess) -> None:
    """Keys are hashes under a salt, values are numbers and the name of a process."""
    checks = doors.open("prc_1")
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
