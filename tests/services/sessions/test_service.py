"""From a refusal to a verdict, and every way a session begins and ends; `hullwatch.services.sessions.service`."""

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
from services.environment import ALICE, BOB, CAROL, DAVE, Environment, fyers_id

DATA, TRADING, PROFILE = BrokerService.DATA, BrokerService.TRADING, BrokerService.PROFILE
ENDED = NotificationKind.SESSION_DISCONNECTED


@pytest.fixture
async def env() -> Environment:
    """Alice has a session and all jobs run."""
    built = await Environment().start(with_monitoring=False)
    return await built.with_sessions(ALICE)


async def ask(env: Environment, user_id: str = ALICE) -> None:
    """Make an ordinary call and report what came of it."""
    credential = env.credential(user_id)
    env.connections.record_result(credential, await env.broker.check_data(credential))


def asked(env: Environment, user_id: str = ALICE) -> list[str]:
    """Return which calls reached Fyers for a user."""
    return [call.name for call in env.broker.calls_of(user_id)]


# ---- the known end


async def test_a_session_ends_at_its_known_end_without_asking(env: Environment) -> None:
    """At 06:00 IST it is over, dated at that moment, and nobody was asked."""
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


async def test_a_session_is_called_expiring_before_its_end(env: Environment) -> None:
    """Half an hour ahead the state says so, and calls go on."""
    end = next_daily_expiry(env.clock.now())

    await env.clock.advance_to(end - EXPIRING_BEFORE - timedelta(seconds=1))
    assert env.connections.connection(ALICE).state is LoginState.CONNECTED
    await env.clock.advance_to(end - EXPIRING_BEFORE)

    assert env.connections.connection(ALICE).state is LoginState.EXPIRING
    assert env.connections.credential(ALICE) is not None
    assert env.notices(ALICE) == []


async def test_a_short_session_logged_in_later_ends_first(env: Environment) -> None:
    """A login with a nearer end is noticed, although the job sleeps for a farther one."""
    await env.add_user(BOB)
    await env.log_in(BOB, lifetime=timedelta(minutes=5))

    await env.clock.advance(301)

    assert not env.connections.connection(BOB).has_session
    assert env.connections.connection(ALICE).has_session


async def test_many_sessions_end_in_the_same_moment_whatever_the_database_does(env: Environment) -> None:
    """With the database down all of them are over at once; everything is stored when it answers, each notice once."""
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


async def test_a_session_whose_end_passed_while_the_server_was_down_is_over_at_start(
    env: Environment,
) -> None:
    """Its end is dated at the known end, not at the start."""
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
async def test_a_refusal_seen_twice_ends_the_session(
    env: Environment, state: AccountState, reason: DisconnectReason
) -> None:
    """Another service confirms it; the reason is the one that Fyers gives."""
    env.broker.set_state(fyers_id(ALICE), state)

    await ask(env)
    await env.clock.settle()

    over = env.connections.connection(ALICE)
    assert (over.state, over.reason) == (LoginState.DISCONNECTED, reason)
    assert asked(env) == ["check_data", "profile_id"]
    assert env.stored(ALICE) == over
    [notice] = env.notices(ALICE, ENDED)
    assert notice.incident_id == over.incident_id


async def test_one_refusal_is_no_verdict(env: Environment) -> None:
    """An isolated false 401 is cleared by another service, with the same generation, and nobody is told."""
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


async def test_what_refuses_at_one_address_is_confirmed_at_another(env: Environment) -> None:
    """History and market data live together: when both refuse although funds answers, nobody is logged out."""
    for service in (BrokerService.HISTORY, DATA):
        env.broker.always(fyers_id(ALICE), service, refusal(service))
    credential = env.credential(ALICE)

    env.connections.record_result(credential, refusal(BrokerService.HISTORY))
    await env.clock.settle()

    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED
    assert asked(env) == ["profile_id", "check_trading"]


async def test_a_service_that_goes_on_refusing_is_asked_less_and_less(env: Environment) -> None:
    """The first doubts are cleared at once; then the account rests, longer each time, and a new login ends the rest."""
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
    """The session ends although /profile still says whose it is."""
    env.broker.always(fyers_id(ALICE), DATA, refusal(DATA))
    env.broker.always(fyers_id(ALICE), TRADING, refusal(TRADING))

    await ask(env)
    await env.clock.settle()

    assert env.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert asked(env) == ["check_data", "profile_id", "check_trading"]


async def test_a_refusal_amid_trouble_stays_a_doubt_until_somebody_answers(env: Environment) -> None:
    """While nobody else can be asked no ordinary call is made and nothing ends; then the doubt is cleared."""
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


