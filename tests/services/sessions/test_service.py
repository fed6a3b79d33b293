"""Logins, refusals and disconnects; `hullwatch.services.sessions.service`."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.events import ADMINS, ConnectionChanged, NotificationStored
from hullwatch.domain.failures import (
    AlreadyExists,
    Answered,
    BrokerService,
    NotPermitted,
    RateLimited,
    RequestRefused,
    StorageUnavailable,
    Unavailable,
)
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions.connection import (
    EXPIRING_BEFORE,
    ConnectionChange,
    DisconnectReason,
    LoginState,
    LoginTrigger,
    VerificationState,
)
from hullwatch.domain.sessions.tokens import next_daily_expiry
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
from services.environment import ALICE, BOB, CAROL, DAVE, Environment, fyers_id

DATA, TRADING, PROFILE = BrokerService.DATA, BrokerService.TRADING, BrokerService.PROFILE
ENDED = NotificationKind.SESSION_DISCONNECTED


@pytest.fixture
async def env() -> Environment:
    """Alice has a session and all jobs run."""
    built = await Environment().start(with_monitoring=False)
    return await built.with_sessions(ALICE)


async def ask(env: Environment, user_id: str = ALICE) -> None:
    """Make an ordinary call and record its result."""
    credential = env.credential(user_id)
    env.connections.record_result(credential, await env.broker.check_data(credential))


async def decide(env: Environment) -> None:
    """Let a confirmed refusal of a session be confirmed again."""
    await env.clock.advance(CONFIRM_AGAIN_S)


def asked(env: Environment, user_id: str = ALICE) -> list[str]:
    """Return the calls of a user that reached Fyers."""
    return [call.name for call in env.broker.calls_of(user_id)]


# ---- expiry


async def test_a_session_is_disconnected_at_its_expiry_without_a_call(env: Environment) -> None:
    """At 06:00 IST, and dated at that moment."""
    end = next_daily_expiry(env.clock.now())

    await env.clock.advance_to(end - timedelta(seconds=1))
    assert env.connections.connection(ALICE).state is LoginState.EXPIRING
    await env.clock.advance_to(end)

    over = env.connections.connection(ALICE)
    assert (over.state, over.reason, over.last_disconnect_at) == (
        LoginState.DISCONNECTED,
        DisconnectReason.EXPIRED,
        end,
    )
    assert env.connections.credential(ALICE) is None
    assert env.broker.calls == []
    assert env.stored(ALICE) == over
    assert [notice.incident_id for notice in env.notices(ALICE, ENDED)] == [over.incident_id]


async def test_a_session_is_expiring_half_an_hour_before_its_expiry(env: Environment) -> None:
    """Calls go on."""
    end = next_daily_expiry(env.clock.now())

    await env.clock.advance_to(end - EXPIRING_BEFORE - timedelta(seconds=1))
    assert env.connections.connection(ALICE).state is LoginState.CONNECTED
    await env.clock.advance_to(end - EXPIRING_BEFORE)

    assert env.connections.connection(ALICE).state is LoginState.EXPIRING
    assert env.connections.credential(ALICE) is not None
    assert env.notices(ALICE) == []


async def test_a_short_session_that_began_later_expires_first(env: Environment) -> None:
    """The job waits for a later expiry and has to be woken by the login."""
    await env.add_user(BOB)
    await env.log_in(BOB, lifetime=timedelta(minutes=5))

    await env.clock.advance(301)

    assert not env.connections.connection(BOB).has_session
    assert env.connections.connection(ALICE).has_session


async def test_sessions_expire_together_while_the_database_is_down(env: Environment) -> None:
    """Everything is stored when the database answers, with one notice each."""
    await env.with_sessions(BOB, CAROL, DAVE)
    env.store.is_down = True

    await env.clock.advance_to(next_daily_expiry(env.clock.now()))

    assert env.connections.session_count() == 0
    assert env.stored(ALICE).has_session
    env.store.is_down = False
    await env.clock.advance(60)
    for user_id in (ALICE, BOB, CAROL, DAVE):
        assert env.stored(user_id) == env.connections.connection(user_id)
        assert len(env.notices(user_id, ENDED)) == 1
        assert env.audit(user_id, "connection.reached_expiry") == ["connection.reached_expiry"]


async def test_a_session_that_expired_while_stopped_is_disconnected_at_start(
    env: Environment,
) -> None:
    """The disconnect is dated at the expiry, not at the start."""
    end = next_daily_expiry(env.clock.now())
    again = await env.kill()
    await env.clock.advance_to(end + timedelta(hours=2))

    await again.connections.load()

    over = again.connections.connection(ALICE)
    assert (over.reason, over.last_disconnect_at) == (DisconnectReason.EXPIRED, end)
    assert again.stored(ALICE) == over
    assert env.broker.calls == []


# ---- refusals


@pytest.mark.parametrize(
    ("state", "reason"),
    [(AccountState.EXPIRED, DisconnectReason.EXPIRED), (AccountState.REVOKED, DisconnectReason.REJECTED)],
)
async def test_a_refusal_by_two_services_disconnects_the_session(
    env: Environment, state: AccountState, reason: DisconnectReason
) -> None:
    """The reason is the one that Fyers gives."""
    env.broker.set_state(fyers_id(ALICE), state)

    await ask(env)
    await decide(env)

    over = env.connections.connection(ALICE)
    assert (over.state, over.reason) == (LoginState.DISCONNECTED, reason)
    assert asked(env) == ["check_data", *2 * ["profile_id", "check_trading", "check_data"]]
    assert env.stored(ALICE) == over
    [notice] = env.notices(ALICE, ENDED)
    assert notice.incident_id == over.incident_id


async def test_one_refusal_disconnects_nothing(env: Environment) -> None:
    """Another service clears an isolated false 401, in the same generation and without a notice."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))

    await ask(env)
    assert env.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    assert env.connections.credential(ALICE) is None
    await env.clock.settle()

    connection = env.connections.connection(ALICE)
    assert (connection.verification_state, connection.generation) == (VerificationState.VERIFIED, 1)
    assert env.connections.credential(ALICE) is not None
    assert asked(env) == ["check_data", "profile_id", "check_trading"]
    assert [call.is_for_verification for call in env.broker.calls] == [False, True, True]
    assert env.notices(ALICE) == []


