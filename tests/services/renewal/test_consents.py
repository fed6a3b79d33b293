"""Consents to renewals; `hullwatch.services.renewal.consents`."""

from datetime import timedelta

import pytest
from fakes.broker import FakeBroker

from hullwatch.app.options import ServiceOptions
from hullwatch.domain.failures import InvalidInput, LinkRefused, NotAllowed, NotFound
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.secrets import AccessToken
from hullwatch.domain.sessions.connection import Connection
from hullwatch.domain.sessions.tokens import FreshLogin
from hullwatch.services.renewal.consents import RenewalConsents
from services.environment import ALICE, APP, BOB, Environment, fyers_id
from services.renewal.renewal_environment import (
    EARLY,
    PIN,
    end_of_day,
    lines,
    log_in_by_hand,
    renewing,
    tries,
)


async def test_without_an_offer_nothing_is_stored() -> None:
    """The refusal names the rule; the refresh token of a login is dropped, and no attempt is made."""
    env = await Environment().start(with_monitoring=False)
    env.broker.takes_refresh_tokens = True
    await env.add_user(ALICE)

    with pytest.raises(NotAllowed, match="SEBI"):
        await env.renewal_consents.opt_in(ALICE, "1234")
    await log_in_by_hand(env)
    await env.clock.advance_to(end_of_day(env))

    tables = env.store.tables
    assert (tables.renewals, tables.pins, tables.refresh_tokens) == ({}, {}, {})
    assert tries(env) == []
    assert env.renewal_consents.state_of(ALICE).is_offered is False


async def test_a_withdrawn_offer_removes_the_secrets_at_the_start() -> None:
    """The removal has an audit entry; later starts add none."""
    env = await renewing(ALICE, BOB)

    off = await env.kill()
    off.options = ServiceOptions(offers_renewal=False)
    off = await (await off.kill()).start(with_monitoring=False)

    tables = off.store.tables
    assert (tables.renewals, tables.pins, tables.refresh_tokens) == ({}, {}, {})
    for user_id in (ALICE, BOB):
        [line] = lines(off, "renewal.removed", user_id)
        assert (line.actor, line.reason) == ("hullwatch", "not_offered")
    await off.clock.advance_to(end_of_day(off))
    assert tries(off) == []
    await (await off.kill()).start(with_monitoring=False)
    assert len(lines(off, "renewal.removed")) == 1


@pytest.mark.parametrize(
    "text", ["", "123", "1234567", "12a4", " 1234", "1234\n", "१२३४", "-123", "1" * 5000]
)
async def test_a_pin_has_four_to_six_digits(text: str) -> None:
    """The refusal of any other text does not contain it."""
    env = await renewing()

    with pytest.raises(InvalidInput) as caught:
        await env.renewal_consents.opt_in(ALICE, text)

    assert caught.value.field == "pin"
    assert str(caught.value) == "A Fyers PIN has 4 to 6 digits."


async def test_without_a_fyers_app_there_is_nothing_to_renew() -> None:
    """Neither the user's own app nor the server's exists."""
    env = await Environment(options=ServiceOptions(offers_renewal=True)).start(with_monitoring=False)
    await env.add_user(ALICE)
    consents = RenewalConsents(env.context, is_offered=True)

    with pytest.raises(LinkRefused, match="Fyers app"):
        await consents.opt_in(ALICE, "1234")
    async with env.store.begin() as work:
        await work.connections.put_app(ALICE, APP)
        await work.commit()
    assert (await consents.opt_in(ALICE, "1234")).renewal is not None
    with pytest.raises(NotFound):
        await env.renewal_consents.opt_in("usr_nobody", "1234")


async def test_a_consent_gets_its_refresh_token_from_the_next_login() -> None:
    """After the withdrawal nothing is stored; consent and withdrawal each have an audit entry."""
    env = await Environment(options=ServiceOptions(offers_renewal=True)).start(with_monitoring=False)
    await env.add_user(ALICE)
    await log_in_by_hand(env)
    state = await env.renewal_consents.opt_in(ALICE, "123456")
    assert not state.renewal.has_refresh_token

    await log_in_by_hand(env)
    kept = env.renewal_consents.get(ALICE)
    await env.renewal_consents.opt_out(ALICE)
    await env.renewal_consents.opt_out(ALICE)

    assert (kept.has_refresh_token, kept.login_generation, kept.app_id) == (True, 2, "HULLWATCH-100")
    tables = env.store.tables
    assert (tables.renewals, tables.pins, tables.refresh_tokens) == ({}, {}, {})
    assert env.renewal_consents.state_of(ALICE).renewal is None
    assert env.audit(ALICE, "renewal.") == ["renewal.opted_in", "renewal.removed"]