async def test_an_app_without_trading_permission_gets_out_of_doubt(env: Environment) -> None:
    """Where the other service may not be asked, the first one's own answer clears its refusal."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    env.broker.always(
        fyers_id(ALICE), TRADING, NotPermitted(TRADING, code=-403, http_status=403, message="no permission")
    )

    await ask(env)
    await env.clock.settle()

    assert env.connections.connection(ALICE).verification_state is VerificationState.VERIFIED


async def test_a_second_look_heeds_the_wait_that_fyers_asks_for(env: Environment) -> None:
    """Asked to wait five minutes, the second look does not ask again before."""
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
    """Calls of one session that are refused together bring one second look, one end and one notice."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    all_sent = asyncio.Barrier(3)

    async def wait_for_each_other(call: Call) -> None:
        if not call.is_for_verification:
            await all_sent.wait()

    env.broker.before_answer = wait_for_each_other
    await asyncio.gather(ask(env), ask(env), ask(env))
    await env.clock.settle()

    assert asked(env).count("profile_id") == 1
    assert len(env.notices(ALICE)) == 1
    assert env.audit(ALICE, "connection.refusal_confirmed") == ["connection.refusal_confirmed"]


async def test_an_old_session_s_refusal_never_touches_a_newer_one(env: Environment) -> None:
    """A slow check of the old token that finishes after a new login is void."""
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


async def test_an_old_session_s_answer_does_not_verify_a_newer_one(env: Environment) -> None:
    """Good news about an old generation is void as well."""
    old = env.credential(ALICE)
    await env.log_in(ALICE)

    env.connections.record_result(old, Answered(None))

    assert env.connections.connection(ALICE).verification_state is VerificationState.ASSUMED


async def test_a_login_in_the_middle_of_a_second_look_wins(env: Environment) -> None:
    """What the look then finds about the old token ends nothing, and the old token is not asked about any further."""
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


async def test_a_login_while_the_second_look_clears_the_old_session_is_left_alone(env: Environment) -> None:
    """A doubt about the old token that ends well says nothing about the new one."""
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


async def test_the_known_end_in_the_middle_of_a_second_look_wins(env: Environment) -> None:
    """The session ends once, as expired by its known end, and the second look goes no further."""
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


async def test_trouble_never_ends_a_session(env: Environment) -> None:
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


async def test_a_passing_trouble_does_not_shake_a_session_confirmed_lately(env: Environment) -> None:
    """One failed quote within five minutes of a good answer changes nothing; later it does, and a good answer mends it."""
    credential = env.credential(ALICE)
    trouble = Unavailable(DATA, cause="timeout")
    env.connections.record_result(credential, Answered(None))

    env.connections.record_result(credential, trouble)
    assert env.connections.connection(ALICE).is_verified
    await env.clock.advance(301)
    env.connections.record_result(credential, trouble)
    assert env.connections.connection(ALICE).verification_state is VerificationState.UNVERIFIED
    env.connections.record_result(credential, Answered(None))

    assert env.connections.connection(ALICE).is_verified


# ---- a dead session makes no call


@pytest.mark.parametrize("how", ["sign_out", "admin", "known_end", "refused", "relogin", "removed"])
async def test_a_call_that_waited_for_its_turn_is_not_sent_after_the_end(env: Environment, how: str) -> None:
    """Whoever took the credential before the end cannot use it any more, nor a second-look copy of it."""
    held = env.credential(ALICE)
    if how == "sign_out":
        await env.connections.sign_out(ALICE, actor=ALICE)
    elif how == "admin":
        await env.connections.disconnect_by_admin(ALICE, actor="usr_admin")
    elif how == "known_end":
        await env.clock.advance_to(next_daily_expiry(env.clock.now()))
    elif how == "relogin":
        await env.log_in(ALICE)
    elif how == "removed":
        await env.connections.forget(ALICE)
    else:
        env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
        await ask(env)
        await env.clock.settle()
    reached = len(env.broker.calls)

    for copy in (held, held.for_verification()):
        await env.broker.check_data(copy)
        await env.broker.check_trading(copy)

    assert len(env.broker.calls) == reached
    assert len(env.broker.unsent) == 4


async def test_a_removed_user_s_second_look_stops(env: Environment) -> None:
    """Nobody goes on looking at a session that is forgotten."""
    env.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    env.connections.record_result(env.credential(ALICE), refusal(DATA))
    await env.connections.forget(ALICE)
    await env.clock.advance(120)
    job = next(job for job in env.supervisor.jobs() if job.name == "verification")

    assert job.state.value == "stopped"
    assert env.connections.connections() == ()


# ---- people


async def test_signing_out_ends_the_session_once(env: Environment) -> None:
    """A second click finds nothing to do."""
    first = await env.connections.sign_out(ALICE, actor=ALICE)
    second = await env.connections.sign_out(ALICE, actor=ALICE)

    assert first == second == env.stored(ALICE)
    assert first.reason is DisconnectReason.SIGNED_OUT
    assert env.audit(ALICE, "connection.signed_out") == ["connection.signed_out"]


