"""Renewing sessions without their users; `hullwatch.services.renewal.service`."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest
from fakes.broker import AccountState, Call, refusal

from hullwatch.domain.failures import BrokerService, RateLimited, Unavailable
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.renewal.outcomes import NEEDS_PIN, RenewalOutcome
from hullwatch.domain.renewal.rules import AFTER_EXPIRY, LEAD, SPREAD
from hullwatch.domain.secrets import AccessToken, RefreshToken
from hullwatch.domain.sessions.connection import DisconnectReason, LoginState, VerificationState
from hullwatch.domain.sessions.tokens import FreshLogin
from hullwatch.services.renewal.request import TIMEOUT_S
from services.environment import ALICE, BOB, CAROL, DAVE, Environment, fyers_id
from services.renewal.renewal_environment import end_of_day, lines, log_in_by_hand, renewing, tries

ENDED, RENEWED = NotificationKind.SESSION_DISCONNECTED, NotificationKind.CONNECTED_AGAIN
DAYS = timedelta(days=1)
LONG = timedelta(hours=30)
"""A lifetime with which a renewed session outlives the one before: not Fyers' today."""


async def revoke(env: Environment, user_id: str = ALICE) -> None:
    """End a session at Fyers and let an ordinary call find out."""
    env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)
    credential = env.credential(user_id)
    env.connections.record_result(credential, await env.broker.check_data(credential))
    await env.clock.settle()


# ---- before the known end


async def test_a_session_is_renewed_before_its_end_and_nobody_is_told() -> None:
    """A new generation begins while the old one lives; the audit trail has a quiet line, the users have no notice."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    end = end_of_day(env)

    await env.clock.advance_to(end - LEAD - SPREAD - timedelta(seconds=1))
    assert tries(env) == []
    await env.clock.advance_to(end - LEAD)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.state) == (2, LoginState.CONNECTED)
    assert connection.verification_state is VerificationState.VERIFIED
    assert env.stored(ALICE).generation == 2
    await env.clock.advance_to(end + timedelta(minutes=1))
    assert env.connections.connection(ALICE).has_session
    assert len(tries(env)) == 1
    assert env.notices(ALICE) == []
    [line] = lines(env, "connection.logged_in")[1:]
    assert (line.actor, line.evidence["kind"]) == ("hullwatch", "renewal")
    [line] = lines(env, "renewal.tried")
    assert (line.reason, line.evidence["occasion"]) == ("renewed", "before_expiry")


async def test_the_old_session_is_asked_nothing_more_once_it_is_renewed() -> None:
    """Its lease is closed in the step in which the new one begins."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    old = env.credential(ALICE)

    await env.clock.advance_to(end_of_day(env) - LEAD)

    assert old.lease.is_closed
    assert env.credential(ALICE).token != old.token


