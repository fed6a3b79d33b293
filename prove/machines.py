"""State machines: random events in any order against models of accounts, schedules and login links."""

from prove.named_tests import run_tests
from prove.result import Count, PartResult, Size

WANTED = 5_000
EXAMPLES = {Size.DEFAULT: 50, Size.FULL: WANTED}
STEPS = 50
MACHINES = {
    "accounts": "tests/services/sessions/test_accounts_model.py::TestAccountMachine",
    "schedule": "tests/services/monitoring/test_scheduler.py::TestScheduleAgainstModel",
    "login links": "tests/services/login/test_links_model.py::TestLoginLinksAgainstModel",
}
METHOD = (
    f"Hypothesis runs each machine with random examples of at most {STEPS} steps, chosen by the seed; invariants are "
    "checked after each step. A machine stops at its first failure, so that one failure is counted."
)


def run_part(seed: int, size: Size) -> PartResult:
    """Run all machines with the examples of this size."""
    figures, findings = [], []
    variables = {
        "HULLWATCH_MACHINE_EXAMPLES": str(EXAMPLES[size]),
        "HULLWATCH_MACHINE_STEPS": str(STEPS),
    }
    for name, test in MACHINES.items():
        counts = run_tests((test,), seed=seed, variables=variables)
        figures.append(Count(f"{name}: failures among examples", len(counts.failed), EXAMPLES[size], WANTED))
        findings += [f"seed {seed}: {failed}" for failed in counts.failed]
    return PartResult("machines", seed, size, tuple(figures), METHOD, tuple(findings))
