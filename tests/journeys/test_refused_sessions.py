"""Sessions that Fyers refuses: really ended, for a moment, or in a form that ends none."""

from datetime import timedelta
from random import Random

import pytest

from hullwatch.domain.sessions.connection import VerificationState
from journeys.browser import Browser
from journeys.environment import Environment, until

SYMBOL = "NSE:SBIN-EQ"
CYCLE_S = 5


async def verified(environment: Environment) -> None:
    """Wait until no session is under verification."""

    async def is_quiet() -> bool:
        connections = environment.application.services.connections.connections()
        return all(one.verification_state is not VerificationState.UNDER_VERIFICATION for one in connections)

    await until(is_quiet, "all verifications")


@pytest.mark.parametrize("seed", [1, 2])
async def test_four_real_ends_raise_no_alarm(environment: Environment, seed: int) -> None:
    """Fyers ends four of eight sessions within a minute; each is found by its next cycle."""
    people = await environment.add_users(8, SYMBOL)
    random = Random(seed)
    cycles = {person: random.randrange(12 // seed) for person in random.sample(people[1:], 4)}
    live, found = list(people), {}

    for cycle in range(12):
        ended = [person for person, at in cycles.items() if at == cycle]
        for person in ended:
            await environment.broker.revoke(person.fyers_id)
            live.remove(person)
        revoked_at = environment.clock.now()
        await environment.step(CYCLE_S, live)
        await verified(environment)
        for person in ended:
            connection = await person.connection()
            assert (connection["state"], connection["reason"]) == ("disconnected", "rejected")
            found[person] = environment.clock.now() - revoked_at

    assert len(found) == 4
    assert max(found.values()) <= timedelta(seconds=CYCLE_S)
    assert [(await person.connection())["state"] for person in live] == ["connected"] * 4
    assert await people[0].notices("broker_outage") == []


async def test_a_hiccup_of_the_login_check_logs_nobody_out(environment: Environment) -> None:
    """Fyers refuses everybody for six seconds, and only one account has a session."""
    [asha] = await environment.add_users(1, SYMBOL)
    await environment.broker.start_fault("auth_error_all")
    await environment.advance(CYCLE_S)
    await until(lambda: _is_under_verification(environment, asha), "the verification")
    await environment.advance(1)
    await environment.broker.end_faults()
    await environment.advance_until_done(until(lambda: _is_verified(asha), "the session is kept"))

    assert await asha.notices() == []


async def _is_under_verification(environment: Environment, person: Browser) -> bool:
    connection = environment.application.services.connections.connection(person.user_id)
    verification = connection.verification_state
    return verification is VerificationState.UNDER_VERIFICATION


async def _is_verified(person: Browser) -> bool:
    return bool((await person.connection())["verified"])


async def _is_held(person: Browser) -> bool:
    return (await person.state())["status"] == "session_held"


async def test_a_session_refused_without_401_is_held(environment: Environment) -> None:
    """After two minutes calls stop except for slow probes; its user is notified of both, once."""
    [asha] = await environment.add_users(1, SYMBOL)
    await environment.broker.start_fault("refusal", status=200)
    for _ in range(26):
        await environment.advance(CYCLE_S)
    await until(lambda: asha.notices("not_ready"), "the notice of the hold")
    await environment.advance_until_done(until(lambda: _is_held(asha), "the status of the hold"))
    [account] = (await asha.get("/api/admin/token-health"))["accounts"]
    assert (account["state"], account["holdReason"]) == ("connected", "unclear_refusal")

    await environment.broker.reset_calls()
    for _ in range(60):
        await environment.advance(30)
    assert 3 <= await environment.broker.total() <= 3 * (1 + 1800 / (0.9 * 180))
    assert (await asha.connection())["state"] == "connected"

    await environment.broker.end_faults()
    await environment.advance_until_done(until(lambda: asha.notices("now_ready"), "the recovery"))
    assert len(await asha.notices("not_ready")) == len(await asha.notices("now_ready")) == 1
