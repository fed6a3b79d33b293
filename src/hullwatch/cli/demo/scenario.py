"""What happens in the demo, by the market's clock.

On the first day one session expires before the market opens, and its user logs in by the link in the notice.
Another session is revoked in trading hours, and its user logs in on the page. The second day has an
outage of Fyers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from hullwatch.cli.demo.environment import DemoEnvironment
from hullwatch.cli.demo.narrator import Narrator
from hullwatch.cli.demo.users import DemoFailed, DemoUser, open_browser, request
from hullwatch.cli.demo.webhook_receiver import WebhookReceiver
from hullwatch.domain.market.calendar import TradingSession
from hullwatch.domain.market.candles import closes_between
from hullwatch.domain.market.instruments import Resolution

# Minutes relative to the market open.
READINESS_AT = (-44, -29, -14, -5)
"""One minute after each readiness check, and once more before the market opens."""
EXPIRES_AT = -13
"""After the first readiness check, so that the warning half an hour before the expiry is shown too."""
LOGIN_BY_LINK_AT = -8
OUTAGE_AT = 60
REVOKED_AT = 65
LOGIN_AGAIN_AT = 110

OUTAGE = timedelta(minutes=10)
SETTLED = timedelta(seconds=30)
"""After a candle's close or an expiry, until its effects can be shown."""
SUMMARY_AFTER = timedelta(minutes=22)
"""After the market close. Derivatives trade ten minutes longer; the summary follows five minutes later."""
LINK_WITHIN_S = 20.0
"""Real seconds for a notice to reach the webhook."""

Step = tuple[datetime, Callable[[], Awaitable[None]]]


