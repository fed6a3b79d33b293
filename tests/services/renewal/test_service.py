"""Attempts to renew sessions; `hullwatch.services.renewal.service`."""

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
from hullwatch.services.sessions.verification import CONFIRM_AGAIN_S
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
    await env.clock.advance(CONFIRM_AGAIN_S)


# ---- before the expiry


async def test_a_session_is_renewed_before_its_expiry_without_a_notice() -> None:
    """The new generation begins while the old one is in use; the audit trail has an entry."""
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


async def test_a_renewal_closes_the_lease_of_the_old_session() -> None:
    """It is closed in the step in which the new session begins."""
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
async def test_a_failed_renewal_is_named_in_the_notice_of_the_expiry(
    break_it: Callable[[Environment], object], outcome: RenewalOutcome, words: str
) -> None:
    """One attempt is made; the session stays until its expiry, and the audit entry names the outcome."""
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


async def test_a_refused_renewal_starts_no_verification() -> None:
    """Code -16 for a renewal is not the -16 for an expired session."""
    env = await renewing()
    env.broker.takes_refresh_tokens = False
    before = env.connections.connection(ALICE)

    await env.clock.advance_to(end_of_day(env) - LEAD)

    connection = env.connections.connection(ALICE)
    assert (connection.verification_state, connection.generation) == (before.verification_state, 1)
    assert env.connections.credential(ALICE) is not None
    assert [call.name for call in env.broker.calls] == ["renew_access_token"]


async def test_a_renewed_session_is_unverified_during_an_outage() -> None:
    """An outage is no refusal, so the session begins."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    env.broker.queue(fyers_id(ALICE), Unavailable(BrokerService.DATA, cause="http_502"))

    await env.clock.advance_to(end_of_day(env) - LEAD)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.verification_state) == (2, VerificationState.UNVERIFIED)


async def test_one_false_refusal_does_not_stop_a_renewal() -> None:
    """Another service accepts the new session."""
    env = await renewing()
    env.broker.renewed_lifetime = LONG
    env.broker.queue(fyers_id(ALICE), refusal(BrokerService.DATA))

    await env.clock.advance_to(end_of_day(env) - LEAD)

    connection = env.connections.connection(ALICE)
    assert (connection.generation, connection.verification_state) == (2, VerificationState.VERIFIED)


async def test_attempts_are_spread_before_the_expiry() -> None:
    """All sessions expire at 06:00 IST; at most two attempts start per second."""
    people = [f"usr_{number:03}" for number in range(60)]
    env = await renewing(*people)
    env.broker.takes_refresh_tokens = False

    await env.clock.advance_to(end_of_day(env))

    moments = [call.at for call in tries(env)]
    assert len(moments) == len(people)
    assert min(later - earlier for earlier, later in pairwise(moments)) >= timedelta(seconds=0.5)
    assert max(moments) - min(moments) > SPREAD / 2
    assert max(moments) < end_of_day(env) - LEAD + timedelta(minutes=1)


async def test_a_short_session_is_renewed_in_its_second_half() -> None:
    """Renewing sessions of five minutes at once would never stop."""
    env = await renewing()
    env.broker.renewed_lifetime = timedelta(minutes=5)
    await log_in_by_hand(env, lifetime=timedelta(minutes=5))

    await env.clock.advance(30 * 60)

    assert 10 <= len(tries(env)) <= 13
    assert env.connections.connection(ALICE).has_session


async def test_a_user_without_a_consent_is_never_renewed() -> None:
    """Nothing of the login is stored for a renewal."""
    env = await renewing(ALICE)
    await env.add_user(BOB)
    await log_in_by_hand(env, BOB)
    env.broker.renewed_lifetime = LONG

    await env.clock.advance_to(end_of_day(env))

    assert [call.fyers_id for call in tries(env)] == [fyers_id(ALICE)]
    assert not env.connections.connection(BOB).has_session
    assert BOB not in env.store.tables.refresh_tokens


# ---- sessions that all end at 06:00, whenever they began


async def test_a_session_with_the_same_expiry_is_renewed_after_it() -> None:
    """Fyers' sessions expire at 06:00 IST, so the useful one is requested afterwards; its user gets no notice."""
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


