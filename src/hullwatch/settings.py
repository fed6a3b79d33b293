"""Settings from the environment or a ``.env`` file, as one frozen, typed object."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, quote, urlsplit

from pydantic import AliasChoices, AnyUrl, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hullwatch.domain.failures import InvalidInput
from hullwatch.domain.market.instruments import Resolution
from hullwatch.domain.readiness.check_times import read_check_times

PREFIX = "HULLWATCH_"
_REDIS_TLS_OPTIONS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
_FYERS_MOST = {"fyers_calls_per_second": 10, "fyers_calls_per_minute": 600, "fyers_calls_per_day": 200_000}
"""Limits of Fyers per user and app, with the Prime plan's for minute and day (support pages, read 2026-07)."""

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?")
_SENDER = re.compile(r"[!-;=?A-~]{1,64}@[A-Za-z0-9.-]{1,190}")

PositiveInt = Annotated[int, Field(gt=0, le=10_000_000)]


class SettingsRefused(Exception):  # noqa: N818 - its text is shown to the operator as it is
    """A setting cannot be used; the text is one sentence that names it and never quotes a secret."""


class Settings(BaseSettings):
    """Everything an operator can set. Every setting has a default that works."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,  # containers often set an empty variable instead of none
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path = Path("./hullwatch-data")
    database_url: SecretStr = SecretStr("")
    redis_url: SecretStr = SecretStr("")
    encryption_keys: SecretStr = SecretStr("")
    public_url: str = "http://127.0.0.1:8000"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    metrics_address: str = ""
    """``host:port`` to serve ``/metrics`` on instead of the main address."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    fyers_app_id: str = Field("", validation_alias=AliasChoices("FYERS_APP_ID", "HULLWATCH_FYERS_APP_ID"))
    fyers_secret_key: SecretStr = Field(
        SecretStr(""), validation_alias=AliasChoices("FYERS_SECRET_KEY", "HULLWATCH_FYERS_SECRET_KEY")
    )
    fyers_redirect_uri: str = Field(
        "", validation_alias=AliasChoices("FYERS_REDIRECT_URI", "HULLWATCH_FYERS_REDIRECT_URI")
    )
    fyers_base_url: str = "https://api-t1.fyers.in/api/v3"
    fyers_data_url: str = "https://api-t1.fyers.in/data"
    fyers_stream_url: str = "wss://socket.fyers.in/hsm/v1-5/prod"
    """Checked but not used yet: the server polls quotes and does not stream."""
    fyers_public_url: str = "https://public.fyers.in"
    fyers_calls_per_second: PositiveInt = 8
    fyers_calls_per_minute: PositiveInt = 170
    fyers_calls_per_day: PositiveInt = 90_000
    fyers_calls_per_second_total: PositiveInt = 500
    fyers_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10
    fyers_connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 3
    clock_url: str = ""
    """The clock of a simulator, which the server follows; empty: this machine's time."""

    trusted_proxies: str = "127.0.0.1,::1"
    """Addresses and networks of proxies, whose `X-Forwarded-For` names the client; empty: no header counts."""
    registration: Literal["", "open", "invite", "closed"] = ""
    """Empty: open while only this machine can reach the server, otherwise by invitation."""
    validation_interval_minutes: Annotated[float, Field(gt=0, le=1440)] = 30
    validation_cache_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    dashboard_check_minutes: Annotated[float, Field(gt=0, le=1440)] = 15
    monitor_interval_seconds: Annotated[float, Field(ge=1, le=3600)] = 5
    candle_settle_seconds: Annotated[float, Field(ge=1, le=60)] = 3
    """Between a candle's close and the second, equal reading that its signal waits for."""
    readiness_times: str = "08:30,08:45,09:00"
    """Times of the readiness checks, IST, for a market open at 09:15. They move with another market open."""
    calendar_file: Path | None = None
    """Additional trading days, such as a year that the exchange has just published; read at start."""
    login_link_minutes: Annotated[float, Field(ge=5, le=1440)] = 60
    fyers_refresh: bool = False
    """Whether users may let hullwatch renew their sessions with refresh token and PIN."""

    smtp_host: str = ""
    """Empty: no e-mail is sent."""
    smtp_port: Annotated[int, Field(gt=0, le=65535)] = 587
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_from: str = ""
    notify_private_addresses: bool = False
    """Whether notices may be sent to private networks, which users then can reach through this server."""
    ping_url: SecretStr = SecretStr("")
    """The heartbeat ping, called every `ping_seconds` while monitoring works."""
    ping_seconds: Annotated[float, Field(ge=10, le=3600)] = 60

    hma_period: Annotated[int, Field(ge=2, le=1000)] = 55
    hma_resolution: str = "5"

    @model_validator(mode="before")
    @classmethod
    def _complete_simulator(cls, data: Any) -> Any:
        """Use a simulator for all services if market data come from one: it has them at one address."""
        if not isinstance(data, dict) or not isinstance(data.get("fyers_data_url"), str):
            return data
        try:
            url = urlsplit(data["fyers_data_url"])
            is_simulator = url.scheme in ("http", "https") and _is_loopback(url.hostname or "")
        except ValueError:
            return data  # its own check refuses it
        if not is_simulator:
            return data
        services = {
            "fyers_public_url": f"{url.scheme}://{url.netloc}",
            "fyers_stream_url": f"{url.scheme.replace('http', 'ws')}://{url.netloc}/hsm/v1-5/prod",
        }
        return {**services, **data}

    @field_validator("public_url", "fyers_base_url", "fyers_data_url", "fyers_public_url")
    @classmethod
    def _is_http(cls, text: str) -> str:
        return _http_address(text)

    @field_validator("clock_url")
    @classmethod
    def _is_clock(cls, text: str) -> str:
        return _http_address(text) if text else text

    @field_validator("ping_url")
    @classmethod
    def _is_ping(cls, address: SecretStr) -> SecretStr:
        text = address.get_secret_value()
        if text:
            try:
                url = urlsplit(text)
                is_http = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
            except ValueError:
                is_http = False
            if not is_http or not text.isprintable() or " " in text:
                raise ValueError("it must be a full http or https address")
        return address

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, address: SecretStr) -> SecretStr:
        text = address.get_secret_value()
        if text and not _is_redis_address(text):
            raise ValueError(
                "it must be redis://host:port/number, rediss:// for TLS, or unix:///path, "
                "with no other options than db and those of TLS"
            )
        return address

    @field_validator("data_dir", "calendar_file")
    @classmethod
    def _is_text(cls, path: Path) -> Path:
        if not str(path).isprintable():
            raise ValueError("it must be a path of printable characters")
        return path

    @field_validator("fyers_stream_url")
    @classmethod
    def _is_websocket(cls, text: str) -> str:
        url = AnyUrl(text)
        if url.scheme != "wss" and not (url.scheme == "ws" and _is_loopback(url.host or "")):
            raise ValueError(
                "it must be a wss address, or a ws address of this machine: access tokens are sent to it"
            )
        return text

    @field_validator("hma_resolution")
    @classmethod
    def _is_resolution(cls, text: str) -> str:
        try:
            return Resolution.parse(text).code
        except InvalidInput as refusal:
            raise ValueError(str(refusal).removesuffix(".")) from None

    @field_validator("readiness_times")
    @classmethod
    def _are_check_times(cls, text: str) -> str:
        try:
            read_check_times(text)
        except InvalidInput as refusal:
            raise ValueError(str(refusal).removesuffix(".")) from None
        return text

    @field_validator("metrics_address")
    @classmethod
    def _is_address(cls, text: str) -> str:
        if text and read_address(text) is None:
            raise ValueError("it must be host:port, such as 127.0.0.1:9100")
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _are_proxies(cls, text: str) -> str:
        for entry in _entries(text):
            try:
                ip_network(entry)
            except ValueError:
                raise ValueError(
                    f"must be addresses and networks with commas between them, such as 10.0.0.5,172.16.0.0/12; {entry!r} is none"
                ) from None
        return text

    @field_validator("smtp_host")
    @classmethod
    def _is_host(cls, text: str) -> str:
        if text and not _HOST.fullmatch(text):
            raise ValueError("it must be a host's name or address, such as smtp.example.com")
        return text

    @field_validator("smtp_from")
    @classmethod
    def _is_sender(cls, text: str) -> str:
        if text and not _SENDER.fullmatch(text):
            raise ValueError("it must be an e-mail address, such as hullwatch@example.com")
        return text

    @model_validator(mode="after")
    def _check_mail(self) -> Self:
        has_password = bool(self.smtp_password.get_secret_value())
        if self.smtp_host and not self.smtp_from:
            raise _UnsafeSettingError(
                "smtp_from", "must be the sender's address, because HULLWATCH_SMTP_HOST is set"
            )
        if bool(self.smtp_user) != has_password:
            raise _UnsafeSettingError("smtp_user", "needs HULLWATCH_SMTP_PASSWORD: set both or neither")
        if self.smtp_host and self.smtp_security == "none":
            if has_password and not _is_loopback(self.smtp_host):
                raise _UnsafeSettingError(
                    "smtp_security", "must be starttls or tls: without encryption the password could be read"
                )
            if not _is_near(self.smtp_host):
                raise _UnsafeSettingError(
                    "smtp_security",
                    "may be none only for a mail server on this machine or in a private network: "
                    "notices contain login links",
                )
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("fyers_base_url", "fyers_data_url", "fyers_public_url"):
            url = urlsplit(getattr(self, name))
            if url.scheme == "http" and not _is_loopback(url.hostname or ""):
                raise _UnsafeSettingError(
                    name,
                    "must be https unless it is an address of this machine: access tokens are sent to it",
                )
        for name, most in _FYERS_MOST.items():
            if getattr(self, name) > most:
                raise _UnsafeSettingError(
                    name, f"is above Fyers' own limit of {most}: exceeding it blocks accounts for the day"
                )
        if self.clock_url:
            self._check_clock()
        parts = (self.fyers_app_id, self.fyers_secret_key.get_secret_value(), self.fyers_redirect_uri)
        if any(parts) and not all(parts):
            raise _UnsafeSettingError(
                "fyers_app_id",
                "needs FYERS_SECRET_KEY and FYERS_REDIRECT_URI: set all three or none",
            )
        return self

    def _check_clock(self) -> None:
        if not _is_loopback(urlsplit(self.clock_url).hostname or ""):
            raise _UnsafeSettingError("clock_url", "must be an address of this machine")
        for name in ("fyers_base_url", "fyers_data_url", "fyers_stream_url", "fyers_public_url"):
            if not _is_loopback(urlsplit(getattr(self, name)).hostname or ""):
                raise _UnsafeSettingError(
                    "clock_url",
                    f"is for a simulator on this machine, but HULLWATCH_{name.upper()} is another address",
                )

    def checked_for_serving(self) -> Self:
        """Return these settings if it is safe to serve with them.

        Raises:
            SettingsRefused: It is not.
        """
        if self.is_local:
            return self
        url = urlsplit(self.public_url)
        if url.scheme != "https":
            raise SettingsRefused(
                _sentence(
                    "public_url",
                    "must be the https address that users open, because the server can be reached "
                    "from other machines: over http, logins could be read in the network",
                )
            )
        if self.registration == "open":
            raise SettingsRefused(
                _sentence(
                    "registration",
                    "must not be open on an address that others can reach: use invite, "
                    "and add the first admin with hullwatch users add",
                )
            )
        return self

    @property
    def listens_locally(self) -> bool:
        """Whether the server accepts connections from this machine only; a proxy can pass on those of others."""
        return _is_loopback(self.host)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server. A public address elsewhere means a proxy or a tunnel."""
        return self.listens_locally and _is_loopback(urlsplit(self.public_url).hostname or "")

    @property
    def registration_mode(self) -> str:
        """How users register: ``open``, ``invite`` or ``closed``."""
        return self.registration or ("open" if self.is_local else "invite")

    @property
    def proxies(self) -> tuple[str, ...]:
        """The addresses and networks of trusted proxies."""
        return _entries(self.trusted_proxies)

    @property
    def database(self) -> str:
        """The database's address, by default a SQLite file in the data folder."""
        return (
            self.database_url.get_secret_value()
            or f"sqlite:///{quote(str((self.data_dir / 'hullwatch.db').absolute()))}"
        )


