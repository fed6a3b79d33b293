"""Many accounts refused at once; `hullwatch.services.sessions.mass_refusal`."""

from datetime import timedelta

import pytest
from fakes.broker import AccountState, refusal
from fakes.store import FakeStore

from hullwatch.domain.events import EVERYBODY, BrokerOutageChanged
from hullwatch.domain.failures import BrokerService
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import DisconnectReason, VerificationState
from hullwatch.domain.users.accounts import Role
from hullwatch.services.sessions.mass_refusal import PROBE_EVERY_S
from services.environment import ALICE, BOB, CAROL, DAVE, Environment, fyers_id

ADMIN = "usr_admin"
EVERYONE = (ALICE, BOB, CAROL, DAVE)


@pytest.fixture
async def env() -> Environment:
    """Four people have sessions, an admin has none, and all jobs run."""
    built = await Environment().start(with_monitoring=False)
    await built.add_user(ADMIN, role=Role.ADMIN)
    return await built.with_sessions(*EVERYONE)


def set_all(env: Environment, state: AccountState, *user_ids: str) -> None:
    """Set the state of these accounts, or of all, at Fyers."""
    for user_id in user_ids or EVERYONE:
        env.broker.set_state(fyers_id(user_id), state)


async def ask(env: Environment, user_id: str) -> None:
    """Make an ordinary call, if one may be made."""
    credential = env.connections.credential(user_id)
    if credential is not None:
        env.connections.record_result(credential, await env.broker.check_data(credential))
        await env.clock.settle()


def states(env: Environment) -> set[VerificationState]:
    """Return the verification states of all sessions."""
    return {env.connections.connection(user_id).verification_state for user_id in EVERYONE}


async def begin_outage(env: Environment) -> None:
    """Let Fyers refuse all accounts, and make the calls that show it."""
    set_all(env, AccountState.REVOKED)
    for user_id in EVERYONE:
        await ask(env, user_id)
    await env.clock.advance(5)


async def test_a_mass_refusal_disconnects_no_session(env: Environment) -> None:
    """All sessions are held, no ordinary call is made, and the outage is known."""
    await begin_outage(env)

    assert env.connections.session_count() == 4
    assert states(env) == {VerificationState.HELD}
    assert env.connections.broker_outage is not None
    assert all(env.connections.credential(user_id) is None for user_id in EVERYONE)
    assert all(env.notices(user_id) == [] for user_id in EVERYONE)


async def test_the_first_refused_account_is_compared_with_others(
    env: Environment,
) -> None:
    """At night only one account makes calls, so others are probed before a decision."""
    set_all(env, AccountState.REVOKED)

    await ask(env, ALICE)
    await env.clock.advance(5)

    assert env.connections.session_count() == 4
    assert env.connections.broker_outage is not None


async def test_one_refused_among_many_is_disconnected_at_once(env: Environment) -> None:
    """The probe accounts are answered, and no session is held."""
    set_all(env, AccountState.REVOKED, BOB)

    await ask(env, BOB)

    assert env.connections.connection(BOB).reason is DisconnectReason.REJECTED
    assert env.connections.session_count() == 3
    assert env.connections.broker_outage is None
    assert len(env.notices(BOB)) == 1


async def test_two_refused_among_many_are_disconnected(env: Environment) -> None:
    """Two are fewer than a mass refusal; the decision takes two seconds longer."""
    set_all(env, AccountState.REVOKED, ALICE, BOB)

    await ask(env, ALICE)
    await ask(env, BOB)
    await env.clock.advance(5)

    assert {user for user in EVERYONE if env.connections.connection(user).has_session} == {CAROL, DAVE}
    assert env.connections.broker_outage is None


async def test_hanging_probe_accounts_delay_a_decision_by_seconds(env: Environment) -> None:
    """A probe without an answer proves nothing, so the session is decided as if it were alone."""
    set_all(env, AccountState.HANGING, BOB, CAROL, DAVE)
    set_all(env, AccountState.REVOKED, ALICE)

    await ask(env, ALICE)
    await env.clock.advance(14)
    assert env.connections.connection(ALICE).has_session
    await env.clock.advance(6)

    assert env.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert env.connections.session_count() == 3


async def test_an_outage_is_reported_once(env: Environment) -> None:
    """One event to all users, one audit entry, one notice to each admin, none to other users."""
    listener = env.hub.subscribe(EVERYBODY)
    await begin_outage(env)
    set_all(env, AccountState.ACTIVE)
    await env.clock.advance(2 * PROBE_EVERY_S)
    listener.close()

    events = [delivery.message async for delivery in listener]
    assert [(event.is_ongoing, type(event)) for event in events] == [
        (True, BrokerOutageChanged),
        (False, BrokerOutageChanged),
    ]
    assert events[0].incident_id == events[1].incident_id
    assert env.audit(None, "broker.") == ["broker.mass_refusal", "broker.recovered"]
    assert [notice.kind for notice in env.notices(ADMIN)] == [
        NotificationKind.BROKER_OUTAGE,
        NotificationKind.BROKER_RECOVERED,
    ]


