"""The sentences about renewals."""

from hullwatch.domain.renewal.outcomes import FAILED, RenewalOutcome
from hullwatch.services.renewal.texts import failure_sentence


def test_each_failed_renewal_has_its_own_sentence() -> None:
    """Other outcomes add nothing to the notice of a disconnected session."""
    sentences = {failure_sentence(outcome) for outcome in FAILED}

    assert len(sentences) == len(FAILED)
    assert all("renew" in sentence for sentence in sentences)
    assert {failure_sentence(outcome) for outcome in set(RenewalOutcome) - FAILED} == {""}
