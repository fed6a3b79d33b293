"""Login links under abuse over real HTTP: how many of each wrong use are accepted, beside as many right ones that all have to succeed.

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

from benchmarks.accounts import Account, link_accounts, settings_for
from benchmarks.broker_process import BrokerProcess, broker_process, for_each
from benchmarks.report import Figure, spread, tell
from hullwatch.app import Application, open_application
from hullwatch.cli.runner import run
from hullwatch.cli.server import StopSignals, address_of, listen_on, serve_application, url_of
from hullwatch.domain.secrets import AppSecret
from hullwatch.domain.users.accounts import FyersApp
from hullwatch.runtime.clock import SystemClock
from hullwatch.runtime.logs import configure_logging
from hullwatch.web.dependencies import LOGIN_COOKIE

GUESSER = "127.0.0.2"
"""Guesses come from an address of their own, since they lock it."""


class MovedClock(SystemClock):
    """The machine's clock, which the benchmark moves forward past the end of links."""

    def __init__(self) -> None:
        self.moved = timedelta(0)

    def now(self) -> datetime:
        """Return the moved present."""
        return super().now() + self.moved


@dataclass
class Uses:
    """What became of the uses of one sort."""

    tried: int = 0
    accepted: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    def note(self, status: int, *, is_accepted: bool) -> None:
        """Count one."""
        self.tried += 1
        self.accepted += is_accepted
        self.statuses[status] = self.statuses.get(status, 0) + 1

    @property
    def told(self) -> str:
        """The counts in words."""
        answers = ", ".join(f"{count:,} times {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.accepted:,} of {self.tried:,} accepted (answered {answers})"


class Browser:
    """A browser with cookies of its own; all share their sockets."""

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
        """Carry somebody's login to hullwatch."""
        self._http.cookie_jar.update_cookies({LOGIN_COOKIE: cookie}, aiohttp.client.URL(self._url))

    async def fetch(self, method: str, path: str) -> int:
        """Fetch a page, as previewers do."""
        async with self._http.request(method, f"{self._url}{path}") as answer:
            await answer.read()
            return answer.status

    async def ask(self, what: str, link: str) -> tuple[int, Any]:
        """Ask as the page of a link does."""
        async with self._http.post(f"{self._url}/api/reconnect/{what}", json={"link": link}) as answer:
            return answer.status, await answer.json(content_type=None)

    async def press(self, link: str) -> str:
        """Press the button, which has to work; return the address of Fyers' login."""
        status, said = await self.ask("begin", link)
        if status != 200:
            raise RuntimeError(f"a good link was answered with {status}: {said}")
        return str(said["url"])

    async def log_in_at_fyers(self, url: str, fyers_id: str) -> str:
        """Walk Fyers' login page; return the way back."""
        async with self._http.get(f"{url}&fyersId={fyers_id}", allow_redirects=False) as answer:
            return answer.headers["Location"]

    async def come_back(self, address: str) -> tuple[int, str]:
        """Follow the way back; return the status and where it leads."""
        async with self._http.get(address, allow_redirects=False) as answer:
            await answer.read()
            return answer.status, answer.headers.get("Location", "")


@dataclass
class Round:
    """The application under test, everybody's links, and the counts."""

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
        """Do the same for every account."""
        await for_each(range(len(self.accounts)), work)

    def generations(self) -> int:
        """Count all logins there have been."""
        return sum(
            connection.generation for connection in self.application.services.connections.connections()
        )

    # ---------------------------------------------------------------- wrong uses

    async def prefetch(self, number: int) -> None:
        """Open the page by GET and HEAD, run its script's question, and do not press."""
        link = await self.link(self.accounts[number])
        async with self.browser() as previewer:
            for method, path in (("GET", "/reconnect"), ("HEAD", "/reconnect"), ("GET", "/reconnect.js")):
                self.note("prefetch", await previewer.fetch(method, path), is_accepted=False)
            status, said = await previewer.ask("look", link)
            self.note("prefetch", status, is_accepted=status != 200 or "url" in said)
        async with self.browser() as person:  # still good, in another browser
            await person.press(link)

    async def foreign_browser(self, number: int) -> None:
        """Press where another browser has pressed, and finish what that one began."""
        account = self.accounts[number]
        link = await self.link(account)
        async with self.browser() as person, self.browser() as other:
            back = await person.log_in_at_fyers(await person.press(link), account.fyers_id)
            status, said = await other.ask("begin", link)
            self.note("foreign browser", status, is_accepted=status == 200 or "url" in said)
            status, _ = await other.come_back(back)
            self.note("foreign browser", status, is_accepted=status == 303)

    async def foreign_user(self, number: int) -> None:
        """Press, or come back, in a browser in which somebody else is signed in."""
        account, stranger = self.accounts[number], self.accounts[number - 1]
        link = await self.link(account)
        async with self.application.services.context.store.begin(read_only=True) as work:
            user = await work.users.get(stranger.user_id)
        if user is None:
            raise LookupError("a stored user is not there")
        cookie = (await self.application.services.authentication.open_browser(user)).value.reveal()
        async with self.browser() as theirs, self.browser() as person:
            theirs.sign_in(cookie)
            status, said = await theirs.ask("begin", link)
            self.note("foreign user", status, is_accepted=status == 200 or "url" in said)
            back = await person.log_in_at_fyers(await person.press(link), account.fyers_id)
            person.sign_in(cookie)
            status, _ = await person.come_back(back)
            self.note("foreign user", status, is_accepted=status == 303)

    async def wrong_fyers_account(self, number: int) -> None:
        """Come back from Fyers as another of its customers."""
        link = await self.link(self.accounts[number])
        async with self.browser() as person:
            back = await person.log_in_at_fyers(await person.press(link), self.accounts[number - 1].fyers_id)
            status, _ = await person.come_back(back)
            self.note("wrong Fyers account", status, is_accepted=status == 303)

    async def expired(self) -> None:
        """Use links after their end: those that nobody pressed, those that were, and the ways back that they began."""
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
                for what in ("look", "begin"):
                    status, said = await people[number].ask(what, links[number])
                    self.note("expired", status, is_accepted=status == 200 or "url" in said)

            await for_each(range(0, len(links), 2), begin)
            self.clock.moved += timedelta(minutes=self.application.settings.login_link_minutes)
            await self.each(use)

    async def right_and_replayed(self, number: int) -> None:
        """Log in by link as people do; then use the link and the way back again, in the same browser and in another one."""
        account = self.accounts[number]
        link = await self.link(account)
        before = self.application.services.connections.connection(account.user_id).generation
        async with self.browser() as person, self.browser() as other:
            began = time.perf_counter()
            await person.ask("look", link)
            back = await person.log_in_at_fyers(await person.press(link), account.fyers_id)
            status, leads_to = await person.come_back(back)
            self.taps_s.append(time.perf_counter() - began)
            connection = self.application.services.connections.connection(account.user_id)
            is_right = leads_to == "/reconnect/done" and connection.has_session
            self.note("right", status, is_accepted=is_right and connection.generation == before + 1)
            for browser in (person, other):
                status, said = await browser.ask("begin", link)
                self.note("replay", status, is_accepted=status == 200 or "url" in said)
                status, _ = await browser.come_back(back)
                self.note("replay", status, is_accepted=status == 303)

    async def guess(self, number: int) -> None:
        """Try a value that nobody was given."""
        del number
        async with self.browser() as guesser:
            status, said = await guesser.ask("begin", secrets.token_urlsafe())
            self.note("guess", status, is_accepted=status == 200 or "url" in said)


async def give_apps(
    application: Application, broker: BrokerProcess, accounts: list[Account], leads_to: str
) -> None:
    """Give each account a Fyers app of its own: logins through one app are paced together, 170 a minute."""
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
    """Serve an application with so many linked accounts whose sessions are over."""
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
            async with aiohttp.TCPConnector(limit=64) as connector:
                yield Round(application, clock, url, accounts, connector)
            signals.stop_requested.set()
            await serving


async def measure(count: int) -> list[Figure]:
    """Return the figures of so many accounts."""
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
        async with aiohttp.TCPConnector(local_addr=(GUESSER, 0)) as elsewhere:
            on.connector = elsewhere
            await on.each(on.guess)
    right = on.uses.pop("right")
    figures = [
        Figure(sort, uses.told, "0 accepted", is_met=uses.accepted == 0)
        for sort, uses in sorted(on.uses.items())
    ]
    return [
        *figures,
        Figure(
            "right uses",
            right.told,
            "all",
            is_met=right.accepted == right.tried,
        ),
        Figure(
            "logins that the accounts count",
            f"{moved_by_wrong:,} by wrong uses, {moved:,} in all",
            f"0 and {count:,}",
            is_met=moved_by_wrong == 0 and moved == count,
        ),
        Figure("from looking to connected, 32 at once", spread(on.taps_s, "ms", 1000, 0)),
    ]


def main(args: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks one_tap", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="100 accounts")
    chosen = parser.parse_args(args)
    count = 100 if chosen.quick else chosen.accounts
    figures = run(measure(count))
    method = (
        f"one server with {count:,} accounts, each with a Fyers app of its own, whose sessions are over, asked over HTTP by browsers with cookies of their own; Fyers is the "
        "simulator in another process, and its login page is walked each time. Every sort of wrong use is tried for each account, once or in "
        "several ways; each refusal is counted with its status. A prefetch counts as accepted too if the link was not as good afterwards in "
        "another browser. For the expired links the server's clock is moved by their life. Server and browsers share one process, so the times "
        "are those of a busy machine."
    )
    tell("one_tap: login links, wrong uses beside right ones", figures, method, is_quick=chosen.quick)


if __name__ == "__main__":
    main([])
