"""From a refusal to a verdict, and every way a session begins and ends; `hullwatch.services.sessions.service`."""

import asyncio
from datetime import timedelta

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.events import ConnectionChanged, NotificationStored
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
from hullwatch.domain.sessions.tokens import next_daily_end
from hullwatch.services.sessions.service import ADMINS
from hullwatch.services.sessions.stored_disconnects import disconnect_stored
from services.building import ALICE, BOB, CAROL, DAVE, House, fyers_id

DATA, TRADING, PROFILE = BrokerService.DATA, BrokerService.TRADING, BrokerService.PROFILE
ENDED = NotificationKind.SESSION_DISCONNECTED


@pytest.fixture
async def house() -> House:
    """Alice has a session and all jobs run."""
    built = await House().start(with_monitoring=False)
    return await built.with_sessions(ALICE)


async def ask(house: House, user_id: str = ALICE) -> None:
    """Make an ordinary call and report what came of it."""
    credential = house.credential(user_id)
    house.connections.record_result(credential, await house.broker.check_data(credential))


def asked(house: House, user_id: str = ALICE) -> list[str]:
    """Return which calls reached Fyers for a user."""
    return [call.name for call in house.broker.calls_of(user_id)]


# ---- the known end


async def test_a_session_ends_at_its_known_end_without_asking(house: House) -> None:
    """At 06:00 IST it is over, dated at that moment, and nobody was asked."""
    end = next_daily_end(house.clock.now())

    await house.clock.advance_to(end - timedelta(seconds=1))
    assert house.connections.connection(ALICE).state is LoginState.EXPIRING
    await house.clock.advance_to(end)

    over = house.connections.connection(ALICE)
    assert (over.state, over.reason, over.last_disconnect_at) == (
        LoginState.DISCONNECTED,
        DisconnectReason.EXPIRED,
        end,
    )
    assert house.connections.credential(ALICE) is None
    assert house.broker.calls == []
    assert house.stored(ALICE) == over
    assert [notice.incident_id for notice in house.notices(ALICE, ENDED)] == [over.incident_id]


async def test_a_session_is_called_expiring_before_its_end(house: House) -> None:
    """Half an hour ahead the state says so, and calls go on."""
    end = next_daily_end(house.clock.now())

    await house.clock.advance_to(end - EXPIRING_BEFORE - timedelta(seconds=1))
    assert house.connections.connection(ALICE).state is LoginState.CONNECTED
    await house.clock.advance_to(end - EXPIRING_BEFORE)

    assert house.connections.connection(ALICE).state is LoginState.EXPIRING
    assert house.connections.credential(ALICE) is not None
    assert house.notices(ALICE) == []


async def test_a_short_session_logged_in_later_ends_first(house: House) -> None:
    """A login with a nearer end is noticed, although the job sleeps for a farther one."""
    await house.add_user(BOB)
    await house.log_in(BOB, lifetime=timedelta(minutes=5))

    await house.clock.advance(301)

    assert not house.connections.connection(BOB).has_session
    assert house.connections.connection(ALICE).has_session


async def test_many_sessions_end_in_the_same_moment_whatever_the_database_does(house: House) -> None:
    """With the database down all of them are over at once; everything is stored when it answers, each notice once."""
    await house.with_sessions(BOB, CAROL, DAVE)
    house.store.is_down = True

    await house.clock.advance_to(next_daily_end(house.clock.now()))

    assert house.connections.sessions_alive() == 0
    assert house.stored(ALICE).has_session
    house.store.is_down = False
    await house.clock.advance(60)
    for user_id in (ALICE, BOB, CAROL, DAVE):
        assert house.stored(user_id) == house.connections.connection(user_id)
        assert len(house.notices(user_id, ENDED)) == 1
        assert house.audit(user_id, "connection.reached_expiry") == ["connection.reached_expiry"]


async def test_a_session_whose_end_passed_while_the_server_was_down_is_over_at_start(house: House) -> None:
    """Its end is dated at the known end, not at the start."""
    end = next_daily_end(house.clock.now())
    again = await house.kill()
    await house.clock.advance_to(end + timedelta(hours=2))

    await again.connections.load()

    over = again.connections.connection(ALICE)
    assert (over.reason, over.last_disconnect_at) == (DisconnectReason.EXPIRED, end)
    assert again.stored(ALICE) == over
    assert house.broker.calls == []


