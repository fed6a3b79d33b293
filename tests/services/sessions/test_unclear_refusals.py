"""Refusals of the access token without HTTP 401."""

from datetime import timedelta

import pytest
from fakes.broker import AccountState, refusal, unclear_refusal

from hullwatch.domain.events import NotificationStored
from hullwatch.domain.failures import BrokerService
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import DisconnectReason, HoldReason, VerificationState
from hullwatch.domain.sessions.verification import HOLD_AFTER
from hullwatch.domain.users.accounts import Role
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S, PROBE_HELD_EVERY_S
from hullwatch.services.texts.connection import connection_message
from services.environment import ALICE, BOB, CAROL, DAVE, SBIN, Environment, candles_of, fyers_id, quote

PROFILE, TRADING, DATA = BrokerService.PROFILE, BrokerService.TRADING, BrokerService.DATA
HISTORY = BrokerService.HISTORY
TOKEN_SERVICES = (PROFILE, TRADING, HISTORY, DATA)
HELD_S = HOLD_AFTER.total_seconds() + 30


@pytest.fixture
async def env() -> Environment:
    """Alice watches one symbol in an open market."""
    env = await Environment().start()
    await env.with_sessions(ALICE)
    env.broker.serve_candles(SBIN, (await env.watch(ALICE)).resolution, candles_of())
    env.broker.serve_quotes([quote()])
    await env.monitoring.start(ALICE)
    await env.clock.advance(30)
    return env


def refuse(env: Environment, *services: BrokerService, status: int = 200, user_id: str = ALICE) -> None:
    """Let these services refuse the account's token with their code, and not with HTTP 401."""
    for service in services or TOKEN_SERVICES:
        env.broker.always(fyers_id(user_id), service, unclear_refusal(service, status))


def accept(env: Environment, user_id: str = ALICE) -> None:
    """Let all services accept the account's token again."""
    for service in TOKEN_SERVICES:
        env.broker.always(fyers_id(user_id), service, None)


def held_notices(env: Environment, user_id: str = ALICE) -> list[NotificationKind]:
    """Return the kinds of the user's notices about the hold."""
    return [notice.kind for notice in env.notices(user_id)]


@pytest.mark.parametrize("status", [200, 400, 403])
async def test_an_account_refused_for_two_minutes_is_on_hold(env: Environment, status: int) -> None:
    """Until then the answers are failures. Up to 52 calls a minute went on for the whole day before."""
    refuse(env, status=status)
    began_at = env.clock.now()
    await env.clock.advance(HOLD_AFTER.total_seconds() - 1)
    assert env.connections.connection(ALICE).is_usable
    await env.clock.advance(31)

    connection = env.connections.connection(ALICE)
    assert (connection.has_session, connection.verification_state) == (True, VerificationState.HELD)
    assert connection.hold_reason is HoldReason.UNCLEAR_REFUSAL
    assert env.monitoring.state(ALICE).status is WatchStatus.SESSION_HELD
    assert "without ending it" in env.monitoring.state(ALICE).reason_text
    assert "Log in to Fyers again, or wait" in connection_message(connection)
    reached = len(env.broker.calls)
    await env.clock.advance(3600)
    assert env.connections.connection(ALICE).has_session
    assert len(env.broker.calls) - reached <= 3 * 3600 / (0.9 * PROBE_HELD_EVERY_S) + 3
    assert all(call.is_for_verification for call in env.broker.calls[reached:])
    assert held_notices(env) == [NotificationKind.NOT_READY]
    [entry] = [one for one in env.store.tables.audit if one.kind == "connection.held"]
    assert {item["status"] for item in entry.evidence["refusals"]} == {status}
    assert entry.at - began_at <= HOLD_AFTER + timedelta(seconds=30)


async def test_a_hold_is_over_at_the_first_answer(env: Environment) -> None:
    """Its user gets one notice of the recovery, under the same incident."""
    refuse(env)
    await env.clock.advance(HELD_S)
    accept(env)
    await env.clock.advance(1.1 * PROBE_HELD_EVERY_S + 10)

    assert env.connections.connection(ALICE).is_verified
    assert env.monitoring.state(ALICE).status is WatchStatus.WATCHING
    assert held_notices(env) == [NotificationKind.NOT_READY, NotificationKind.NOW_READY]
    assert len({notice.incident_id for notice in env.notices(ALICE)}) == 1
    assert env.audit(ALICE, "connection.hold") == ["connection.hold_over"]


async def test_an_answer_within_two_minutes_begins_the_wait_anew(env: Environment) -> None:
    """Only an account of which nothing succeeds is put on hold."""
    for _ in range(4):
        refuse(env)
        await env.clock.advance(100)
        accept(env)
        await env.clock.advance(10)

    assert env.connections.connection(ALICE).is_verified
    assert held_notices(env) == []


