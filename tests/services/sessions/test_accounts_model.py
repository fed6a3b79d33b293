"""Three accounts under random events: the real services are compared with a model."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fakes.broker import AccountState, refusal, unclear_refusal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from machines import machine_settings

from hullwatch.app.options import ServiceOptions
from hullwatch.domain.events import NotificationStored
from hullwatch.domain.failures import AlreadyExists, BrokerService, StorageUnavailable
from hullwatch.domain.market.instruments import Symbol
from hullwatch.domain.monitoring.watches import Watch
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import ConnectionChange, DisconnectReason, LoginTrigger
from hullwatch.domain.signals.replay import replay
from hullwatch.domain.signals.signals import Rule
from services.environment import (
    ALICE,
    BOB,
    CALENDAR,
    CAROL,
    FIVE,
    INFY,
    PERIOD,
    SBIN,
    Environment,
    candles_of,
    fyers_id,
    quote,
)

EVERYONE = (ALICE, BOB, CAROL)
TOKEN_SERVICES = (
    BrokerService.PROFILE,
    BrokerService.TRADING,
    BrokerService.HISTORY,
    BrokerService.DATA,
)
MARKETS = {SBIN: candles_of(seed=1, days=2), INFY: candles_of(seed=2, days=2)}
SIGNALS = {
    (symbol, rule): [
        (signal.candle_opened_at, signal.candle_closed_at)
        for signal in replay(candles, symbol, PERIOD, FIVE, [rule], calendar=CALENDAR).signals
    ]
    for symbol, candles in MARKETS.items()
    for rule in Rule
}
users = st.sampled_from(EVERYONE)
pauses = st.sampled_from([2, 31, 301, 900, 1800])


@dataclass
class WantedPeriod:
    """A period in which a user wanted monitoring."""

    began: datetime
    ended: datetime | None = None


@dataclass
class AccountModel:
    """The model of one account."""

    generation: int = 0
    revoked: set[int] = field(default_factory=set)
    """Generations that Fyers really ended."""
    disconnected_at_call: dict[int, int] = field(default_factory=dict)
    """Disconnected generation → how many calls had been made by then."""
    ends: int = 0
    wanted: list[WantedPeriod] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)


class AccountMachine(RuleBasedStateMachine):
    """Logins, disconnects, outages, restarts and a moving market in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.models = {user_id: AccountModel() for user_id in EVERYONE}
        self.announced: Counter[str] = Counter()

    def run(self, coroutine: Any) -> Any:
        """Run on the machine's own loop."""
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def set_up(self) -> None:
        """Set up three users, a market and all jobs; two of the users watch already."""
        self.run(self._set_up())

    async def _set_up(self) -> None:
        self.env = Environment(options=ServiceOptions(monitor_interval_s=30))
        for symbol, candles in MARKETS.items():
            self.env.broker.serve_candles(symbol, FIVE, candles)
        self.env.broker.serve_quotes([quote(SBIN), quote(INFY)])
        for user_id in EVERYONE:
            await self.env.add_user(user_id)
        await self._begin()
        for user_id in (ALICE, BOB):
            model = self.models[user_id]
            model.generation = (await self.env.log_in(user_id)).generation
            for which in Rule:
                model.watches.append(await self.env.watch(user_id, rule=which))
            model.wanted.append(WantedPeriod(self.env.clock.now()))
            await self.env.monitoring.start(user_id)

    async def _begin(self) -> None:
        self.tabs = self.env.hub.subscribe(*EVERYONE)
        self.env.connections.subscribe(self._see)
        await self.env.start()

    def _see(self, change: ConnectionChange) -> None:
        """Check each disconnect as it happens."""
        after, model = change.after, self.models[change.after.user_id]
        if change.trigger is LoginTrigger.LOGGED_IN:
            model.disconnected_at_call[change.before.generation] = len(self.env.broker.calls)
        if after.has_session:
            return
        model.ends += 1
        model.disconnected_at_call[after.generation] = len(self.env.broker.calls)
        if after.reason is DisconnectReason.REJECTED:
            assert after.generation in model.revoked, "disconnected although Fyers had not ended it"
        if after.reason is DisconnectReason.EXPIRED:
            assert after.expires_at == after.last_disconnect_at <= self.env.clock.now()

    # ---- what can happen

    @rule(user_id=users, minutes=st.sampled_from([15, 120, 1200]))
    def log_in(self, user_id: str, minutes: int) -> None:
        """Log in, for a short time or a long one."""
        with suppress(StorageUnavailable):
            connection = self.run(self.env.log_in(user_id, lifetime=timedelta(minutes=minutes)))
            assert connection.generation > self.models[user_id].generation
            self.models[user_id].generation = connection.generation

    @rule(seconds=pauses)
    def pass_some_time(self, seconds: int) -> None:
        """Let time pass; twice as often as by one rule alone."""
        self.run(self.env.clock.advance(seconds))

    @rule(seconds=pauses)
    def pass_time(self, seconds: int) -> None:
        """Let time pass."""
        self.run(self.env.clock.advance(seconds))

    @rule(user_id=users)
    def fyers_revokes_the_session(self, user_id: str) -> None:
        """Have Fyers refuse every token of the account that exists now."""
        generation = self.env.connections.connection(user_id).generation
        self.models[user_id].revoked.update(range(1, generation + 1))
        self.env.broker.set_state(fyers_id(user_id), AccountState.REVOKED)

    @rule(user_id=users)
    def fyers_errs_once(self, user_id: str) -> None:
        """Have Fyers refuse one call for no reason."""
        queued = self.env.broker._accounts[fyers_id(user_id)].queued[BrokerService.DATA]
        if not queued:
            self.env.broker.queue(fyers_id(user_id), refusal(BrokerService.DATA))

    @rule(seconds=st.sampled_from([1, 6, 14]))
    def fyers_login_check_fails_shortly(self, seconds: int) -> None:
        """Have Fyers refuse everybody for less time than two confirmations need; then let all recover."""
        self.env.broker.refuses_everybody = True
        self.run(self.env.clock.advance(seconds))
        self.env.broker.refuses_everybody = False
        self.run(self.env.clock.advance(75))

    @rule(user_id=users, is_refusing=st.booleans())
    def fyers_refuses_without_401(self, user_id: str, *, is_refusing: bool) -> None:
        """Have all services refuse the account in a form that ends no session, or stop that."""
        for service in TOKEN_SERVICES:
            failure = unclear_refusal(service) if is_refusing else None
            self.env.broker.always(fyers_id(user_id), service, failure)

    @rule()
    def fyers_outage_begins_or_ends(self) -> None:
        """Have Fyers answer nobody, or everybody again."""
        self.env.broker.is_down = not self.env.broker.is_down

    @rule()
    def database_outage_begins_or_ends(self) -> None:
        """Have the database refuse everything, or nothing any more."""
        self.env.store.is_down = not self.env.store.is_down

    @rule(user_id=users)
    def sign_out(self, user_id: str) -> None:
        """Have the user disconnect."""
        self.run(self.env.connections.sign_out(user_id, actor=user_id))
        assert not self.env.connections.connection(user_id).has_session

    @rule(user_id=users)
    def admin_disconnects(self, user_id: str) -> None:
        """Have an operator disconnect the user."""
        self.run(self.env.connections.disconnect_by_admin(user_id, actor="usr_admin"))
        assert not self.env.connections.connection(user_id).has_session

    @rule(user_id=users)
    def validate(self, user_id: str) -> None:
        """Validate the session."""
        request = self.loop.create_task(self.env.validation.validate_fyers_token(user_id, fresh=True))
        self.run(self.env.clock.advance(16))
        assert request.done()
        request.result()

    @rule(user_id=users)
    def start_monitoring(self, user_id: str) -> None:
        """Start monitoring."""
        model, now = self.models[user_id], self.env.clock.now()
        with suppress(StorageUnavailable):
            self.run(self.env.monitoring.start(user_id))
            if not model.wanted or model.wanted[-1].ended:
                model.wanted.append(WantedPeriod(now))

    @rule(user_id=users)
    def stop_monitoring(self, user_id: str) -> None:
        """Stop monitoring."""
        model, now = self.models[user_id], self.env.clock.now()
        with suppress(StorageUnavailable):
            self.run(self.env.monitoring.stop(user_id))
            if model.wanted and not model.wanted[-1].ended:
                model.wanted[-1].ended = now

    @rule(user_id=users, symbol=st.sampled_from([SBIN, INFY]), which=st.sampled_from(Rule))
    def add_watch(self, user_id: str, symbol: Symbol, which: Rule) -> None:
        """Watch something more."""
        with suppress(StorageUnavailable, AlreadyExists):
            watch = self.run(self.env.watch(user_id, symbol=symbol, rule=which))
            self.models[user_id].watches.append(watch)

    @rule()
    def process_crashes(self) -> None:
        """Restart on the stored data; a disconnect that was not stored is lost."""
        self._read_events()
        self.env = self.run(self.env.kill())
        for user_id, model in self.models.items():
            stored = self.env.stored(user_id)
            if stored is not None and stored.has_session:
                model.disconnected_at_call.pop(stored.generation, None)
        self.run(self._begin())

    @rule()
    def all_outages_end(self) -> None:
        """End all outages, log in where necessary, and compare with the expected result."""
        self.run(self._end_outages())
        self._compare()

    async def _end_outages(self) -> None:
        self.env.broker.is_down = self.env.store.is_down = False
        for user_id in EVERYONE:
            self.env.broker.set_state(fyers_id(user_id), AccountState.ACTIVE)
            self.env.broker._accounts[fyers_id(user_id)].queued.clear()
            self.env.broker._accounts[fyers_id(user_id)].fixed.clear()
        await self.env.clock.advance(61)
        for user_id in EVERYONE:
            connection = self.env.connections.connection(user_id)
            ends_soon = connection.expires_at and connection.expires_at < self.env.clock.now() + timedelta(
                minutes=5
            )
            if not connection.is_usable or ends_soon:
                self.models[user_id].generation = (await self.env.log_in(user_id)).generation
        await self.env.clock.advance(121)

    def _compare(self) -> None:
        """Memory and database agree, and each signal that had to be found was found."""
        for user_id, model in self.models.items():
            connection, stored = self.env.connections.connection(user_id), self.env.stored(user_id)
            assert stored is not None
            for part in ("generation", "state", "reason", "expires_at", "incident_id", "last_disconnect_at"):
                assert getattr(connection, part) == getattr(stored, part), part
            assert self.env.monitoring.is_wanted(user_id) == bool(model.wanted and not model.wanted[-1].ended)
            assert self._found(model) >= self._owed(model)

    # ---- what must always hold

    @invariant()
    def generations_never_fall(self) -> None:
        """Neither in memory nor in the database, whatever happened."""
        for user_id, model in self.models.items():
            stored = self.env.stored(user_id)
            assert self.env.connections.connection(user_id).generation >= model.generation
            assert (stored.generation if stored else 0) >= model.generation

    @invariant()
    def a_disconnected_session_makes_no_call(self) -> None:
        """No call was sent with a token after its disconnect."""
        calls = self.env.broker.calls
        for user_id, model in self.models.items():
            for generation, since in model.disconnected_at_call.items():
                later = [call for call in calls[since:] if call.user_id == user_id]
                assert all(call.generation != generation for call in later)

    @invariant()
    def no_session_outlives_its_expiry(self) -> None:
        """At the expiry the session is disconnected."""
        for connection in self.env.connections.connections():
            if connection.has_session:
                assert connection.expires_at > self.env.clock.now()

    @invariant()
    def each_incident_has_one_notice(self) -> None:
        """Each disconnect has at most one notice, which is published at most once."""
        self._read_events()
        for user_id, model in self.models.items():
            notices = self.env.notices(user_id, NotificationKind.SESSION_DISCONNECTED)
            assert len({notice.incident_id for notice in notices}) == len(notices) <= model.ends
        assert all(times == 1 for times in self.announced.values())

    @invariant()
    def each_hold_has_one_notice(self) -> None:
        """A hold is reported once and its end at most once, whatever restarts and outages happen."""
        for user_id in EVERYONE:
            begun, over = (
                [one.incident_id for one in self.env.notices(user_id, kind)]
                for kind in (NotificationKind.NOT_READY, NotificationKind.NOW_READY)
            )
            assert len(set(begun)) == len(begun)
            assert len(set(over)) == len(over)
            assert set(over) <= set(begun)

    @invariant()
    def signals_equal_the_replay(self) -> None:
        """Each stored signal is one of a candle that closed while it was watched and wanted, once."""
        for model in self.models.values():
            found = self._found(model)
            assert all(times == 1 for times in found.values())
            assert found <= self._possible(model)

    # ---- the model

    def _read_events(self) -> None:
        while (delivery := self.tabs._next()) is not None:
            if isinstance(delivery.message, NotificationStored):
                self.announced[delivery.message.notification.id] += 1

    def _found(self, model: AccountModel) -> Counter[tuple[str, datetime]]:
        own = {watch.id for watch in model.watches}
        signals = self.env.store.tables.signals.values()
        return Counter(
            (signal.watch_id, signal.candle_opened_at) for signal in signals if signal.watch_id in own
        )

    def _possible(self, model: AccountModel) -> Counter[tuple[str, datetime]]:
        """What may have been found: candles that closed in any wanted period of a watch's model."""
        now = self.env.clock.now()
        return Counter(
            (watch.id, opened_at)
            for watch in model.watches
            for opened_at, closed_at in SIGNALS[watch.symbol, watch.rule]
            if closed_at > watch.created_at
            and any(period.began < closed_at <= (period.ended or now) for period in model.wanted)
        )

    def _owed(self, model: AccountModel) -> Counter[tuple[str, datetime]]:
        """What must have been found: candles of the present period that closed some seconds ago."""
        if not model.wanted or model.wanted[-1].ended:
            return Counter()
        since, until = model.wanted[-1].began, self.env.clock.now() - timedelta(seconds=61)
        return Counter(
            (watch.id, opened_at)
            for watch in model.watches
            for opened_at, closed_at in SIGNALS[watch.symbol, watch.rule]
            if max(since, watch.created_at) < closed_at <= until
        )

    def teardown(self) -> None:
        """After all outages everything agrees."""
        try:
            if hasattr(self, "env"):
                self.all_outages_end()
                self.each_incident_has_one_notice()
                self.a_disconnected_session_makes_no_call()
                self.signals_equal_the_replay()
                self.run(self.env.kill())
        finally:
            self.loop.close()


TestAccountMachine = AccountMachine.TestCase
TestAccountMachine.settings = machine_settings(examples=25, steps=30)