async def test_sessions_are_renewed_until_the_refresh_token_expires() -> None:
    """Here that is after two days; then the session expires with one notice."""
    env = await renewing()
    await log_in_by_hand(env, token=env.broker.issue_refresh_token(fyers_id(ALICE), days=2))

    await env.clock.advance((3 * DAYS).total_seconds())

    ended = env.connections.connection(ALICE)
    assert (ended.reason, ended.generation) == (DisconnectReason.EXPIRED, 4)
    assert [notice.kind for notice in env.notices(ALICE)] == [ENDED]
    assert [call.at.hour for call in tries(env)] == [0, 0] * 2 + [0]


async def test_a_failure_after_the_expiry_is_named_in_the_notice() -> None:
    """The notice is dated at the expiry."""
    env = await renewing()
    end = end_of_day(env)
    await env.clock.advance_to(end)
    env.broker.takes_refresh_tokens = False

    await env.clock.advance_to(end + AFTER_EXPIRY)

    [notice] = env.notices(ALICE)
    assert notice.created_at == end
    assert "Fyers refused to renew it" in notice.text
    assert len(tries(env)) == 2


async def test_sessions_that_expire_together_are_renewed_one_by_one() -> None:
    """Fyers gets two requests per second."""
    people = (ALICE, BOB, CAROL, DAVE)
    env = await renewing(*people)
    end = end_of_day(env)

    await env.clock.advance_to(end + AFTER_EXPIRY + timedelta(seconds=2))

    assert {env.connections.connection(user_id).generation for user_id in people} == {2}
    after = [call.at for call in tries(env) if call.at > end]
    assert [later - earlier for earlier, later in pairwise(after)] == [timedelta(seconds=0.5)] * 3


async def test_a_login_after_the_expiry_stops_the_attempt() -> None:
    """Neither the disconnect nor the recovery has a notice, and no request is sent."""
    env = await renewing()
    await env.clock.advance_to(end_of_day(env))
    asked = len(tries(env))

    await log_in_by_hand(env)
    await env.clock.advance(60)

    assert env.connections.connection(ALICE).generation == 2
    assert len(tries(env)) == asked
    assert env.notices(ALICE) == []


# ---- at a refusal


async def test_a_refused_session_is_renewed_once_without_a_notice() -> None:
    """Both changes are in the audit trail."""
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


async def test_during_an_attempt_the_account_makes_no_other_call() -> None:
    """The session is disconnected, so there is no credential."""
    env = await renewing()
    during = []

    async def record_state(call: Call) -> None:
        if call.name == "renew_access_token":
            during.append((env.connections.connection(ALICE).state, env.connections.credential(ALICE)))

    env.broker.before_answer = record_state
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
async def test_a_refused_renewal_leads_to_the_usual_notice(
    break_it: Callable[[Environment], object], outcome: RenewalOutcome
) -> None:
    """One notice names both reasons; past the expiry no second attempt is made."""
    env = await renewing()
    break_it(env)

    await revoke(env)
    await env.clock.advance(3 * 3600)

    over = env.connections.connection(ALICE)
    assert (over.reason, over.generation) == (DisconnectReason.REJECTED, 1)
    [notice] = env.notices(ALICE)
    assert (notice.kind, notice.incident_id) == (ENDED, over.incident_id)
    assert "ended your session early" in notice.text
    assert "renew" in notice.text
    assert len(tries(env)) == 1
    [line] = lines(env, "renewal.tried")
    assert (line.reason, line.incident_id) == (outcome.value, over.incident_id)


async def test_an_outage_during_the_attempt_uses_it_up() -> None:
    """The notice is sent within the time limit of the request."""
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
    assert env.clock.now() - began <= timedelta(seconds=CONFIRM_AGAIN_S + TIMEOUT_S)
    env.broker.before_answer = None
    await env.clock.advance(3600)
    assert len(tries(env)) == 1


async def test_a_refused_renewed_session_gets_no_second_attempt() -> None:
    """One attempt is made per login, because Fyers would refuse the next session too."""
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


async def test_a_failed_attempt_before_the_expiry_is_the_only_one() -> None:
    """A refusal in the last minutes starts no second attempt."""
    env = await renewing()
    env.broker.takes_refresh_tokens = False
    await env.clock.advance_to(end_of_day(env) - LEAD)

    await revoke(env)

    assert len(tries(env)) == 1
    [notice] = env.notices(ALICE)
    assert "Fyers refused to renew it" in notice.text
    [line] = lines(env, "connection.refusal_confirmed")
    assert line.evidence["renewal"] == "refused_by_fyers"


