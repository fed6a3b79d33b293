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
    UnclearRefusal,
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
REFUSED, UNCLEAR, ANSWERED, UNAVAILABLE = ProbeAnswer
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)

all_answers = st.fixed_dictionaries({service: st.sampled_from(ProbeAnswer) for service in SERVICES})


def probe(
    first: BrokerService, answers: dict[BrokerService, ProbeAnswer], **options
) -> tuple[ProbeConclusion, list[BrokerService]]:
    """Follow the rules to a conclusion and return it with the probed services."""
    seen: dict[BrokerService, ProbeAnswer] = {}
    while not isinstance(step := next_probe(first, seen, **options), ProbeConclusion):
        assert step not in seen
        seen[step] = answers[step]
    return step, list(seen)


@given(st.sampled_from(SERVICES), all_answers)
@settings(deadline=None)
def test_a_conclusion_needs_another_service(
    first: BrokerService, answers: dict[BrokerService, ProbeAnswer]
) -> None:
    """One good answer clears; else two services have to refuse, both with HTTP 401 to disconnect."""
    conclusion, probed = probe(first, answers)

    assert probed[0] is not first
    others = {answers[service] for service in probed if service is not first}
    is_cleared = any(answers[service] is ANSWERED for service in probed if service is not PROFILE)
    assert is_cleared is (conclusion is ProbeConclusion.CLEARED)
    if not is_cleared:
        assert set(probed) >= set(SERVICES) - {first}
        assert (REFUSED in others) is (conclusion is ProbeConclusion.CONFIRMED)
    if conclusion is ProbeConclusion.UNCLEAR:
        assert UNCLEAR in {answers[service] for service in probed}


@pytest.mark.parametrize("first", [DATA, TRADING])
def test_one_good_answer_outweighs_two_refusals(first: BrokerService) -> None:
    """A service that refuses everybody and one false refusal by /profile disconnect nobody."""
    other = TRADING if first is DATA else DATA

    assert probe(first, {PROFILE: REFUSED, first: REFUSED, other: ANSWERED})[0] is ProbeConclusion.CLEARED


def test_a_service_that_refuses_others_falsely_confirms_nothing() -> None:
    """Another service has to take its place."""
    answers = {PROFILE: REFUSED, TRADING: UNAVAILABLE, DATA: REFUSED}
    assert probe(DATA, answers)[0] is ProbeConclusion.CONFIRMED
    assert probe(DATA, answers, unreliable={DATA})[0] is ProbeConclusion.UNDECIDED

    answers[TRADING] = REFUSED
    assert probe(DATA, answers, unreliable={DATA})[0] is ProbeConclusion.CONFIRMED


@pytest.mark.parametrize(
    ("first_answer", "profile", "trading", "conclusion"),
    [
        (UNCLEAR, UNCLEAR, UNCLEAR, ProbeConclusion.UNCLEAR),
        (UNCLEAR, ANSWERED, UNCLEAR, ProbeConclusion.UNCLEAR),
        (REFUSED, UNCLEAR, UNAVAILABLE, ProbeConclusion.UNCLEAR),
        (UNCLEAR, REFUSED, UNAVAILABLE, ProbeConclusion.UNCLEAR),
        (UNCLEAR, REFUSED, REFUSED, ProbeConclusion.CONFIRMED),
        (UNCLEAR, UNCLEAR, ANSWERED, ProbeConclusion.CLEARED),
        (UNCLEAR, ANSWERED, UNAVAILABLE, ProbeConclusion.UNDECIDED),
    ],
)
def test_only_refusals_with_401_confirm(
    first_answer: ProbeAnswer, profile: ProbeAnswer, trading: ProbeAnswer, conclusion: ProbeConclusion
) -> None:
    """Refusals without it hold a session, but never disconnect it."""
    answers = {PROFILE: profile, TRADING: trading, DATA: UNAVAILABLE}

    assert probe(DATA, answers, first_answer=first_answer)[0] is conclusion


@pytest.mark.parametrize("first", [DATA, TRADING])
def test_an_answer_of_the_profile_alone_clears_nothing(first: BrokerService) -> None:
    """A profile that answers while all other services refuse belongs to a session that Fyers ended."""
    answers = dict.fromkeys(SERVICES, REFUSED) | {PROFILE: ANSWERED}

    conclusion, probed = probe(first, answers)

    assert conclusion is ProbeConclusion.CONFIRMED
    assert probed[0] is PROFILE


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
        (UnclearRefusal(DATA, "refused_without_401", 200, code=-16), False, timedelta(), None),
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