class _UnsafeSettingError(ValueError):
    """A refusal whose text already names the setting."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(_sentence(name, why))


def read_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` come from the command line and take precedence.

    Raises:
        SettingsRefused: One cannot be used.
    """
    try:
        return Settings(**overrides)
    except (OSError, UnicodeDecodeError):
        raise SettingsRefused("The .env file in the working folder cannot be read as UTF-8 text.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=True)[0]
        cause = (first.get("ctx") or {}).get("error")
        if isinstance(cause, _UnsafeSettingError):
            raise SettingsRefused(str(cause)) from None
        name = str(first["loc"][0]) if first["loc"] else "settings"
        why = first["msg"].removeprefix("Value error, ")
        raise SettingsRefused(_sentence(name, f"cannot be used: {why[:1].lower()}{why[1:]}")) from None


def read_address(text: str) -> tuple[str, int] | None:
    """Return host and port of a ``host:port`` text, or nothing if it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65535:
        return None
    return host.strip("[]"), int(port)


def _http_address(text: str) -> str:
    url = AnyUrl(text)
    if url.scheme not in ("http", "https") or url.username or url.password or url.query or url.fragment:
        raise ValueError("it must be an http or https address without user, query or fragment")
    return text.rstrip("/")


def _is_redis_address(text: str) -> bool:
    """Whether this is an address of Redis. Options that change time limits or answers are refused."""
    try:
        url = urlsplit(text)
        options = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        has_target = bool(url.path if url.scheme == "unix" else url.hostname and url.port != 0)
    except ValueError:
        return False
    number = options.pop("db", "0") if url.scheme == "unix" else url.path.strip("/") or options.pop("db", "0")
    if url.scheme == "rediss":
        is_known = options.keys() <= _REDIS_TLS_OPTIONS
        is_known &= options.get("ssl_cert_reqs", "required") in ("none", "optional", "required")
    else:
        is_known = url.scheme in ("redis", "unix") and not options
    return has_target and is_known and not url.fragment and number.isascii() and number.isdigit()


def _sentence(name: str, why: str) -> str:
    upper = name.upper()
    is_unprefixed = upper in ("FYERS_APP_ID", "FYERS_SECRET_KEY", "FYERS_REDIRECT_URI") or upper.startswith(
        PREFIX
    )
    return f"{upper if is_unprefixed else PREFIX + upper} {why}."


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_near(host: str) -> bool:
    """Whether a host is this machine, in a private network, or a name without dots such as a container's."""
    try:
        return _is_loopback(host) or ip_address(host.strip("[]")).is_private
    except ValueError:
        return "." not in host