async def test_held_sessions_are_probed_slowly(env: Environment) -> None:
    """One account per minute with two calls, however many are held."""
    await begin_outage(env)
    reached = len(env.broker.calls)

    await env.clock.advance(10 * PROBE_EVERY_S)

    slow = env.broker.calls[reached:]
    assert 2 * 8 <= len(slow) <= 2 * 12
    assert all(call.is_for_verification for call in slow)
    assert len({call.user_id for call in slow}) == 4


async def test_the_first_answer_releases_all_held_sessions(env: Environment) -> None:
    """A session that is refused afterwards gets its own verification."""
    await begin_outage(env)
    set_all(env, AccountState.ACTIVE)
    set_all(env, AccountState.REVOKED, DAVE)
    await env.clock.advance(3 * PROBE_EVERY_S)
    assert env.connections.broker_outage is None

    for user_id in EVERYONE:
        await ask(env, user_id)
    await env.clock.advance(5)

    assert {user for user in EVERYONE if env.connections.connection(user).is_usable} == {ALICE, BOB, CAROL}
    assert env.connections.connection(DAVE).reason is DisconnectReason.REJECTED


async def test_held_sessions_are_disconnected_once_new_logins_work(env: Environment) -> None:
    """Fyers accepts new tokens and refuses old ones, so it ended the old sessions."""
    await begin_outage(env)
    await env.log_in(ALICE)  # the new token is good, the old ones stay refused
    await ask(env, ALICE)

    await env.clock.advance(2 * PROBE_EVERY_S)

    assert env.connections.connection(ALICE).is_usable
    assert {env.connections.connection(user_id).reason for user_id in (BOB, CAROL, DAVE)} == {
        DisconnectReason.REJECTED
    }
    await env.clock.advance(2 * PROBE_EVERY_S)
    assert env.connections.broker_outage is None


async def test_the_last_held_session_is_decided_once_others_work(env: Environment) -> None:
    """Too few are left for an outage, so the session is not held for the rest of the day."""
    set_all(env, AccountState.REVOKED, ALICE, BOB, CAROL)
    for user_id in EVERYONE:
        await ask(env, user_id)
    await env.clock.advance(5)
    assert env.connections.broker_outage is not None
    for user_id in (BOB, CAROL):
        await env.connections.sign_out(user_id, actor=user_id)
    await env.clock.advance(2 * PROBE_EVERY_S)
    assert env.connections.connection(ALICE).verification_state is VerificationState.HELD
    await ask(env, DAVE)

    await env.clock.advance(3 * PROBE_EVERY_S)

    assert env.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert env.connections.broker_outage is None
    assert env.connections.connection(DAVE).is_usable


async def test_users_can_log_in_during_an_outage(env: Environment) -> None:
    """A new session is used at once; if it is refused too, it is held."""
    await begin_outage(env)
    await env.log_in(BOB)
    assert env.connections.credential(BOB) is not None

    set_all(env, AccountState.REVOKED, BOB)
    await ask(env, BOB)
    await env.clock.advance(5)

    assert env.connections.connection(BOB).verification_state is VerificationState.HELD
    assert env.connections.connection(BOB).generation == 2


async def test_a_held_session_expires(env: Environment) -> None:
    """An outage does not prolong a session; without held sessions the outage ends."""
    for user_id in EVERYONE:
        await env.log_in(user_id, lifetime=timedelta(minutes=10))
    await begin_outage(env)

    await env.clock.advance(13 * 60)

    assert {env.connections.connection(user).reason for user in EVERYONE} == {DisconnectReason.EXPIRED}
    assert env.connections.broker_outage is None


async def test_a_notice_that_could_not_be_stored_is_stored_later(env: Environment) -> None:
    """While the database is unavailable the event is published at once, and the operators' notice follows."""
    env.store.is_down = True
    await begin_outage(env)
    assert env.connections.broker_outage is not None
    assert env.notices(ADMIN) == []
    env.store.is_down = False

    await env.clock.advance(2 * PROBE_EVERY_S)

    assert [notice.kind for notice in env.notices(ADMIN)] == [NotificationKind.BROKER_OUTAGE]


def admin_notices(env: Environment) -> list[NotificationKind]:
    """Return the kinds of the admin's notices, oldest first."""
    return [notice.kind for notice in env.notices(ADMIN)]


async def restarted(env: Environment, *, after_s: float = 0.0) -> Environment:
    """Kill the server and start it again after a while."""
    env = await env.kill()
    await env.clock.advance(after_s)
    return await env.start(with_monitoring=False)


