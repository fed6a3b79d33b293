"""Storing and loading the pace of calls; `hullwatch.services.operations.call_paces`."""

from services.environment import ALICE, BOB, Environment, fyers_id


async def called(env: Environment, user_id: str, times: int) -> None:
    """Make calls with a user's session."""
    for _ in range(times):
        await env.broker.check_data(env.credential(user_id))


def stored(env: Environment) -> dict[str, int]:
    """Return Fyers id → the stored calls of the day."""
    return {pace.fyers_id: pace.calls for pace in env.store.tables.call_paces.values()}


async def test_counts_are_stored_every_minute() -> None:
    """Nothing is written while nobody calls."""
    env = await Environment().start(with_monitoring=False)
    env.call_paces.start_job(env.supervisor)
    await env.with_sessions(ALICE, BOB)
    await called(env, ALICE, 3)
    await env.clock.advance(61)
    assert stored(env) == {fyers_id(ALICE): 3}

    await called(env, ALICE, 2)
    await called(env, BOB, 1)
    await env.clock.advance(60)
    commits = env.store.commits
    await env.call_paces.store()

    assert stored(env) == {fyers_id(ALICE): 5, fyers_id(BOB): 1}
    assert env.store.commits == commits


async def test_a_killed_process_is_followed_by_an_unclean_start() -> None:
    """An orderly stop is recorded last, and a first start follows no process."""
    env = await Environment().start()
    assert env.broker.is_clean_start is True
    await env.with_sessions(ALICE)
    await called(env, ALICE, 4)
    await env.call_paces.store()

    killed = await (await env.kill()).start()
    assert killed.broker.is_clean_start is False
    assert [pace.calls for pace in killed.broker.restored] == [4]
    await called(killed, ALICE, 2)
    await killed.stop()
    assert stored(killed) == {fyers_id(ALICE): 6}

    stopped = await (await killed.kill()).start()
    assert stopped.broker.is_clean_start is True


async def test_several_processes_add_their_calls() -> None:
    """Fyers counts calls per account, from any process."""
    env = await Environment().start(with_monitoring=False)
    await env.with_sessions(ALICE)
    other = await Environment(store=env.store, clock=env.clock).start(with_monitoring=False)
    await called(env, ALICE, 3)
    await env.call_paces.store()
    await called(other, ALICE, 4)
    await other.call_paces.store()
    await called(env, ALICE, 1)
    await env.call_paces.store()

    assert stored(env) == {fyers_id(ALICE): 8}


async def test_counts_are_stored_after_the_database_recovers() -> None:
    """A failed store loses nothing and counts nothing twice."""
    env = await Environment().start(with_monitoring=False)
    env.call_paces.start_job(env.supervisor)
    await env.with_sessions(ALICE)
    await called(env, ALICE, 3)
    env.store.is_down = True
    await env.clock.advance(61)
    env.store.is_down = False
    await env.clock.advance(120)

    assert stored(env) == {fyers_id(ALICE): 3}
