"""Ends and removals that one process stores and another, which holds the session in memory, has to notice."""

import pytest

from hullwatch.domain.failures import SessionDisconnected
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState
from hullwatch.services.sessions.service import STORED_DISCONNECTS_EVERY_S
from hullwatch.services.sessions.stored_disconnects import disconnect_stored
from services.building import ALICE, BOB, House


@pytest.fixture
async def house() -> House:
    """Alice and Bob have sessions and all jobs run."""
    built = await House().start(with_monitoring=False)
    return await built.with_sessions(ALICE, BOB)


async def disconnect(house: House, user_id: str = ALICE):
    """End a session on the database itself, as another process does."""
    return await disconnect_stored(
        house.store, user_id, actor="command-line", now=house.clock.now(), new_id=house.new_id
    )


async def test_an_end_on_the_database_is_complete(house: House) -> None:
    """The stored end has its reason, its audit line with whoever did it, one notice, and no token any more."""
    change = await disconnect(house)

    stored = house.stored(ALICE)
    line = house.store.tables.audit[-1]
    assert change is not None
    assert (stored.state, stored.reason) == (LoginState.DISCONNECTED, DisconnectReason.BY_ADMIN)
    assert (line.kind, line.actor, line.incident_id) == (
        "connection.disconnected_by_admin",
        "command-line",
        stored.incident_id,
    )
    assert len(house.notices(ALICE, NotificationKind.SESSION_DISCONNECTED)) == 1
    assert ALICE not in house.store.tables.tokens


async def test_without_a_session_nothing_happens(house: House) -> None:
    """Ending twice, or for a user who never linked, stores nothing."""
    await disconnect(house)
    lines = len(house.store.tables.audit)

    assert await disconnect(house) is None
    assert await disconnect(house, "usr_nobody") is None
    assert len(house.store.tables.audit) == lines


async def test_a_running_server_takes_the_end_over(house: House) -> None:
    """Within seconds memory says what is stored, held credentials are void, nobody is told twice, and others go on."""
    credential = house.credential(ALICE)
    changes = []
    house.connections.on_change(changes.append)
    await disconnect(house)
    lines = len(house.store.tables.audit)
    assert house.connections.connection(ALICE).has_session

    await house.clock.advance(STORED_DISCONNECTS_EVERY_S + 1)

    answer = await house.broker.check_data(credential)
    assert house.connections.connection(ALICE) == house.stored(ALICE)
    assert house.connections.credential(ALICE) is None
    assert isinstance(answer, SessionDisconnected)
    assert house.connections.credential(BOB) is not None
    assert [change.after.user_id for change in changes] == [ALICE]
    assert len(house.notices(ALICE, NotificationKind.SESSION_DISCONNECTED)) == 1
    assert len(house.store.tables.audit) == lines


async def test_a_login_after_the_end_counts(house: House) -> None:
    """A login that is made before the server has noticed the end begins a session that the old end does not touch."""
    await disconnect(house)
    await house.log_in(ALICE)

    await house.clock.advance(STORED_DISCONNECTS_EVERY_S * 3)

    assert house.connections.connection(ALICE).state is LoginState.CONNECTED
    assert house.stored(ALICE).state is LoginState.CONNECTED
    assert house.stored(ALICE).generation == 2


async def test_what_the_server_observes_meanwhile_does_not_revive_the_session(house: House) -> None:
    """An observation stored between the end and its take-over leaves the stored end as it is."""
    await disconnect(house)
    credential = house.credential(ALICE)
    house.connections.record_result(credential, await house.broker.check_data(credential))

    await house.connections.store_observations()

    assert house.stored(ALICE).state is LoginState.DISCONNECTED


async def test_a_removed_user_is_forgotten(house: House) -> None:
    """A user removed by another process has no session here any more; a held credential is void."""
    credential = house.credential(ALICE)
    async with house.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    await house.clock.advance(STORED_DISCONNECTS_EVERY_S + 1)

    assert ALICE not in {connection.user_id for connection in house.connections.connections()}
    assert isinstance(await house.broker.check_data(credential), SessionDisconnected)
    assert house.connections.credential(BOB) is not None