async def test_people_without_a_session_can_sign_out(env: Environment) -> None:
    """Nothing happens to who never linked Fyers."""
    assert (await env.connections.sign_out(BOB, actor=BOB)).state is LoginState.NEVER_CONNECTED
    assert (await env.connections.disconnect_by_admin(BOB, actor=ALICE)).state is LoginState.NEVER_CONNECTED


async def test_an_admin_s_disconnect_says_who(env: Environment) -> None:
    """The audit trail names the operator, the notice says that it was one."""
    after = await env.connections.disconnect_by_admin(ALICE, actor="usr_admin")

    assert after.reason is DisconnectReason.BY_ADMIN
    assert env.store.tables.audit[-1].actor == "usr_admin"
    assert "administrator" in env.notices(ALICE)[0].title.lower()


async def test_a_login_after_an_end_is_told_with_the_incident_it_repairs(env: Environment) -> None:
    """Both notices carry the same incident."""
    over = await env.connections.sign_out(ALICE, actor=ALICE)

    renewed = await env.log_in(ALICE)

    assert (renewed.generation, renewed.incident_id) == (2, over.incident_id)
    assert {(notice.kind, notice.incident_id) for notice in env.notices(ALICE)} == {
        (NotificationKind.SESSION_DISCONNECTED, over.incident_id),
        (NotificationKind.CONNECTED_AGAIN, over.incident_id),
    }
    assert env.stored(ALICE) == renewed


async def test_a_login_over_a_running_session_tells_nobody(env: Environment) -> None:
    """Nothing was interrupted; the old token is used no more."""
    old = env.credential(ALICE)

    await env.log_in(ALICE)

    assert old.lease.is_closed
    assert env.credential(ALICE).generation == 2
    assert env.notices(ALICE) == []


async def test_concurrent_logins_each_get_a_generation(env: Environment) -> None:
    """Two callbacks at once are two logins, and the later one stays."""
    await asyncio.gather(env.log_in(ALICE), env.log_in(ALICE), env.log_in(ALICE))

    assert env.connections.connection(ALICE).generation == 4
    assert env.stored(ALICE).generation == 4
    assert env.store.tables.tokens[ALICE][0] == 4


async def test_a_login_that_cannot_be_stored_does_not_count(env: Environment) -> None:
    """The old session goes on, and the next attempt succeeds."""
    env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await env.log_in(ALICE)
    assert env.credential(ALICE).generation == 1
    env.store.is_down = False

    assert (await env.log_in(ALICE)).generation == 2


async def test_a_login_whose_acknowledgement_was_cut_off_does_not_bar_the_next(env: Environment) -> None:
    """The database may be a generation ahead of memory; the next login goes beyond both."""

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
    """A round trip that ends after the account was removed leaves nothing behind."""
    async with env.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    with pytest.raises(AlreadyExists):
        await env.log_in(ALICE)


# ---- the database


async def test_an_end_during_a_database_outage_counts_at_once_and_is_stored_later(env: Environment) -> None:
    """The notice is stored and announced exactly once, when the database answers."""
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
    told = [delivery.message async for delivery in tab if isinstance(delivery.message, NotificationStored)]
    assert len(told) == len(env.notices(ALICE)) == 1


async def test_an_end_that_could_not_be_stored_stays_in_the_trail_after_a_new_login(env: Environment) -> None:
    """Logging in again as soon as the database answers loses neither the line nor the notice of the end."""
    env.store.is_down = True
    over = await env.connections.sign_out(ALICE, actor=ALICE)
    env.store.is_down = False
    await env.log_in(ALICE)

    await env.clock.advance(60)

    assert set(env.audit(ALICE, "connection.")) == {"connection.logged_in", "connection.signed_out"}
    assert [notice.incident_id for notice in env.notices(ALICE, ENDED)] == [over.incident_id]
    assert env.stored(ALICE).generation == 2
    assert env.stored(ALICE).has_session


async def test_an_end_while_a_login_is_being_stored_is_not_forgotten(env: Environment) -> None:
    """The new session begins, and knows of the interruption that happened meanwhile."""
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


async def test_a_caller_who_leaves_does_not_leave_the_end_unstored(env: Environment) -> None:
    """A request that is cut off while its change is stored changes nothing about it."""
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


async def test_changes_are_stored_once_even_if_several_wait_for_it(env: Environment) -> None:
    """Ends of several accounts at once go together, each with one line and one notice."""
    await env.with_sessions(BOB, CAROL)
    before = env.store.commits

    await asyncio.gather(*(env.connections.sign_out(user, actor=user) for user in (ALICE, BOB, CAROL)))

    assert env.store.commits - before <= 2
    assert env.audit(None, "connection.signed_out") == ["connection.signed_out"] * 3