class DemoScenario:
    """Runs trading days."""

    def __init__(self, environment: DemoEnvironment, users: list[DemoUser], narrator: Narrator) -> None:
        self._simulator = environment.simulator
        self._environment = environment
        self._settings = environment.application.settings
        self._calendar = environment.application.services.context.calendar
        self._clock = environment.clock
        self._users = users
        self._print = narrator.print
        self._narrator = narrator
        self._calls_at_disconnect: dict[str, int] = {}
        self._began_at = self._clock.now()
        self._speed = 0.0

    async def set_up(self, receiver: WebhookReceiver) -> None:
        """Connect every user, add the webhook, fill the watchlist and start monitoring."""
        expires_at = self._session().opens_at + timedelta(minutes=EXPIRES_AT)
        for number, user in enumerate(self._users):
            await receiver.add(user)
            await self._simulator.add_account(user, expires_at - self._clock.now() if number == 1 else None)
            await user.connect()
            await user.start_monitoring(
                period=self._settings.hma_period, resolution=self._settings.hma_resolution
            )
        self._began_at = self._clock.now()

    async def run(self, days: int | None, *, speed: float, print_addresses: Callable[[], None]) -> None:
        """Run a number of days, `None` for no limit; `print_addresses` is called each morning."""
        self._speed = speed
        await self._environment.set_speed(speed)
        session = self._session()
        await self._run_day(session, self._first_day(session.opens_at))
        day = 1
        while days is None or day < days:
            await self._next_morning()
            print_addresses()
            session = self._session()
            opens_at = session.opens_at
            plan: list[Step] = [(opens_at, self._market_opens)]
            if day == 1:
                plan.append((_minutes(opens_at, OUTAGE_AT), self._outage))
            await self._run_day(session, plan)
            day += 1

    # ---------------------------------------------------------------- days

    def _first_day(self, opens_at: datetime) -> list[Step]:
        plan: list[Step] = [(_minutes(opens_at, at), self._show_readiness) for at in READINESS_AT]
        plan.append((opens_at, self._market_opens))
        for user in self._users[1:2]:
            plan += [
                (_minutes(opens_at, EXPIRES_AT) + SETTLED, partial(self._show_disconnected, user)),
                (_minutes(opens_at, LOGIN_BY_LINK_AT), partial(self._log_in_by_link, user)),
            ]
        for user in self._users[2:3]:
            plan += [
                (_minutes(opens_at, REVOKED_AT), partial(self._revoke, user)),
                (_minutes(opens_at, REVOKED_AT + 1), partial(self._show_disconnected, user)),
                (_minutes(opens_at, LOGIN_AGAIN_AT), partial(self._log_in_again, user)),
            ]
        return plan

    async def _run_day(self, session: TradingSession, plan: list[Step]) -> None:
        """Run a day's steps, with the counts of every hour and the day's summary."""
        hours = [session.opens_at + timedelta(hours=hour) + SETTLED for hour in range(1, 7)]
        plan = [*plan, *((hour, self._show_counts) for hour in hours if hour < session.closes_at)]
        for moment, act in sorted(plan, key=lambda step: step[0]):
            if moment > self._clock.now():
                await self._clock.sleep_until(moment)
            await act()
        await self._clock.sleep_until(session.closes_at + SETTLED)
        await self._show_summary()
        await self._clock.sleep_until(session.closes_at + SUMMARY_AFTER)

    async def _next_morning(self) -> None:
        """Skip the night: all sessions expire at 06:00 IST, and all users log in before the market opens."""
        opens_at = self._calendar.next_session(self._clock.now()).opens_at
        six = opens_at.replace(hour=0, minute=30, second=0)  # 06:00 IST is 00:30 UTC
        self._print("", "— the night is skipped; all Fyers sessions expire at 06:00 IST —", "note")
        await self._environment.skip_to(six - timedelta(minutes=1))
        await self._clock.sleep_until(six + timedelta(minutes=1))
        await self._environment.skip_to(opens_at - timedelta(minutes=3))
        async with self._environment.at_login_speed(self._speed):
            for user in self._users:
                await user.connect()
        self._print("all users", "logged in at Fyers again", "good")

    # ---------------------------------------------------------------- steps

    async def _market_opens(self) -> None:
        self._print("", "— the market opens —", "note")

    async def _show_readiness(self) -> None:
        """Show who is ready for the market open, as the administrator's API reports it."""
        found = await self._users[0].call("GET", "/api/admin/readiness")
        self._print(
            "all users", f"{found['ready']} of {found['total']} are ready for the market open", "good"
        )
        names = {user.id: user.name for user in self._users}
        for account in found["accounts"]:
            if account["result"] == "not_ready" and account["userId"] in names:
                text = f"not ready: {account['because']}. {account['doThis']}"
                self._print(names[account["userId"]], text, "warning")

    async def _show_disconnected(self, user: DemoUser) -> None:
        """Show what the API reports, and remember how many calls Fyers has received so far."""
        status = await user.call("GET", "/api/token-validation/status")
        self._calls_at_disconnect[user.id] = await self._simulator.count_calls(user)
        text = f"the API reports: {status['state']}, {status['reason']}. Fyers is not called for this account"
        self._print(user.name, text, "note")

    async def _show_calls_since_disconnect(self, user: DemoUser) -> None:
        before = self._calls_at_disconnect.pop(user.id, None)
        if before is not None:
            calls = await self._simulator.count_calls(user) - before
            text = f"Fyers received {calls} calls for this account while it was disconnected"
            self._print(user.name, text, "bad" if calls else "note")

    async def _log_in_by_link(self, user: DemoUser) -> None:
        """Log in with the newest login link, in a browser that is not logged in to hullwatch."""
        await self._show_calls_since_disconnect(user)
        await self._simulator.add_account(user)
        try:
            await asyncio.wait_for(user.login_link_received.wait(), LINK_WITHIN_S)
        except TimeoutError:
            raise DemoFailed(f"No login link reached the webhook of {user.name}.") from None
        link = urlsplit(user.login_link)
        base_url, body = f"{link.scheme}://{link.netloc}", {"link": link.fragment}
        async with self._environment.at_login_speed(self._speed), open_browser(base_url) as phone:
            await request(phone, "GET", user.login_link)
            opened = await request(phone, "POST", f"{base_url}/api/reconnect/open", body)
            self._print(user.name, f"opens the login link from {opened['requestedBy']} and logs in at Fyers")
            url = (await request(phone, "POST", f"{base_url}/api/reconnect/begin", body))["url"]
            await request(phone, "GET", f"{url}&fyersId={user.fyers_id}")

    async def _revoke(self, user: DemoUser) -> None:
        self._print("Fyers", f"revokes the session of {user.name} (simulated)", "note")
        await self._simulator.call("POST", f"/accounts/{user.fyers_id}/revoke")

    async def _log_in_again(self, user: DemoUser) -> None:
        await self._show_calls_since_disconnect(user)
        await self._simulator.add_account(user)
        self._print(user.name, "logs in at Fyers again")
        async with self._environment.at_login_speed(self._speed):
            await user.connect()

    async def _outage(self) -> None:
        minutes = OUTAGE.seconds // 60
        text = f"is down for {minutes} minutes: every data call is answered with a 503 page (simulated)"
        self._print("Fyers", text, "note")
        body = {"kind": "html_page", "status": 503, "path": "/data", "seconds": OUTAGE.total_seconds()}
        await self._simulator.call("POST", "/faults", body)

    # ---------------------------------------------------------------- counts

    async def _show_counts(self) -> None:
        for user in self._users:
            state = await user.call("GET", "/api/monitoring/state")
            if state["isRunning"]:
                self._print(user.name, self._counts(user, state), "note")

    def _counts(self, user: DemoUser, state: dict[str, Any]) -> str:
        resolution = Resolution.parse(self._settings.hma_resolution)
        closes = closes_between(self._began_at, self._clock.now(), resolution, self._calendar)
        candles = self._narrator.candles[user.id]
        return (
            f"{state['cycles']:,} cycles, {state['missedCycles']} missed; "
            f"{candles} of {closes * len(user.symbols)} closed candles evaluated; "
            f"{self._narrator.signals_in_time[user.id]} signals in time, "
            f"{self._narrator.late_signals[user.id]} late"
        )

    async def _show_summary(self) -> None:
        self._print("", "— the market has closed —", "note")
        for user in self._users:
            state = await user.call("GET", "/api/monitoring/state")
            coverage = await user.call("GET", "/api/monitoring/coverage")
            blind = "; ".join(
                f"{_length(gap)} {gap['reason'].replace('_', ' ')}" for gap in coverage["stretches"]
            )
            text = f"watched {coverage['watchedMinutes']:g} min, blind {coverage['blindMinutes']:g} min"
            self._print(user.name, text + (f" ({blind})" if blind else ""))
            self._print(user.name, self._counts(user, state), "note")

    def _session(self) -> TradingSession:
        """Return the present trading session, or the next one."""
        now = self._clock.now()
        return self._calendar.session_at(now) or self._calendar.next_session(now)


def _minutes(opens_at: datetime, minutes: int) -> datetime:
    return opens_at + timedelta(minutes=minutes)


def _length(gap: dict[str, Any]) -> str:
    length = datetime.fromisoformat(gap["endedAt"]) - datetime.fromisoformat(gap["beganAt"])
    seconds = round(length.total_seconds())
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
