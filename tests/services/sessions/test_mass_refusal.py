"""Many accounts refused at once: verdicts are held, said so, and asked about slowly; `hullwatch.services.sessions.mass_refusal`."""

from datetime import timedelta

import pytest
from fakes.broker import AccountState, refusal
from fakes.store import FakeStore

from hullwatch.domain.events import BrokerOutageChanged
from hullwatch.domain.failures import BrokerService
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import DisconnectReason, VerificationState
from hullwatch.domain.users.accounts import Role
from hullwatch.services.sessions.mass_refusal import ASK_EVERY_S, EVERYBODY
from services.building import ALICE, BOB, CAROL, DAVE, House, fyers_id

ADMIN = "usr_admin"
EVERYONE = (ALICE, BOB, CAROL, DAVE)


@pytest.fixture
async def house() -> House:
    """Four people have sessions, an admin has none, and all jobs run."""
    built = await House().start(with_monitoring=False)
    await built.add_user(ADMIN, role=Role.ADMIN)
    return await built.with_sessions(*EVERYONE)


def set_all(house: House, state: AccountState, *user_ids: str) -> None:
    """Treat these accounts, or all, so at Fyers."""
    for user_id in user_ids or EVERYONE:
        house.broker.set_state(fyers_id(user_id), state)


async def ask(house: House, user_id: str) -> None:
    """Make an ordinary call, if one may be made."""
    credential = house.connections.credential(user_id)
    if credential is not None:
        house.connections.record_result(credential, await house.broker.check_data(credential))
        await house.clock.settle()


def standings(house: House) -> set[VerificationState]:
    """Return how sure we are of everybody's session."""
    return {house.connections.connection(user_id).verification_state for user_id in EVERYONE}


async def fall_ill(house: House) -> None:
    """Have Fyers refuse everybody, and notice it."""
    set_all(house, AccountState.REVOKED)
    for user_id in EVERYONE:
        await ask(house, user_id)
    await house.clock.advance(5)


async def test_a_mass_refusal_logs_nobody_out(house: House) -> None:
    """All verdicts are held, no ordinary call is made, and the trouble is known."""
    await fall_ill(house)

    assert house.connections.sessions_alive() == 4
    assert standings(house) == {VerificationState.HELD}
    assert house.connections.broker_outage is not None
    assert all(house.connections.credential(user_id) is None for user_id in EVERYONE)
    assert all(house.notices(user_id) == [] for user_id in EVERYONE)


async def test_the_first_to_be_asked_is_not_logged_out_because_others_are_not_asked_yet(house: House) -> None:
    """At night only one account makes a call: others are asked before its session ends."""
    set_all(house, AccountState.REVOKED)

    await ask(house, ALICE)
    await house.clock.advance(5)

    assert house.connections.sessions_alive() == 4
    assert house.connections.broker_outage is not None


async def test_one_refused_among_many_is_logged_out_at_once(house: House) -> None:
    """The others are asked, are fine, and nothing is held."""
    set_all(house, AccountState.REVOKED, BOB)

    await ask(house, BOB)

    assert house.connections.connection(BOB).reason is DisconnectReason.REJECTED
    assert house.connections.sessions_alive() == 3
    assert house.connections.broker_outage is None
    assert len(house.notices(BOB)) == 1


async def test_two_refused_among_many_are_logged_out(house: House) -> None:
    """Two at the same time are two people's own affair; it takes a moment longer to be sure."""
    set_all(house, AccountState.REVOKED, ALICE, BOB)

    await ask(house, ALICE)
    await ask(house, BOB)
    await house.clock.advance(5)

    assert {user for user in EVERYONE if house.connections.connection(user).has_session} == {CAROL, DAVE}
    assert house.connections.broker_outage is None


async def test_a_hanging_witness_delays_a_verdict_by_seconds_only(house: House) -> None:
    """Whoever cannot be asked proves nothing either way."""
    set_all(house, AccountState.HANGING, BOB, CAROL, DAVE)
    set_all(house, AccountState.REVOKED, ALICE)

    await ask(house, ALICE)
    await house.clock.advance(3)

    assert house.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert house.connections.sessions_alive() == 3


async def test_the_trouble_is_told_once(house: House) -> None:
    """One event to everybody, one line in the trail, one notice to each admin, none to users."""
    listener = house.hub.subscribe(EVERYBODY)
    await fall_ill(house)
    set_all(house, AccountState.ALIVE)
    await house.clock.advance(2 * ASK_EVERY_S)
    listener.close()

    told = [delivery.message async for delivery in listener]
    assert [(event.is_ongoing, type(event)) for event in told] == [
        (True, BrokerOutageChanged),
        (False, BrokerOutageChanged),
    ]
    assert told[0].incident_id == told[1].incident_id
    assert house.audit(None, "broker.") == ["broker.mass_refusal", "broker.recovered"]
    assert [notice.kind for notice in house.notices(ADMIN)] == [
        NotificationKind.BROKER_OUTAGE,
        NotificationKind.BROKER_RECOVERED,
    ]


