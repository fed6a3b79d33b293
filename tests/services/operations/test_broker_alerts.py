"""What operators are told when Fyers does not serve this server; `hullwatch.services.operations.broker_alerts`."""

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
TROUBLE, RECOVERED = NotificationKind.BROKER_OUTAGE, NotificationKind.BROKER_RECOVERED
QUIET = BrokerSigns((), {}, None, is_mass_refusal=False)


def circuit(name: str, state: CircuitState) -> CircuitReport:
    """Return a circuit's report."""
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
    """One account's trouble among many is its own; those without a session say nothing of Fyers."""
    assert outage_in(replace(QUIET, statuses=statuses)) is outage


@pytest.mark.parametrize("state", [CircuitState.OPEN, CircuitState.HALF_OPEN])
@pytest.mark.parametrize(
    ("name", "outage"),
    [
        ("circuit_open", BrokerOutageNotice.NO_RESPONSE),
        ("cloudflare_blocked", BrokerOutageNotice.ADDRESS_BLOCKED),
    ],
)
def test_calls_held_back_for_all_decide_too(
    name: str, outage: BrokerOutageNotice, state: CircuitState
) -> None:
    """Before the bell nobody is watched yet, and calls are made all the same."""
    assert outage_in(replace(QUIET, circuits=(circuit(name, state),))) is outage
    assert outage_in(replace(QUIET, circuits=(circuit(name, CircuitState.CLOSED),))) is None


def test_a_mass_refusal_is_told_of_elsewhere() -> None:
    """Its held sessions are blind as well."""
    signs = replace(QUIET, statuses={WatchStatus.FYERS_UNAVAILABLE: 4})
    assert outage_in(signs) is BrokerOutageNotice.NO_RESPONSE
    assert outage_in(replace(signs, is_mass_refusal=True)) is None


class Watch:
    """Two watched accounts in trading hours, and the service looking every ten seconds."""

    def __init__(self) -> None:
        self.env = Environment()
        self.notices = self.service()

    def service(self) -> BrokerAlerts:
        """Return a service as a new process would have it."""
        return BrokerAlerts(self.env.context, signs=self.signs)

    def signs(self) -> BrokerSigns:
        """Return what is seen of Fyers."""
        connections = self.env.connections
        answered = [one.last_validated_at for one in connections.connections() if one.last_validated_at]
        return BrokerSigns(
            (), self.env.monitoring.statuses(), max(answered, default=None), is_mass_refusal=False
        )

    async def go_on(self, length: timedelta) -> None:
        """Let time pass, looking as the job does."""
        for _ in range(int(length.total_seconds() // 10)):
            await self.notices.check()
            await self.env.clock.advance(10)

    def set_all(self, state: AccountState) -> None:
        """Treat both accounts so at Fyers."""
        for user_id in (ALICE, BOB):
            self.env.broker.set_state(fyers_id(user_id), state)

    def told(self) -> list[NotificationKind]:
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


async def test_an_outage_is_told_once_and_so_is_its_end(watch: Watch) -> None:
    """To the admin, after two minutes, with how many are blind; nobody is logged out by it."""
    watch.set_all(AccountState.UNAVAILABLE)
    await watch.go_on(NOTIFY_AFTER)
    assert watch.told() == []
    await watch.go_on(timedelta(minutes=20))
    assert watch.told() == [TROUBLE]

    watch.set_all(AccountState.ACTIVE)
    await watch.go_on(timedelta(minutes=5))

    assert watch.told() == [TROUBLE, RECOVERED]
    begun, over = watch.env.notices(ADMIN)
    assert begun.incident_id == over.incident_id is not None
    assert "is not responding" in begun.title
    assert "2 of 2 accounts" in begun.text
    assert watch.env.audit(prefix="broker.") == ["broker.unavailable", "broker.available"]
    assert watch.env.connections.session_count() == 2


async def test_a_hiccup_is_nobody_s_business(watch: Watch) -> None:
    """Nor are several, each shorter than what is told."""
    for _ in range(4):
        watch.set_all(AccountState.UNAVAILABLE)
        await watch.go_on(NOTIFY_AFTER - timedelta(seconds=20))
        watch.set_all(AccountState.ACTIVE)
        await watch.go_on(timedelta(minutes=3))

    assert watch.told() == []


async def test_a_flickering_outage_is_one(watch: Watch) -> None:
    """It is over when Fyers has been well for a minute, not at its first answer."""
    for _ in range(4):
        watch.set_all(AccountState.UNAVAILABLE)
        await watch.go_on(NOTIFY_AFTER + timedelta(minutes=1))
        watch.set_all(AccountState.ACTIVE)
        await watch.go_on(WELL_FOR - timedelta(seconds=30))

    assert watch.told() == [TROUBLE]


async def test_a_restart_goes_on_with_an_outage(watch: Watch) -> None:
    """It is not told again, and its end is."""
    watch.set_all(AccountState.UNAVAILABLE)
    await watch.go_on(timedelta(minutes=4))
    watch.notices = watch.service()
    await watch.go_on(timedelta(minutes=4))
    assert watch.told() == [TROUBLE]

    watch.notices = watch.service()
    watch.set_all(AccountState.ACTIVE)
    await watch.go_on(timedelta(minutes=5))
    assert watch.told() == [TROUBLE, RECOVERED]


async def test_silence_alone_ends_no_outage(watch: Watch) -> None:
    """Where nobody is to be watched nobody asks, and that proves nothing; an answer does."""
    watch.set_all(AccountState.UNAVAILABLE)
    await watch.go_on(timedelta(minutes=4))
    for user_id in (ALICE, BOB):
        await watch.env.monitoring.stop(user_id)
    assert outage_in(watch.signs()) is None
    await watch.go_on(timedelta(minutes=10))
    assert watch.told() == [TROUBLE]

    watch.set_all(AccountState.ACTIVE)
    await watch.env.validation.validate_fyers_token(ALICE, fresh=True)
    await watch.go_on(timedelta(minutes=3))
    assert watch.told() == [TROUBLE, RECOVERED]


async def test_its_cause_is_told(watch: Watch) -> None:
    """Being turned away at the edge, and being made to wait, are named and say what may be done."""
    watch.set_all(AccountState.RATE_LIMITED)
    await watch.go_on(timedelta(minutes=4))

    (notice,) = watch.env.notices(ADMIN)
    assert "wait" in notice.title
    assert "same Fyers apps" in notice.text