async def test_a_refusal_is_confirmed_at_another_address(env: Environment) -> None:
    """History and market data share an address: when both refuse while funds answers, the session stays."""
    for service in (BrokerService.HISTORY, DATA):
        env.broker.always(fyers_id(ALICE), service, refusal(service))
    credential = env.credential(ALICE)

    env.connections.record_result(credential, refusal(BrokerService.HISTORY))
    await env.clock.settle()

    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED
    assert asked(env) == ["profile_id", "check_trading"]


async def test_a_service_that_keeps_refusing_is_called_less_often(env: Environment) -> None:
    """The first two refusals are cleared at once, then calls pause longer each time; a new login ends the pause."""
    env.broker.always(fyers_id(ALICE), DATA, refusal(DATA))
    for _ in range(2):
        await ask(env)
        await env.clock.settle()
        assert env.connections.credential(ALICE) is not None

    await ask(env)
    await env.clock.advance(10)
    resting = env.connections.connection(ALICE)
    calls = len(asked(env))
    await env.clock.advance(30)

    assert (resting.verification_state, calls) == (VerificationState.UNDER_VERIFICATION, 9)
    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED
    await ask(env)
    await env.clock.settle()
    await env.log_in(ALICE)
    await env.clock.advance(200)
    assert env.connections.connection(ALICE).verification_state is VerificationState.ASSUMED
    assert env.connections.credential(ALICE) is not None


async def test_a_profile_that_answers_proves_nothing(env: Environment) -> None:
    """The session is disconnected although /profile still answers."""
    env.broker.always(fyers_id(ALICE), DATA, refusal(DATA))
    env.broker.always(fyers_id(ALICE), TRADING, refusal(TRADING))

    await ask(env)
    await decide(env)

    assert env.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert asked(env) == ["check_data", *2 * ["profile_id", "check_trading", "check_data"]]


