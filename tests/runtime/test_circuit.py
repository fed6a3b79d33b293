import asyncio
from random import Random

import pytest
from fakes.clock import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from hullwatch.runtime.backoff import Backoff
from hullwatch.runtime.circuit import Circuit, CircuitState, Permit

COOL_DOWN = Backoff(first_s=10, factor=2, max_s=40, jitter=0)


@pytest.fixture
def clock():
    """Return a clock that only the test advances."""
    return FakeClock()


@pytest.fixture
def circuit(clock):
    """Return a circuit that opens after three failures from two sources."""
    return Circuit(clock, opens_after=3, min_sources=2, cool_down=COOL_DOWN, random=Random(1))


def open_circuit(circuit):
    """Report enough failures from enough sources."""
    for source in ("a", "a", "b"):
        circuit.failed(source)


def test_it_opens_after_enough_failures_in_a_row(circuit, clock):
    """The report says since when it is open and for how long."""
    circuit.failed("a")
    circuit.failed("a")
    assert circuit.permit() is Permit.ALLOWED

    circuit.failed("b")

    assert circuit.state is CircuitState.OPEN
    assert circuit.permit() is Permit.REFUSED
    assert circuit.opened_at == clock.now()
    assert circuit.retry_after_s == 10


def test_one_source_alone_does_not_open_it(circuit):
    """The failures of one account must not stop the others."""
    for _ in range(50):
        circuit.failed("a")

    assert circuit.permit() is Permit.ALLOWED
    assert circuit.retry_after_s == 0


def test_a_success_resets_the_count(circuit):
    """Only failures in a row are a sign of an outage."""
    circuit.failed("a")
    circuit.failed("b")
    circuit.succeeded()
    circuit.failed("a")
    circuit.failed("b")

    assert circuit.state is CircuitState.CLOSED


async def test_after_the_cool_down_one_call_is_the_probe(circuit, clock):
    """All other calls are still refused, so that a weak service is not overrun."""
    open_circuit(circuit)
    await clock.advance(10)

    permits = [circuit.permit() for _ in range(20)]

    assert permits == [Permit.PROBE] + [Permit.REFUSED] * 19
    assert circuit.state is CircuitState.HALF_OPEN
    assert circuit.retry_after_s > 0


async def test_a_successful_probe_closes_it(circuit, clock):
    """All calls are allowed again and the outage has no start any more."""
    open_circuit(circuit)
    await clock.advance(10)
    circuit.permit()

    circuit.succeeded(Permit.PROBE)

    assert circuit.permit() is Permit.ALLOWED
    assert circuit.opened_at is None


async def test_a_failed_probe_lengthens_the_cool_down(circuit, clock):
    """The outage keeps its start."""
    open_circuit(circuit)
    opened_at = circuit.opened_at
    await clock.advance(10)
    circuit.permit()

    circuit.failed("c", Permit.PROBE)

    assert circuit.retry_after_s == 20
    assert circuit.opened_at == opened_at


async def test_an_abandoned_probe_is_replaced_at_once(circuit, clock):
    """A cancelled call proves nothing about the service."""
    open_circuit(circuit)
    await clock.advance(10)
    circuit.permit()

    circuit.abandoned()

    assert circuit.permit() is Permit.PROBE


async def test_a_call_from_before_is_not_taken_for_the_probe(circuit, clock):
    """Calls that began before the opening change nothing while the probe is under way."""
    open_circuit(circuit)
    await clock.advance(10)
    circuit.permit()

    circuit.failed("d", Permit.ALLOWED)
    circuit.succeeded(Permit.ALLOWED)
    circuit.abandoned(Permit.ALLOWED)

    assert circuit.state is CircuitState.HALF_OPEN
    assert circuit.permit() is Permit.REFUSED


async def test_late_failures_do_not_prolong_the_cool_down(circuit, clock):
    """Calls that fail while it is open began before it opened."""
    open_circuit(circuit)
    await clock.advance(6)

    circuit.failed("a", Permit.ALLOWED)

    assert circuit.retry_after_s == 4


async def test_many_failures_in_a_short_time_do_not_open_it(clock):
    """With `min_row_s`, a burst of failures by chance is not taken for an outage."""
    circuit = Circuit(
        clock, opens_after=3, min_sources=2, min_row_s=10, cool_down=COOL_DOWN, random=Random(1)
    )
    for _ in range(20):
        open_circuit(circuit)
        await clock.advance(1)
        circuit.succeeded()
    assert circuit.state is CircuitState.CLOSED

    open_circuit(circuit)
    await clock.advance(9)
    open_circuit(circuit)
    assert circuit.permit() is Permit.ALLOWED

    await clock.advance(1)
    circuit.failed("c")

    assert circuit.state is CircuitState.OPEN


@pytest.mark.parametrize("wrong", [{"opens_after": 0}, {"opens_after": 1, "min_sources": 0}])
def test_a_circuit_without_failures_is_refused(clock, wrong):
    """At least one failure from one source is needed."""
    with pytest.raises(ValueError, match="at least one failure"):
        Circuit(clock, cool_down=COOL_DOWN, random=Random(1), **wrong)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "succeed", "fail", "abandon", "wait"]),
            st.integers(0, 3),
            st.integers(0, 50),
        ),
        max_size=60,
    )
)
def test_there_is_at_most_one_probe(steps):
    """This holds for any order of calls and results, and a successful probe closes the circuit."""

    async def play():
        clock = FakeClock()
        clock.settle = lambda: asyncio.sleep(0)
        circuit = Circuit(clock, opens_after=2, cool_down=COOL_DOWN, random=Random(1))
        out: list[Permit] = []
        for step, pick, seconds in steps:
            if step == "wait":
                await clock.advance(seconds)
            elif step == "ask":
                permit = circuit.permit()
                if permit is not Permit.REFUSED:
                    out.append(permit)
            elif out:
                permit = out.pop(pick % len(out))
                if step == "succeed":
                    circuit.succeeded(permit)
                    assert permit is Permit.ALLOWED or circuit.state is CircuitState.CLOSED
                elif step == "fail":
                    circuit.failed(pick, permit)
                else:
                    circuit.abandoned(permit)
            assert out.count(Permit.PROBE) <= 1
            assert (circuit.state is CircuitState.HALF_OPEN) == (Permit.PROBE in out)
            assert (circuit.opened_at is None) == (circuit.state is CircuitState.CLOSED)

    asyncio.run(play())
