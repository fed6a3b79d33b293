"""Tests that every reason for not monitoring belongs to one obstacle."""

from hullwatch.domain.failures import Outcome
from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.monitoring.obstacles import (
    OF_DISCONNECT,
    OF_OUTCOME,
    OF_SYMBOL_OUTCOME,
    OF_VERIFICATION,
    Obstacle,
)
from hullwatch.domain.monitoring.watches import STATUS_OF, WatchStatus, status_after
from hullwatch.domain.sessions.connection import DisconnectReason, VerificationState
from hullwatch.services.market.hma import STATUS_OF as HMA_STATUS_OF


def test_every_value_of_the_other_enums_has_its_row() -> None:
    """A value without a row would be a state that no page can explain."""
    assert set(OF_DISCONNECT) == set(DisconnectReason)
    assert set(OF_VERIFICATION) == set(VerificationState)
    assert set(OF_OUTCOME) == set(OF_SYMBOL_OUTCOME) == set(Outcome)


def test_every_obstacle_has_a_status() -> None:
    """A status leads to its own obstacle and back."""
    assert set(STATUS_OF) == set(Obstacle)
    for status in set(WatchStatus) - {WatchStatus.WATCHING}:
        assert status.obstacle is not None
        assert STATUS_OF[status.obstacle] is status
    assert WatchStatus.WATCHING.obstacle is None


def test_every_blind_status_is_a_blind_reason_of_the_same_obstacle() -> None:
    """The status log stores statuses, and coverage reads them as reasons."""
    blind = {status.obstacle for status in WatchStatus if status.is_blind}

    assert blind <= {reason.obstacle for reason in BlindReason}


def test_only_an_outcome_about_the_account_changes_its_status() -> None:
    """A symbol that Fyers refuses concerns its own watch alone."""
    assert {outcome for outcome in Outcome if status_after(outcome) is WatchStatus.WATCHING} == {
        Outcome.OK,
        Outcome.NO_DATA,
        Outcome.BAD_REQUEST,
    }
    assert status_after(Outcome.NOT_PERMITTED) is WatchStatus.NOT_PERMITTED
    assert status_after(Outcome.DISCONNECTED) is WatchStatus.NO_SESSION


def test_every_outcome_without_candles_has_an_hma_status() -> None:
    """A reading without a value contains its reason."""
    obstacles = {*OF_OUTCOME.values(), *OF_SYMBOL_OUTCOME.values()} - {None}
    assert obstacles < set(HMA_STATUS_OF)
