"""Disconnects and removals that another process stores; `hullwatch.services.sessions.persistence`."""

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
    """Disconnect a session in the database, as another process does."""
    other = Environment(clock=env.clock, store=env.store, broker=env.broker, ids=env.new_id)
    return await other.validation.mark_user_as_disconnected(
        user_id, DisconnectReason.BY_ADMIN, actor="command-line"
    )


async def test_a_stored_disconnect_is_complete(env: Environment) -> None:
    """It has its reason, an audit entry with the actor, one notice, and no token."""
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
    """A second disconnect, or one for a user who never linked Fyers, stores nothing."""
    await disconnect(env)
    lines = len(env.store.tables.audit)

    assert await disconnect(env) == env.stored(ALICE)
    assert (await disconnect(env, "usr_nobody")).state is LoginState.NEVER_CONNECTED
    assert len(env.store.tables.audit) == lines


async def test_a_running_server_applies_a_stored_disconnect(env: Environment) -> None:
    """Within seconds memory equals the database, credentials are closed, and no second notice is stored."""
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


async def test_a_login_after_a_stored_disconnect_stays(env: Environment) -> None:
    """The login came before the server noticed the disconnect."""
    await disconnect(env)
    await env.log_in(ALICE)

    await env.clock.advance(STORED_DISCONNECTS_EVERY_S * 3)

    assert env.connections.connection(ALICE).state is LoginState.CONNECTED
    assert env.stored(ALICE).state is LoginState.CONNECTED
    assert env.stored(ALICE).generation == 2


async def test_a_later_observation_does_not_undo_a_stored_disconnect(env: Environment) -> None:
    """The observation is stored between the disconnect and its application."""
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