async def test_a_refusal_during_an_outage_waits_for_an_answer(env: Environment) -> None:
    """No ordinary call is made and the session stays; then an answer clears it."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    env.broker.queue(fyers_id(ALICE), Unavailable(PROFILE, cause="http_502"), times=2)
    env.broker.queue(fyers_id(ALICE), Unavailable(TRADING, cause="http_502"), times=2)
    env.broker.queue(fyers_id(ALICE), Unavailable(DATA, cause="http_502"), times=2)

    await ask(env)
    await env.clock.settle()
    assert env.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    assert env.connections.credential(ALICE) is None
    await env.clock.advance(100)

    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED
    assert env.connections.credential(ALICE) is not None


async def test_an_app_without_trading_permission_is_cleared(env: Environment) -> None:
    """The service that refused answers the next probe."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    env.broker.always(
        fyers_id(ALICE), TRADING, NotPermitted(TRADING, code=-403, http_status=403, message="no permission")
    )

    await ask(env)
    await env.clock.settle()

    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED


async def test_a_verification_waits_for_the_time_that_fyers_names(env: Environment) -> None:
    """Here Fyers asks for five minutes."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    for service in (PROFILE, TRADING, DATA):
        env.broker.always(fyers_id(ALICE), service, None)
    env.broker.queue(fyers_id(ALICE), RateLimited(PROFILE, retry_after_s=300))
    env.broker.queue(fyers_id(ALICE), RateLimited(TRADING, retry_after_s=300))
    env.broker.queue(fyers_id(ALICE), RateLimited(DATA, retry_after_s=300))

    await ask(env)
    await env.clock.advance(299)
    assert len(asked(env)) == 4
    await env.clock.advance(2)

    assert len(asked(env)) > 4
    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED


async def test_two_refusals_at_once_are_one_incident(env: Environment) -> None:
    """Refused calls of one session start one verification and lead to one notice."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    all_sent = asyncio.Barrier(3)

    async def wait_for_each_other(call: Call) -> None:
        if not call.is_for_verification:
            await all_sent.wait()

    env.broker.before_answer = wait_for_each_other
    await asyncio.gather(ask(env), ask(env), ask(env))
    await decide(env)

    assert asked(env).count("profile_id") == 2
    assert len(env.notices(ALICE)) == 1
    assert env.audit(ALICE, "connection.refusal_confirmed") == ["connection.refusal_confirmed"]


async def test_a_refusal_of_an_old_session_does_not_change_a_newer_one(env: Environment) -> None:
    """A slow call with the old token returns after the new login."""
    old = env.credential(ALICE)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    result = await env.broker.check_data(old)
    await env.log_in(ALICE)

    env.connections.record_result(old, result)
    await env.clock.settle()

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.state) == (2, LoginState.CONNECTED)
    assert connection.is_usable
    assert env.notices(ALICE) == []


async def test_an_answer_to_an_old_session_does_not_verify_a_newer_one(env: Environment) -> None:
    """Confirmations belong to their generation too."""
    old = env.credential(ALICE)
    await env.log_in(ALICE)

    env.connections.record_result(old, Answered(None))

    assert env.connections.connection(ALICE).verification_state is VerificationState.ASSUMED


async def test_a_login_during_a_verification_wins(env: Environment) -> None:
    """The verification changes nothing, and the old token is not used for further probes."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    async def log_in_meanwhile(call: Call) -> None:
        if call.name == "profile_id":
            env.broker.before_answer = None
            await env.log_in(ALICE)

    env.broker.before_answer = log_in_meanwhile
    await ask(env)
    await env.clock.advance(600)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.state, connection.is_usable) == (2, LoginState.CONNECTED, True)
    assert [call.generation for call in env.broker.calls] == [1, 1]
    assert env.notices(ALICE) == []


async def test_a_cleared_old_session_does_not_verify_a_new_login(env: Environment) -> None:
    """The login came between the last probe and its answer."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))

    async def log_in_meanwhile(call: Call) -> None:
        if call.name == "check_trading":
            env.broker.before_answer = None
            await env.log_in(ALICE)

    env.broker.before_answer = log_in_meanwhile
    await ask(env)
    await env.clock.advance(5)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.verification_state) == (2, VerificationState.ASSUMED)
    assert all(job.last_error is None for job in env.supervisor.jobs())