async def test_a_restart_continues_the_same_outage(env: Environment) -> None:
    """The start is not reported again, the first refused session is held, and the recovery is reported."""
    await begin_outage(env)
    incident_id = env.connections.broker_outage.incident_id
    env = await restarted(env, after_s=30)
    await env.clock.advance(3 * PROBE_EVERY_S)
    assert env.connections.broker_outage.incident_id == incident_id

    for user_id in EVERYONE:
        await ask(env, user_id)
        await env.clock.advance(5)
    assert states(env) == {VerificationState.HELD}
    assert admin_notices(env) == [NotificationKind.BROKER_OUTAGE]

    set_all(env, AccountState.ACTIVE)
    await env.clock.advance(2 * PROBE_EVERY_S)
    assert env.connections.broker_outage is None
    assert admin_notices(env) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]
    assert {notice.incident_id for notice in env.notices(ADMIN)} == {incident_id}


async def test_an_outage_that_ended_while_stopped_is_reported_as_ended(env: Environment) -> None:
    """It ends as soon as a session from before it is accepted."""
    await begin_outage(env)
    set_all(env, AccountState.ACTIVE)
    env = await restarted(env, after_s=600)

    await ask(env, ALICE)
    await env.clock.advance(2 * PROBE_EVERY_S)

    assert env.connections.broker_outage is None
    assert admin_notices(env) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]


async def test_an_outage_without_its_sessions_ends(env: Environment) -> None:
    """The refused sessions expired overnight, and newer logins are not part of the outage."""
    await begin_outage(env)
    env = await restarted(env, after_s=24 * 3600)
    await env.log_in(ALICE)

    await env.clock.advance(2 * PROBE_EVERY_S)

    assert env.connections.broker_outage is None
    assert admin_notices(env)[-1] is NotificationKind.BROKER_RECOVERED


@pytest.mark.parametrize("is_kept", [False, True], ids=["before the commit", "after the commit"])
async def test_a_crash_while_an_outage_is_stored_reports_it_once(env: Environment, *, is_kept: bool) -> None:
    """This holds for its start and its end."""

    async def crash_at(step: str) -> Environment:
        """Kill the server around the commit that stores this step of the outage."""
        seen: list[FakeStore] = []

        async def copy_store() -> None:
            is_noted = step in env.audit(prefix="broker.")
            if is_noted is is_kept:
                seen.append(env.store.copied())

        env.store.before_commit, env.store.after_commit = (
            (None, copy_store) if is_kept else (copy_store, None)
        )
        if step == "broker.mass_refusal":
            await begin_outage(env)
        else:
            set_all(env, AccountState.ACTIVE)
            await env.clock.advance(2 * PROBE_EVERY_S)
        assert step in env.audit(prefix="broker.")
        other = await env.kill(seen[0 if is_kept else -1])
        return await other.start(with_monitoring=False)

    env = await crash_at("broker.mass_refusal")
    set_all(env, AccountState.REVOKED)
    for user_id in EVERYONE:
        await ask(env, user_id)
    await env.clock.advance(5)
    assert admin_notices(env) == [NotificationKind.BROKER_OUTAGE]

    env = await crash_at("broker.recovered")
    await ask(env, ALICE)
    await env.clock.advance(2 * PROBE_EVERY_S)
    assert admin_notices(env) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]


async def test_of_two_processes_one_notifies_the_operators(env: Environment) -> None:
    """Both detect the outage; operators get one notice of its start and one of its end."""
    other = Environment(clock=env.clock, store=env.store, broker=env.broker, ids=env.new_id)
    await other.start(with_monitoring=False)
    await begin_outage(env)
    await begin_outage(other)
    assert states(other) == {VerificationState.HELD}
    assert other.connections.broker_outage.incident_id == env.connections.broker_outage.incident_id

    set_all(env, AccountState.ACTIVE)
    await env.clock.advance(3 * PROBE_EVERY_S)

    assert env.connections.broker_outage is other.connections.broker_outage is None
    assert admin_notices(env) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]
    assert env.audit(prefix="broker.") == ["broker.mass_refusal", "broker.recovered"]


async def test_refusals_spread_over_hours_are_no_outage(env: Environment) -> None:
    """Each is decided alone; the last account has no probe accounts."""
    for user_id in EVERYONE:
        set_all(env, AccountState.REVOKED, user_id)
        await ask(env, user_id)
        await env.clock.advance(600)

    assert env.connections.session_count() == 0
    assert env.connections.broker_outage is None


async def test_a_long_verification_counts_when_it_is_decided(env: Environment) -> None:
    """Refusals whose verifications met an outage first are still seen together."""
    three = (ALICE, BOB, CAROL)
    await env.connections.sign_out(DAVE, actor=DAVE)
    for user_id in three:
        set_all(env, AccountState.UNAVAILABLE, user_id)
        env.broker.queue(fyers_id(user_id), refusal(BrokerService.DATA))
        await ask(env, user_id)
        await env.clock.advance(20)
    await env.clock.advance(100)
    assert {env.connections.connection(user_id).verification_state for user_id in three} == {
        VerificationState.UNDER_VERIFICATION
    }
    set_all(env, AccountState.REVOKED)

    await env.clock.advance(300)

    assert env.connections.session_count() == 3
    assert env.connections.broker_outage is not None
