"""Tests the texts about why an account is not monitored."""

import pytest

from hullwatch.domain.monitoring.coverage import BlindReason
from hullwatch.domain.monitoring.obstacles import FOR_USER, Obstacle
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.services.texts.obstacles import (
    OBSTACLE_TEXTS,
    candles_needed,
    describe_blindness,
    describe_obstacle,
    describe_status,
)


def test_every_obstacle_has_texts_of_its_own() -> None:
    """Two obstacles with one text would be one obstacle."""
    assert set(OBSTACLE_TEXTS) == set(Obstacle)
    assert len({text.because for text in OBSTACLE_TEXTS.values()}) == len(Obstacle)


@pytest.mark.parametrize("obstacle", Obstacle)
def test_every_text_is_whole_sentences(obstacle: Obstacle) -> None:
    """The clause fits after *because*, and no placeholder is left."""
    text = OBSTACLE_TEXTS[obstacle].fill(at="at 09:15 IST", when="now", symbols="NSE:SBIN-EQ")

    assert not text.because.endswith(".")
    assert text.because[0].islower() or text.because.startswith("Fyers")
    for sentence in (
        text.sentence,
        text.past_sentence,
        text.action,
        describe_obstacle(obstacle, symbols="X"),
    ):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert not set("{}") & set(sentence)


@pytest.mark.parametrize("obstacle", sorted(set(Obstacle) - FOR_USER - {Obstacle.MARKET_CLOSED}))
def test_a_user_who_cannot_act_reads_that(obstacle: Obstacle) -> None:
    """Without this text the user would search for a setting."""
    assert OBSTACLE_TEXTS[obstacle].action.startswith("You do not need to do anything")


def test_every_status_and_blind_reason_has_its_sentence() -> None:
    """Only the status of a watched account has no obstacle."""
    statuses = [describe_status(status) for status in WatchStatus]
    assert len(set(statuses)) == len(WatchStatus)
    assert describe_status(WatchStatus.WATCHING) == "Your watchlist is being watched."
    assert describe_status(WatchStatus.NOT_WANTED).startswith("Monitoring is off.")

    assert len({describe_blindness(reason) for reason in BlindReason}) == len(BlindReason)
    assert describe_blindness(BlindReason.NO_SESSION) == "There was no Fyers session."


def test_missing_candles_are_counted() -> None:
    """The singular and the plural have different words."""
    assert candles_needed(1, 55) == "HMA(55) needs 1 more closed candle."
    assert candles_needed(61, 55) == "HMA(55) needs 61 more closed candles."