@pytest.mark.parametrize(
    ("break_it", "outcome", "words"),
    [
        (
            lambda env: setattr(env.broker, "takes_refresh_tokens", False),
            RenewalOutcome.REFUSED_BY_FYERS,
            "Fyers refused to renew it, because it accepts no refresh tokens",
        ),
        (
            lambda env: env.broker.pins.update({fyers_id(ALICE): "9999"}),
            RenewalOutcome.WRONG_PIN,
            "the PIN is wrong",
        ),
        (
            lambda env: env.broker._refresh_tokens.clear(),
            RenewalOutcome.BAD_REFRESH_TOKEN,
            "the refresh token of your last login is not valid",
        ),
        (
            lambda env: setattr(env.broker, "is_down", True),
            RenewalOutcome.UNAVAILABLE,
            "Fyers sent no usable answer",
        ),
        (
            lambda env: setattr(env.broker, "renews_refused_tokens", True),
            RenewalOutcome.NOT_ACCEPTED,
            "did not accept calls with the renewed session",
        ),
    ],
)
async def test_a_failed_renewal_is_an_ordinary_expiry_that_says_why(
    break_it: Callable[[Environment], object], outcome: RenewalOutcome, words: str
) -> None:
    """One try; the session goes on to its known end, and the evidence and the notice name the reason."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    end = end_of_day(env)
    break_it(env)

    await env.clock.advance_to(end - timedelta(seconds=1))
    alive = env.connections.connection(ALICE)
    await env.clock.advance_to(end + timedelta(hours=1))

    assert (alive.generation, alive.has_session) == (1, True)
    over = env.connections.connection(ALICE)
    assert (over.state, over.reason, over.last_disconnect_at) == (
        LoginState.DISCONNECTED,
        DisconnectReason.EXPIRED,
        end,
    )
    assert len(tries(env)) == 1
    [notice] = env.notices(ALICE)
    assert notice.kind is ENDED
    assert words in notice.text
    [line] = lines(env, "connection.reached_expiry")
    assert (line.reason, line.evidence["renewal"]) == ("expired", outcome.value)
    [line] = lines(env, "renewal.tried")
    assert line.reason == outcome.value


async def test_fyers_taking_no_refresh_tokens_is_no_doubt_about_the_session() -> None:
    """-16 at a renewal is not the -16 of a dead session: the standing does not move and no second look begins."""
    env = await renewing()
    env.broker.takes_refresh_tokens = False
    before = env.connections.connection(ALICE)

    await env.clock.advance_to(end_of_day(env) - LEAD)

    connection = env.connections.connection(ALICE)
    assert (connection.verification_state, connection.generation) == (before.verification_state, 1)
    assert env.connections.credential(ALICE) is not None
    assert [call.name for call in env.broker.calls] == ["renew_access_token"]


async def test_a_renewed_session_that_cannot_be_checked_counts_and_is_unverified() -> None:
    """Trouble is no refusal: the session begins, and is not called verified before Fyers has answered a call with it."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    env.broker.queue(fyers_id(ALICE), Unavailable(BrokerService.DATA, cause="http_502"))

    await env.clock.advance_to(end_of_day(env) - LEAD)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.verification_state) == (2, VerificationState.UNVERIFIED)


async def test_one_false_refusal_does_not_spoil_a_renewal() -> None:
    """Where another service accepts the new session, it is good."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    env.broker.queue(fyers_id(ALICE), refusal(BrokerService.DATA))

    await env.clock.advance_to(end_of_day(env) - LEAD)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.verification_state) == (2, VerificationState.VERIFIED)


async def test_tries_do_not_come_in_one_burst() -> None:
    """All sessions end at 06:00 IST; the tries before that are spread, and at no moment are there more than two a second."""
    people = [f"usr_{number:03}" for number in range(60)]
    env = await renewing(*people)
    env.broker.takes_refresh_tokens = False

    await env.clock.advance_to(end_of_day(env))

    moments = [call.at for call in tries(env)]
    assert len(moments) == len(people)
    assert min(later - earlier for earlier, later in pairwise(moments)) >= timedelta(seconds=0.5)
    assert max(moments) - min(moments) > SPREAD / 2
    assert max(moments) < end_of_day(env) - LEAD + timedelta(minutes=1)


async def test_a_short_session_is_not_renewed_without_end() -> None:
    """Where renewed sessions last five minutes, each is renewed in its second half and not at once."""
    env = await renewing()
    env.broker.renewed_lifetime = timedelta(minutes=5)
    await log_in_by_hand(env, lifetime=timedelta(minutes=5))

    await env.clock.advance(30 * 60)

    assert 10 <= len(tries(env)) <= 13
    assert env.connections.connection(ALICE).has_session


async def test_what_monitoring_wants_does_not_matter_and_a_consent_does() -> None:
    """Whoever has not consented is never renewed and has nothing stored, whatever a login brings."""
    env = await renewing(ALICE)
    await env.add_user(BOB)
    await log_in_by_hand(env, BOB)
    env.broker.renewed_lifetime = LONG

    await env.clock.advance_to(end_of_day(env))

    assert [call.fyers_id for call in tries(env)] == [fyers_id(ALICE)]
    assert not env.connections.connection(BOB).has_session
    assert BOB not in env.store.tables.refresh_tokens


# ---- sessions that all end at 06:00, whenever they began


async def test_a_session_that_ends_no_later_is_not_taken_and_the_try_is_made_after_the_end() -> None:
    """As Fyers' sessions end at the next 06:00 whenever they began, the one that is kept is asked for in the new day; its user hears nothing."""
    env = await renewing()
    end = end_of_day(env)

    await env.clock.advance_to(end - timedelta(seconds=1))
    assert env.connections.connection(ALICE).generation == 1
    await env.clock.advance_to(end)
    assert env.connections.connection(ALICE).state is LoginState.DISCONNECTED
    assert env.connections.credential(ALICE) is None
    assert env.stored(ALICE).state is LoginState.DISCONNECTED
    await env.clock.advance_to(end + AFTER_EXPIRY)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.expires_at) == (2, end + DAYS)
    assert env.notices(ALICE) == []
    assert [(line.reason, line.evidence["occasion"]) for line in lines(env, "renewal.tried")] == [
        ("expires_no_later", "before_expiry"),
        ("renewed", "at_expiry"),
    ]
    [line] = lines(env, "connection.reached_expiry")
    assert line.evidence["renewal"] == "under_way"


