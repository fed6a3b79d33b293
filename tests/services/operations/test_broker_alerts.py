"""Tests the notices to admins about an outage of Fyers."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.broker import AccountState

from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.notifications import BrokerOutageNotice, NotificationKind
from hullwatch.domain.users.accounts import Role
from hullwatch.runtime.circuit import CircuitReport, CircuitState
from hullwatch.services.operations.broker_alerts import (
    NOTIFY_AFTER,
    WELL_FOR,
    BrokerAlerts,
    BrokerSigns,
    outage_in,
)
from services.environment import ALICE, BOB, FIVE, SBIN, Environment, candles_of, fyers_id, quote

ADMIN = "usr_admin"
OUTAGE, RECOVERED = NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED
QUIET = BrokerSigns((), {}, None, is_mass_refusal=False)


def circuit(name: str, state: CircuitState) -> CircuitReport:
    """Return the report of a circuit in this state."""
    return CircuitReport(name, state, None, 0.0)


@pytest.mark.parametrize(
    ("statuses", "outage"),
    [
        ({}, None),
        ({WatchStatus.WATCHING: 3}, None),
        ({WatchStatus.WATCHING: 2, WatchStatus.FYERS_UNAVAILABLE: 2}, None),
        ({WatchStatus.WATCHING: 2, WatchStatus.FYERS_UNAVAILABLE: 3}, BrokerOutageNotice.NO_RESPONSE),
        ({WatchStatus.NO_SESSION: 9, WatchStatus.FYERS_UNAVAILABLE: 1}, BrokerOutageNotice.NO_RESPONSE),
        ({WatchStatus.NO_SESSION: 9}, None),
        ({WatchStatus.MARKET_CLOSED: 9}, None),
        ({WatchStatus.RATE_LIMITED: 2, WatchStatus.WATCHING: 1}, BrokerOutageNotice.RATE_LIMITED),
        ({WatchStatus.RATE_LIMITED: 1, WatchStatus.WATCHING: 1}, None),
    ],
)
def test_most_accounts_decide(statuses: dict[WatchStatus, int], outage: BrokerOutageNotice | None) -> None:
    """A failure of few accounts is no outage. Accounts without a session do not count."""
    assert outage_in(replace(QUIET, statuses=statuses)) is outage


@pytest.mark.parametrize("state", [CircuitState.OPEN, CircuitState.HALF_OPEN])
@pytest.mark.parametrize(
    ("name", "outage"),
    [
        ("circuit_open", BrokerOutageNotice.NO_RESPONSE),
        ("cloudflare_blocked", BrokerOutageNotice.ADDRESS_BLOCKED),
    ],
)
def test_a_circuit_that_stops_all_calls_is_an_outage(
    name: str, outage: BrokerOutageNotice, state: CircuitState
) -> None:
    """Before the market opens no account is watched, but calls to Fyers are made."""
    assert outage_in(replace(QUIET, circuits=(circuit(name, state),))) is outage
    assert outage_in(replace(QUIET, circuits=(circuit(name, CircuitState.CLOSED),))) is None


def test_a_mass_refusal_is_no_outage() -> None:
    """It has its own notice, although its held sessions are blind as well."""
    signs = replace(QUIET, statuses={WatchStatus.FYERS_UNAVAILABLE: 4})
    assert outage_in(signs) is BrokerOutageNotice.NO_RESPONSE
    assert outage_in(replace(signs, is_mass_refusal=True)) is None


class Watch:
    """Two watched accounts in trading hours. The service checks Fyers every ten seconds."""

    def __init__(self) -> None:
        self.env = Environment()
        self.alerts = self.service()

    def service(self) -> BrokerAlerts:
        """Return a service without memory, as after a restart."""
        return BrokerAlerts(self.env.context, signs=self.signs)

    def signs(self) -> BrokerSigns:
        """Return the present signs of an outage."""
        connections = self.env.connections
        answered = [one.last_validated_at for one in connections.connections() if one.last_validated_at]
        return BrokerSigns(
            (), self.env.monitoring.statuses(), max(answered, default=None), is_mass_refusal=False
        )

    async def run_for(self, length: timedelta) -> None:
        """Let time pass with a check every ten seconds."""
        for _ in range(int(length.total_seconds() // 10)):
            await self.alerts.check()
            await self.env.clock.advance(10)

    def set_all(self, state: AccountState) -> None:
        """Set the state of both accounts at Fyers."""
        for user_id in (ALICE, BOB):
            self.env.broker.set_state(fyers_id(user_id), state)

    def notified(self) -> list[NotificationKind]:
        """Return the kinds of the admin's notices, oldest first."""
        return [notice.kind for notice in self.env.notices(ADMIN)]


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Two watched accounts and an admin."""
    built = Watch()
    env = built.env
    env.broker.serve_candles(SBIN, FIVE, candles_of())
    env.broker.quotes_by_symbol[SBIN] = quote()
    await env.add_user(ADMIN, role=Role.ADMIN)
    await env.with_sessions(ALICE, BOB)
    await env.start()
    for user_id in (ALICE, BOB):
        await env.watch(user_id)
        await env.monitoring.start(user_id)
    await env.clock.advance(30)
    assert env.monitoring.statuses() == {WatchStatus.WATCHING: 2}
    yield built
    await env.supervisor.stop(0)


async def test_an_outage_and_its_recovery_have_one_notice_each(watch: Watch) -> None:
    """The first is sent after two minutes with the number of blind accounts. No session is disconnected."""
    watch.set_all(AccountState.UNAVAILABLE)
    await watch.run_for(NOTIFY_AFTER)
    assert watch.notified() == []
    await watch.run_for(timedelta(minutes=20))
    assert watch.notified() == [OUTAGE]

    watch.set_all(AccountState.ACTIVE)
    await watch.run_for(timedelta(minutes=5))

    assert watch.notified() == [OUTAGE, RECOVERED]
    outage, recovery = watch.env.notices(ADMIN)
    assert outage.incident_id == recovery.incident_id is not None
    assert "is not responding" in outage.title
    assert "2 of 2 accounts" in outage.text
    assert watch.env.audit(prefix="broker.") == ["broker.unavailable", "broker.available"]
    assert watch.env.connections.session_count() == 2


async def test_a_short_outage_has_no_notice(watch: Watch) -> None:
    """Several short outages are not added up."""
    for _ in range(4):
        watch.set_all(AccountState.UNAVAILABLE)
        await watch.run_for(NOTIFY_AFTER - timedelta(seconds=20))
        watch.set_all(AccountState.ACTIVE)
        await watch.run_for(timedelta(minutes=3))

    assert watch.notified() == []


async def test_an_outage_with_short_recoveries_is_one_incident(watch: Watch) -> None:
    """Fyers has recovered after it responds for a minute. One answer is not enough."""
    for _ in range(4):
        watch.set_all(AccountState.UNAVAILABLE)
        await watch.run_for(NOTIFY_AFTER + timedelta(minutes=1))
        watch.set_all(AccountState.ACTIVE)
        await watch.run_for(WELL_FOR - timedelta(seconds=30))

    assert watch.notified() == [OUTAGE]


async def test_an_outage_continues_after_a_restart(watch: Watch) -> None:
    """Only the recovery has a further notice."""
    watch.set_all(AccountState.UNAVAILABLE)
    await watch.run_for(timedelta(minutes=4))
    watch.alerts = watch.service()
    await watch.run_for(timedelta(minutes=4))
    assert watch.notified() == [OUTAGE]

    watch.alerts = watch.service()
    watch.set_all(AccountState.ACTIVE)
    await watch.run_for(timedelta(minutes=5))
    assert watch.notified() == [OUTAGE, RECOVERED]


async def test_an_outage_does_not_end_without_an_answer(watch: Watch) -> None:
    """While no account is monitored, no call is made, and no failure is seen."""
    watch.set_all(AccountState.UNAVAILABLE)
    await watch.run_for(timedelta(minutes=4))
    for user_id in (ALICE, BOB):
        await watch.env.monitoring.stop(user_id)
    assert outage_in(watch.signs()) is None
    await watch.run_for(timedelta(minutes=10))
    assert watch.notified() == [OUTAGE]

    watch.set_all(AccountState.ACTIVE)
    await watch.env.validation.validate_fyers_token(ALICE, fresh=True)
    await watch.run_for(timedelta(minutes=3))
    assert watch.notified() == [OUTAGE, RECOVERED]


async def test_a_rate_limit_is_named_as_the_cause(watch: Watch) -> None:
    """The text gives the usual reason, so that the admin can act."""
    watch.set_all(AccountState.RATE_LIMITED)
    await watch.run_for(timedelta(minutes=4))

    (notice,) = watch.env.notices(ADMIN)
    assert "wait" in notice.title
    assert "same Fyers apps" in notice.text
