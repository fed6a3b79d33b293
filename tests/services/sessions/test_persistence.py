"""Ends and removals that one process stores and another, which holds the session in memory, has to notice."""

import pytest

from hullwatch.domain.failures import SessionDisconnected
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.services.sessions.service import STORED_DISCONNECTS_EVERY_S
from services.environment import ALICE, BOB, Environment


@pytest.fixture
async def env() -> Environment:
    """Alice and Bob have sessions and all jobs run."""
    built = await Environment().start(with_monitoring=False)
    return await built.with_sessions(ALICE, BOB)


async def disconnect(env: Environment, user_id: str = ALICE):
    """End a session on the database itself, as another process does."""
    other = Environment(clock=env.clock, store=env.store, broker=env.broker, ids=env.new_id)
    return await other.validation.mark_user_as_disconnected(
        user_id, DisconnectReason.BY_ADMIN, actor="command-line"
    )


async def test_an_end_on_the_database_is_complete(env: Environment) -> None:
    """The stored end has its reason, its audit line with whoever did it, one notice, and no token any more."""
    after = await disconnect(env)

    stored = env.stored(ALICE)
    line = env.store.tables.audit[-1]
    assert after == stored
    assert (stored.state, stored.reason) == (LoginState.DISCONNECTED, DisconnectReason.BY_ADMIN)
    assert (line.kind, line.actor, line.incident_id) == (
        "connection.disconnected_by_admin",
        "command-line",
        stored.incident_id,
    )
    assert len(env.notices(ALICE, NotificationKind.SESSION_DISCONNECTED)) == 1
    assert ALICE not in env.store.tables.tokens


async def test_without_a_session_nothing_happens(env: Environment) -> None:
    """Ending twice, or for a user who never linked, stores nothing."""
    await disconnect(env)
    lines = len(env.store.tables.audit)

    assert await disconnect(env) == env.stored(ALICE)
    assert (await disconnect(env, "usr_nobody")).state is LoginState.NEVER_CONNECTED
    assert len(env.store.tables.audit) == lines


async def test_a_running_server_takes_the_end_over(env: Environment) -> None:
    """Within seconds memory says what is stored, held credentials are void, nobody is told twice, and others go on."""
    credential = env.credential(ALICE)
    changes = []
    env.connections.subscribe(changes.append)
    await disconnect(env)
    lines = len(env.store.tables.audit)
    assert env.connections.connection(ALICE).has_session

    await env.clock.advance(STORED_DISCONNECTS_EVERY_S + 1)

    answer = await env.broker.check_data(credential)
    assert env.connections.connection(ALICE) == env.stored(ALICE)
    assert env.connections.credential(ALICE) is None
    assert isinstance(answer, SessionDisconnected)
    assert env.connections.credential(BOB) is not None
    assert [change.after.user_id for change in changes] == [ALICE]
    assert len(env.notices(ALICE, NotificationKind.SESSION_DISCONNECTED)) == 1
    assert len(env.store.tables.audit) == lines


async def test_a_login_after_the_end_counts(env: Environment) -> None:
    """A login that is made before the server has noticed the end begins a session that the old end does not touch."""
    await disconnect(env)
    await env.log_in(ALICE)

    await env.clock.advance(STORED_DISCONNECTS_EVERY_S * 3)

    assert env.connections.connection(ALICE).state is LoginState.CONNECTED
    assert env.stored(ALICE).state is LoginState.CONNECTED
    assert env.stored(ALICE).generation == 2


async def test_what_the_server_observes_meanwhile_does_not_revive_the_session(env: Environment) -> None:
    """An observation stored between the end and its take-over leaves the stored end as it is."""
    await disconnect(env)
    credential = env.credential(ALICE)
    env.connections.record_result(credential, await env.broker.check_data(credential))

    await env.connections.store_observations()

    assert env.stored(ALICE).state is LoginState.DISCONNECTED


async def test_a_removed_user_is_forgotten(env: Environment) -> None:
    """A user removed by another process has no session here any more; a held credential is void."""
    credential = env.credential(ALICE)
    async with env.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    await env.clock.advance(STORED_DISCONNECTS_EVERY_S + 1)

    assert ALICE not in {connection.user_id for connection in env.connections.connections()}
    assert isinstance(await env.broker.check_data(credential), SessionDisconnected)
    assert env.connections.credential(BOB) is not None