async def test_the_expiry_during_a_verification_wins(env: Environment) -> None:
    """The session is disconnected once, as expired, and the verification stops."""
    await env.add_user(BOB)
    await env.log_in(BOB, lifetime=timedelta(seconds=30))
    env.broker.queue(fyers_id(BOB), refusal(DATA))
    env.broker.always(fyers_id(BOB), PROFILE, Unavailable(PROFILE, cause="timeout"))
    env.broker.always(fyers_id(BOB), TRADING, Unavailable(TRADING, cause="timeout"))
    env.broker.queue(fyers_id(BOB), Unavailable(DATA, cause="timeout"), times=50)

    await ask(env, BOB)
    await env.clock.advance(600)

    over = env.connections.connection(BOB)
    assert (over.reason, len(env.notices(BOB))) == (DisconnectReason.EXPIRED, 1)
    assert all(call.at < over.last_disconnect_at for call in env.broker.calls_of(BOB))


async def test_an_outage_never_disconnects_a_session(env: Environment) -> None:
    """Outages, limits, refused requests and missing permissions say nothing about the login."""
    credential = env.credential(ALICE)
    failures = (
        Unavailable(DATA, cause="timeout"),
        RateLimited(DATA, retry_after_s=60),
        RequestRefused(DATA, code=-300, http_status=422, message="bad symbol"),
        NotPermitted(DATA, code=-403, http_status=403, message="no permission"),
    )
    for failure in failures * 20:
        env.connections.record_result(credential, failure, is_validation=True)
        await env.clock.advance(60)

    connection = env.connections.connection(ALICE)
    assert (connection.has_session, connection.is_usable, connection.is_verified) == (True, True, False)
    assert asked(env) == []


async def test_a_recently_verified_session_stays_verified_in_an_outage(env: Environment) -> None:
    """For five minutes one failed quote changes nothing; later it does, and the next answer verifies again."""
    credential = env.credential(ALICE)
    outage = Unavailable(DATA, cause="timeout")
    env.connections.record_result(credential, Answered(None))

    env.connections.record_result(credential, outage)
    assert env.connections.connection(ALICE).is_verified
    await env.clock.advance(301)
    env.connections.record_result(credential, outage)
    assert env.connections.connection(ALICE).verification_state is VerificationState.UNVERIFIED
    env.connections.record_result(credential, Answered(None))

    assert env.connections.connection(ALICE).is_verified


# ---- a disconnected session makes no call


@pytest.mark.parametrize("how", ["sign_out", "admin", "expiry", "refused", "relogin", "removed"])
async def test_a_waiting_call_is_not_sent_after_the_disconnect(env: Environment, how: str) -> None:
    """A credential taken before the disconnect is closed, and its copy for the verification too."""
    held = env.credential(ALICE)
    if how == "sign_out":
        await env.connections.sign_out(ALICE, actor=ALICE)
    elif how == "admin":
        await env.connections.disconnect_by_admin(ALICE, actor="usr_admin")
    elif how == "expiry":
        await env.clock.advance_to(next_daily_expiry(env.clock.now()))
    elif how == "relogin":
        await env.log_in(ALICE)
    elif how == "removed":
        await env.connections.forget(ALICE)
    else:
        env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
        await ask(env)
        await decide(env)
    reached = len(env.broker.calls)

    for copy in (held, held.for_verification()):
        await env.broker.check_data(copy)
        await env.broker.check_trading(copy)

    assert len(env.broker.calls) == reached
    assert len(env.broker.unsent) == 4


async def test_a_verification_of_a_removed_user_stops(env: Environment) -> None:
    """Its job ends, and no connection is left."""
    env.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    env.connections.record_result(env.credential(ALICE), refusal(DATA))
    await env.connections.forget(ALICE)
    await env.clock.advance(120)
    job = next(job for job in env.supervisor.jobs() if job.name == "verification")

    assert job.state.value == "stopped"
    assert env.connections.connections() == ()


# ---- people


async def test_signing_out_disconnects_once(env: Environment) -> None:
    """A second request changes nothing."""
    first = await env.connections.sign_out(ALICE, actor=ALICE)
    second = await env.connections.sign_out(ALICE, actor=ALICE)

    assert first == second == env.stored(ALICE)
    assert first.reason is DisconnectReason.SIGNED_OUT
    assert env.audit(ALICE, "connection.signed_out") == ["connection.signed_out"]


async def test_users_without_a_session_can_sign_out(env: Environment) -> None:
    """Nothing changes for a user who never linked Fyers."""
    assert (await env.connections.sign_out(BOB, actor=BOB)).state is LoginState.NEVER_CONNECTED
    assert (await env.connections.disconnect_by_admin(BOB, actor=ALICE)).state is LoginState.NEVER_CONNECTED


