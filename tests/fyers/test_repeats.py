"""The budget of retries."""

from fyers.conftest import make_credential
from fyers.scripted import ScriptedReply
from hullwatch.fyers.calls import RETRIES_PER_CALL, RETRY_RESERVE, RetryBudget


def test_a_tenth_of_all_calls_may_be_retried():
    """A burst uses the reserve first; then each retry needs ten calls."""
    repeats = RetryBudget()
    while repeats.spend():
        pass

    repeated = 0
    for _ in range(100):
        repeats.earn()
        repeated += repeats.spend()

    assert abs(repeated - 100 * RETRIES_PER_CALL) <= 1


def test_the_reserve_does_not_grow_without_end():
    """A long time without failures must not allow a burst of retries."""
    repeats = RetryBudget()
    for _ in range(10_000):
        repeats.earn()

    assert sum(repeats.spend() for _ in range(1000)) == RETRY_RESERVE


async def test_few_calls_are_retried_in_an_outage(server, client):
    """A hundred failing accounts make little more than a hundred calls."""
    server.always("/api/v3/funds", ScriptedReply(502, body="<html>Bad gateway</html>"))

    for number in range(100):
        await client.check_trading(make_credential(f"user{number}", f"XU{number:05}"))

    assert 100 < len(server.received) <= 100 + RETRY_RESERVE + 100 * RETRIES_PER_CALL
