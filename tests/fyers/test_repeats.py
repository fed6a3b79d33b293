"""How many calls are made again; `hullwatch.fyers.calls`."""

from fyers.conftest import make_credential
from fyers.scripted import ScriptedReply
from hullwatch.fyers.calls import RETRIES_PER_CALL, RETRY_RESERVE, RetryBudget


def test_a_tenth_of_all_calls_may_be_retried():
    """A burst is repeated from the reserve; after that, one repeat for every ten calls."""
    repeats = RetryBudget()
    while repeats.spend():
        pass

    repeated = 0
    for _ in range(100):
        repeats.earn()
        repeated += repeats.spend()

    assert abs(repeated - 100 * RETRIES_PER_CALL) <= 1


def test_the_reserve_does_not_grow_without_end():
    """However long all went well, no more than the reserve can be repeated at once."""
    repeats = RetryBudget()
    for _ in range(10_000):
        repeats.earn()

    assert sum(repeats.spend() for _ in range(1000)) == RETRY_RESERVE


async def test_when_all_calls_fail_few_are_made_again(server, client):
    """A hundred accounts that are answered with an outage make little more than a hundred calls."""
    server.always("/api/v3/funds", ScriptedReply(502, body="<html>Bad gateway</html>"))

    for number in range(100):
        await client.check_trading(make_credential(f"user{number}", f"XU{number:05}"))

    assert 100 < len(server.received) <= 100 + RETRY_RESERVE + 100 * RETRIES_PER_CALL