async def test_a_disconnect_by_an_admin_names_the_actor(env: Environment) -> None:
    """The audit trail has the id, the notice says that it was an administrator."""
    after = await env.connections.disconnect_by_admin(ALICE, actor="usr_admin")

    assert after.reason is DisconnectReason.BY_ADMIN
    assert env.store.tables.audit[-1].actor == "usr_admin"
    assert "administrator" in env.notices(ALICE)[0].title.lower()


async def test_disconnect_and_recovery_share_their_incident(env: Environment) -> None:
    """Both notices carry the same id."""
    over = await env.connections.sign_out(ALICE, actor=ALICE)

    renewed = await env.log_in(ALICE)

    assert (renewed.generation, renewed.incident_id) == (2, over.incident_id)
    assert {(notice.kind, notice.incident_id) for notice in env.notices(ALICE)} == {
        (NotificationKind.SESSION_DISCONNECTED, over.incident_id),
        (NotificationKind.CONNECTED_AGAIN, over.incident_id),
    }
    assert env.stored(ALICE) == renewed


async def test_a_login_over_a_present_session_has_no_notice(env: Environment) -> None:
    """Nothing was interrupted; the old token is no longer used."""
    old = env.credential(ALICE)

    await env.log_in(ALICE)

    assert old.lease.is_closed
    assert env.credential(ALICE).generation == 2
    assert env.notices(ALICE) == []


async def test_concurrent_logins_each_get_a_generation(env: Environment) -> None:
    """The later one of two callbacks stays."""
    await asyncio.gather(env.log_in(ALICE), env.log_in(ALICE), env.log_in(ALICE))

    assert env.connections.connection(ALICE).generation == 4
    assert env.stored(ALICE).generation == 4
    assert env.store.tables.tokens[ALICE][0] == 4


async def test_a_login_that_cannot_be_stored_has_no_effect(env: Environment) -> None:
    """The old session stays, and the next attempt succeeds."""
    env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await env.log_in(ALICE)
    assert env.credential(ALICE).generation == 1
    env.store.is_down = False

    assert (await env.log_in(ALICE)).generation == 2


async def test_a_cancelled_login_does_not_block_the_next_one(env: Environment) -> None:
    """The database may be a generation ahead of memory; the next login is beyond both."""

    async def cut_off() -> None:
        env.store.after_commit = None
        logging_in.cancel()
        await asyncio.sleep(0)

    env.store.after_commit = cut_off
    logging_in = asyncio.create_task(env.log_in(ALICE))
    await asyncio.wait({logging_in})
    assert (env.stored(ALICE).generation, env.connections.connection(ALICE).generation) == (2, 1)

    assert (await env.log_in(ALICE)).generation == 3


async def test_a_removed_user_cannot_log_in(env: Environment) -> None:
    """A login that returns after the removal stores nothing."""
    async with env.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    with pytest.raises(AlreadyExists):
        await env.log_in(ALICE)


# ---- the database


async def test_a_disconnect_takes_effect_while_the_database_is_down(env: Environment) -> None:
    """Its notice is stored and published exactly once, when the database answers."""
    tab = env.hub.subscribe(ALICE)
    env.store.is_down = True

    over = await env.connections.sign_out(ALICE, actor=ALICE)

    assert over.state is LoginState.DISCONNECTED
    assert env.connections.credential(ALICE) is None
    assert env.stored(ALICE).has_session
    env.store.is_down = False
    await env.clock.advance(60)
    assert env.stored(ALICE) == over
    assert env.store.tables.tokens == {}
    tab.close()
    events = [delivery.message async for delivery in tab if isinstance(delivery.message, NotificationStored)]
    assert len(events) == len(env.notices(ALICE)) == 1


async def test_a_new_login_keeps_the_unstored_disconnect(env: Environment) -> None:
    """Its audit entry and its notice are stored after the login."""
    env.store.is_down = True
    over = await env.connections.sign_out(ALICE, actor=ALICE)
    env.store.is_down = False
    await env.log_in(ALICE)

    await env.clock.advance(60)

    assert set(env.audit(ALICE, "connection.")) == {"connection.logged_in", "connection.signed_out"}
    assert [notice.incident_id for notice in env.notices(ALICE, ENDED)] == [over.incident_id]
    assert env.stored(ALICE).generation == 2
    assert env.stored(ALICE).has_session


