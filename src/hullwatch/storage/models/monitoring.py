"""Tables of watchlists and signals."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hullwatch.domain.market.instruments import Resolution, Symbol
from hullwatch.domain.monitoring.obstacles import Obstacle
from hullwatch.domain.signals.hma import MAX_PERIOD, MIN_PERIOD
from hullwatch.domain.signals.signals import Direction, HistoryChange, Rule
from hullwatch.storage.columns import (
    ObstacleText,
    PlainText,
    ResolutionText,
    SymbolText,
    UtcMoment,
    word_of,
)
from hullwatch.storage.models.base import LONGEST_ID, Base, owner


class WatchRow(Base):
    """One line of a watchlist."""

    __tablename__ = "watches"
    __table_args__ = (
        UniqueConstraint("user_id", "symbol", "resolution", "period", "rule"),
        CheckConstraint(f"period BETWEEN {MIN_PERIOD} AND {MAX_PERIOD}", name="period"),
    )

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner())
    symbol: Mapped[Symbol] = mapped_column(SymbolText)
    resolution: Mapped[Resolution] = mapped_column(ResolutionText)
    period: Mapped[int]
    rule: Mapped[Rule] = mapped_column(word_of(Rule, "rule"))
    created_at: Mapped[datetime] = mapped_column(UtcMoment)
    evaluated_through: Mapped[datetime] = mapped_column(UtcMoment)
    signals_from: Mapped[datetime] = mapped_column(UtcMoment)


class MonitoringWishRow(Base):
    """Whether a user wants monitoring."""

    __tablename__ = "monitoring_wishes"

    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner(), primary_key=True)
    is_wanted: Mapped[bool]
    changed_at: Mapped[datetime] = mapped_column(UtcMoment)


class SignalRow(Base):
    """A signal. It has no foreign key to its watch, because it stays when the watch is removed."""

    __tablename__ = "signals"
    __table_args__ = (
        Index(None, "user_id", "candle_opened_at"),
        CheckConstraint("candle_closed_at > candle_opened_at", name="candle"),
    )

    watch_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    candle_opened_at: Mapped[datetime] = mapped_column(UtcMoment, primary_key=True)
    rule: Mapped[Rule] = mapped_column(word_of(Rule, "rule"), primary_key=True)
    resolution: Mapped[Resolution] = mapped_column(ResolutionText, primary_key=True)
    """Part of the key, because candles of two resolutions can open at the same moment."""
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner())
    symbol: Mapped[Symbol] = mapped_column(SymbolText)
    period: Mapped[int]
    direction: Mapped[Direction] = mapped_column(word_of(Direction, "direction"))
    candle_closed_at: Mapped[datetime] = mapped_column(UtcMoment)
    close: Mapped[float]
    hma: Mapped[float]
    detected_at: Mapped[datetime] = mapped_column(UtcMoment)
    is_late: Mapped[bool]
    revision: Mapped[int]
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcMoment)
    withdrawn_reason: Mapped[HistoryChange | None] = mapped_column(word_of(HistoryChange, "withdrawn_reason"))
    history_changed_at: Mapped[datetime | None] = mapped_column(UtcMoment)


class SymbolOutageRow(Base):
    """A time in which one symbol, or the data of a whole account, was not monitored."""

    __tablename__ = "symbol_outages"
    __table_args__ = (Index(None, "user_id", "began_at"),)

    id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(PlainText(LONGEST_ID), owner())
    symbol: Mapped[Symbol | None] = mapped_column(SymbolText)
    obstacle: Mapped[Obstacle] = mapped_column(ObstacleText)
    """Without a list of allowed words, because obstacles are added without a migration."""
    began_at: Mapped[datetime] = mapped_column(UtcMoment)
    ended_at: Mapped[datetime | None] = mapped_column(UtcMoment)
    notified_at: Mapped[datetime | None] = mapped_column(UtcMoment)