async def test_an_attempt_needs_a_consent_a_token_and_a_session() -> None:
    """The daily summary uses this to decide whether a user has to log in."""
    env = await Environment(now=EARLY, options=ServiceOptions(offers_renewal=True)).start(
        with_monitoring=False
    )
    env.broker.takes_refresh_tokens = True
    await env.add_user(ALICE)

    def in_prospect() -> bool:
        return env.renewal_consents.will_try(env.connections.connection(ALICE))

    await log_in_by_hand(env)
    assert not in_prospect()
    await env.renewal_consents.opt_in(ALICE, PIN)
    assert not in_prospect()
    await log_in_by_hand(env)
    assert in_prospect()

    await env.connections.sign_out(ALICE, actor=ALICE)
    assert not in_prospect()
    await log_in_by_hand(env)
    await env.clock.advance_to(end_of_day(env) - timedelta(minutes=1))
    assert env.renewal_consents.get(ALICE).last_outcome is RenewalOutcome.EXPIRES_NO_LATER
    assert in_prospect()  # at the end it is tried once more
    await env.renewal_consents.opt_out(ALICE)
    assert not in_prospect()


async def test_a_switch_to_another_fyers_account_removes_the_consent() -> None:
    """The PIN belongs to the other account."""
    env = await renewing()
    connection = env.connections.connection(ALICE)

    login = FreshLogin(AccessToken("access"), env.broker.issue_refresh_token("FOTHER"))
    await env.hook.logged_in(connection, login, linked_before="FOTHER")

    assert env.renewal_consents.get(ALICE) is None
    [line] = lines(env, "renewal.removed")
    assert line.reason == "switched_account"


async def test_a_login_counts_although_its_refresh_token_cannot_be_stored() -> None:
    """The user is connected; only the renewal is lost."""
    env = await renewing()
    env.store.is_down = True

    login = FreshLogin(AccessToken("access"), env.broker.issue_refresh_token(fyers_id(ALICE)))
    await env.hook.logged_in(env.connections.connection(ALICE), login, linked_before=None)

    env.store.is_down = False
    assert env.renewal_consents.get(ALICE).has_refresh_token


async def test_a_login_through_fyers_stores_the_refresh_token() -> None:
    """It is stored for a user with a consent, and for no other user."""
    env = await Environment(options=ServiceOptions(offers_renewal=True)).start(with_monitoring=False)
    for user_id in (ALICE, BOB):
        await env.add_user(user_id)
    await env.renewal_consents.opt_in(ALICE, "1234")

    for user_id in (ALICE, BOB):
        connection = await env.fyers_login.authorize(user_id, _code(env.broker, user_id))
        assert isinstance(connection, Connection)

    renewal = env.renewal_consents.get(ALICE)
    assert (renewal.has_refresh_token, renewal.login_generation) == (True, 1)
    assert renewal.refresh_token_expires_at > end_of_day(env)
    assert set(env.store.tables.refresh_tokens) == {ALICE}


async def test_a_removed_user_is_forgotten() -> None:
    """Nothing is tried for somebody who is not there."""
    env = await renewing()
    async with env.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()
    await env.renewal_consents.forget(ALICE)
    await env.connections.forget(ALICE)

    await env.clock.advance_to(end_of_day(env))

    assert tries(env) == []
    assert env.renewal_consents.list_all() == []


async def test_a_consent_removed_by_another_process_stops_the_attempt() -> None:
    """No request is sent, and no further attempt is made."""
    env = await renewing()
    async with env.store.begin() as work:
        await work.renewals.remove(ALICE)
        await work.commit()

    await env.clock.advance_to(end_of_day(env))

    assert tries(env) == []
    assert env.renewal_consents.get(ALICE) is None
    [notice] = env.notices(ALICE)
    assert "renew" not in notice.text


def _code(broker: FakeBroker, user_id: str) -> str:
    return broker.issue_auth_code(fyers_id(user_id)).reveal()
