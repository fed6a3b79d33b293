"""The size of the state machines; `prove` sets a larger one by environment variables."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES, STEPS = "HULLWATCH_MACHINE_EXAMPLES", "HULLWATCH_MACHINE_STEPS"


def machine_settings(*, examples: int, steps: int) -> settings:
    """Return the settings of a machine, by default with so many examples of at most so many steps."""
    return settings(
        max_examples=int(os.environ.get(EXAMPLES, examples)),
        stateful_step_count=int(os.environ.get(STEPS, steps)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