async def test_a_disconnect_while_a_login_is_stored_is_kept(env: Environment) -> None:
    """The new session begins and carries the incident."""
    ended = []

    async def end_meanwhile() -> None:
        env.store.before_commit = None
        ended.append(asyncio.create_task(env.connections.sign_out(ALICE, actor=ALICE)))
        await asyncio.sleep(0)

    env.store.before_commit = end_meanwhile
    after = await env.log_in(ALICE)
    await asyncio.gather(*ended)
    await env.clock.advance(120)

    assert (after.generation, after.has_session) == (2, True)
    assert after.incident_id is not None
    assert env.stored(ALICE) == env.connections.connection(ALICE)
    assert len(env.notices(ALICE, ENDED)) == 1


async def test_a_cancelled_caller_does_not_stop_the_storing(env: Environment) -> None:
    """The disconnect of a cancelled request is stored once."""
    leaving = asyncio.create_task(env.connections.sign_out(ALICE, actor=ALICE))

    async def leave() -> None:
        leaving.cancel()
        await asyncio.sleep(0)

    env.store.after_commit = leave
    await asyncio.wait({leaving})
    env.store.after_commit = None
    await env.clock.advance(60)

    assert env.stored(ALICE) == env.connections.connection(ALICE)
    assert env.audit(ALICE, "connection.signed_out") == ["connection.signed_out"]


async def test_concurrent_changes_are_stored_once(env: Environment) -> None:
    """Each has one audit entry and one notice, in at most two transactions."""
    await env.with_sessions(BOB, CAROL)
    before = env.store.commits

    await asyncio.gather(*(env.connections.sign_out(user, actor=user) for user in (ALICE, BOB, CAROL)))

    assert env.store.commits - before <= 2
    assert env.audit(None, "connection.signed_out") == ["connection.signed_out"] * 3


async def test_a_failing_listener_does_not_stop_the_storing(env: Environment) -> None:
    """Its error is raised, and the disconnect is stored."""

    def breaks(change: ConnectionChange) -> None:
        raise LookupError("broken listener")

    env.connections.subscribe(breaks)
    with pytest.raises(LookupError):
        await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(60)

    assert not env.connections.connection(ALICE).has_session
    assert not env.stored(ALICE).has_session


async def test_confirmations_are_stored_in_one_transaction(env: Environment) -> None:
    """They are written once a minute, for all sessions together."""
    await env.with_sessions(BOB)
    for user_id in (ALICE, BOB):
        env.connections.record_result(env.credential(user_id), Answered(None))
    confirmed_at, before = env.clock.now(), env.store.commits

    await env.connections.store_observations()

    assert env.store.commits == before + 1
    assert env.stored(ALICE).last_validated_at == env.stored(BOB).last_validated_at == confirmed_at
    await env.connections.store_observations()
    assert env.store.commits == before + 1


async def test_confirmations_survive_a_database_outage(env: Environment) -> None:
    """They are stored at the next opportunity."""
    env.connections.record_result(env.credential(ALICE), Answered(None))
    env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await env.connections.store_observations()
    env.store.is_down = False

    await env.connections.store_observations()

    assert env.stored(ALICE).last_validated_at == env.clock.now()


async def test_a_change_that_cannot_be_stored_is_reported(env: Environment) -> None:
    """The job that stores changes and confirmations has not succeeded then, though it has no confirmation."""
    env.store.is_down = True
    await env.connections.sign_out(ALICE, actor=ALICE)

    with pytest.raises(StorageUnavailable):
        await env.connections.store_observations()


# ---- restart


async def test_a_restart_keeps_sessions_and_generations(env: Environment) -> None:
    """The token is used as before, and the session has to be verified again."""
    env.connections.record_result(env.credential(ALICE), Answered(None))
    await env.connections.store_observations()

    again = await (await env.kill()).start(with_monitoring=False)

    connection = again.connections.connection(ALICE)
    assert (connection.generation, connection.has_session, connection.verification_state) == (
        1,
        True,
        VerificationState.ASSUMED,
    )
    assert again.credential(ALICE).token.reveal()
    assert connection.last_validated_at is not None


