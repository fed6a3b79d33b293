"""The rules between a first refusal and a decision; `hullwatch.domain.sessions.verification`."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hullwatch.domain.failures import (
    Answered,
    BrokerResult,
    BrokerService,
    LoginRefused,
    RateLimited,
    RequestRefused,
    Unavailable,
)
from hullwatch.domain.sessions.connection import Connection, LoginState, VerificationTrigger
from hullwatch.domain.sessions.verification import (
    UNVERIFIED_AFTER,
    ProbeAnswer,
    ProbeConclusion,
    next_probe,
    trigger_of,
)

DATA, TRADING, PROFILE = BrokerService.DATA, BrokerService.TRADING, BrokerService.PROFILE
SERVICES = (PROFILE, TRADING, DATA)
REFUSED, ANSWERED, UNAVAILABLE = ProbeAnswer
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)

all_answers = st.fixed_dictionaries({service: st.sampled_from(ProbeAnswer) for service in SERVICES})


def probe(
    first: BrokerService, answers: dict[BrokerService, ProbeAnswer]
) -> tuple[ProbeConclusion, list[BrokerService]]:
    """Follow the rules to a conclusion and return it with the probed services."""
    seen: dict[BrokerService, ProbeAnswer] = {}
    while not isinstance(step := next_probe(first, seen), ProbeConclusion):
        assert step not in seen
        seen[step] = answers[step]
    return step, list(seen)


@given(st.sampled_from(SERVICES), all_answers)
@settings(deadline=None)
def test_a_conclusion_needs_another_service(
    first: BrokerService, answers: dict[BrokerService, ProbeAnswer]
) -> None:
    """A second service has to refuse, or a service whose answer proves something has to answer."""
    conclusion, probed = probe(first, answers)

    assert probed[0] is not first
    others = [answers[service] for service in probed if service is not first]
    assert (REFUSED in others) is (conclusion is ProbeConclusion.CONFIRMED)
    if conclusion is ProbeConclusion.CLEARED:
        assert any(answers[service] is ANSWERED for service in probed if service is not PROFILE)
    if conclusion is ProbeConclusion.UNDECIDED:
        assert set(probed) >= set(SERVICES) - {first}


@pytest.mark.parametrize("first", [DATA, TRADING])
def test_an_answer_of_the_profile_alone_clears_nothing(first: BrokerService) -> None:
    """A profile that answers while all other services refuse belongs to a session that Fyers ended."""
    answers = dict.fromkeys(SERVICES, REFUSED) | {PROFILE: ANSWERED}

    conclusion, probed = probe(first, answers)

    assert conclusion is ProbeConclusion.CONFIRMED
    assert probed[0] is PROFILE
    assert len(probed) == 2


@pytest.mark.parametrize("first", SERVICES)
def test_an_outage_decides_nothing(first: BrokerService) -> None:
    """Where no service can be reached the session stays under verification."""
    assert probe(first, dict.fromkeys(SERVICES, UNAVAILABLE))[0] is ProbeConclusion.UNDECIDED


@pytest.mark.parametrize(
    ("again", "conclusion"),
    [(ANSWERED, ProbeConclusion.CLEARED), (REFUSED, ProbeConclusion.UNDECIDED)],
)
def test_the_service_that_refused_can_only_clear(again: ProbeAnswer, conclusion: ProbeConclusion) -> None:
    """An app without the permission for the other service is cleared by the first one's own answer."""
    answers = {PROFILE: ANSWERED, TRADING: UNAVAILABLE, DATA: again}

    assert probe(DATA, answers)[0] is conclusion


@pytest.mark.parametrize("first", BrokerService)
def test_every_refusal_has_a_first_probe(first: BrokerService) -> None:
    """Whichever service refused first, another one can be probed."""
    assert next_probe(first, {}) in SERVICES


@pytest.mark.parametrize(
    ("result", "is_validation", "verified_ago", "trigger"),
    [
        (Answered(None), False, None, VerificationTrigger.ANSWERED),
        (LoginRefused(DATA, -15, 401, "/quotes"), False, None, VerificationTrigger.REFUSED),
        (Unavailable(DATA, cause="timeout"), False, timedelta(), None),
        (Unavailable(DATA, cause="timeout"), False, UNVERIFIED_AFTER, None),
        (Unavailable(DATA, cause="timeout"), False, 2 * UNVERIFIED_AFTER, VerificationTrigger.UNAVAILABLE),
        (Unavailable(DATA, cause="timeout"), False, None, VerificationTrigger.UNAVAILABLE),
        (RateLimited(DATA, retry_after_s=1), True, timedelta(), VerificationTrigger.UNAVAILABLE),
        (RequestRefused(DATA, code=-300, http_status=400, message="no"), True, None, None),
    ],
)
def test_a_result_moves_the_verification_state(
    result: BrokerResult[object],
    is_validation: bool,  # noqa: FBT001
    verified_ago: timedelta | None,
    trigger: VerificationTrigger | None,
) -> None:
    """An outage counts at once for a validation, and later for other calls; a bad request says nothing."""
    verified_at = None if verified_ago is None else NOW - verified_ago
    session = Connection("usr_1", LoginState.CONNECTED, last_validated_at=verified_at)

    assert trigger_of(result, session, now=NOW, is_validation=is_validation) is trigger