async def test_day_after_day_with_one_login_by_hand() -> None:
    """Until the refresh token itself ends, here after two days; then the session simply expires, and its user is told once."""
    env = await renewing()
    await log_in_by_hand(env, token=env.broker.issue_refresh_token(fyers_id(ALICE), days=2))

    await env.clock.advance((3 * DAYS).total_seconds())

    ended = env.connections.connection(ALICE)
    assert (ended.reason, ended.generation) == (DisconnectReason.EXPIRED, 4)
    assert [notice.kind for notice in env.notices(ALICE)] == [ENDED]
    assert [call.at.hour for call in tries(env)] == [0, 0] * 2 + [0]


async def test_a_failure_after_the_end_is_told_then() -> None:
    """What worked before the end is refused after it: one notice, dated at the end, which says so."""
    env = await renewing()
    end = end_of_day(env)
    await env.clock.advance_to(end)
    env.broker.takes_refresh_tokens = False

    await env.clock.advance_to(end + AFTER_EXPIRY)

    [notice] = env.notices(ALICE)
    assert notice.created_at == end
    assert "Fyers refused to renew it" in notice.text
    assert len(tries(env)) == 2


async def test_many_ends_at_once_are_renewed_one_after_the_other() -> None:
    """Nobody is forgotten, and Fyers is asked twice a second."""
    people = (ALICE, BOB, CAROL, DAVE)
    env = await renewing(*people)
    end = end_of_day(env)

    await env.clock.advance_to(end + AFTER_EXPIRY + timedelta(seconds=2))

    assert {env.connections.connection(user_id).generation for user_id in people} == {2}
    after = [call.at for call in tries(env) if call.at > end]
    assert [later - earlier for earlier, later in pairwise(after)] == [timedelta(seconds=0.5)] * 3


async def test_a_login_by_hand_right_after_the_end_makes_the_try_needless() -> None:
    """Whoever is quicker than the try is connected, is told of no repair of what was never told, and Fyers is not asked."""
    env = await renewing()
    await env.clock.advance_to(end_of_day(env))
    asked = len(tries(env))

    await log_in_by_hand(env)
    await env.clock.advance(60)

    assert env.connections.connection(ALICE).generation == 2
    assert len(tries(env)) == asked
    assert env.notices(ALICE) == []


# ---- at a refusal


async def test_a_session_that_fyers_ended_is_renewed_once_and_nobody_is_alarmed() -> None:
    """It is over the moment that is certain; seconds later there is another, with both changes in the audit trail and no notice."""
    env = await renewing()
    seen = []
    env.connections.subscribe(lambda change: seen.append((change.after.state, change.after.generation)))

    await revoke(env)

    assert seen == [(LoginState.DISCONNECTED, 1), (LoginState.CONNECTED, 2)]
    connection = env.connections.connection(ALICE)
    assert (connection.verification_state, connection.reason) == (VerificationState.VERIFIED, None)
    assert env.audit(ALICE, "connection.")[1:] == ["connection.refusal_confirmed", "connection.logged_in"]
    assert env.notices(ALICE) == []
    assert len(tries(env)) == 1


async def test_while_the_renewal_is_tried_the_account_makes_no_other_call() -> None:
    """Memory leads: with the try under way there is no credential, and the state says so."""
    env = await renewing()
    during = []

    async def look(call: Call) -> None:
        if call.name == "renew_access_token":
            during.append((env.connections.connection(ALICE).state, env.connections.credential(ALICE)))

    env.broker.before_answer = look
    await revoke(env)

    assert during == [(LoginState.DISCONNECTED, None)]
    assert env.connections.connection(ALICE).has_session