async def test_what_listeners_do_cannot_keep_an_end_from_being_stored(env: Environment) -> None:
    """A listener that breaks is loud, and the end is stored nevertheless."""

    def breaks(change: ConnectionChange) -> None:
        raise LookupError("broken listener")

    env.connections.subscribe(breaks)
    with pytest.raises(LookupError):
        await env.connections.sign_out(ALICE, actor=ALICE)
    await env.clock.advance(60)

    assert not env.connections.connection(ALICE).has_session
    assert not env.stored(ALICE).has_session


async def test_confirmations_are_stored_in_one_transaction(env: Environment) -> None:
    """When sessions were last confirmed is written once a minute, for all together."""
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
    """What could not be stored is stored at the next opportunity."""
    env.connections.record_result(env.credential(ALICE), Answered(None))
    env.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await env.connections.store_observations()
    env.store.is_down = False

    await env.connections.store_observations()

    assert env.stored(ALICE).last_validated_at == env.clock.now()


# ---- restart


async def test_a_restart_keeps_sessions_and_generations(env: Environment) -> None:
    """The token is used again as before; how sure we were is asked anew."""
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


async def test_a_token_that_cannot_be_read_is_told_as_what_it_is(env: Environment) -> None:
    """With a lost key the session ends at the start, with a sentence that blames nobody else."""
    store = env.store.copied()
    store.tables.tokens.clear()

    again = await (await env.kill(store)).start(with_monitoring=False)

    assert again.connections.connection(ALICE).state is LoginState.DISCONNECTED
    [notice] = again.notices(ALICE)
    assert "encryption key" in notice.text


async def test_an_end_stored_by_a_command_counts_in_a_running_server(env: Environment) -> None:
    """Within seconds the session is over here too, without a second line or notice."""
    held = env.credential(ALICE)
    command = Environment(clock=env.clock, store=env.store, broker=env.broker, ids=env.new_id)
    await command.validation.mark_user_as_disconnected(ALICE, DisconnectReason.BY_ADMIN, actor="usr_admin")

    await env.clock.advance(11)

    over = env.connections.connection(ALICE)
    assert (over.reason, held.lease.is_closed) == (DisconnectReason.BY_ADMIN, True)
    assert over == env.stored(ALICE)
    assert len(env.notices(ALICE)) == 1
    assert env.audit(ALICE, "connection.disconnected_by_admin") == ["connection.disconnected_by_admin"]


async def test_a_user_removed_by_a_command_is_forgotten_by_a_running_server(env: Environment) -> None:
    """Their session is used no more."""
    held = env.credential(ALICE)
    async with env.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    await env.clock.advance(11)

    assert held.lease.is_closed
    assert env.connections.connections() == ()


# ---- who is told


async def test_everybody_who_listens_hears_of_each_change_once(env: Environment) -> None:
    """The user's tabs and the operators' pages get the same events, in order."""
    changes: list[ConnectionChange] = []
    env.connections.subscribe(changes.append)
    tab, operator = env.hub.subscribe(ALICE), env.hub.subscribe(ADMINS)

    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(env)
    await env.clock.settle()
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


async def test_settled_waits_for_the_second_look(env: Environment) -> None:
    """Whoever asks in the middle of it gets the verdict."""
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(env)

    settled = await env.connections.wait_for_verification(ALICE)

    assert settled.reason is DisconnectReason.REJECTED


async def test_settled_does_not_wait_for_a_look_that_cannot_decide(env: Environment) -> None:
    """After the first round without a verdict the doubt itself is the answer."""
    env.broker.queue(fyers_id(ALICE), refusal(DATA))
    for service in (PROFILE, TRADING):
        env.broker.always(fyers_id(ALICE), service, Unavailable(service, cause="timeout"))
    env.broker.queue(fyers_id(ALICE), Unavailable(DATA, cause="timeout"))
    await ask(env)

    settled = await env.connections.wait_for_verification(ALICE)

    assert settled.verification_state is VerificationState.UNDER_VERIFICATION


async def test_a_second_look_that_breaks_is_begun_anew(env: Environment) -> None:
    """An unforeseen error does not leave the session in doubt for the rest of the day."""

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


async def test_no_secret_is_in_what_is_stored_or_told(env: Environment) -> None:
    """Neither the audit trail nor notices nor events hold a token."""
    token = AccessToken(env.credential(ALICE).token.reveal())
    tab = env.hub.subscribe(ALICE, ADMINS)
    env.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(env)
    await env.clock.settle()
    tab.close()

    told = repr([delivery.message async for delivery in tab])
    stored = repr((env.store.tables.audit, env.store.tables.notifications))
    assert token.reveal() not in told + stored
