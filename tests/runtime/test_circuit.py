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
    """Time under the test's control."""
    return FakeClock()


@pytest.fixture
def circuit(clock):
    """A circuit that opens after three failures from two sources."""
    return Circuit(clock, opens_after=3, min_sources=2, cool_down=COOL_DOWN, random=Random(1))


def open_it(circuit):
    """Fail often enough, from enough sources."""
    for source in ("a", "a", "b"):
        circuit.failed(source)


def test_it_opens_after_enough_failures_in_a_row(circuit, clock):
    """The third failure, the second source among them, opens it and says since when and for how long."""
    circuit.failed("a")
    circuit.failed("a")
    assert circuit.permit() is Permit.ALLOWED

    circuit.failed("b")

    assert circuit.state is CircuitState.OPEN
    assert circuit.permit() is Permit.REFUSED
    assert circuit.opened_at == clock.now()
    assert circuit.retry_after_s == 10


def test_one_source_alone_does_not_open_it(circuit):
    """However often one source fails, the others may go on."""
    for _ in range(50):
        circuit.failed("a")

    assert circuit.permit() is Permit.ALLOWED
    assert circuit.retry_after_s == 0


def test_a_success_in_between_starts_the_count_anew(circuit):
    """Failures count only while nothing succeeds."""
    circuit.failed("a")
    circuit.failed("b")
    circuit.succeeded()
    circuit.failed("a")
    circuit.failed("b")

    assert circuit.state is CircuitState.CLOSED


async def test_after_the_cool_down_one_probe_goes_out(circuit, clock):
    """Of all who ask when the cool-down is over, one may call."""
    open_it(circuit)
    await clock.advance(10)

    permits = [circuit.permit() for _ in range(20)]

    assert permits == [Permit.PROBE] + [Permit.REFUSED] * 19
    assert circuit.state is CircuitState.HALF_OPEN
    assert circuit.retry_after_s > 0


async def test_a_probe_that_succeeds_closes_it(circuit, clock):
    """After a good probe everyone may call again and the outage is over."""
    open_it(circuit)
    await clock.advance(10)
    circuit.permit()

    circuit.succeeded(Permit.PROBE)

    assert circuit.permit() is Permit.ALLOWED
    assert circuit.opened_at is None


async def test_a_probe_that_fails_opens_it_for_longer(circuit, clock):
    """Each failed probe lengthens the cool-down; the outage is still the same one."""
    open_it(circuit)
    opened_at = circuit.opened_at
    await clock.advance(10)
    circuit.permit()

    circuit.failed("c", Permit.PROBE)

    assert circuit.retry_after_s == 20
    assert circuit.opened_at == opened_at


async def test_an_abandoned_probe_lets_the_next_one_out(circuit, clock):
    """A probe that was cancelled is replaced at once."""
    open_it(circuit)
    await clock.advance(10)
    circuit.permit()

    circuit.abandoned()

    assert circuit.permit() is Permit.PROBE


async def test_stragglers_are_not_taken_for_the_probe(circuit, clock):
    """Calls that set out before the opening change nothing while the probe is out."""
    open_it(circuit)
    await clock.advance(10)
    circuit.permit()

    circuit.failed("d", Permit.ALLOWED)
    circuit.succeeded(Permit.ALLOWED)
    circuit.abandoned(Permit.ALLOWED)

    assert circuit.state is CircuitState.HALF_OPEN
    assert circuit.permit() is Permit.REFUSED


async def test_late_failures_do_not_prolong_the_cool_down(circuit, clock):
    """Calls that fail while it is open were under way before; the cool-down goes on as it was."""
    open_it(circuit)
    await clock.advance(6)

    circuit.failed("a", Permit.ALLOWED)

    assert circuit.retry_after_s == 4


async def test_a_row_of_failures_that_came_by_chance_does_not_open_it(clock):
    """Where nothing has to succeed for a while, many failures within less time are not taken for an outage."""
    circuit = Circuit(
        clock, opens_after=3, min_sources=2, min_row_s=10, cool_down=COOL_DOWN, random=Random(1)
    )
    for _ in range(20):
        open_it(circuit)
        await clock.advance(1)
        circuit.succeeded()
    assert circuit.state is CircuitState.CLOSED

    open_it(circuit)
    await clock.advance(9)
    open_it(circuit)
    assert circuit.permit() is Permit.ALLOWED

    await clock.advance(1)
    circuit.failed("c")

    assert circuit.state is CircuitState.OPEN


@pytest.mark.parametrize("wrong", [{"opens_after": 0}, {"opens_after": 1, "min_sources": 0}])
def test_a_circuit_that_opens_by_itself_is_refused(clock, wrong):
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
def test_never_two_probes_and_closed_after_a_probes_success(steps):
    """Under any order of calls and results at most one probe is out, and its success closes the circuit."""

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