# ---- refusals


@pytest.mark.parametrize(
    ("state", "reason"),
    [(AccountState.EXPIRED, DisconnectReason.EXPIRED), (AccountState.REVOKED, DisconnectReason.REJECTED)],
)
async def test_a_refusal_seen_twice_ends_the_session(
    house: House, state: AccountState, reason: DisconnectReason
) -> None:
    """Another service confirms it; the reason is the one that Fyers gives."""
    house.broker.set_state(fyers_id(ALICE), state)

    await ask(house)
    await house.clock.settle()

    over = house.connections.connection(ALICE)
    assert (over.state, over.reason) == (LoginState.DISCONNECTED, reason)
    assert asked(house) == ["check_data", "profile_id"]
    assert house.stored(ALICE) == over
    [notice] = house.notices(ALICE, ENDED)
    assert notice.incident_id == over.incident_id


async def test_one_refusal_is_no_verdict(house: House) -> None:
    """An isolated false 401 is cleared by another service, with the same generation, and nobody is told."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))

    await ask(house)
    assert house.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    assert house.connections.credential(ALICE) is None
    await house.clock.settle()

    connection = house.connections.connection(ALICE)
    assert (connection.verification_state, connection.generation) == (VerificationState.VERIFIED, 1)
    assert house.connections.credential(ALICE) is not None
    assert asked(house) == ["check_data", "profile_id", "check_trading"]
    assert [call.is_for_verification for call in house.broker.calls] == [False, True, True]
    assert house.notices(ALICE) == []


async def test_what_refuses_at_one_address_is_confirmed_at_another(house: House) -> None:
    """History and market data live together: when both refuse although funds answers, nobody is logged out."""
    for service in (BrokerService.HISTORY, DATA):
        house.broker.always(fyers_id(ALICE), service, refusal(service))
    credential = house.credential(ALICE)

    house.connections.record_result(credential, refusal(BrokerService.HISTORY))
    await house.clock.settle()

    assert house.connections.connection(ALICE).verification_state is VerificationState.VERIFIED
    assert asked(house) == ["profile_id", "check_trading"]


async def test_a_service_that_goes_on_refusing_is_asked_less_and_less(house: House) -> None:
    """The first doubts are cleared at once; then the account rests, longer each time, and a new login ends the rest."""
    house.broker.always(fyers_id(ALICE), DATA, refusal(DATA))
    for _ in range(2):
        await ask(house)
        await house.clock.settle()
        assert house.connections.credential(ALICE) is not None

    await ask(house)
    await house.clock.advance(10)
    resting = house.connections.connection(ALICE)
    calls = len(asked(house))
    await house.clock.advance(30)

    assert (resting.verification_state, calls) == (VerificationState.UNDER_VERIFICATION, 9)
    assert house.connections.connection(ALICE).verification_state is VerificationState.VERIFIED
    await ask(house)
    await house.clock.settle()
    await house.log_in(ALICE)
    await house.clock.advance(200)
    assert house.connections.connection(ALICE).verification_state is VerificationState.ASSUMED
    assert house.connections.credential(ALICE) is not None


async def test_a_profile_that_answers_proves_nothing(house: House) -> None:
    """The session ends although /profile still says whose it is."""
    house.broker.always(fyers_id(ALICE), DATA, refusal(DATA))
    house.broker.always(fyers_id(ALICE), TRADING, refusal(TRADING))

    await ask(house)
    await house.clock.settle()

    assert house.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert asked(house) == ["check_data", "profile_id", "check_trading"]


async def test_a_refusal_amid_trouble_stays_a_doubt_until_somebody_answers(house: House) -> None:
    """While nobody else can be asked no ordinary call is made and nothing ends; then the doubt is cleared."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))
    house.broker.queue(fyers_id(ALICE), Unavailable(PROFILE, cause="http_502"), times=2)
    house.broker.queue(fyers_id(ALICE), Unavailable(TRADING, cause="http_502"), times=2)
    house.broker.queue(fyers_id(ALICE), Unavailable(DATA, cause="http_502"), times=2)

    await ask(house)
    await house.clock.settle()
    assert house.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION
    assert house.connections.credential(ALICE) is None
    await house.clock.advance(100)

    assert house.connections.connection(ALICE).verification_state is VerificationState.VERIFIED
    assert house.connections.credential(ALICE) is not None


