"""``hullwatch doctor``: checks an install and prints a line for each part. Changes nothing."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hullwatch.cli.output import os_sentence, print_json, print_line
from hullwatch.cli.runner import run

if TYPE_CHECKING:
    from hullwatch.settings import Settings

LARGEST_OFFSET: Final = timedelta(seconds=2)
"""Between this machine's clock and Fyers': closed candles are requested two seconds after their close."""
SMALLEST_SPACE: Final = 200 * 2**20
"""Bytes; a busy install writes a few megabytes a day."""
LONGEST_WAIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    subject: str
    is_good: bool
    sentence: str


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check settings, data folder, database, key, clock, calendar and Fyers. Exits 1 if you need to act."""
    from hullwatch.runtime.logs import configure_logging

    configure_logging(level="CRITICAL")  # the findings contain every problem
    findings = run(_check(is_printed=not as_json))
    if as_json:
        print_json(
            [{"subject": one.subject, "isGood": one.is_good, "message": one.sentence} for one in findings]
        )
    if not all(one.is_good for one in findings):
        raise typer.Exit(1)


async def _check(*, is_printed: bool) -> list[Finding]:
    findings = []
    async for finding in _findings():
        findings.append(finding)
        if is_printed:
            print_line(f"{'✓' if finding.is_good else '✗'} {finding.subject}: {finding.sentence}")
    return findings


async def _findings() -> AsyncIterator[Finding]:
    from hullwatch.settings import SettingsRefused, read_settings

    settings = None
    try:
        settings = read_settings()
        settings.checked_for_serving()
    except SettingsRefused as refusal:
        yield Finding("Settings", is_good=False, sentence=str(refusal))
    else:
        yield Finding("Settings", is_good=True, sentence="valid.")
        yield _data_folder(settings.data_dir)
        database = await _database(settings)
        yield database
        yield await _key(settings)
        yield await _registration(settings, can_read=database.is_good)
        if settings.redis_url.get_secret_value():
            yield await _redis(settings.redis_url.get_secret_value())
        for finding in await _fyers(settings):
            yield finding
        if settings.smtp_host:
            yield await _mail(settings)
        if settings.ping_url.get_secret_value():
            yield await _ping_address(settings.ping_url.get_secret_value())
    for finding in _calendar(settings):
        yield finding


def _data_folder(folder: Path) -> Finding:
    try:
        problem = _folder_problem(folder)
        if problem:
            return Finding("Data folder", is_good=False, sentence=problem)
        if not folder.exists():
            return Finding("Data folder", is_good=True, sentence=f"{folder} will be created on first start.")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("Data folder", is_good=False, sentence=os_sentence(error))
    if free < SMALLEST_SPACE:
        sentence = f"only {free // 2**20} MB are free for {folder}: free some space."
        return Finding("Data folder", is_good=False, sentence=sentence)
    return Finding("Data folder", is_good=True, sentence=f"{folder}, {free / 2**30:.1f} GB free.")


def _folder_problem(folder: Path) -> str | None:
    if not folder.exists():
        parent = next(path for path in folder.resolve().parents if path.exists())
        can_make = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
        return None if can_make else f"{folder} cannot be created: {parent} is not a writable folder."
    if not folder.is_dir():
        return f"{folder} is not a folder: set HULLWATCH_DATA_DIR to a folder."
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"{folder} is not writable: give this user write access."
    return None


async def _database(settings: "Settings") -> Finding:
    from hullwatch.storage.address import read_url, sqlite_file
    from hullwatch.storage.failures import DatabaseUnusable
    from hullwatch.storage.upgrade import is_current

    try:
        file = sqlite_file(read_url(settings.database))
        if file is not None and not file.exists():
            return Finding("Database", True, f"{file} will be created on first start.")
        if not await is_current(settings.database):
            return Finding("Database", False, "reachable, but not up to date: run hullwatch db upgrade.")
    except (DatabaseUnusable, OSError) as problem:
        text = os_sentence(problem) if isinstance(problem, OSError) else str(problem)
        return Finding("Database", False, text)
    return Finding("Database", True, "reachable and up to date.")


