"""Who wants sessions renewed, and what is kept for it; `hullwatch.services.renewal.consents`."""

from datetime import timedelta

import pytest
from fakes.broker import FakeBroker

from hullwatch.domain.failures import InvalidInput, LinkRefused, NotAllowed, NotFound
from hullwatch.domain.renewal.outcomes import RenewalOutcome
from hullwatch.domain.sessions.connection import Connection
from hullwatch.services.login.oauth import FyersLoginService
from hullwatch.services.renewal.consents import RenewalConsents
from services.building import ALICE, APP, BOB, House, fyers_id
from services.renewal.renewal_house import EARLY, PIN, end_of_day, lines, log_in_by_hand, renewing, tries


async def test_where_it_is_not_offered_nobody_can_consent_and_nothing_is_kept() -> None:
    """The refusal names the rule; a login's refresh token goes nowhere, and nothing is ever tried."""
    house = await House().start(with_monitoring=False)
    house.broker.takes_refresh_tokens = True
    await house.add_user(ALICE)

    with pytest.raises(NotAllowed, match="SEBI"):
        await house.renewals.opt_in(ALICE, "1234")
    await log_in_by_hand(house)
    await house.clock.advance_to(end_of_day(house))

    tables = house.store.tables
    assert (tables.renewals, tables.pins, tables.refresh_tokens) == ({}, {}, {})
    assert tries(house) == []
    assert house.renewals.standing(ALICE).is_offered is False


async def test_where_it_is_no_longer_offered_the_next_start_removes_the_secrets() -> None:
    """With a line in the audit trail; nothing is tried from then on, and later starts have nothing to say."""
    house = await renewing(ALICE, BOB)

    off = await house.kill()
    off.offers_renewals = False
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
    """Anything else is refused with a sentence that does not quote it."""
    house = await renewing()

    with pytest.raises(InvalidInput) as caught:
        await house.renewals.opt_in(ALICE, text)

    assert caught.value.field == "pin"
    assert str(caught.value) == "A Fyers PIN has 4 to 6 digits."


async def test_without_a_fyers_app_there_is_nothing_to_renew() -> None:
    """Neither an own one nor the server's."""
    house = await House(offers_renewals=True).start(with_monitoring=False)
    await house.add_user(ALICE)
    consents = RenewalConsents(store=house.store, clock=house.clock, is_offered=True)

    with pytest.raises(LinkRefused, match="Fyers app"):
        await consents.opt_in(ALICE, "1234")
    async with house.store.begin() as work:
        await work.connections.put_app(ALICE, APP)
        await work.commit()
    assert (await consents.opt_in(ALICE, "1234")).renewal is not None
    with pytest.raises(NotFound):
        await house.renewals.opt_in("usr_nobody", "1234")


async def test_a_consent_waits_for_the_next_login_and_is_withdrawn_whole() -> None:
    """Before that there is no refresh token; after the withdrawal there is nothing, and one line says each."""
    house = await House(offers_renewals=True).start(with_monitoring=False)
    await house.add_user(ALICE)
    await log_in_by_hand(house)
    standing = await house.renewals.opt_in(ALICE, "123456")
    assert not standing.renewal.has_refresh_token

    await log_in_by_hand(house)
    kept = house.renewals.get(ALICE)
    await house.renewals.opt_out(ALICE)
    await house.renewals.opt_out(ALICE)

    assert (kept.has_refresh_token, kept.login_generation, kept.app_id) == (True, 2, "HULLWATCH-100")
    tables = house.store.tables
    assert (tables.renewals, tables.pins, tables.refresh_tokens) == ({}, {}, {})
    assert house.renewals.standing(ALICE).renewal is None
    assert house.audit(ALICE, "renewal.") == ["renewal.opted_in", "renewal.removed"]


