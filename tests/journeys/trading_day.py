"""The story that hullwatch is for, in scenes: three people watch real candles, one session is revoked, one runs out, one lives.

Every scene checks what it leaves behind; when they are played, and on which database, is the tests' choice. Cycles come every five seconds and
one second after each candle's close, so that time moves from one of them to the next and none may be missing.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Self

from hullwatch.domain.market.calendar import nse_calendar
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.sessions.tokens import IST
from hullwatch.domain.signals.replay import read_candle_file, replay
from hullwatch.domain.signals.signals import Rule
from journeys.browser import Browser, Tab
from journeys.town import Town, until

DAY = date(2026, 6, 17)
STEP_S = 5.0
FIVE = Resolution.parse("5")
WATCHLISTS = {
    "Asha": ("RELIANCE", "SBIN", "TCS", "INFY"),
    "Ravi": ("HDFCBANK", "ICICIBANK", "ITC", "LT"),
    "Meena": ("MARUTI", "TATASTEEL", "ADANIENT", "BHARTIARTL"),
}
"""Names of files; each line is watched for both rules."""


def at(text: str) -> datetime:
    """Return a time of the day, IST."""
    return datetime.combine(DAY, time.fromisoformat(text), IST)


def moment(text: str) -> datetime:
    """Read a moment of the API."""
    return datetime.fromisoformat(text)


@dataclass
class Absence:
    """A time without a session."""

    began_at: datetime
    reason: str
    calls: int
    """What the broker had counted when it began."""
    ended_at: datetime | None = None


@dataclass
class Player:
    """One person, what came through an open tab, and what must be true."""

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
    """Plays the scenes in a town."""

    town: Town
    candles: Path
    players: dict[str, Player] = field(default_factory=dict)
    steps: int = 0
    """Cycles that everybody with a session has had since the beginning."""

    @classmethod
    async def begin(cls, town: Town, candles: Path, *, runs_out_at: datetime) -> Self:
        """Let the three register, connect and start watching; Ravi's session will run out at its time."""
        day = cls(town, candles)
        for number, (name, stocks) in enumerate(WATCHLISTS.items()):
            browser = town.browser(name, f"FY{number:05d}", *(f"NSE:{stock}-EQ" for stock in stocks))
            lifetime = runs_out_at - town.clock.now() if name == "Ravi" else None
            await browser.register()
            await town.broker.person(browser.fyers_id, lifetime=lifetime)
            await browser.connect()
            tab = await browser.open_tab()
            await browser.watch(*Rule)
            day.players[name] = Player(browser, tab, town.clock.now())
        await town.cycles_done(day.present)
        assert [await day.cycles_of(name) for name in day.players] == [1, 1, 1]
        await day.everything_agrees()
        return day

    def __getitem__(self, name: str) -> Player:
        return self.players[name]

    @property
    def present(self) -> list[Browser]:
        """Those who have a session."""
        return [player.browser for player in self.players.values() if not player.is_away]

    async def cycles_of(self, name: str) -> int:
        """Return how many cycles somebody had."""
        return int((await self[name].browser.state())["cycles"])

    # ---------------------------------------------------------------- time

    async def one_step(self) -> None:
        """Let the next cycle come; after a candle's close look at everything."""
        await self.town.step(STEP_S, self.present)
        self.steps += 1
        if self.town.clock.now().astimezone(IST).minute % 5 == 0 and self.town.clock.now().second == 1:
            await self.everything_agrees()

    async def pass_to(self, until_then: datetime) -> None:
        """Let cycle after cycle come."""
        while self.town.clock.now() < until_then:
            await self.one_step()
        assert self.town.clock.now() == until_then

    async def hurry_to(self, until_then: datetime) -> None:
        """Let time pass from candle to candle."""
        while self.town.clock.now() < until_then:
            await self.town.step(300, self.present)
            self.steps += 1
            await self.everything_agrees()
        assert self.town.clock.now() == until_then

    # ---------------------------------------------------------------- what happens

    async def meena_is_revoked(self) -> None:
        """The broker ends a session without a word: one refused call and one second look, and it is known."""
        meena = self["Meena"].browser
        before = (await self.town.broker.calls(meena.fyers_id))["byPath"]
        await self.town.broker.revoke(meena.fyers_id)
        assert (await meena.connection())["state"] == "connected"  # nobody can know yet

        await self.town.advance(STEP_S)
        self.steps += 1
        await until(lambda: _is_disconnected(meena), "Meena's end")
        await self.town.cycles_done([self["Asha"].browser, self["Ravi"].browser])

        counted = await self.town.broker.calls(meena.fyers_id)
        more = {path: count - before.get(path, 0) for path, count in counted["byPath"].items()}
        assert {path: count for path, count in more.items() if count} == {
            "/data/quotes": 1,
            "/api/v3/profile": 1,
        }
        assert counted["byStatus"]["401"] == 2
        await self._is_away("Meena", "rejected", began_at=self.town.clock.now(), calls=counted["total"])

    async def ravi_runs_out(self, ends_at: datetime) -> None:
        """The known end takes effect at its second, without one refused call."""
        ravi = self["Ravi"].browser
        counted = await self.town.broker.calls(ravi.fyers_id)
        await self.town.advance_to(ends_at - timedelta(seconds=1))
        assert (await ravi.connection())["state"] == "expiring"

        await self.town.advance_to(ends_at)
        await until(lambda: _is_disconnected(ravi), "Ravi's end")

        assert "401" not in counted["byStatus"]
        await self._is_away("Ravi", "expired", began_at=ends_at, calls=counted["total"])

    async def _is_away(self, name: str, reason: str, *, began_at: datetime, calls: int) -> None:
        player = self[name]
        player.absence = Absence(began_at, reason, calls)
        connection = await player.browser.connection()
        assert connection["reason"] == reason
        assert moment(connection["lastDisconnectTime"]) == began_at
        await until(lambda: player.browser.notices("session_disconnected"), f"{name}'s notice")
        (notice,) = await player.browser.notices("session_disconnected")
        assert notice["incidentId"] == connection["incidentId"]
        assert moment(notice["createdAt"]) == began_at
        await self.everything_agrees()

    async def comes_back(self, name: str) -> None:
        """Somebody logs in at Fyers' page again; the watches go on by themselves and catch up at once."""
        player = self[name]
        absence = player.absence
        assert absence is not None
        await self.town.broker.person(player.browser.fyers_id)
        assert await self.town.broker.total(player.browser.fyers_id) == absence.calls

        await player.browser.connect()
        absence.ended_at = self.town.clock.now()
        await self.town.cycles_done([player.browser])

        (renewed,) = await player.browser.notices("login_renewed")
        assert len(await player.browser.notices("session_disconnected")) == 1
        assert renewed["incidentId"] == (await player.browser.connection())["incidentId"]
        await self.nothing_is_missing(name)
        await self.everything_agrees()

    # ---------------------------------------------------------------- what must be true

    async def everything_agrees(self) -> None:
        """Every answer about every person tells the same, and no call was made for those who are away."""
        health = {
            account["userId"]: account
            for account in (await self["Asha"].browser.get("/api/admin/token-health"))["accounts"]
        }
        for name, player in self.players.items():
            connection = await agreed_connection(player, health[player.browser.user_id])
            assert (connection["state"] == "disconnected") == player.is_away, name
            if player.absence is not None and player.is_away:
                assert connection["reason"] == player.absence.reason
                assert await self.town.broker.total(player.browser.fyers_id) == player.absence.calls

    async def nothing_is_missing(self, name: str) -> None:
        """Every candle since the watch was made was judged once, and gave the signals that a replay gives."""
        player, now = self[name], self.town.clock.now()
        expected = closes_between(player.watched_since, now - timedelta(seconds=1), FIVE, nse_calendar())

        async def judged() -> bool:
            return len(player.tab.data("candle")) >= expected * len(player.browser.symbols)

        await until(judged, f"{name}'s candles")
        candles = [(one["symbol"], one["candle"]["openedAt"]) for one in player.tab.data("candle")]
        assert len(candles) == len(set(candles)) == expected * len(player.browser.symbols)

        stored = await player.browser.signals()
        facts = [fact_of(signal) for signal in stored]
        replayed = self._replayed(name)
        assert len(facts) == len(set(facts))
        assert set(facts) == set(replayed)
        assert {fact_of(one) for one in stored if one["isLate"]} == self._fell_into_the_gap(player, replayed)
        for signal in stored:
            if not signal["isLate"]:
                assert moment(signal["detectedAt"]) - moment(signal["candleClosedAt"]) == timedelta(seconds=1)

    def _replayed(self, name: str) -> dict[tuple[Any, ...], datetime]:
        """Return what the files' candles give from the watch's making up to now, each with its candle's close."""
        found: dict[tuple[Any, ...], datetime] = {}
        settled_at = self.town.clock.now() - timedelta(seconds=1)
        for stock in WATCHLISTS[name]:
            (path,) = self.candles.glob(f"{stock}_5min_*.csv")
            with path.open() as lines:
                candles = read_candle_file(lines).candles
            for signal in replay(candles, Symbol(f"NSE:{stock}-EQ"), 55, FIVE).signals:
                if self[name].watched_since < signal.candle_closed_at <= settled_at:
                    fact = (signal.symbol.text, signal.rule, signal.direction, signal.candle_opened_at)
                    found[*fact, signal.close, signal.hma] = signal.candle_closed_at
        return found

    @staticmethod
    def _fell_into_the_gap(player: Player, replayed: dict[tuple[Any, ...], datetime]) -> set[tuple[Any, ...]]:
        absence = player.absence
        if absence is None or absence.ended_at is None:
            return set()
        return {
            fact for fact, closed_at in replayed.items() if absence.began_at <= closed_at <= absence.ended_at
        }

    async def asha_never_noticed(self) -> None:
        """The living session had every cycle, no interruption and no notice."""
        asha = self["Asha"].browser
        state = await asha.state()
        assert (state["cycles"], state["missedCycles"]) == (1 + self.steps, 0)
        assert await asha.notices() == []
        assert {one["state"] for one in self["Asha"].tab.data("connection")} <= {"connected"}
        assert set((await self.town.broker.calls(asha.fyers_id))["byStatus"]) == {"200"}

    async def absences_are_told(self) -> None:
        """The day's coverage names exactly the stretches without a session."""
        for player in self.players.values():
            coverage = await player.browser.get("/api/monitoring/coverage")
            blind = [
                (moment(one["beganAt"]), moment(one["endedAt"]))
                for one in coverage["stretches"]
                if one["reason"] == "no_session"
            ]
            absence = player.absence
            assert blind == ([(absence.began_at, absence.ended_at)] if absence else [])


def fact_of(signal: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a stored signal says, without how it was found."""
    opened_at = moment(signal["candleOpenedAt"])
    return (signal["symbol"], signal["rule"], signal["direction"], opened_at, signal["close"], signal["hma"])


async def agreed_connection(player: Player, health: dict[str, Any]) -> dict[str, Any]:
    """Return somebody's connection object, after comparing it with everything else that speaks of the session."""
    browser = player.browser
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
    await until(lambda: _is_pushed(player, connection), f"{browser.name}'s tab")
    return connection


async def _is_pushed(player: Player, connection: dict[str, Any]) -> bool:
    """Whether the last word that the open tab heard of the session is the present one."""
    heard = [(one["state"], one["reason"]) for one in player.tab.data("connection")]
    return not heard or heard[-1] == (connection["state"], connection["reason"])


async def _is_disconnected(browser: Browser) -> bool:
    return (await browser.connection())["state"] == "disconnected"
