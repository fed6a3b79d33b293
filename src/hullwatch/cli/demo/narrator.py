"""Prints what happens in the demo, one line each, with the simulated time."""

from collections import Counter
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from hullwatch.cli.demo.users import DemoUser
from hullwatch.cli.demo.webhook_receiver import KINDS
from hullwatch.domain.events import (
    EVERYBODY,
    BrokerOutageChanged,
    CandleClosed,
    ConnectionChanged,
    Event,
    NotificationStored,
    SignalFired,
    WatchStatusChanged,
)
from hullwatch.domain.monitoring.watches import WatchStatus
from hullwatch.domain.notifications.notifications import NotificationKind
from hullwatch.domain.sessions.connection import LoginState, VerificationState
from hullwatch.domain.sessions.tokens import IST
from hullwatch.domain.signals.signals import Direction, Signal
from hullwatch.runtime.broadcast import Broadcast
from hullwatch.runtime.clock import Clock
from hullwatch.services.texts.obstacles import describe_status
from hullwatch.services.texts.times import in_ist

_STYLES = {"good": "green", "bad": "bold red", "warning": "yellow", "note": "dim", "plain": ""}


class Printer:
    """Writes to the terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    def print_event(self, at: datetime, who: str, what: str, style: str = "plain") -> None:
        """Print one line with time and subject."""
        line = Text()
        line.append(f"{at.astimezone(IST):%a %d %b %H:%M:%S} IST  ", style="dim")
        line.append(f"{who:<10}", style="bold")
        line.append(what, style=_STYLES[style])
        self._console.print(line)

    def print_line(self, text: str = "", style: str = "") -> None:
        """Print a line without a time."""
        self._console.print(Text(text, style=style))


class Narrator:
    """Prints the events of the demo's users, and counts their candles and signals."""

    def __init__(self, users: list[DemoUser], printer: Printer, clock: Clock) -> None:
        self._names = {user.id: user.name for user in users}
        self._printer = printer
        self._clock = clock
        self.candles: Counter[str] = Counter()
        self.signals_in_time: Counter[str] = Counter()
        self.late_signals: Counter[str] = Counter()

    def print(self, who: str, what: str, style: str = "plain") -> None:
        """Print one line with the present time."""
        self._printer.print_event(self._clock.now(), who, what, style)

    def print_notice(self, user: DemoUser, notice: dict[str, Any]) -> None:
        """Print a notice that the webhook has received."""
        is_summary = notice["kind"] == NotificationKind.DAILY_SUMMARY.value
        text = f"{notice['title']}: {notice['text']}" if is_summary else notice["title"]
        self.print(
            user.name, f"webhook notice: {text}{' [with login link]' if notice.get('loginUrl') else ''}"
        )

    async def follow(self, hub: Broadcast[Event]) -> None:
        """Print the users' events until cancelled."""
        async with hub.subscribe(*self._names, EVERYBODY) as subscription:
            async for delivery in subscription:
                self._print_event(delivery.message)

    def _print_event(self, event: Event) -> None:
        match event:
            case ConnectionChanged():
                self._print_connection(event)
            case NotificationStored(notification) if notification.kind.value not in KINDS:
                self.print(self._names[notification.user_id], f"notice: {notification.title}", "note")
            case SignalFired(signal):
                self._print_signal(signal)
            case WatchStatusChanged(user_id, status):
                style = "bad" if status is WatchStatus.NO_SESSION else "note"
                self.print(self._names[user_id], describe_status(status), style)
            case CandleClosed(user_id):
                self.candles[user_id] += 1
            case BrokerOutageChanged(is_ongoing=True):
                self.print("Fyers", "refuses many accounts at once; no user is disconnected", "bad")
            case BrokerOutageChanged():
                self.print("Fyers", "accepts all accounts again", "good")
            case _:  # quotes, and notices that the webhook receives
                pass

    def _print_connection(self, event: ConnectionChanged) -> None:
        name, connection = self._names[event.user_id], event.connection
        if event.before is connection.state:
            if connection.verification_state is VerificationState.UNDER_VERIFICATION:
                self.print(name, "Fyers refused a call; verifying the session with further calls", "warning")
            return
        reason = connection.reason.value if connection.reason else ""
        expiry = in_ist(connection.expires_at) if connection.expires_at else "an unknown time"
        match connection.state:
            case LoginState.DISCONNECTED:
                self.print(
                    name, f"disconnected from Fyers ({reason}); the other users are not affected", "bad"
                )
            case LoginState.CONNECTED:
                self.print(name, f"connected to Fyers until {expiry}", "good")
            case LoginState.EXPIRING:
                self.print(name, f"the Fyers session expires soon, at {expiry}", "warning")

    def _print_signal(self, signal: Signal) -> None:
        (self.late_signals if signal.is_late else self.signals_in_time)[signal.user_id] += 1
        is_up = signal.direction is Direction.UP
        text = (
            f"{'▲' if is_up else '▼'} {signal.symbol.name} closed {'above' if is_up else 'below'} its "
            f"HMA({signal.period}) at {signal.candle_closed_at.astimezone(IST):%H:%M}: "
            f"{signal.close:,.2f} against {signal.hma:,.2f}"
        )
        if signal.is_late:
            self.print(self._names[signal.user_id], f"{text} (late: found after the login)", "warning")
        else:
            self.print(self._names[signal.user_id], text, "good" if is_up else "plain")