async def test_a_renewal_is_in_prospect_only_with_a_consent_a_token_and_a_session() -> None:
    """What the day's summary goes by: who has one is not sent to log in."""
    house = await House(now=EARLY, offers_renewals=True).start(with_monitoring=False)
    house.broker.takes_refresh_tokens = True
    await house.add_user(ALICE)

    def in_prospect() -> bool:
        return house.renewals.will_try(house.connections.connection(ALICE))

    await log_in_by_hand(house)
    assert not in_prospect()
    await house.renewals.opt_in(ALICE, PIN)
    assert not in_prospect()
    await log_in_by_hand(house)
    assert in_prospect()

    await house.connections.sign_out(ALICE, actor=ALICE)
    assert not in_prospect()
    await log_in_by_hand(house)
    await house.clock.advance_to(end_of_day(house) - timedelta(minutes=1))
    assert house.renewals.get(ALICE).last_outcome is RenewalOutcome.EXPIRES_NO_LATER
    assert in_prospect()  # at the end it is tried once more
    await house.renewals.opt_out(ALICE)
    assert not in_prospect()


async def test_a_switch_to_another_fyers_account_ends_the_consent() -> None:
    """The PIN was the other person's."""
    house = await renewing()
    connection = house.connections.connection(ALICE)

    await house.renewals.login_brought(
        connection, house.broker.issue_refresh_token("FOTHER"), linked_before="FOTHER"
    )

    assert house.renewals.get(ALICE) is None
    [line] = lines(house, "renewal.removed")
    assert line.reason == "switched_account"


async def test_a_login_counts_although_its_refresh_token_cannot_be_stored() -> None:
    """The user is connected; only the renewal falls away."""
    house = await renewing()
    house.store.is_down = True

    await house.renewals.login_brought(
        house.connections.connection(ALICE),
        house.broker.issue_refresh_token(fyers_id(ALICE)),
        linked_before=None,
    )

    house.store.is_down = False
    assert house.renewals.get(ALICE).has_refresh_token


async def test_a_round_trip_through_fyers_brings_the_refresh_token() -> None:
    """From the exchange of the auth code to the encrypted row, for who consented and for nobody else."""
    house = await House(offers_renewals=True).start(with_monitoring=False)
    linking = FyersLoginService(
        store=house.store,
        broker=house.broker,
        connections=house.connections,
        clock=house.clock,
        server_app=APP,
        renewals=house.renewals,
    )
    for user_id in (ALICE, BOB):
        await house.add_user(user_id)
    await house.renewals.opt_in(ALICE, "1234")

    for user_id in (ALICE, BOB):
        connection = await linking.authorize(user_id, _code(house.broker, user_id))
        assert isinstance(connection, Connection)

    renewal = house.renewals.get(ALICE)
    assert (renewal.has_refresh_token, renewal.login_generation) == (True, 1)
    assert renewal.refresh_token_expires_at > end_of_day(house)
    assert set(house.store.tables.refresh_tokens) == {ALICE}


async def test_a_removed_user_is_forgotten() -> None:
    """Nothing is tried for somebody who is not there."""
    house = await renewing()
    async with house.store.begin() as work:
        await work.users.remove(ALICE)
        await work.commit()
    house.renewals.forget(ALICE)
    await house.connections.forget(ALICE)

    await house.clock.advance_to(end_of_day(house))

    assert tries(house) == []
    assert house.renewals.list_all() == []


async def test_a_consent_that_vanished_is_not_tried_with() -> None:
    """A row that another process removed is seen at the try; nothing is asked, and it is not looked for again."""
    house = await renewing()
    async with house.store.begin() as work:
        await work.renewals.remove(ALICE)
        await work.commit()

    await house.clock.advance_to(end_of_day(house))

    assert tries(house) == []
    assert house.renewals.get(ALICE) is None
    [notice] = house.notices(ALICE)
    assert "renew" not in notice.text


def _code(broker: FakeBroker, user_id: str) -> str:
    return broker.issue_auth_code(fyers_id(user_id)).reveal()