@pytest.mark.parametrize(
    ("break_it", "outcome"),
    [
        (lambda env: setattr(env.broker, "takes_refresh_tokens", False), RenewalOutcome.REFUSED_BY_FYERS),
        (lambda env: setattr(env.broker, "renews_refused_tokens", True), RenewalOutcome.NOT_ACCEPTED),
        (lambda env: env.broker._refresh_tokens.clear(), RenewalOutcome.BAD_REFRESH_TOKEN),
    ],
)
async def test_a_refused_renewal_ends_an_early_end_like_any_other(
    break_it: Callable[[Environment], object], outcome: RenewalOutcome
) -> None:
    """One notice with both reasons; past the regular end there has been one try."""
    env = await renewing()
    break_it(env)

    await revoke(env)
    await env.clock.advance(3 * 3600)

    over = env.connections.connection(ALICE)
    assert (over.reason, over.generation) == (DisconnectReason.REJECTED, 1)
    [notice] = env.notices(ALICE)
    assert (notice.kind, notice.incident_id) == (ENDED, over.incident_id)
    assert "twice" in notice.text
    assert "renew" in notice.text
    assert len(tries(env)) == 1
    [line] = lines(env, "renewal.tried")
    assert (line.reason, line.incident_id) == (outcome.value, over.incident_id)


async def test_trouble_at_the_refusal_uses_the_try_up() -> None:
    """A Fyers that does not answer the renewal is asked no second time, and the user is told within the patience for it."""
    env = await renewing()
    began = env.clock.now()

    async def hang(call: Call) -> None:
        if call.name == "renew_access_token":
            await env.clock.sleep(3600)

    env.broker.before_answer = hang
    await revoke(env)
    assert env.notices(ALICE) == []
    await env.clock.advance(TIMEOUT_S)

    [notice] = env.notices(ALICE)
    assert "Fyers sent no usable answer" in notice.text
    assert env.clock.now() - began <= timedelta(seconds=TIMEOUT_S)
    env.broker.before_answer = None
    await env.clock.advance(3600)
    assert len(tries(env)) == 1


async def test_a_renewed_session_that_is_refused_ends_without_another_try() -> None:
    """Once per login by hand: what was renewed and is refused would be refused again."""
    env = await renewing()
    await revoke(env)
    assert env.connections.connection(ALICE).generation == 2

    await revoke(env)

    assert not env.connections.connection(ALICE).has_session
    assert len(tries(env)) == 1
    assert [notice.kind for notice in env.notices(ALICE)] == [ENDED]
    await log_in_by_hand(env)
    await revoke(env)
    assert len(tries(env)) == 2
    assert env.connections.connection(ALICE).has_session


async def test_a_try_that_failed_before_the_end_is_the_only_one_of_its_session() -> None:
    """A refusal in the last minutes asks for no other."""
    env = await renewing()
    env.broker.takes_refresh_tokens = False
    await env.clock.advance_to(end_of_day(env) - LEAD)

    await revoke(env)

    assert len(tries(env)) == 1
    [notice] = env.notices(ALICE)
    assert "Fyers refused to renew it" in notice.text
    [line] = lines(env, "connection.refusal_confirmed")
    assert line.evidence["renewal"] == "refused_by_fyers"


async def test_ends_that_a_person_wanted_are_not_undone() -> None:
    """Neither a sign-out nor an admin's disconnecting is renewed, not even when a try is under way."""
    env = await renewing(ALICE, BOB)
    env.broker.renewed_lifetime = LONG

    async def sign_out_meanwhile(call: Call) -> None:
        if call.name == "renew_access_token" and call.fyers_id == fyers_id(ALICE):
            await env.connections.sign_out(ALICE, actor=ALICE)

    env.broker.before_answer = sign_out_meanwhile
    await env.connections.disconnect_by_admin(BOB, actor="usr_admin")
    await env.clock.advance_to(end_of_day(env) + timedelta(minutes=1))

    assert env.connections.connection(ALICE).reason is DisconnectReason.SIGNED_OUT
    assert env.connections.connection(BOB).reason is DisconnectReason.BY_ADMIN
    assert [call.fyers_id for call in tries(env)] == [fyers_id(ALICE)]
    assert [notice.title for notice in env.notices(ALICE)] == ["You disconnected Fyers"]


