"""What happens in the demo, by the market's clock.

Before the bell one session runs out and its user comes back by the link on the phone; after it one is revoked and its user comes back through
the page; one lives. In the evening everybody gets a receipt.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hullwatch.cli.demo.environment import DemoEnvironment
from hullwatch.cli.demo.narrator import Narrator
from hullwatch.cli.demo.users import Door, Player
from hullwatch.cli.demo.webhook_receiver import KINDS, Phones, tap
from hullwatch.domain.market.calendar import TradingSession
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution

RUNS_OUT_BEFORE = timedelta(minutes=13)
"""Before the bell, and so with a warning half an hour earlier, after the first check of readiness."""
TAPS_BEFORE = timedelta(minutes=8)
SHOWS_READINESS_BEFORE = (
    timedelta(minutes=44),
    timedelta(minutes=29),
    timedelta(minutes=14),
    timedelta(minutes=5),
)
"""A minute after each check, so that it has come to its end, and once more before the bell."""
REVOKED_AFTER = timedelta(minutes=65)
RETURNS_AFTER = timedelta(minutes=110)
RECEIPT_AFTER = timedelta(minutes=22)
"""After the close, by when everybody has the day's summary: derivatives trade ten minutes longer, and five minutes later it is told."""
PHONE_PATIENCE_S = 20.0
"""Real seconds for a notice to reach a phone."""
OUTAGE_AFTER = timedelta(minutes=60)
OUTAGE = timedelta(minutes=10)
SETTLED = timedelta(seconds=30)
"""After a candle's close, until what it brought is summed up."""


Step = tuple[datetime, Callable[[], Awaitable[None]]]
"""A moment of the market's clock, and what happens then."""


@dataclass(slots=True)
class _Absence:
    """What the broker had counted for a player when the session was over."""

    calls: int