async def test_an_unreadable_token_has_its_own_notice(env: Environment) -> None:
    """With a lost key the session is disconnected at the start; the notice names the encryption key."""
    store = env.store.copied()
    store.tables.tokens.clear()

    again = await (await env.kill(store)).start(with_monitoring=False)

    assert again.connections.connection(ALICE).state is LoginState.DISCONNECTED
    [notice] = again.notices(ALICE)
    assert "encryption key" in notice.text


async def test_a_disconnect_by_a_command_reaches_a_running_server(env: Environment) -> None:
    """Within seconds, without a second audit entry or notice."""
    held = env.credential(ALICE)
    command = Environment(clock=env.clock, store=env.store, broker=env.broker, ids=env.new_id)
    await command.validation.mark_user_as_disconnected(ALICE, DisconnectReason.BY_ADMIN, actor="usr_admin")

    await env.clock.advance(11)

    over = env.connections.connection(ALICE)
    assert (over.reason, held.lease.is_closed) == (DisconnectReason.BY_ADMIN, True)
    assert over == env.stored(ALICE)
    assert len(env.notices(ALICE)) == 1
    assert env.audit(ALICE, "connection.disconnected_by_admin") == ["connection.disconnected_by_admin"]


async def test_a_removal_by_a_command_reaches_a_running_server(env: Environment) -> None:
    """The session is no longer used."""
    held = env.credential(ALICE)
    async with env.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    await env.clock.advance(11)

    assert held.lease.is_closed
    assert env.connections.connections() == ()


# ---- who is notified


async def test_every_listener_gets_each_change_once(env: Environment) -> None:
    """The user's tabs and the operators' pages get the same events, in order."""
    changes: list[ConnectionChange] = []
    env.connections.subscribe(changes.append)
    tab, operator = env.hub.subscribe(ALICE), env.hub.subscribe(ADMINS)

    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(env)
    await decide(env)
    await env.log_in(ALICE)
    tab.close()
    operator.close()

    assert [change.trigger for change in changes] == [
        LoginTrigger.REFUSAL_CONFIRMED,
        LoginTrigger.LOGGED_IN,
    ]
    for reader in (tab, operator):
        states = [
            (delivery.message.connection.state, delivery.message.connection.verification_state)
            async for delivery in reader
            if isinstance(delivery.message, ConnectionChanged)
        ]
        assert states == [
            (LoginState.CONNECTED, VerificationState.UNDER_VERIFICATION),
            (LoginState.DISCONNECTED, VerificationState.ASSUMED),
            (LoginState.CONNECTED, VerificationState.ASSUMED),
        ]


async def test_a_caller_can_wait_for_the_verification(env: Environment) -> None:
    """The caller gets the decision."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(env)

    waiting = asyncio.create_task(env.connections.wait_for_verification(ALICE, until_decided=True))
    await decide(env)
    settled = await waiting

    assert settled.reason is DisconnectReason.REJECTED


async def test_waiting_ends_after_the_first_round_of_probes(env: Environment) -> None:
    """Without a decision the state *under verification* is returned."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    for service in (PROFILE, TRADING):
        env.broker.always(fyers_id(ALICE), service, Unavailable(service, cause="timeout"))
    env.broker.queue(fyers_id(ALICE), Unavailable(DATA, cause="timeout"))
    await ask(env)

    settled = await env.connections.wait_for_verification(ALICE)

    assert settled.verification_state is VerificationState.UNDER_VERIFICATION


async def test_a_failed_verification_is_restarted(env: Environment) -> None:
    """An unexpected error does not leave the session under verification for the rest of the day."""

    async def breaks(call: Call) -> None:
        env.broker.before_answer = None
        raise LookupError("broken broker")

    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    await ask(env)
    env.broker.before_answer = breaks
    await env.clock.settle()
    assert env.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION

    await env.clock.advance(61)

    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED


async def test_stored_and_published_values_hold_no_secret(env: Environment) -> None:
    """Neither the audit trail nor notices nor events hold a token."""
    token = AccessToken(env.credential(ALICE).token.reveal())
    tab = env.hub.subscribe(ALICE, ADMINS)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(env)
    await decide(env)
    tab.close()

    events = repr([delivery.message async for delivery in tab])
    stored = repr((env.store.tables.audit, env.store.tables.notifications))
    assert token.reveal() not in events + stored