async def test_held_sessions_are_asked_about_slowly(house: House) -> None:
    """One account a minute, two calls each, however many are held."""
    await fall_ill(house)
    reached = len(house.broker.calls)

    await house.clock.advance(10 * ASK_EVERY_S)

    slow = house.broker.calls[reached:]
    assert 2 * 8 <= len(slow) <= 2 * 12
    assert all(call.is_for_verification for call in slow)
    assert len({call.user_id for call in slow}) == 4


async def test_the_first_answer_frees_everybody(house: House) -> None:
    """When one held session is accepted all go on, and whoever is refused then gets a second look of their own."""
    await fall_ill(house)
    set_all(house, AccountState.ALIVE)
    set_all(house, AccountState.REVOKED, DAVE)
    await house.clock.advance(3 * ASK_EVERY_S)
    assert house.connections.broker_outage is None

    for user_id in EVERYONE:
        await ask(house, user_id)
    await house.clock.advance(5)

    assert {user for user in EVERYONE if house.connections.connection(user).is_usable} == {ALICE, BOB, CAROL}
    assert house.connections.connection(DAVE).reason is DisconnectReason.REJECTED


async def test_sessions_that_fyers_did_end_are_ended_once_new_logins_work(house: House) -> None:
    """Accepted fresh tokens beside refused old ones show that it was no illness: the others are told soon, one by one."""
    await fall_ill(house)
    await house.log_in(ALICE)  # the new token is good, the old ones stay dead
    await ask(house, ALICE)

    await house.clock.advance(2 * ASK_EVERY_S)

    assert house.connections.connection(ALICE).is_usable
    assert {house.connections.connection(user_id).reason for user_id in (BOB, CAROL, DAVE)} == {
        DisconnectReason.REJECTED
    }
    await house.clock.advance(2 * ASK_EVERY_S)
    assert house.connections.broker_outage is None


async def test_the_last_one_held_is_judged_once_others_are_fine(house: House) -> None:
    """A verdict is not held for the rest of the day when too few are left to speak of the broker."""
    set_all(house, AccountState.REVOKED, ALICE, BOB, CAROL)
    for user_id in EVERYONE:
        await ask(house, user_id)
    await house.clock.advance(5)
    assert house.connections.broker_outage is not None
    for user_id in (BOB, CAROL):
        await house.connections.sign_out(user_id, actor=user_id)
    await house.clock.advance(2 * ASK_EVERY_S)
    assert house.connections.connection(ALICE).verification_state is VerificationState.HELD
    await ask(house, DAVE)

    await house.clock.advance(3 * ASK_EVERY_S)

    assert house.connections.connection(ALICE).reason is DisconnectReason.REJECTED
    assert house.connections.broker_outage is None
    assert house.connections.connection(DAVE).is_usable


async def test_people_can_log_in_during_the_trouble(house: House) -> None:
    """A new login is used at once; if it is refused as well it is held, not ended."""
    await fall_ill(house)
    await house.log_in(BOB)
    assert house.connections.credential(BOB) is not None

    set_all(house, AccountState.REVOKED, BOB)
    await ask(house, BOB)
    await house.clock.advance(5)

    assert house.connections.connection(BOB).verification_state is VerificationState.HELD
    assert house.connections.connection(BOB).generation == 2


async def test_the_known_end_ends_a_held_session(house: House) -> None:
    """Trouble does not prolong a session; with nobody held any more the trouble is over."""
    for user_id in EVERYONE:
        await house.log_in(user_id, lifetime=timedelta(minutes=10))
    await fall_ill(house)

    await house.clock.advance(13 * 60)

    assert {house.connections.connection(user).reason for user in EVERYONE} == {DisconnectReason.EXPIRED}
    assert house.connections.broker_outage is None


async def test_a_notice_that_could_not_be_stored_is_stored_later(house: House) -> None:
    """With the database down everybody is told at once, and the operators' notice follows."""
    house.store.is_down = True
    await fall_ill(house)
    assert house.connections.broker_outage is not None
    assert house.notices(ADMIN) == []
    house.store.is_down = False

    await house.clock.advance(2 * ASK_EVERY_S)

    assert [notice.kind for notice in house.notices(ADMIN)] == [NotificationKind.BROKER_OUTAGE]


def told(house: House) -> list[NotificationKind]:
    """Return the kinds of the admin's notices, oldest first."""
    return [notice.kind for notice in house.notices(ADMIN)]


async def restarted(house: House, *, after_s: float = 0.0) -> House:
    """Kill the server and start it again after a while."""
    house = await house.kill()
    await house.clock.advance(after_s)
    return await house.start(with_monitoring=False)


