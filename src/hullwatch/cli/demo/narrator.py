"""Listens to what happens in the house and says it as lines of the story."""

from collections import Counter
from datetime import datetime

from hullwatch.cli.demo.teller import Teller
from hullwatch.cli.demo.users import Player
from hullwatch.cli.demo.webhook_receiver import KINDS, Message
from hullwatch.domain.events import (
    BrokerOutageChanged,
    CandleClosed,
    ConnectionChanged,
    Event,
    NotificationStored,
    SignalFired,
    WatchStatusChanged,
)
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.sessions.connection import LoginState, VerificationState
from hullwatch.domain.sessions.tokens import IST
from hullwatch.domain.signals.signals import Direction, Signal
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.services.sessions.mass_refusal import EVERYBODY
from hullwatch.services.texts.notices import describe_status, in_ist


class Narrator:
    """Turns events into lines and counts what it has heard."""

    def __init__(self, players: list[Player], teller: Teller, clock: Clock) -> None:
        self._names = {player.user_id: player.name for player in players}
        self._teller = teller
        self._clock = clock
        self.candles: Counter[str] = Counter()
        self.fresh_signals: Counter[str] = Counter()
        self.late_signals: Counter[str] = Counter()

    async def listen(self, hub: Broadcast[Event]) -> None:
        """Tell everything that reaches the users, until cancelled."""
        async with hub.subscribe(*self._names, EVERYBODY) as subscription:
            async for delivery in subscription:
                self._hear(delivery.message)

    def _hear(self, event: Event) -> None:
        match event:
            case ConnectionChanged():
                self._connection(event)
            case NotificationStored(notification):
                if (
                    notification.kind.value not in KINDS
                ):  # those that a phone gets are told when they arrive there
                    self._say(notification.user_id, f"notice: {notification.title}", "note")
            case SignalFired(signal):
                self._signal(signal)
            case WatchStatusChanged(user_id, status):
                style = "bad" if status is WatchStatus.NO_SESSION else "note"
                self._say(user_id, describe_status(status), style)
            case CandleClosed(user_id):
                self.candles[user_id] += 1
            case BrokerOutageChanged(is_ongoing):
                text = (
                    "Fyers refuses many logins at once: nobody is logged out, it is asked slowly"
                    if is_ongoing
                    else "Fyers recovered"
                )
                self._teller.tell(self._clock.now(), "Fyers", text, "bad" if is_ongoing else "good")
            case _:
                pass  # quotes are for eyes on a page, not for a story

    def hear_phone(self, player: Player, message: Message) -> None:
        """Tell what has arrived on somebody's phone."""
        link = " [Log in to Fyers]" if message.login_url else ""
        text = message.title if message.kind != "daily_summary" else f"{message.title}: {message.text}"
        self._teller.tell(self._clock.now(), player.name, f"on the phone: {text}{link}", "note")

    def _connection(self, event: ConnectionChanged) -> None:
        connection = event.connection
        if event.before is connection.state:
            if connection.verification_state is VerificationState.UNDER_VERIFICATION:
                self._say(
                    event.user_id,
                    "Fyers refused a call; its other services are asked before that is believed",
                    "late",
                )
            return
        if connection.state is LoginState.DISCONNECTED and connection.reason is not None:
            self._say(
                event.user_id, f"DISCONNECTED ({connection.reason.value}); everybody else goes on", "bad"
            )
        elif connection.state is LoginState.CONNECTED and connection.expires_at is not None:
            self._say(
                event.user_id,
                f"connected to Fyers until {in_ist(connection.expires_at)} at the latest",
                "good",
            )
        elif connection.state is LoginState.EXPIRING and connection.expires_at is not None:
            self._say(event.user_id, f"session ends soon, at {in_ist(connection.expires_at)}", "late")

    def _signal(self, signal: Signal) -> None:
        (self.late_signals if signal.is_late else self.fresh_signals)[signal.user_id] += 1
        arrow, side = ("▲", "above") if signal.direction is Direction.UP else ("▼", "below")
        closed_at = signal.candle_closed_at.astimezone(IST)
        what = (
            f"{arrow} {signal.symbol.name} closed {side} its HMA({signal.period}) at {closed_at:%H:%M}: "
            f"{signal.close:,.2f} against {signal.hma:,.2f}"
        )
        if signal.is_late:
            self._say(signal.user_id, f"{what} — LATE, found while catching up", "late")
        else:
            self._say(signal.user_id, what, "good" if signal.direction is Direction.UP else "plain")

    def _say(self, user_id: str, what: str, style: str = "plain") -> None:
        self._teller.tell(self._clock.now(), self._names[user_id], what, style)

    def tell(self, who: str, what: str, style: str = "plain", *, at: datetime | None = None) -> None:
        """Say a line of the play's own."""
        self._teller.tell(at or self._clock.now(), who, what, style)
