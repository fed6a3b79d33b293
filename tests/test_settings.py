"""Every value of a setting is usable or refused by name, and no secret is quoted."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from hullwatch.settings import Settings, SettingsRefused, read_settings
from hullwatch.storage.address import read_url, sqlite_file

SECRETS = (
    "HULLWATCH_DATABASE_URL",
    "HULLWATCH_REDIS_URL",
    "HULLWATCH_ENCRYPTION_KEYS",
    "FYERS_SECRET_KEY",
    "HULLWATCH_SMTP_PASSWORD",
)
UNPREFIXED = {"fyers_app_id", "fyers_secret_key", "fyers_redirect_uri"}
NAMES = tuple(
    name.upper() if name in UNPREFIXED else f"HULLWATCH_{name.upper()}" for name in Settings.model_fields
)

# What an environment can hold: any text without NUL, undecodable bytes included.
anything = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=60)
bytes_as_text = st.binary(max_size=30).filter(lambda raw: b"\x00" not in raw).map(os.fsdecode)
tricky = st.sampled_from(
    (
        "",
        " ",
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "٣",
        "99999999999999999999999",
        "true",
        "null",
        "[]",
        "{}",
        "http://",
        "http://[",
        "http://[::1",
        "http://user:hunter2@host",
        "https://host:99999",
        "https://host:x",
        "https://ho st/",
        "http://127.0.0.1:8000/",
        "https://example.com/path?query#fragment",
        "ftp://example.com",
        "~",
        "/",
        "a" * 5000,
        "open",
        "OPEN",
        "1D",
        "127.0.0.1:9100",
    )
)
values = st.one_of(anything, bytes_as_text, tricky)
quiet = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without settings, in a folder without a `.env`."""
    for name in os.environ:
        if name.startswith(("HULLWATCH_", "FYERS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def reading(**environment: str) -> Settings | SettingsRefused:
    """Return the settings of this environment, or their refusal. Any other exception fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            found = read_settings()
            found.checked_for_serving()
            str(found.database)
        except SettingsRefused as refusal:
            return refusal
        return found


@quiet
@given(name=st.sampled_from(NAMES), value=values)
@example(name="HULLWATCH_PUBLIC_URL", value="http://[::1")
@example(name="HULLWATCH_FYERS_BASE_URL", value="https://host:99999")
@example(name="HULLWATCH_DATA_DIR", value="~nobody\udcff")
def test_one_setting_is_usable_or_refused_by_name(name: str, value: str) -> None:
    """A refusal has one line and names the setting or one that depends on it."""
    found = reading(**{name: value})

    if isinstance(found, SettingsRefused):
        named = str(found)
        assert (
            name in named
            or (name.startswith("FYERS_") and "FYERS_APP_ID" in named)
            or name == "HULLWATCH_HOST"
        )
        assert named.isprintable()
        assert len(named) < 400


@quiet
@given(environment=st.dictionaries(st.sampled_from(NAMES), values, max_size=6))
def test_settings_together_are_usable_or_refused_by_name(environment: dict[str, str]) -> None:
    """A refusal of a combination names at least one setting."""
    found = reading(**environment)

    if isinstance(found, SettingsRefused):
        assert any(name in str(found) for name in NAMES)


@quiet
@given(
    name=st.sampled_from(SECRETS),
    secret=st.text(string.ascii_letters + string.digits, min_size=4, max_size=40).map("hunter2".__add__),
    other=st.sampled_from(NAMES),
    value=values,
)
def test_no_secret_is_quoted(name: str, secret: str, other: str, value: str) -> None:
    """Neither a refusal nor the text of the settings shows the value of a secret."""
    assume(secret not in value)
    found = reading(**{other: value, name: f"redis://:{secret}@host/0" if "URL" in name else secret})

    assert secret not in str(found)
    assert secret not in repr(found)


@pytest.mark.parametrize("name", ["PUBLIC_URL", "FYERS_BASE_URL", "FYERS_DATA_URL", "FYERS_PUBLIC_URL"])
def test_a_password_in_an_address_is_refused_and_not_quoted(name: str) -> None:
    """Covered: addresses of Fyers and of the server with user and password."""
    found = reading(**{f"HULLWATCH_{name}": "https://user:hunter2secret@example.com"})

    assert isinstance(found, SettingsRefused)
    assert name in str(found)
    assert "hunter2secret" not in str(found)


def test_every_setting_has_a_default() -> None:
    """The defaults are SQLite in the data folder, this machine only and open registration."""
    found = reading()

    assert isinstance(found, Settings)
    assert found.is_local
    assert found.registration_mode == "open"
    assert found.database.endswith("/hullwatch-data/hullwatch.db")


def test_an_empty_variable_leaves_the_default() -> None:
    """An empty host does not mean every address, and an empty folder not the present one."""
    found = reading(**dict.fromkeys(NAMES, ""))

    assert found == reading()


def test_the_environment_overrides_a_dotenv_file(tmp_path: Path) -> None:
    """The command line overrides both."""
    (tmp_path / ".env").write_text("HULLWATCH_PORT=8001\nHULLWATCH_HMA_PERIOD=21\n")

    found = reading(HULLWATCH_PORT="8002")

    assert isinstance(found, Settings)
    assert (found.port, found.hma_period) == (8002, 21)
    assert read_settings(port=8003).port == 8003


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"HULLWATCH_PORT=\xff", b"=\n=\n'", b"HULLWATCH_PORT=many"]
)
def test_a_broken_dotenv_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that cannot be read gives settings or a refusal, not a traceback."""
    (tmp_path / ".env").write_bytes(content)

    assert isinstance(reading(), Settings | SettingsRefused)


def test_a_database_path_may_hold_any_character(tmp_path: Path) -> None:
    """Characters with a meaning in an address are quoted, so that the path is one folder."""
    for name in ("with space", "per%20cent", "question?mark", "hash#mark", "at@colon:x"):
        folder = tmp_path / name

        found = reading(HULLWATCH_DATA_DIR=str(folder))

        assert isinstance(found, Settings)
        assert sqlite_file(read_url(found.database)) == folder / "hullwatch.db"


MAIL = {"HULLWATCH_SMTP_HOST": "smtp.example.com", "HULLWATCH_SMTP_FROM": "hullwatch@example.com"}
LOGIN = {"HULLWATCH_SMTP_USER": "hull", "HULLWATCH_SMTP_PASSWORD": "hunter2"}
PROXIED = {"HULLWATCH_HOST": "127.0.0.1", "HULLWATCH_PUBLIC_URL": "https://w.example"}
UNSAFE = (
    ({"HULLWATCH_HOST": "0.0.0.0"}, "HULLWATCH_PUBLIC_URL"),
    ({"HULLWATCH_HOST": "::"}, "HULLWATCH_PUBLIC_URL"),
    ({"HULLWATCH_HMA_RESOLUTION": "7"}, "HULLWATCH_HMA_RESOLUTION"),
    ({"HULLWATCH_FYERS_STREAM_URL": "ws://socket.fyers.in/hsm"}, "HULLWATCH_FYERS_STREAM_URL"),
    ({"HULLWATCH_DATA_DIR": "data\udcff"}, "HULLWATCH_DATA_DIR"),
    (
        {
            "HULLWATCH_HOST": "0.0.0.0",
            "HULLWATCH_PUBLIC_URL": "https://w.example",
            "HULLWATCH_REGISTRATION": "open",
        },
        "HULLWATCH_REGISTRATION",
    ),
    ({"HULLWATCH_PUBLIC_URL": "http://w.example"}, "HULLWATCH_PUBLIC_URL"),
    ({**PROXIED, "HULLWATCH_REGISTRATION": "open"}, "HULLWATCH_REGISTRATION"),
    ({"HULLWATCH_FYERS_BASE_URL": "http://api-t1.fyers.in/api/v3"}, "HULLWATCH_FYERS_BASE_URL"),
    ({"HULLWATCH_FYERS_CALLS_PER_SECOND": "11"}, "HULLWATCH_FYERS_CALLS_PER_SECOND"),
    ({"FYERS_APP_ID": "ABCD1234XY-100"}, "FYERS_APP_ID"),
    ({"HULLWATCH_SMTP_HOST": "smtp.example.com"}, "HULLWATCH_SMTP_FROM"),
    ({"HULLWATCH_SMTP_FROM": "h@h.in\r\nBcc: a@b.in"}, "HULLWATCH_SMTP_FROM"),
    ({"HULLWATCH_SMTP_USER": "hull"}, "HULLWATCH_SMTP_USER"),
    ({**MAIL, "HULLWATCH_SMTP_SECURITY": "none"}, "HULLWATCH_SMTP_SECURITY"),
    (
        {**MAIL, "HULLWATCH_SMTP_HOST": "10.0.0.5", "HULLWATCH_SMTP_SECURITY": "none", **LOGIN},
        "HULLWATCH_SMTP_SECURITY",
    ),
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        LOGIN,
        {"HULLWATCH_SMTP_SECURITY": "tls", **LOGIN},
        {"HULLWATCH_SMTP_HOST": "127.0.0.1", "HULLWATCH_SMTP_SECURITY": "none", **LOGIN},
        {"HULLWATCH_SMTP_HOST": "10.0.0.5", "HULLWATCH_SMTP_SECURITY": "none"},
        {"HULLWATCH_SMTP_HOST": "mailhog", "HULLWATCH_SMTP_SECURITY": "none"},
        {"HULLWATCH_SMTP_HOST": "::1", "HULLWATCH_SMTP_SECURITY": "none"},
    ],
)
def test_mail_may_be_unencrypted_only_nearby(changes: dict[str, str]) -> None:
    """Near is this machine, a private network or a name of a container. A password is sent to this machine only."""
    assert isinstance(reading(**{**MAIL, **changes}), Settings)


@pytest.mark.parametrize(("environment", "named"), UNSAFE, ids=[row[1] for row in UNSAFE])
def test_unsafe_settings_are_refused(environment: dict[str, str], named: str) -> None:
    """The refusal names the setting. Covered: http and open registration, bound to all addresses and behind a proxy."""
    found = reading(**environment)

    assert isinstance(found, SettingsRefused)
    assert named in str(found)


SIMULATOR = {
    "HULLWATCH_FYERS_BASE_URL": "http://127.0.0.1:8765/api/v3",
    "HULLWATCH_FYERS_DATA_URL": "http://127.0.0.1:8765/data",
}
CLOCK = {"HULLWATCH_CLOCK_URL": "http://127.0.0.1:8765/simulator/clock"}


def test_a_simulator_serves_everything_at_one_address() -> None:
    """The symbol masters and the data stream follow the data address, unless they are set."""
    found = reading(**SIMULATOR, **CLOCK)
    other = reading(**SIMULATOR, HULLWATCH_FYERS_PUBLIC_URL="http://localhost:9")

    assert isinstance(found, Settings)
    assert isinstance(other, Settings)
    assert found.fyers_public_url == "http://127.0.0.1:8765"
    assert found.fyers_stream_url == "ws://127.0.0.1:8765/hsm/v1-5/prod"
    assert other.fyers_public_url == "http://localhost:9"


@pytest.mark.parametrize(
    "changes",
    [
        dict.fromkeys(SIMULATOR, ""),
        {"HULLWATCH_FYERS_BASE_URL": ""},
        {"HULLWATCH_FYERS_DATA_URL": "https://api-t1.fyers.in/data"},
        {"HULLWATCH_FYERS_STREAM_URL": "wss://socket.fyers.in/hsm/v1-5/prod"},
        {"HULLWATCH_FYERS_PUBLIC_URL": "https://public.fyers.in"},
        {"HULLWATCH_CLOCK_URL": "http://clock.example/clock"},
        {"HULLWATCH_CLOCK_URL": "127.0.0.1:8765"},
    ],
)
def test_a_simulated_time_is_for_a_simulator_alone(changes: dict[str, str]) -> None:
    """With real Fyers at another time, sessions would expire and candles close at wrong moments."""
    refused = reading(**{**SIMULATOR, **CLOCK, **changes})

    assert isinstance(refused, SettingsRefused)
    assert str(refused).startswith("HULLWATCH_CLOCK_URL ")


@pytest.mark.parametrize(
    "changes",
    [
        PROXIED,
        {"HULLWATCH_HOST": "0.0.0.0", "HULLWATCH_PUBLIC_URL": "https://w.example"},
        {"HULLWATCH_HOST": "0.0.0.0", "HULLWATCH_PUBLIC_URL": "https://127.0.0.1"},
        {"HULLWATCH_HOST": "::1", "HULLWATCH_PUBLIC_URL": "https://127.0.0.1.w.example"},
    ],
    ids=[
        "proxy",
        "all addresses",
        "all addresses with a local name",
        "a name that only begins like loopback",
    ],
)
def test_a_server_that_others_can_reach_needs_invites(changes: dict[str, str]) -> None:
    """Bind address and public address both have to be loopback for open registration."""
    found = reading(**changes)

    assert isinstance(found, Settings)
    assert not found.is_local
    assert found.registration_mode == "invite"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.10"])
def test_this_machine_alone_is_safe(host: str) -> None:
    """On a loopback address http and open registration are allowed."""
    found = reading(HULLWATCH_HOST=host, HULLWATCH_REGISTRATION="open")

    assert isinstance(found, Settings)
    assert found.is_local


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://127.0.0.1?db=3",
        "rediss://:secret@cache.example:6380",
        "rediss://cache.example/2?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required",
        "unix:///run/redis.sock",
        "unix://:secret@/run/redis.sock?db=2",
    ],
)
def test_redis_can_be_used(url: str) -> None:
    """Over a network, over TLS and through a socket."""
    assert reading(HULLWATCH_REDIS_URL=url).checked_for_serving().redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "http://cache.example",
        "redis://",
        "unix://",
        "redis://h:nothing",
        "cache.example:6379",
        "redis://cache.example/trading",
        "redis://cache.example/0#hunter2",
        "redis://:hunter2@cache.example/?socket_timeout=60",
        "redis://:hunter2@cache.example/?decode_responses=true",
        "redis://:hunter2@cache.example/?max_connections=5000",
        "redis://:hunter2@cache.example/?made_up=1",
        "redis://:hunter2@cache.example/?ssl_cert_reqs=none",
        "rediss://:hunter2@cache.example/?ssl_cert_reqs=whatever",
        "unix:///run/redis.sock?db=none",
    ],
)
def test_an_address_that_is_not_of_redis_is_refused(url: str) -> None:
    """The sentence names the setting and does not quote its value."""
    refused = reading(HULLWATCH_REDIS_URL=url)
    assert isinstance(refused, SettingsRefused)
    assert "HULLWATCH_REDIS_URL" in str(refused)
    for part in ("cache.example", "hunter2"):
        assert part not in str(refused)


@pytest.mark.parametrize(
    "url", ["ftp://hc.example/x", "hc.example/canary", "https://", "https://h:x/canary", "https://h/a b"]
)
def test_an_invalid_ping_address_is_refused(url: str) -> None:
    """The sentence does not quote the address, because its knowledge is enough to send pings."""
    refused = reading(HULLWATCH_PING_URL=url)

    assert isinstance(refused, SettingsRefused)
    assert "HULLWATCH_PING_URL" in str(refused)
    assert "canary" not in str(refused)


@pytest.mark.parametrize("times", ["8:30", "08:30,09:15", "08:30;09:00", "04:00"])
def test_unusable_readiness_times_are_refused_by_name(times: str) -> None:
    """The sentence contains the format or the permitted hours."""
    with pytest.raises(SettingsRefused, match=r"^HULLWATCH_READINESS_TIMES cannot be used: .*\.$"):
        read_settings(readiness_times=times)