async def _key(settings: "Settings") -> Finding:
    from hullwatch.storage.failures import StorageProblem
    from hullwatch.storage.keys import KEY_FILE, FixedKeys, KeyFile

    text = settings.encryption_keys.get_secret_value()
    file = settings.data_dir / KEY_FILE
    if not text.strip() and not file.exists():
        return Finding("Key", True, f"{file} will be created on first start.")
    try:
        keys = FixedKeys.parse(text) if text.strip() else KeyFile(file)
        keys.read()
        problem = await _fit_problem(settings, keys)
    except StorageProblem as failure:
        return Finding("Key", False, str(failure))
    if problem:
        return Finding("Key", False, problem)
    where = "from HULLWATCH_ENCRYPTION_KEYS" if text.strip() else f"{file}, readable by its owner only"
    return Finding("Key", True, f"{where}; decrypts the stored secrets.")


async def _fit_problem(settings: "Settings", keys: Any) -> str | None:
    """Return why the keys cannot decrypt the database, or nothing."""
    from hullwatch.domain.failures import StorageUnavailable
    from hullwatch.storage.address import read_url, sqlite_file
    from hullwatch.storage.cipher import Cipher, installation_identity
    from hullwatch.storage.failures import Undecryptable
    from hullwatch.storage.sealed import KEY_CHECK
    from hullwatch.storage.store import Store

    path = sqlite_file(read_url(settings.database))
    if path is not None and not path.exists():
        return None
    cipher = Cipher(keys)
    store = Store(settings.database, cipher)
    try:
        async with store.begin(read_only=True) as work:
            sealed = await work.installation.value(KEY_CHECK)
        if sealed is not None:
            cipher.open(sealed, installation_identity(KEY_CHECK))
    except StorageUnavailable:
        return "readable, but the database cannot be read to check that it is the right key."
    except Undecryptable:
        return "not the key of this database: restore the right key file."
    finally:
        await store.close()
    return None


async def _registration(settings: "Settings", *, can_read: bool) -> Finding:
    from hullwatch.cli.registration import NO_ADMIN, registration_sentence

    sentence = registration_sentence(settings)
    if settings.registration_mode != "open" and can_read and not await _has_admin(settings):
        return Finding("Registration", False, f"{sentence} {NO_ADMIN}.")
    return Finding("Registration", True, sentence)


async def _has_admin(settings: "Settings") -> bool:
    from hullwatch.domain.failures import StorageUnavailable
    from hullwatch.domain.users.accounts import Role
    from hullwatch.storage.address import read_url, sqlite_file
    from hullwatch.storage.cipher import Cipher
    from hullwatch.storage.keys import KEY_FILE, KeyFile
    from hullwatch.storage.store import Store

    path = sqlite_file(read_url(settings.database))
    if path is not None and not path.exists():
        return False
    store = Store(settings.database, Cipher(KeyFile(settings.data_dir / KEY_FILE)))
    try:
        async with store.begin(read_only=True) as work:
            return any(user.role is Role.ADMIN for user in await work.users.list_all())
    except StorageUnavailable:
        return True  # not known
    finally:
        await store.close()


async def _redis(url: str) -> Finding:
    """Read the version of Redis."""
    from redis.asyncio import Redis
    from redis.exceptions import AuthenticationError, AuthorizationError, RedisError

    client = Redis.from_url(url, socket_timeout=LONGEST_WAIT_S, socket_connect_timeout=3, protocol=2)
    try:
        version = (await client.info("server")).get("redis_version", "unknown")
    except (AuthenticationError, AuthorizationError):
        return Finding("Redis", False, "refuses the user or password in HULLWATCH_REDIS_URL: correct them.")
    except (RedisError, OSError, ValueError):
        return Finding(
            "Redis",
            False,
            "does not answer at HULLWATCH_REDIS_URL: check the address and that Redis runs. "
            "Until then each process validates by itself.",
        )
    finally:
        await client.aclose()
    return Finding("Redis", True, f"answers, version {version}.")


