"""A trading day with three users on real candles: one session is revoked, one expires, one stays connected.

Cycles run every five seconds and one second after each candle's close. The clock moves from cycle to cycle, so a candle is read
1, 6 and 11 seconds after its close.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Self

from hullwatch.candle_files import read_candle_file
from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.sessions.tokens import IST
from hullwatch.domain.signals.replay import replay
from hullwatch.domain.signals.signals import Rule
from journeys.browser import Browser, Tab
from journeys.environment import Environment, until

DAY = date(2026, 6, 17)
STEP_S = 5.0
SETTLED_S = 11.0
"""After a close, when its candle has been read as often as it can be."""
FIVE = Resolution.parse("5")
WATCHLISTS = {
    "Asha": ("RELIANCE", "SBIN", "TCS", "INFY"),
    "Ravi": ("HDFCBANK", "ICICIBANK", "ITC", "LT"),
    "Meena": ("MARUTI", "TATASTEEL", "ADANIENT", "BHARTIARTL"),
}
"""Names of candle files; each symbol is watched for both rules."""


def at(text: str) -> datetime:
    """Return a time of the day, IST."""
    return datetime.combine(DAY, time.fromisoformat(text), IST)


def moment(text: str) -> datetime:
    """Read a time of the API."""
    return datetime.fromisoformat(text)


@dataclass
class Absence:
    """A time without a session."""

    began_at: datetime
    reason: str
    calls: int
    """Calls that Fyers had received when it began."""
    ended_at: datetime | None = None


@dataclass
class Trader:
    """One user with an open tab and the expected absence."""

    browser: Browser
    tab: Tab
    watched_since: datetime
    absence: Absence | None = None

    @property
    def is_away(self) -> bool:
        """Whether there is no session now."""
        return self.absence is not None and self.absence.ended_at is None


@dataclass
class TradingDay:
    """The steps of the day and the checks after them."""

    environment: Environment
    candles: Path
    traders: dict[str, Trader] = field(default_factory=dict)
    steps: int = 0
    """Cycles that each user with a session has had since the start."""

    @classmethod
    async def begin(cls, environment: Environment, candles: Path, *, expires_at: datetime) -> Self:
        """Add the three users; the session of Ravi expires at `expires_at`."""
        day = cls(environment, candles)
        for number, (name, stocks) in enumerate(WATCHLISTS.items()):
            browser = environment.browser(name, f"FY{number:05d}", *(f"NSE:{stock}-EQ" for stock in stocks))
            lifetime = expires_at - environment.clock.now() if name == "Ravi" else None
            await browser.register()
            await environment.broker.add_account(browser.fyers_id, lifetime=lifetime)
            await browser.connect()
            tab = await browser.open_tab()
            await browser.watch(*Rule)
            day.traders[name] = Trader(browser, tab, environment.clock.now())
        await environment.wait_for_cycles(day.present)
        assert [await day.cycles_of(name) for name in day.traders] == [1, 1, 1]
        await day.assert_answers_agree()
        return day

    def __getitem__(self, name: str) -> Trader:
        return self.traders[name]

    @property
    def present(self) -> list[Browser]:
        """Browsers of the users with a session."""
        return [trader.browser for trader in self.traders.values() if not trader.is_away]

    async def cycles_of(self, name: str) -> int:
        """Return the number of a user's cycles."""
        return int((await self[name].browser.state())["cycles"])

    # ---------------------------------------------------------------- time

    async def run_cycle(self) -> None:
        """Run the next cycle; check all answers after a candle's close."""
        await self.environment.step(STEP_S, self.present)
        self.steps += 1
        if (
            self.environment.clock.now().astimezone(IST).minute % 5 == 0
            and self.environment.clock.now().second == 1
        ):
            await self.assert_answers_agree()

    async def run_cycles_until(self, until_then: datetime) -> None:
        """Run every cycle until a time."""
        while self.environment.clock.now() < until_then:
            await self.run_cycle()
        assert self.environment.clock.now() == until_then

    async def run_candles_until(self, until_then: datetime) -> None:
        """Run the three cycles after each candle's close until a time, which is `SETTLED_S` after a close."""
        while self.environment.clock.now() < until_then:
            for seconds in (self._to_next_close(), STEP_S, STEP_S):
                await self.environment.step(seconds, self.present)
                self.steps += 1
            await self.assert_answers_agree()
        assert self.environment.clock.now() == until_then

    def _to_next_close(self) -> float:
        """Return the seconds to the cycle after the next candle's close."""
        return (1 - self.environment.clock.now().timestamp()) % FIVE.length.total_seconds()

    async def close_market(self) -> None:
        """Run the cycle after the last candle's close; its readings need no further cycle."""
        await self.environment.step(self._to_next_close(), self.present)
        self.steps += 1
        await self.assert_asha_is_unaffected()
        await self.environment.advance(STEP_S)
        await self.environment.wait_for_first_readings()
        await self.environment.advance(STEP_S)
        await self.environment.wait_for_all_readings()

    # ---------------------------------------------------------------- steps

    async def revoke_session_of_meena(self) -> None:
        """Fyers revokes a session: one refused call and a call to each service disconnect the account."""
        meena = self["Meena"].browser
        before = (await self.environment.broker.calls(meena.fyers_id))["byPath"]
        await self.environment.broker.revoke(meena.fyers_id)
        assert (await meena.connection())["state"] == "connected"  # no call has been refused yet

        await self.environment.advance(STEP_S)
        self.steps += 1
        await until(lambda: _is_disconnected(meena), "Meena's disconnect")
        await self.environment.wait_for_cycles([self["Asha"].browser, self["Ravi"].browser])

        counted = await self.environment.broker.calls(meena.fyers_id)
        more = {path: count - before.get(path, 0) for path, count in counted["byPath"].items()}
        assert {path: count for path, count in more.items() if count} == {
            "/data/quotes": 1,
            "/api/v3/profile": 1,
            "/api/v3/funds": 1,
            "/data/marketStatus": 1,
        }
        assert counted["byStatus"]["401"] == 4
        await self._assert_away(
            "Meena", "rejected", began_at=self.environment.clock.now(), calls=counted["total"]
        )

    async def let_session_of_ravi_expire(self, expires_at: datetime) -> None:
        """The session expires at its second, without a refused call."""
        ravi = self["Ravi"].browser
        counted = await self.environment.broker.calls(ravi.fyers_id)
        await self.environment.advance_to(expires_at - timedelta(seconds=1))
        assert (await ravi.connection())["state"] == "expiring"

        await self.environment.advance_to(expires_at)
        await until(lambda: _is_disconnected(ravi), "Ravi's disconnect")

        assert "401" not in counted["byStatus"]
        await self._assert_away("Ravi", "expired", began_at=expires_at, calls=counted["total"])

    async def _assert_away(self, name: str, reason: str, *, began_at: datetime, calls: int) -> None:
        trader = self[name]
        trader.absence = Absence(began_at, reason, calls)
        connection = await trader.browser.connection()
        assert connection["reason"] == reason
        assert moment(connection["lastDisconnectTime"]) == began_at
        await until(lambda: trader.browser.notices("session_disconnected"), f"{name}'s notice")
        (notice,) = await trader.browser.notices("session_disconnected")
        assert notice["incidentId"] == connection["incidentId"]
        assert moment(notice["createdAt"]) == began_at
        await self.assert_answers_agree()

    async def log_in_again(self, name: str) -> None:
        """A user logs in at Fyers again; monitoring continues and evaluates the missed candles."""
        trader = self[name]
        absence = trader.absence
        assert absence is not None
        await self.environment.broker.add_account(trader.browser.fyers_id)
        assert await self.environment.broker.total(trader.browser.fyers_id) == absence.calls

        await trader.browser.connect()
        absence.ended_at = self.environment.clock.now()
        await self.environment.wait_for_cycles([trader.browser])
        await self.run_cycle()  # confirms the newest close

        (renewed,) = await trader.browser.notices("login_renewed")
        assert len(await trader.browser.notices("session_disconnected")) == 1
        assert renewed["incidentId"] == (await trader.browser.connection())["incidentId"]
        await self.assert_all_candles_and_signals(name)
        await self.assert_answers_agree()

    # ---------------------------------------------------------------- checks

    async def assert_answers_agree(self) -> None:
        """All answers about a user agree, and Fyers received no call for a disconnected account."""
        health = {
            account["userId"]: account
            for account in (await self["Asha"].browser.get("/api/admin/token-health"))["accounts"]
        }
        for name, trader in self.traders.items():
            connection = await agreed_connection(trader, health[trader.browser.user_id])
            assert (connection["state"] == "disconnected") == trader.is_away, name
            if trader.absence is not None and trader.is_away:
                assert connection["reason"] == trader.absence.reason
                assert await self.environment.broker.total(trader.browser.fyers_id) == trader.absence.calls

    async def assert_all_candles_and_signals(self, name: str) -> None:
        """Every candle since the start of the watch was evaluated once. The signals equal those of a replay."""
        trader, now = self[name], self.environment.clock.now()
        expected = closes_between(trader.watched_since, now - timedelta(seconds=1), FIVE, nse_calendar())

        async def are_evaluated() -> bool:
            return len(trader.tab.data("candle")) >= expected * len(trader.browser.symbols)

        await until(are_evaluated, f"{name}'s candles")
        candles = [(one["symbol"], one["candle"]["openedAt"]) for one in trader.tab.data("candle")]
        assert len(candles) == len(set(candles)) == expected * len(trader.browser.symbols)

        replayed = self._replayed(name)

        async def are_stored() -> bool:
            return len(await trader.browser.signals()) >= len(replayed)

        await until(are_stored, f"{name}'s signals")  # a candle is published before its signal is stored
        stored = await trader.browser.signals()
        facts = [fact_of(signal) for signal in stored]
        assert len(facts) == len(set(facts))
        assert set(facts) == set(replayed)
        assert {fact_of(one) for one in stored if one["isLate"]} == self._in_absence(trader, replayed)
        for signal in stored:
            if not signal["isLate"]:
                found_after = moment(signal["detectedAt"]) - moment(signal["candleClosedAt"])
                assert timedelta(seconds=3) <= found_after <= timedelta(seconds=SETTLED_S)

    def _replayed(self, name: str) -> dict[tuple[Any, ...], datetime]:
        """Return the signals of a replay since the watch was added, each with the close of its candle."""
        found: dict[tuple[Any, ...], datetime] = {}
        settled_at = self.environment.clock.now() - timedelta(seconds=1)
        for stock in WATCHLISTS[name]:
            (path,) = self.candles.glob(f"{stock}_5min_*.csv")
            candles = read_candle_file(path, FIVE.length).candles
            for signal in replay(candles, Symbol(f"NSE:{stock}-EQ"), 55, FIVE).signals:
                if self[name].watched_since < signal.candle_closed_at <= settled_at:
                    fact = (signal.symbol.text, signal.rule, signal.direction, signal.candle_opened_at)
                    found[*fact, signal.close, signal.hma] = signal.candle_closed_at
        return found

    @staticmethod
    def _in_absence(trader: Trader, replayed: dict[tuple[Any, ...], datetime]) -> set[tuple[Any, ...]]:
        absence = trader.absence
        if absence is None or absence.ended_at is None:
            return set()
        return {
            fact for fact, closed_at in replayed.items() if absence.began_at <= closed_at <= absence.ended_at
        }

    async def assert_asha_is_unaffected(self) -> None:
        """Asha had every cycle, no disconnect and no notice."""
        asha = self["Asha"].browser
        state = await asha.state()
        assert (state["cycles"], state["missedCycles"]) == (1 + self.steps, 0)
        assert await asha.notices() == []
        assert {one["state"] for one in self["Asha"].tab.data("connection")} <= {"connected"}
        assert set((await self.environment.broker.calls(asha.fyers_id))["byStatus"]) == {"200"}

    async def assert_coverage_shows_absences(self) -> None:
        """The day's coverage contains exactly the times without a session."""
        for trader in self.traders.values():
            coverage = await trader.browser.get("/api/monitoring/coverage")
            blind = [
                (moment(one["beganAt"]), moment(one["endedAt"]))
                for one in coverage["stretches"]
                if one["reason"] == "no_session"
            ]
            absence = trader.absence
            assert blind == ([(absence.began_at, absence.ended_at)] if absence else [])