async def test_one_service_that_refuses_holds_no_account(env: Environment) -> None:
    """The other services answer, so one symbol or one service is concerned."""
    refuse(env, HISTORY, DATA)

    for _ in range(60):
        await env.clock.advance(10)
        assert env.connections.connection(ALICE).verification_state is not VerificationState.HELD

    assert held_notices(env) == []


async def test_a_restart_does_not_repeat_the_notice(env: Environment) -> None:
    """The hold itself begins anew after two minutes; the recovery is reported once, after the restart too."""
    refuse(env)
    await env.clock.advance(HELD_S)
    env = await (await env.kill()).start()
    await env.clock.advance(HELD_S)
    assert env.connections.connection(ALICE).hold_reason is HoldReason.UNCLEAR_REFUSAL
    assert held_notices(env) == [NotificationKind.NOT_READY]
    env = await (await env.kill()).start()
    accept(env)

    await env.clock.advance(30)

    assert held_notices(env) == [NotificationKind.NOT_READY, NotificationKind.NOW_READY]


async def test_a_login_ends_the_hold(env: Environment) -> None:
    """The recovery is reported when Fyers accepts the new session."""
    refuse(env)
    await env.clock.advance(HELD_S)
    await env.log_in(ALICE)
    assert env.connections.connection(ALICE).hold_reason is None
    assert held_notices(env) == [NotificationKind.NOT_READY]
    accept(env)
    await env.clock.advance(10)

    assert held_notices(env) == [NotificationKind.NOT_READY, NotificationKind.NOW_READY]


async def test_a_held_session_expires_without_a_recovery(env: Environment) -> None:
    """The notice of the disconnect takes the place of the recovery."""
    refuse(env)
    await env.clock.advance(HELD_S)

    await env.clock.advance_to(env.connections.connection(ALICE).expires_at + timedelta(seconds=1))

    assert env.connections.connection(ALICE).reason is DisconnectReason.EXPIRED
    assert held_notices(env) == [NotificationKind.NOT_READY, NotificationKind.SESSION_DISCONNECTED]
    assert env.audit(ALICE, "connection.hold") == ["connection.hold_over"]


async def test_two_clear_refusals_disconnect_a_held_session(env: Environment) -> None:
    """With HTTP 401 the usual rules apply, the second confirmation included."""
    refuse(env)
    await env.clock.advance(HELD_S)
    accept(env)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    await env.clock.advance(1.1 * PROBE_HELD_EVERY_S + CONFIRM_AGAIN_S)

    assert env.connections.connection(ALICE).reason is DisconnectReason.REJECTED


async def test_a_clear_refusal_that_is_never_confirmed_ends_in_a_hold(env: Environment) -> None:
    """One service refuses with HTTP 401 and the others without it."""
    refuse(env, PROFILE, TRADING)
    env.broker.always(fyers_id(ALICE), DATA, refusal(DATA))
    env.broker.always(fyers_id(ALICE), HISTORY, refusal(HISTORY))

    await env.clock.advance(30)
    assert env.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    await env.clock.advance(HELD_S)

    assert env.connections.connection(ALICE).hold_reason is HoldReason.UNCLEAR_REFUSAL


async def test_many_accounts_refused_without_401_are_a_mass_refusal(env: Environment) -> None:
    """Operators are notified once, and users of nothing: they can do nothing about it."""
    everybody = (ALICE, BOB, CAROL, DAVE)
    await env.with_sessions(*everybody[1:])
    await env.add_user("usr_admin", role=Role.ADMIN)
    for user_id in everybody:
        refuse(env, user_id=user_id)

    for _ in range(30):
        for user_id in everybody:
            if (credential := env.connections.credential(user_id)) is not None:
                env.connections.record_result(credential, await env.broker.check_data(credential))
        await env.clock.advance(5)

    assert {env.connections.connection(user_id).hold_reason for user_id in everybody} == {
        HoldReason.MASS_REFUSAL
    }
    assert [notice.kind for notice in env.notices("usr_admin")] == [NotificationKind.BROKER_OUTAGE]
    assert all(env.notices(user_id) == [] for user_id in everybody)


async def test_the_notice_of_a_hold_reaches_open_tabs(env: Environment) -> None:
    """It is published once it is stored, and the database may be away for a while."""
    tab = env.hub.subscribe(ALICE)
    env.store.is_down = True
    refuse(env)
    await env.clock.advance(HELD_S)
    env.store.is_down = False
    await env.clock.advance(60)
    tab.close()

    stored = [one.message async for one in tab if isinstance(one.message, NotificationStored)]
    assert [event.notification.kind for event in stored] == [NotificationKind.NOT_READY]


async def test_readiness_names_the_hold(env: Environment) -> None:
    """A login is what the user can do before the market opens."""
    refuse(env)
    await env.clock.advance(HELD_S)

    assert env.readiness.of(ALICE).readiness.reason is Obstacle.SESSION_HELD
