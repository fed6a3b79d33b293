"""Ten thousand notices by e-mail and webhook while a tenth of all attempts fails: lost and repeated ones, and speed."""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.receivers_process import FAILING, Receivers, receivers_process
from benchmarks.report import Figure, percentile, print_report
from hullwatch.app import Application, new_id, open_application
from hullwatch.cli.runner import run
from hullwatch.domain.notifications.channels import Channel, ChannelAddress, Destination, SigningSecret
from hullwatch.domain.notifications.notifications import ChannelKind, Notification, NotificationKind
from hullwatch.domain.users.accounts import Role, User
from hullwatch.runtime.logs import configure_logging
from hullwatch.settings import read_settings

TARGET_NOTICES = 10_000
EACH_USER = 20
AT_ONCE = 50
"""Notices in one transaction, as at a candle's close."""
READ_EVERY_S = 0.25
LONGEST_S = 900.0
SIGNAL = NotificationKind.SIGNAL


@asynccontextmanager
async def sending_application(receivers: Receivers, database_url: str) -> AsyncIterator[Application]:
    """Open an application whose outbox reaches the receivers only."""
    with TemporaryDirectory(prefix="hullwatch-bench-") as folder, (Path(folder) / "log").open("w") as log:
        configure_logging(level="error", stream=log)
        settings = read_settings(
            data_dir=Path(folder),
            database_url=database_url,
            encryption_keys="",
            redis_url="",
            fyers_base_url="http://127.0.0.1:9/api/v3",
            fyers_data_url="http://127.0.0.1:9/data",
            fyers_public_url="http://127.0.0.1:9",
            smtp_host="127.0.0.1",
            smtp_port=receivers.mail_port,
            smtp_security="none",
            smtp_from="hullwatch@bench.example",
            smtp_user="",
            smtp_password="",
            notify_private_addresses=True,
        )
        async with open_application(settings) as application:
            yield application


async def add_users(application: Application, count: int, webhook_port: int) -> list[str]:
    """Store users, each with a mailbox and a webhook; return their ids."""
    users = [new_id("usr") for _ in range(count)]
    now = application.services.context.clock.now()
    async with application.services.context.store.begin() as work:
        for user_id in users:
            await work.users.add(User(user_id, f"{user_id}@bench.example", user_id, Role.TRADER, now), "!")
            for kind, address, secret in (
                (ChannelKind.EMAIL, f"{user_id}@bench.example", None),
                (ChannelKind.WEBHOOK, f"http://127.0.0.1:{webhook_port}/{user_id}", SigningSecret("secret")),
            ):
                channel = Channel(
                    new_id("chn"),
                    user_id,
                    kind,
                    kind.value,
                    "hint",
                    frozenset({SIGNAL}),
                    is_on=True,
                    created_at=now,
                )
                await work.channels.add(channel, Destination(kind, ChannelAddress(address), secret))
        await work.commit()
    return users


async def store_notices(application: Application, users: list[str], count: int) -> float:
    """Store notices for alternating users; return how long it took."""
    began = time.monotonic()
    for first in range(0, count, AT_ONCE):
        async with application.services.context.store.begin() as work:
            for number in range(first, min(first + AT_ONCE, count)):
                notice = Notification(
                    new_id("ntc"), users[number % len(users)], SIGNAL, "NSE:SBIN-EQ crossed above its average",
                    "The candle that closed at 14:05 IST ended at 812.35; HMA(55) was 811.90.", application.services.context.clock.now(), f"i{number}",
                )  # fmt: skip
                await work.notifications.add(notice)
            await work.commit()
    return time.monotonic() - began


async def outcome(application: Application, users: list[str]) -> tuple[set[str], int, list[float]]:
    """Return the ids in the outbox, how many are not sent, and the seconds from stored to sent of the others."""
    ids: set[str] = set()
    open_ones, delays = 0, []
    async with application.services.context.store.begin(read_only=True) as work:
        for user_id in users:
            for one in await work.outbox.of_user(user_id, limit=10 * EACH_USER):
                ids.add(one.id)
                if one.state.value == "sent" and one.ended_at is not None:
                    delays.append((one.ended_at - one.created_at).total_seconds())
                else:
                    open_ones += 1
    return ids, open_ones, delays


