"""The ports of `build_services`, all of them fakes in memory on one clock that a test advances."""

from collections.abc import Callable
from itertools import count
from random import Random

import structlog

from fakes.broker import FakeBroker
from fakes.channels import FakeChannels
from fakes.clock import FakeClock
from fakes.hasher import FakeHasher
from fakes.metrics import FakeMetrics
from fakes.store import FakeStore
from hullwatch.app.options import ServiceOptions
from hullwatch.app.resources import Resources
from hullwatch.domain.market.calendar import MarketCalendar
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.supervisor import Supervisor
from hullwatch.services.context import Context
from hullwatch.services.operations.call_counts import CallCounts

QUIET = structlog.wrap_logger(structlog.ReturnLogger(), processors=[], wrapper_class=structlog.BoundLogger)
"""Rendering the tracebacks of intended failures would take most of a test's time."""


def counted_ids() -> Callable[[str], str]:
    """Return a maker of ids that counts: ``usr_1``, ``inc_2``."""
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


def counted_secrets(prefix: str) -> Callable[[], str]:
    """Return a maker of secrets that counts, so that a test can foresee them."""
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers)}"


def fake_resources(
    *,
    clock: FakeClock | None = None,
    store: FakeStore | None = None,
    calendar: MarketCalendar | None = None,
    random: Random | None = None,
    new_id: Callable[[str], str] | None = None,
    new_secret: Callable[[], str] | None = None,
    options: ServiceOptions | None = None,
    supervisor: Supervisor | None = None,
    **ports,
) -> Resources:
    """Return resources made of fakes; each can be given instead, by the name of its field."""
    clock, random = clock or FakeClock(), random or Random(1)
    context = Context(
        store=store or FakeStore(),
        clock=clock,
        calendar=calendar or MarketCalendar(),
        hub=Broadcast(),
        random=random,
        new_id=new_id or counted_ids(),
        new_secret=new_secret or counted_secrets("secret-value-of-the-usual-length"),
    )
    fakes = {
        "broker": FakeBroker(clock),
        "channels": FakeChannels(),
        "hasher": FakeHasher(),
        "metrics": FakeMetrics(),
        "call_counts": CallCounts(clock),
    }
    given = {name: port for name, port in ports.items() if port is not None}
    return Resources(
        context=context,
        options=options or ServiceOptions(),
        supervisor=supervisor or Supervisor(clock, random, QUIET),
        **{**fakes, **given},
    )
