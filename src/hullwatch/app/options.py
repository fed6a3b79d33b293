"""The settings of the services, as plain values with the defaults of `hullwatch.settings`."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from hullwatch.domain.readiness.check_times import CheckTimes, read_check_times
from hullwatch.services.readiness.check import warming_at_once
from hullwatch.settings import Settings

_DEFAULT_TIMES = read_check_times("08:30,08:45,09:00")


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """The settings that the services use."""

    public_url: str = "http://127.0.0.1:8000"
    login_link_lifetime: timedelta = timedelta(minutes=60)
    monitor_interval_s: float = 5.0
    candle_settle_s: float = 3.0
    validation_interval_s: float = 1800.0
    validation_cache_s: float = 300.0
    readiness_times: CheckTimes = _DEFAULT_TIMES
    calls_per_second_total: float = 500.0
    """To Fyers, for all accounts together."""
    warming_at_once: int = 50
    """Accounts whose history a readiness check loads at the same time."""
    offers_renewal: bool = False
    sign_out_timeout_s: float = 3.0
    """How long a user who disconnects waits for Fyers' sign-out."""
    ping_s: float = 60.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the options for these settings."""
        return cls(
            public_url=settings.public_url,
            login_link_lifetime=timedelta(minutes=settings.login_link_minutes),
            monitor_interval_s=settings.monitor_interval_seconds,
            candle_settle_s=settings.candle_settle_seconds,
            validation_interval_s=settings.validation_interval_minutes * 60,
            validation_cache_s=settings.validation_cache_seconds,
            readiness_times=read_check_times(settings.readiness_times),
            calls_per_second_total=settings.fyers_calls_per_second_total,
            warming_at_once=warming_at_once(
                calls_per_second=settings.fyers_calls_per_second,
                calls_per_second_total=settings.fyers_calls_per_second_total,
            ),
            offers_renewal=settings.fyers_refresh,
            ping_s=settings.ping_seconds,
        )