async def all_sent(application: Application, expected: int) -> None:
    """Wait until the metrics count every delivery as sent."""
    sent = 'hullwatch_notifications_total{{channel="{}",outcome="sent"}}'
    ends_at = time.monotonic() + LONGEST_S
    while time.monotonic() < ends_at:
        text = application.metrics.render().decode()
        lines = [
            line.rpartition(" ")
            for line in text.splitlines()
            if line.startswith("hullwatch_notifications_total")
        ]
        counts = {name: float(value) for name, _, value in lines}
        if sum(counts.get(sent.format(channel), 0.0) for channel in ("email", "webhook")) >= expected:
            return
        await asyncio.sleep(READ_EVERY_S)


async def measure(count: int, database_url: str) -> list[Figure]:
    """Store and send the notices, and compare the received messages with them."""
    async with receivers_process() as receivers:
        async with sending_application(receivers, database_url) as application:
            users = await add_users(application, max(1, count // EACH_USER), receivers.webhook_port)
            application.services.outbox.start_jobs(application.services.supervisor)
            cpu, began = time.process_time(), time.monotonic()
            storing_s = await store_notices(application, users, count)
            await all_sent(application, 2 * count)
            took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
            await application.services.supervisor.stop(30)
            ids, open_ones, delays = await outcome(application, users)
        received = await receivers.close()
    takings: dict[str, list[bool]] = received["takings"]
    lost = len(ids - takings.keys())
    foreign = len(takings.keys() - ids)
    repeated = [ends for ends in takings.values() if len(ends) > 1]
    unexcused = sum(any(ends[:-1]) for ends in repeated)  # it was answered, and yet sent once more
    attempts, failures = sum(received["attempts"].values()), sum(received["failures"].values())
    return [
        Figure(
            "messages in the outbox",
            f"{len(ids):,} of {count:,} notices",
            f"{2 * count:,}",
            len(ids) == 2 * count,
        ),
        Figure("lost", f"{lost} ({open_ones} not marked as sent)", "0", lost == 0 and open_ones == 0),
        Figure("repeated although the receiver had answered", str(unexcused), "0", unexcused == 0),
        Figure("with an unknown id", str(foreign), "0", foreign == 0),
        Figure("repeated with the same id after a lost answer", f"{len(repeated):,}"),
        Figure("attempts", f"{attempts:,}, of which {failures:,} failed ({failures / attempts:.1%})"),
        Figure(
            "ways of failing",
            ", ".join(f"{name} {number}" for name, number in sorted(received["failures"].items())),
        ),
        Figure("storing the notices", f"{storing_s:.1f} s, sending under way"),
        Figure("until all were sent", f"{took_s:.1f} s ({2 * count / took_s:.0f} messages a second)"),
        Figure("CPU of the server", f"{cpu_s:.1f} s ({1000 * cpu_s / (2 * count):.2f} ms a message)"),
        Figure(
            "stored to sent",
            f"p50 {percentile(delays, 50):.1f} s, p95 {percentile(delays, 95):.1f} s, max {max(delays):.1f} s",
        ),
    ]


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks outbox", description=__doc__)
    parser.add_argument("--notices", type=int, default=TARGET_NOTICES)
    parser.add_argument("--quick", action="store_true", help="1,000 notices")
    parser.add_argument(
        "--database",
        default="",
        help="an empty database's address; SQLite in a temporary folder unless given",
    )
    chosen = parser.parse_args(args)
    count = 1_000 if chosen.quick else chosen.notices
    figures = run(measure(count, chosen.database))
    method = (
        "The outbox of a whole application, real SMTP (aiosmtpd) and HTTP receivers in another process on loopback. Each notice goes to its user's "
        f"mailbox and webhook; a user has {EACH_USER}. Of all attempts {FAILING:.0%} fail: refused (451, 503), connection cut before or after the "
        "message was taken, or no answer for 12 s. Lost is what no receiver took; a repetition is excused when the receiver's answer to the "
        "taking before was cut off."
    )
    print_report(
        f"outbox: {count:,} notices, {FAILING:.0%} of attempts failing",
        figures,
        method,
        is_quick=chosen.quick,
    )


if __name__ == "__main__":
    main([])