def fact_of(signal: dict[str, Any]) -> tuple[Any, ...]:
    """Return the facts of a stored signal, without the time of its detection."""
    opened_at = moment(signal["candleOpenedAt"])
    return (signal["symbol"], signal["rule"], signal["direction"], opened_at, signal["close"], signal["hma"])


async def agreed_connection(trader: Trader, health: dict[str, Any]) -> dict[str, Any]:
    """Compare all answers about a user's session with the connection object, and return it."""
    browser = trader.browser
    validation = await browser.get("/api/token-validation/status")
    connection = await browser.connection()
    quotes, hma, state = await browser.quotes(), await browser.hma(), await browser.state()
    has_session = connection["state"] in ("connected", "expiring")

    assert (validation["state"], validation["reason"]) == (connection["state"], connection["reason"])
    assert validation["message"] == connection["message"] == quotes["connection"]["message"]
    assert validation["lastDisconnectTime"] == connection["lastDisconnectTime"]
    assert validation["isValid"] is validation["isConnected"] is validation["hasToken"] is has_session
    assert validation["verified"] is connection["verified"] is has_session
    assert quotes["connection"]["state"] == connection["state"]
    assert (health["state"], health["reason"]) == (connection["state"], connection["reason"])
    assert health["incidentId"] == connection["incidentId"]
    assert state["isWanted"] is True
    if has_session:
        is_open = (await browser.get("/api/market/status"))["isOpen"]
        assert (state["status"], state["isRunning"]) == ("watching" if is_open else "market_closed", True)
        assert (hma["status"], quotes["outcome"]) == ("ACTIVE", "ok")
        assert {quote["symbol"] for quote in quotes["quotes"]} == set(browser.symbols)
    else:
        assert (state["status"], state["isRunning"]) == ("no_session", False)
        assert (hma["status"], hma["currentHma"]) == ("DISCONNECTED", None)
        assert (quotes["outcome"], quotes["quotes"]) == ("disconnected", [])
    await until(lambda: _is_pushed(trader, connection), f"{browser.name}'s tab")
    return connection


async def _is_pushed(trader: Trader, connection: dict[str, Any]) -> bool:
    """Whether the open tab has received the present state of the session."""
    received = [(one["state"], one["reason"]) for one in trader.tab.data("connection")]
    return not received or received[-1] == (connection["state"], connection["reason"])


async def _is_disconnected(browser: Browser) -> bool:
    return (await browser.connection())["state"] == "disconnected"
