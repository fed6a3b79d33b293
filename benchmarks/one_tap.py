"""Login links over real HTTP: no wrong use may be accepted, and as many right uses must all succeed.

A use is accepted when it is given the way to Fyers, or brings an account a session, that it should not have. Both are counted: by what was
answered, and by the generations of the accounts, which only logins move.
"""

import argparse
import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import aiohttp
from yarl import URL

from benchmarks.accounts import Account, link_accounts, settings_for
from benchmarks.broker_process import BrokerProcess, broker_process, for_each
from benchmarks.report import Figure, print_report, spread
from hullwatch.app import Application, open_application
from hullwatch.cli.runner import run
from hullwatch.cli.server import StopSignals, address_of, listen_on, serve_application, url_of
from hullwatch.domain.secrets import AppSecret
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.runtime.clock import SystemClock
from hullwatch.runtime.logs import configure_logging
from hullwatch.web.dependencies import LOGIN_COOKIE

GUESSER = "127.0.0.2"
"""Guesses come from another address, because they lock it."""


class MovedClock(SystemClock):
    """The system clock, which the benchmark moves past the expiry of links."""

    def __init__(self) -> None:
        self.moved = timedelta(0)

    def now(self) -> datetime:
        """Return the moved time."""
        return super().now() + self.moved