async def test_an_app_without_trading_permission_gets_out_of_doubt(house: House) -> None:
    """Where the other service may not be asked, the first one's own answer clears its refusal."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))
    house.broker.always(
        fyers_id(ALICE), TRADING, NotPermitted(TRADING, code=-403, http_status=403, message="no permission")
    )

    await ask(house)
    await house.clock.settle()

    assert house.connections.connection(ALICE).verification_state is VerificationState.VERIFIED


async def test_a_second_look_heeds_the_wait_that_fyers_asks_for(house: House) -> None:
    """Asked to wait five minutes, the second look does not ask again before."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))
    for service in (PROFILE, TRADING, DATA):
        house.broker.always(fyers_id(ALICE), service, None)
    house.broker.queue(fyers_id(ALICE), RateLimited(PROFILE, retry_after_s=300))
    house.broker.queue(fyers_id(ALICE), RateLimited(TRADING, retry_after_s=300))
    house.broker.queue(fyers_id(ALICE), RateLimited(DATA, retry_after_s=300))

    await ask(house)
    await house.clock.advance(299)
    assert len(asked(house)) == 4
    await house.clock.advance(2)

    assert len(asked(house)) > 4
    assert house.connections.connection(ALICE).verification_state is VerificationState.VERIFIED


async def test_two_refusals_at_once_are_one_incident(house: House) -> None:
    """Calls of one session that are refused together bring one second look, one end and one notice."""
    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    all_sent = asyncio.Barrier(3)

    async def wait_for_each_other(call: Call) -> None:
        if not call.is_for_verification:
            await all_sent.wait()

    house.broker.before_answer = wait_for_each_other
    await asyncio.gather(ask(house), ask(house), ask(house))
    await house.clock.settle()

    assert asked(house).count("profile_id") == 1
    assert len(house.notices(ALICE)) == 1
    assert house.audit(ALICE, "connection.refusal_confirmed") == ["connection.refusal_confirmed"]


async def test_an_old_session_s_refusal_never_touches_a_newer_one(house: House) -> None:
    """A slow check of the old token that finishes after a new login is void."""
    old = house.credential(ALICE)
    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    result = await house.broker.check_data(old)
    await house.log_in(ALICE)

    house.connections.record_result(old, result)
    await house.clock.settle()

    connection = house.connections.connection(ALICE)
    assert (connection.generation, connection.state) == (2, LoginState.CONNECTED)
    assert connection.is_usable
    assert house.notices(ALICE) == []


async def test_an_old_session_s_answer_does_not_verify_a_newer_one(house: House) -> None:
    """Good news about an old generation is void as well."""
    old = house.credential(ALICE)
    await house.log_in(ALICE)

    house.connections.record_result(old, Answered(None))

    assert house.connections.connection(ALICE).verification_state is VerificationState.ASSUMED


async def test_a_login_in_the_middle_of_a_second_look_wins(house: House) -> None:
    """What the look then finds about the old token ends nothing, and the old token is not asked about any further."""
    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)

    async def log_in_meanwhile(call: Call) -> None:
        if call.name == "profile_id":
            house.broker.before_answer = None
            await house.log_in(ALICE)

    house.broker.before_answer = log_in_meanwhile
    await ask(house)
    await house.clock.advance(600)

    connection = house.connections.connection(ALICE)
    assert (connection.generation, connection.state, connection.is_usable) == (2, LoginState.CONNECTED, True)
    assert [call.generation for call in house.broker.calls] == [1, 1]
    assert house.notices(ALICE) == []