class DemoScenario:
    """Plays days until there are none left or nobody wants more."""

    def __init__(self, stage: DemoEnvironment, doors: list[Door], narrator: Narrator, phones: Phones) -> None:
        self._stage = stage
        self._doors = doors
        self._narrator = narrator
        self._phones = phones
        self._absences: dict[str, _Absence] = {}
        self._began_at = stage.clock.now()

    # ---------------------------------------------------------------- days

    async def set_up(self) -> None:
        """Bring everybody in: registered, connected through Fyers' login page, watchlist filled, monitoring started."""
        settings = self._stage.house.settings
        session = self._session_of_today()
        for number, door in enumerate(self._doors):
            player = door.player
            secret = await door.add_phone(self._phones.address_of(player), KINDS)
            self._phones.belongs_to(player, secret)
            lifetime = session.opens_at - RUNS_OUT_BEFORE - self._now()
            ends_early = number == 1
            await self._make_account(player, lifetime if ends_early else None)
            await door.connect()
            await door.watch(period=settings.hma_period, resolution=settings.hma_resolution)
        self._began_at = self._now()

    async def play(self, days: int | None) -> None:
        """Play so many days; without a number, for ever."""
        await self._first_day()
        played = 1
        while days is None or played < days:
            await self._next_morning()
            await self._ordinary_day(has_outage=played == 1)
            played += 1

    async def _first_day(self) -> None:
        session = self._session_of_today()
        opens_at = session.opens_at
        plan: list[Step] = [(opens_at - before, self._shows_readiness) for before in SHOWS_READINESS_BEFORE]
        plan.append((opens_at, self._rings_the_bell))
        if len(self._doors) > 1:
            runs_out = self._doors[1]
            plan.append((opens_at - RUNS_OUT_BEFORE + SETTLED, lambda: self._has_ended(runs_out)))
            plan.append((opens_at - TAPS_BEFORE, lambda: self._taps_the_link(runs_out)))
        if len(self._doors) > 2:
            revoked = self._doors[2]
            plan.append((opens_at + REVOKED_AFTER, lambda: self._is_revoked(revoked)))
            plan.append((opens_at + REVOKED_AFTER + timedelta(minutes=1), lambda: self._has_ended(revoked)))
            plan.append((opens_at + RETURNS_AFTER, lambda: self._returns(revoked)))
        await self._play_day(session, plan)

    async def _ordinary_day(self, *, has_outage: bool) -> None:
        session = self._session_of_today()
        plan: list[Step] = [(session.opens_at, self._rings_the_bell)]
        if has_outage:
            plan.append((session.opens_at + OUTAGE_AFTER, self._has_outage))
        await self._play_day(session, plan)

    async def _play_day(self, session: TradingSession, plan: list[Step]) -> None:
        """Play a day's plan, with a word every hour on how the living fare, and its sum at the close."""
        hours = [session.opens_at + timedelta(hours=hour) + SETTLED for hour in range(1, 7)]
        plan = [*plan, *((hour, self._how_it_goes) for hour in hours if hour < session.closes_at)]
        for moment, act in sorted(plan, key=lambda step: step[0]):
            if moment > self._now():
                await self._stage.clock.sleep_until(moment)
            await act()
        await self._stage.clock.sleep_until(session.closes_at + SETTLED)
        await self._sum_up()
        await self._stage.clock.sleep_until(session.closes_at + RECEIPT_AFTER)

    async def _next_morning(self) -> None:
        """Skip the night: at 06:00 IST all sessions end, before the bell everybody logs in again."""
        upcoming = self._stage.house.services.context.calendar.next_session(self._now())
        six = upcoming.opens_at.replace(hour=0, minute=30, second=0)  # 06:00 IST is 00:30 UTC
        self._narrator.tell("", "— night —", "note")
        await self._stage.advance_to(six - timedelta(minutes=1))
        await self._stage.clock.sleep_until(six + timedelta(minutes=1))
        await self._stage.advance_to(upcoming.opens_at - timedelta(minutes=3))
        for door in self._doors:
            await door.connect()
        self._narrator.tell("everyone", "logged in at Fyers again, one click each", "good")

    # ---------------------------------------------------------------- what happens to whom

    async def _is_revoked(self, door: Door) -> None:
        self._narrator.tell(
            "Fyers", f"(the broker revokes {door.player.name}'s session without a word)", "note"
        )
        await self._stage.simulator.call("POST", f"/accounts/{door.player.fyers_id}/revoke")

    async def _has_ended(self, door: Door) -> None:
        """Ask the API whether it agrees, and remember how many calls the broker has counted so far."""
        status = await door.call("GET", "/api/token-validation/status")
        calls = await self._stage.simulator.calls_of(door.player)
        self._absences[door.player.name] = _Absence(calls)
        self._narrator.tell(
            door.player.name,
            f"the API agrees: {status['state']}, {status['reason']}. No call is made from now on",
            "note",
        )

    async def _shows_readiness(self) -> None:
        """Say what the API says of everybody, as the administrator reads it."""
        found = await self._doors[0].call("GET", "/api/admin/readiness")
        self._narrator.tell("everyone", f"{found['ready']} of {found['total']} ready for the bell", "good")
        for account in found["accounts"]:
            if account["verdict"] == "not_ready":
                who = next(
                    (door.player.name for door in self._doors if door.player.user_id == account["userId"]), ""
                )
                self._narrator.tell(
                    who, f"not ready, because {account['because']}. {account['doThis']}", "late"
                )

    async def _rings_the_bell(self) -> None:
        self._narrator.tell("", "— the bell: the market is open —", "note")

    async def _taps_the_link(self, door: Door) -> None:
        """Come back by the newest link on the phone, which is signed in nowhere."""
        player = door.player
        await self._tell_calls_of_absence(player)
        await self._make_account(player, None)
        link = await self._phones.wait_for_link(player, after=0, patience_s=PHONE_PATIENCE_S)

        def tell(requested_by: str) -> None:  # before the login, which the server tells of at once
            self._narrator.tell(
                player.name, f"taps the link that {requested_by} sent, and logs in on Fyers' page", "plain"
            )

        await tap(link, player, on_seen=tell)

    async def _returns(self, door: Door) -> None:
        player = door.player
        await self._tell_calls_of_absence(player)
        await self._make_account(player, None)
        self._narrator.tell(player.name, "logs in again on Fyers' page", "plain")
        await door.connect()

    async def _tell_calls_of_absence(self, player: Player) -> None:
        absence = self._absences.pop(player.name, None)
        if absence is not None:
            calls = await self._stage.simulator.calls_of(player) - absence.calls
            self._narrator.tell(
                player.name,
                f"the broker counted {calls} calls during the absence",
                "note" if not calls else "bad",
            )

    async def _has_outage(self) -> None:
        self._narrator.tell(
            "Fyers",
            f"(the broker is down for {OUTAGE.seconds // 60} minutes: every call gets a 503 page)",
            "note",
        )
        body = {"kind": "html_page", "status": 503, "path": "/data", "seconds": OUTAGE.total_seconds()}
        await self._stage.simulator.call("POST", "/faults", body)

    async def _make_account(self, player: Player, lifetime: timedelta | None) -> None:
        body: dict[str, Any] = {"fyersId": player.fyers_id, "name": player.full_name}
        if lifetime is not None:
            body["lifetimeSeconds"] = lifetime.total_seconds()
        await self._stage.simulator.call("POST", "/accounts", body)

    # ---------------------------------------------------------------- sums

    async def _how_it_goes(self) -> None:
        for door in self._doors:
            state = await door.call("GET", "/api/monitoring/state")
            if state["isRunning"]:
                self._narrator.tell(door.player.name, self._tally(door.player, state), "note")

    def _tally(self, player: Player, state: dict[str, Any]) -> str:
        settings = self._stage.house.settings
        resolution = Resolution.parse(settings.hma_resolution)
        expected = closes_between(
            self._began_at, self._now(), resolution, self._stage.house.services.context.calendar
        ) * len(player.symbols)
        judged = self._narrator.candles[player.user_id]
        missed = state["missedCycles"]
        return (
            f"{state['cycles']:,} cycles, {missed or 'none'} missed; {judged} of {expected} closed candles judged, "
            f"{self._narrator.fresh_signals[player.user_id]} signals, {self._narrator.late_signals[player.user_id]} late"
        )

    async def _sum_up(self) -> None:
        self._narrator.tell("", "— the market has closed —", "note")
        for door in self._doors:
            state = await door.call("GET", "/api/monitoring/state")
            coverage = await door.call("GET", "/api/monitoring/coverage")
            blind = "; ".join(
                f"{_length(stretch)} {stretch['reason'].replace('_', ' ')}"
                for stretch in coverage["stretches"]
            )
            text = f"watched {coverage['watchedMinutes']:g} min, blind {coverage['blindMinutes']:g} min"
            self._narrator.tell(door.player.name, text + (f" ({blind})" if blind else ""), "plain")
            self._narrator.tell(door.player.name, self._tally(door.player, state), "note")

    def _now(self) -> datetime:
        return self._stage.clock.now()

    def _session_of_today(self) -> TradingSession:
        """Return the trading session under way or about to begin."""
        calendar = self._stage.house.services.context.calendar
        return calendar.session_at(self._now()) or calendar.next_session(self._now())


def _length(stretch: dict[str, Any]) -> str:
    length = datetime.fromisoformat(stretch["endedAt"]) - datetime.fromisoformat(stretch["beganAt"])
    seconds = round(length.total_seconds())
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