@dataclass
class Uses:
    """Results of one kind of use."""

    tried: int = 0
    accepted: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def note(self, status: int, *, is_accepted: bool) -> None:
        """Count one use."""
        self.tried += 1
        self.accepted += is_accepted
        self.statuses[status] = self.statuses.get(status, 0) + 1

    @property
    def summary(self) -> str:
        """The counts as text."""
        answers = ", ".join(f"{count:,} times {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.accepted:,} of {self.tried:,} accepted (answered {answers})"


class Browser:
    """A browser with its own cookies; all share their sockets."""

    def __init__(self, url: str, connector: aiohttp.TCPConnector) -> None:
        self._url = url
        self._http = aiohttp.ClientSession(
            connector=connector, connector_owner=False, cookie_jar=aiohttp.CookieJar(unsafe=True)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    def sign_in(self, cookie: str) -> None:
        """Sign a user in to hullwatch."""
        self._http.cookie_jar.update_cookies({LOGIN_COOKIE: cookie}, URL(self._url))

    async def fetch(self, method: str, path: str) -> int:
        """Fetch a page, as link previews do."""
        async with self._http.request(method, f"{self._url}{path}") as answer:
            await answer.read()
            return answer.status

    async def call(self, what: str, link: str) -> tuple[int, Any]:
        """Make a call as the page of a link does."""
        async with self._http.post(f"{self._url}/api/reconnect/{what}", json={"link": link}) as answer:
            return answer.status, await answer.json(content_type=None)

    async def press(self, link: str) -> str:
        """Press the button, which must work; return the address of Fyers' login."""
        status, answer = await self.call("begin", link)
        if status != 200:
            raise RuntimeError(f"a good link was answered with {status}: {answer}")
        return str(answer["url"])

    async def log_in_at_fyers(self, url: str, fyers_id: str) -> str:
        """Complete Fyers' login page; return the callback address."""
        async with self._http.get(f"{url}&fyersId={fyers_id}", allow_redirects=False) as answer:
            return answer.headers["Location"]

    async def come_back(self, address: str) -> tuple[int, str]:
        """Open the callback address; return the status and the redirect."""
        async with self._http.get(address, allow_redirects=False) as answer:
            await answer.read()
            return answer.status, answer.headers.get("Location", "")


@dataclass
class Round:
    """The application under test, the links of all accounts, and the counts."""

    application: Application
    clock: MovedClock
    url: str
    accounts: list[Account]
    connector: aiohttp.TCPConnector
    uses: dict[str, Uses] = field(default_factory=dict)
    taps_s: list[float] = field(default_factory=list)

    def browser(self) -> Browser:
        """Return a new browser."""
        return Browser(self.url, self.connector)

    def note(self, sort: str, status: int, *, is_accepted: bool) -> None:
        """Count a use."""
        self.uses.setdefault(sort, Uses()).note(status, is_accepted=is_accepted)

    async def link(self, account: Account) -> str:
        """Make a link as a notice does."""
        address = await self.application.services.login_links.link_for(account.user_id)
        if address is None:
            raise RuntimeError("an account without a session has no link")
        return address.reveal().partition("#")[2]

    async def each(self, work: Callable[[int], Awaitable[None]]) -> None:
        """Run this for every account."""
        await for_each(range(len(self.accounts)), work)

    def generations(self) -> int:
        """Count all logins."""
        return sum(
            connection.generation for connection in self.application.services.connections.connections()
        )

    # ---------------------------------------------------------------- wrong uses

    async def prefetch(self, number: int) -> None:
        """Open the page by GET and HEAD and run its script, without pressing the button."""
        link = await self.link(self.accounts[number])
        async with self.browser() as previewer:
            for method, path in (("GET", "/reconnect"), ("HEAD", "/reconnect"), ("GET", "/reconnect.js")):
                self.note("prefetch", await previewer.fetch(method, path), is_accepted=False)
            status, answer = await previewer.call("open", link)
            self.note("prefetch", status, is_accepted=status != 200 or "url" in answer)
        async with self.browser() as person:  # still good, in another browser
            await person.press(link)

    async def foreign_browser(self, number: int) -> None:
        """Press the button that another browser has pressed, and finish that one's login."""
        account = self.accounts[number]
        link = await self.link(account)
        async with self.browser() as person, self.browser() as other:
            back = await person.log_in_at_fyers(await person.press(link), account.fyers_id)
            status, answer = await other.call("begin", link)
            self.note("foreign browser", status, is_accepted=status == 200 or "url" in answer)
            status, _ = await other.come_back(back)
            self.note("foreign browser", status, is_accepted=status == 303)

    async def foreign_user(self, number: int) -> None:
        """Press the button or open the callback in a browser of another user."""
        account, other_user = self.accounts[number], self.accounts[number - 1]
        link = await self.link(account)
        async with self.application.services.context.store.begin(read_only=True) as work:
            user = await work.users.get(other_user.user_id)
        if user is None:
            raise LookupError("a stored user is not there")
        cookie = (await self.application.services.authentication.open_browser(user)).value.reveal()
        async with self.browser() as theirs, self.browser() as person:
            theirs.sign_in(cookie)
            status, answer = await theirs.call("begin", link)
            self.note("foreign user", status, is_accepted=status == 200 or "url" in answer)
            back = await person.log_in_at_fyers(await person.press(link), account.fyers_id)
            person.sign_in(cookie)
            status, _ = await person.come_back(back)
            self.note("foreign user", status, is_accepted=status == 303)

    async def wrong_fyers_account(self, number: int) -> None:
        """Return from Fyers with another Fyers id."""
        link = await self.link(self.accounts[number])
        async with self.browser() as person:
            back = await person.log_in_at_fyers(await person.press(link), self.accounts[number - 1].fyers_id)
            status, _ = await person.come_back(back)
            self.note("wrong Fyers account", status, is_accepted=status == 303)

    async def expired(self) -> None:
        """Use expired links, pressed and not pressed, and their callback addresses."""
        links = [await self.link(account) for account in self.accounts]
        async with contextlib.AsyncExitStack() as stack:
            people = [await stack.enter_async_context(self.browser()) for _ in self.accounts]
            backs: dict[int, str] = {}

            async def begin(number: int) -> None:
                url = await people[number].press(links[number])
                backs[number] = await people[number].log_in_at_fyers(url, self.accounts[number].fyers_id)

            async def use(number: int) -> None:
                if number in backs:
                    status, _ = await people[number].come_back(backs[number])
                    self.note("expired", status, is_accepted=status == 303)
                for what in ("open", "begin"):
                    status, answer = await people[number].call(what, links[number])
                    self.note("expired", status, is_accepted=status == 200 or "url" in answer)

            await for_each(range(0, len(links), 2), begin)
            self.clock.moved += timedelta(minutes=self.application.settings.login_link_minutes)
            await self.each(use)

    async def right_and_replayed(self, number: int) -> None:
        """Log in by link, then use the link and the callback again, in the same browser and in another."""
        account = self.accounts[number]
        link = await self.link(account)
        before = self.application.services.connections.connection(account.user_id).generation
        async with self.browser() as person, self.browser() as other:
            began = time.perf_counter()
            await person.call("open", link)
            back = await person.log_in_at_fyers(await person.press(link), account.fyers_id)
            status, leads_to = await person.come_back(back)
            self.taps_s.append(time.perf_counter() - began)
            connection = self.application.services.connections.connection(account.user_id)
            is_right = leads_to == "/reconnect/done" and connection.has_session
            self.note("right", status, is_accepted=is_right and connection.generation == before + 1)
            for browser in (person, other):
                status, answer = await browser.call("begin", link)
                self.note("replay", status, is_accepted=status == 200 or "url" in answer)
                status, _ = await browser.come_back(back)
                self.note("replay", status, is_accepted=status == 303)

    async def guess(self, number: int) -> None:
        """Try a random value."""
        del number
        async with self.browser() as guesser:
            status, answer = await guesser.call("begin", secrets.token_urlsafe())
            self.note("guess", status, is_accepted=status == 200 or "url" in answer)


async def give_apps(
    application: Application, broker: BrokerProcess, accounts: list[Account], leads_to: str
) -> None:
    """Give each account its own Fyers app, because logins through one app are limited to 170 a minute."""
    apps = [
        FyersApp(f"{account.fyers_id}APP-100", AppSecret(secrets.token_hex(8)), leads_to)
        for account in accounts
    ]
    await for_each(
        apps,
        lambda app: broker.control(
            "POST",
            "/apps",
            {"appId": app.app_id, "secret": app.secret.reveal(), "redirectUri": app.redirect_uri},
        ),
    )
    async with application.services.context.store.begin() as work:
        for account, app in zip(accounts, apps, strict=True):
            await work.connections.put_app(account.user_id, app)
        await work.commit()


@contextlib.asynccontextmanager
async def served(broker: BrokerProcess, count: int) -> AsyncIterator[Round]:
    """Serve an application with this many linked accounts whose sessions have expired."""
    with (
        TemporaryDirectory(prefix="hullwatch-bench-") as folder,
        (Path(folder) / "log").open("w") as log,
        listen_on("127.0.0.1", 0) as sock,
    ):
        configure_logging(level="info", stream=log)
        clock, signals, url = MovedClock(), StopSignals(), url_of(*address_of(sock))
        settings = settings_for(broker, Path(folder), public_url=url)
        async with open_application(settings, clock=clock) as application:
            accounts = await link_accounts(application, broker, count)
            await give_apps(application, broker, accounts, f"{url}/api/fyers/callback")
            await application.services.connections.load()
            for account in accounts:
                await application.services.connections.disconnect_by_admin(account.user_id, actor="bench")
            ready = asyncio.Event()
            web = application.web(application.web_config())
            serving = asyncio.create_task(
                serve_application(application, web, sock, ready=lambda _: ready.set(), signals=signals),
                name="server",
            )
            await ready.wait()
            connector = aiohttp.TCPConnector(limit=64)
            async with connector:
                yield Round(application, clock, url, accounts, connector)
            signals.stop_requested.set()
            await serving


async def measure(count: int) -> list[Figure]:
    """Return the figures for this many accounts."""
    async with broker_process() as broker, served(broker, count) as on:
        before = on.generations()
        await on.each(on.prefetch)
        await on.each(on.foreign_browser)
        await on.each(on.foreign_user)
        await on.each(on.wrong_fyers_account)
        await on.expired()
        moved_by_wrong = on.generations() - before
        await on.each(on.right_and_replayed)
        moved = on.generations() - before
        on.connector = aiohttp.TCPConnector(local_addr=(GUESSER, 0))
        async with on.connector:
            await on.each(on.guess)
    right = on.uses.pop("right")
    figures = [
        Figure(sort, uses.summary, "0 accepted", is_met=uses.accepted == 0)
        for sort, uses in sorted(on.uses.items())
    ]
    return [
        *figures,
        Figure(
            "right uses",
            right.summary,
            "all",
            is_met=right.accepted == right.tried,
        ),
        Figure(
            "logins that the accounts count",
            f"{moved_by_wrong:,} by wrong uses, {moved:,} in all",
            f"0 and {count:,}",
            is_met=moved_by_wrong == 0 and moved == count,
        ),
        Figure("from opened to connected, 32 at once", spread(on.taps_s, "ms", 1000, 0)),
    ]


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks one_tap", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="100 accounts")
    chosen = parser.parse_args(args)
    count = 100 if chosen.quick else chosen.accounts
    figures = run(measure(count))
    method = (
        f"one server with {count:,} accounts, each with its own Fyers app and an expired session, called over HTTP by browsers with their own cookies; Fyers is the "
        "simulator in another process, and its login page is walked each time. Every sort of wrong use is tried for each account, once or in "
        "several ways; each refusal is counted with its status. A prefetch counts as accepted too if the link was not as good afterwards in "
        "another browser. For the expired links the server's clock is moved by their lifetime. Server and browsers share one process, so the times "
        "are those of a busy machine."
    )
    print_report("one_tap: wrong and right uses of login links", figures, method, is_quick=chosen.quick)


if __name__ == "__main__":
    main([])
