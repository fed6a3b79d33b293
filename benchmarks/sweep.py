"""A validation sweep over 2,000 accounts while a tenth of them hangs: its duration and the delay of the others."""

import argparse
import asyncio
import time
from dataclasses import replace
from random import Random

from benchmarks.accounts import Account, benchmark_application, link_accounts
from benchmarks.broker_process import BrokerProcess, broker_process, for_each
from benchmarks.report import Figure, print_report, spread
from hullwatch.app import Application
from hullwatch.cli.runner import run
from hullwatch.runtime.clock import SystemClock
from hullwatch.services.sessions.validation import (
    SWEEP_PER_SECOND,
    TokenValidationService,
    Validation,
    ValidationResult,
    ValidationTotals,
)

TARGET_ACCOUNTS = 2_000
LATENCY_S = 0.25
ALLOWED_LATE_S = 1.0
"""A validation is on time within its slot, the broker's latency and this."""
HANGING_SHARE = 0.1
LONGEST_FACTOR = 1.5


class SlotClock(SystemClock):
    """The real clock; it records the slot of each account, which is the wait in that account's task."""

    def __init__(self) -> None:
        self.slots: dict[str, float] = {}

    async def sleep(self, seconds: float) -> None:
        """Wait this many seconds."""
        task = asyncio.current_task()
        name = task.get_name() if task else ""
        if name.startswith("validate:"):
            self.slots.setdefault(name.removeprefix("validate:"), seconds)
        await super().sleep(seconds)


async def measure(count: int) -> tuple[list[Figure], ValidationTotals]:
    """Return the figures of one sweep, and its totals from the service."""
    async with broker_process() as broker, benchmark_application(broker) as application:
        accounts = await link_accounts(application, broker, count)
        await application.services.connections.load()
        application.services.connections.start_jobs()
        hanging = {account.user_id for account in Random(3).sample(accounts, round(count * HANGING_SHARE))}
        await _put_faults(broker, [account for account in accounts if account.user_id in hanging])
        clock = SlotClock()
        validations: dict[str, tuple[float, Validation]] = {}
        service = _service(application, clock)
        cpu_began, began = time.process_time(), time.monotonic()
        totals = await service.validate_all_active_users(
            on_progress=lambda validation: validations.__setitem__(
                validation.user_id, (time.monotonic() - began, validation)
            )
        )
        took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
    late = {user_id: at - clock.slots[user_id] - LATENCY_S for user_id, (at, _) in validations.items()}
    healthy = [user_id for user_id in late if user_id not in hanging]
    on_time = [
        user_id
        for user_id in healthy
        if late[user_id] <= ALLOWED_LATE_S and validations[user_id][1].result is ValidationResult.VALID
    ]
    allowed_s = count / SWEEP_PER_SECOND
    figures = [
        Figure(
            "duration of the sweep",
            f"{took_s:.1f} s = {took_s / allowed_s:.2f} x {allowed_s:.1f} s",
            f"<= {LONGEST_FACTOR} x the pacing",
            # In a short sweep the one call's time limit weighs more than all of the pacing.
            is_met=took_s <= LONGEST_FACTOR * allowed_s if count >= TARGET_ACCOUNTS else None,
        ),
        Figure(
            "others on time, valid",
            f"{len(on_time):,} of {count - len(hanging):,}",
            "all",
            is_met=len(on_time) == count - len(hanging),
        ),
        Figure("validation after slot and latency", spread([late[user_id] for user_id in healthy])),
        Figure(
            "validation of the hanging accounts", spread([late[user_id] + LATENCY_S for user_id in hanging])
        ),
        Figure("CPU of the server process", f"{cpu_s:.2f} s, {cpu_s / count * 1000:.2f} ms an account"),
    ]
    return figures, totals


def _service(application: Application, clock: SlotClock) -> TokenValidationService:
    return TokenValidationService(
        replace(application.services.context, clock=clock),
        connections=application.services.connections,
        broker=application.services.broker,
        metrics=application.metrics,
    )


async def _put_faults(broker: BrokerProcess, hanging: list[Account]) -> None:
    await broker.fault({"kind": "latency", "latencyMs": LATENCY_S * 1000})
    await for_each(hanging, lambda account: broker.fault({"kind": "hang", "fyersId": account.fyers_id}))


def main(args: list[str]) -> None:
    """Run the benchmark and print its report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks sweep", description=__doc__)
    parser.add_argument("--accounts", type=int, default=TARGET_ACCOUNTS)
    parser.add_argument(
        "--quick", action="store_true", help="200 accounts; the duration is then not compared"
    )
    chosen = parser.parse_args(args)
    count = 200 if chosen.quick else chosen.accounts
    figures, totals = run(measure(count))
    method = (
        "TokenValidationService, ConnectionService, FyersClient and SQLite against the simulator in another process, which "
        f"waits {LATENCY_S * 1000:.0f} ms with every answer and never answers a tenth of the accounts. The pacing is "
        f"{SWEEP_PER_SECOND:.0f} accounts begun a second; on time means a valid result within the account's own slot, the "
        f"latency and {ALLOWED_LATE_S:.0f} s. Totals: {totals.valid} valid, {totals.invalid} invalid, "
        f"{totals.unverified} unverified, {totals.errors} errors."
    )
    print_report(
        f"sweep: {count:,} accounts, {HANGING_SHARE:.0%} hanging", figures, method, is_quick=chosen.quick
    )


if __name__ == "__main__":
    main([])