async def _fyers(settings: "Settings") -> tuple[Finding, ...]:
    """Call Fyers' base address once, without a login; the answer also contains Fyers' time."""
    import aiohttp

    limit = aiohttp.ClientTimeout(total=min(settings.fyers_timeout_seconds, LONGEST_WAIT_S))
    agent = {"User-Agent": "hullwatch doctor"}
    address = settings.fyers_base_url
    try:
        async with aiohttp.ClientSession(timeout=limit, headers=agent) as http:
            sent_at = datetime.now(UTC)
            async with http.get(address, allow_redirects=False) as reply:
                answered_at = datetime.now(UTC)
                status, date = reply.status, reply.headers.get("Date")
    except TimeoutError:
        why = (
            f"{address} did not answer within {limit.total:g} s: check the network and any proxy or firewall."
        )
        return (Finding("Fyers", False, why), _clock_unknown())
    except (aiohttp.ClientError, OSError, ValueError):
        why = f"{address} cannot be reached: check the network, and that the address is right."
        return (Finding("Fyers", False, why), _clock_unknown())
    if settings.clock_url:
        return (_reachability(address, status), await _followed_clock(settings.clock_url))
    return (_reachability(address, status), _clock(date, sent_at, answered_at))


def _reachability(address: str, status: int) -> Finding:
    if status in (403, 429):
        return Finding(
            "Fyers",
            False,
            f"{address} answers {status}: Fyers may have blocked this machine's IP address for a while. "
            "Wait and try again.",
        )
    if status >= 500:
        return Finding("Fyers", False, f"{address} answers {status}: Fyers is failing. Try again later.")
    return Finding("Fyers", True, f"{address} answers.")


async def _followed_clock(url: str) -> Finding:
    from hullwatch.app.followed_clock import following_clock
    from hullwatch.settings import SettingsRefused

    try:
        async with following_clock(url) as clock:
            return Finding("Clock", True, f"is the simulator's, {clock.now().isoformat(timespec='seconds')}.")
    except SettingsRefused as refusal:
        return Finding("Clock", False, str(refusal))


def _clock_unknown() -> Finding:
    return Finding("Clock", False, "cannot be compared, because Fyers sent no time.")


def _clock(date: str | None, sent_at: datetime, answered_at: datetime) -> Finding:
    """Compare the clocks. A Date header has whole seconds, so half a second is added."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return _clock_unknown()
    if theirs.tzinfo is None:
        return _clock_unknown()
    offset = theirs + timedelta(seconds=0.5) - (sent_at + (answered_at - sent_at) / 2)
    seconds = offset.total_seconds()
    if abs(offset) > LARGEST_OFFSET + (answered_at - sent_at) / 2:
        direction = "behind" if seconds > 0 else "ahead of"
        return Finding(
            "Clock",
            False,
            f"this machine is {abs(seconds):.1f} s {direction} Fyers: switch on time synchronisation (NTP).",
        )
    return Finding("Clock", True, "agrees with Fyers' clock to the second.")


async def _mail(settings: "Settings") -> Finding:
    """Connect to the mail server and log in; sends nothing."""
    from hullwatch.app import smtp_server
    from hullwatch.channels.smtp import examine

    server = smtp_server(settings)
    problem = server and await examine(server)
    where = f"{settings.smtp_host}:{settings.smtp_port}"
    if problem:
        return Finding(
            "Mail", False, f"{where} cannot be used. {problem} Check the HULLWATCH_SMTP_ settings."
        )
    return Finding("Mail", True, f"{where} accepts the login.")


async def _ping_address(url: str) -> Finding:
    """Connect to the address of the heartbeat ping. A request would count as a ping, so none is sent."""
    import asyncio
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(LONGEST_WAIT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
            writer.close()
    except (OSError, TimeoutError, UnicodeError):
        return Finding(
            "Heartbeat ping",
            False,
            "no connection to HULLWATCH_PING_URL: check the address and the network.",
        )
    return Finding(
        "Heartbeat ping", True, "the address accepts connections; it is pinged while monitoring works."
    )


def _calendar(settings: "Settings | None") -> Iterator[Finding]:
    """Yield how far the calendar reaches. Without readable settings only the built-in calendar is known."""
    from hullwatch.app.calendar_file import read_calendar
    from hullwatch.domain.market.calendar import nse_calendar
    from hullwatch.settings import SettingsRefused

    try:
        calendar = nse_calendar() if settings is None else read_calendar(settings)
    except SettingsRefused as refusal:
        yield Finding("Calendar", False, str(refusal))
        return
    until = f"the trading days are known until {calendar.covers_until.isoformat()}."
    warnings = calendar.warnings(datetime.now(UTC))
    for warning in warnings:
        yield Finding("Calendar", False, f"{until} {warning}")
    if not warnings:
        yield Finding("Calendar", True, until)