async def test_a_login_while_the_second_look_clears_the_old_session_is_left_alone(house: House) -> None:
    """A doubt about the old token that ends well says nothing about the new one."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))

    async def log_in_meanwhile(call: Call) -> None:
        if call.name == "check_trading":
            house.broker.before_answer = None
            await house.log_in(ALICE)

    house.broker.before_answer = log_in_meanwhile
    await ask(house)
    await house.clock.advance(5)

    connection = house.connections.connection(ALICE)
    assert (connection.generation, connection.verification_state) == (2, VerificationState.ASSUMED)
    assert all(job.last_error is None for job in house.supervisor.jobs())


async def test_the_known_end_in_the_middle_of_a_second_look_wins(house: House) -> None:
    """The session ends once, as expired by its known end, and the second look goes no further."""
    await house.add_user(BOB)
    await house.log_in(BOB, lifetime=timedelta(seconds=30))
    house.broker.queue(fyers_id(BOB), refusal(DATA))
    house.broker.always(fyers_id(BOB), PROFILE, Unavailable(PROFILE, cause="timeout"))
    house.broker.always(fyers_id(BOB), TRADING, Unavailable(TRADING, cause="timeout"))
    house.broker.queue(fyers_id(BOB), Unavailable(DATA, cause="timeout"), times=50)

    await ask(house, BOB)
    await house.clock.advance(600)

    over = house.connections.connection(BOB)
    assert (over.reason, len(house.notices(BOB))) == (DisconnectReason.EXPIRED, 1)
    assert all(call.at < over.last_disconnect_at for call in house.broker.calls_of(BOB))


async def test_trouble_never_ends_a_session(house: House) -> None:
    """Outages, limits, refused requests and missing permissions say nothing about the login."""
    credential = house.credential(ALICE)
    failures = (
        Unavailable(DATA, cause="timeout"),
        RateLimited(DATA, retry_after_s=60),
        RequestRefused(DATA, code=-300, http_status=422, message="bad symbol"),
        NotPermitted(DATA, code=-403, http_status=403, message="no permission"),
    )
    for failure in failures * 20:
        house.connections.record_result(credential, failure, is_validation=True)
        await house.clock.advance(60)

    connection = house.connections.connection(ALICE)
    assert (connection.has_session, connection.is_usable, connection.is_verified) == (True, True, False)
    assert asked(house) == []


async def test_a_passing_trouble_does_not_shake_a_session_confirmed_lately(house: House) -> None:
    """One failed quote within five minutes of a good answer changes nothing; later it does, and a good answer mends it."""
    credential = house.credential(ALICE)
    trouble = Unavailable(DATA, cause="timeout")
    house.connections.record_result(credential, Answered(None))

    house.connections.record_result(credential, trouble)
    assert house.connections.connection(ALICE).is_verified
    await house.clock.advance(301)
    house.connections.record_result(credential, trouble)
    assert house.connections.connection(ALICE).verification_state is VerificationState.UNVERIFIED
    house.connections.record_result(credential, Answered(None))

    assert house.connections.connection(ALICE).is_verified


# ---- a dead session makes no call


@pytest.mark.parametrize("how", ["sign_out", "admin", "known_end", "refused", "relogin", "removed"])
async def test_a_call_that_waited_for_its_turn_is_not_sent_after_the_end(house: House, how: str) -> None:
    """Whoever took the credential before the end cannot use it any more, nor a second-look copy of it."""
    held = house.credential(ALICE)
    if how == "sign_out":
        await house.connections.sign_out(ALICE, actor=ALICE)
    elif how == "admin":
        await house.connections.disconnect_by_admin(ALICE, actor="usr_admin")
    elif how == "known_end":
        await house.clock.advance_to(next_daily_end(house.clock.now()))
    elif how == "relogin":
        await house.log_in(ALICE)
    elif how == "removed":
        await house.connections.forget(ALICE)
    else:
        house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
        await ask(house)
        await house.clock.settle()
    reached = len(house.broker.calls)

    for copy in (held, held.for_verification()):
        await house.broker.check_data(copy)
        await house.broker.check_trading(copy)

    assert len(house.broker.calls) == reached
    assert len(house.broker.unsent) == 4


async def test_a_removed_user_s_second_look_stops(house: House) -> None:
    """Nobody goes on looking at a session that is forgotten."""
    house.broker.set_state(fyers_id(ALICE), AccountState.HANGING)
    house.connections.record_result(house.credential(ALICE), refusal(DATA))
    await house.connections.forget(ALICE)
    await house.clock.advance(120)
    job = next(job for job in house.supervisor.jobs() if job.name == "second-look")

    assert job.state.value == "stopped"
    assert house.connections.connections() == ()


# ---- people


async def test_signing_out_ends_the_session_once(house: House) -> None:
    """A second click finds nothing to do."""
    first = await house.connections.sign_out(ALICE, actor=ALICE)
    second = await house.connections.sign_out(ALICE, actor=ALICE)

    assert first == second == house.stored(ALICE)
    assert first.reason is DisconnectReason.SIGNED_OUT
    assert house.audit(ALICE, "connection.signed_out") == ["connection.signed_out"]


async def test_people_without_a_session_can_sign_out(house: House) -> None:
    """Nothing happens to who never linked Fyers."""
    assert (await house.connections.sign_out(BOB, actor=BOB)).state is LoginState.NEVER_CONNECTED
    assert (await house.connections.disconnect_by_admin(BOB, actor=ALICE)).state is LoginState.NEVER_CONNECTED


async def test_an_admin_s_disconnect_says_who(house: House) -> None:
    """The audit trail names the operator, the notice says that it was one."""
    after = await house.connections.disconnect_by_admin(ALICE, actor="usr_admin")

    assert after.reason is DisconnectReason.BY_ADMIN
    assert house.store.tables.audit[-1].actor == "usr_admin"
    assert "administrator" in house.notices(ALICE)[0].title.lower()


async def test_a_login_after_an_end_is_told_with_the_incident_it_repairs(house: House) -> None:
    """Both notices carry the same incident."""
    over = await house.connections.sign_out(ALICE, actor=ALICE)

    renewed = await house.log_in(ALICE)

    assert (renewed.generation, renewed.incident_id) == (2, over.incident_id)
    assert {(notice.kind, notice.incident_id) for notice in house.notices(ALICE)} == {
        (NotificationKind.SESSION_DISCONNECTED, over.incident_id),
        (NotificationKind.LOGIN_RENEWED, over.incident_id),
    }
    assert house.stored(ALICE) == renewed


async def test_a_login_over_a_running_session_tells_nobody(house: House) -> None:
    """Nothing was interrupted; the old token is used no more."""
    old = house.credential(ALICE)

    await house.log_in(ALICE)

    assert old.lease.is_over
    assert house.credential(ALICE).generation == 2
    assert house.notices(ALICE) == []


async def test_concurrent_logins_each_get_a_generation(house: House) -> None:
    """Two callbacks at once are two logins, and the later one stays."""
    await asyncio.gather(house.log_in(ALICE), house.log_in(ALICE), house.log_in(ALICE))

    assert house.connections.connection(ALICE).generation == 4
    assert house.stored(ALICE).generation == 4
    assert house.store.tables.tokens[ALICE][0] == 4


async def test_a_login_that_cannot_be_stored_does_not_count(house: House) -> None:
    """The old session goes on, and the next attempt succeeds."""
    house.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await house.log_in(ALICE)
    assert house.credential(ALICE).generation == 1
    house.store.is_down = False

    assert (await house.log_in(ALICE)).generation == 2


async def test_a_login_whose_acknowledgement_was_cut_off_does_not_bar_the_next(house: House) -> None:
    """The database may be a generation ahead of memory; the next login goes beyond both."""

    async def cut_off() -> None:
        house.store.after_commit = None
        logging_in.cancel()
        await asyncio.sleep(0)

    house.store.after_commit = cut_off
    logging_in = asyncio.create_task(house.log_in(ALICE))
    await asyncio.wait({logging_in})
    assert (house.stored(ALICE).generation, house.connections.connection(ALICE).generation) == (2, 1)

    assert (await house.log_in(ALICE)).generation == 3


async def test_a_removed_user_cannot_log_in(house: House) -> None:
    """A round trip that ends after the account was removed leaves nothing behind."""
    async with house.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    with pytest.raises(AlreadyExists):
        await house.log_in(ALICE)


# ---- the database


async def test_an_end_during_a_database_outage_counts_at_once_and_is_stored_later(house: House) -> None:
    """The notice is stored and announced exactly once, when the database answers."""
    tab = house.hub.subscribe(ALICE)
    house.store.is_down = True

    over = await house.connections.sign_out(ALICE, actor=ALICE)

    assert over.state is LoginState.DISCONNECTED
    assert house.connections.credential(ALICE) is None
    assert house.stored(ALICE).has_session
    house.store.is_down = False
    await house.clock.advance(60)
    assert house.stored(ALICE) == over
    assert house.store.tables.tokens == {}
    tab.close()
    told = [delivery.message async for delivery in tab if isinstance(delivery.message, NotificationStored)]
    assert len(told) == len(house.notices(ALICE)) == 1


async def test_an_end_that_could_not_be_stored_stays_in_the_trail_after_a_new_login(house: House) -> None:
    """Logging in again as soon as the database answers loses neither the line nor the notice of the end."""
    house.store.is_down = True
    over = await house.connections.sign_out(ALICE, actor=ALICE)
    house.store.is_down = False
    await house.log_in(ALICE)

    await house.clock.advance(60)

    assert set(house.audit(ALICE, "connection.")) == {"connection.logged_in", "connection.signed_out"}
    assert [notice.incident_id for notice in house.notices(ALICE, ENDED)] == [over.incident_id]
    assert house.stored(ALICE).generation == 2
    assert house.stored(ALICE).has_session


async def test_an_end_while_a_login_is_being_stored_is_not_forgotten(house: House) -> None:
    """The new session begins, and knows of the interruption that happened meanwhile."""
    ended = []

    async def end_meanwhile() -> None:
        house.store.before_commit = None
        ended.append(asyncio.create_task(house.connections.sign_out(ALICE, actor=ALICE)))
        await asyncio.sleep(0)

    house.store.before_commit = end_meanwhile
    after = await house.log_in(ALICE)
    await asyncio.gather(*ended)
    await house.clock.advance(120)

    assert (after.generation, after.has_session) == (2, True)
    assert after.incident_id is not None
    assert house.stored(ALICE) == house.connections.connection(ALICE)
    assert len(house.notices(ALICE, ENDED)) == 1


async def test_a_caller_who_leaves_does_not_leave_the_end_unstored(house: House) -> None:
    """A request that is cut off while its change is stored changes nothing about it."""
    leaving = asyncio.create_task(house.connections.sign_out(ALICE, actor=ALICE))

    async def leave() -> None:
        leaving.cancel()
        await asyncio.sleep(0)

    house.store.after_commit = leave
    await asyncio.wait({leaving})
    house.store.after_commit = None
    await house.clock.advance(60)

    assert house.stored(ALICE) == house.connections.connection(ALICE)
    assert house.audit(ALICE, "connection.signed_out") == ["connection.signed_out"]


async def test_changes_are_stored_once_even_if_several_wait_for_it(house: House) -> None:
    """Ends of several accounts at once go together, each with one line and one notice."""
    await house.with_sessions(BOB, CAROL)
    before = house.store.commits

    await asyncio.gather(*(house.connections.sign_out(user, actor=user) for user in (ALICE, BOB, CAROL)))

    assert house.store.commits - before <= 2
    assert house.audit(None, "connection.signed_out") == ["connection.signed_out"] * 3


async def test_what_listeners_do_cannot_keep_an_end_from_being_stored(house: House) -> None:
    """A listener that breaks is loud, and the end is stored nevertheless."""

    def breaks(change: ConnectionChange) -> None:
        raise LookupError("broken listener")

    house.connections.on_change(breaks)
    with pytest.raises(LookupError):
        await house.connections.sign_out(ALICE, actor=ALICE)
    await house.clock.advance(60)

    assert not house.connections.connection(ALICE).has_session
    assert not house.stored(ALICE).has_session


async def test_confirmations_are_stored_in_one_transaction(house: House) -> None:
    """When sessions were last confirmed is written once a minute, for all together."""
    await house.with_sessions(BOB)
    for user_id in (ALICE, BOB):
        house.connections.record_result(house.credential(user_id), Answered(None))
    confirmed_at, before = house.clock.now(), house.store.commits

    await house.connections.store_observations()

    assert house.store.commits == before + 1
    assert house.stored(ALICE).last_validated_at == house.stored(BOB).last_validated_at == confirmed_at
    await house.connections.store_observations()
    assert house.store.commits == before + 1


async def test_confirmations_survive_a_database_outage(house: House) -> None:
    """What could not be stored is stored at the next opportunity."""
    house.connections.record_result(house.credential(ALICE), Answered(None))
    house.store.is_down = True
    with pytest.raises(StorageUnavailable):
        await house.connections.store_observations()
    house.store.is_down = False

    await house.connections.store_observations()

    assert house.stored(ALICE).last_validated_at == house.clock.now()


# ---- restart


async def test_a_restart_keeps_sessions_and_generations(house: House) -> None:
    """The token is used again as before; how sure we were is asked anew."""
    house.connections.record_result(house.credential(ALICE), Answered(None))
    await house.connections.store_observations()

    again = await (await house.kill()).start(with_monitoring=False)

    connection = again.connections.connection(ALICE)
    assert (connection.generation, connection.has_session, connection.verification_state) == (
        1,
        True,
        VerificationState.ASSUMED,
    )
    assert again.credential(ALICE).token.reveal()
    assert connection.last_validated_at is not None


async def test_a_token_that_cannot_be_read_is_told_as_what_it_is(house: House) -> None:
    """With a lost key the session ends at the start, with a sentence that blames nobody else."""
    store = house.store.copied()
    store.tables.tokens.clear()

    again = await (await house.kill(store)).start(with_monitoring=False)

    assert again.connections.connection(ALICE).state is LoginState.DISCONNECTED
    [notice] = again.notices(ALICE)
    assert "encryption key" in notice.text


async def test_an_end_stored_by_a_command_counts_in_a_running_server(house: House) -> None:
    """Within seconds the session is over here too, without a second line or notice."""
    held = house.credential(ALICE)
    await disconnect_stored(house.store, ALICE, actor="usr_admin", now=house.clock.now(), new_id=house.new_id)

    await house.clock.advance(11)

    over = house.connections.connection(ALICE)
    assert (over.reason, held.lease.is_over) == (DisconnectReason.BY_ADMIN, True)
    assert over == house.stored(ALICE)
    assert len(house.notices(ALICE)) == 1
    assert house.audit(ALICE, "connection.disconnected_by_admin") == ["connection.disconnected_by_admin"]


async def test_a_user_removed_by_a_command_is_forgotten_by_a_running_server(house: House) -> None:
    """Their session is used no more."""
    held = house.credential(ALICE)
    async with house.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()

    await house.clock.advance(11)

    assert held.lease.is_over
    assert house.connections.connections() == ()


# ---- who is told


async def test_everybody_who_listens_hears_of_each_change_once(house: House) -> None:
    """The user's tabs and the operators' pages get the same events, in order."""
    changes: list[ConnectionChange] = []
    house.connections.on_change(changes.append)
    tab, operator = house.hub.subscribe(ALICE), house.hub.subscribe(ADMINS)

    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(house)
    await house.clock.settle()
    await house.log_in(ALICE)
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


async def test_settled_waits_for_the_second_look(house: House) -> None:
    """Whoever asks in the middle of it gets the verdict."""
    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(house)

    settled = await house.connections.settled(ALICE)

    assert settled.reason is DisconnectReason.REJECTED


async def test_settled_does_not_wait_for_a_look_that_cannot_decide(house: House) -> None:
    """After the first round without a verdict the doubt itself is the answer."""
    house.broker.queue(fyers_id(ALICE), refusal(DATA))
    for service in (PROFILE, TRADING):
        house.broker.always(fyers_id(ALICE), service, Unavailable(service, cause="timeout"))
    house.broker.queue(fyers_id(ALICE), Unavailable(DATA, cause="timeout"))
    await ask(house)

    settled = await house.connections.settled(ALICE)

    assert settled.verification_state is VerificationState.UNDER_VERIFICATION


async def test_a_second_look_that_breaks_is_begun_anew(house: House) -> None:
    """An unforeseen error does not leave the session in doubt for the rest of the day."""

    async def breaks(call: Call) -> None:
        house.broker.before_answer = None
        raise LookupError("broken broker")

    house.broker.queue(fyers_id(ALICE), refusal(DATA))
    await ask(house)
    house.broker.before_answer = breaks
    await house.clock.settle()
    assert house.connections.connection(ALICE).verification_state is VerificationState.UNDER_VERIFICATION

    await house.clock.advance(61)

    assert house.connections.connection(ALICE).verification_state is VerificationState.VERIFIED


async def test_no_secret_is_in_what_is_stored_or_told(house: House) -> None:
    """Neither the audit trail nor notices nor events hold a token."""
    token = AccessToken(house.credential(ALICE).token.reveal())
    tab = house.hub.subscribe(ALICE, ADMINS)
    house.broker.set_state(fyers_id(ALICE), AccountState.REVOKED)
    await ask(house)
    await house.clock.settle()
    tab.close()

    told = repr([delivery.message async for delivery in tab])
    stored = repr((house.store.tables.audit, house.store.tables.notifications))
    assert token.reveal() not in told + stored