async def test_a_restart_in_the_middle_is_the_same_trouble(house: House) -> None:
    """Nothing is told twice, the first one refused is held, and the recovery is told."""
    await fall_ill(house)
    incident_id = house.connections.broker_outage.incident_id
    house = await restarted(house, after_s=30)
    await house.clock.advance(3 * ASK_EVERY_S)
    assert house.connections.broker_outage.incident_id == incident_id

    for user_id in EVERYONE:
        await ask(house, user_id)
        await house.clock.advance(5)
    assert standings(house) == {VerificationState.HELD}
    assert told(house) == [NotificationKind.BROKER_OUTAGE]

    set_all(house, AccountState.ALIVE)
    await house.clock.advance(2 * ASK_EVERY_S)
    assert house.connections.broker_outage is None
    assert told(house) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]
    assert {notice.incident_id for notice in house.notices(ADMIN)} == {incident_id}


async def test_a_trouble_that_ended_while_the_server_was_down_is_told_to_be_over(house: House) -> None:
    """As soon as a session from before it is accepted."""
    await fall_ill(house)
    set_all(house, AccountState.ALIVE)
    house = await restarted(house, after_s=600)

    await ask(house, ALICE)
    await house.clock.advance(2 * ASK_EVERY_S)

    assert house.connections.broker_outage is None
    assert told(house) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]


async def test_a_trouble_of_sessions_that_are_gone_is_over(house: House) -> None:
    """Those that Fyers refused ended overnight: whoever has logged in since has nothing to do with it."""
    await fall_ill(house)
    house = await restarted(house, after_s=24 * 3600)
    await house.log_in(ALICE)

    await house.clock.advance(2 * ASK_EVERY_S)

    assert house.connections.broker_outage is None
    assert told(house)[-1] is NotificationKind.BROKER_RECOVERED


@pytest.mark.parametrize("is_kept", [False, True], ids=["before the commit", "after the commit"])
async def test_a_crash_while_it_is_told_tells_it_once(house: House, *, is_kept: bool) -> None:
    """Of the beginning and of the end alike."""

    async def crash_at(step: str) -> House:
        """Kill the server around the commit that notes this step of the trouble."""
        seen: list[FakeStore] = []

        async def look() -> None:
            is_noted = step in house.audit(prefix="broker.")
            if is_noted is is_kept:
                seen.append(house.store.copied())

        house.store.before_commit, house.store.after_commit = (None, look) if is_kept else (look, None)
        if step == "broker.mass_refusal":
            await fall_ill(house)
        else:
            set_all(house, AccountState.ALIVE)
            await house.clock.advance(2 * ASK_EVERY_S)
        assert step in house.audit(prefix="broker.")
        other = await house.kill(seen[0 if is_kept else -1])
        return await other.start(with_monitoring=False)

    house = await crash_at("broker.mass_refusal")
    set_all(house, AccountState.REVOKED)
    for user_id in EVERYONE:
        await ask(house, user_id)
    await house.clock.advance(5)
    assert told(house) == [NotificationKind.BROKER_OUTAGE]

    house = await crash_at("broker.recovered")
    await ask(house, ALICE)
    await house.clock.advance(2 * ASK_EVERY_S)
    assert told(house) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]


async def test_of_two_processes_one_tells(house: House) -> None:
    """Both see Fyers refuse everybody; operators hear of it once, and once that it is over."""
    other = House(clock=house.clock, store=house.store, broker=house.broker, ids=house.new_id)
    await other.start(with_monitoring=False)
    await fall_ill(house)
    await fall_ill(other)
    assert standings(other) == {VerificationState.HELD}
    assert other.connections.broker_outage.incident_id == house.connections.broker_outage.incident_id

    set_all(house, AccountState.ALIVE)
    await house.clock.advance(3 * ASK_EVERY_S)

    assert house.connections.broker_outage is other.connections.broker_outage is None
    assert told(house) == [NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED]
    assert house.audit(prefix="broker.") == ["broker.mass_refusal", "broker.recovered"]


async def test_refusals_spread_over_hours_are_no_trouble(house: House) -> None:
    """One after another, each far from the next, are each their own; the last of few has nobody to compare with."""
    for user_id in EVERYONE:
        set_all(house, AccountState.REVOKED, user_id)
        await ask(house, user_id)
        await house.clock.advance(600)

    assert house.connections.sessions_alive() == 0
    assert house.connections.broker_outage is None


async def test_a_doubt_that_was_long_undecided_counts_when_it_is_decided(house: House) -> None:
    """Refusals whose second looks met an outage first are still seen as one when they come to a verdict together."""
    three = (ALICE, BOB, CAROL)
    await house.connections.sign_out(DAVE, actor=DAVE)
    for user_id in three:
        set_all(house, AccountState.UNAVAILABLE, user_id)
        house.broker.queue(fyers_id(user_id), refusal(BrokerService.DATA))
        await ask(house, user_id)
        await house.clock.advance(20)
    await house.clock.advance(100)
    assert {house.connections.connection(user_id).verification_state for user_id in three} == {
        VerificationState.UNDER_VERIFICATION
    }
    set_all(house, AccountState.REVOKED)

    await house.clock.advance(300)

    assert house.connections.sessions_alive() == 3
    assert house.connections.broker_outage is not None