async def test_a_login_by_hand_during_a_try_wins() -> None:
    """What the try brings is not used; nobody is told of an end that was over before it was told."""
    env = await renewing()

    async def log_in_meanwhile(call: Call) -> None:
        if call.name == "renew_access_token":
            env.broker.before_answer = None
            await log_in_by_hand(env)

    env.broker.before_answer = log_in_meanwhile
    await revoke(env)
    by_hand = env.credential(ALICE).token
    await env.clock.advance(60)

    assert env.connections.connection(ALICE).generation == 2
    assert env.credential(ALICE).token == by_hand
    assert env.notices(ALICE) == []


async def test_a_try_under_way_at_the_known_end_decides_what_is_told() -> None:
    """A slow answer that comes after the end renews the session all the same, and nobody is told of the seconds between."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    await log_in_by_hand(env, lifetime=timedelta(seconds=20))

    async def be_slow(call: Call) -> None:
        if call.name == "renew_access_token":
            await env.clock.sleep(12)

    env.broker.before_answer = be_slow
    await env.clock.advance(21)
    between = env.connections.connection(ALICE)
    await env.clock.advance(2)

    assert (between.generation, between.state) == (2, LoginState.DISCONNECTED)
    assert env.connections.connection(ALICE).generation == 3
    assert env.notices(ALICE) == []
    assert len(tries(env)) == 1


# ---- a wrong PIN, and keys that do not fit


async def test_after_a_wrong_pin_nothing_is_tried_until_it_is_entered_again() -> None:
    """Day after day the wrong PIN would lock the Fyers account; with the right one the next session is renewed."""
    env = await renewing()
    env.broker.pins[fyers_id(ALICE)] = "9999"
    for _ in range(3):
        await log_in_by_hand(env, lifetime=timedelta(minutes=20))
        await env.clock.advance(21 * 60)
    assert len(tries(env)) == 1

    await env.renewal_consents.opt_in(ALICE, "9999")
    await log_in_by_hand(env)
    await env.clock.advance_to(end_of_day(env) + timedelta(minutes=1))

    assert len(tries(env)) == 3  # one before the end and after it
    assert env.connections.connection(ALICE).has_session
    assert {RenewalOutcome.WRONG_PIN, RenewalOutcome.UNKNOWN_REFUSAL} == NEEDS_PIN


async def test_a_refresh_token_of_somebody_else_is_not_used() -> None:
    """A session of another Fyers account than the linked one is not begun, and the token goes."""
    env = await renewing()
    await log_in_by_hand(env, token=env.broker.issue_refresh_token("FSTRANGER"))
    env.broker.renewed_lifetime = LONG

    await env.clock.advance_to(end_of_day(env))

    assert not env.connections.connection(ALICE).has_session
    [line] = lines(env, "renewal.tried")
    assert line.reason == "bad_refresh_token"
    assert ALICE not in env.store.tables.refresh_tokens


async def test_a_login_that_brings_no_refresh_token_is_not_renewed() -> None:
    """The one of an earlier login goes; nothing is asked for, and the session simply ends."""
    env = await renewing()
    connection = await env.log_in(ALICE)
    await env.hook.logged_in(connection, FreshLogin(AccessToken("access")), linked_before=connection.fyers_id)

    await env.clock.advance_to(end_of_day(env))

    assert tries(env) == []
    [notice] = env.notices(ALICE)
    assert "renew" not in notice.text


async def test_our_own_pacing_is_no_reason_to_try_twice() -> None:
    """A try that could not be sent has been used up; the next session has one of its own."""
    env = await renewing()

    async def limited(*_: object) -> RateLimited:
        return RateLimited(BrokerService.LOGIN, retry_after_s=60)

    env.broker.renew_access_token = limited
    await env.clock.advance_to(end_of_day(env) + timedelta(minutes=1))

    [line] = lines(env, "renewal.tried")
    assert line.reason == "unavailable"


# ---- crashes and a database that does not answer


async def test_a_process_that_dies_while_it_tries_tells_at_the_next_start() -> None:
    """The end was stored, its notice was kept back: the next process tells it, tries nothing, and tells it once."""
    env = await renewing()

    async def die(call: Call) -> None:
        if call.name == "renew_access_token":
            await asyncio.Event().wait()

    env.broker.before_answer = die
    await revoke(env)
    assert env.stored(ALICE).state is LoginState.DISCONNECTED
    assert env.notices(ALICE) == []

    again = await (await env.kill()).start(with_monitoring=False)

    [notice] = again.notices(ALICE)
    assert notice.incident_id == again.connections.connection(ALICE).incident_id
    assert "could not renew it" in notice.text
    assert again.renewal_consents.get(ALICE).last_outcome is RenewalOutcome.UNAVAILABLE
    third = await (await again.kill()).start(with_monitoring=False)
    await third.clock.advance(3600)
    assert len(third.notices(ALICE)) == 1
    assert len(tries(third)) == 1


async def test_a_process_that_dies_after_the_try_was_noted_does_not_try_again() -> None:
    """Nobody knows whether Fyers heard of it; the session goes on to its end."""
    env = await renewing()
    end = end_of_day(env)

    async def die(call: Call) -> None:
        if call.name == "renew_access_token":
            await asyncio.Event().wait()

    env.broker.before_answer = die
    await env.clock.advance_to(end - LEAD)
    again = await (await env.kill()).start(with_monitoring=False)

    await again.clock.advance_to(end + timedelta(minutes=1))

    assert len(tries(again)) == 1
    [notice] = again.notices(ALICE)
    assert "could not renew it" in notice.text


async def test_an_end_while_the_server_was_down_is_tried_at_the_start() -> None:
    """The session whose known end passed meanwhile is renewed then, and its user never hears of the gap."""
    env = await renewing()
    end = end_of_day(env)
    again = await env.kill()
    await again.clock.advance_to(end + timedelta(hours=2))

    await again.start(with_monitoring=False)
    await again.clock.advance(1)

    connection = again.connections.connection(ALICE)
    assert (connection.generation, connection.has_session) == (2, True)
    assert again.notices(ALICE) == []


async def test_an_orderly_stop_during_a_try_tells_what_is_known() -> None:
    """The try is cut short and counts as failed; its notice is stored before the process ends."""
    env = await renewing()

    async def hang(call: Call) -> None:
        if call.name == "renew_access_token":
            await asyncio.Event().wait()

    env.broker.before_answer = hang
    await revoke(env)

    await env.stop()

    [notice] = env.notices(ALICE)
    assert "could not renew it" in notice.text


async def test_with_the_database_down_nothing_is_tried_and_everything_is_told_later() -> None:
    """A try that cannot be noted is not made: after a crash it could be made twice."""
    env = await renewing()
    env.store.is_down = True

    await env.clock.advance_to(end_of_day(env) + timedelta(minutes=1))
    assert not env.connections.connection(ALICE).has_session
    env.store.is_down = False
    await env.clock.advance(60)

    assert tries(env) == []
    [notice] = env.notices(ALICE)
    assert "could not renew it" in notice.text


async def test_a_session_that_could_not_be_stored_does_not_count() -> None:
    """The old one goes on to its end, and the try has been used up."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG

    async def go_down(call: Call) -> None:
        env.store.is_down = True

    env.broker.before_answer = go_down
    await env.clock.advance_to(end_of_day(env) - LEAD)
    env.store.is_down = False
    env.broker.before_answer = None
    assert env.connections.connection(ALICE).generation == 1
    await env.clock.advance_to(end_of_day(env) + timedelta(minutes=1))

    assert len(tries(env)) == 1
    assert not env.connections.connection(ALICE).has_session


async def test_no_secret_is_logged_or_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither PIN nor refresh token is in anything that the services print or that a value shows of itself."""
    env = await renewing()
    keys = (env.store.tables.pins[ALICE], env.store.tables.refresh_tokens[ALICE])

    await revoke(env)

    shown = "".join(capsys.readouterr()) + repr(env.renewal_consents.__dict__) + repr(env.renewal.__dict__)
    shown += repr(env.store.tables.audit) + repr(env.store.tables)
    assert isinstance(keys[1], RefreshToken)
    assert all(f"'{key.reveal()}'" not in shown and key.reveal() not in repr(keys) for key in keys)