async def test_disconnects_by_a_person_are_not_renewed() -> None:
    """This holds even for an attempt that is under way."""
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


async def test_a_login_during_an_attempt_wins() -> None:
    """The session of the attempt is dropped, and no notice is stored."""
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


async def test_an_attempt_under_way_at_the_expiry_delays_the_notice() -> None:
    """A late answer still renews the session, so no notice is stored."""
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


async def test_after_a_wrong_pin_no_attempt_is_made() -> None:
    """Wrong PINs lock a Fyers account; after a new PIN the next session is renewed."""
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


async def test_a_refresh_token_of_another_account_is_not_used() -> None:
    """No session begins, and the token is removed."""
    env = await renewing()
    await log_in_by_hand(env, token=env.broker.issue_refresh_token("FSTRANGER"))
    env.broker.renewed_lifetime = LONG

    await env.clock.advance_to(end_of_day(env))

    assert not env.connections.connection(ALICE).has_session
    [line] = lines(env, "renewal.tried")
    assert line.reason == "bad_refresh_token"
    assert ALICE not in env.store.tables.refresh_tokens


async def test_a_login_without_a_refresh_token_is_not_renewed() -> None:
    """The token of the earlier login is removed, and the session expires."""
    env = await renewing()
    connection = await env.log_in(ALICE)
    await env.hook.logged_in(connection, FreshLogin(AccessToken("access")), linked_before=connection.fyers_id)

    await env.clock.advance_to(end_of_day(env))

    assert tries(env) == []
    [notice] = env.notices(ALICE)
    assert "renew" not in notice.text


async def test_an_attempt_stopped_by_the_rate_limit_is_used_up() -> None:
    """The next session has its own attempt."""
    env = await renewing()

    async def limited(*_: object) -> RateLimited:
        return RateLimited(BrokerService.LOGIN, retry_after_s=60)

    env.broker.renew_access_token = limited
    await env.clock.advance_to(end_of_day(env) + timedelta(minutes=1))

    [line] = lines(env, "renewal.tried")
    assert line.reason == "unavailable"


# ---- crashes and a database that does not answer


async def test_a_crash_during_an_attempt_delays_the_notice_to_the_start() -> None:
    """The next process makes no attempt and stores the notice once."""
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


async def test_a_stored_attempt_is_not_repeated_after_a_crash() -> None:
    """Fyers may have got the request; the session stays until its expiry."""
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


async def test_a_session_that_expired_while_stopped_is_renewed_at_start() -> None:
    """Its user gets no notice."""
    env = await renewing()
    end = end_of_day(env)
    again = await env.kill()
    await again.clock.advance_to(end + timedelta(hours=2))

    await again.start(with_monitoring=False)
    await again.clock.advance(1)

    connection = again.connections.connection(ALICE)
    assert (connection.generation, connection.has_session) == (2, True)
    assert again.notices(ALICE) == []


async def test_a_stop_during_an_attempt_stores_the_notice() -> None:
    """The attempt is cancelled and counts as failed."""
    env = await renewing()

    async def hang(call: Call) -> None:
        if call.name == "renew_access_token":
            await asyncio.Event().wait()

    env.broker.before_answer = hang
    await revoke(env)

    await env.stop()

    [notice] = env.notices(ALICE)
    assert "could not renew it" in notice.text


async def test_without_the_database_no_attempt_is_made() -> None:
    """An attempt that is not stored could be made twice after a crash; the notice follows later."""
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
    """The old session stays until its expiry, and the attempt is used up."""
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
    """This covers the output of the services, `repr` and the audit trail."""
    env = await renewing()
    keys = (env.store.tables.pins[ALICE], env.store.tables.refresh_tokens[ALICE])

    await revoke(env)

    shown = "".join(capsys.readouterr()) + repr(env.renewal_consents.__dict__) + repr(env.renewal.__dict__)
    shown += repr(env.store.tables.audit) + repr(env.store.tables)
    assert isinstance(keys[1], RefreshToken)
    assert all(f"'{key.reveal()}'" not in shown and key.reveal() not in repr(keys) for key in keys)
